//! What a message carries besides its body.

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use ulid::Ulid;

use super::returns::Stay;
use crate::queue::{Counters, DeadLetter, Death, DeliveryInfo};

/// Which attempt the next delivery is, from 1.
pub(super) const ATTEMPT: &str = "x-attempt";
/// Why the task went back or is dead.
pub(super) const REASON: &str = "x-reason";
const CRASHES: &str = "x-crashes";
/// How often in a row the task has waited without that counting as an attempt.
const WAITS: &str = "x-waits";
const FIRST_PUBLISHED: &str = "x-first-published";
const DELIVERY_COUNT: &str = "x-delivery-count";
const TRACEPARENT: &str = "traceparent";
/// Who put the task back from the dead letters.
const REPLAYED_BY: &str = "x-replayed-by";
/// In which step a dead letter failed.
const STEP: &str = "x-step";
/// When it died.
const DIED_AT: &str = "x-died-at";

/// What tells one publish of a task from every other: the broker counts the returns of each by itself.
const PUBLISH_ID: &str = "x-publish-id";

/// A reason in a header is cut to this many bytes.
const REASON_LIMIT: usize = 1024;

/// The broker's own notes, which would be taken for ours when they are published again; the headers that send
/// copies elsewhere (<https://www.rabbitmq.com/docs/sender-selected>); and what was said of an earlier death.
fn stays_behind(header: &str) -> bool {
    ["x-death", DELIVERY_COUNT, "x-acquired-count", "CC", "BCC", STEP, DIED_AT].contains(&header)
        || header.starts_with("x-first-death-")
        || header.starts_with("x-last-death-")
}

/// What the broker says about a delivery.
pub(super) fn info(delivery: &Delivery) -> DeliveryInfo {
    let empty = FieldTable::default();
    let headers = delivery.properties.headers().as_ref().unwrap_or(&empty);
    let count = |name: &str| {
        let number = headers.inner().get(name).and_then(integer)?;
        u32::try_from(number).ok()
    };
    DeliveryInfo {
        message_id: delivery.properties.message_id().as_ref().map(ShortString::to_string),
        attempt: count(ATTEMPT).unwrap_or(1).max(1),
        waits: count(WAITS).unwrap_or(0),
        crashes: count(CRASHES).unwrap_or(0),
        // A classic queue does not count: it only says that there was a delivery before.
        delivery_count: count(DELIVERY_COUNT).unwrap_or(delivery.redelivered.into()),
        first_published: headers
            .inner()
            .get(FIRST_PUBLISHED)
            .and_then(time)
            .or_else(|| seconds((*delivery.properties.timestamp())?)),
        traceparent: headers.inner().get(TRACEPARENT).and_then(text),
        redelivered: delivery.redelivered,
        replayed_by: headers.inner().get(REPLAYED_BY).and_then(text),
    }
}

/// Which publish of a task this is, and how often it has come back.
pub(super) fn stay(delivery: &Delivery, info: &DeliveryInfo) -> Stay {
    let headers = delivery.properties.headers().as_ref();
    let publish_id = headers.and_then(|headers| headers.inner().get(PUBLISH_ID)).and_then(text);
    let message = DeadLetter::id_of(info.message_id.as_deref(), &delivery.data);
    // Others publish without an id of the publish.
    let publish = format!("{message}/{}", publish_id.unwrap_or_default());
    Stay { publish, count: info.delivery_count }
}

/// Properties of a message of ours: persistent JSON, made now.
pub(super) fn properties(message_id: Option<&str>, headers: FieldTable) -> BasicProperties {
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_timestamp(now)
        .with_headers(headers);
    match message_id.map(ShortString::try_new) {
        Some(Ok(id)) => properties.with_message_id(id),
        _ => properties,
    }
}

/// Headers of a task's first publish.
pub(super) fn first_headers() -> FieldTable {
    let mut headers = FieldTable::default();
    put_number(&mut headers, ATTEMPT, 1);
    put_text(&mut headers, FIRST_PUBLISHED, &Timestamp::now().to_string());
    put_text(&mut headers, PUBLISH_ID, &Ulid::generate().to_string());
    headers
}

