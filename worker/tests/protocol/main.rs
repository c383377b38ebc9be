//! The settle protocol under every order of events.
//!
//! The code under test is the product's: `consumer`, `pipeline::run`, `claim`, the ends of `report`, the failure table
//! and the find-or-create of comments. Around it everything is simulated: the clock, a broker, the services. A
//! scheduler lets one worker at a time pass one gate; between two gates a worker may die, freeze, lose its connection
//! or be told to stop. Frameworks do not fit: `loom` and `shuttle` explore threads over primitives of their own,
//! `turmoil` draws network delays but explores nothing, `stateright` checks a model written for it and not this code.
//!
//! `JIRA_AGENT_INTERLEAVINGS=1000000` explores more; `JIRA_AGENT_SEED=7` begins elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::unimplemented,
    clippy::print_stderr,
    reason = "a test that cannot go on has failed, and this one says what it has explored"
)]

mod execution;
mod invariants;
mod message;
mod outside;
mod queue;
mod schedule;
mod sim;

use std::sync::Arc;

use crate::outside::Constants;
use crate::schedule::{Choices, Explored, Source};
use crate::sim::Variant;

/// Interleavings of one run of the tests.
const INTERLEAVINGS: usize = 10_000;
/// Attempts of a task, except where it has one.
const ATTEMPTS: u32 = 2;
/// Deviations from the usual order in a random execution.
const DEVIATIONS: usize = 8;
/// Executions within which a broken variant has to be caught.
const BUDGET: usize = 3_000;

/// An execution that went wrong.
struct Failure {
    violation: String,
    path: Vec<usize>,
    trace: Vec<String>,
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn execute(constants: &Arc<Constants>, variant: Variant, choices: &mut Choices) -> Result<(), Failure> {
    let Some(violation) = execution::run(constants, variant, choices) else { return Ok(()) };
    Err(Failure { violation, path: choices.path(), trace: choices.trace.clone() })
}

/// All executions with at most so many deviations, then random ones, until so many were different.
fn explore(variant: Variant, wanted: usize) -> (Explored, Option<Failure>) {
    let constants = execution::constants(ATTEMPTS);
    let mut explored = Explored::default();
    // Every single deviation, also where a task has but one attempt; every pair, as far as half of the executions go.
    for (attempts, deviations, share) in [(1, 1, wanted), (ATTEMPTS, 1, wanted), (ATTEMPTS, 2, wanted / 2)] {
        let constants = execution::constants(attempts);
        let mut next = Some(Vec::new());
        while let Some(path) = next
            && explored.executions < share
        {
            let mut choices = Choices::new(Source::Path(path), deviations);
            if let Err(failure) = execute(&constants, variant, &mut choices) {
                return (explored, Some(failure));
            }
            explored.count(&choices);
            next = choices.next_path();
        }
    }
    let systematic = explored.executions;
    let mut seed = u64::try_from(number("JIRA_AGENT_SEED", 1)).unwrap() << 32;
    while explored.distinct() < wanted && explored.executions < 3 * wanted {
        seed += 1;
        let mut choices = random(seed);
        if let Err(failure) = execute(&constants, variant, &mut choices) {
            return (explored, Some(failure));
        }
        explored.count(&choices);
    }
    eprintln!(
        "{variant:?}: {} executions, {systematic} of them systematic, {} distinct interleavings",
        explored.executions,
        explored.distinct()
    );
    (explored, None)
}

fn random(seed: u64) -> Choices {
    let one_in = if seed.is_multiple_of(2) { 8 } else { 20 };
    Choices::new(Source::Random(fastrand::Rng::with_seed(seed), one_in), DEVIATIONS)
}

fn show(failure: &Failure) -> String {
    let Failure { violation, path, trace } = failure;
    format!("{violation}\npath {path:?}\n{}", trace.join("\n"))
}

#[test]
fn every_interleaving_ends_as_it_should() {
    let wanted = number("JIRA_AGENT_INTERLEAVINGS", INTERLEAVINGS);
    let (explored, failure) = explore(Variant::Sound, wanted);
    assert!(failure.is_none(), "{}", failure.as_ref().map(show).unwrap_or_default());
    assert!(explored.distinct() >= wanted, "{} distinct interleavings", explored.distinct());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let constants = execution::constants(ATTEMPTS);
    for seed in 0..50 {
        let traces = [(), ()].map(|()| {
            let mut choices = random(seed);
            let violation = execution::run(&constants, Variant::Sound, &mut choices);
            // A path found at random can be walked again.
            let mut again = Choices::new(Source::Path(choices.path()), DEVIATIONS);
            assert_eq!(execution::run(&constants, Variant::Sound, &mut again), violation);
            assert_eq!(again.trace, choices.trace);
            choices.trace
        });
        assert_eq!(traces[0], traces[1], "seed {seed}");
    }
}

fn assert_caught(variant: Variant, invariants: &[&str]) {
    let (explored, failure) = explore(variant, BUDGET);
    let failure = failure.unwrap_or_else(|| panic!("not caught in {} executions", explored.executions));
    let caught = invariants.iter().any(|invariant| failure.violation.starts_with(invariant));
    assert!(caught, "caught by something else: {}", show(&failure));
}

#[test]
fn an_ack_before_the_report_is_caught() {
    assert_caught(Variant::AckFirst, &["a task was lost", "not everything is done"]);
}

#[test]
fn a_lease_that_everybody_gets_is_caught() {
    assert_caught(Variant::NoLease, &["two workers at work on one ticket"]);
}

#[test]
fn creation_without_looking_is_caught() {
    assert_caught(Variant::NoFind, &["two pull requests", "two comments of one kind"]);
}
