//! A duration in a setting: `25m`, `1h 30m`, `500ms`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

/// Reads a duration as people write it: `500ms`, `30s`, `25m`, `1h 30m`.
///
/// # Errors
/// Says what was expected.
pub fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is not a duration; write e.g. 30s, 25m or 1h 30m");
    let span: jiff::SignedDuration = text.trim().parse().map_err(|_| expected())?;
    Duration::try_from(span).map_err(|_| expected())
}

/// Reads a list of durations.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| parse(text).map_err(serde::de::Error::custom)).collect()
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
