//! Fuzzing: the same inputs and the same demands for the targets of cargo-fuzz (`fuzz/`) and for the property tests
//! (`tests/families.rs`). Random bytes steer a generator, so that most inputs are near to real ones.

mod adf;
mod json;
mod replies;
mod source;
mod tasks;

use std::time::{Duration, Instant};

use arbitrary::Unstructured;

/// Inputs of one kind.
pub struct Family {
    /// Its name, which is the target's.
    pub name: &'static str,
    generate: fn(&mut Unstructured<'_>) -> Vec<u8>,
    check: fn(&[u8]),
}

/// Messages on the queue.
pub const TASKS: Family = Family { name: "tasks", generate: tasks::generate, check: tasks::check };
/// What models answer: edit blocks and plans.
pub const REPLIES: Family = Family { name: "replies", generate: replies::generate, check: replies::check };
/// Jira's rich text, both ways.
pub const ADF: Family = Family { name: "adf", generate: adf::generate, check: adf::check };
/// What services and brokers send, and what we keep on tickets.
pub const JSON: Family = Family { name: "json", generate: json::generate, check: json::check };

/// How long one input of some kilobytes may take, on a slow and busy machine without optimisation.
const LIMIT: Duration = Duration::from_secs(20);

/// Makes an input of the bytes and checks it. The first byte chooses: the rest as it is, a generated input, or one
/// that is damaged afterwards.
///
/// # Panics
/// When the product panics, takes too long, or does not what the family demands.
pub fn run(family: &Family, data: &[u8]) {
    let input = input(family, data);
    let start = Instant::now();
    (family.check)(&input);
    let took = start.elapsed();
    assert!(took < LIMIT, "{} bytes took {took:?}", input.len());
}

/// The input that these bytes stand for.
#[must_use]
pub fn input(family: &Family, data: &[u8]) -> Vec<u8> {
    let Some((choice, rest)) = data.split_first() else {
        return Vec::new();
    };
    if choice % 8 == 0 {
        return rest.to_vec();
    }
    let mut source = Unstructured::new(rest);
    let input = (family.generate)(&mut source);
    if choice % 8 < 4 { source::damaged(&mut source, input) } else { input }
}

/// Checks an input as it is.
///
/// # Panics
/// As [`run`].
pub fn check(family: &Family, input: &[u8]) {
    (family.check)(input);
}
