//! Looking at dead letters, and taking one back. Letters are fetched one after the other on a channel of their own and
//! not acked: the broker puts them back when the channel closes.

use bytes::Bytes;
use lapin::Channel;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions};

use super::connection::{Failure, Link};
use super::message::{self, properties};
use super::publish::Publisher;
use super::settle::to_workers;
use crate::queue::topology::DEAD_LETTER_QUEUE;
use crate::queue::{DeadLetter, QueueError};

/// The oldest letters, at most `limit`.
pub(super) async fn list(link: &Link, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
    let channel = open(link).await?;
    let mut letters = Vec::new();
    while letters.len() < limit
        && let Some(delivery) = next(link, &channel).await?
    {
        letters.push(letter(&delivery));
    }
    Ok(letters)
}

/// Publishes the letter to the workers, confirmed, and then takes it away, and copies of it too.
pub(super) async fn replay(
    link: &Link,
    publisher: &Publisher,
    wanted: &str,
    by: &str,
) -> Result<bool, QueueError> {
    let channel = open(link).await?;
    let found = find(link, &channel, wanted).await?;
    let Some(first) = found.first() else {
        return Ok(false);
    };
    let old = first.properties.headers().clone().unwrap_or_default();
    let info = message::info(first);
    let headers = message::replayed_headers(&old, &info, by);
    publisher.publish(to_workers(&first.data, properties(info.message_id.as_deref(), headers))).await?;
    acknowledge(link, &found).await?;
    Ok(true)
}

/// Takes the letter away, and copies of it.
pub(super) async fn discard(link: &Link, wanted: &str) -> Result<bool, QueueError> {
    let channel = open(link).await?;
    let found = find(link, &channel, wanted).await?;
    acknowledge(link, &found).await?;
    Ok(!found.is_empty())
}

async fn open(link: &Link) -> Result<Channel, QueueError> {
    link.channel().await.map_err(|failure| failure.into_error(link.host()))
}

async fn next(link: &Link, channel: &Channel) -> Result<Option<Delivery>, QueueError> {
    let get = channel.basic_get(DEAD_LETTER_QUEUE.into(), BasicGetOptions::default());
    match link.call(get).await {
        Ok(message) => Ok(message.map(|message| message.delivery)),
        Err(failure) if failure.is(Failure::NOT_FOUND) => {
            Err(QueueError::Unroutable(DEAD_LETTER_QUEUE.to_owned()))
        }
        Err(failure) => Err(failure.into_error(link.host())),
    }
}

/// Every letter with this id. A crash between a publish and its ack leaves the same letter twice.
async fn find(link: &Link, channel: &Channel, wanted: &str) -> Result<Vec<Delivery>, QueueError> {
    let mut found = Vec::new();
    while let Some(delivery) = next(link, channel).await? {
        if letter(&delivery).id == wanted {
            found.push(delivery);
        }
    }
    Ok(found)
}

async fn acknowledge(link: &Link, letters: &[Delivery]) -> Result<(), QueueError> {
    for letter in letters {
        let acked = link.call(letter.acker.ack(BasicAckOptions::default())).await;
        if !acked.map_err(|failure| failure.into_error(link.host()))? {
            let why = "the connection was lost before the letter could be taken away".to_owned();
            return Err(QueueError::Unreachable(why));
        }
    }
    Ok(())
}

fn letter(delivery: &Delivery) -> DeadLetter {
    let info = message::info(delivery);
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
