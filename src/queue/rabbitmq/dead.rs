//! Looking at dead letters, and taking one back. Letters are fetched one after the other on a channel of their own and
//! not acked: the broker puts them back when the channel closes. Who looks has all of them in hand, so that another would see
//! none; an exclusive queue lets one look at a time.

use std::time::Duration;

use bytes::Bytes;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use tokio::time::Instant;

use super::connection::{Failure, Link};
use super::message::{self, properties};
use super::publish::Publisher;
use super::settle::to_workers;
use crate::queue::topology::DEAD_LETTER_QUEUE;
use crate::queue::{DeadLetter, DeliveryInfo, QueueError};

/// Held by who looks at the dead letters. A lease's name has more dots, or is longer.
const LOOKING: &str = "agent-lock.dead-letters";

/// How long to wait while others look, and how often to ask.
const TURN: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The oldest letters, at most `limit`.
pub(super) async fn list(link: &Link, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
    let desk = Desk::open(link).await?;
    let mut letters = Vec::new();
    while letters.len() < limit
        && let Some(delivery) = desk.next().await?
    {
        letters.push(letter(&delivery));
    }
    desk.close().await;
    Ok(letters)
}

/// Publishes the letter to the workers, confirmed, and then takes it away, and copies of it too.
pub(super) async fn replay(
    link: &Link,
    publisher: &Publisher,
    wanted: &str,
    by: &str,
) -> Result<bool, QueueError> {
    let desk = Desk::open(link).await?;
    let found = desk.find(wanted).await?;
    // Of copies the newest says how it stands with the task.
    if let Some(newest) = found.last() {
        let old = newest.properties.headers().clone().unwrap_or_default();
        let info = message::info(newest);
        let headers = message::replayed_headers(&old, &info, by);
        publisher.publish(to_workers(&newest.data, properties(info.message_id.as_deref(), headers))).await?;
        desk.acknowledge(&found).await?;
    }
    desk.close().await;
    Ok(!found.is_empty())
}

/// Takes the letter away, and copies of it.
pub(super) async fn discard(link: &Link, wanted: &str) -> Result<bool, QueueError> {
    let desk = Desk::open(link).await?;
    let found = desk.find(wanted).await?;
    desk.acknowledge(&found).await?;
    desk.close().await;
    Ok(!found.is_empty())
}

/// The right to look, and the channel that has what was looked at. Without [`Desk::close`] both end with the connection.
struct Desk<'link> {
    link: &'link Link,
    channel: Channel,
}

impl<'link> Desk<'link> {
    /// Waits for its turn.
    async fn open(link: &'link Link) -> Result<Self, QueueError> {
        let fail = |failure: Failure| failure.into_error(link.host());
        let deadline = Instant::now() + TURN;
        loop {
            // The broker closes the channel on which it says no.
            let channel = link.channel().await.map_err(fail)?;
            let (name, options) = (LOOKING.into(), QueueDeclareOptions::exclusive());
            match link.call(channel.queue_declare(name, options, FieldTable::default())).await {
                Ok(_) => return Ok(Self { link, channel }),
                Err(failure) if !failure.is(Failure::RESOURCE_LOCKED) => return Err(fail(failure)),
                Err(_) if Instant::now() >= deadline => {
                    let (host, seconds) = (link.host(), TURN.as_secs());
                    return Err(QueueError::Unreachable(format!(
                        "{host}: somebody else has looked at the dead letters for {seconds} s; try again later"
                    )));
                }
                Err(_) => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    async fn next(&self) -> Result<Option<Delivery>, QueueError> {
        let get = self.channel.basic_get(DEAD_LETTER_QUEUE.into(), BasicGetOptions::default());
        match self.link.call(get).await {
            Ok(message) => Ok(message.map(|message| message.delivery)),
            Err(failure) if failure.is(Failure::NOT_FOUND) => {
                Err(QueueError::Unroutable(DEAD_LETTER_QUEUE.to_owned()))
            }
            Err(failure) => Err(failure.into_error(self.link.host())),
        }
    }

    /// Every letter with this id. A crash between a publish and its ack leaves the same letter twice.
    async fn find(&self, wanted: &str) -> Result<Vec<Delivery>, QueueError> {
        let mut found = Vec::new();
        while let Some(delivery) = self.next().await? {
            if letter(&delivery).id == wanted {
                found.push(delivery);
            }
        }
        Ok(found)
    }

    async fn acknowledge(&self, letters: &[Delivery]) -> Result<(), QueueError> {
        for letter in letters {
            let acked = self.link.call(letter.acker.ack(BasicAckOptions::default())).await;
            if !acked.map_err(|failure| failure.into_error(self.link.host()))? {
                let why = "the connection was lost before the letter could be taken away".to_owned();
                return Err(QueueError::Unreachable(why));
            }
        }
        Ok(())
    }

    /// Puts back what was looked at, and lets others look. The channel goes first: who looks next finds everything there.
    async fn close(self) {
        let closed = self.link.call(self.channel.close(200, "OK".into())).await;
        if let Err(failure) = closed {
            tracing::debug!(error = failure.text(), "the dead letters come back with the connection");
        }
        self.link.closed().await;
    }
}

fn letter(delivery: &Delivery) -> DeadLetter {
    // What the broker counts here are the looks.
    let info = DeliveryInfo { delivery_count: 0, redelivered: false, ..message::info(delivery) };
    let marks = message::death_marks(delivery);
    DeadLetter {
        id: DeadLetter::id_of(info.message_id.as_deref(), &delivery.data),
        body: Bytes::copy_from_slice(&delivery.data),
        reason: marks.reason,
        step: marks.step,
        died_at: marks.died_at,
        info,
    }
}
