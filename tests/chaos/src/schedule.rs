//! The schedule: which tickets, which triggers in which order, and what is done to whom after how many finished runs.
//! It follows from seed, runs, workers and transport alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fastrand::Rng;
use jira_agent_worker::crash::POINTS;

use crate::cli::Transport;
use crate::faults::KINDS;

/// How far a trigger may come before or after its place in the order of tickets.
const DISORDER: usize = 8;
/// Tickets in one repository, about.
const TICKETS_A_REPOSITORY: usize = 100;

/// What a schedule follows from.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Tickets.
    pub runs: usize,
    /// Worker processes.
    pub workers: usize,
    /// What carries the tasks.
    pub transport: Transport,
    /// Draws everything else.
    pub seed: u64,
}

/// What a ticket asks for, and so how it has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A Jira ticket straight to a pull request.
    Fix,
    /// A Jira ticket to a draft with a plan.
    Plan,
    /// A GitHub issue straight to a pull request.
    Issue,
    /// A Jira ticket whose task names a repository that is not ours: a dead letter, and the ticket says so.
    Refused,
}

/// How a trigger puts a task on the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// By the product's client. Another one of the ticket is the same task once more.
    Client,
    /// By the product's client, as a task of its own.
    Other,
    /// By the product's client, as a task of its own that is asked for when it is published: a run has to see it.
    Newer,
    /// JSON of another program, without an id.
    Foreign,
    /// The bare key, or the least JSON for a GitHub issue: asked for whenever it is read.
    Bare,
}

/// One trigger.
#[derive(Debug, Clone, Copy)]
pub struct Trigger {
    /// The ticket's place.
    pub ticket: usize,
    /// How.
    pub form: Form,
    /// Only after the ticket's run has ended.
    pub again: bool,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// SIGKILL.
    Kill {
        /// Which worker.
        worker: usize,
    },
    /// SIGSTOP, and SIGCONT so much later.
    Pause {
        /// Which worker.
        worker: usize,
        /// Milliseconds.
        milliseconds: u64,
    },
    /// SIGTERM; the worker is replaced.
    Drain {
        /// Which worker.
        worker: usize,
    },
    /// SIGTERM; the worker is replaced by one that dies at a crash point.
    Arm {
        /// Which worker.
        worker: usize,
        /// Where it dies.
        point: &'static str,
    },
    /// The broker is stopped and started.
    RestartBroker,
    /// The broker is killed (SIGKILL) and started.
    KillBroker,
    /// The broker is told to close the workers' connections.
    CloseConnections,
    /// Every connection to the broker is cut on its way.
    CutAll,
    /// One connection to the broker is cut on its way.
    CutOne,
    /// One connection to the broker says and hears nothing for a while.
    BlackHole {
        /// Milliseconds.
        milliseconds: u64,
    },
    /// Everything to and from the broker is late for a while.
    Delay {
        /// Milliseconds that each piece waits.
        by: u64,
        /// Milliseconds in all.
        milliseconds: u64,
    },
    /// Every connection to Jira, GitHub and the model is cut on its way.
    CutServices,
    /// A service misbehaves once.
    Fault {
        /// Its place in [`KINDS`].
        kind: usize,
    },
}

/// An action and its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// After so many finished runs.
    pub after: usize,
    /// What.
    pub action: Action,
}

/// All of it.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// How many repositories the tickets are spread over.
    pub repositories: usize,
    /// What each ticket asks for.
    pub tickets: Vec<Kind>,
    /// In the order in which they come, but for those that come again.
    pub triggers: Vec<Trigger>,
    /// In the order of their moments.
    pub actions: Vec<Planned>,
}

impl Action {
    /// What it does to a worker, the broker or a connection, in words without its numbers; crash points and services
    /// that misbehave are counted one by one elsewhere.
    pub fn trouble(self) -> Option<&'static str> {
        Some(match self {
            Self::Kill { .. } => "random kills",
            Self::Pause { .. } => "stops (SIGSTOP)",
            Self::Drain { .. } => "drains (SIGTERM)",
            Self::RestartBroker => "broker restarts",
            Self::KillBroker => "broker kills (SIGKILL)",
            Self::CloseConnections => "connections closed by the broker",
            Self::CutAll => "all connections to the broker cut at once",
            Self::CutOne => "single connections to the broker cut",
            Self::BlackHole { .. } => "pieces held on a silenced connection to the broker",
            Self::Delay { .. } => "pieces delayed to and from the broker",
            Self::CutServices => "connections cut to services",
            Self::Arm { .. } | Self::Fault { .. } => return None,
        })
    }
}

/// What a trigger is beside another one of the order.
pub const TWICE: &str = "triggers beside a ticket's first";
/// See [`TWICE`].
pub const DISORDERED: &str = "triggers out of order";

