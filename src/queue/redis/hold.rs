//! What keeps deliveries and leases on tickets: one task for each consumer, which gives a sign of life for all that is held.
//!
//! A connection that is lost may be made anew as long as the lease lasts: the run goes on. What could not be renewed
//! before the deadline, by this machine's clock and counted from before the last renewal, or is another's by now, is
//! lost at once. What is held in the end and was not settled goes back without counting as a death.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::{Failure, Link};
use super::keys;
use super::scripts::call;

/// The longest time between two signs of life: within it, and a little, a lease that is gone is known to be lost.
const PACE: Duration = Duration::from_millis(1500);
const _: () =
    assert!(PACE.as_millis() <= 1500, "effects stop within 2 s of a loss, and an answer takes its time too");
/// Between two tries to reach Redis.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// A task in our hands.
pub(super) struct Claim {
    /// The lease's name: the item's id, and an owner that was made for this delivery alone. Who has it may settle it.
    pub(super) lease: String,
    /// The item as it is on the list.
    pub(super) item: Bytes,
}

impl Claim {
    /// Of the item with this id.
    pub(super) fn new(id: &str, owner: &str, item: Bytes) -> Self {
        Self { lease: format!("{id} {owner}"), item }
    }

    fn owner(&self) -> &str {
        self.lease.split_once(' ').map_or("", |(_, owner)| owner)
    }
}

/// A lease on a ticket.
pub(super) struct Ticket {
    pub(super) key: String,
    pub(super) token: String,
}

/// What a consumer holds, and the task that keeps it.
pub(super) struct Keeper {
    pub(super) link: Arc<Link>,
    runtime: Handle,
    all: Mutex<Vec<Weak<Held>>>,
}

/// A delivery and its leases on tickets, or such a lease alone: one of them lost is all of them lost.
pub(super) struct Held {
    pub(super) keeper: Arc<Keeper>,
    /// The delivery, if there is one.
    pub(super) claim: Option<Claim>,
    /// Cancelled when something of it is lost.
    pub(super) lost: CancellationToken,
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    /// Until when nobody else can have the delivery, by this machine's clock.
    deadline: Instant,
    tickets: Vec<(Arc<Ticket>, Instant)>,
}

/// How far a delivery is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Kept,
    /// Whether it is lost is for the settlement to say: the lease goes with it.
    Settling,
    /// Settled or given back, or there is none.
    Over,
}

/// What is renewed together.
struct Renewal {
    lease: Option<String>,
    tickets: Vec<Arc<Ticket>>,
    deadline: Instant,
}

impl Keeper {
    /// For what is taken over this link.
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self { link, runtime: Handle::current(), all: Mutex::default() })
    }

    /// Keeps what is held, until its consumer is gone.
    pub(super) fn start(self: &Arc<Self>, gone: CancellationToken) {
        let keeper = self.clone();
        self.runtime.spawn(async move { keeper.keep(gone).await });
    }

    /// Holds what was taken by a call that began at `asked`.
    pub(super) fn hold(self: &Arc<Self>, claim: Option<Claim>, asked: Instant) -> Arc<Held> {
        let stage = if claim.is_some() { Stage::Kept } else { Stage::Over };
        let deadline = asked + self.link.settings.lease_time;
        let state = Mutex::new(State { stage, deadline, tickets: Vec::new() });
        let held = Arc::new(Held { keeper: self.clone(), claim, lost: CancellationToken::new(), state });
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|held| held.strong_count() > 0);
        all.push(Arc::downgrade(&held));
        held
    }

    fn all(&self) -> Vec<Arc<Held>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    async fn keep(&self, gone: CancellationToken) {
        let pace = PACE.min(self.link.settings.lease_time / 4);
        let mut next = Instant::now() + pace;
        loop {
            let line = self.link.line_now().filter(|line| !line.lost.is_cancelled());
            let line_lost = async {
                match &line {
                    Some(line) => line.lost.cancelled().await,
                    None => std::future::pending().await,
                }
            };
            // Cancel-safe: all branches only wait.
            tokio::select! {
                () = gone.cancelled() => break,
                () = tokio::time::sleep_until(next) => {}
                () = line_lost => {}
            }
            let asked = Instant::now();
            let all = self.all();
            let unknown = join_all(all.iter().map(|held| held.renew())).await;
            next = asked + pace;
            if let Some(deadline) = unknown.into_iter().flatten().min() {
                next = (Instant::now() + TRY_AGAIN).min(deadline);
            }
        }
        for held in self.all() {
            held.abandon();
        }
    }
}

