//! One connection to the broker: opened within a time-out, watched, closed.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::tcp::{AMQPUriTcpExt, OwnedTLSConfig};
use lapin::types::LongString;
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::QueueConfig;
use crate::queue::QueueError;

/// How often a connection's state is looked at besides its events, which name most ends of it but not all.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// The largest frame in bytes, which is RabbitMQ's own default: <https://www.rabbitmq.com/docs/configure#config-items>.
/// Without a number of ours lapin fits its two buffers of 32 frames to the broker's, and by that fills all 8 MB of each
/// connection with zeros; made in that size at once, they take memory only where they are used.
const FRAME_MAX_BYTES: u32 = 131_072;

/// Where the broker is and how to speak to it. No `Debug`: it holds the password.
pub(super) struct Settings {
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    name: String,
    /// How long to wait for a connection, a declaration or a confirmation.
    pub(super) timeout: Duration,
}

impl Settings {
    pub(super) async fn read(config: &QueueConfig, name: &str) -> Result<Self, QueueError> {
        let mut uri = parse_uri(config.address())?;
        let heartbeat = config.heartbeat.as_secs().clamp(1, u64::from(u16::MAX));
        uri.query.heartbeat = u16::try_from(heartbeat).ok();
        uri.query.frame_max.get_or_insert(FRAME_MAX_BYTES);
        let mut cert_chain = None;
        if let Some(path) = &config.ca_file {
            let broken = |why: &str| {
                let path = path.display();
                QueueError::Settings(format!(
                    "queue.ca_file: {path} {why}; name a PEM file with certificates of authorities"
                ))
            };
            let text = tokio::fs::read_to_string(path)
                .await
                .map_err(|error| broken(&format!("cannot be read ({error})")))?;
            if !text.contains("-----BEGIN CERTIFICATE-----") {
                return Err(broken("holds no certificate"));
            }
            cert_chain = Some(text);
        }
        let tls = OwnedTLSConfig { identity: None, cert_chain };
        let name = name.to_owned();
        let timeout = config.timeout;
        Ok(Self { uri, tls, name, timeout })
    }

    /// `host:port`, which is all of the address that an error may show.
    pub(super) fn host(&self) -> String {
        let authority = &self.uri.authority;
        if authority.host.contains(':') {
            return format!("[{}]:{}", authority.host, authority.port);
        }
        format!("{}:{}", authority.host, authority.port)
    }

    /// The virtual host.
    pub(super) fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// How long the broker waits for a sign of life at least.
    fn heartbeat(&self) -> Duration {
        self.uri.query.heartbeat.map_or(Duration::MAX, |seconds| Duration::from_secs(seconds.into()))
    }

    /// Opens a connection. `purpose` tells connections apart on the broker's pages.
    pub(super) async fn open(&self, purpose: &str) -> Result<Link, QueueError> {
        crate::tls::install_crypto_provider();
        let name = LongString::from(format!("{} ({purpose})", self.name));
        let properties = ConnectionProperties::default().with_connection_name(name);
        let (tls, limit) = (self.tls.clone(), self.timeout);
        let runtime =
            lapin::runtime::default_runtime().map_err(|error| QueueError::Unreachable(error.to_string()))?;
        // The limit stands inside as well: a connect that is only dropped lives on in a thread of its own.
        let connect = Connection::connector(
            self.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let connect = uri.connect_with_config_async(tls.as_ref(), &runtime);
                let stream = tokio::time::timeout(limit, connect).await;
                let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
                Ok(stream.map_err(late).and_then(|result| result)?)
            },
            properties,
        );
        match within(self.timeout, connect).await {
            Ok(connection) => Ok(Link::new(connection, self.host(), self.timeout, self.heartbeat())),
            Err(failure) => Err(failure.at_login(&self.host(), &self.uri)),
        }
    }
}

