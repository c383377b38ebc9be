//! A duration in a setting: `25m`, `1h 30m`, `500ms`.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let expected = || {
        serde::de::Error::custom(format!(
            "`{text}` is not a duration; write e.g. 30s, 25m or 1h 30m"
        ))
    };
    let span: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    Duration::try_from(span).map_err(|_| expected())
}
