//! Orders to workers that are at work now.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, TicketKey};

/// What every worker is told at once, on `agent.control`. Whoever does not know an order leaves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Stop the runs of a ticket that were asked for until now.
    Cancel {
        /// The ticket.
        ticket: TicketKey,
        /// Who wants it.
        by: AccountId,
        /// When; tasks that were requested later are not meant.
        at: Timestamp,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_small_json() {
        let order = Order::Cancel {
            ticket: "PROJ-1".parse().unwrap(),
            by: "ann".parse().unwrap(),
            at: Timestamp::UNIX_EPOCH,
        };
        let text = serde_json::to_string(&order).unwrap();
        assert_eq!(text, r#"{"order":"cancel","ticket":"PROJ-1","by":"ann","at":"1970-01-01T00:00:00Z"}"#);
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
    }
}
