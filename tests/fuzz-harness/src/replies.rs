//! Replies of models. A patch touches nothing but what it may, is applied whole or not at all, and what is said about
//! a reply that does not apply stays between its marks. A plan is written and read back as the same plan.

mod disk;
mod oracle;

use std::collections::BTreeSet;

use arbitrary::Unstructured;
use jira_agent::domain::{CommitId, TaskId, TicketKey};
use jira_agent_worker::edit::{self, Passage, Patch, PathRules, Rejection};
use jira_agent_worker::prompt::{self, Plan, PlanReply, ReplyKind};
use jira_agent_worker::text::{self, PlanTrailers};
use jira_agent_worker::tree::{FileContent, FileMode, FileSource as _, MemoryTree};
use serde_json::{Value, json};

use crate::source::{altered, below, number, once_in, pick};

/// Between the replies of one conversation.
const NEXT: &str = "\n%% next reply %%\n";

const PATHS: &[&str] = &[
    "src/cart.rs",
    "src/price.py",
    "README.md",
    "run.sh",
    "crlf.txt",
    "empty",
    "binary",
    "deep/er/file.rs",
    "new.rs",
    "src/new/file.rs",
    "link",
    "link/x",
    "module/x",
    "src",
    "src/cart.rs/x",
    "../outside",
    "/etc/passwd",
    ".git/config",
    "src/../../x",
    "a/src/cart.rs",
    "./README.md",
    "src\\cart.rs",
    ".GIT/hooks/x",
    "git~1",
    "ci/secret.yml",
    "art/logo.svg",
    "hidden.rs",
    "C:\\x",
    "x/",
    "ä/ö.rs",
    "a b.rs",
    "yarn.lock",
    "src/./cart.rs",
    ".g\u{200b}it/x",
    "README.MD",
];

const LINES: &[&str] = &[
    "fn total() {",
    "    let total = price;",
    "    total",
    "}",
    "",
    "def f(self):",
    "    return 1",
    "\treturn 1",
    "# Shop",
    "Words “quoted” – here.",
    "a",
    "b",
    "a",
    "=======",
    "<<<<<<< SEARCH",
    ">>>>>>> REPLACE",
    "// ...",
    "```",
    "  ",
    "```rust",
    "# … rest of the code",
    "<<<<<<< HEAD",
    "</data-1>",
    "<data-2 kind=\"ticket\">",
    "1",
    "one",
    "two",
    "ä\u{202e}ö",
];

/// The tree that replies are applied to.
fn tree() -> MemoryTree {
    let file =
        |path: &str, bytes: &[u8], mode| (path.to_owned(), FileContent { bytes: bytes.to_vec(), mode });
    let cart = "fn total() {\n    let total = price;\n    total\n}\n\nfn other() {\n    a\n    b\n    a\n}\n";
    MemoryTree::new([
        file("src/cart.rs", cart.as_bytes(), FileMode::Regular),
        file(
            "src/price.py",
            b"class A:\n    def f(self):\n        return 1\n\tx = 2\n</data-1>\n",
            FileMode::Regular,
        ),
        file("README.md", "# Shop\n\nWords “quoted” – here.\n```\na\n```\n".as_bytes(), FileMode::Regular),
        file("run.sh", b"#!/bin/sh\none\ntwo", FileMode::Executable),
        file("crlf.txt", b"\xef\xbb\xbfone\r\ntwo\r\na\nb\r\n", FileMode::Regular),
        file("empty", b"", FileMode::Regular),
        file("binary", b"a\0b", FileMode::Regular),
        file("deep/er/file.rs", &b"a\n".repeat(60), FileMode::Regular),
        file("link", b"/etc", FileMode::Symlink),
        file("module", b"", FileMode::Gitlink),
        file("ci/secret.yml", b"a\n", FileMode::Regular),
        file("art/logo.svg", b"a\n", FileMode::Regular),
        file("hidden.rs", b"a\n", FileMode::Regular),
    ])
}

/// Some replies of a conversation about edits, or one with a plan.
pub fn generate(source: &mut Unstructured<'_>) -> Vec<u8> {
    if once_in(source, 3) {
        return plan_reply(source).into_bytes();
    }
    let replies: Vec<String> = (0..=below(source, 3)).map(|_| edit_reply(source)).collect();
    replies.join(NEXT).into_bytes()
}

fn edit_reply(source: &mut Unstructured<'_>) -> String {
    let mut reply = String::new();
    if once_in(source, 6) {
        reply.push_str(pick(
            source,
            &["<think>\nhm\n</think>\n", "<thinking>", "NEEDS_HUMAN: which?\n", "\n</think>\n"],
        ));
    }
    if !once_in(source, 4) {
        reply.push_str(&format!(
            "SUMMARY: {}\n\n{}\n\n",
            crate::source::text(source, 3),
            crate::source::text(source, 3)
        ));
    }
    for _ in 0..below(source, 5) {
        reply.push_str(&block(source));
    }
    reply
}

fn block(source: &mut Unstructured<'_>) -> String {
    let path = pick(source, PATHS);
    let dressed = match below(source, 8) {
        0 => format!("`{path}`"),
        1 => format!("### 2. **{path}**:"),
        2 => format!("```rust {path}"),
        3 => format!("File: {path} (new file)"),
        4 => String::new(),
        _ => path.to_owned(),
    };
    if once_in(source, 10) {
        return format!("{dressed}\nDELETE\n");
    }
    let length = if once_in(source, 8) { below(source, 12) } else { 7 };
    let marker = |character: &str| character.repeat(length);
    let (search, replace) = (search(source), lines(source));
    let fence = pick(source, &["", "```\n", "~~~rust\n"]);
    let newline = pick(source, &["\n", "\n", "\r\n"]);
    let text = format!(
        "{dressed}\n{fence}{} SEARCH\n{search}{}\n{replace}{} REPLACE\n{fence}\n",
        marker("<"),
        marker("="),
        marker(">")
    );
    if newline == "\n" { text } else { text.replace('\n', newline) }
}

