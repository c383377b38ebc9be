//! The world around a run: one ticket, one branch, its pull requests, the model. Every call is a gate before its
//! effect, and every effect one more before its answer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jira_agent::config::Config;
use jira_agent::domain::{
    AccountId, CancelRequest, Comment, CommentId, CommentMarker, Outcome, TaskId, Ticket, TicketKey,
    TicketMemory,
};
use jira_agent::redact::Redactor;
use jira_agent::sticky::{self, Board, Own, Trouble};
use jira_agent_worker::breaker::Breaker;
use jira_agent_worker::failure::Transient;
use jira_agent_worker::metrics::Metrics;
use jira_agent_worker::products::Claimed;
use jira_agent_worker::run_log::RunLog;
use jira_agent_worker::steps::report;
use jira_agent_worker::world::{TicketStore, World};
use tokio_util::sync::CancellationToken;

use crate::sim::{Fate, Shared, Sim, Variant};

/// Who starts runs by assignment, and who gets the ticket afterwards.
const AGENT: &str = "agent";
const REVIEWER: &str = "reviewer";

/// A run that ended, as it really was, whatever the ticket's memory holds of it.
pub struct Ended {
    pub run: TaskId,
    pub end: String,
    pub seen: Timestamp,
}

/// What the services hold.
pub struct Outside {
    pub assignee: &'static str,
    pub in_review: bool,
    pub linked: bool,
    /// When people commented.
    pub inputs: Vec<Timestamp>,
    pub memory: TicketMemory,
    pub cancel: Option<CancelRequest>,
    /// Our comments: number, marker, text.
    pub comments: Vec<(u64, String, String)>,
    numbers: u64,
    /// The commits on the agent's branch, by the run in their trailer.
    pub branch: Vec<TaskId>,
    /// How many pull requests are open for it.
    pub pulls: u32,
    /// How often the model was asked, by run.
    pub paid: BTreeMap<TaskId, u32>,
    pub ended: Vec<Ended>,
    pub asked: BTreeMap<TaskId, Timestamp>,
    at_work: Vec<usize>,
    steps: BTreeMap<TaskId, &'static str>,
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            assignee: AGENT,
            in_review: false,
            linked: false,
            inputs: Vec::new(),
            memory: TicketMemory::default(),
            cancel: None,
            comments: Vec::new(),
            numbers: 0,
            branch: Vec::new(),
            pulls: 0,
            paid: BTreeMap::new(),
            ended: Vec::new(),
            asked: BTreeMap::new(),
            at_work: Vec::new(),
            steps: BTreeMap::new(),
        }
    }
}

impl Outside {
    pub fn is_withdrawn(&self) -> bool {
        self.assignee != AGENT
    }
}

/// What all workers have in common.
pub struct Constants {
    pub config: Config,
    pub redactor: Redactor,
    pub metrics: Metrics,
}

/// The world as one worker sees it.
pub struct SimWorld {
    pub shared: Shared,
    pub worker: usize,
    pub constants: Arc<Constants>,
    pub breaker: Breaker,
}

fn down(label: &str) -> anyhow::Error {
    Transient(format!("no answer: {label}")).into()
}

/// A call that changes nothing.
async fn read<T>(
    shared: &Shared,
    worker: usize,
    label: &'static str,
    look: impl FnOnce(&mut Sim) -> T,
) -> anyhow::Result<T> {
    match shared.gate(worker, label, true).await {
        Fate::Go => Ok(look(&mut shared.lock())),
        Fate::Fail => Err(down(label)),
    }
}

/// A call that changes something: it may fail before that, and its answer may be lost after it.
async fn act<T>(
    shared: &Shared,
    worker: usize,
    label: &'static str,
    effect: impl FnOnce(&mut Sim) -> T,
) -> anyhow::Result<T> {
    let done = read(shared, worker, label, effect).await?;
    match shared.gate(worker, "answer", true).await {
        Fate::Go => Ok(done),
        Fate::Fail => Err(down(label)),
    }
}

impl SimWorld {
    async fn read<T>(&self, label: &'static str, look: impl FnOnce(&mut Sim) -> T) -> anyhow::Result<T> {
        read(&self.shared, self.worker, label, look).await
    }

    /// An effect of a run; none takes hold that a person has stopped before.
    async fn act<T>(
        &self,
        run: TaskId,
        label: &'static str,
        effect: impl FnOnce(&mut Sim) -> T,
    ) -> anyhow::Result<T> {
        act(&self.shared, self.worker, label, |sim| {
            sim.check_not_cancelled(run, label);
            effect(sim)
        })
        .await
    }

