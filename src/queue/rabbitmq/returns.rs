//! Which returns of a message to the queue were no death of a worker.
//!
//! RabbitMQ counts every return of an unsettled message in `x-delivery-count`, and before 4.3 a restart of the broker or
//! a closed connection as well as a process that died: <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>.
//! The broker cannot know the difference; the process that had the message can. Whoever has taken a message and lives
//! to tell says so on `agent.control`: when it consumes again, and when another that gets the message back asks. A return
//! for which nobody speaks up was a death.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::types::FieldTable;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::control;
use super::message::properties;
use super::publish::{Message, Publisher};
use crate::queue::QueueError;
use crate::queue::topology::CONTROL_EXCHANGE;

/// As many returns as this are a suspicion, and are looked into before the message is handed out.
pub(super) const SUSPICIOUS: u32 = 2;

/// How long a living process has to speak up: it may just be connecting again.
const GRACE: Duration = Duration::from_secs(10);

/// How many takings are remembered, and for how long: a message that came back is handed out again within that.
const REMEMBERED: usize = 1000;
const REMEMBERED_FOR: Duration = Duration::from_hours(6);

/// The routing key of these messages, by which listeners tell them from orders. The exchange itself does not look at it.
pub(super) const ROUTING_KEY: &str = "returns";

/// What processes tell each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    /// These returns of the message were no deaths: who had it before them lives.
    Survived { publish: String, returns: Vec<u32> },
    /// The message has come back `count` times. Who had it and lives?
    WhoHad { publish: String, count: u32 },
}

/// A message's stay on the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stay {
    /// What tells the message from every other publish, of the same task too.
    pub(super) publish: String,
    /// How often it has come back, as the broker counts.
    pub(super) count: u32,
}

