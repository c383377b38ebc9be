//! What an item of the lists is: a header of ours and the body, or a body alone that another program put there.
//!
//! `jira-agent/1 <id> <header as JSON>`, a line feed, and the body as it came. The id is the item's own, new whenever
//! the task moves on; a delivery is known by it. `scripts/common.lua` reads the same form.

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use ulid::Ulid;

use crate::queue::{Counters, DeadLetter, Death, DeliveryInfo};

const MARK: &[u8] = b"jira-agent/1 ";
/// A ULID's characters.
const ID: usize = 26;

/// A reason is cut to this many bytes.
const REASON_LIMIT: usize = 1024;

/// What an item carries besides its body.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Header {
    /// The task's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "is_zero")]
    waits: u32,
    #[serde(skip_serializing_if = "is_zero")]
    crashes: u32,
    /// How often a worker died over this very item.
    #[serde(skip_serializing_if = "is_zero")]
    returns: u32,
    #[serde(skip_serializing_if = "is_false")]
    redelivered: bool,
    /// How often this very item went back; the scripts count it.
    #[serde(skip_serializing_if = "is_zero")]
    turn: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_published: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    died_at: Option<Timestamp>,
    /// What a later version writes.
    #[serde(skip)]
    more: Map<String, Value>,
}

/// The names of the fields above.
const FIELDS: [&str; 13] = [
    "task",
    "attempt",
    "waits",
    "crashes",
    "returns",
    "redelivered",
    "turn",
    "first_published",
    "reason",
    "traceparent",
    "replayed_by",
    "step",
    "died_at",
];

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(truth: &bool) -> bool {
    !*truth
}

/// An item taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Envelope {
    /// The item's id; `None` for a body alone.
    pub(super) id: Option<String>,
    /// The header; empty for a body alone.
    pub(super) header: Header,
    /// The body.
    pub(super) body: Bytes,
}

impl Envelope {
    /// Takes an item apart. A header that cannot be read counts as empty.
    pub(super) fn open(item: &Bytes) -> Self {
        Self::of_ours(item).unwrap_or_else(|| Self {
            id: None,
            header: Header::default(),
            body: item.clone(),
        })
    }

    fn of_ours(item: &Bytes) -> Option<Self> {
        let rest = item.strip_prefix(MARK)?;
        let (id, rest) = rest.split_at_checked(ID)?;
        let rest = rest.strip_prefix(b" ")?;
        let line = rest.iter().position(|byte| *byte == b'\n')?;
        let id = std::str::from_utf8(id).ok()?.to_owned();
        let header = Header::read(&rest[..line]).unwrap_or_else(|error| {
            tracing::warn!(%error, "a task's header cannot be read and counts as empty");
            Header::default()
        });
        Some(Self { id: Some(id), header, body: item.slice_ref(&rest[line + 1..]) })
    }

    /// As a letter.
    pub(super) fn into_dead_letter(self) -> DeadLetter {
        let info = self.header.info();
        DeadLetter {
            id: DeadLetter::id_of(info.message_id.as_deref(), &self.body),
            body: self.body,
            info,
            // A task that went back once has a reason; it is the reason of the death only beside its time.
            reason: self.header.died_at.and(self.header.reason),
            step: self.header.step,
            died_at: self.header.died_at,
        }
    }
}

impl Header {
    /// Reads it at one go, and only what a later version wrote field by field.
    fn read(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text).or_else(|_| {
            let mut more: Map<String, Value> = serde_json::from_slice(text)?;
            let known = FIELDS.into_iter().filter_map(|name| more.remove_entry(name)).collect();
            Ok(Self { more, ..serde_json::from_value(Value::Object(known))? })
        })
    }

    fn write(&self) -> serde_json::Result<Vec<u8>> {
        if self.more.is_empty() {
            return serde_json::to_vec(self);
        }
        let Value::Object(mut all) = serde_json::to_value(self)? else {
            return serde_json::to_vec(&self.more);
        };
        all.extend(self.more.clone());
        serde_json::to_vec(&all)
    }

    /// Of a task's first publish.
    pub(super) fn first(task: String) -> Self {
        Self { task: Some(task), first_published: Some(Timestamp::now()), ..Self::default() }
    }

    /// Of a task that got its id: as new, but in the trace of the message it came in.
    pub(super) fn normalised(task: String, info: &DeliveryInfo) -> Self {
        let first = Self::first(task);
        Self {
            first_published: info.first_published.or(first.first_published),
            traceparent: info.traceparent.clone(),
            ..first
        }
    }

    /// Of a task that goes back.
    pub(super) fn onward(&self, counters: Counters, reason: &str) -> Self {
        Self {
            attempt: Some(counters.attempt),
            waits: counters.waits,
            crashes: counters.crashes,
            returns: 0,
            redelivered: false,
            turn: 0,
            first_published: self.first_published.or_else(|| Some(Timestamp::now())),
            reason: Some(cut(reason).to_owned()),
            ..self.clone()
        }
    }

    /// Of a dead letter.
    pub(super) fn dead(&self, counters: Counters, death: &Death) -> Self {
        Self {
            step: death.step.clone(),
            died_at: Some(Timestamp::now()),
            ..self.onward(counters, &death.reason)
        }
    }

    /// Of a dead letter that goes back to the workers: the first attempt again, and the time that waits are free for
    /// starts anew.
    pub(super) fn replayed(&self, by: &str) -> Self {
        Self {
            replayed_by: Some(by.to_owned()),
            first_published: Some(Timestamp::now()),
            reason: None,
            step: None,
            died_at: None,
            ..self.onward(Counters { attempt: 1, waits: 0, crashes: 0 }, "")
        }
    }

    /// What the queue says about a delivery.
    pub(super) fn info(&self) -> DeliveryInfo {
        DeliveryInfo {
            message_id: self.task.clone(),
            attempt: self.attempt.unwrap_or(1).max(1),
            waits: self.waits,
            crashes: self.crashes,
            delivery_count: self.returns,
            first_published: self.first_published,
            traceparent: self.traceparent.clone(),
            redelivered: self.redelivered,
            replayed_by: self.replayed_by.clone(),
        }
    }

    /// A new item.
    pub(super) fn seal(&self, body: &[u8]) -> Vec<u8> {
        // Texts, numbers and maps with string keys always serialise.
        let header = self.write().unwrap_or_else(|_| b"{}".to_vec());
        let id = Ulid::generate().to_string();
        [MARK, id.as_bytes(), b" ", &header, b"\n", body].concat()
    }
}

fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_LIMIT)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_item_opens_to_what_went_in() {
        let header =
            Header { waits: 3, traceparent: Some("00-a-b-01".to_owned()), ..Header::first("T".into()) };
        let opened = Envelope::open(&header.seal(b"line\nfeed \xff").into());
        assert_eq!((opened.header, opened.body.as_ref()), (header, b"line\nfeed \xff".as_slice()));
        assert_eq!(opened.id.unwrap().len(), ID);
    }

    #[test]
    fn whatever_else_is_there_is_a_body() {
        for text in ["", "PROJ-1", "{\"issue_id\":\"PROJ-1\"}", "jira-agent/1 ", "jira-agent/1 short {}\nx"] {
            let item = Bytes::from_static(text.as_bytes());
            let opened = Envelope::open(&item);
            assert_eq!((opened.id, opened.body), (None, item));
            let info = opened.header.info();
            assert_eq!((info.attempt, info.delivery_count, info.message_id), (1, 0, None));
        }
    }

    #[test]
    fn a_broken_header_does_not_cost_the_body() {
        let item = Bytes::from(format!("jira-agent/1 {} {{broken\nPROJ-1", Ulid::generate()));
        let opened = Envelope::open(&item);
        assert_eq!((opened.header, opened.body.as_ref()), (Header::default(), b"PROJ-1".as_slice()));
    }

    #[test]
    fn a_task_that_goes_back_keeps_what_a_later_version_wrote() {
        let header = Header::read(br#"{"returns":2,"redelivered":true,"colour":"red"}"#).unwrap();
        assert_eq!((header.returns, header.redelivered), (2, true));
        let onward = header.onward(Counters { attempt: 2, waits: 0, crashes: 1 }, "busy");
        let text: Value = serde_json::from_slice(&onward.write().unwrap()).unwrap();
        assert_eq!((text["colour"].as_str(), text.get("returns")), (Some("red"), None));
        let info = onward.info();
        assert_eq!((info.attempt, info.crashes, info.redelivered), (2, 1, false));
    }

    #[test]
    fn every_field_is_known_by_its_name() {
        let text = FIELDS.map(|name| match name {
            "task" | "reason" | "traceparent" | "replayed_by" | "step" => format!("\"{name}\":\"x\""),
            "first_published" | "died_at" => format!("\"{name}\":\"2026-01-02T03:04:05Z\""),
            "redelivered" => format!("\"{name}\":true"),
            _ => format!("\"{name}\":7"),
        });
        let text = format!("{{{}}}", text.join(","));
        let header = Header::read(text.as_bytes()).unwrap();
        assert!(header.more.is_empty());
        let written: Map<String, Value> = serde_json::from_slice(&header.write().unwrap()).unwrap();
        assert_eq!(written.len(), FIELDS.len());
        let with_more = text.replacen('{', "{\"colour\":\"red\",", 1);
        let more = Map::from_iter([("colour".to_owned(), "red".into())]);
        assert_eq!(Header::read(with_more.as_bytes()).unwrap(), Header { more, ..header });
    }

    #[test]
    fn a_replayed_letter_starts_anew() {
        let first = Header::first("T".into());
        let dead = first.dead(Counters { attempt: 5, waits: 2, crashes: 1 }, &Death::new("over"));
        let letter = Envelope::open(&dead.seal(b"x").into()).into_dead_letter();
        assert_eq!(
            (letter.reason.as_deref(), letter.info.attempt, letter.id.as_str()),
            (Some("over"), 5, "T")
        );
        let again = dead.replayed("ann").info();
        assert_eq!((again.attempt, again.waits, again.crashes), (1, 0, 0));
        assert_eq!((again.replayed_by.as_deref(), dead.replayed("ann").died_at), (Some("ann"), None));
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        let long = format!("{}é", "x".repeat(REASON_LIMIT - 1));
        assert_eq!(cut(&long).len(), REASON_LIMIT - 1);
    }
}