    fn enter(&self, claimed: &Claimed) -> Inside<'_> {
        let mut sim = self.shared.lock();
        sim.check_entry(self.worker, claimed);
        // Whom the broker has given up may not know it yet; there the fences at the effects hold.
        let active = |worker: &usize| sim.broker.holds(*worker);
        let alone = !sim.outside.at_work.iter().any(active) || !active(&self.worker);
        sim.check(alone, "two workers at work on one ticket", format!("worker {}", self.worker));
        sim.outside.at_work.push(self.worker);
        Inside(self)
    }
}

/// Held by a worker at work.
struct Inside<'world>(&'world SimWorld);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.shared.lock().outside.at_work.retain(|worker| *worker != self.0.worker);
    }
}

#[async_trait]
impl World for SimWorld {
    fn now(&self) -> Timestamp {
        self.shared.lock().now()
    }

    fn config(&self) -> &Config {
        &self.constants.config
    }

    fn redactor(&self) -> &Redactor {
        &self.constants.redactor
    }

    fn tickets(&self) -> &dyn TicketStore {
        self
    }

    fn metrics(&self) -> &Metrics {
        &self.constants.metrics
    }

    fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// The effects of `pipeline::work`, in its order.
    async fn work(
        &self,
        claimed: &Claimed,
        _log: &mut RunLog,
        _cancel: &CancellationToken,
    ) -> anyhow::Result<Outcome> {
        let _inside = self.enter(claimed);
        let run = claimed.task.id;
        let blind = self.shared.lock().variant == Variant::NoFind;
        let supersede = async |reason: &String| {
            // `pipeline::supersede`.
            let outcome = Outcome::Superseded { reason: reason.clone() };
            let own = &claimed.ticket.own_comments;
            report::close(self, &claimed.task.ticket, own, &outcome, run).await?;
            anyhow::Ok(outcome)
        };
        // `workspace::has_pushed`: looks for a commit of this run where nothing else would be done.
        if let Some(reason) = &claimed.obsolete
            && !self.read("look", |sim| sim.outside.branch.contains(&run)).await?
        {
            return supersede(reason).await;
        }
        // `workspace::prepare`: fetches the branch and looks for a commit of this run.
        let looked = self.read("fetch", |sim| (sim.outside.branch.len(), sim.outside.branch.contains(&run)));
        let (head, resumed) = looked.await?;
        if let (Some(reason), false) = (&claimed.obsolete, resumed) {
            // `pipeline::obsolete`.
            return supersede(reason).await;
        }
        if !resumed {
            // `edit::write` and `check::run`.
            self.act(run, "model", |sim| *sim.outside.paid.entry(run).or_default() += 1).await?;
            // `publish::push`: compare and swap.
            let push = |sim: &mut Sim| {
                let holds = sim.outside.branch.len() == head;
                sim.outside.branch.extend(holds.then_some(run));
                holds
            };
            if !self.act(run, "push", push).await? {
                return Err(Transient("somebody else moved the branch".to_owned()).into());
            }
        }
        // `publish::pull_request`: found by its head, else opened; GitHub refuses a second one for the same head.
        let found = !blind && self.read("find pull", |sim| sim.outside.pulls > 0).await?;
        if !found {
            let open = |sim: &mut Sim| sim.outside.pulls += u32::from(blind || sim.outside.pulls == 0);
            self.act(run, "open pull", open).await?;
        }
        // `report::report`: the ticket moves, goes to the reviewer, gets its link and its comment, then the marker.
        self.act(run, "move", |sim| sim.outside.in_review = true).await?;
        self.act(run, "assign", |sim| sim.outside.assignee = REVIEWER).await?;
        self.act(run, "link", |sim| sim.outside.linked = true).await?;
        let marker = CommentMarker::new("report", &run.to_string());
        self.comment(&claimed.task.ticket, &marker, "the pull request is open").await?;
        let opened = self.shared.lock().outside.branch.first() == Some(&run);
        let (url, number, branch) = (String::new(), 1, claimed.branch.clone());
        let outcome = if opened {
            Outcome::PullRequestOpened { url, number, branch }
        } else {
            Outcome::PullRequestUpdated { url, number, branch }
        };
        report::mark(self, claimed, &outcome).await?;
        Ok(outcome)
    }

    fn note_step(&self, run: TaskId, step: &'static str) {
        self.shared.lock().outside.steps.insert(run, step);
    }

    fn forget_step(&self, run: TaskId) {
        self.shared.lock().outside.steps.remove(&run);
    }

    fn last_step(&self, run: TaskId) -> Option<String> {
        self.shared.lock().outside.steps.get(&run).map(|step| (*step).to_owned())
    }
}

#[async_trait]
impl TicketStore for SimWorld {
    async fn read(&self, key: &TicketKey) -> anyhow::Result<Ticket> {
        SimWorld::read(self, "read ticket", |sim| {
            sim.last_read[self.worker] = Some(sim.outside.memory.clone());
            sim.ticket(key)
        })
        .await
    }

