//! The names of all keys. Redis Cluster would spread them over its nodes, where no script could change two at once.

use sha2::{Digest as _, Sha256};

use crate::queue::LeaseKey;

/// List: tasks that wait for a worker. Anything may `RPUSH` a bare ticket key or a task as JSON here.
pub const READY: &str = "jira_ticket_queue";
/// List: tasks in the hands of workers.
pub const PROCESSING: &str = "jira_ticket_queue:processing";
/// Hash: an item's id and its owner → deadline, in milliseconds of the server's clock.
pub const LEASES: &str = "jira_ticket_queue:leases";
/// Sorted set: tasks that wait for another attempt, by the time when they are due, in microseconds of the server's clock.
pub const DELAYED: &str = "jira_ticket_queue:delayed";
/// List: an entry for each delayed task, so that `LLEN` counts them.
pub const WAITING: &str = "jira_ticket_queue:waiting";
/// List: dead letters, the oldest first.
pub const DEAD: &str = "jira_ticket_queue:dead";
/// Stream: the newest events of runs.
pub const EVENTS: &str = "jira_ticket_queue:events";

/// Text: when somebody last looked for leases that have expired, in milliseconds of the server's clock.
pub const LOOKED: &str = "jira_ticket_queue:looked";

/// What `doctor` writes and deletes again.
pub(super) const PROBE: &str = "jira_ticket_queue:probe:";

/// The channel of orders to workers. Channels know no databases, so the number is part of the name.
pub(super) fn orders(database: i64) -> String {
    format!("jira_ticket_queue:orders:{database}")
}

/// The longest lease name that is written out, in bytes.
const NAME_LIMIT: usize = 400;

/// The key of the lease on a branch. Owner and repository are lower-case: to GitHub they are the same in every spelling.
pub(super) fn lease(key: &LeaseKey) -> String {
    let repository = key.repository.to_string().to_lowercase();
    let name = format!("jira_ticket_queue:lease:{repository}:{}", key.branch.as_str());
    if name.len() <= NAME_LIMIT {
        return name;
    }
    let digest = Sha256::digest(name.as_bytes());
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("jira_ticket_queue:lease:{digest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(repository: &str, branch: &str) -> String {
        lease(&LeaseKey { repository: repository.parse().unwrap(), branch: branch.parse().unwrap() })
    }

    #[test]
    fn a_lease_is_named_after_repository_and_branch() {
        assert_eq!(name_of("Acme/Shop", "ai/PROJ-1"), "jira_ticket_queue:lease:acme/shop:ai/PROJ-1");
        assert_ne!(name_of("acme/shop", "ai/a-1"), name_of("acme/shop", "ai/A-1"));
    }

    #[test]
    fn every_key_begins_with_the_list_so_that_one_pattern_allows_all() {
        for key in [PROCESSING, LEASES, DELAYED, WAITING, DEAD, EVENTS, LOOKED, PROBE, &orders(3)] {
            assert!(key.starts_with(READY), "{key}");
        }
    }
}
