//! One execution: two workers on one ticket, driven by a list of choices.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use jira_agent::config::{Config, ConfigSources};
use jira_agent::domain::{CancelRequest, Order, Task, TaskId, Trigger, TriggerKind};
use jira_agent::queue::QueueError;
use jira_agent::queue::tiers::Tiers;
use jira_agent::redact::Redactor;
use jira_agent_worker::breaker::Breaker;
use jira_agent_worker::consumer::{Stopped, Until, Worker};
use jira_agent_worker::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::message::Message;
use crate::outside::{Constants, SimWorld};
use crate::queue::SimQueue;
use crate::schedule::Choices;
use crate::sim::{Fate, Shared, Variant};

const WORKERS: usize = 2;
/// More steps are a run that does not come to rest.
const STEPS: usize = 3000;
/// Longer than any wait before a new connection.
const RECONNECTED: Duration = Duration::from_secs(15);
/// Longer than `worker.drain_timeout` and less than `worker.run_deadline`.
const DRAINED: Duration = Duration::from_mins(2);

/// What may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// The worker goes on to its next gate.
    Go(usize),
    /// The service does not answer it.
    Fail(usize),
    Crash(usize),
    /// It stands still, and the broker gives it up.
    Freeze(usize),
    Thaw(usize),
    /// Its connection breaks, and it knows.
    Lose(usize),
    /// Its connection breaks, and it does not know yet.
    CutOff(usize),
    Drain(usize),
    /// A person comments, and that is a task.
    Comment,
    /// The first task's message comes a second time.
    Duplicate,
    /// A person cancels: on the ticket, and with an order or without.
    Cancel(bool),
    /// A person gives the ticket to somebody else.
    Withdraw,
    BrokerRestart,
    /// All stand still for this long, whether they are at work or not.
    Pass(Duration),
    /// Until the next task is due.
    Advance,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Running = Pin<Box<dyn Future<Output = Result<Stopped, QueueError>>>>;

/// A worker's process.
struct Process {
    future: Running,
    flag: Arc<Flag>,
    shutdown: CancellationToken,
    frozen: bool,
}

struct Execution {
    shared: Shared,
    constants: Arc<Constants>,
    processes: Vec<Process>,
    first: Task,
    current: usize,
    commented: bool,
    duplicated: bool,
}

/// The settings of executions in which a task has so many attempts.
pub fn constants(max_attempts: u32) -> Arc<Constants> {
    let mut config = Config::load(ConfigSources::default()).unwrap();
    config.routes = vec![toml::from_str("repo = 'https://github.com/acme/shop'\nmode = 'quickfix'").unwrap()];
    config.worker.max_attempts = max_attempts;
    config.worker.drain_timeout = Duration::from_mins(1);
    Arc::new(Constants { config, redactor: Redactor::default(), metrics: Metrics::default() })
}

/// Runs one execution to its rest. Gives what must not have happened.
pub fn run(constants: &Arc<Constants>, variant: Variant, choices: &mut Choices) -> Option<String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let shared = Shared::new(variant, WORKERS, constants.config.worker.max_attempts);
        let first = publish(&shared, "the first task", TriggerKind::Assignment);
        publish(&shared, "the second task", TriggerKind::Webhook);
        let processes = (0..WORKERS).map(|worker| start(&shared, constants, worker)).collect();
        let mut execution = Execution {
            shared: shared.clone(),
            constants: constants.clone(),
            processes,
            first,
            current: 0,
            commented: false,
            duplicated: false,
        };
        execution.go(choices).await;
        drop(execution);
        shared.lock().violation.take()
    })
}

fn publish(shared: &Shared, name: &'static str, kind: TriggerKind) -> Task {
    let mut sim = shared.lock();
    let now = sim.now();
    let id = TaskId::generate();
    let trigger = Some(Trigger { kind, id: String::new() });
    let task = Task { id, trigger, requested_at: Some(now), ..Task::new("PROJ-1".parse().unwrap()) };
    sim.names.insert(id, name);
    sim.outside.asked.insert(id, now);
    sim.broker.ready.push_back(Message::first(&task));
    task
}

