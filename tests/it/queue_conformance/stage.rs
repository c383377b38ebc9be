//! What a transport's tests have to provide so that every behaviour can be shown on it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use jira_agent::config::QueueConfig;
use jira_agent::queue::TaskQueue;

/// The tiers of every stage.
pub const TIERS: [Duration; 2] = [Duration::from_millis(300), Duration::from_millis(900)];
/// How long a holder may be silent where leases are kept by signs of life.
pub const LEASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a transport cannot show a behaviour, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cannot(pub &'static str);

/// What became of a behaviour; one that fails panics.
pub type Shown = Result<(), Cannot>;

/// A kind of stage.
pub trait Transport: Stage + Sized {
    /// Its name.
    const NAME: &'static str;
    /// Which behaviours it cannot show, and why. [`super::check`] holds it to that.
    const CANNOT: &'static [(&'static str, Cannot)];

    /// An empty queue that no other test uses. `alone`: no other test uses its server either, so that it can be restarted.
    async fn open(alone: bool) -> Self;
}

/// An empty queue of a test's own.
#[async_trait]
pub trait Stage: Send + Sync {
    /// A client with connections of its own.
    async fn client(&self) -> Arc<dyn TaskQueue>;

    /// A client that shares nothing with the others, as that of another process.
    async fn process(&self) -> Result<Arc<dyn TaskQueue>, Cannot> {
        Ok(self.client().await)
    }

    /// Where a process of its own finds the queue.
    fn address(&self) -> Result<QueueConfig, Cannot>;

    /// How long a holder may be silent; where no signs of life are kept, a moment.
    fn lease_timeout(&self) -> Duration {
        LEASE_TIMEOUT
    }

    /// How soon what a dead process held is there for others.
    fn known_dead_within(&self) -> Duration;

    /// Puts a body on the queue as another program does: without anything of ours.
    async fn put(&self, body: &[u8]);

    /// The same, by a program that says when it was first published and in which trace.
    async fn put_traced(&self, body: &[u8], first_published: Timestamp, traceparent: &str) -> Shown;

    /// Whether [`jira_agent::queue::Backlog::held`] is known.
    fn knows_what_is_held(&self) -> Shown {
        Ok(())
    }

    /// Takes the queue of tasks away, as an administrator can by mistake.
    async fn remove(&self) -> Shown;

    /// A client of a queue that is not there.
    async fn nowhere(&self) -> Result<Arc<dyn TaskQueue>, Cannot>;

    /// Stops the server and starts it again.
    async fn restart(&self) -> Shown;
}