impl Held {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to Redis.
    pub(super) fn link(&self) -> &Link {
        &self.keeper.link
    }

    /// From here on the settlement says what becomes of the delivery; until when nobody else can have it. `None`: it is lost.
    pub(super) fn begin_to_settle(&self) -> Option<Instant> {
        let mut state = self.state();
        if state.stage != Stage::Kept || self.lost.is_cancelled() {
            return None;
        }
        state.stage = Stage::Settling;
        Some(state.deadline)
    }

    /// There is nothing to give back.
    pub(super) fn settled(&self) {
        self.state().stage = Stage::Over;
    }

    /// Gives the delivery back, unless it is settled. The task is one of those that closing the queue waits for.
    pub(super) fn give_back(&self) -> Option<JoinHandle<()>> {
        let mut state = self.state();
        let claim = self.claim.as_ref().filter(|_| state.stage != Stage::Over)?;
        state.stage = Stage::Over;
        self.lost.cancel();
        let (link, owner) = (self.keeper.link.clone(), claim.owner().to_owned());
        let returning = async move {
            // As long as this process lives nobody has died over it, however long Redis is away.
            give_back(&link, &owner, None).await;
        };
        Some(self.link().settings.returning.spawn_on(returning, &self.keeper.runtime))
    }

    /// Its consumer is gone, and takes with it what is not being settled.
    fn abandon(&self) {
        let (is_kept, is_settling) = {
            let state = self.state();
            (!state.tickets.is_empty(), state.stage == Stage::Settling)
        };
        if is_kept {
            self.lost.cancel();
        }
        if !is_settling {
            self.give_back();
        }
    }

    /// Keeps a lease on a ticket too, for which was asked at `asked`.
    pub(super) fn add_ticket(&self, ticket: Arc<Ticket>, asked: Instant) {
        self.state().tickets.push((ticket, asked + self.link().settings.lease_time));
    }

    /// Keeps it no longer.
    pub(super) fn remove_ticket(&self, ticket: &Arc<Ticket>) {
        self.state().tickets.retain(|(kept, _)| !Arc::ptr_eq(kept, ticket));
    }

    /// Does something in the background that outlives the holder.
    pub(super) fn spawn(&self, what: impl Future<Output = ()> + Send + 'static) {
        self.keeper.runtime.spawn(what);
    }

    fn renewal(&self) -> Option<Renewal> {
        let state = self.state();
        let claim = self.claim.as_ref().filter(|_| state.stage == Stage::Kept);
        let deadlines = state.tickets.iter().map(|(_, deadline)| *deadline);
        let deadline = deadlines.chain(claim.map(|_| state.deadline)).min()?;
        let tickets = state.tickets.iter().map(|(ticket, _)| ticket.clone()).collect();
        Some(Renewal { lease: claim.map(|claim| claim.lease.clone()), tickets, deadline })
    }