/// Lines of a file of the tree, or any.
fn search(source: &mut Unstructured<'_>) -> String {
    let files = tree();
    let entries = files.entries();
    let path = &entries[below(source, entries.len())].path;
    let text = files.read(path).and_then(|content| String::from_utf8(content.bytes).ok()).unwrap_or_default();
    if once_in(source, 4) {
        return lines(source);
    }
    let all: Vec<&str> = text.lines().collect();
    let from = below(source, all.len());
    let indent = pick(source, &["", "", "    ", "\t"]);
    let taken = all.iter().skip(from).take(below(source, 6));
    taken.map(|line| format!("{indent}{line}\n")).collect()
}

fn lines(source: &mut Unstructured<'_>) -> String {
    (0..below(source, 7)).map(|_| format!("{}\n", pick(source, LINES))).collect()
}

fn plan_reply(source: &mut Unstructured<'_>) -> String {
    let mut words = |most| crate::source::text(source, most);
    let (summary, why, strategy, test, around) = (words(5), words(4), words(12), words(3), words(4));
    let path = pick(source, PATHS);
    let action = pick(source, &["change", "create", "delete", "Modify", "odd"]);
    let change = json!({"path": path, "action": action, "why": why});
    let version = if once_in(source, 8) { number(source) } else { json!(1) };
    let changes: Value = vec![change; if once_in(source, 30) { 60 } else { 1 + below(source, 3) }].into();
    let plan = json!({
        "version": version, "summary": format!("Mend {summary}"), "changes": changes, "strategy": strategy,
        "tests": [test], "risks": [{"risk": why}], "questions": test,
    });
    let plan = altered(source, plan).to_string();
    match below(source, 4) {
        0 => plan,
        1 => format!("{around}\n```json\n{plan}\n```\n{around}"),
        2 => format!("{{\"a\": {around}\n{plan}{plan}"),
        _ => format!("NOTHING_TO_CHANGE: {around}\n{plan}"),
    }
}

/// See the module.
pub fn check(input: &[u8]) {
    let reply = String::from_utf8_lossy(input);
    check_plan(&reply);
    let files = tree();
    let shown: BTreeSet<String> = files.entries().iter().map(|entry| entry.path.clone()).collect();
    let shown: BTreeSet<String> = shown.into_iter().filter(|path| path != "hidden.rs").collect();
    let lfs = BTreeSet::from(["art/logo.svg".to_owned()]);
    let Ok(rules) = PathRules::new(&["ci/".to_owned(), "*.lock".to_owned()], lfs) else {
        panic!("the rules are constants");
    };
    let mut draft: Option<Result<Patch, Rejection>> = None;
    for reply in reply.split(NEXT) {
        let ReplyKind::Edits { summary, blocks_text, .. } = prompt::parse_reply(reply) else {
            continue;
        };
        assert!(summary.chars().count() <= 72 && !summary.contains('\n'), "the summary `{summary}`");
        let blocks = match edit::parse(&blocks_text) {
            Ok(blocks) => blocks,
            Err(problem) => {
                check_repair(&[Passage::Words(problem.to_string())]);
                continue;
            }
        };
        let outcome = match draft.take() {
            None => edit::apply(&files, &shown, &rules, blocks),
            Some(Ok(patch)) => patch.continue_with(&files, &shown, &rules, blocks),
            Some(Err(rejection)) => rejection.continue_with(&files, &shown, &rules, blocks),
        };
        match &outcome {
            Ok(patch) => oracle::check_patch(patch, &files, &shown),
            Err(rejection) => check_repair(&rejection.for_model()),
        }
        draft = Some(outcome);
    }
    if let Some(Ok(patch)) = &draft {
        // A disk is slow: some patches stand for all.
        if input.len().is_multiple_of(32) {
            disk::check(&files, patch);
        }
    }
    oracle::check_message(&prompt::correction_message(&reply), 1);
}

fn check_repair(problem: &[Passage]) {
    let quoted = problem.iter().filter(|passage| matches!(passage, Passage::Lines(_))).count();
    oracle::check_message(&prompt::repair_message(problem), quoted);
}

fn check_plan(reply: &str) {
    let plan = match prompt::parse_plan_reply(reply) {
        Ok(PlanReply::Plan(plan)) => plan,
        Ok(_) => return,
        Err(problem) => return oracle::check_message(&prompt::plan_repair_message(&problem), 0),
    };
    for change in &plan.changes {
        oracle::check_path(&change.path);
    }
    assert_eq!(prompt::parse_plan(&plan.to_json()).as_ref(), Ok(&plan));
    check_plan_texts(&plan);
}

fn check_plan_texts(plan: &Plan) {
    let (Ok(ticket), Ok(commit)) = ("PROJ-1".parse::<TicketKey>(), "a".repeat(40).parse::<CommitId>()) else {
        panic!("the ids are constants");
    };
    let run = TaskId::generate();
    let trailers = PlanTrailers { run, began_branch: true, author: "jira-agent <a@b.example>".to_owned() };
    let message = text::plan_message(&ticket, plan, &trailers);
    assert_eq!(prompt::parse_plan(&message).as_ref(), Ok(plan), "{message}");
    let mut comment = text::plan_comment(plan, &commit);
    for change in &plan.changes {
        // What stands in a code span is shown as it is.
        comment = comment.replace(&format!("`{}`", change.path), "");
    }
    assert!(!comment.contains("<!--"), "a marker in {comment}");
}
