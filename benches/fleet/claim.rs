//! Taking a task, its ticket's lease, and acknowledging it, on each transport: every effect of a run is left out. The peer
//! does the same moves with the plain client: no fence, no heartbeat, no headers.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use jira_agent::config::{Config, ConfigSources, QueueConfig};
use jira_agent::domain::Task;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::{self, Consumer, LeaseKey, LeaseOutcome, Settled, TaskQueue};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation};
use redis::aio::MultiplexedConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};

use crate::broker::Broker;
use crate::cli::Cli;
use crate::table::{Limit, Row, Samples};

/// Turns of each side in a round.
const TURNS: u32 = 20;
/// Tasks that one side takes in a turn.
const TASKS: u32 = 25;
/// Where the peer keeps its tasks on Redis, on the same server.
const PLAIN: [&str; 3] = ["bench:ready", "bench:processing", "bench:lease"];

/// The peer's queue on RabbitMQ, as durable as ours, and its lease.
const PLAIN_QUEUE: &str = "bench-tasks";
const PLAIN_LOCK: &str = "bench-lock";

/// On the RabbitMQ that `scripts/bench` has started.
pub async fn rabbitmq(broker: &Broker, cli: &Cli) -> anyhow::Result<Vec<Row>> {
    let queue = RabbitMq::connect(&broker.config(), "bench").await?;
    queue.apply_topology().await?;
    let ours = Ours::new(Arc::new(queue), cli).await?;
    let plain = Plain::rabbitmq(broker, cli).await?;
    rows("claim and ack on RabbitMQ", "lapin", ours, plain, cli).await
}

/// On the Redis that `scripts/bench` has started.
pub async fn redis(cli: &Cli) -> anyhow::Result<Vec<Row>> {
    let name = "JIRA_AGENT_TEST_REDIS_URL";
    let url = std::env::var(name).with_context(|| format!("{name} is not set: run `scripts/bench`"))?;
    let queue = connect(&[("queue.kind", "redis"), ("queue.url", &url)]).await?;
    let ours = Ours::new(queue, cli).await?;
    let client = redis::Client::open(url)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let body = String::from_utf8(a_task().to_json())?;
    for _ in 0..tasks(cli) {
        redis::cmd("RPUSH").arg(PLAIN[0]).arg(&body).query_async::<i64>(&mut connection).await?;
    }
    rows("claim and ack on Redis", "redis", ours, Plain::Redis(connection), cli).await
}

/// In files of their own on the same disk.
pub async fn sqlite(cli: &Cli) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir_in(".")?;
    let path = dir.path().join("queue.db");
    let path = path.to_str().context("the path is not UTF-8")?;
    let queue = connect(&[("queue.kind", "sqlite"), ("queue.path", path)]).await?;
    let ours = Ours::new(queue, cli).await?;
    let plain = Plain::sqlite(&dir.path().join("plain.db"), cli).await?;
    rows("claim and ack in SQLite", "sqlx", ours, plain, cli).await
}

fn a_task() -> Task {
    Task::new("PROJ-1".parse().unwrap_or_else(|_| unreachable!("it is a key")))
}

/// How many tasks each side needs; the round before the first only warms up.
fn tasks(cli: &Cli) -> u32 {
    TURNS * TASKS * (cli.rounds + 1)
}

async fn rows(
    name: &'static str,
    peer: &'static str,
    mut ours: Ours,
    mut plain: Plain,
    cli: &Cli,
) -> anyhow::Result<Vec<Row>> {
    let (mut by_us, mut by_peer) = (Samples::default(), Samples::default());
    for turn in 0..TURNS * (cli.rounds + 1) {
        for is_ours in [turn % 2 == 0, turn % 2 == 1] {
            let (side, elapsed) = match is_ours {
                true => (&mut by_us, ours.turn().await?),
                false => (&mut by_peer, plain.turn().await?),
            };
            if turn >= TURNS {
                side.push(f64::from(TASKS) / elapsed.as_secs_f64());
            }
        }
    }
    ours.consumer.stop().await;
    ours.queue.close().await;
    let limit = Limit::RatioAtLeast(0.9);
    Ok(vec![Row { name, unit: "tasks/s", ours: by_us, peer: Some((peer, by_peer)), limit }])
}

/// The product's side.
struct Ours {
    queue: Arc<dyn TaskQueue>,
    consumer: Box<dyn Consumer>,
    key: LeaseKey,
}

impl Ours {
    async fn new(queue: Arc<dyn TaskQueue>, cli: &Cli) -> anyhow::Result<Self> {
        for _ in 0..tasks(cli) {
            queue.publish(&a_task()).await?;
        }
        let consumer = queue.consume().await?;
        let key = LeaseKey { repository: "acme/shop".parse()?, branch: "ai/PROJ-1".parse()? };
        Ok(Self { queue, consumer, key })
    }

    async fn turn(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        for _ in 0..TASKS {
            let delivery = self.consumer.next().await.context("the consumer ended early")?;
            let LeaseOutcome::Granted(lease) = delivery.lease(&self.key).await? else {
                anyhow::bail!("somebody else has the lease");
            };
            lease.release().await;
            anyhow::ensure!(delivery.ack().await? == Settled::Done, "an ack was not taken");
        }
        Ok(started.elapsed())
    }
}

