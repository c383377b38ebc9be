//! Orders from people to runs that are under way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use jira_agent::domain::{CancelRequest, Order, Task, TicketKey};
use jira_agent::queue::{QueueError, TaskQueue};
use jira_agent::retry::{RetryPolicy, Waits};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

/// Orders that a run has not looked at yet; more are dropped, oldest first.
const WAITING: usize = 64;

/// Listens to orders for as long as it lives.
#[derive(Debug)]
pub struct Listener {
    sender: broadcast::Sender<Order>,
    task: JoinHandle<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    /// Listens on this queue. While it cannot, runs go on: a cancel request stands on the ticket too, and is seen when the
    /// task is claimed again.
    #[must_use]
    pub fn start(queue: Arc<dyn TaskQueue>) -> Self {
        let sender = broadcast::channel(WAITING).0;
        let task = tokio::spawn(listen(queue, sender.clone()));
        Self { sender, task }
    }

    /// What is ordered from now on about a task.
    #[must_use]
    pub fn about(&self, task: &Task) -> Recall {
        Recall { orders: Some(self.sender.subscribe()), task: task.clone() }
    }
}

async fn listen(queue: Arc<dyn TaskQueue>, sender: broadcast::Sender<Order>) {
    let policy =
        RetryPolicy { first: Duration::from_millis(200), cap: Duration::from_secs(5), budget: Duration::MAX };
    let mut waits = Waits::new(&policy);
    let mut refused = false;
    loop {
        match queue.orders().await {
            Ok(mut orders) => {
                waits.reset();
                while let Some(order) = orders.next().await {
                    // An error says that no run is under way.
                    let _ = sender.send(order);
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
    orders: Option<broadcast::Receiver<Order>>,
    task: Task,
}

impl Recall {
    /// Of a run that nobody can order about.
    #[must_use]
    pub fn none(task: &Task) -> Self {
        Self { orders: None, task: task.clone() }
    }

    /// Ends when somebody cancels the run; never otherwise. Cancel-safe.
    pub async fn cancelled(&mut self) -> CancelRequest {
        loop {
            let Some(orders) = &mut self.orders else {
                return std::future::pending().await;
            };
            match orders.recv().await {
                Ok(Order::Cancel { ticket, by, at }) if self.is_meant(&ticket, at) => {
                    return CancelRequest { by, at };
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => self.orders = None,
            }
        }
    }

    fn is_meant(&self, ticket: &TicketKey, at: jiff::Timestamp) -> bool {
        *ticket == self.task.ticket && self.task.asked_at() <= at
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
                if let Ok(request) = tokio::time::timeout(Duration::from_millis(5), recall.cancelled()).await
                {
                    return request;
                }
            }
        });
        assert_eq!(cancelled.await.unwrap(), CancelRequest { by: "ann".parse().unwrap(), at: at(51) });
    }
}
