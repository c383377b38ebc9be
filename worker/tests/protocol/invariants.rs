//! What must hold: while things happen, and when all has come to rest.

use std::collections::BTreeSet;

use jira_agent::domain::{TaskId, TicketMemory};
use jira_agent::queue::Death;
use jira_agent_worker::products::Claimed;

use crate::outside::Ended;
use crate::sim::Sim;

/// Deaths that it takes at least until a task is dead: three suspicions of two returns each.
const FATAL_DEATHS: u32 = 6;

fn is_change(end: &str) -> bool {
    end.starts_with("pull_request_")
}

impl Sim {
    /// Ack comes last: the ticket holds the end of the run, or says why there is nothing to do.
    pub fn check_ack(&mut self, task: TaskId) {
        let outside = &self.outside;
        let asked = outside.asked[&task];
        let marked = outside.memory.end_of(task).is_some();
        let seen = outside.memory.watermark.is_some_and(|seen| asked <= seen);
        let holds = marked || seen || outside.is_withdrawn() || self.clobbered;
        self.check(holds, "acked before the ticket held the end", self.name(task));
    }

    /// A dead letter has its reason on the ticket, and there was one.
    pub fn check_death(&mut self, task: TaskId, death: &Death) {
        let told = self.has_comment("failure", task) || death.reason.contains("could not be told");
        self.check(told, "dead-lettered without a word on the ticket", self.name(task));
        let cause = self.deaths >= FATAL_DEATHS || self.disturbances >= self.max_attempts;
        self.check(cause, "dead-lettered without cause", format!("{}: {}", self.name(task), death.reason));
    }

    /// Nothing is begun that a finished run has seen already, and nothing that was cancelled.
    pub fn check_entry(&mut self, worker: usize, claimed: &Claimed) {
        if claimed.obsolete.is_some() {
            // It only goes on from what it has done itself.
            return;
        }
        let (run, asked) = (claimed.task.id, claimed.task.asked_at());
        let newest = claimed.ticket.newest_input();
        let covers = |ended: &Ended| asked <= ended.seen && newest <= ended.seen;
        let covered = self.outside.ended.iter().any(covers);
        // Who does not know that it was cut off may have read the ticket before another one wrote it.
        let blurred = self.clobbered || self.broker.is_ghost(worker);
        self.check(!covered || blurred, "a run does what another has done", self.name(run));
        let again = self.outside.ended.iter().any(|ended| ended.run == run);
        self.check(!again || blurred, "a run begins again after its end", self.name(run));
    }

    /// No effect after a cancel that the worker could hear.
    pub fn check_not_cancelled(&mut self, run: TaskId, label: &str) {
        let heard = self.ordered.is_some_and(|at| self.outside.asked[&run] <= at);
        self.check(!heard, "an effect after the cancel", format!("{label} of {}", self.name(run)));
    }

    /// The memory is replaced as a whole, so nobody may write it who has not read what it replaces.
    pub fn check_write(&mut self, worker: usize) {
        let fresh = self.last_read[worker].as_ref() == Some(&self.outside.memory);
        self.clobbered |= !fresh && self.cut_off;
        self.check(fresh || self.cut_off, "a memory was overwritten unread", format!("worker {worker}"));
    }

    /// Keeps the ends that are written to the ticket.
    pub fn note_ends(&mut self, memory: &TicketMemory) {
        for mark in &memory.runs {
            if self.outside.ended.iter().all(|ended| ended.run != mark.run) {
                let seen = memory.watermark.unwrap_or(mark.at);
                self.outside.ended.push(Ended { run: mark.run, end: mark.end.clone(), seen });
            }
        }
    }

    /// Notes what may cost an attempt.
    pub fn disturb(&mut self) {
        self.disturbances += 1;
        // Who has told the ticket of a failure and does not come to the dead-letter queue any more leaves that word.
        self.excused |= self.outside.comments.iter().any(|comment| comment.1.starts_with("failure:"));
    }

    fn has_comment(&self, kind: &str, run: TaskId) -> bool {
        let marker = jira_agent::domain::CommentMarker::new(kind, &run.to_string()).key();
        self.outside.comments.iter().any(|comment| comment.1 == marker)
    }

    /// Everything is settled, everybody sleeps.
    pub fn check_rest(&mut self) {
        let tasks: Vec<TaskId> = self.outside.asked.keys().copied().collect();
        for task in &tasks {
            let dead = self.broker.dead.iter().any(|(of, _)| of == task);
            let done = self.broker.acked.contains(task) || dead;
            self.check(done, "a task was lost", self.name(*task));
        }
        let mut markers = BTreeSet::new();
        let twice = self.outside.comments.iter().find(|comment| !markers.insert(&comment.1));
        let twice = twice.map(|comment| comment.2.clone());
        self.check(twice.is_none(), "two comments of one kind", format!("{twice:?}"));
        let commits: BTreeSet<&TaskId> = self.outside.branch.iter().collect();
        self.check(commits.len() == self.outside.branch.len(), "two commits of one run", "");
        self.check(self.outside.pulls <= 1, "two pull requests", self.outside.pulls);
        for task in &tasks {
            let paid = self.outside.paid.get(task).copied().unwrap_or(0);
            let cause = paid <= 1 + self.disturbances;
            self.check(cause, "the model was paid again", format!("{paid} times for {}", self.name(*task)));
        }
        self.check_ends(&tasks);
    }

    fn check_ends(&mut self, tasks: &[TaskId]) {
        let outside = &self.outside;
        let told = tasks.iter().any(|task| self.has_comment("report", *task));
        let complete = outside.pulls == 1 && outside.in_review && outside.linked && told;
        let stopped = outside.cancel.is_some() || !self.broker.dead.is_empty();
        let nothing = outside.branch.is_empty();
        self.check(complete || stopped, "not everything is done", format!("branch empty: {nothing}"));
        let ended = std::mem::take(&mut self.outside.ended);
        for Ended { run, end, seen } in &ended {
            let name = self.name(*run);
            let mark = self.outside.memory.end_of(*run).map(|mark| mark.end.clone());
            let kept = mark.as_ref() == Some(end) || self.clobbered;
            self.check(kept, "the end of a run was forgotten", format!("{name}: {end} became {mark:?}"));
            let raised = self.outside.memory.watermark.is_some_and(|watermark| watermark >= *seen);
            self.check(raised || self.clobbered, "the watermark fell", name);
            let (outcome, report) = (self.has_comment("outcome", *run), self.has_comment("report", *run));
            let right = if is_change(end) { report && !outcome } else { outcome || end == "superseded" };
            self.check(
                right || self.clobbered || self.ghost_spoke,
                "the ticket tells another end than its mark",
                format!("{name}: {end}"),
            );
            let failed = self.has_comment("failure", *run);
            let failed = failed && self.broker.dead.iter().all(|(of, _)| of != run);
            self.check(
                !failed || self.excused || self.clobbered || self.ghost_spoke,
                "a failure is told of a run that ended well",
                name,
            );
        }
        self.outside.ended = ended;
        let newest = tasks.iter().map(|task| self.outside.asked[task]).max();
        let seen = self.outside.memory.watermark >= newest;
        self.check(seen || stopped_by(self), "the newest state was not seen", "");
    }
}

/// Whether people or too many failures stopped what was asked for last.
fn stopped_by(sim: &Sim) -> bool {
    sim.outside.cancel.is_some() || !sim.broker.dead.is_empty() || sim.clobbered
}
