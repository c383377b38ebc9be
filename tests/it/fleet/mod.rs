//! What a fleet promises: crash loops end, cancels arrive, outages burn no attempts, drains lose nothing.

mod bare_key;
mod breaker;
mod cancel;
mod crash_loop;
mod drain;
mod heartbeat;
mod probes;
mod stale;

use lapin::message::Delivery;
use lapin::types::AMQPValue;

/// A number in a message's header; 0 when there is none.
fn number(message: &Delivery, name: &str) -> i64 {
    let headers = message.properties.headers().clone().unwrap_or_default();
    match headers.inner().get(name) {
        Some(AMQPValue::LongLongInt(number)) => *number,
        None => 0,
        other => panic!("{name} is {other:?}"),
    }
}

/// A text in a message's header; empty when there is none.
fn text(message: &Delivery, name: &str) -> String {
    let headers = message.properties.headers().clone().unwrap_or_default();
    match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => text.to_string(),
        None => String::new(),
        other => panic!("{name} is {other:?}"),
    }
}
