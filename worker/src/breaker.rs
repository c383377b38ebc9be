//! The breaker before the model's provider: while the provider is down, tasks wait on the tiers and use up no
//! attempts. <https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker>

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jira_agent::queue::tiers::Tiers;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

/// A provider that has answered within this time is not taken for down because of one question.
const RECENT: Duration = Duration::from_mins(10);

/// Closed, open until a moment, or half open: one run may try. Clones are the same breaker.
#[derive(Debug, Clone)]
pub struct Breaker {
    /// How long it stays open at first; twice as long after each probe that fails.
    first: Duration,
    /// At most this long.
    longest: Duration,
    state: Arc<Mutex<State>>,
    /// Told of every change but the end of the open time, which is a matter of the clock.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    /// Since when nothing may be asked: until when, and for how long that is.
    open: Option<Open>,
    /// Which of the probes is under way, by its number.
    probing: Option<u64>,
    probes: u64,
    last_success: Option<Instant>,
    doubted: bool,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    until: Instant,
    wait: Duration,
}

/// Whether a run may begin.
#[derive(Debug)]
pub enum Admission {
    /// It may. Held while the run goes on.
    Granted(Permit),
    /// The provider is down; not before this long.
    Wait(Duration),
}

/// A run that was let through. While the breaker is half open there is one.
#[derive(Debug)]
pub struct Permit {
    /// The breaker and the number of the probe.
    probe: Option<(Breaker, u64)>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some((breaker, number)) = &self.probe {
            // A probe of an earlier outage may go on beside that of this one.
            breaker.state().probing.take_if(|probing| probing == number);
            breaker.changed.send_replace(());
        }
    }
}

impl Permit {
    /// Whether this is the one run that may try while the breaker is half open.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe.is_some()
    }
}

/// What a breaker is, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Everything passes.
    Closed,
    /// One run may try.
    HalfOpen,
    /// Nothing passes.
    Open,
}

impl Breaker {
    /// A closed one, which opens for as long as the first tier, and at most for the third.
    #[must_use]
    pub fn new(tiers: &Tiers) -> Self {
        Self {
            first: tiers.nth(1),
            longest: tiers.nth(3),
            state: Arc::default(),
            changed: watch::Sender::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks to begin a run.
    #[must_use]
    pub fn admit(&self) -> Admission {
        let mut state = self.state();
        let Some(open) = state.open else {
            return Admission::Granted(Permit { probe: None });
        };
        let left = open.until.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            return Admission::Wait(left);
        }
        if state.probing.is_some() {
            return Admission::Wait(open.wait);
        }
        state.probes += 1;
        state.probing = Some(state.probes);
        Admission::Granted(Permit { probe: Some((self.clone(), state.probes)) })
    }

    /// Waits until a run may begin. Cancel-safe.
    pub async fn granted(&self) -> Permit {
        let mut changed = self.changed.subscribe();
        loop {
            match self.admit() {
                Admission::Granted(permit) => return permit,
                // However that wait ends, it is asked again.
                Admission::Wait(left) => drop(tokio::time::timeout(left, changed.changed()).await),
            }
        }
    }

    /// Waits until nothing passes. Cancel-safe.
    pub async fn opened(&self) {
        let mut changed = self.changed.subscribe();
        // The sender is our own: it does not go away meanwhile.
        while self.position() != Position::Open && changed.changed().await.is_ok() {}
    }

    /// The provider has answered.
    pub fn success(&self) {
        let mut state = self.state();
        if state.open.take().is_some() {
            tracing::info!("the model's provider answers again: the breaker closes");
        }
        state.last_success = Some(Instant::now());
        state.doubted = false;
        drop(state);
        self.changed.send_replace(());
    }

    /// The provider did not answer, for as long as one question is repeated. True when it is taken for down; false for a
    /// first failure beside recent answers, which may be the question's own fault.
    pub fn outage(&self) -> bool {
        let mut state = self.state();
        let recent = state.last_success.is_some_and(|last| last.elapsed() < RECENT);
        if recent && !state.doubted && state.open.is_none() {
            state.doubted = true;
            return false;
        }
        let wait = match state.open {
            // Runs that had begun before meet the same outage.
            Some(open) if Instant::now() < open.until => return true,
            Some(open) => (2 * open.wait).min(self.longest),
            None => self.first,
        };
        state.trip(wait);
        drop(state);
        self.changed.send_replace(());
        true
    }

    /// The account cannot pay: nobody mends that in seconds.
    pub fn exhausted(&self) {
        self.state().trip(self.longest);
        self.changed.send_replace(());
    }

    /// How it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        match self.state().open {
            None => Position::Closed,
            Some(open) if Instant::now() < open.until => Position::Open,
            Some(_) => Position::HalfOpen,
        }
    }

    /// How long a task should wait that fails now because of the provider.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.state().open.map_or(self.first, |open| open.wait)
    }
}