/// Headers of a task that is published again: the same, without the broker's notes, with the attempt and the
/// reason renewed.
pub(super) fn onward_headers(
    old: &FieldTable,
    info: &DeliveryInfo,
    counters: Counters,
    reason: &str,
) -> FieldTable {
    let mut headers = FieldTable::default();
    for (name, value) in old {
        if !stays_behind(name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    put_number(&mut headers, ATTEMPT, counters.attempt);
    put_number(&mut headers, WAITS, counters.waits);
    put_number(&mut headers, CRASHES, counters.crashes);
    put_text(&mut headers, REASON, cut(reason));
    let first_published = info.first_published.unwrap_or_else(Timestamp::now);
    put_text(&mut headers, FIRST_PUBLISHED, &first_published.to_string());
    put_text(&mut headers, PUBLISH_ID, &Ulid::generate().to_string());
    headers
}

/// Headers of a dead letter: the same, with why and where it died.
pub(super) fn dead_headers(old: &FieldTable, info: &DeliveryInfo, death: &Death) -> FieldTable {
    let mut headers = onward_headers(old, info, info.counters(), &death.reason);
    put_text(&mut headers, DIED_AT, &Timestamp::now().to_string());
    if let Some(step) = &death.step {
        put_text(&mut headers, STEP, step);
    }
    headers
}

/// Headers of a dead letter that goes back to the workers: the first attempt again.
pub(super) fn replayed_headers(old: &FieldTable, info: &DeliveryInfo, by: &str) -> FieldTable {
    let fresh = Counters { attempt: 1, waits: 0, crashes: 0 };
    let mut headers = onward_headers(old, info, fresh, "");
    put_text(&mut headers, REPLAYED_BY, by);
    // The time that waits are free for starts anew.
    put_text(&mut headers, FIRST_PUBLISHED, &Timestamp::now().to_string());
    let mut left = headers.inner().clone();
    left.retain(|name, _| name.as_str() != REASON);
    left.into()
}

/// What a dead letter says about its death.
pub(super) struct DeathMarks {
    pub(super) reason: Option<String>,
    pub(super) step: Option<String>,
    pub(super) died_at: Option<Timestamp>,
}

/// Reads them; a letter that the broker put there itself has only the broker's own notes.
pub(super) fn death_marks(delivery: &Delivery) -> DeathMarks {
    let empty = FieldTable::default();
    let headers = delivery.properties.headers().as_ref().unwrap_or(&empty).inner();
    DeathMarks {
        // A task that went back once has a reason; it is the reason of the death only beside its time.
        reason: headers.get(DIED_AT).and_then(|_| headers.get(REASON)).and_then(text),
        step: headers.get(STEP).and_then(text),
        died_at: headers.get(DIED_AT).and_then(time).or_else(|| brokers_time(headers.get("x-death")?)),
    }
}

/// Headers of a task that got its id: as new, but in the trace of the message it came in.
pub(super) fn normalised_headers(info: &DeliveryInfo) -> FieldTable {
    let mut headers = first_headers();
    if let Some(first_published) = info.first_published {
        put_text(&mut headers, FIRST_PUBLISHED, &first_published.to_string());
    }
    if let Some(traceparent) = &info.traceparent {
        put_text(&mut headers, TRACEPARENT, traceparent);
    }
    headers
}

/// When the broker put a message away last: <https://www.rabbitmq.com/docs/dlx#effects>.
fn brokers_time(deaths: &AMQPValue) -> Option<Timestamp> {
    let AMQPValue::FieldArray(deaths) = deaths else {
        return None;
    };
    let Some(AMQPValue::FieldTable(newest)) = deaths.as_slice().first() else {
        return None;
    };
    newest.inner().get("time").and_then(time)
}

fn put_number(headers: &mut FieldTable, name: &'static str, value: u32) {
    headers.insert(name.into(), AMQPValue::LongLongInt(value.into()));
}

fn put_text(headers: &mut FieldTable, name: &'static str, value: &str) {
    headers.insert(name.into(), AMQPValue::LongString(value.into()));
}

fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(REASON_LIMIT)]
}

