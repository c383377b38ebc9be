//! What a test did not expect: requests that no service answers, bodies that the real service would refuse.

use std::sync::{Arc, Mutex, PoisonError};

/// Everything that went wrong in the simulator's eyes, oldest first. Clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Problems(Arc<Mutex<Vec<String>>>);

impl Problems {
    /// Writes down one problem; the test fails at its end because of it.
    pub fn report(&self, problem: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(problem.into());
    }

    /// Takes all problems out, oldest first, so that a test can expect them.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All problems so far, oldest first; they stay.
    #[must_use]
    pub fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