impl State {
    fn trip(&mut self, wait: Duration) {
        tracing::warn!(
            wait_s = wait.as_secs(),
            "the model's provider is down: the breaker opens, tasks wait"
        );
        self.open = Some(Open { until: Instant::now() + wait, wait });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(30);
    const LONGEST: Duration = Duration::from_mins(10);

    fn closed() -> Breaker {
        Breaker::new(&Tiers::new(&[30, 120, 600, 3600].map(Duration::from_secs)))
    }

    fn may_begin(breaker: &Breaker) -> bool {
        matches!(breaker.admit(), Admission::Granted(_))
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_opens_it_and_one_probe_decides() {
        let breaker = closed();
        assert!(may_begin(&breaker));
        assert!(breaker.outage());
        assert_eq!(breaker.position(), Position::Open);
        assert!(matches!(breaker.admit(), Admission::Wait(left) if left == FIRST));
        tokio::time::advance(FIRST).await;
        assert_eq!(breaker.position(), Position::HalfOpen);
        let probe = breaker.admit();
        assert!(matches!(probe, Admission::Granted(_)));
        assert!(!may_begin(&breaker), "one probe at a time");
        assert!(breaker.outage());
        drop(probe);
        assert!(matches!(breaker.admit(), Admission::Wait(left) if left == 2 * FIRST));
        tokio::time::advance(2 * FIRST).await;
        assert!(may_begin(&breaker));
        breaker.success();
        assert_eq!(breaker.position(), Position::Closed);
        assert!(may_begin(&breaker) && may_begin(&breaker));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_asked_nothing_leaves_the_place_to_another() {
        let breaker = closed();
        breaker.outage();
        tokio::time::advance(FIRST).await;
        drop(breaker.admit());
        assert!(may_begin(&breaker));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_let_through_one_by_one_and_all_when_it_closes() {
        let breaker = closed();
        assert!(!breaker.granted().await.is_probe());
        let opening = tokio::spawn({
            let breaker = breaker.clone();
            async move { breaker.opened().await }
        });
        tokio::task::yield_now().await;
        breaker.outage();
        opening.await.unwrap();
        let begun = Instant::now();
        let probe = breaker.granted().await;
        assert!(probe.is_probe() && begun.elapsed() >= FIRST, "{:?}", begun.elapsed());
        let mut second = std::pin::pin!(breaker.granted());
        let early = tokio::time::timeout(FIRST / 2, second.as_mut()).await;
        assert!(early.is_err(), "one probe at a time");
        drop(probe);
        let probe = second.await;
        assert!(probe.is_probe(), "the place of a probe that asked nothing is free at once");
        let mut third = std::pin::pin!(breaker.granted());
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        breaker.success();
        assert!(!third.await.is_probe());
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_beside_recent_answers_is_the_questions_own() {
        let breaker = closed();
        breaker.success();
        assert!(!breaker.outage());
        assert_eq!(breaker.position(), Position::Closed);
        breaker.success();
        assert!(!breaker.outage());
        assert!(breaker.outage(), "two in a row are an outage");
        assert!(breaker.outage(), "and a third that had begun before");
        assert_eq!(breaker.wait(), FIRST, "is the same one");
        let idle = closed();
        idle.success();
        tokio::time::advance(RECENT).await;
        assert!(idle.outage(), "nobody knows any longer that it works");
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_to_ten_minutes() {
        let breaker = closed();
        for _ in 0..9 {
            breaker.outage();
            breaker.outage();
            tokio::time::advance(breaker.wait()).await;
        }
        assert_eq!(breaker.wait(), LONGEST);
        breaker.success();
        assert_eq!(breaker.wait(), FIRST);
        breaker.exhausted();
        assert_eq!(breaker.wait(), LONGEST);
    }
}
