//! The table, the verdict, and for every bad ticket its story.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use jira_agent::queue::DeadLetter;

use crate::drive::Driver;
use crate::faults::KINDS;
use crate::look;
use crate::overlap;
use crate::schedule::Kind;
use crate::tally::{self, Tally};
use crate::verdict::{self, Allowed, Flaw};
use crate::world::ENDS;

/// How many bad tickets are told in full.
const STORIES: usize = 10;

/// What is printed.
pub struct Report {
    /// The text.
    pub text: String,
    /// Whether nothing was wrong.
    pub is_good: bool,
}

/// Looks at everything and judges it. `again` are the arguments that give the same schedule.
///
/// # Errors
/// When the logs cannot be read.
pub fn write(driver: &Driver, letters: &[DeadLetter], time: Duration, again: &str) -> anyhow::Result<Report> {
    let tally = tally::read(driver.fleet.directory())?;
    let (found, surplus) = look::at_all(&driver.world, letters);
    let mut counts: BTreeMap<Flaw, usize> = BTreeMap::new();
    let mut bad = Vec::new();
    let mut overlaps = overlap::judge(&tally.spells, &driver.fleet.fates.stops);
    for (place, (ticket, found)) in driver.world.tickets.iter().zip(&found).enumerate() {
        let key = ticket.key.to_string();
        let allowed = Allowed {
            follow_up: driver.follow_up.contains(&place),
            wish: driver.wishes.get(&place).copied(),
            replayed: driver.replayed.contains(&key),
        };
        let mut flaws = verdict::judge(ticket.kind, allowed, &ENDS, found);
        let at_once = overlaps.remove(&key).unwrap_or_default();
        flaws.extend(at_once.into_iter().map(|words| (Flaw::Overlap, words)));
        let mut kinds: Vec<Flaw> = flaws.iter().map(|(flaw, _)| *flaw).collect();
        kinds.dedup();
        for flaw in kinds {
            *counts.entry(flaw).or_default() += 1;
        }
        if !flaws.is_empty() {
            bad.push((key, ticket.kind, flaws));
        }
    }
    if !surplus.is_empty() {
        counts.insert(Flaw::Branch, surplus.len());
    }
    let mut wrong = surplus;
    wrong.extend(driver.gaps());
    wrong.extend(driver.deeds.wrong.iter().cloned());
    wrong.extend(driver.fleet.fates.wrong.iter().cloned());
    wrong.extend(
        driver
            .world
            .simulator
            .problems()
            .list()
            .into_iter()
            .map(|it| format!("a request that no service expects: {it}")),
    );
    let claimed = driver.world.tickets.iter().filter(|ticket| ticket.kind != Kind::Refused).count();
    if tally.spells.len() < claimed {
        let seen = tally.spells.len();
        wrong
            .push(format!("the logs tell of {seen} leases for {claimed} tickets: overlaps cannot be judged"));
    }
    let is_good = bad.is_empty() && wrong.is_empty();
    let mut text = table(driver, &tally, time);
    for (key, kind, flaws) in bad.iter().take(STORIES) {
        writeln!(text, "\n{key} ({kind:?}):")?;
        for (flaw, words) in flaws {
            writeln!(text, "  {flaw:?}: {words}")?;
        }
        for line in tally::story(driver.fleet.directory(), key)? {
            writeln!(text, "    {line}")?;
        }
    }
    for (key, _, flaws) in bad.iter().skip(STORIES) {
        writeln!(
            text,
            "{key}: {}",
            flaws.iter().map(|(_, words)| words.as_str()).collect::<Vec<_>>().join("; ")
        )?;
    }
    for words in &wrong {
        writeln!(text, "wrong: {words}")?;
    }
    if !is_good {
        writeln!(text, "the same schedule again: scripts/chaos {again}")?;
    }
    write!(text, "\n{}", verdict::line(&counts))?;
    Ok(Report { text, is_good })
}

fn table(driver: &Driver, tally: &Tally, time: Duration) -> String {
    let Driver { world, deeds, fleet, .. } = driver;
    let fates = &fleet.fates;
    let runs = world.tickets.len();
    let calls = world.simulator.models().calls().len();
    let seconds = time.as_secs_f64();
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    row("runs", format!("{runs} ({} of them to close gaps)", deeds.added));
    row("triggers", deeds.triggers.to_string());
    row("seconds", format!("{seconds:.0} ({:.2} runs/s)", runs as f64 / seconds.max(0.001)));
    row("workers started", fates.started.to_string());
    row("kills at a step", fates.points.values().sum::<u32>().to_string());
    for (point, count) in &fates.points {
        row(&format!("  {point}"), count.to_string());
    }
    for (name, count) in driver.troubles() {
        row(name, count.to_string());
    }
    for (code, count) in &fates.gave_up {
        row(&format!("gave up with exit code {code}"), count.to_string());
    }
    row("leases under which work was done", tally.spells.len().to_string());
    row("redeliveries", tally.redeliveries.to_string());
    row("dead letters replayed", deeds.replayed.to_string());
    row("model calls", calls.to_string());
    for (outcome, count) in &tally.outcomes {
        row(&format!("ended: {outcome}"), count.to_string());
    }
    row("retries", tally.retries.values().sum::<u32>().to_string());
    for (reason, count) in &tally.retries {
        row(&format!("  {reason}"), count.to_string());
    }
    let fired = world.injector.fired();
    row("faults", fired.iter().sum::<u32>().to_string());
    for (kind, fired) in KINDS.iter().zip(fired) {
        row(&format!("  {}", kind.name), fired.to_string());
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}