fn start(shared: &Shared, constants: &Arc<Constants>, worker: usize) -> Process {
    let world = SimWorld {
        shared: shared.clone(),
        worker,
        constants: constants.clone(),
        breaker: Breaker::new(&Tiers::new(&constants.config.queue.retry_delays)),
    };
    let queue = SimQueue { shared: shared.clone(), worker };
    let shutdown = CancellationToken::new();
    let worker = Worker::new(Arc::new(world), Arc::new(queue), shutdown.clone());
    let future: Running = Box::pin(async move { worker.run(Until::default()).await });
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    Process { future, flag, shutdown, frozen: false }
}

impl Execution {
    async fn go(&mut self, choices: &mut Choices) {
        for _ in 0..STEPS {
            self.settle_down().await;
            if self.shared.lock().violation.is_some() {
                return;
            }
            let Some(options) = self.options(choices.is_open()) else {
                self.shared.lock().check_rest();
                return;
            };
            let action = options[choices.choose(options.len())];
            choices.trace.push(self.describe(action));
            self.perform(action).await;
        }
        self.shared.lock().violated("it does not come to rest", STEPS);
    }

    /// Lets everybody who can go on without passing a gate do so.
    async fn settle_down(&mut self) {
        let mut calm = 0;
        while calm < 4 {
            calm += 1;
            for worker in 0..WORKERS {
                let process = &mut self.processes[worker];
                if process.frozen || !process.flag.0.swap(false, Ordering::Relaxed) {
                    continue;
                }
                calm = 0;
                let waker = Waker::from(process.flag.clone());
                let polled = process.future.as_mut().poll(&mut Context::from_waker(&waker));
                if let Poll::Ready(ended) = polled {
                    let stopped = matches!(ended, Ok(Stopped::Shutdown)) && process.shutdown.is_cancelled();
                    self.shared.lock().check(stopped, "a worker ended by itself", format!("{ended:?}"));
                    self.replace(worker);
                }
            }
            yield_once().await;
        }
    }

    /// A new process in place of one that is gone.
    fn replace(&mut self, worker: usize) {
        let new = start(&self.shared, &self.constants, worker);
        self.processes[worker] = new;
    }

    /// What may happen next, the usual first; `None` at rest.
    fn options(&mut self, open: bool) -> Option<Vec<Action>> {
        let mut sim = self.shared.lock();
        sim.broker.ripen();
        let ready: Vec<usize> =
            (0..WORKERS).filter(|worker| !self.processes[*worker].frozen && sim.is_ready(*worker)).collect();
        let frozen = (0..WORKERS).find(|worker| self.processes[*worker].frozen);
        let mut options = Vec::new();
        if ready.contains(&self.current) {
            options.push(Action::Go(self.current));
        }
        options
            .extend(ready.iter().filter(|worker| **worker != self.current).map(|worker| Action::Go(*worker)));
        if options.is_empty() {
            // Nobody can do anything at once.
            if let Some(worker) = frozen {
                options.push(Action::Thaw(worker));
            } else if sim.broker.notice(None) {
                options.push(Action::Pass(Duration::ZERO));
            } else if (0..WORKERS).any(|worker| sim.gates[worker].is_none()) {
                options.push(Action::Pass(RECONNECTED));
            } else if !sim.broker.delayed.is_empty() {
                options.push(Action::Advance);
            } else {
                return None;
            }
        } else if let Some(worker) = frozen {
            options.push(Action::Thaw(worker));
        }
        if !open {
            return Some(options);
        }
        for worker in ready {
            if sim.gates[worker].as_ref().is_some_and(|gate| gate.can_fail) {
                options.push(Action::Fail(worker));
            }
            if sim.broker.holds(worker) {
                options.extend([Action::Crash(worker), Action::Freeze(worker), Action::Lose(worker)]);
                options.extend([Action::CutOff(worker), Action::Drain(worker)]);
            }
        }
        if !self.commented {
            options.push(Action::Comment);
        }
        if !self.duplicated {
            options.push(Action::Duplicate);
        }
        if sim.outside.cancel.is_none() {
            options.extend([Action::Cancel(true), Action::Cancel(false)]);
        }
        if !sim.outside.is_withdrawn() {
            options.push(Action::Withdraw);
        }
        options.push(Action::BrokerRestart);
        let draining = self.processes.iter().any(|process| process.shutdown.is_cancelled());
        let deadline = self.constants.config.worker.run_deadline + Duration::from_secs(1);
        options.push(Action::Pass(if draining { DRAINED } else { deadline }));
        Some(options)
    }

