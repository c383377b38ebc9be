//! What `doctor` asks: <https://redis.io/docs/latest/commands/info/>.

use ulid::Ulid;

use super::connection::Link;
use super::keys;
use crate::queue::QueueError;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// `Redis` or `Valkey`.
    pub product: &'static str,
    /// Its version, e.g. `7.0.15`.
    pub version: String,
    /// Whether it is part of a Redis Cluster.
    pub is_cluster: bool,
    /// Whether it is a replica.
    pub is_replica: bool,
    /// Whether it writes every change to a file (AOF).
    pub writes_file: bool,
    /// Whether it writes a picture of everything to a file now and then (RDB).
    pub writes_snapshots: bool,
    /// Its memory limit in bytes; 0: none.
    pub memory_limit: u64,
    /// What it does at the limit, e.g. `noeviction`.
    pub memory_policy: String,
}

impl ServerFacts {
    fn read(info: &str) -> Self {
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map_or("", str::trim).to_owned()
        };
        let valkey = field("valkey_version");
        let (product, version) =
            if valkey.is_empty() { ("Redis", field("redis_version")) } else { ("Valkey", valkey) };
        Self {
            product,
            version,
            is_cluster: field("redis_mode") == "cluster" || field("server_mode") == "cluster",
            is_replica: field("role") == "slave",
            writes_file: field("aof_enabled") == "1",
            // One that it has written already; when it is to write them it tells only whom it trusts.
            writes_snapshots: field("rdb_saves").parse().is_ok_and(|saves: u64| saves > 0),
            memory_limit: field("maxmemory").parse().unwrap_or_default(),
            memory_policy: field("maxmemory_policy"),
        }
    }

    /// The first number of the version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.version.split('.').next().and_then(|number| number.parse().ok()).unwrap_or_default()
    }
}

/// Asks the server about itself, and tries every right that a worker needs on keys that nothing else uses.
pub(super) async fn inspect(link: &Link) -> Result<ServerFacts, QueueError> {
    let settings = &link.settings;
    let info = link.ask(settings.timeout, async |mut connection| {
        redis::cmd("INFO").query_async::<String>(&mut connection).await
    });
    let mut facts = ServerFacts::read(&info.await.map_err(|failure| settings.error(failure))?);
    let schedule = link.ask(settings.timeout, async |mut connection| {
        redis::cmd("CONFIG")
            .arg("GET")
            .arg("save")
            .query_async::<Vec<(String, String)>>(&mut connection)
            .await
    });
    // The least rights do not include this one.
    if let Ok(schedule) = schedule.await {
        facts.writes_snapshots = schedule.iter().any(|(_, times)| !times.is_empty());
    }
    if facts.is_cluster || facts.is_replica {
        return Ok(facts);
    }
    let name = format!("{}{}", keys::PROBE, Ulid::generate());
    let probe = link.ask(settings.timeout, async |mut connection| {
        let mut invocation = settings.scripts.probe.prepare_invoke();
        for part in ["list", "other", "hash", "sorted", "text"] {
            invocation.key(format!("{name}:{part}"));
        }
        invocation.invoke_async::<i64>(&mut connection).await?;
        let stream = format!("{name}:stream");
        let mut all = redis::pipe();
        all.cmd("XADD").arg(&stream).arg("*").arg("a").arg("1").ignore();
        all.cmd("XREVRANGE").arg(&stream).arg("+").arg("-").ignore();
        all.cmd("XREAD").arg("COUNT").arg(1).arg("STREAMS").arg(&stream).arg("0-0").ignore();
        all.cmd("DEL").arg(&stream).ignore();
        all.cmd("BLMOVE").arg(&stream).arg(&stream).arg("LEFT").arg("LEFT").arg("0.01").ignore();
        all.cmd("PUBLISH").arg(format!("{}probe", keys::orders(settings.database()))).arg("").ignore();
        all.query_async::<()>(&mut connection).await
    });
    probe.await.map_err(|failure| settings.error(failure))?;
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_known_by_its_own_name() {
        let redis = ServerFacts::read("redis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\n");
        assert_eq!(
            (redis.product, redis.major(), redis.is_cluster, redis.is_replica),
            ("Redis", 7, false, false)
        );
        let valkey =
            "redis_version:7.2.4\r\nvalkey_version:8.1.0\r\nserver_mode:cluster\r\naof_enabled:1\r\n";
        let valkey = ServerFacts::read(valkey);
        assert_eq!((valkey.product, valkey.version.as_str()), ("Valkey", "8.1.0"));
        assert!(valkey.is_cluster && valkey.writes_file);
    }

    #[test]
    fn what_is_not_said_is_nothing_bad() {
        let facts = ServerFacts::read("");
        assert_eq!((facts.major(), facts.memory_limit, facts.is_replica), (0, 0, false));
        assert!(!facts.writes_file && !facts.writes_snapshots);
        assert!(ServerFacts::read("rdb_saves:2\r\n").writes_snapshots);
    }
}
