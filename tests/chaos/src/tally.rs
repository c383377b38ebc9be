//! What the workers' logs say: redeliveries, retries by reason, the story of one run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::overlap::{self, Spell};

/// The most lines of one ticket's story.
const STORY_LINES: usize = 120;

/// What was read.
#[derive(Debug, Default)]
pub struct Tally {
    /// Attempts that were handed out more than once, as far as a worker came to log them.
    pub redeliveries: usize,
    /// Tasks that waited, by reason.
    pub retries: BTreeMap<String, u32>,
    /// Runs by how they ended; a run that is acked twice counts twice.
    pub outcomes: BTreeMap<String, u32>,
    /// Who was at work on which ticket, and when.
    pub spells: Vec<Spell>,
}

/// Reads every log.
///
/// # Errors
/// When a log cannot be read.
pub fn read(directory: &Path) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut handed: BTreeSet<(usize, String, u64)> = BTreeSet::new();
    for (file, path) in logs(directory)?.into_iter().enumerate() {
        let lines = lines(&path)?;
        tally.spells.extend(overlap::spells(&path.file_stem().unwrap_or_default().to_string_lossy(), &lines));
        for line in lines {
            let Some(run) = line["run.id"].as_str() else { continue };
            if let Some(attempt) = line["attempt"].as_u64() {
                handed.insert((file, run.to_owned(), attempt));
            }
            match line["message"].as_str().unwrap_or_default() {
                "the task waits for another attempt" => {
                    let reason = shortened(line["reason"].as_str().unwrap_or("?"));
                    *tally.retries.entry(reason).or_default() += 1;
                }
                "the run ended" => {
                    let outcome = line["outcome"].as_str().unwrap_or("?").to_owned();
                    *tally.outcomes.entry(outcome).or_default() += 1;
                }
                "the run has ended before; the task is acknowledged" => {
                    *tally.outcomes.entry("ended before".to_owned()).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    let attempts: BTreeSet<(&str, u64)> = handed.iter().map(|(_, run, attempt)| (&**run, *attempt)).collect();
    tally.redeliveries = handed.len() - attempts.len();
    Ok(tally)
}

/// The lines of all runs of one ticket, in the order of their times.
///
/// # Errors
/// When a log cannot be read.
pub fn story(directory: &Path, key: &str) -> anyhow::Result<Vec<String>> {
    let mut found: Vec<(String, String)> = Vec::new();
    for path in logs(directory)? {
        let worker = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for line in lines(&path)? {
            if line["ticket.key"].as_str() == Some(key) {
                let time = line["time"].as_str().unwrap_or_default().to_owned();
                found.push((time, format!("{worker} {line}")));
            }
        }
    }
    found.sort();
    let surplus = found.len().saturating_sub(STORY_LINES);
    Ok(found.into_iter().skip(surplus).map(|(_, line)| line).collect())
}

fn logs(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut logs: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    Ok(logs)
}

/// What is no JSON is left out: a killed worker's last line may be half a line.
fn lines(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(String::from_utf8_lossy(&text).lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A reason without what differs from ticket to ticket.
fn shortened(reason: &str) -> String {
    let general = |word: &str| {
        let special = word.contains("http://") || word.contains("127.0.0.1") || word.contains('`');
        if special || word.chars().any(|letter| letter.is_ascii_digit()) && !is_status(word) {
            "…".to_owned()
        } else {
            word.to_owned()
        }
    };
    let words: Vec<String> = reason.split_whitespace().map(general).collect();
    words.join(" ").chars().take(90).collect()
}

fn is_status(word: &str) -> bool {
    let digits = word.trim_matches(|letter: char| !letter.is_ascii_digit());
    digits.len() == 3 && word.len() <= 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_keeps_its_status_and_loses_its_ticket() {
        let reason = "step publish: pushing: 127.0.0.1:4242 answered (502) for `ai/SHOPA-7`";
        assert_eq!(shortened(reason), "step publish: pushing: … answered (502) for …");
    }

    #[test]
    fn the_same_attempt_in_two_logs_is_a_redelivery() {
        let directory = tempfile::tempdir().unwrap();
        let line = |attempt: u32| {
            format!("{{\"run.id\":\"R\",\"ticket.key\":\"A-1\",\"attempt\":{attempt},\"message\":\"x\"}}\n")
        };
        std::fs::write(directory.path().join("a.log"), format!("{}{}", line(1), "{\"half")).unwrap();
        std::fs::write(directory.path().join("b.log"), format!("{}{}", line(1), line(2))).unwrap();
        assert_eq!(read(directory.path()).unwrap().redeliveries, 1);
        assert_eq!(story(directory.path(), "A-1").unwrap().len(), 3);
        assert!(story(directory.path(), "A-2").unwrap().is_empty());
    }
}
