//! JSON of the size of a webhook: answers of Jira and GitHub, headers of messages, and our own orders, events and
//! memory, which are read back as they were written.

use std::fmt::Debug;

use arbitrary::Unstructured;
use jira_agent::domain::{Event, EventKind, Order, Outcome, Run, RunMark, TaskId, TicketKey, TicketMemory};
use jira_agent::fuzzing;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::source::{altered, any_json, below, has_fraction, once_in, pick, text};

/// One of the documents, altered.
pub fn generate(source: &mut Unstructured<'_>) -> Vec<u8> {
    let document = match below(source, 10) {
        0 => jira_issue(source),
        1 => json!({"total": 1, "comments": [jira_comment(source)]}),
        2 => json!({"issues": [jira_issue(source)], "nextPageToken": text(source, 1)}),
        3 => jira_transitions(source),
        4 => github_issue(source),
        5 => github_pull(source),
        6 => json!([github_comment(source), github_comment(source)]),
        7 => headers(source),
        8 => ours(source),
        _ => json!({
            "webhookEvent": "jira:issue_updated", "timestamp": 1_769_774_400_000_u64, "issue": jira_issue(source),
            "comment": jira_comment(source), "changelog": {"items": [{"field": "labels", "toString": text(source, 2)}]},
        }),
    };
    altered(source, document).to_string().into_bytes()
}