/// What this process knows; it outlives its connections.
pub(super) struct Returns {
    known: Mutex<Known>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Known {
    survived: VecDeque<Survived>,
    /// What each consumer of this process took last. It is the only one that can have come back since that consumer began:
    /// with one delivery at a time, whatever it had before is settled.
    last: BTreeMap<u64, Last>,
    consumers: u64,
}

struct Last {
    stay: Stay,
    over: CancellationToken,
}

/// One of this process's consumers.
pub(super) struct Taker {
    number: u64,
    over: CancellationToken,
}

/// What a consumer that is over took last.
pub(super) struct Left {
    consumer: u64,
    stay: Stay,
}

/// The `number`-th return of a message, which was no death.
struct Survived {
    publish: String,
    number: u32,
    heard: Instant,
}

impl Returns {
    pub(super) fn new() -> Self {
        Self { known: Mutex::default(), changed: watch::Sender::new(()) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A consumer of this process, until `over` is cancelled.
    pub(super) fn taker(&self, over: CancellationToken) -> Taker {
        let mut known = self.known();
        known.consumers += 1;
        Taker { number: known.consumers, over }
    }

    /// This process has the message now. If it comes back while this process lives, that is no death.
    pub(super) fn took(&self, taker: &Taker, stay: &Stay) {
        let last = Last { stay: stay.clone(), over: taker.over.clone() };
        self.known().last.insert(taker.number, last);
        self.learn(&stay.publish, &[stay.count + 1]);
    }

    fn learn(&self, publish: &str, returns: &[u32]) {
        let mut known = self.known();
        for &number in returns {
            known.survived.retain(|one| {
                one.heard.elapsed() < REMEMBERED_FOR && (one.publish != publish || one.number != number)
            });
            if known.survived.len() >= REMEMBERED {
                known.survived.pop_front();
            }
            known.survived.push_back(Survived { publish: publish.to_owned(), number, heard: Instant::now() });
        }
        drop(known);
        self.changed.send_replace(());
    }

    /// Which of the returns until now were no deaths.
    fn survived(&self, stay: &Stay) -> Vec<u32> {
        let known = self.known();
        let of_it =
            known.survived.iter().filter(|one| one.publish == stay.publish && one.number <= stay.count);
        of_it.map(|one| one.number).collect()
    }

    /// How many of the returns were deaths, as far as this process knows.
    pub(super) fn deaths(&self, stay: &Stay) -> u32 {
        let survived = u32::try_from(self.survived(stay).len()).unwrap_or(u32::MAX);
        stay.count.saturating_sub(survived)
    }

    /// As [`Returns::deaths`], after everybody was asked who still makes a difference; until `stop` at the longest.
    pub(super) async fn ask(
        &self,
        publisher: &Publisher,
        stay: &Stay,
        stop: impl Future<Output = ()>,
    ) -> u32 {
        let mut changed = self.changed.subscribe();
        let answers = async {
            let question = Word::WhoHad { publish: stay.publish.clone(), count: stay.count };
            say(publisher, &question).await;
            while self.deaths(stay) >= SUSPICIOUS && changed.changed().await.is_ok() {}
        };
        if self.deaths(stay) >= SUSPICIOUS {
            // Cancel-safe: what is learned is kept, and a question that is cut off only goes unanswered.
            tokio::select! {
                () = answers => {}
                () = tokio::time::sleep(GRACE) => {}
                () = stop => {}
            }
        }
        self.deaths(stay)
    }

    /// What this process has survived: nobody else holds it for the process any more.
    pub(super) fn left(&self) -> Vec<Left> {
        let known = self.known();
        let over = known.last.iter().filter(|(_, last)| last.over.is_cancelled());
        over.map(|(&consumer, last)| Left { consumer, stay: last.stay.clone() }).collect()
    }

    /// Tells that this process has survived `left`, which it had on earlier connections, then listens and answers until
    /// this connection is lost.
    pub(super) async fn attend(
        self: Arc<Self>,
        publisher: Arc<Publisher>,
        mut ear: control::Ear,
        left: Vec<Left>,
        lost: CancellationToken,
    ) {
        for Left { consumer, stay: Stay { publish, count } } in left {
            if say(&publisher, &Word::Survived { publish, returns: vec![count + 1] }).await {
                self.known().last.remove(&consumer);
            }
        }
        loop {
            // Cancel-safe: what is not read any more was for a connection that is gone.
            let heard = tokio::select! {
                heard = ear.words.next() => heard,
                () = lost.cancelled() => return,
            };
            match heard {
                Some(Ok(delivery)) if delivery.routing_key.as_str() == ROUTING_KEY => {
                    match serde_json::from_slice(&delivery.data) {
                        Ok(word) => self.hear(&publisher, word).await,
                        Err(error) => tracing::debug!(%error, "a word that this version does not know"),
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => tracing::debug!(%error, "listening to the other workers ended"),
                None => return,
            }
        }
    }

    async fn hear(&self, publisher: &Publisher, word: Word) {
        match word {
            Word::Survived { publish, returns } => self.learn(&publish, &returns),
            Word::WhoHad { publish, count } => {
                let returns = self.survived(&Stay { publish: publish.clone(), count });
                if !returns.is_empty() {
                    say(publisher, &Word::Survived { publish, returns }).await;
                }
            }
        }
    }
}

/// Tells all who listen; whether the broker took it. Nobody need hear it: the worst is that a lost connection is taken for
/// a death.
async fn say(publisher: &Publisher, word: &Word) -> bool {
    let said = async {
        let body = serde_json::to_vec(word).map_err(|error| QueueError::Refused(error.to_string()))?;
        let message = Message {
            exchange: CONTROL_EXCHANGE,
            routing_key: ROUTING_KEY,
            queue: CONTROL_EXCHANGE,
            mandatory: false,
            body: &body,
            properties: properties(None, FieldTable::default()),
        };
        publisher.publish(message).await
    };
    let said = said.await;
    if let Err(error) = &said {
        tracing::info!(%error, "the other workers were not told that this one lives");
    }
    said.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stay(count: u32) -> Stay {
        Stay { publish: "one".to_owned(), count }
    }

    #[test]
    fn a_return_that_nobody_speaks_up_for_is_a_death() {
        let returns = Returns::new();
        assert_eq!(returns.deaths(&stay(2)), 2);
        returns.learn("another", &[1, 2]);
        assert_eq!(returns.deaths(&stay(2)), 2);
        returns.learn("one", &[2]);
        assert_eq!((returns.deaths(&stay(1)), returns.deaths(&stay(2)), returns.deaths(&stay(3))), (1, 1, 2));
        returns.learn("one", &[2, 2]);
        assert_eq!(returns.deaths(&stay(2)), 1, "one return is one return, however often it is told");
    }

    #[test]
    fn who_holds_a_message_lives_past_its_next_return_only() {
        let returns = Returns::new();
        returns.took(&returns.taker(CancellationToken::new()), &stay(0));
        assert_eq!(returns.survived(&stay(0)), [0; 0], "it has not come back yet");
        assert_eq!((returns.deaths(&stay(1)), returns.deaths(&stay(2))), (0, 1));
    }

    #[test]
    fn each_consumer_that_is_over_is_spoken_for_and_no_other() {
        let returns = Returns::new();
        let over = [CancellationToken::new(), CancellationToken::new()];
        let [one, other] = over.clone().map(|over| returns.taker(over));
        let of = |publish: &str| Stay { publish: publish.to_owned(), count: 0 };
        for earlier in ["settled", "a"] {
            returns.took(&one, &of(earlier));
        }
        returns.took(&other, &of("b"));
        let left = || returns.left().into_iter().map(|left| left.stay.publish).collect::<Vec<_>>();
        assert_eq!(left(), [""; 0], "the process may still die over what its consumers hold");
        over[1].cancel();
        assert_eq!(left(), ["b"]);
        over[0].cancel();
        assert_eq!(left(), ["a", "b"]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let returns = Returns::new();
        for number in 0..3000 {
            returns.learn(&format!("publish {number}"), &[1]);
        }
        assert_eq!(returns.known().survived.len(), REMEMBERED);
        assert_eq!(returns.deaths(&Stay { publish: "publish 2999".to_owned(), count: 1 }), 0);
        assert_eq!(returns.deaths(&Stay { publish: "publish 0".to_owned(), count: 1 }), 1);
    }

    #[test]
    fn a_word_is_small_json() {
        let word = Word::Survived { publish: "one".to_owned(), returns: vec![1, 2] };
        let text = serde_json::to_string(&word).unwrap();
        assert_eq!(text, r#"{"survived":{"publish":"one","returns":[1,2]}}"#);
    }
}