/// Clients and brokers write the same number in different types, some as text.
fn integer(value: &AMQPValue) -> Option<i64> {
    match value {
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::Timestamp(number) => i64::try_from(*number).ok(),
        other => text(other)?.trim().parse().ok(),
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().map(str::to_owned),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn time(value: &AMQPValue) -> Option<Timestamp> {
    let written = text(value).and_then(|text| text.parse().ok());
    written.or_else(|| seconds(u64::try_from(integer(value)?).ok()?))
}

fn seconds(since_epoch: u64) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(since_epoch).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(headers: &[(&'static str, AMQPValue)]) -> Delivery {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let mut delivery = Delivery::mock(1, "".into(), "".into(), true, Vec::new());
        delivery.properties = BasicProperties::default().with_headers(table);
        delivery
    }

    #[test]
    fn a_message_without_headers_is_the_first_attempt() {
        let mut bare = delivery(&[]);
        bare.properties = BasicProperties::default();
        let info = info(&bare);
        assert_eq!((info.attempt, info.crashes), (1, 0));
        assert_eq!((info.message_id, info.first_published), (None, None));
    }

    #[test]
    fn a_classic_queue_says_only_that_there_was_a_delivery_before() {
        let mut bare = delivery(&[]);
        assert_eq!(info(&bare).delivery_count, 1);
        bare.redelivered = false;
        assert_eq!(info(&bare).delivery_count, 0);
        assert_eq!(info(&delivery(&[(DELIVERY_COUNT, AMQPValue::LongInt(0))])).delivery_count, 0);
    }

    #[test]
    fn every_publish_of_a_task_has_a_stay_of_its_own() {
        let of = |headers: FieldTable| {
            let mut message = delivery(&[]);
            message.properties = properties(Some("id"), headers);
            stay(&message, &info(&message))
        };
        let (one, two) = (of(first_headers()), of(first_headers()));
        assert_ne!(one, two);
        assert!(one.publish.starts_with("id/"), "{one:?}");
    }

    #[test]
    fn numbers_are_read_whatever_their_type() {
        for value in [
            AMQPValue::LongInt(3),
            AMQPValue::LongLongInt(3),
            AMQPValue::ShortShortUInt(3),
            AMQPValue::LongString("3".into()),
        ] {
            let info = info(&delivery(&[(ATTEMPT, value.clone()), (DELIVERY_COUNT, value)]));
            assert_eq!((info.attempt, info.delivery_count), (3, 3));
        }
        for value in [AMQPValue::LongInt(-3), AMQPValue::LongString("x".into()), AMQPValue::Void] {
            assert_eq!(info(&delivery(&[(ATTEMPT, value)])).attempt, 1);
        }
    }

    #[test]
    fn a_republished_task_keeps_its_headers_but_not_the_brokers_notes() {
        let old = delivery(&[
            ("x-death", AMQPValue::Void),
            ("x-first-death-queue", AMQPValue::Void),
            ("x-last-death-reason", AMQPValue::Void),
            ("CC", AMQPValue::Void),
            (DELIVERY_COUNT, AMQPValue::LongInt(2)),
            (CRASHES, AMQPValue::LongInt(1)),
            (FIRST_PUBLISHED, AMQPValue::LongString("2026-01-30T12:00:00Z".into())),
            (TRACEPARENT, AMQPValue::LongString("00-a-b-01".into())),
            (ATTEMPT, AMQPValue::LongInt(2)),
        ]);
        let info = info(&old);
        let headers = old.properties.headers().clone().unwrap();
        let onward = onward_headers(
            &headers,
            &info,
            Counters { attempt: 3, waits: 1, crashes: 1 },
            "the model is busy",
        );
        let names: Vec<&str> = onward.inner().keys().map(ShortString::as_str).collect();
        assert_eq!(names, ["traceparent", ATTEMPT, CRASHES, FIRST_PUBLISHED, PUBLISH_ID, REASON, WAITS]);
        assert_eq!(onward.inner()[ATTEMPT], AMQPValue::LongLongInt(3));
        assert_eq!(time(&onward.inner()[FIRST_PUBLISHED]), info.first_published);
    }

    #[test]
    fn a_long_reason_is_cut_between_letters() {
        assert_eq!(cut("short"), "short");
        let long = format!("{}é", "x".repeat(REASON_LIMIT - 1));
        assert_eq!(cut(&long).len(), REASON_LIMIT - 1);
    }

    #[test]
    fn our_messages_are_persistent_json() {
        let properties = properties(Some("id"), first_headers());
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/json");
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "id");
    }
}