    /// One sign of life for everything, if there is still time for it. The deadline, when Redis could not be asked.
    async fn renew(&self) -> Option<Instant> {
        let renewal = self.renewal().filter(|_| !self.lost.is_cancelled())?;
        let asked = Instant::now();
        let left = renewal.deadline.saturating_duration_since(asked);
        let answer = match tokio::time::timeout(left, self.ask(&renewal)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Lost("no answer within the lease time".to_owned())),
        };
        match answer {
            Ok(answers) => self.note(asked, &renewal, &answers),
            Err(failure) if Instant::now() < renewal.deadline => {
                tracing::info!(error = failure.text(), "a lease was not renewed yet; trying again");
                return Some(renewal.deadline);
            }
            Err(failure) => self.lose(&renewal, failure.text()),
        }
        None
    }

    async fn ask(&self, renewal: &Renewal) -> Result<Vec<i64>, Failure> {
        let settings = &self.link().settings;
        let (mut keys, lease) = (vec![keys::LEASES], renewal.lease.as_deref().unwrap_or_default());
        let mut arguments = vec![lease.as_bytes(), settings.lease_milliseconds.as_bytes()];
        for ticket in &renewal.tickets {
            keys.push(&ticket.key);
            arguments.push(ticket.token.as_bytes());
        }
        let renew = self.link().ask(settings.timeout, async |mut connection| {
            call::<Vec<i64>>(&settings.scripts.renew, &mut connection, &keys, &arguments).await
        });
        renew.await
    }

    fn note(&self, asked: Instant, renewal: &Renewal, answers: &[i64]) {
        let deadline = asked + self.link().settings.lease_time;
        let is_refused = |index: usize| answers.get(index) != Some(&1);
        let mut state = self.state();
        // What was settled or given back while we asked has no lease any more.
        let mut is_lost = false;
        if renewal.lease.is_some() && state.stage == Stage::Kept {
            is_lost = is_refused(0);
            state.deadline = deadline;
        }
        for (ticket, until) in &mut state.tickets {
            let asked_for = renewal.tickets.iter().position(|other| Arc::ptr_eq(other, ticket));
            if let Some(index) = asked_for {
                is_lost |= is_refused(index + 1);
                *until = deadline;
            }
        }
        if is_lost {
            tracing::warn!("a lease is another's by now, or gone from Redis; what it covered stops");
            self.lost.cancel();
        }
    }

    fn lose(&self, renewal: &Renewal, why: &str) {
        let state = self.state();
        let is_delivery_lost = renewal.lease.is_some() && state.stage == Stage::Kept;
        let is_kept = |ticket: &Arc<Ticket>| state.tickets.iter().any(|(kept, _)| Arc::ptr_eq(kept, ticket));
        if is_delivery_lost || renewal.tickets.iter().any(is_kept) {
            tracing::warn!(error = why, "a lease could not be renewed in time; it is lost");
            self.lost.cancel();
        }
    }
}

/// Puts back what `owner` holds, without counting a death. How many tasks that were, if Redis could be asked in time.
async fn give_back(link: &Link, owner: &str, until: Option<Instant>) -> Option<i64> {
    let settings = &link.settings;
    let places = [keys::READY, keys::PROCESSING, keys::LEASES];
    loop {
        let answer = link.ask(settings.timeout, async |mut connection| {
            call::<i64>(&settings.scripts.give_back, &mut connection, &places, &[owner.as_bytes()]).await
        });
        match answer.await {
            Ok(count) => {
                tracing::debug!(count, "what was not settled went back to the queue");
                return Some(count);
            }
            Err(failure) if until.is_none_or(|until| Instant::now() < until) => {
                tracing::debug!(error = failure.text(), "a task cannot be given back yet");
                tokio::time::sleep(TRY_AGAIN).await;
            }
            Err(failure) => {
                tracing::warn!(error = failure.text(), "a task was not given back; its lease ends by itself");
                return None;
            }
        }
    }
}

/// Gives back what a call at `asked` may have taken, whose answer did not come. Redis may get to that call late: after it
/// has said that there is nothing to give back.
pub(super) async fn give_back_unseen(link: Arc<Link>, owner: String, asked: Instant) {
    let until = asked + 2 * link.settings.lease_time;
    let mut token = Some(link.settings.returning.token());
    while let Some(0) = give_back(&link, &owner, Some(until)).await {
        token.take();
        if Instant::now() >= until {
            return;
        }
        tokio::time::sleep(PACE.min(link.settings.lease_time / 4)).await;
    }
}
