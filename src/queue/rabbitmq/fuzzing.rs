//! The headers of any message, as they are read and handed on.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value};

use super::message;
use crate::queue::Death;

/// Makes an object the headers of a message, reads them, and makes the headers of every message that may follow.
pub(crate) fn read(headers: &Value) {
    let Value::Object(fields) = headers else {
        return;
    };
    let headers = table(fields);
    let mut delivery = Delivery::mock(1, "".into(), "".into(), true, Vec::new());
    delivery.properties = BasicProperties::default().with_headers(headers.clone());
    let info = message::info(&delivery);
    let reason = info.replayed_by.clone().or_else(|| info.traceparent.clone()).unwrap_or_default();
    let death = Death { step: Some(reason.clone()), reason };
    let marks = message::death_marks(&delivery);
    drop((marks.reason, marks.step, marks.died_at));
    drop(message::dead_headers(&headers, &info, &death));
    drop(message::replayed_headers(&headers, &info, &death.reason));
    drop(message::properties(Some(&death.reason), message::normalised_headers(&info)));
}

fn table(fields: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in fields {
        if let Ok(name) = ShortString::try_new(name.as_str()) {
            table.insert(name, amqp(value));
        }
    }
    table
}

fn amqp(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(yes) => AMQPValue::Boolean(*yes),
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Object(fields) => AMQPValue::FieldTable(table(fields)),
        Value::Array(values) => AMQPValue::FieldArray(values.iter().map(amqp).collect::<Vec<_>>().into()),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(large), None) => AMQPValue::Timestamp(large),
            (_, Some(whole)) => {
                i32::try_from(whole).map_or(AMQPValue::LongLongInt(whole), AMQPValue::LongInt)
            }
            (None, None) => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
    }
}
