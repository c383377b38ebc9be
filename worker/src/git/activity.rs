//! Whether the remote is waited for, and since when.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::SpooledTempFile;

/// Since when the remote is waited for.
#[derive(Clone)]
pub(super) struct Activity {
    start: Instant,
    /// Milliseconds after `start`, plus one; 0: nothing is waited for.
    waiting: Arc<AtomicU64>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), waiting: Arc::new(AtomicU64::new(0)) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.store(self.now(), Ordering::Relaxed);
        Waiting(self)
    }

    pub(super) fn silence(&self) -> Option<Duration> {
        match self.waiting.load(Ordering::Relaxed) {
            0 => None,
            since => Some(Duration::from_millis(self.now().saturating_sub(since))),
        }
    }
}

/// Ends the waiting when dropped.
pub(super) struct Waiting<'a>(&'a Activity);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.store(0, Ordering::Relaxed);
    }
}

/// A request's body: each part that leaves is a sign of life.
pub(super) struct Counted {
    body: SpooledTempFile,
    activity: Activity,
}

impl Counted {
    pub(super) fn new(body: SpooledTempFile, activity: Activity) -> Self {
        Self { body, activity }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.activity.waiting.store(self.activity.now(), Ordering::Relaxed);
        self.body.read(buffer)
    }
}
