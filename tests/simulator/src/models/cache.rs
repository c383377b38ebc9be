//! The prompt cache of Anthropic Messages: byte-exact prefixes that end at a breakpoint.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>

use std::collections::HashSet;

use serde_json::Value;

use super::tokens;

/// A prefix with fewer tokens is not cached, and nobody says so.
const LEAST_TOKENS: u64 = 1024;

/// The prefixes that were written so far.
#[derive(Debug, Default)]
pub(super) struct PromptCache {
    written: HashSet<String>,
}

/// The tokens of a prompt, by what the cache did for them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CacheUse {
    pub(super) fresh: u64,
    pub(super) written: u64,
    pub(super) read: u64,
}

impl PromptCache {
    /// Accounts for a request: its tools, system and messages in this order.
    pub(super) fn account(&mut self, body: &Value) -> CacheUse {
        let mut parts = Vec::new();
        for key in ["tools", "system"] {
            collect(&body[key], &mut parts);
        }
        for message in body["messages"].as_array().into_iter().flatten() {
            collect(&message["content"], &mut parts);
        }
        // A top-level cache_control puts a breakpoint at the end.
        if let Some(last) = parts.last_mut() {
            last.1 |= body["cache_control"].is_object();
        }
        let (mut prefix, mut breakpoints) = (String::new(), Vec::new());
        for (text, breakpoint) in parts {
            prefix += &text;
            if breakpoint && tokens(&prefix) >= LEAST_TOKENS {
                breakpoints.push(prefix.clone());
            }
        }
        let total = tokens(&prefix);
        let read = breakpoints
            .iter()
            .filter(|it| self.written.contains(*it))
            .map(|it| tokens(it))
            .max()
            .unwrap_or(0);
        let cached = breakpoints.last().map_or(0, |it| tokens(it)).max(read);
        self.written.extend(breakpoints);
        CacheUse { fresh: total - cached, written: cached - read, read }
    }
}

/// How many breakpoints a request sets.
pub(super) fn breakpoints(value: &Value) -> usize {
    match value {
        Value::Object(map) => {
            usize::from(map.get("cache_control").is_some_and(Value::is_object))
                + map.values().map(breakpoints).sum::<usize>()
        }
        Value::Array(list) => list.iter().map(breakpoints).sum(),
        _ => 0,
    }
}

fn collect(value: &Value, parts: &mut Vec<(String, bool)>) {
    match value {
        Value::String(text) => parts.push((text.clone(), false)),
        Value::Array(blocks) => {
            for block in blocks {
                let text = block["text"].as_str().map_or_else(|| block.to_string(), str::to_owned);
                parts.push((text, block["cache_control"].is_object()));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_prefix_is_written_once_then_read() {
        let long = "word ".repeat(2000);
        let ask = |question: &str| {
            json!({
                "system": [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}],
                "messages": [{"role": "user", "content": question}],
            })
        };
        let mut cache = PromptCache::default();
        assert_eq!(cache.account(&ask("four")), CacheUse { fresh: 1, written: 2500, read: 0 });
        assert_eq!(cache.account(&ask("five")), CacheUse { fresh: 1, written: 0, read: 2500 });
        let short =
            json!({"system": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]});
        assert_eq!(cache.account(&short), CacheUse { fresh: 1, written: 0, read: 0 });
        assert_eq!(breakpoints(&ask("x")), 1);
    }
}