/// Reads `amqp[s]://user:password@host:port/vhost`. Its errors show nothing of the text: it may hold a password.
fn parse_uri(text: &str) -> Result<AMQPUri, QueueError> {
    let invalid = |why: &str| {
        QueueError::Settings(format!(
            "queue.url: {why}; write it as amqp://user:password@host:5672/vhost, with %-escapes in user, password \
             and vhost"
        ))
    };
    let url = url::Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "amqp" | "amqps") || !url.has_host() {
        return Err(invalid("it is not an AMQP address"));
    }
    let mut uri: AMQPUri = text.parse().map_err(|_| invalid("it is not an AMQP address"))?;
    if let Some(url::Host::Ipv6(address)) = url.host() {
        uri.authority.host = address.to_string();
    }
    // By the letter of the AMQP URI rules a lone slash names the virtual host ""; nobody means that.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    Ok(uri)
}

/// Why the broker did not do it.
#[derive(Debug)]
pub(super) enum Failure {
    /// It said no: the reply code of AMQP and its words.
    Reply { code: u16, text: String },
    /// There is no connection, or no answer in time.
    Lost(String),
}

impl Failure {
    /// Access refused: <https://www.rabbitmq.com/amqp-0-9-1-reference#constants>, as the others.
    pub(super) const ACCESS_REFUSED: u16 = 403;
    pub(super) const NOT_FOUND: u16 = 404;
    pub(super) const RESOURCE_LOCKED: u16 = 405;
    pub(super) const PRECONDITION_FAILED: u16 = 406;
    const INVALID_PATH: u16 = 402;
    const NOT_ALLOWED: u16 = 530;

    pub(super) fn is(&self, wanted: u16) -> bool {
        matches!(self, Self::Reply { code, .. } if *code == wanted)
    }

    /// The words for people.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Reply { text, .. } | Self::Lost(text) => text,
        }
    }

    /// On an open connection to `host`.
    pub(super) fn into_error(self, host: &str) -> QueueError {
        match self {
            Self::Reply { code, text } => match code {
                Self::ACCESS_REFUSED => QueueError::Refused(format!(
                    "{host}: {text}; give the user of `queue.url` the right (`rabbitmqctl set_permissions`)"
                )),
                Self::NOT_FOUND => {
                    QueueError::Topology(format!("{host}: {text}; run `jira-agent-producer topology apply`"))
                }
                Self::RESOURCE_LOCKED | Self::PRECONDITION_FAILED => {
                    QueueError::Topology(format!("{host}: {text}"))
                }
                Self::INVALID_PATH | Self::NOT_ALLOWED => QueueError::Refused(format!("{host}: {text}")),
                _ => QueueError::Unreachable(format!("{host}: {text}")),
            },
            Self::Lost(why) => QueueError::Unreachable(format!("{host}: {why}")),
        }
    }

    fn at_login(self, host: &str, uri: &AMQPUri) -> QueueError {
        let (user, vhost) = (&uri.authority.userinfo.username, &uri.vhost);
        match self {
            Self::Reply { code: Self::ACCESS_REFUSED, text } => QueueError::Refused(format!(
                "{host}: {text}; check user `{user}` and its password in `queue.url`"
            )),
            Self::Reply { code: Self::NOT_ALLOWED | Self::INVALID_PATH, text } => {
                QueueError::Refused(format!(
                    "{host}: {text}; create virtual host `{vhost}`, allow user `{user}` to use it, or name another \
                     in `queue.url`"
                ))
            }
            Self::Reply { text, .. } | Self::Lost(text) => QueueError::Unreachable(format!(
                "{host}: {text}; check that the broker runs, and host, port and scheme (amqp or amqps) of `queue.url`"
            )),
        }
    }
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        match error.kind() {
            // The other hard errors say that the broker goes away or that one side got confused.
            ErrorKind::ProtocolError(reply)
                if error.is_amqp_soft_error()
                    || matches!(reply.get_id(), Self::INVALID_PATH | Self::NOT_ALLOWED) =>
            {
                Self::Reply { code: reply.get_id(), text: reply.get_message().to_string() }
            }
            ErrorKind::ProtocolError(reply) => Self::Lost(reply.get_message().to_string()),
            ErrorKind::IOError(cause) => Self::Lost(cause.to_string()),
            ErrorKind::ParsingError(_) => {
                Self::Lost("what answers does not speak AMQP 0-9-1; is it the right port?".to_owned())
            }
            _ => Self::Lost(error.to_string()),
        }
    }
}

async fn within<T>(limit: Duration, call: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) => Err(Failure::Lost(format!("no answer within {} s", limit.as_secs_f32()))),
    }
}