impl Schedule {
    /// Everything that has to come: each kind of trouble, and an action that brings it where one does.
    pub fn planned(&self) -> BTreeMap<&'static str, Option<Action>> {
        let actions = self.actions.iter().map(|planned| planned.action);
        let mut planned: BTreeMap<&'static str, Option<Action>> =
            actions.filter_map(|action| Some((action.trouble()?, Some(action)))).collect();
        let mut seen = BTreeSet::new();
        for trigger in &self.triggers {
            if seen.last().is_some_and(|last| *last > trigger.ticket) {
                planned.insert(DISORDERED, None);
            }
            if !seen.insert(trigger.ticket) {
                planned.insert(TWICE, None);
            }
        }
        planned
    }

    /// Draws it.
    pub fn draw(size: &Size) -> Self {
        let mut rng = Rng::with_seed(size.seed);
        let tickets: Vec<Kind> = (0..size.runs).map(|_| draw_kind(&mut rng)).collect();
        let triggers = draw_triggers(&mut rng, &tickets);
        let actions = draw_actions(&mut rng, size);
        let repositories = size.runs.div_ceil(TICKETS_A_REPOSITORY).clamp(2, 20);
        Self { repositories, tickets, triggers, actions }
    }
}

fn draw_kind(rng: &mut Rng) -> Kind {
    match rng.u32(0..100) {
        0..15 => Kind::Plan,
        15..30 => Kind::Issue,
        30..32 => Kind::Refused,
        _ => Kind::Fix,
    }
}

fn draw_triggers(rng: &mut Rng, tickets: &[Kind]) -> Vec<Trigger> {
    let mut placed: Vec<(usize, Trigger)> = Vec::new();
    let mut add = |place: usize, ticket: usize, form: Form, again: bool| {
        placed.push((place, Trigger { ticket, form, again }));
    };
    for (ticket, kind) in tickets.iter().enumerate() {
        let place = ticket + rng.usize(0..DISORDER);
        if *kind == Kind::Refused {
            add(place, ticket, Form::Client, false);
            continue;
        }
        // A bare key is asked for when it is read: beside another trigger it may rightly be a run of its own.
        if *kind != Kind::Plan && rng.u32(0..100) < 20 {
            add(place, ticket, Form::Bare, false);
            continue;
        }
        let form = if rng.bool() { Form::Client } else { Form::Foreign };
        add(place, ticket, form, false);
        // The last one only once for a ticket, so that one more run is enough, and a plan is proposed once.
        let others = [Form::Client, Form::Other, Form::Foreign, Form::Newer];
        let mut allowed = if *kind == Kind::Plan { 3 } else { 4 };
        if rng.u32(0..100) < 25 {
            let place = if rng.bool() { place } else { ticket + rng.usize(0..DISORDER) };
            let other = others[rng.usize(0..allowed)];
            if other == Form::Newer {
                allowed = 3;
            }
            add(place, ticket, other, false);
        }
        if rng.u32(0..100) < 15 {
            add(place, ticket, others[rng.usize(0..allowed)], true);
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, trigger)| trigger).collect()
}

fn draw_actions(rng: &mut Rng, size: &Size) -> Vec<Planned> {
    let runs = size.runs;
    let every = |many: usize, least: usize| (runs / many).max(least);
    let mut actions: Vec<Action> = Vec::new();
    let worker = |rng: &mut Rng| rng.usize(0..size.workers);
    for _ in 0..every(25, 2) {
        actions.push(Action::Kill { worker: worker(rng) });
    }
    for _ in 0..every(40, 2) {
        // Most are short; some outlast a lease or a heartbeat.
        let milliseconds = if rng.u32(0..3) == 0 { rng.u64(6_000..12_000) } else { rng.u64(100..3_000) };
        actions.push(Action::Pause { worker: worker(rng), milliseconds });
    }
    for _ in 0..every(25, 2) {
        actions.push(Action::Drain { worker: worker(rng) });
    }
    if size.transport.has_connections() {
        add_network(rng, &mut actions, runs);
    }
    if size.transport == Transport::Redis {
        actions.extend(std::iter::repeat_n(Action::KillBroker, (runs / 100).clamp(1, 12) + 1));
    }
    for _ in 0..every(50, 1) {
        actions.push(Action::CutServices);
    }
    let rounds = (runs * 6 / 10).div_ceil(KINDS.len()).max(1);
    for kind in (0..KINDS.len()).flat_map(|kind| std::iter::repeat_n(kind, rounds)) {
        actions.push(Action::Fault { kind });
    }
    let mut planned: Vec<Planned> = Vec::new();
    for action in actions {
        planned.push(Planned { after: rng.usize(0..=runs * 9 / 10), action });
    }
    // Points are spread evenly, so that no task meets many of them.
    let rounds = (runs / 10).div_ceil(POINTS.len()).max(1);
    let mut points: Vec<&'static str> = (0..rounds).flat_map(|_| POINTS.iter().copied()).collect();
    rng.shuffle(&mut points);
    for (place, point) in points.iter().enumerate() {
        let after = place * runs * 8 / 10 / points.len();
        planned.push(Planned { after, action: Action::Arm { worker: worker(rng), point } });
    }
    planned.sort_by_key(|planned| planned.after);
    planned
}

