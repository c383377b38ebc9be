//! The journal: every request that a service got, for assertions.

use std::collections::BTreeMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use axum::http::{HeaderMap, request};
use jiff::Timestamp;
use regex::Regex;
use serde::Serialize;

use crate::service::Service;

/// The most bytes of a body that are kept.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// Headers whose value is a secret: only a fingerprint is kept.
const SECRET_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "cookie"];

/// One request and its fate.
#[derive(Debug, Clone, Serialize)]
pub struct Entry {
    /// Counted from 1 in the order of arrival.
    pub number: usize,
    /// When it came.
    pub at: Timestamp,
    /// Which service it was for.
    pub service: Service,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers, names in lower case. A secret's value is a fingerprint unless the options say otherwise.
    pub headers: BTreeMap<String, String>,
    /// The body as text, at most 4 MiB of it; of a binary body only a note.
    pub body: String,
    /// The whole body's size.
    pub body_bytes: usize,
    /// The status it was answered with; `None` while under way, and for ever when it was not answered.
    pub status: Option<u16>,
    /// How long the answer took; `None` when there was none.
    pub duration_ms: Option<u64>,
    /// The fault that fired, in words.
    pub fault: Option<String>,
}

/// All requests of a simulator, oldest first. Clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    entries: Arc<Mutex<Vec<Entry>>>,
    file: Option<Arc<Mutex<File>>>,
    keep_secrets: bool,
}

impl Journal {
    /// A journal that also writes each settled request as a JSON line to `file`.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create(file: Option<&Path>, keep_secrets: bool) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            File::create(path)
                .with_context(|| format!("the journal file {} cannot be written", path.display()))
        };
        let file = file.map(open).transpose()?.map(|file| Arc::new(Mutex::new(file)));
        Ok(Self { entries: Arc::default(), file, keep_secrets })
    }

    /// Every request so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    /// Requests of this method (in upper case) whose path and query match.
    #[must_use]
    pub fn matching(&self, method: &str, path: &Regex) -> Vec<Entry> {
        let wanted = |entry: &&Entry| entry.method == method && path.is_match(&entry.path);
        self.lock().iter().filter(wanted).cloned().collect()
    }

    /// Requests that change something at `service`: neither GET nor HEAD.
    #[must_use]
    pub fn writes(&self, service: Service) -> Vec<Entry> {
        let writes = |entry: &&Entry| entry.service == service && !matches!(&*entry.method, "GET" | "HEAD");
        self.lock().iter().filter(writes).cloned().collect()
    }

    /// The requests whose URL or body holds one of `secrets`, in words.
    #[must_use]
    pub fn leaks(&self, secrets: &[&str]) -> Vec<String> {
        let holds =
            |entry: &&Entry| secrets.iter().any(|it| entry.path.contains(it) || entry.body.contains(it));
        let words =
            |entry: &Entry| format!("request {}: {} to {}", entry.number, entry.method, entry.service);
        self.lock().iter().filter(holds).map(words).collect()
    }

    pub(crate) fn begin(&self, service: Service, head: &request::Parts, body: &[u8]) -> Open {
        let mut entries = self.lock();
        let entry = Entry {
            number: entries.len() + 1,
            at: Timestamp::now(),
            service,
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned(),
            headers: self.headers(&head.headers),
            body: readable(body),
            body_bytes: body.len(),
            status: None,
            duration_ms: None,
            fault: None,
        };
        let index = entries.len();
        entries.push(entry);
        Open { journal: self.clone(), index, started: Instant::now() }
    }

    fn headers(&self, headers: &HeaderMap) -> BTreeMap<String, String> {
        let shown = |name: &str, value: &[u8]| {
            let text = String::from_utf8_lossy(value).into_owned();
            let hide = SECRET_HEADERS.contains(&name) && !self.keep_secrets;
            if hide { fingerprint(&text) } else { text }
        };
        headers
            .iter()
            .map(|(name, value)| (name.to_string(), shown(name.as_str(), value.as_bytes())))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request under way. Dropped without an answer it is written down as unanswered.
pub(crate) struct Open {
    journal: Journal,
    index: usize,
    started: Instant,
}

impl Open {
    pub(crate) fn fault(&self, words: String) {
        if let Some(entry) = self.journal.lock().get_mut(self.index) {
            entry.fault = Some(words);
        }
    }

    pub(crate) fn answered(&self, status: u16) {
        if let Some(entry) = self.journal.lock().get_mut(self.index) {
            entry.status = Some(status);
            entry.duration_ms = u64::try_from(self.started.elapsed().as_millis()).ok();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(file) = &self.journal.file else { return };
        let line = self.journal.lock().get(self.index).and_then(|entry| serde_json::to_string(entry).ok());
        if let Some(line) = line {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(problem) = writeln!(file, "{line}") {
                tracing::warn!(error = %problem, "the journal file cannot be written");
            }
        }
    }
}

fn readable(body: &[u8]) -> String {
    match std::str::from_utf8(body) {
        Ok(text) if text.len() <= BODY_LIMIT => text.to_owned(),
        Ok(text) => text[..text.floor_char_boundary(BODY_LIMIT)].to_owned(),
        Err(_) => format!("({} bytes that are not text)", body.len()),
    }
}

/// The same secret has the same fingerprint within one build; the secret cannot be read from it.
fn fingerprint(secret: &str) -> String {
    let scheme = secret.split_once(' ').map_or("", |(scheme, _)| scheme);
    let mut hasher = DefaultHasher::new();
    secret.hash(&mut hasher);
    format!("{scheme} fingerprint:{:016x}", hasher.finish()).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_keeps_the_scheme_and_not_the_secret() {
        let shown = fingerprint("Bearer s3cret");
        assert!(shown.starts_with("Bearer fingerprint:"), "{shown}");
        assert!(!shown.contains("s3cret"));
        assert_eq!(shown, fingerprint("Bearer s3cret"));
        assert_ne!(shown, fingerprint("Bearer other"));
    }
}
