use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{bare, output, read, run, signal};
use crate::broker::SOON;

#[tokio::test]
async fn the_demo_needs_nothing_and_shows_everything() {
    let dir = tempfile::tempdir().unwrap();
    // In /proc nobody can write, not even root.
    let said = run(bare("jira-agent", &["demo"]).env("TMPDIR", dir.path())).await.ended(0);
    let out = [
        "Pull request #1: SHOP-1: ",
        "ai/SHOP-1 into main",
        "+            total = total + item.price * item.quantity;",
        "Ticket SHOP-1: ",
        "status    To Do  ->  In Testing",
        "assignee  Jira Agent  ->  Riley Reviewer",
        "| I opened pull request",
    ];
    for part in out {
        assert!(said.out.contains(part), "`{part}` is missing in {}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "no colours where there is no terminal");
    let said = said.words(&[
        "simulated: Jira, GitHub's REST API",
        "simulated: the model",
        "real:      the worker, git over HTTP",
        "in memory: the queue",
        "claimed",
        "succeeded",
        "From a ticket to a pull request in ",
    ]);
    assert!(
        !said.out.contains("simulated:") && !said.err.contains("diff --git"),
        "words and data are apart: {said:?}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn what_is_kept_stays_until_it_is_interrupted() {
    for name in ["INT", "TERM"] {
        let mut command = bare("jira-agent", &["demo", "--keep"]);
        let mut demo = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines();
        let state = tokio::time::timeout(SOON, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(rest) = line.strip_prefix("State: ") {
                    return rest.split(' ').next().unwrap().to_owned();
                }
            }
            panic!("it ended without an address");
        });
        let state = read(&state.await.unwrap()).await;
        assert!(state.contains("SHOP-1") && state.contains("In Testing"), "{state}");
        signal(&demo, name);
        output(demo).await.ended(0);
    }
}

#[tokio::test]
async fn without_git_it_says_so_in_a_line() {
    let dir = tempfile::tempdir().unwrap();
    let said = run(bare("jira-agent", &["demo"]).env("PATH", dir.path())).await.ended(1);
    assert_eq!((said.out.as_str(), said.err.lines().count()), ("", 1), "{said:?}");
    said.words(&["git", "is it installed and on PATH?"]);
}

#[tokio::test]
async fn a_real_model_without_a_key_is_a_matter_of_settings() {
    let said = run(&mut bare("jira-agent", &["demo", "--model", "real"])).await.ended(78);
    said.words(&["model.api_key", "ANTHROPIC_API_KEY"]);
}
