//! What keeps a delivery and leases on tickets: a task that gives a sign of life every quarter of the lease time.
//!
//! A connection that is lost may be made anew as long as the lease lasts: the run goes on. What could not be renewed
//! before the deadline, by this machine's clock and counted from before the last renewal, or is another's by now, is
//! lost at once. What is held in the end and was not settled goes back without counting as a death.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::connection::{Failure, Link};
use super::scripts::run;

/// Between two tries to reach Redis.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// A task in our hands.
pub(super) struct Claim {
    /// The item's id.
    pub(super) id: String,
    /// Made for this delivery alone: who has it may settle it.
    pub(super) owner: String,
    /// The item as it is on the list.
    pub(super) item: Bytes,
}

/// A lease on a ticket.
struct Ticket {
    key: String,
    token: String,
    lost: CancellationToken,
}

/// What is kept together.
pub(super) struct Keeper {
    /// Where.
    pub(super) link: Arc<Link>,
    /// The delivery, if there is one.
    pub(super) claim: Option<Claim>,
    /// Cancelled when something of it is lost.
    pub(super) lost: CancellationToken,
    /// Cancelled when nothing is held any more, and what was not settled has been given back.
    pub(super) over: CancellationToken,
    tickets: Mutex<Vec<Ticket>>,
    expires: Mutex<Instant>,
}

/// How the holder ended it: settled, or not, with a token that lives until it was given back.
type End = Option<TaskTrackerToken>;

/// Dropping it gives back what is held.
pub(super) struct Grip {
    end: Option<oneshot::Sender<End>>,
    returning: TaskTracker,
}

impl Grip {
    /// There is nothing to give back.
    pub(super) fn settled(mut self) {
        if let Some(end) = self.end.take() {
            // The keeper may have gone already.
            let _ = end.send(None);
        }
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(Some(self.returning.token()));
        }
    }
}

enum Renewed {
    Yes,
    Refused,
    Unknown(Failure),
}

impl Keeper {
    /// Keeps what was taken by a call that began at `asked`, until it is settled or its grip dropped, or `gone`.
    pub(super) fn start(
        link: Arc<Link>,
        claim: Option<Claim>,
        asked: Instant,
        gone: CancellationToken,
    ) -> (Arc<Self>, Grip) {
        let expires = Mutex::new(asked + link.settings.lease_time);
        let (lost, over) = (CancellationToken::new(), CancellationToken::new());
        let keeper = Arc::new(Self { link, claim, lost, over, tickets: Mutex::default(), expires });
        let (sender, end) = oneshot::channel();
        let kept = keeper.clone();
        tokio::spawn(async move {
            kept.keep(end, gone).await;
            kept.over.cancel();
        });
        let returning = keeper.link.settings.returning.clone();
        (keeper, Grip { end: Some(sender), returning })
    }

    /// Until when nobody else can have it, by this machine's clock.
    pub(super) fn expires(&self) -> Instant {
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a lease on a ticket too. The token says when it is lost.
    pub(super) fn add_ticket(&self, key: String, token: String) -> CancellationToken {
        let lost = self.lost.child_token();
        let ticket = Ticket { key, token, lost: lost.clone() };
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
        lost
    }

    /// Keeps it no longer.
    pub(super) fn remove_ticket(&self, token: &str) {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).retain(|ticket| ticket.token != token);
    }

