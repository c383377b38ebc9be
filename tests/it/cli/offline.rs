use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use super::{bare, feed, run};

const PROGRAM: &str = "jira-agent-worker";

const CHANGE: &str = "Words around.\n\nsrc/a.rs\n```\n<<<<<<< SEARCH\nfn b() {}\n=======\nfn b() { a() }\n\
    >>>>>>> REPLACE\n```\nsrc/new.rs\n```\n<<<<<<< SEARCH\n=======\nfn new() {}\n>>>>>>> REPLACE\n```\n";

/// A file with the line ends of Windows, and one that is protected.
fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join(".github/workflows")).unwrap();
    std::fs::create_dir(dir.path().join("src")).unwrap();
    std::fs::write(dir.path().join("src/a.rs"), "fn a() {}\r\nfn b() {}\r\n").unwrap();
    std::fs::write(dir.path().join(".github/workflows/ci.yml"), "on: push\n").unwrap();
    dir
}

fn apply(tree: &Path, more: &[&str]) -> Command {
    let mut command = bare(PROGRAM, &["apply", "--reply", "-", "--tree"]);
    command.arg(tree).args(more);
    command
}

fn read(tree: &TempDir, path: &str) -> Option<String> {
    std::fs::read_to_string(tree.path().join(path)).ok()
}

#[tokio::test]
async fn a_reply_is_applied_and_its_paths_are_printed() {
    let tree = tree();
    let reply = tree.path().join("../reply-of-the-test.md");
    std::fs::write(&reply, CHANGE).unwrap();
    let mut command = bare(PROGRAM, &["apply", "--tree"]);
    let said = run(command.arg(tree.path()).arg("--reply").arg(&reply)).await;
    std::fs::remove_file(reply).unwrap();
    assert_eq!(said.ended(0).lines(), ["src/a.rs", "src/new.rs"]);
    assert_eq!(read(&tree, "src/a.rs").unwrap(), "fn a() {}\r\nfn b() { a() }\r\n", "line ends stay");
    assert_eq!(read(&tree, "src/new.rs").unwrap(), "fn new() {}\n");
}

#[tokio::test]
async fn a_dry_run_says_the_same_and_writes_nothing() {
    let tree = tree();
    let dry = feed(&mut apply(tree.path(), &["--dry-run", "--json"]), CHANGE).await.ended(0);
    assert_eq!(read(&tree, "src/a.rs").unwrap(), "fn a() {}\r\nfn b() {}\r\n");
    assert_eq!(read(&tree, "src/new.rs"), None);
    let wet = feed(&mut apply(tree.path(), &["--json"]), CHANGE).await.ended(0);
    assert_eq!(dry.json(), wet.json());
    assert_eq!(
        wet.json(),
        serde_json::json!({"changed": ["src/a.rs", "src/new.rs"], "added": 2, "removed": 1})
    );
}

#[tokio::test]
async fn a_reply_of_which_a_part_does_not_apply_writes_nothing_and_says_every_reason() {
    let tree = tree();
    let block =
        |path: &str, search: &str| format!("{path}\n<<<<<<< SEARCH\n{search}=======\nx\n>>>>>>> REPLACE\n\n");
    let reply = format!(
        "{CHANGE}\n{}{}{}",
        block("src/a.rs", "fn c() {}\n"),
        block(".github/workflows/ci.yml", "on: push\n"),
        block("../outside", "")
    );
    let said = feed(&mut apply(tree.path(), &["--json"]), &reply).await.ended(65);
    assert_eq!(said.json()["changed"], serde_json::json!([]));
    assert_eq!(said.json()["reasons"].as_array().unwrap().len(), 3);
    said.words(&[
        "nothing was written",
        "src/a.rs: the SEARCH lines are not in the file",
        ".github/workflows/ci.yml: is protected",
        "../outside: ",
    ]);
    assert_eq!(read(&tree, "src/a.rs").unwrap(), "fn a() {}\r\nfn b() {}\r\n");
    assert_eq!(read(&tree, "src/new.rs"), None);
    assert!(!tree.path().join("../outside").exists());
}

#[tokio::test]
async fn input_that_is_none_is_refused() {
    let tree = tree();
    feed(&mut apply(tree.path(), &[]), "I would rather not.").await.ended(65).words(&["no edit block"]);
    feed(&mut apply(Path::new("/no/such"), &[]), CHANGE).await.ended(65).words(&["/no/such"]);
    let mut command = bare(PROGRAM, &["apply", "--reply", "/no/such", "--tree"]);
    run(command.arg(tree.path())).await.ended(65).words(&["/no/such"]);
    let mut command = bare(PROGRAM, &["context", "--text", "/no/such", "--tree"]);
    run(command.arg(tree.path())).await.ended(65).words(&["/no/such"]);
}

#[tokio::test]
async fn what_the_model_would_be_shown_is_shown() {
    let tree = tree();
    let context = |more: &[&str]| {
        let mut command = bare(PROGRAM, &["context", "--text", "-", "--tree"]);
        command.arg(tree.path()).args(more);
        command
    };
    let text = "`src/a.rs` has a function b that does nothing.";
    let shown = feed(&mut context(&[]), text).await.ended(0);
    assert!(shown.out.contains("## src/a.rs") && shown.out.contains("fn b() {}"), "{}", shown.out);
    let listed = feed(&mut context(&["--json"]), text).await.ended(0).json();
    assert_eq!(listed["files"][0]["path"], "src/a.rs");
    assert_eq!(listed["files"][0]["why"], "named in the ticket");
    assert!(listed["estimated_tokens"].as_u64().unwrap() > 10);
}
