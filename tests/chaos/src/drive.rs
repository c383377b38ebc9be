//! Carries the schedule out: triggers in, trouble in, until everything has come to rest.

mod gaps;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use fastrand::Rng;
use jiff::{Timestamp, TimestampRound, Unit};
use jira_agent::output;
use jira_agent::queue::{DeadLetter, TaskQueue};
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::look;
use crate::schedule::{Action, DISORDERED, Form, Kind, Planned, Schedule, TWICE, Trigger};
use crate::workers::Fleet;
use crate::world::{Body, World};

/// Between two looks.
const TICK: Duration = Duration::from_millis(25);
/// Tickets under way for each worker: enough that none waits for work.
const UNDER_WAY: usize = 6;
/// A trigger is put on the queue within this time, whatever happens to the broker.
const PUBLISH: Duration = Duration::from_secs(120);
/// When no run has ended for this long, none will.
const STALLED: Duration = Duration::from_secs(90);
/// How long the queue may take to become empty when nothing more is asked for.
const REST: Duration = Duration::from_secs(90);
/// How long the broker may take to show its dead letters at the end.
const LAST_LOOK: Duration = Duration::from_secs(30);
/// Between two looks at the dead letters.
const LETTERS: Duration = Duration::from_secs(2);
/// What the crash rule writes on a dead letter.
const DIED: &str = "the worker died";

/// What was done, beside what happened to workers.
#[derive(Debug, Default)]
pub struct Deeds {
    /// Messages put on the queue.
    pub triggers: u32,
    /// What came of the schedule's trouble that is counted nowhere else.
    pub came: BTreeMap<&'static str, u64>,
    /// Dead letters by the crash rule, put back as an operator would.
    pub replayed: u32,
    /// Tickets that were added to close what was not met.
    pub added: usize,
    /// What kept it from coming to rest, in words.
    pub wrong: Vec<String>,
}

/// Everything that takes part.
pub struct Driver {
    /// The services and the tickets.
    pub world: World,
    /// The broker.
    pub broker: Arc<Broker>,
    /// Our own client.
    pub queue: Arc<dyn TaskQueue>,
    /// The workers.
    pub fleet: Fleet,
    /// Chooses what the schedule leaves open: which connection.
    pub rng: Rng,
    /// What was done.
    pub deeds: Deeds,
    /// Tickets whose task was a dead letter and came back.
    pub replayed: BTreeSet<String>,
    /// Tickets whose triggers may lead to a second run.
    pub follow_up: BTreeSet<usize>,
    /// The newest wish of each ticket that was put on the queue.
    pub wishes: BTreeMap<usize, Timestamp>,
    /// Everything that has to come, see [`Schedule::planned`].
    planned: BTreeMap<&'static str, Option<Action>>,
    triggered: BTreeSet<usize>,
    publishing: JoinSet<anyhow::Result<()>>,
    chores: JoinSet<anyhow::Result<(&'static str, u64)>>,
    restarting: Arc<Mutex<()>>,
    outstanding: Vec<usize>,
    again: BTreeMap<usize, Vec<Form>>,
    finished: usize,
    progress_at: Instant,
    letters_at: Instant,
}

impl Driver {
    /// Before anything is done.
    pub fn new(world: World, broker: Broker, queue: Arc<dyn TaskQueue>, fleet: Fleet, seed: u64) -> Self {
        Self {
            world,
            broker: Arc::new(broker),
            queue,
            fleet,
            rng: Rng::with_seed(seed.wrapping_add(1)),
            deeds: Deeds::default(),
            replayed: BTreeSet::new(),
            follow_up: BTreeSet::new(),
            wishes: BTreeMap::new(),
            planned: BTreeMap::new(),
            triggered: BTreeSet::new(),
            publishing: JoinSet::new(),
            chores: JoinSet::new(),
            restarting: Arc::default(),
            outstanding: Vec::new(),
            again: BTreeMap::new(),
            finished: 0,
            progress_at: Instant::now(),
            letters_at: Instant::now(),
        }
    }

