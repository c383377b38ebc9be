//! The lease as an exclusive queue: the broker lets one connection have it and deletes it with the connection.
//! <https://www.rabbitmq.com/docs/queues#exclusive-queues>. It has no fence: effects guard themselves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use super::connection::{Failure, Link};
use crate::queue::{Hold, Lease, LeaseKey, LeaseOutcome, QueueError};

/// The longest name that AMQP allows, in bytes.
const NAME_LIMIT: usize = 255;

/// A holder's queue outlives its connection by some milliseconds, so a first "held" is asked again.
const ASKED: u32 = 3;
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// `agent-lock.<repository>+<branch>`, each part escaped.
fn name(key: &LeaseKey) -> String {
    let escaped: String = form_urlencoded::byte_serialize(key.name().as_bytes()).collect();
    let name = format!("agent-lock.{escaped}");
    if name.len() <= NAME_LIMIT {
        return name;
    }
    let digest = Sha256::digest(name.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    // A name that is not hashed has a plus sign, so the two kinds never meet.
    format!("agent-lock.{digest}")
}

/// Tries to take the lease on this connection.
pub(super) async fn take(link: &Arc<Link>, key: &LeaseKey) -> Result<LeaseOutcome, QueueError> {
    let name = name(key);
    if !registered(&link.leases).insert(name.clone()) {
        return Ok(LeaseOutcome::Held);
    }
    // From here on, dropping `hold` takes the name off the list again.
    let mut hold = RabbitHold { link: link.clone(), name, declared: false };
    for ask in 1..=ASKED {
        // Until the broker has said no it may have said yes: an answer that is late, or not waited for, leaves the queue
        // with a connection that lives.
        hold.declared = true;
        match declare(link, &hold.name).await {
            Ok(()) => {
                let lost = link.lost().child_token();
                return Ok(LeaseOutcome::Granted(Lease::new(key.clone(), lost, Box::new(hold))));
            }
            Err(failure) if !failure.is(Failure::RESOURCE_LOCKED) => {
                return Err(failure.into_error(link.host()));
            }
            Err(_) => {
                hold.declared = false;
                if ask < ASKED {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        }
    }
    Ok(LeaseOutcome::Held)
}

async fn declare(link: &Link, name: &str) -> Result<(), Failure> {
    let options = QueueDeclareOptions::exclusive();
    on_channel(link, async |channel| {
        link.call(channel.queue_declare(name.into(), options, FieldTable::default())).await.map(drop)
    })
    .await
}

/// One call after the other on the channel of leases. The broker closes a channel on which it says no, and one on which a
/// call was not waited for may still get its answer: after anything but a yes the next call has a new one.
async fn on_channel<T>(
    link: &Link,
    call: impl AsyncFnOnce(&Channel) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut place = link.lease_channel.lock().await;
    let channel = match place.take() {
        Some(channel) if channel.status().connected() => channel,
        _ => link.channel().await?,
    };
    let answer = call(&channel).await;
    if answer.is_ok() {
        *place = Some(channel);
    }
    answer
}

async fn delete(link: &Link, name: &str) {
    let deleted = on_channel(link, async |channel| {
        link.call(channel.queue_delete(name.into(), QueueDeleteOptions::default())).await
    });
    // Without the connection there is no lease either.
    if let Err(failure) = deleted.await
        && link.is_up()
    {
        tracing::warn!(lease = name, error = failure.text(), "the lease stays until this connection ends");
    }
    registered(&link.leases).remove(name);
}

fn registered(leases: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    leases.lock().unwrap_or_else(PoisonError::into_inner)
}

struct RabbitHold {
    link: Arc<Link>,
    name: String,
    declared: bool,
}

#[async_trait]
impl Hold for RabbitHold {
    async fn release(mut self: Box<Self>) {
        delete(&self.link, &self.name).await;
        self.declared = false;
    }
}

impl Drop for RabbitHold {
    fn drop(&mut self) {
        if !self.declared {
            registered(&self.link.leases).remove(&self.name);
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (link, name) = (self.link.clone(), std::mem::take(&mut self.name));
            runtime.spawn(async move { delete(&link, &name).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(repository: &str, branch: &str) -> String {
        name(&LeaseKey { repository: repository.parse().unwrap(), branch: branch.parse().unwrap() })
    }

    #[test]
    fn a_lease_is_named_after_repository_and_branch() {
        assert_eq!(name_of("acme/shop", "ai/PROJ-1"), "agent-lock.acme%2Fshop+ai%2FPROJ-1");
    }

    #[test]
    fn one_repository_has_one_name_in_every_spelling() {
        assert_eq!(name_of("Acme/Shop", "ai/A-1"), name_of("acme/shop", "ai/A-1"));
        assert_ne!(name_of("acme/shop", "ai/a-1"), name_of("acme/shop", "ai/A-1"));
    }

    #[test]
    fn dots_do_not_make_two_keys_one() {
        assert_ne!(name_of("a.b/c", "x"), name_of("a/b.c", "x"));
        assert_ne!(name_of("a/b", "c.x"), name_of("a/b.c", "x"));
    }

    #[test]
    fn every_name_fits_and_long_ones_stay_different() {
        let (owner, branch) = ("o".repeat(100), "b".repeat(199));
        let one = name_of(&format!("{owner}/{owner}"), &format!("{branch}1"));
        let two = name_of(&format!("{owner}/{owner}"), &format!("{branch}2"));
        assert!(one.len() <= NAME_LIMIT && two.len() <= NAME_LIMIT);
        assert_ne!(one, two);
    }
}
