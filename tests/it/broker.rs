//! A virtual host of its own for each test on a real RabbitMQ, which `scripts/lib/rabbitmq start` started.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jira_agent::config::{QueueConfig, QueueKind};
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::secret::Secret;
use lapin::options::{BasicGetOptions, BasicPublishOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

/// How long anything may take that happens soon.
pub const SOON: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

fn setting(name: &str) -> String {
    let value = std::env::var(name);
    value.unwrap_or_else(|_| {
        panic!("{name} is not set: these tests need a RabbitMQ of their own; run `make test`")
    })
}

fn address(name: &str) -> Url {
    Url::parse(&setting(name)).unwrap()
}

/// Waits until `look` finds something.
pub async fn wait_for<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {SOON:?} in vain: {what}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One test's part of the broker.
pub struct Broker {
    vhost: String,
    http: reqwest::Client,
    /// Whether the virtual host is removed in the end.
    removed: bool,
    /// Shared by tests that need the broker to stay up, exclusive for one that takes it down.
    _lock: File,
}

impl Broker {
    /// A part of the broker, beside other tests.
    pub async fn shared() -> Self {
        let lock = lock_file();
        lock.lock_shared().unwrap();
        Self::with_lock(lock, true).await
    }

    /// The broker without other tests, to take it down.
    pub async fn alone() -> Self {
        let lock = lock_file();
        lock.lock().unwrap();
        // RabbitMQ 3.10 that deletes a queue with at-least-once dead-lettering while it still recovers it loses the
        // supervisor of all such queues, and declares none from then on.
        Self::with_lock(lock, false).await
    }

    async fn with_lock(lock: File, removed: bool) -> Self {
        jira_agent::tls::install_crypto_provider();
        let vhost = format!("test-{}", jira_agent::domain::TaskId::generate());
        let broker = Self { vhost, http: reqwest::Client::new(), removed, _lock: lock };
        let user = address("JIRA_AGENT_TEST_AMQP_URL").username().to_owned();
        broker.api(Method::PUT, &["vhosts", &broker.vhost], json!({})).await;
        broker.allow(&user, ".*").await;
        broker
    }

    /// Lets `user` do everything with what matches `pattern`.
    pub async fn allow(&self, user: &str, pattern: &str) {
        let rights = json!({"configure": pattern, "write": pattern, "read": pattern});
        self.api(Method::PUT, &["permissions", &self.vhost, user], rights).await;
    }

    /// Makes a user without any rights; its password is `password`.
    pub async fn add_user(&self, password: &str) -> String {
        let name = format!("user-of-{}", self.vhost);
        let user = json!({"password": password, "tags": ""});
        self.api(Method::PUT, &["users", &name], user).await;
        name
    }

    /// The address of this part.
    pub fn url(&self) -> Url {
        let mut url = address("JIRA_AGENT_TEST_AMQP_URL");
        url.set_path(&self.vhost);
        url
    }

    /// The same with TLS, and the authority to trust.
    pub fn tls(&self) -> (Url, PathBuf) {
        let mut url = address("JIRA_AGENT_TEST_AMQPS_URL");
        url.set_path(&self.vhost);
        (url, setting("JIRA_AGENT_TEST_AMQPS_CA_FILE").into())
    }

    /// The address of the management API, which is the same for all parts.
    pub fn management(&self) -> Url {
        address("JIRA_AGENT_TEST_RABBITMQ_MANAGEMENT_URL")
    }

    pub fn config(&self) -> QueueConfig {
        config(self.url().as_str())
    }

    /// A client whose topology exists.
    pub async fn queue(&self) -> RabbitMq {
        let queue = RabbitMq::connect(&self.config(), "test").await.unwrap();
        queue.apply_topology().await.unwrap();
        queue
    }

    /// A plain channel, to do what the product does not.
    pub async fn channel(&self) -> (Connection, Channel) {
        let url = self.url();
        let connection = Connection::connect(url.as_str(), ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        (connection, channel)
    }

    /// Puts a body on the queue of tasks as another program would.
    pub async fn publish(&self, body: impl AsRef<[u8]>, properties: BasicProperties) {
        let (_connection, channel) = self.channel().await;
        channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await.unwrap();
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (exchange, key) = ("agent.tasks".into(), "agent-tasks".into());
        let publish = channel.basic_publish(exchange, key, options, body.as_ref(), properties);
        let confirmation = publish.await.unwrap().await.unwrap();
        assert_eq!(confirmation, lapin::Confirmation::Ack(None));
    }

    /// Waits for a message in `queue` and takes it.
    pub async fn take(&self, queue: &str) -> lapin::message::Delivery {
        let (_connection, channel) = self.channel().await;
        let what = format!("a message in {queue}");
        let message = wait_for(&what, async || {
            channel.basic_get(queue.into(), BasicGetOptions { no_ack: true }).await.unwrap()
        });
        message.await.delivery
    }

    /// Takes everything that is in `queue` now.
    pub async fn drain(&self, queue: &str) -> Vec<String> {
        let (_connection, channel) = self.channel().await;
        let mut bodies = Vec::new();
        let options = BasicGetOptions { no_ack: true };
        while let Some(message) = channel.basic_get(queue.into(), options).await.unwrap() {
            bodies.push(String::from_utf8_lossy(&message.delivery.data).into_owned());
        }
        bodies
    }

    /// Waits until exactly `count` messages are ready in `queue`.
    pub async fn wait_for_depth(&self, queue: &RabbitMq, name: &str, count: u32) {
        let what = format!("{count} messages ready in {name}");
        wait_for(&what, async || (queue.depths().await.unwrap()[name] == count).then_some(())).await;
    }

    /// Sets a policy on the queues whose names match `pattern`.
    pub async fn set_policy(&self, pattern: &str, definition: Value) {
        let policy = json!({"pattern": pattern, "apply-to": "queues", "definition": definition});
        self.api(Method::PUT, &["policies", &self.vhost, "test"], policy).await;
    }

    /// Has the broker close the connections whose name holds `part`, as an administrator can.
    pub async fn close_connections(&self, part: &str) {
        let what = format!("a connection named {part}");
        let names = wait_for(&what, async || {
            let list = self.api(Method::GET, &["vhosts", &self.vhost, "connections"], Value::Null).await;
            let named = |connection: &&Value| {
                let name = connection["client_properties"]["connection_name"].as_str();
                name.is_some_and(|name| name.contains(part))
            };
            let found = list.as_array().unwrap().iter().filter(named);
            let names: Vec<String> = found.map(|one| one["name"].as_str().unwrap().to_owned()).collect();
            (!names.is_empty()).then_some(names)
        });
        for name in names.await {
            self.api(Method::DELETE, &["connections", &name], Value::Null).await;
        }
    }

    /// `stop`, `start`, `kill`, `restart`, `alarm` or `calm` of the whole broker; only for a test that has it alone.
    pub async fn control(&self, command: &str) {
        let program = setting("JIRA_AGENT_TEST_RABBITMQ_CTL");
        let status = tokio::process::Command::new(program).arg(command).status().await.unwrap();
        assert!(status.success(), "the broker did not {command}");
    }

    /// <https://www.rabbitmq.com/docs/management#http-api>
    async fn api(&self, method: Method, path: &[&str], body: Value) -> Value {
        let mut url = address("JIRA_AGENT_TEST_RABBITMQ_MANAGEMENT_URL");
        url.path_segments_mut().unwrap().push("api").extend(path);
        let mut request = self.http.request(method.clone(), url).timeout(SOON);
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let fine = status.is_success() || (method == Method::DELETE && status == StatusCode::NOT_FOUND);
        assert!(fine, "{method} {path:?}: {status}");
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !self.removed {
            return;
        }
        let vhost = std::mem::take(&mut self.vhost);
        // A runtime cannot be waited for inside another one.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = reqwest::Client::new();
                for path in [["vhosts", &vhost], ["users", &format!("user-of-{vhost}")]] {
                    let mut url = address("JIRA_AGENT_TEST_RABBITMQ_MANAGEMENT_URL");
                    url.path_segments_mut().unwrap().push("api").extend(path);
                    let _ = client.delete(url).timeout(SOON).send().await;
                }
            });
        });
        let _ = removal.join();
    }
}

fn lock_file() -> File {
    let control = PathBuf::from(setting("JIRA_AGENT_TEST_RABBITMQ_CTL"));
    File::create(control.with_file_name("lock")).unwrap()
}

/// Settings with short time-outs for the broker at `url`.
pub fn config(url: &str) -> QueueConfig {
    QueueConfig {
        kind: QueueKind::Rabbitmq,
        url: Secret::new(url),
        path: None,
        retry_delays: [30, 120, 600, 3600].map(Duration::from_secs).into(),
        lease_timeout: Duration::from_mins(1),
        management_url: Secret::default(),
        ca_file: None,
        heartbeat: Duration::from_secs(20),
        timeout: Duration::from_secs(10),
        consumer_timeout: Duration::from_mins(30),
        declare: true,
        adopt: false,
    }
}