async fn connect(settings: &[(&str, &str)]) -> anyhow::Result<Arc<dyn TaskQueue>> {
    Ok(queue::connect(&config(settings)?, "bench").await?)
}

fn config(settings: &[(&str, &str)]) -> anyhow::Result<QueueConfig> {
    let overrides = settings.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    Ok(Config::load(ConfigSources { overrides, ..ConfigSources::default() })?.queue)
}

/// A consumer of RabbitMQ; the connection lives as long.
struct Consuming {
    channel: Channel,
    consumer: lapin::Consumer,
    _connection: lapin::Connection,
}

/// What one would write with the client alone.
enum Plain {
    RabbitMq(Box<Consuming>),
    Redis(MultiplexedConnection),
    Sqlite(SqliteConnection),
}

impl Plain {
    async fn rabbitmq(broker: &Broker, cli: &Cli) -> anyhow::Result<Self> {
        let connection = broker.connect().await?;
        let channel = connection.create_channel().await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(PLAIN_QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (body, properties) = (a_task().to_json(), BasicProperties::default().with_delivery_mode(2));
        for _ in 0..tasks(cli) {
            let options = BasicPublishOptions::default();
            let publish =
                channel.basic_publish("".into(), PLAIN_QUEUE.into(), options, &body, properties.clone());
            anyhow::ensure!(publish.await?.await? == Confirmation::Ack(None), "a task was not taken");
        }
        channel.basic_qos(1, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(PLAIN_QUEUE.into(), "".into(), options, FieldTable::default()).await?;
        Ok(Self::RabbitMq(Box::new(Consuming { channel, consumer, _connection: connection })))
    }

    async fn sqlite(path: &Path, cli: &Cli) -> anyhow::Result<Self> {
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
        let mut connection = options.connect().await?;
        let tables = "CREATE TABLE tasks (number INTEGER PRIMARY KEY, body TEXT, owner TEXT);\
                      CREATE TABLE leases (key TEXT PRIMARY KEY, owner TEXT)";
        sqlx::raw_sql(tables).execute(&mut connection).await?;
        let body = String::from_utf8(a_task().to_json())?;
        for _ in 0..tasks(cli) {
            let insert = sqlx::query("INSERT INTO tasks (body) VALUES (?)").bind(&body);
            insert.execute(&mut connection).await?;
        }
        Ok(Self::Sqlite(connection))
    }

    async fn turn(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        for _ in 0..TASKS {
            match self {
                Self::RabbitMq(consuming) => on_rabbitmq(consuming).await?,
                Self::Redis(connection) => on_redis(connection).await?,
                Self::Sqlite(connection) => in_sqlite(connection).await?,
            }
        }
        Ok(started.elapsed())
    }
}

async fn on_rabbitmq(consuming: &mut Consuming) -> anyhow::Result<()> {
    let Consuming { channel, consumer, .. } = consuming;
    let delivery = consumer.next().await.context("the consumer ended early")??;
    let hold = QueueDeclareOptions::exclusive();
    channel.queue_declare(PLAIN_LOCK.into(), hold, FieldTable::default()).await?;
    channel.queue_delete(PLAIN_LOCK.into(), QueueDeleteOptions::default()).await?;
    anyhow::ensure!(delivery.ack(BasicAckOptions::default()).await?, "an ack did not reach the broker");
    Ok(())
}

async fn on_redis(connection: &mut MultiplexedConnection) -> anyhow::Result<()> {
    let [ready, processing, lease] = PLAIN;
    let mut take = redis::cmd("LMOVE");
    take.arg(ready).arg(processing).arg("LEFT").arg("RIGHT");
    let item: String = take.query_async(connection).await?;
    let mut hold = redis::cmd("SET");
    hold.arg(lease).arg("me").arg("NX").arg("PX").arg(60_000);
    hold.query_async::<Option<String>>(connection).await?.context("somebody else has the lease")?;
    redis::cmd("DEL").arg(lease).query_async::<i64>(connection).await?;
    let gone: i64 = redis::cmd("LREM").arg(processing).arg(1).arg(&item).query_async(connection).await?;
    anyhow::ensure!(gone == 1, "an ack was not taken");
    Ok(())
}

/// Each move is one statement and a transaction of its own, as ours.
async fn in_sqlite(connection: &mut SqliteConnection) -> anyhow::Result<()> {
    let take = "UPDATE tasks SET owner = 'me' WHERE number = (SELECT number FROM tasks WHERE owner IS NULL \
                ORDER BY number LIMIT 1) RETURNING number, body";
    let row = sqlx::query(take).fetch_all(&mut *connection).await?;
    let row = row.first().context("no task is left")?;
    let (number, body): (i64, String) = (row.try_get("number")?, row.try_get("body")?);
    anyhow::ensure!(!body.is_empty(), "a task without a body");
    let hold = sqlx::query("INSERT INTO leases (key, owner) VALUES (?, 'me')").bind("ai/PROJ-1");
    hold.execute(&mut *connection).await?;
    sqlx::query("DELETE FROM leases WHERE key = ?").bind("ai/PROJ-1").execute(&mut *connection).await?;
    let acked = sqlx::query("DELETE FROM tasks WHERE number = ?").bind(number).execute(connection).await?;
    anyhow::ensure!(acked.rows_affected() == 1, "an ack was not taken");
    Ok(())
}