    /// Does all of it. Afterwards no worker lives and the queue is empty, or `deeds.wrong` says why not. Gives the dead
    /// letters that are left.
    ///
    /// # Errors
    /// When the harness itself cannot go on.
    pub async fn run(&mut self, schedule: &Schedule, workers: usize) -> anyhow::Result<Vec<DeadLetter>> {
        self.planned = schedule.planned();
        for kind in &schedule.tickets {
            self.world.add_ticket(*kind)?;
        }
        let mut triggers = schedule.triggers.iter().copied().peekable();
        let mut actions = schedule.actions.iter().copied().peekable();
        for trigger in schedule.triggers.iter().filter(|trigger| trigger.again) {
            self.again.entry(trigger.ticket).or_default().push(trigger.form);
        }
        loop {
            while self.outstanding.len() < workers * UNDER_WAY
                && let Some(trigger) = triggers.next()
            {
                self.trigger(trigger);
            }
            while let Some(Planned { action, .. }) = actions.next_if(|planned| planned.after <= self.finished)
            {
                self.act(action)?;
            }
            self.tick().await?;
            if triggers.peek().is_none() && self.outstanding.is_empty() {
                break;
            }
            if self.is_stalled() {
                break;
            }
        }
        for Planned { action, .. } in actions {
            self.act(action)?;
        }
        if self.deeds.wrong.is_empty() {
            self.close_gaps().await?;
        }
        self.world.injector.end();
        self.come_to_rest().await
    }

    /// One look at everything.
    async fn tick(&mut self) -> anyhow::Result<()> {
        tokio::time::sleep(TICK).await;
        self.fleet.tick()?;
        while let Some(published) = self.publishing.try_join_next() {
            published??;
        }
        while let Some(chore) = self.chores.try_join_next() {
            match chore? {
                Ok((what, count)) => self.came(what, count),
                Err(error) => self.deeds.wrong.push(format!("{error:#}")),
            }
        }
        let world = &self.world;
        let (over, outstanding): (Vec<usize>, Vec<usize>) =
            self.outstanding.iter().partition(|place| look::is_over(world, &world.tickets[**place]));
        self.outstanding = outstanding;
        for place in over {
            self.finished += 1;
            self.progress_at = Instant::now();
            if self.finished.is_multiple_of(100) {
                output::note(&format!("chaos: {} runs have ended", self.finished));
            }
            for form in self.again.remove(&place).unwrap_or_default() {
                self.publish(place, form);
            }
        }
        if self.letters_at.elapsed() > LETTERS {
            self.letters_at = Instant::now();
            self.replay().await;
        }
        Ok(())
    }

    fn is_stalled(&mut self) -> bool {
        let stalled = self.progress_at.elapsed() > STALLED;
        if stalled {
            let keys: Vec<String> =
                self.outstanding.iter().map(|it| self.world.tickets[*it].key.to_string()).collect();
            self.deeds
                .wrong
                .push(format!("no run has ended for {STALLED:?}; under way: {}", keys.join(", ")));
        }
        stalled
    }

    fn trigger(&mut self, trigger: Trigger) {
        if trigger.again {
            return;
        }
        if !self.outstanding.contains(&trigger.ticket)
            && !look::is_over(&self.world, &self.world.tickets[trigger.ticket])
        {
            self.outstanding.push(trigger.ticket);
        }
        self.publish(trigger.ticket, trigger.form);
    }

