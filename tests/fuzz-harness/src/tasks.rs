//! Message bodies. What parses is written and read back as the same task; what does not has a short reason.

use arbitrary::Unstructured;
use jira_agent::domain::TaskBody;
use serde_json::{Map, Value, json};

use crate::source::{altered, any_json, below, number, once_in, pick, text};

const KEYS: &[&str] =
    &["PROJ-123", "A1_B-1", "acme/shop#12", "12", "0", "proj-1", "PROJ-0", "a/b#18446744073709551615"];

/// A body, most often of version 1.
pub fn generate(source: &mut Unstructured<'_>) -> Vec<u8> {
    if once_in(source, 8) {
        let key = pick(source, KEYS);
        return match below(source, 4) {
            0 => key.as_bytes().to_vec(),
            1 => format!("\u{feff} {key}\n").into_bytes(),
            2 => json!(key).to_string().into_bytes(),
            _ => text(source, 5).into_bytes(),
        };
    }
    let mut fields = Map::new();
    fields.insert("issue_id".to_owned(), issue(source));
    for (name, value) in FIELDS {
        if !once_in(source, 3) {
            fields.insert((*name).to_owned(), value(source));
        }
    }
    altered(source, Value::Object(fields)).to_string().into_bytes()
}

type Field = fn(&mut Unstructured<'_>) -> Value;

const FIELDS: &[(&str, Field)] = &[
    ("version", |source| if once_in(source, 8) { number(source) } else { json!(1) }),
    ("task_id", |_| json!("01K9ZW4R7M1S8T3V5X7Z9B1D3F")),
    ("repo_url", |source| {
        json!(pick(
            source,
            &[
                "https://github.com/acme/shop",
                "https://user:password@GitHub.com:443/Acme/Shop.git/",
                "http://[::1]:8080/a/b",
                "ssh://git@github.com/acme/shop",
                "https://ä.example/a/b?x#y",
                "acme/shop",
                "git@github.com:acme/shop.git",
            ]
        ))
    }),
    ("base_branch", |source| {
        json!(pick(source, &["main", "feature/x.y", "a..b", "ä", "-x", "HEAD", "refs/heads/main"]))
    }),
    ("mode", |source| {
        json!(pick(source, &["plan", "quickfix", "execute", "revise", "fix-checks", "Plan", ""]))
    }),
    ("trigger_user", |source| json!(pick(source, &["dev1", "5b10a2844c20165700ede21g", "a b", "é"]))),
    ("trigger", |source| {
        let kind = pick(source, &["cli", "webhook", "poll", "label", "assignment", "comment", "other"]);
        let id =
            if once_in(source, 200) { "x".repeat(262_144 - below(source, 1_000)) } else { text(source, 4) };
        json!({"kind": kind, "id": id})
    }),
    ("requested_at", |source| {
        json!(pick(
            source,
            &[
                "2026-01-30T12:00:00Z",
                "-009999-01-01T00:00:00Z",
                "9999-12-30T22:00:00.999999999Z",
                "2026-02-30T12:00:00Z",
                "2026-01-30T12:00:00+14:00[Pacific/Apia]",
                "0"
            ]
        ))
    }),
    ("approval", |source| {
        let by = pick(source, &["dev2", ""]);
        json!({"plan": "a".repeat(40), "base": pick(source, &["b"; 2]).repeat(64), "by": by})
    }),
    ("forced", |source| if once_in(source, 4) { any_json(source, 1) } else { json!(true) }),
    ("unknown", |source| any_json(source, 3)),
];

fn issue(source: &mut Unstructured<'_>) -> Value {
    if once_in(source, 3) { number(source) } else { json!(pick(source, KEYS)) }
}

/// See the module.
pub fn check(body: &[u8]) {
    match TaskBody::parse(body) {
        Ok(first) => {
            let written = first.task.to_json();
            let again = TaskBody::parse(&written);
            let again =
                again.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&written)));
            assert!(again.had_id, "what is written has an id");
            assert_eq!(again.task, first.task);
        }
        Err(reason) => {
            let length = reason.to_string().chars().count();
            assert!(length < 500, "a reason of {length} characters");
        }
    }
}
