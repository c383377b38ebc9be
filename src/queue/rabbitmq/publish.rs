//! Publishing with confirmations: <https://www.rabbitmq.com/docs/confirms#publisher-confirms>.

use std::sync::Arc;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Mutex;

use super::connection::{Failure, Link, Settings};
use crate::queue::QueueError;

/// A message and where it goes.
pub(super) struct Message<'body> {
    /// The exchange.
    pub(super) exchange: &'static str,
    /// Where the exchange should send it.
    pub(super) routing_key: &'body str,
    /// The queue that it should reach, for errors.
    pub(super) queue: &'body str,
    /// Whether it is an error when no queue takes it.
    pub(super) mandatory: bool,
    /// The body.
    pub(super) body: &'body [u8],
    /// The headers and the rest.
    pub(super) properties: BasicProperties,
}

/// The one connection on which everything is published, one message at a time. It is not the consumer's, so that
/// neither a refused publish nor a broker that blocks publishers keeps a delivery from being acked.
pub(super) struct Publisher {
    settings: Arc<Settings>,
    line: Mutex<Option<Line>>,
}

struct Line {
    link: Link,
    channel: Channel,
}

impl Publisher {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        let line = Mutex::new(None);
        Self { settings, line }
    }

    /// Publishes and waits until the broker has the message for good; all within the time-out of the settings.
    pub(super) async fn publish(&self, message: Message<'_>) -> Result<(), QueueError> {
        let limit = self.settings.timeout;
        let attempt = tokio::time::timeout(limit, self.attempt(&message)).await;
        attempt.unwrap_or_else(|_| {
            Err(QueueError::Unreachable(format!(
                "{}: a message for `{}` was not confirmed within {} s; check `queue.url`, that the broker runs and \
                 that it is not short of memory or disk",
                self.settings.host(),
                message.queue,
                limit.as_secs_f32()
            )))
        })
    }

    pub(super) async fn close(&self) {
        if let Some(line) = self.line.lock().await.take() {
            line.link.closed().await;
        }
    }

    /// A line is taken out while it is used and put back only when it is known to be good: one that failed or was
    /// given up half-way is closed by that, so that nobody reads another message's confirmation from it.
    async fn attempt(&self, message: &Message<'_>) -> Result<(), QueueError> {
        let mut kept = self.line.lock().await;
        if let Some(line) = kept.take().filter(|line| line.link.is_up()) {
            match line.send(message).await {
                Ok(confirmation) => {
                    *kept = Some(line);
                    return verdict(&confirmation, message);
                }
                Err(Failure::Lost(why)) => {
                    tracing::info!(error = why, "the publishing connection was lost; connecting again");
                }
                Err(refusal) => return Err(refusal.into_error(&self.settings.host())),
            }
        }
        let line = self.connect().await?;
        match line.send(message).await {
            Ok(confirmation) => {
                *kept = Some(line);
                verdict(&confirmation, message)
            }
            Err(failure) => Err(failure.into_error(&self.settings.host())),
        }
    }

    async fn connect(&self) -> Result<Line, QueueError> {
        let link = self.settings.open("publishing").await?;
        let open = async {
            let channel = link.channel().await?;
            link.call(channel.confirm_select(ConfirmSelectOptions::default())).await?;
            Ok(channel)
        };
        let channel = open.await.map_err(|failure: Failure| failure.into_error(link.host()))?;
        Ok(Line { link, channel })
    }
}

impl Line {
    async fn send(&self, message: &Message<'_>) -> Result<Confirmation, Failure> {
        let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
        let publish = async {
            let confirmation = self.channel.basic_publish(
                message.exchange.into(),
                message.routing_key.into(),
                options,
                message.body,
                message.properties.clone(),
            );
            confirmation.await?.await
        };
        self.link.call(publish).await
    }
}

/// What no queue took comes back confirmed, with the message: the broker has done all it could.
fn verdict(confirmation: &Confirmation, message: &Message<'_>) -> Result<(), QueueError> {
    match confirmation {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(QueueError::Unroutable(message.queue.to_owned())),
        Confirmation::Nack(_) => Err(QueueError::Full(message.queue.to_owned())),
        Confirmation::NotRequested => Err(QueueError::Unreachable(format!(
            "a message for `{}` was sent without a confirmation",
            message.queue
        ))),
    }
}