    async fn memory(&self, _key: &TicketKey) -> anyhow::Result<TicketMemory> {
        SimWorld::read(self, "read memory", |sim| {
            sim.last_read[self.worker] = Some(sim.outside.memory.clone());
            sim.memory()
        })
        .await
    }

    async fn write_memory(&self, _key: &TicketKey, memory: &TicketMemory) -> anyhow::Result<()> {
        // The cancel request has a place of its own.
        let memory = TicketMemory { cancel: None, ..memory.clone() };
        act(&self.shared, self.worker, "write memory", |sim| {
            sim.check_write(self.worker);
            sim.note_ends(&memory);
            sim.last_read[self.worker] = Some(memory.clone());
            sim.outside.memory = memory;
        })
        .await
    }

    async fn comment(&self, _key: &TicketKey, marker: &CommentMarker, text: &str) -> anyhow::Result<()> {
        let board = TicketBoard { world: self, marker: marker.key(), text: text.to_owned() };
        sticky::upsert(&board).await.map_err(|error| error.0)?;
        Ok(())
    }

    async fn agent(
        &self,
        _key: &TicketKey,
        _configured: Option<&AccountId>,
    ) -> anyhow::Result<Option<AccountId>> {
        Ok(Some(AGENT.parse()?))
    }
}

impl Sim {
    fn memory(&self) -> TicketMemory {
        TicketMemory { cancel: self.outside.cancel.clone(), ..self.outside.memory.clone() }
    }

    fn ticket(&self, key: &TicketKey) -> Ticket {
        let comment = |at: &Timestamp| Comment {
            id: String::new(),
            author: None,
            author_name: String::new(),
            body: String::new(),
            created_at: *at,
            updated_at: *at,
        };
        let own = |comment: &(u64, String, String)| {
            let (kind, round) = comment.1.split_once(':')?;
            Some(CommentMarker::new(kind, round))
        };
        Ticket {
            key: key.clone(),
            url: String::new(),
            summary: String::new(),
            description: String::new(),
            status: String::new(),
            labels: Vec::new(),
            components: Vec::new(),
            assignees: self.outside.assignee.parse().into_iter().collect(),
            reporter: None,
            kind: String::new(),
            comments: self.outside.inputs.iter().map(comment).collect(),
            updated_at: Timestamp::UNIX_EPOCH,
            memory: self.memory(),
            own_comments: self.outside.comments.iter().filter_map(own).collect(),
        }
    }
}

/// The comments of one marker, for the product's own find-or-create.
struct TicketBoard<'world> {
    world: &'world SimWorld,
    marker: String,
    text: String,
}

struct BoardError(anyhow::Error);

impl TicketBoard<'_> {
    async fn effect<T>(
        &self,
        label: &'static str,
        effect: impl FnOnce(&mut Sim) -> T,
    ) -> Result<T, BoardError> {
        let SimWorld { shared, worker, .. } = self.world;
        let done = act(shared, *worker, label, |sim| {
            sim.ghost_spoke |= sim.broker.is_ghost(*worker);
            effect(sim)
        });
        done.await.map_err(BoardError)
    }
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Board for TicketBoard<'_> {
    type Error = BoardError;

    async fn own(&self) -> Result<Vec<Own>, BoardError> {
        let own = |sim: &mut Sim| {
            if sim.variant == Variant::NoFind {
                return Vec::new();
            }
            let ours = sim.outside.comments.iter().filter(|comment| comment.1 == self.marker);
            ours.map(|(id, _, text)| Own { id: CommentId::from(*id), right: *text == self.text }).collect()
        };
        self.world.read("list comments", own).await.map_err(BoardError)
    }

    async fn create(&self) -> Result<CommentId, BoardError> {
        let create = |sim: &mut Sim| {
            sim.outside.numbers += 1;
            let id = sim.outside.numbers;
            sim.outside.comments.push((id, self.marker.clone(), self.text.clone()));
            CommentId::from(id)
        };
        self.effect("create comment", create).await
    }

    async fn update(&self, id: CommentId) -> Result<(), BoardError> {
        let update = |sim: &mut Sim| {
            let comments = sim.outside.comments.iter_mut();
            comments.filter(|comment| CommentId::from(comment.0) == id).for_each(|comment| {
                comment.2.clone_from(&self.text);
            });
        };
        self.effect("update comment", update).await
    }

    async fn delete(&self, id: CommentId) -> Result<(), BoardError> {
        let delete = |sim: &mut Sim| sim.outside.comments.retain(|comment| CommentId::from(comment.0) != id);
        self.effect("delete comment", delete).await
    }

    fn trouble(_error: &BoardError) -> Trouble {
        Trouble::Ambiguous
    }

    fn restless(&self) -> BoardError {
        BoardError(down("the comments do not come to rest"))
    }
}