    async fn keep(&self, mut end: oneshot::Receiver<End>, gone: CancellationToken) {
        let lease_time = self.link.settings.lease_time;
        let mut next = self.expires() - lease_time + lease_time / 4;
        let mut is_reachable = true;
        let mut token = None;
        loop {
            let line = self.link.line_now().filter(|_| is_reachable);
            let line_lost = async {
                match &line {
                    Some(line) => line.lost.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            // Cancel-safe: all branches only wait.
            tokio::select! {
                biased;
                ended = &mut end => match ended {
                    Ok(None) => return,
                    ended => {
                        token = ended.ok().flatten();
                        break;
                    }
                },
                () = gone.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
                () = line_lost => {}
            }
            let asked = Instant::now();
            match self.renew().await {
                Renewed::Yes => {
                    is_reachable = true;
                    next = asked + lease_time / 4;
                }
                Renewed::Refused => {
                    tracing::warn!("a lease is another's by now, or gone from Redis; what it covered stops");
                    token = self.hold_on(&mut end, &gone).await;
                    break;
                }
                Renewed::Unknown(failure) if Instant::now() < self.expires() => {
                    tracing::info!(error = failure.text(), "a lease was not renewed yet; trying again");
                    is_reachable = false;
                    next = (Instant::now() + TRY_AGAIN).min(self.expires());
                }
                Renewed::Unknown(failure) => {
                    tracing::warn!(
                        error = failure.text(),
                        "a lease could not be renewed in time; it is lost"
                    );
                    token = self.hold_on(&mut end, &gone).await;
                    break;
                }
            }
        }
        self.lost.cancel();
        let token = token.unwrap_or_else(|| self.link.settings.returning.token());
        self.give_back().await;
        drop(token);
    }

    /// Says that it is lost, and waits until the holder has let go.
    async fn hold_on(&self, end: &mut oneshot::Receiver<End>, gone: &CancellationToken) -> End {
        self.lost.cancel();
        // Cancel-safe: both branches only wait.
        tokio::select! {
            ended = end => ended.ok().flatten(),
            () = gone.cancelled() => None,
        }
    }

    /// One sign of life for everything, if there is still time for it.
    async fn renew(&self) -> Renewed {
        let asked = Instant::now();
        let left = self.expires().saturating_duration_since(asked);
        if left.is_zero() {
            return Renewed::Unknown(Failure::Lost("the lease time has passed".to_owned()));
        }
        let (mut keys, mut tokens) = (Vec::new(), Vec::new());
        for ticket in self.tickets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            keys.push(ticket.key.clone());
            tokens.push(ticket.token.clone());
        }
        let (id, owner) = self.claim.as_ref().map_or(("", ""), |claim| (&claim.id, &claim.owner));
        let settings = &self.link.settings;
        let milliseconds = settings.lease_milliseconds();
        let mut arguments = vec![id.as_bytes(), owner.as_bytes(), milliseconds.as_bytes()];
        arguments.extend(tokens.iter().map(String::as_bytes));
        let renew = self.link.ask(settings.timeout, async |mut connection| {
            run::<Vec<i64>>(&settings.scripts.renew, &mut connection, &keys, &arguments).await
        });
        match tokio::time::timeout(left, renew).await {
            Ok(Ok(answers)) => self.note(asked, &answers, &tokens),
            Ok(Err(failure)) => Renewed::Unknown(failure),
            Err(_) => Renewed::Unknown(Failure::Lost("no answer within the lease time".to_owned())),
        }
    }

    fn note(&self, asked: Instant, answers: &[i64], tokens: &[String]) -> Renewed {
        let is_lost = |index: usize| answers.get(index) != Some(&1);
        let mut refused = self.claim.is_some() && is_lost(0);
        for ticket in self.tickets.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // One that was given back while we asked is not here any more.
            let asked_for = tokens.iter().position(|token| *token == ticket.token);
            if asked_for.is_some_and(|index| is_lost(index + 1)) {
                ticket.lost.cancel();
                refused = true;
            }
        }
        if refused {
            return Renewed::Refused;
        }
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner) = asked + self.link.settings.lease_time;
        Renewed::Yes
    }

    /// Puts the task back, as soon as Redis can be reached; gives up when others have long taken it back.
    async fn give_back(&self) {
        let Some(claim) = &self.claim else { return };
        give_back(&self.link, &claim.owner, self.expires() + self.link.settings.lease_time).await;
    }
}

/// Puts back what `owner` holds, without counting a death.
pub(super) async fn give_back(link: &Link, owner: &str, until: Instant) {
    let settings = &link.settings;
    loop {
        let answer = link.ask(settings.timeout, async |mut connection| {
            run::<i64>(&settings.scripts.give_back, &mut connection, &[], &[owner.as_bytes()]).await
        });
        match answer.await {
            Ok(count) => {
                tracing::debug!(count, "what was not settled went back to the queue");
                return;
            }
            Err(failure) if Instant::now() < until => {
                tracing::debug!(error = failure.text(), "a task cannot be given back yet");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            Err(failure) => {
                tracing::warn!(error = failure.text(), "a task was not given back; its lease ends by itself");
                return;
            }
        }
    }
}