    fn describe(&self, action: Action) -> String {
        let sim = self.shared.lock();
        match action {
            Action::Go(worker) => {
                format!("{worker} {}", sim.gates[worker].as_ref().map_or("", |gate| gate.label))
            }
            Action::Fail(worker)
            | Action::Crash(worker)
            | Action::Freeze(worker)
            | Action::CutOff(worker)
            | Action::Lose(worker) => {
                let label = sim.gates[worker].as_ref().map_or("", |gate| gate.label);
                format!("{action:?} before {label}")
            }
            _ => format!("{action:?}"),
        }
    }

    async fn perform(&mut self, action: Action) {
        if matches!(action, Action::Pass(_) | Action::Advance) {
            // A lost connection is known within two seconds.
            self.shared.lock().broker.notice(None);
        }
        match action {
            Action::Go(worker) | Action::Fail(worker) => {
                self.current = worker;
                let fate = if matches!(action, Action::Go(_)) { Fate::Go } else { Fate::Fail };
                let mut sim = self.shared.lock();
                if fate == Fate::Fail {
                    sim.disturb();
                }
                sim.grant(worker, fate);
            }
            Action::Crash(worker) => {
                self.cut(worker, true, true);
                self.replace(worker);
            }
            Action::Freeze(worker) => {
                self.cut(worker, true, false);
                self.processes[worker].frozen = true;
            }
            Action::Thaw(worker) => {
                self.shared.lock().broker.notice(Some(worker));
                self.processes[worker].frozen = false;
            }
            Action::Lose(worker) => self.cut(worker, false, true),
            Action::CutOff(worker) => {
                self.cut(worker, true, false);
                self.shared.lock().cut_off = true;
            }
            Action::Drain(worker) => {
                self.shared.lock().disturbances += 1;
                self.processes[worker].shutdown.cancel();
            }
            Action::Comment => {
                self.commented = true;
                let mut sim = self.shared.lock();
                let now = sim.now();
                sim.outside.inputs.push(now);
                drop(sim);
                publish(&self.shared, "the task of the comment", TriggerKind::Comment);
            }
            Action::Duplicate => {
                self.duplicated = true;
                self.shared.lock().broker.ready.push_back(Message::first(&self.first));
            }
            Action::Cancel(ordered) => self.cancel(ordered),
            Action::Withdraw => self.shared.lock().outside.assignee = "somebody",
            Action::BrokerRestart => {
                for worker in (0..WORKERS).filter(|worker| !self.processes[*worker].frozen) {
                    self.cut(worker, false, true);
                }
            }
            Action::Pass(time) => {
                self.shared.lock().disturbances += u32::from(time > RECONNECTED);
                tokio::time::advance(time).await;
            }
            Action::Advance => {
                let due = self.shared.lock().broker.delayed.iter().map(|(due, _)| *due).min();
                let left = due.map(|due| due.saturating_duration_since(tokio::time::Instant::now()));
                tokio::time::advance(left.unwrap_or_default()).await;
            }
        }
    }

    fn cut(&self, worker: usize, death: bool, noticed: bool) {
        let mut sim = self.shared.lock();
        sim.deaths += u32::from(death);
        sim.disturb();
        sim.broker.cut(worker, death, noticed);
    }

    fn cancel(&self, ordered: bool) {
        let mut sim = self.shared.lock();
        let request = CancelRequest { by: "ann".parse().unwrap(), at: sim.now() };
        sim.outside.cancel = Some(request.clone());
        if ordered {
            let CancelRequest { by, at } = request;
            sim.ordered = Some(at);
            sim.broker.order(Order::Cancel { ticket: "PROJ-1".parse().unwrap(), by, at });
        }
    }
}

/// Lets the runtime's other tasks go on.
async fn yield_once() {
    tokio::task::yield_now().await;
    poll_fn(|_| Poll::Ready(())).await;
}
