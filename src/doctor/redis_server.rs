//! Redis: whether it answers, lets us write, and keeps what it was given.

use super::Finding;
use crate::config::Config;
use crate::queue::redis::{Redis, ServerFacts};
use crate::queue::{Backlog, QueueError, TaskQueue as _};

const AREA: &str = "queue";

/// The oldest version that the scripts are made for.
const OLDEST_MAJOR: u32 = 7;

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let ask = async {
        let redis = Redis::connect(&config.queue, "jira-agent doctor").await?;
        let facts = redis.inspect().await?;
        let backlog = if facts.is_cluster { Backlog::default() } else { redis.backlog().await? };
        Ok((facts, backlog))
    };
    match ask.await {
        Ok((facts, backlog)) => {
            let mut findings = judge(&facts);
            if !facts.is_cluster {
                findings.extend(waiting(&backlog));
            }
            findings
        }
        Err(error) => {
            let fix = match &error {
                QueueError::Unreachable(_) => "start Redis, or correct queue.url (REDIS_URL)",
                QueueError::Settings(_) => "correct section [queue]",
                _ => "correct user, password and database in queue.url (REDIS_URL), or the user's rights",
            };
            vec![Finding::broken(AREA, error.to_string(), fix)]
        }
    }
}

fn judge(facts: &ServerFacts) -> Vec<Finding> {
    let name = format!("{} {}", facts.product, facts.version);
    if facts.is_cluster {
        let text = format!("{name} is part of a cluster, which is not supported");
        return vec![Finding::broken(AREA, text, "name a single Redis or Valkey in queue.url")];
    }
    if facts.is_replica {
        let text = format!("{name} is a replica, and takes no tasks");
        return vec![Finding::broken(AREA, text, "name the primary in queue.url")];
    }
    let mut findings =
        vec![Finding::fine(AREA, format!("{name} answers, and the user may do what a worker does"))];
    if facts.product == "Redis" && facts.major() < OLDEST_MAJOR {
        let text = format!("{name} is older than {OLDEST_MAJOR}.0, with which this program is tested");
        findings.push(Finding::warning(AREA, text, "use Redis 7.0 or newer, or Valkey"));
    }
    if !facts.writes_file {
        let fix = "set appendonly yes, and appendfsync always (everysec: up to a second of tasks is lost)";
        let text = match facts.writes_snapshots {
            true => "it saves tasks to its disk only now and then (RDB): a crash loses the newest",
            false => "it keeps tasks in memory only: a restart loses them",
        };
        findings.push(Finding::warning(AREA, text, fix));
    }
    let policy = &facts.memory_policy;
    if !policy.is_empty() && policy != "noeviction" {
        let text = match facts.memory_limit {
            0 => format!("maxmemory-policy is {policy}: with a maxmemory it would throw tasks away"),
            limit => format!("maxmemory-policy is {policy}: above {limit} bytes it throws tasks away"),
        };
        findings.push(Finding::warning(AREA, text, "set maxmemory-policy noeviction"));
    }
    findings
}

fn waiting(backlog: &Backlog) -> Vec<Finding> {
    let Backlog { ready, held, delayed, dead } = *backlog;
    let held = held.unwrap_or_default();
    let text = format!(
        "jira_ticket_queue: {ready} ready, {held} with workers, {delayed} waiting for another attempt"
    );
    let mut findings = vec![Finding::fine(AREA, text)];
    if dead > 0 {
        let text = format!("jira_ticket_queue:dead: {dead} wait for a person");
        let fix = "look at their reasons, mend the cause, and put them back or drop them";
        findings.push(Finding::warning(AREA, text, fix));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    fn good() -> ServerFacts {
        ServerFacts {
            product: "Redis",
            version: "7.0.15".to_owned(),
            is_cluster: false,
            is_replica: false,
            writes_file: true,
            writes_snapshots: false,
            memory_limit: 0,
            memory_policy: "noeviction".to_owned(),
        }
    }

    fn levels(facts: &ServerFacts) -> Vec<Level> {
        judge(facts).iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn a_server_that_keeps_its_tasks_is_fine() {
        assert_eq!(levels(&good()), [Level::Fine]);
        let valkey = ServerFacts { product: "Valkey", version: "8.1.0".to_owned(), ..good() };
        assert_eq!(levels(&valkey), [Level::Fine]);
    }

    #[test]
    fn what_may_lose_tasks_is_a_warning() {
        for facts in [
            ServerFacts { writes_file: false, ..good() },
            ServerFacts { memory_policy: "allkeys-lru".to_owned(), ..good() },
            ServerFacts { version: "6.2.14".to_owned(), ..good() },
        ] {
            assert_eq!(levels(&facts), [Level::Fine, Level::Warning], "{facts:?}");
        }
    }

    #[test]
    fn only_a_server_without_any_file_is_said_to_have_its_memory_only() {
        let text = |writes_snapshots| {
            let facts = ServerFacts { writes_file: false, writes_snapshots, ..good() };
            judge(&facts).remove(1).text
        };
        assert!(text(false).contains("in memory only"));
        assert!(text(true).contains("RDB"));
    }

    #[test]
    fn a_cluster_and_a_replica_are_broken() {
        for facts in [ServerFacts { is_cluster: true, ..good() }, ServerFacts { is_replica: true, ..good() }]
        {
            assert_eq!(levels(&facts), [Level::Broken], "{facts:?}");
        }
    }
}