fn moment(source: &mut Unstructured<'_>) -> &'static str {
    pick(
        source,
        &[
            "2026-01-30T12:00:00.000+0000",
            "2026-01-30T12:00:00Z",
            "9999-12-31T23:59:59.999-2359",
            "-009999-01-02T01:59:59Z",
            "2026-01-30T12:00:00.000+9999",
            "0000-00-00T00:00:00.000+0000",
            "",
        ],
    )
}

fn jira_user(source: &mut Unstructured<'_>) -> Value {
    json!({"accountId": "5b10a2844c20165700ede21g", "displayName": text(source, 3)})
}

fn jira_comment(source: &mut Unstructured<'_>) -> Value {
    let body = crate::adf::document(source);
    json!({
        "id": "10042", "author": jira_user(source), "body": body, "created": moment(source), "updated": moment(source),
        "properties": [{"key": "jira-agent", "value": {"marker": "result:1"}}],
    })
}

fn jira_issue(source: &mut Unstructured<'_>) -> Value {
    let description = crate::adf::document(source);
    json!({
        "id": "10001", "key": "PROJ-1",
        "fields": {
            "summary": text(source, 5), "description": description, "status": {"id": "1", "name": "To Do"},
            "labels": ["ai", text(source, 1)], "components": [{"name": "shop"}], "assignee": jira_user(source),
            "reporter": null, "issuetype": {"name": "Bug"}, "updated": moment(source),
        },
        "properties": {"jira-agent": memory(source)},
    })
}

fn jira_transitions(source: &mut Unstructured<'_>) -> Value {
    json!({"transitions": [{
        "id": "11", "name": text(source, 2), "to": {"id": "3", "name": "In Review"}, "isAvailable": true,
        "fields": {"resolution": {"required": true, "hasDefaultValue": false, "name": "Resolution",
            "allowedValues": [{"id": "1", "name": "Done"}]}},
    }]})
}

fn github_user(source: &mut Unstructured<'_>) -> Value {
    json!({"login": pick(source, &["octocat", "jira-agent[bot]", ""])})
}

fn github_issue(source: &mut Unstructured<'_>) -> Value {
    json!({
        "number": 12, "html_url": "https://github.com/acme/shop/issues/12", "title": text(source, 4),
        "body": text(source, 12), "state": "open", "labels": ["ai", {"name": "bug"}], "assignees": [github_user(source)],
        "user": github_user(source), "type": {"name": "Bug"}, "updated_at": moment(source), "pull_request": null,
    })
}

fn github_pull(source: &mut Unstructured<'_>) -> Value {
    let body = text(source, 12);
    let body = if once_in(source, 100) { body.repeat(70_000 / (body.len() + 1)) } else { body };
    let end = |branch: &str| json!({"ref": branch, "sha": "a".repeat(40), "repo": {"full_name": "acme/shop", "size": 1}});
    json!({
        "number": 3, "html_url": "https://github.com/acme/shop/pull/3", "title": text(source, 3), "body": body,
        "draft": true, "state": "closed", "merged_at": null, "user": github_user(source), "labels": ["ai"],
        "head": end("ai/PROJ-1"), "base": end("main"), "message": text(source, 2),
        "errors": [{"field": "head", "code": "invalid"}, text(source, 2)],
    })
}

fn github_comment(source: &mut Unstructured<'_>) -> Value {
    let memory = memory(source).to_string();
    let body = match below(source, 3) {
        0 => format!("<!-- jira-agent:memory:0 -->\n<!-- jira-agent:data {memory} -->\nwords"),
        1 => format!("<!-- jira-agent:report:1 -->\n{}", text(source, 5)),
        _ => text(source, 5),
    };
    json!({"id": 7, "user": github_user(source), "body": body, "created_at": moment(source), "updated_at": moment(source)})
}

fn headers(source: &mut Unstructured<'_>) -> Value {
    json!({
        "x-attempt": any_json(source, 1), "x-crashes": any_json(source, 1), "x-waits": below(source, 300),
        "x-delivery-count": any_json(source, 1), "x-first-published": moment(source), "x-reason": text(source, 300),
        "x-step": text(source, 3), "x-died-at": any_json(source, 1), "x-replayed-by": text(source, 400),
        "traceparent": text(source, 3), "x-death": any_json(source, 3),
    })
}

fn memory(source: &mut Unstructured<'_>) -> Value {
    let end = pick(source, &["pull_request_opened", "needs_human", "failed", "odd"]);
    let run = json!({"run": "01K9ZW4R7M1S8T3V5X7Z9B1D3F", "end": end, "at": "2026-01-30T12:00:00Z"});
    json!({
        "runs": vec![run; below(source, 30)], "watermark": "2026-01-30T12:00:00Z",
        "cancel": {"by": "dev1", "at": moment(source)}, text(source, 1): any_json(source, 2),
    })
}

fn ours(source: &mut Unstructured<'_>) -> Value {
    let run = "01K9ZW4R7M1S8T3V5X7Z9B1D3F";
    match below(source, 4) {
        0 => memory(source),
        1 => json!({"order": "cancel", "ticket": "PROJ-1", "by": "ann", "at": moment(source)}),
        2 => json!({"outcome": "plan_proposed", "url": text(source, 2), "number": 3, "branch": "ai/PROJ-1"}),
        _ => json!({
            "id": run, "run": run, "ticket": "acme/shop#12", "attempt": 1, "time": moment(source),
            "kind": pick(source, &["queued", "claimed", "dead_lettered", "succeeded"]), "data": any_json(source, 3),
        }),
    }
}

/// See the module.
pub fn check(body: &[u8]) {
    fuzzing::read_jira(body);
    fuzzing::read_github(body);
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    fuzzing::read_broker_headers(&value);
    let exact = !has_fraction(&value);
    let _: Option<Order> = survives(body, exact);
    let _: Option<Outcome> = survives(body, exact);
    if let Some(event) = survives::<Event>(body, exact) {
        let mut run = Run::queued(event.run, event.ticket);
        let _ = run.record(EventKind::Claimed, event.attempt, event.data);
    }
    if let Some(memory) = survives::<TicketMemory>(body, exact) {
        check_memory(memory);
    }
    if let Some(text) = value.as_str() {
        let _ = (text.parse::<TicketKey>(), text.parse::<TaskId>());
    }
}

fn check_memory(mut memory: TicketMemory) {
    let at = memory.watermark.unwrap_or_default();
    let mark = RunMark { run: TaskId::generate(), end: "failed".to_owned(), at };
    let event = mark.event();
    memory.mark_end(mark, at);
    assert_eq!(event, EventKind::Failed);
    assert!(memory.runs.len() <= TicketMemory::KEPT_RUNS, "{} runs are remembered", memory.runs.len());
}

/// What is read, written and read again is the same.
fn survives<T: DeserializeOwned + Serialize + PartialEq + Debug>(body: &[u8], exact: bool) -> Option<T> {
    let first: T = serde_json::from_slice(body).ok()?;
    let written = serde_json::to_vec(&first).unwrap_or_default();
    let again = serde_json::from_slice::<T>(&written);
    let again = again.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&written)));
    assert!(!exact || again == first, "{first:?} came back as {again:?}");
    Some(first)
}
