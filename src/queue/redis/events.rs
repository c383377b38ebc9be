//! Events of runs, in a stream that drops the oldest: <https://redis.io/docs/latest/develop/data-types/streams/>. And
//! orders to workers, through a channel: an order is for those who are at work now.

use std::time::Duration;

use futures_util::Stream;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamRangeReply, StreamReadReply};
use redis::{FromRedisValue, PushKind, RedisResult};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::connection::{Failure, Line, Link, Settings, within};
use super::keys;
use crate::domain::{Event, Order, TaskId};
use crate::queue::{EventStream, OrderStream, QueueError};

/// How many events are kept, about.
const KEPT: usize = 100_000;
/// The one field of an event.
const FIELD: &str = "event";
/// How long one look at the stream waits; after it the connection is known to be alive.
const LOOK: Duration = Duration::from_secs(5);

/// Writes an event.
pub(super) async fn emit(link: &Link, event: &Event) -> Result<(), QueueError> {
    let body = serde_json::to_vec(event)
        .map_err(|error| QueueError::Refused(format!("the event is not JSON: {error}")))?;
    let mut add = redis::cmd("XADD");
    add.arg(keys::EVENTS).arg("MAXLEN").arg("~").arg(KEPT).arg("*").arg(FIELD).arg(body);
    let limit = link.settings.timeout;
    let added = link.ask(limit, async |mut connection| add.query_async::<String>(&mut connection).await);
    added.await.map(drop).map_err(|failure| link.settings.error(failure))
}

/// Follows runs on a connection of its own, from the newest event on. The stream ends with the connection.
pub(super) async fn follow(settings: &Settings, runs: &[TaskId]) -> Result<EventStream, QueueError> {
    let begin = async {
        let mut line = settings.open().await?;
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(keys::EVENTS).arg("+").arg("-").arg("COUNT").arg(1);
        let newest = newest.query_async::<StreamRangeReply>(&mut line.connection);
        let newest = within(settings.timeout, newest).await?;
        let last = newest.ids.first().map_or_else(|| "0-0".to_owned(), |entry| entry.id.clone());
        Ok((line, last))
    };
    let (line, last) = begin.await.map_err(|failure| settings.error(failure))?;
    let (sender, events) = mpsc::unbounded_channel();
    tokio::spawn(pump(line, last, runs.to_vec(), settings.timeout, sender));
    Ok(Box::pin(UnboundedReceiverStream::new(events)))
}

async fn pump(
    mut line: Line,
    mut last: String,
    runs: Vec<TaskId>,
    timeout: Duration,
    sender: mpsc::UnboundedSender<Event>,
) {
    loop {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(100).arg("BLOCK").arg(LOOK.as_secs() * 1000).arg("STREAMS");
        read.arg(keys::EVENTS).arg(&last);
        let read = read.query_async::<Option<StreamReadReply>>(&mut line.connection);
        // Cancel-safe: what is read after nobody listens any more is for nobody.
        let entries = tokio::select! {
            () = sender.closed() => return,
            read = within(LOOK + timeout, read) => match read {
                Ok(reply) => reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids),
                Err(failure) => {
                    tracing::info!(error = failure.text(), "the events of runs cannot be followed any more");
                    return;
                }
            },
        };
        for entry in entries {
            let event =
                entry.get::<Vec<u8>>(FIELD).and_then(|text| serde_json::from_slice::<Event>(&text).ok());
            last = entry.id;
            match event {
                Some(event) if runs.contains(&event.run) => {
                    if sender.send(event).is_err() {
                        return;
                    }
                }
                Some(_) => {}
                None => tracing::warn!("an event that this version cannot read"),
            }
        }
    }
}

/// Gives an order. Nobody may be at work.
pub(super) async fn order(link: &Link, order: &Order) -> Result<(), QueueError> {
    let body = serde_json::to_vec(order)
        .map_err(|error| QueueError::Refused(format!("the order is not JSON: {error}")))?;
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(keys::orders(link.settings.database())).arg(body);
    let limit = link.settings.timeout;
    let told = link.ask(limit, async |mut connection| publish.query_async::<i64>(&mut connection).await);
    told.await.map(drop).map_err(|failure| link.settings.error(failure))
}

/// Listens on a connection of its own, which ends with the stream, and the stream with it.
pub(super) async fn orders(settings: &Settings) -> Result<OrderStream, QueueError> {
    let (sender, heard) = mpsc::unbounded_channel();
    let listen = async {
        let mut line = settings
            .open_with(move |push| {
                if push.kind == PushKind::Message {
                    // Nobody listens any more.
                    let _ = sender.send(push.data);
                }
            })
            .await?;
        let channel = keys::orders(settings.database());
        within(settings.timeout, line.connection.subscribe(channel)).await?;
        tokio::spawn(watch(line.connection.clone(), line.lost.clone(), settings.timeout));
        Ok(line)
    };
    let line = listen.await.map_err(|failure: Failure| settings.error(failure))?;
    Ok(Box::pin(parsed(line, UnboundedReceiverStream::new(heard))))
}

/// Asks now and then whether the server is still there: on a connection on which nothing is said, one that vanished
/// without a word would be waited for without end.
async fn watch(mut connection: MultiplexedConnection, lost: CancellationToken, timeout: Duration) {
    loop {
        // Cancel-safe: both branches only wait.
        tokio::select! {
            () = lost.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
        let ping = redis::cmd("PING");
        if let Err(Failure::Lost(why)) = within(timeout, ping.query_async::<()>(&mut connection)).await {
            tracing::info!(error = why, "the connection for orders is gone");
            lost.cancel();
        }
    }
}

fn parsed(
    line: Line,
    heard: impl Stream<Item = Vec<redis::Value>> + Send,
) -> impl Stream<Item = Order> + Send {
    let lost = line.lost.clone();
    let watched = lost.clone().drop_guard();
    let orders = heard.filter_map(move |data| {
        // What keeps the subscription alive travels with the stream, and ends with it.
        let _ = (&line, &watched);
        // The channel's name, then the message.
        let body: RedisResult<Vec<u8>> = data
            .into_iter()
            .nth(1)
            .map_or(Ok(Vec::new()), |value| Vec::<u8>::from_redis_value(value).map_err(Into::into));
        let order = serde_json::from_slice(&body.unwrap_or_default());
        order.inspect_err(|error| tracing::info!(%error, "an order that this version does not know")).ok()
    });
    futures_util::StreamExt::take_until(orders, async move { lost.cancelled().await })
}