/// An open connection. Dropping it closes it.
pub(super) struct Link {
    connection: Arc<Connection>,
    host: String,
    timeout: Duration,
    lost: CancellationToken,
    close: CancellationToken,
    /// The leases held through this connection: the broker would give one out twice to the same connection.
    pub(super) leases: Mutex<HashSet<String>>,
    /// The channel of leases, opened when it is needed: the broker closes it when it refuses one.
    pub(super) lease_channel: tokio::sync::Mutex<Option<Channel>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

impl Link {
    fn new(connection: Connection, host: String, timeout: Duration, heartbeat: Duration) -> Self {
        let connection = Arc::new(connection);
        let (lost, close) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(watch(connection.clone(), lost.clone(), close.clone(), timeout, heartbeat));
        Self {
            connection,
            host,
            timeout,
            lost,
            close,
            leases: Mutex::default(),
            lease_channel: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Cancelled when the connection is gone.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    pub(super) fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Asks for the end of the connection; does not wait for it.
    pub(super) fn close(&self) {
        self.close.cancel();
    }

    /// Closes the connection and waits until it is.
    pub(super) async fn closed(&self) {
        self.close();
        // The watcher bounds this by the time-out of one call.
        self.lost.cancelled().await;
    }

    /// Opens a channel. One that the broker closes takes nothing else with it.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        self.call(self.connection.create_channel()).await
    }

    /// Waits for the broker's answer, but not for ever.
    pub(super) async fn call<T>(&self, call: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
        within(self.timeout, call).await
    }
}

/// Cancels `lost` when the connection ends, by itself or because `close` asks for it; and when this process stood still for
/// so long that the broker may have given it up and others may have its tasks, which the socket need not show at once.
async fn watch(
    connection: Arc<Connection>,
    lost: CancellationToken,
    close: CancellationToken,
    limit: Duration,
    heartbeat: Duration,
) {
    let mut events = connection.events_listener();
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut looked = Instant::now();
    // Channels report their errors as events too, so an event only makes us look.
    while connection.status().connected() {
        // Cancel-safe: a lost event or tick costs at most one interval, for the state itself is read.
        let asked = tokio::select! {
            () = close.cancelled() => true,
            _ = events.next() => false,
            _ = interval.tick() => false,
        };
        let stood_still = looked.elapsed();
        looked = Instant::now();
        if stood_still > heartbeat {
            tracing::warn!(
                stood_still_s = stood_still.as_secs(),
                "the process stood still: its connection is given up"
            );
            lost.cancel();
        }
        if asked || lost.is_cancelled() {
            let end = connection.close(200, "OK".into());
            if let Err(failure) = within(limit, end).await {
                tracing::debug!(error = failure.text(), "the connection to the broker did not close cleanly");
            }
            break;
        }
    }
    lost.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_and_vhost(text: &str) -> (String, String) {
        let uri = parse_uri(text).unwrap();
        let timeout = Duration::from_secs(1);
        let (tls, name) = (OwnedTLSConfig::default(), String::new());
        let vhost = uri.vhost.clone();
        let settings = Settings { uri, tls, name, timeout };
        (settings.host(), vhost)
    }

    #[test]
    fn addresses_are_read_with_their_defaults() {
        for (text, host, vhost) in [
            ("amqp://h", "h:5672", "/"),
            ("amqp://h/", "h:5672", "/"),
            ("amqp://h/%2f", "h:5672", "/"),
            ("amqps://u:p@h.test/agents", "h.test:5671", "agents"),
            ("amqp://u:p%40@127.0.0.1:1234/a%2Fb", "127.0.0.1:1234", "a/b"),
            ("amqp://[::1]:1234", "[::1]:1234", "/"),
        ] {
            assert_eq!(host_and_vhost(text), (host.to_owned(), vhost.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_bad_address_is_refused_without_showing_it() {
        for text in [
            "",
            "hunter2",
            "http://u:hunter2@h",
            "amqp://u:hunter2@h:port",
            "amqp:hunter2",
            "amqp://h?heartbeat=hunter2",
            "amqp://u:hunter2%FF@h",
        ] {
            let error = parse_uri(text).unwrap_err().to_string();
            assert!(error.starts_with("queue.url: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