fn add_network(rng: &mut Rng, actions: &mut Vec<Action>, runs: usize) {
    let mut add = |count: usize, mut draw: Box<dyn FnMut() -> Action + '_>| {
        actions.extend((0..count).map(|_| draw()));
    };
    add((runs / 100).clamp(1, 12) + 1, Box::new(|| Action::RestartBroker));
    add((runs / 50).max(1), Box::new(|| Action::CloseConnections));
    add((runs / 50).max(1), Box::new(|| Action::CutAll));
    add((runs / 20).max(2), Box::new(|| Action::CutOne));
    add((runs / 60).max(1), Box::new(|| Action::BlackHole { milliseconds: rng.u64(500..12_000) }));
    add(
        (runs / 60).max(1),
        Box::new(|| Action::Delay { by: rng.u64(20..400), milliseconds: rng.u64(500..3_000) }),
    );
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { worker } => write!(f, "kill worker {worker}"),
            Self::Pause { worker, milliseconds } => write!(f, "stop worker {worker} for {milliseconds} ms"),
            Self::Drain { worker } => write!(f, "drain worker {worker}"),
            Self::Arm { worker, point } => write!(f, "have worker {worker} die at {point}"),
            Self::RestartBroker => f.write_str("restart the broker"),
            Self::KillBroker => f.write_str("kill the broker and start it"),
            Self::CloseConnections => f.write_str("have the broker close its connections"),
            Self::CutAll => f.write_str("cut every connection to the broker"),
            Self::CutOne => f.write_str("cut one connection to the broker"),
            Self::BlackHole { milliseconds } => write!(f, "silence one connection for {milliseconds} ms"),
            Self::Delay { by, milliseconds } => {
                write!(f, "delay what the broker says and hears by {by} ms, for {milliseconds} ms")
            }
            Self::CutServices => f.write_str("cut every connection to the services"),
            Self::Fault { kind } => {
                write!(f, "fault: {}", KINDS.get(*kind).map_or("unknown", |kind| kind.name))
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Trigger { ticket, form, again } in &self.triggers {
            let when = if *again { "after its end" } else { "in turn" };
            writeln!(f, "trigger {when}: ticket {}, {:?}, as {form:?}", ticket + 1, self.tickets[*ticket])?;
        }
        for Planned { after, action } in &self.actions {
            writeln!(f, "after {after} runs: {action}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(runs: usize, seed: u64) -> Size {
        Size { runs, workers: 4, transport: Transport::Rabbitmq, seed }
    }

    #[test]
    fn the_seed_gives_the_schedule_and_another_seed_another() {
        let text = |seed| Schedule::draw(&size(100, seed)).to_string();
        assert_eq!(text(7), text(7));
        assert_ne!(text(7), text(8));
    }

    #[test]
    fn every_point_and_every_fault_has_its_turn_and_every_ticket_its_trigger() {
        for runs in [20, 100, 2_000] {
            let schedule = Schedule::draw(&size(runs, 1));
            let has = |action: &dyn Fn(&Action) -> bool| schedule.actions.iter().any(|it| action(&it.action));
            for point in POINTS {
                assert!(
                    has(&|it| matches!(it, Action::Arm { point: armed, .. } if armed == point)),
                    "{point}"
                );
            }
            for kind in 0..KINDS.len() {
                assert!(has(&|it| *it == Action::Fault { kind }));
            }
            assert!(has(&|it| *it == Action::RestartBroker));
            for ticket in 0..runs {
                assert!(schedule.triggers.iter().any(|trigger| trigger.ticket == ticket && !trigger.again));
            }
            assert!(schedule.actions.is_sorted_by_key(|planned| planned.after));
        }
    }

    #[test]
    fn a_file_has_no_connections_to_cut() {
        let size = Size { transport: Transport::Sqlite, ..size(100, 1) };
        let network = [
            Action::RestartBroker,
            Action::KillBroker,
            Action::CloseConnections,
            Action::CutAll,
            Action::CutOne,
        ];
        assert!(Schedule::draw(&size).actions.iter().all(|planned| !network.contains(&planned.action)));
    }

    #[test]
    fn a_newer_wish_comes_once_and_never_for_a_plan() {
        for seed in 0..20 {
            let schedule = Schedule::draw(&size(200, seed));
            let newer = |ticket: usize| {
                let of_ticket = schedule.triggers.iter().filter(move |trigger| trigger.ticket == ticket);
                of_ticket.filter(|trigger| trigger.form == Form::Newer).count()
            };
            for (ticket, kind) in schedule.tickets.iter().enumerate() {
                let most = usize::from(matches!(kind, Kind::Fix | Kind::Issue));
                assert!(newer(ticket) <= most, "seed {seed}, ticket {ticket}, {kind:?}");
            }
            assert!((0..200).any(|ticket| newer(ticket) == 1), "seed {seed}");
        }
    }
}
