//! Orders from people to runs that are under way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jira_agent::domain::{CancelRequest, Order, Task};
use jira_agent::queue::{QueueError, TaskQueue};
use jira_agent::retry::{RetryPolicy, Waits};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::world::TicketStore;

/// What a run has not looked at yet; more is dropped, oldest first, and the ticket is looked at instead.
const WAITING: usize = 64;

/// What a listener has to say.
#[derive(Debug, Clone)]
enum News {
    /// An order was given.
    Order(Order),
    /// Orders are heard from now on; some may have been missed before.
    Listening,
}

/// Listens to orders for as long as it lives.
#[derive(Debug)]
pub struct Listener {
    sender: broadcast::Sender<News>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Listens on this queue. While it cannot, runs go on: a cancel request stands on the ticket too, and is looked for
    /// there as soon as orders can be heard again.
    #[must_use]
    pub fn start(queue: Arc<dyn TaskQueue>) -> Self {
        let sender = broadcast::channel(WAITING).0;
        let task = tokio::spawn(listen(queue, sender.clone()));
        Self { sender, task }
    }

    /// What is ordered from now on about a task.
    #[must_use]
    pub fn about(&self, task: &Task) -> Recall {
        Recall { news: Some(self.sender.subscribe()), task: task.clone(), missed: false }
    }
}

async fn listen(queue: Arc<dyn TaskQueue>, sender: broadcast::Sender<News>) {
    let policy =
        RetryPolicy { first: Duration::from_millis(200), cap: Duration::from_secs(3), budget: Duration::MAX };
    let mut waits = Waits::new(&policy);
    let mut refused = false;
    loop {
        match queue.orders().await {
            Ok(mut orders) => {
                waits.reset();
                // An error says that no run is under way.
                let _ = sender.send(News::Listening);
                while let Some(order) = orders.next().await {
                    let _ = sender.send(News::Order(order));
                }
            }
            Err(QueueError::Unreachable(why)) => tracing::debug!(why, "no orders can be heard; trying again"),
            Err(error) if !refused => {
                refused = true;
                tracing::warn!(%error, "no orders can be heard: a run cannot be cancelled while it is under way");
            }
            Err(error) => tracing::debug!(%error, "no orders can be heard"),
        }
        tokio::time::sleep(waits.next_wait()).await;
    }
}

/// The orders about one run.
#[derive(Debug)]
pub struct Recall {
    news: Option<broadcast::Receiver<News>>,
    task: Task,
    /// Whether an order may have been missed since the ticket was last looked at.
    missed: bool,
}

impl Recall {
    /// Of a run that nobody can order about.
    #[must_use]
    pub fn none(task: &Task) -> Self {
        Self { news: None, task: task.clone(), missed: false }
    }

    /// Ends when somebody orders the run to stop; never otherwise. Cancel-safe.
    pub async fn ordered(&mut self) -> CancelRequest {
        loop {
            if let Some(request) = self.next().await {
                return request;
            }
        }
    }

    /// Ends when somebody cancels the run, by an order or, where one may have been missed, on the ticket; never
    /// otherwise. Cancel-safe.
    pub async fn cancelled(&mut self, tickets: &dyn TicketStore) -> CancelRequest {
        let task = self.task.clone();
        loop {
            let missed = self.missed;
            // Cancel-safe: news are taken in one step, and a look that is given up is begun again.
            let request = tokio::select! {
                biased;
                request = self.next() => request,
                request = standing(tickets, &task), if missed => {
                    self.missed = false;
                    request
                }
            };
            if let Some(request) = request {
                return request;
            }
        }
    }

    /// Takes one piece of news. Cancel-safe.
    async fn next(&mut self) -> Option<CancelRequest> {
        let Some(news) = &mut self.news else {
            return std::future::pending().await;
        };
        match news.recv().await {
            Ok(News::Order(Order::Cancel { ticket, by, at })) => {
                let is_meant = ticket == self.task.ticket && self.task.asked_at() <= at;
                return is_meant.then_some(CancelRequest { by, at });
            }
            Ok(News::Listening) | Err(broadcast::error::RecvError::Lagged(_)) => self.missed = true,
            Err(broadcast::error::RecvError::Closed) => self.news = None,
        }
        None
    }
}

/// The request that stands on the ticket. What cannot be read is read again.
async fn standing(tickets: &dyn TicketStore, task: &Task) -> Option<CancelRequest> {
    let policy =
        RetryPolicy { first: Duration::from_secs(1), cap: Duration::from_secs(30), budget: Duration::MAX };
    let mut waits = Waits::new(&policy);
    loop {
        match tickets.memory(&task.ticket).await {
            Ok(memory) => return memory.cancel.filter(|cancel| task.asked_at() <= cancel.at),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::debug!(error, "the ticket cannot be asked for a request to cancel; trying again");
            }
        }
        tokio::time::sleep(waits.next_wait()).await;
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use jira_agent::queue::memory::MemoryQueue;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cancel(ticket: &str, second: i64) -> Order {
        Order::Cancel { ticket: ticket.parse().unwrap(), by: "ann".parse().unwrap(), at: at(second) }
    }

    #[tokio::test]
    async fn only_an_order_about_this_task_cancels_it() {
        let queue = MemoryQueue::default();
        let listener = Listener::start(Arc::new(queue.clone()));
        let task = Task { requested_at: Some(at(50)), ..Task::new("PROJ-1".parse().unwrap()) };
        let mut recall = listener.about(&task);
        let soon = Duration::from_secs(10);
        let cancelled = tokio::time::timeout(soon, async {
            // The listener may need a moment before it hears anything.
            loop {
                for order in [cancel("PROJ-2", 60), cancel("PROJ-1", 49), cancel("PROJ-1", 51)] {
                    queue.order(&order).await.unwrap();
                }
                if let Ok(request) = tokio::time::timeout(Duration::from_millis(5), recall.ordered()).await {
                    return request;
                }
            }
        });
        assert_eq!(cancelled.await.unwrap(), CancelRequest { by: "ann".parse().unwrap(), at: at(51) });
    }
}
