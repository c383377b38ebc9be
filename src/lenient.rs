//! Reading what a service sends without insisting on what we do not need: a field that is missing, null or of another
//! shape is its default.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The value, or its type's default. For `#[serde(default, deserialize_with = "…")]`.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// The elements that can be read.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let Value::Array(values) = Value::deserialize(deserializer)? else {
        return Ok(Vec::new());
    };
    Ok(values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Wire {
        #[serde(default, deserialize_with = "or_default")]
        name: String,
        #[serde(default, deserialize_with = "list")]
        labels: Vec<String>,
    }

    #[test]
    fn what_is_missing_null_or_odd_is_the_default() {
        for body in ["{}", r#"{"name":null,"labels":null}"#, r#"{"name":7,"labels":"x"}"#] {
            let wire: Wire = serde_json::from_str(body).unwrap();
            assert!(wire.name.is_empty() && wire.labels.is_empty(), "{body}");
        }
        let wire: Wire = serde_json::from_str(r#"{"name":"n","labels":["a",1,"b"]}"#).unwrap();
        assert_eq!((wire.name.as_str(), wire.labels.len()), ("n", 2));
    }
}
