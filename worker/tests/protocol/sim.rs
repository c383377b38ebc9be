//! What all parties of an execution share, and the gates at which they wait for their turn.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use jiff::Timestamp;
use jira_agent::domain::{TaskId, TicketMemory};
use tokio::time::Instant;

use crate::outside::Outside;
use crate::queue::Broker;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Sound,
    /// The transport forgets a task when it hands it out: an ack before the report.
    AckFirst,
    /// The transport grants every wish for a lease.
    NoLease,
    /// Pull requests and comments are created without looking for them.
    NoFind,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Go,
    /// Before the effect: the service is down; after it: its answer is lost.
    Fail,
}

/// A point at which a worker waits for its turn.
pub struct Gate {
    pub label: &'static str,
    pub can_fail: bool,
    granted: Option<Fate>,
    waker: Option<Waker>,
}

pub struct Sim {
    pub variant: Variant,
    /// `worker.max_attempts`.
    pub max_attempts: u32,
    pub gates: Vec<Option<Gate>>,
    pub broker: Broker,
    pub outside: Outside,
    /// The first thing that must not happen.
    pub violation: Option<String>,
    /// Workers that died, froze or were cut off while they held a task.
    pub deaths: u32,
    /// Everything that may have cost an attempt.
    pub disturbances: u32,
    /// Whether a worker was cut off that did not know it for a moment.
    pub cut_off: bool,
    /// Whether such a moment made a worker overwrite a memory that it had not read: the memory cannot be judged then.
    pub clobbered: bool,
    /// Whether a worker wrote a comment in such a moment: what the ticket tells cannot be judged then.
    pub ghost_spoke: bool,
    /// The memory as each worker last read it.
    pub last_read: Vec<Option<TicketMemory>>,
    /// When a cancel was ordered.
    pub ordered: Option<Timestamp>,
    /// Whether a failure may have been told in the moment before its worker died.
    pub excused: bool,
    /// The names of the tasks in traces.
    pub names: BTreeMap<TaskId, &'static str>,
    started: Instant,
    ticks: i64,
}

/// The handle to it. Nothing may be dropped that holds one while it is locked.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Sim>>);

impl Shared {
    pub fn new(variant: Variant, workers: usize, max_attempts: u32) -> Self {
        let sim = Sim {
            variant,
            max_attempts,
            gates: (0..workers).map(|_| None).collect(),
            broker: Broker::default(),
            outside: Outside::default(),
            violation: None,
            deaths: 0,
            disturbances: 0,
            cut_off: false,
            clobbered: false,
            ghost_spoke: false,
            last_read: vec![None; workers],
            ordered: None,
            excused: false,
            names: BTreeMap::new(),
            started: Instant::now(),
            ticks: 0,
        };
        Self(Arc::new(Mutex::new(sim)))
    }

    pub fn lock(&self) -> MutexGuard<'_, Sim> {
        self.0.lock().unwrap()
    }

    /// Waits for this worker's turn.
    pub async fn gate(&self, worker: usize, label: &'static str, can_fail: bool) -> Fate {
        let gate = Gate { label, can_fail, granted: None, waker: None };
        let before = self.lock().gates[worker].replace(gate);
        assert!(before.is_none(), "a worker does one thing at a time: {label}");
        let _left = Left { shared: self.clone(), worker };
        poll_fn(|context| {
            let mut sim = self.lock();
            let gate = sim.gates[worker].as_mut().unwrap();
            gate.waker = Some(context.waker().clone());
            gate.granted.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Takes the gate away when the worker has passed it or given it up.
struct Left {
    shared: Shared,
    worker: usize,
}

impl Drop for Left {
    fn drop(&mut self) {
        self.shared.lock().gates[self.worker] = None;
    }
}

impl Sim {
    /// Lets a worker pass its gate.
    pub fn grant(&mut self, worker: usize, fate: Fate) {
        let gate = self.gates[worker].as_mut().unwrap();
        gate.granted = Some(fate);
        if let Some(waker) = gate.waker.take() {
            waker.wake();
        }
    }

    /// Whether a worker waits at a gate that it could pass.
    pub fn is_ready(&self, worker: usize) -> bool {
        match &self.gates[worker] {
            Some(gate) if gate.label == "deliver" => !self.broker.ready.is_empty(),
            Some(_) => true,
            None => false,
        }
    }

    /// The time: the fake clock's, and later with each look.
    pub fn now(&mut self) -> Timestamp {
        self.ticks += 1;
        let micros = i64::try_from(self.started.elapsed().as_micros()).unwrap() + self.ticks;
        Timestamp::from_microsecond(1_800_000_000_000_000 + micros).unwrap()
    }

    /// Notes what must not happen.
    pub fn violated(&mut self, invariant: &str, detail: impl std::fmt::Display) {
        self.violation.get_or_insert_with(|| format!("{invariant}: {detail}"));
    }

    pub fn check(&mut self, holds: bool, invariant: &str, detail: impl std::fmt::Display) {
        if !holds {
            self.violated(invariant, detail);
        }
    }

    pub fn name(&self, run: TaskId) -> &'static str {
        self.names.get(&run).copied().unwrap_or("an unknown task")
    }
}
