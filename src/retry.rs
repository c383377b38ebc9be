//! Trying again: full jitter, a cap, a total budget, and an end when the program shuts down.
//!
//! This is the only place that knows the `backoff` crate.

use std::future::Future;
use std::time::{Duration, Instant};

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;
use tokio_util::sync::CancellationToken;

/// How patiently something is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The upper bound of the first wait; it doubles with each further one.
    pub first: Duration,
    /// The upper bound of any wait that we choose ourselves.
    pub cap: Duration,
    /// How long all tries and waits may take together. A wait that would end later is not begun.
    pub budget: Duration,
}

/// What the caller says of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Trying again is useless or dangerous.
    Stop,
    /// Trying again may help.
    Again,
    /// Trying again may help, but not sooner than this.
    AgainAfter(Duration),
}

/// The waits of one operation: uniform between zero and an exponentially growing bound (full jitter, see the AWS
/// Architecture Blog's "Exponential Backoff And Jitter").
#[derive(Debug)]
pub struct Waits {
    backoff: ExponentialBackoff,
}

impl Waits {
    /// Waits by the policy's `first` and `cap`; its budget is not looked at.
    #[must_use]
    pub fn new(policy: &RetryPolicy) -> Self {
        // The crate draws from interval ± interval × factor, which with factor 1 is uniform in 0 … 2 × interval.
        let backoff = ExponentialBackoff {
            current_interval: policy.first / 2,
            initial_interval: policy.first / 2,
            randomization_factor: 1.0,
            multiplier: 2.0,
            max_interval: policy.cap / 2,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { backoff }
    }

    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.backoff.next_backoff().unwrap_or(self.backoff.max_interval)
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.backoff.reset();
    }
}

/// Runs `operation` until it succeeds, `judge` says stop, the budget would be exceeded, or `cancel` is cancelled.
///
/// # Errors
/// The last error of the operation.
pub async fn retry<T, E, Fut>(
    policy: &RetryPolicy,
    cancel: &CancellationToken,
    mut operation: impl FnMut() -> Fut,
    judge: impl Fn(&E) -> Verdict,
) -> Result<T, E>
where
    Fut: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    let mut waits = Waits::new(policy);
    loop {
        let error = match operation().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let wait = match judge(&error) {
            Verdict::Stop => return Err(error),
            Verdict::Again => waits.next_wait(),
            // "At once", said again and again, must not become a storm.
            Verdict::AgainAfter(least) if least < policy.first => least + waits.next_wait(),
            // The other side named a moment; jitter keeps a fleet from arriving at it together.
            Verdict::AgainAfter(least) => least + waits.next_wait().min(least / 10),
        };
        if started.elapsed() + wait > policy.budget {
            return Err(error);
        }
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_millis(2),
        cap: Duration::from_millis(8),
        budget: Duration::from_millis(500),
    };

    #[test]
    fn waits_are_jittered_and_capped() {
        let mut waits = Waits::new(&POLICY);
        let drawn: Vec<Duration> = (0..200).map(|_| waits.next_wait()).collect();
        assert!(drawn.iter().all(|wait| *wait <= POLICY.cap), "{drawn:?}");
        assert!(
            drawn.iter().any(|wait| *wait < POLICY.cap / 4)
                && drawn.iter().any(|wait| *wait > POLICY.cap / 2)
        );
    }

    async fn tries_until(
        policy: &RetryPolicy,
        cancel: &CancellationToken,
        verdict: Verdict,
        good_at: u32,
    ) -> (u32, bool) {
        let tries = Cell::new(0);
        let result: Result<(), ()> = retry(
            policy,
            cancel,
            || {
                tries.set(tries.get() + 1);
                let good = tries.get() >= good_at;
                async move { if good { Ok(()) } else { Err(()) } }
            },
            |()| verdict,
        )
        .await;
        (tries.get(), result.is_ok())
    }

    #[tokio::test]
    async fn it_tries_again_until_it_works() {
        assert_eq!(tries_until(&POLICY, &CancellationToken::new(), Verdict::Again, 4).await, (4, true));
    }

    #[tokio::test]
    async fn a_verdict_of_stop_ends_it_at_once() {
        assert_eq!(tries_until(&POLICY, &CancellationToken::new(), Verdict::Stop, 4).await, (1, false));
    }

    #[tokio::test]
    async fn a_wait_beyond_the_budget_is_not_begun() {
        let verdict = Verdict::AgainAfter(Duration::from_secs(3600));
        assert_eq!(tries_until(&POLICY, &CancellationToken::new(), verdict, 4).await, (1, false));
    }

    #[tokio::test]
    async fn an_invitation_to_come_back_at_once_is_not_taken_for_one_to_storm() {
        let verdict = Verdict::AgainAfter(Duration::ZERO);
        let policy = RetryPolicy { first: Duration::from_millis(10), ..POLICY };
        let (tries, good) = tries_until(&policy, &CancellationToken::new(), verdict, 10_000).await;
        assert!(!good && (2..1_000).contains(&tries), "{tries} tries in {:?}", policy.budget);
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_wait() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let long = RetryPolicy { budget: Duration::from_secs(3600), ..POLICY };
        let verdict = Verdict::AgainAfter(Duration::from_secs(600));
        assert_eq!(tries_until(&long, &cancel, verdict, 4).await, (1, false));
    }
}