    /// Until it is confirmed; a lost confirmation makes it come twice.
    fn publish(&mut self, place: usize, form: Form) {
        let now = Timestamp::now();
        if let Form::Bare | Form::Newer = form {
            self.follow_up.insert(place);
            // Some queues know only the second in which a bare trigger came.
            let second = TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
            let wish = if form == Form::Bare { now.round(second).unwrap_or(now) } else { now };
            self.wishes.insert(place, wish);
        }
        if self.triggered.last().is_some_and(|last| *last > place) {
            self.came(DISORDERED, 1);
        }
        if !self.triggered.insert(place) {
            self.came(TWICE, 1);
        }
        self.deeds.triggers += 1;
        let body = self.world.body(&self.world.tickets[place], form, now);
        let (broker, queue) = (self.broker.clone(), self.queue.clone());
        self.publishing.spawn(async move {
            let deadline = Instant::now() + PUBLISH;
            loop {
                let published = match &body {
                    Body::Task(task) => queue.publish(task).await.map_err(anyhow::Error::from),
                    Body::Raw(body) => broker.put(&*queue, body).await,
                };
                match published {
                    Ok(()) => return Ok(()),
                    Err(error) if Instant::now() > deadline => {
                        return Err(error.context("publishing a trigger"));
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
    }

    /// Puts back what died by the crash rule. A broker that does not answer is asked again later.
    async fn replay(&mut self) {
        let Ok(backlog) = self.queue.backlog().await else { return };
        let Ok(limit) = usize::try_from(backlog.dead) else { return };
        let Ok(letters) = self.queue.dead_letters(limit).await else { return };
        let mut seen = BTreeSet::new();
        for letter in letters {
            let died = letter.reason.as_deref().is_some_and(|reason| reason.contains(DIED));
            if died
                && seen.insert(letter.id.clone())
                && matches!(self.queue.replay(&letter.id, "chaos").await, Ok(true))
            {
                self.deeds.replayed += 1;
                self.replayed.insert(look::key_of(&letter));
            }
        }
    }

    fn add(&mut self, kind: Kind) -> anyhow::Result<()> {
        let place = self.world.add_ticket(kind)?;
        self.deeds.added += 1;
        self.trigger(Trigger { ticket: place, form: Form::Client, again: false });
        Ok(())
    }

    /// Drains all workers and waits until they are gone.
    async fn empty_places(&mut self) -> anyhow::Result<()> {
        self.fleet.rest();
        let deadline = Instant::now() + REST;
        while !self.fleet.is_empty() {
            if Instant::now() > deadline {
                bail!("workers did not end within {REST:?}");
            }
            self.tick().await?;
        }
        Ok(())
    }

    /// The queue is empty, then the workers end, then it is still empty: nobody held anything.
    async fn come_to_rest(&mut self) -> anyhow::Result<Vec<DeadLetter>> {
        let deadline = Instant::now() + REST;
        loop {
            while !self.publishing.is_empty() || !self.chores.is_empty() || !self.is_empty().await {
                self.tick().await?;
                if Instant::now() > deadline {
                    let backlog = self.queue.backlog().await;
                    self.deeds.wrong.push(format!("the queue is not empty after {REST:?}: {backlog:?}"));
                    break;
                }
            }
            self.empty_places().await?;
            self.replay().await;
            if self.is_empty().await || Instant::now() > deadline {
                break;
            }
            self.fleet.resume();
        }
        let letters = self.letters().await;
        Ok(letters.unwrap_or_else(|error| {
            self.deeds.wrong.push(format!("the dead letters cannot be read at the end: {error:#}"));
            Vec::new()
        }))
    }

    /// All dead letters; a broker that does not answer is asked again for a while.
    async fn letters(&self) -> anyhow::Result<Vec<DeadLetter>> {
        let deadline = Instant::now() + LAST_LOOK;
        loop {
            let all = async {
                let dead = usize::try_from(self.queue.backlog().await?.dead)?;
                let letters = self.queue.dead_letters(dead).await?;
                ensure!(letters.len() == dead, "{} of {dead} can be read", letters.len());
                Ok(letters)
            };
            match all.await {
                Err(_) if Instant::now() < deadline => tokio::time::sleep(LETTERS).await,
                result => return result,
            }
        }
    }

    async fn is_empty(&self) -> bool {
        let backlog = self.queue.backlog().await;
        backlog
            .is_ok_and(|backlog| backlog.ready == 0 && backlog.delayed == 0 && backlog.held.unwrap_or(0) == 0)
    }
}
