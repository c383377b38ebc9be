//! Every family with random inputs: `JIRA_AGENT_FUZZ_CASES` of each, 2,000 by default, since they run unoptimised;
//! `scripts/fuzz --cases 100000` is quicker by far. What fails is shrunk and kept in `tests/families.proptest-regressions`, and tried first ever after.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::{Debug, Formatter};
use std::io::Write as _;
use std::time::{Duration, Instant};

use jira_agent_fuzz_harness::{ADF, Family, JSON, REPLIES, TASKS, check, input, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

const CASES: u32 = 2_000;
/// How long one large input may take, on a slow and busy machine without optimisation.
const LIMIT: Duration = Duration::from_secs(60);
const REGRESSIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/families.proptest-regressions");

fn cases() -> u32 {
    std::env::var("JIRA_AGENT_FUZZ_CASES").map_or(CASES, |text| text.parse().unwrap())
}

/// Shown as the input that it stands for.
struct Case {
    family: &'static Family,
    data: Vec<u8>,
}

impl Debug for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "<<<\n{}\n>>>", String::from_utf8_lossy(&input(self.family, &self.data)))
    }
}

fn any_input_holds(family: &'static Family) {
    let config = Config {
        cases: cases(),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(REGRESSIONS))),
        source_file: Some(file!()),
        ..Config::default()
    };
    let start = Instant::now();
    let name = family.name;
    // Made of long numbers: a strategy for each byte takes more time than most checks.
    let case = prop::collection::vec(any::<u64>(), 0..80)
        .prop_map(|data| Case { family, data: data.into_iter().flat_map(u64::to_le_bytes).collect() });
    let outcome = TestRunner::new(config).run(&case, |case| {
        run(case.family, &case.data);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}: {error}");
    }
    // Past the test's captured output: the number belongs to the result.
    let took = start.elapsed().as_secs_f32();
    let line = format!("fuzz: {name}: {} cases in {took:.1} s\n", cases());
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

mod family {
    use super::*;

    #[test]
    fn tasks_are_refused_or_survive_being_written() {
        any_input_holds(&TASKS);
    }

    #[test]
    fn replies_are_applied_whole_and_inside_the_tree_or_not_at_all() {
        any_input_holds(&REPLIES);
    }

    #[test]
    fn adf_is_read_and_written_whatever_it_holds() {
        any_input_holds(&ADF);
    }

    #[test]
    fn json_of_services_is_read_whatever_it_holds() {
        any_input_holds(&JSON);
    }
}

/// Some hundred kilobytes that once meant, or could mean, work beyond measure.
#[test]
fn large_inputs_take_bounded_time() {
    let large = |family: &Family, start: &str, piece: &str, end: &str| {
        let text = format!("{start}{}{end}", piece.repeat(200_000 / piece.len()));
        let from = Instant::now();
        check(family, text.as_bytes());
        let took = from.elapsed();
        assert!(took < LIMIT, "{}: {start}{piece}…{end}: {took:?}", family.name);
    };
    let block = "src/cart.rs\n<<<<<<< SEARCH\nzz\n=======\n>>>>>>> REPLACE\n";
    for piece in [
        "<<<<<<< SEARCH\n",
        "DELETE\n",
        "`<!--",
        "{\"a\":",
        "```\n",
        ">>>>>>> REPLACE\n",
        "![",
        "data-1",
        block,
    ] {
        large(&REPLIES, "", piece, "");
    }
    large(&REPLIES, "a", " (b)", "\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n");
    large(&REPLIES, "deep/er/file.rs\n<<<<<<< SEARCH\n", "a\n", "b\n=======\n>>>>>>> REPLACE\n");
    for piece in
        ["*a ", "http://a)", "http://|", "[", "![a](", ">", "- ", "<!--", "~~**", "`", "|a", "&#", "_*"]
    {
        large(&ADF, "", piece, "");
    }
    large(&ADF, "http://a", ")", "");
    large(&ADF, &"*a ".repeat(30_000), "a* ", "");
    for piece in ["[", "{\"a\":", "\"", "1"] {
        large(&TASKS, "", piece, "");
        large(&JSON, "", piece, "");
    }
}
