//! Whether two workers were ever at work on one ticket at once, by their own logs.
//!
//! A worker logs `claimed` when it has taken the ticket's lease and read the ticket once more, and each step that it did
//! under the lease. So no line of the one may be newer than the `claimed` of the other, but for a worker that was
//! stopped or has lost its lease: it has to notice soon, and to say so.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::workers::Stop;

/// A worker that lost its lease or its connection may go on for so long: 2 s is the promise, the rest a busy machine's.
const NOTICED: SignedDuration = SignedDuration::from_secs(5);
/// What is logged when the lease may have been given back already.
const AFTERWARDS: [&str; 3] = ["retried", "failed", "dead_lettered"];
/// What a worker says that has lost its connection or its lease, in the message or in the reason.
const LOST: [&str; 4] = [
    "the connection to the queue is gone",
    "the connection was gone",
    "the task could not be settled",
    "the lease on the ticket was lost",
];

/// A worker's work on a ticket under one lease.
#[derive(Debug, Clone)]
pub struct Spell {
    worker: String,
    ticket: String,
    run: String,
    from: Timestamp,
    last: Timestamp,
    lost: bool,
}

/// The spells in one worker's log.
pub fn spells(worker: &str, lines: &[Value]) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    for line in lines {
        let (Some(run), Some(ticket)) = (line["run.id"].as_str(), line["ticket.key"].as_str()) else {
            continue;
        };
        let Some(time) = line["time"].as_str().and_then(|time| time.parse::<Timestamp>().ok()) else {
            continue;
        };
        let event = line["event"].as_str().unwrap_or_default();
        if event == "claimed" {
            let (worker, ticket, run) = (worker.to_owned(), ticket.to_owned(), run.to_owned());
            spells.push(Spell { worker, ticket, run, from: time, last: time, lost: false });
            continue;
        }
        let Some(spell) = spells.last_mut().filter(|spell| spell.run == run) else { continue };
        if !event.is_empty() && !AFTERWARDS.contains(&event) {
            spell.last = time;
        }
        let says = |field: &str| {
            line[field].as_str().is_some_and(|text| LOST.iter().any(|lost| text.contains(lost)))
        };
        spell.lost |= says("message") || says("reason");
    }
    spells
}

/// What overlaps and must not, by ticket, in words.
pub fn judge(spells: &[Spell], stops: &[Stop]) -> BTreeMap<String, Vec<String>> {
    let mut by_ticket: BTreeMap<&str, Vec<&Spell>> = BTreeMap::new();
    for spell in spells {
        by_ticket.entry(&spell.ticket).or_default().push(spell);
    }
    let mut overlaps: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (ticket, mut spells) in by_ticket {
        spells.sort_by_key(|spell| spell.from);
        for (place, first) in spells.iter().enumerate() {
            let after = spells[place + 1..].iter().filter(|second| second.worker != first.worker);
            for second in after.filter(|second| first.last > second.from && !is_excused(first, second, stops))
            {
                overlaps.entry(ticket.to_owned()).or_default().push(format!(
                    "{} was at work until {}, and {} since {}",
                    first.worker, first.last, second.worker, second.from
                ));
            }
        }
    }
    overlaps
}

/// The first had stood still or had lost what it held, and stopped as soon as it could know.
fn is_excused(first: &Spell, second: &Spell, stops: &[Stop]) -> bool {
    let in_time = |since: Timestamp| first.last.duration_since(since) <= NOTICED;
    let stopped = stops.iter().filter(|stop| stop.worker == first.worker);
    (first.lost && in_time(second.from))
        || stopped
            .into_iter()
            .any(|stop| stop.from <= second.from && stop.until >= second.from && in_time(stop.until))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn line(second: i64, field: &str, value: &str) -> Value {
        json!({"run.id": "R", "ticket.key": "A-1", "time": at(second).to_string(), field: value})
    }

    fn spell(worker: &str, from: i64, to: i64, end: &str) -> Vec<Spell> {
        let lines =
            [line(from, "event", "claimed"), line(to, "event", "pushed"), line(to + 1, "message", end)];
        spells(worker, &lines)
    }

    fn overlaps(first: Vec<Spell>, second: Vec<Spell>, stops: &[Stop]) -> usize {
        let both: Vec<Spell> = second.into_iter().chain(first).collect();
        judge(&both, stops).values().map(Vec::len).sum()
    }

    #[test]
    fn one_after_the_other_is_fine_and_at_once_is_not() {
        let first = || spell("a", 10, 20, "the run ended");
        assert_eq!(overlaps(first(), spell("b", 20, 25, ""), &[]), 0);
        assert_eq!(overlaps(first(), spell("b", 19, 25, ""), &[]), 1);
        assert_eq!(overlaps(first(), spell("b", 11, 12, ""), &[]), 1);
    }

    #[test]
    fn who_lost_its_lease_may_notice_it_late_but_not_very_late() {
        let lost = || spell("a", 10, 20, "the connection to the queue is gone: the run stops");
        assert_eq!(overlaps(lost(), spell("b", 16, 25, ""), &[]), 0);
        assert_eq!(overlaps(lost(), spell("b", 14, 25, ""), &[]), 1);
    }

    #[test]
    fn who_stood_still_may_say_one_thing_when_it_goes_on() {
        let between = |worker: &str, from: i64, until: i64| {
            [Stop { worker: worker.to_owned(), from: at(from), until: at(until) }]
        };
        let stop = |worker: &str, until: i64| between(worker, 11, until);
        let (first, second) = (|| spell("a", 10, 20, ""), || spell("b", 12, 25, ""));
        assert_eq!(overlaps(first(), second(), &stop("a", 18)), 0);
        assert_eq!(overlaps(first(), second(), &stop("a", 14)), 1, "too long ago");
        assert_eq!(overlaps(first(), second(), &stop("b", 18)), 1, "somebody else");
        assert_eq!(overlaps(first(), second(), &between("a", 100, 101)), 1, "long after it");
    }

    #[test]
    fn what_is_logged_after_the_lease_is_no_work_under_it() {
        let lines = [line(10, "event", "claimed"), line(20, "event", "retried")];
        assert_eq!(spells("a", &lines)[0].last, at(10));
    }
}
