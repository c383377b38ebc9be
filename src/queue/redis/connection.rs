//! Connections to Redis: opened within a time-out, watched, opened anew when they are lost.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisError, RedisResult, ServerErrorKind, TlsCertificates,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keys;
use super::scripts::Scripts;
use crate::config::QueueConfig;
use crate::queue::QueueError;

/// Where Redis is and how to speak to it. No `Debug`: it holds the password.
pub(super) struct Settings {
    client: Client,
    name: String,
    /// How long to wait for a connection or an answer.
    pub(super) timeout: Duration,
    /// How long a lease lasts without a sign of life.
    pub(super) lease_time: Duration,
    /// The same in milliseconds, as the scripts get it.
    pub(super) lease_milliseconds: String,
    /// The scripts.
    pub(super) scripts: Scripts,
    /// Tasks on their way back to the queue.
    pub(super) returning: TaskTracker,
}

impl Settings {
    pub(super) async fn read(config: &QueueConfig, name: &str) -> Result<Self, QueueError> {
        let info = parse(config.address())?;
        let client = match &config.ca_file {
            Some(path) if config.address().starts_with("rediss:") => {
                let broken = |why: &str| {
                    let path = path.display();
                    QueueError::Settings(format!(
                        "queue.ca_file: {path} {why}; name a PEM file with certificates of authorities"
                    ))
                };
                let read = tokio::fs::read(path).await;
                let text = read.map_err(|error| broken(&format!("cannot be read ({error})")))?;
                if !String::from_utf8_lossy(&text).contains("-----BEGIN CERTIFICATE-----") {
                    return Err(broken("holds no certificate"));
                }
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(text) };
                Client::build_with_tls(info, certificates)
                    .map_err(|_| broken("holds a certificate that cannot be read"))?
            }
            _ => Client::open(info).map_err(|_| invalid("it is not an address of Redis"))?,
        };
        // A connection's name has no spaces.
        let name = name.split_whitespace().collect::<Vec<_>>().join("-");
        let (timeout, lease_time) = (config.timeout, config.lease_timeout);
        let (lease_milliseconds, returning) = (lease_time.as_millis().to_string(), TaskTracker::new());
        Ok(Self { client, name, timeout, lease_time, lease_milliseconds, scripts: Scripts::new(), returning })
    }

    /// `host:port`, which is all of the address that an error may show.
    pub(super) fn host(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// The number of the database.
    pub(super) fn database(&self) -> i64 {
        self.client.get_connection_info().redis_settings().db()
    }

    /// Opens a connection.
    pub(super) async fn open(&self) -> Result<Line, Failure> {
        self.open_with(|_| {}).await
    }

    /// Opens a connection; `heard` gets what Redis says without having been asked.
    pub(super) async fn open_with(
        &self,
        heard: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Line, Failure> {
        crate::tls::install_crypto_provider();
        let lost = CancellationToken::new();
        let ended = lost.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    ended.cancel();
                }
                heard(push);
                Ok::<(), ()>(())
            });
        let connect = self.client.get_multiplexed_async_connection_with_config(&config);
        let mut connection = within(self.timeout, connect).await?;
        let mut naming = redis::cmd("CLIENT");
        let naming = naming.arg("SETNAME").arg(&self.name).query_async::<()>(&mut connection);
        match within(self.timeout, naming).await {
            Err(failure @ Failure::Lost(_)) => Err(failure),
            // The name is for people who look; a user may lack the right.
            Ok(()) | Err(Failure::Reply { .. }) => Ok(Line { connection, lost }),
        }
    }

    /// In words, with the place.
    pub(super) fn error(&self, failure: Failure) -> QueueError {
        failure.into_error(&self.host())
    }
}

fn invalid(why: &str) -> QueueError {
    QueueError::Settings(format!(
        "queue.url: {why}; write it as redis://user:password@host:6379/0, or rediss:// for TLS, with %-escapes in user \
         and password"
    ))
}

/// Reads `redis[s]://user:password@host:port/database`. Its errors show nothing of the text: it may hold a password.
fn parse(text: &str) -> Result<ConnectionInfo, QueueError> {
    let url = url::Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
    if !matches!(url.scheme(), "redis" | "rediss") || url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("it is not an address of Redis"));
    }
    if url.fragment().is_some() {
        return Err(invalid("it has a fragment; certificates are always checked"));
    }
    // The client's own words about a bad address quote parts of it.
    let info =
        text.into_connection_info().map_err(|_| invalid("its database, user or password is not valid"))?;
    let redis = info.redis_settings().clone();
    // By the newer protocol a connection tells when it is lost, and listens while it asks.
    Ok(info.set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name()))
}

/// Why Redis did not do it.
#[derive(Debug)]
pub(super) enum Failure {
    /// It said no: the code and its words.
    Reply { code: String, text: String },
    /// There is no connection, no answer in time, or Redis is not ready yet.
    Lost(String),
}

impl Failure {
    /// The words for people.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Reply { text, .. } | Self::Lost(text) => text,
        }
    }

    fn into_error(self, host: &str) -> QueueError {
        let (code, text) = match self {
            Self::Reply { code, text } => (code, text),
            Self::Lost(why) => {
                return QueueError::Unreachable(format!(
                    "{host}: {why}; check that Redis runs, and host, port and scheme (redis or rediss) of `queue.url`"
                ));
            }
        };
        match code.as_str() {
            "OOM" => QueueError::Full(keys::READY.to_owned()),
            "WRONGPASS" | "NOAUTH" => QueueError::Refused(format!(
                "{host}: wrong user or password; check them in `queue.url`, and that the user is on (`ACL LIST`)"
            )),
            "NOPERM" => QueueError::Refused(format!(
                "{host}: {text}; give the user of `queue.url` the rights that ARCHITECTURE.md lists (`ACL SETUSER`)"
            )),
            "MOVED" | "ASK" | "CROSSSLOT" => QueueError::Topology(format!(
                "{host}: this is a Redis Cluster, which is not supported: a task moves between keys in one step. Name a \
                 single Redis or Valkey in `queue.url`"
            )),
            "WRONGTYPE" => QueueError::Topology(format!(
                "{host}: a key that begins with `{}` holds something else than this program puts there ({text}); use \
                 another database in `queue.url`",
                keys::READY
            )),
            "READONLY" => QueueError::Topology(format!(
                "{host}: {text}; name the primary in `queue.url`, not a replica"
            )),
            _ => QueueError::Refused(format!("{host}: {text}")),
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        let code = match error.kind() {
            ErrorKind::AuthenticationFailed => "WRONGPASS",
            ErrorKind::RESP3NotSupported => {
                return Self::Reply {
                    code: "ERR".to_owned(),
                    text: "the server is older than Redis 6; use 7.0 or newer".to_owned(),
                };
            }
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ClusterDown,
            ) => return Self::Lost(error.to_string()),
            ErrorKind::Server(_) | ErrorKind::Extension => error.code().unwrap_or("ERR"),
            _ => return Self::Lost(error.to_string()),
        };
        // Redis cannot write to its disk, or is held up by a script: both may pass.
        if matches!(code, "MISCONF" | "BUSY") {
            return Self::Lost(error.to_string());
        }
        Self::Reply { code: code.to_owned(), text: error.to_string() }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(
    limit: Duration,
    call: impl Future<Output = RedisResult<T>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer.map_err(Failure::from),
        Err(_) => Err(Failure::Lost(format!("no answer within {} s", limit.as_secs_f32()))),
    }
}

/// An open connection. It ends when its last clone is dropped.
#[derive(Clone)]
pub(super) struct Line {
    /// The connection.
    pub(super) connection: MultiplexedConnection,
    /// Cancelled when it is gone.
    pub(super) lost: CancellationToken,
}

/// A connection that is opened when it is needed, and again when it was lost.
pub(super) struct Link {
    /// Where to.
    pub(super) settings: Arc<Settings>,
    line: Mutex<Option<Line>>,
    /// Whoever has it opens the next one.
    opening: tokio::sync::Mutex<()>,
}

impl Link {
    /// Over a connection that is open, or none yet.
    pub(super) fn new(settings: Arc<Settings>, line: Option<Line>) -> Self {
        Self { settings, line: Mutex::new(line), opening: tokio::sync::Mutex::default() }
    }

    /// The connection that is open now.
    pub(super) async fn line(&self) -> Result<Line, Failure> {
        let alive = || self.line_now().filter(|line| !line.lost.is_cancelled());
        if let Some(line) = alive() {
            return Ok(line);
        }
        let _opening = self.opening.lock().await;
        if let Some(line) = alive() {
            return Ok(line);
        }
        let line = self.settings.open().await?;
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.clone());
        Ok(line)
    }

    /// The connection that was opened last, which may be lost.
    pub(super) fn line_now(&self) -> Option<Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for something, and waits for it no longer than `limit` beyond a connect.
    pub(super) async fn ask<T, Answer>(
        &self,
        limit: Duration,
        call: impl FnOnce(MultiplexedConnection) -> Answer,
    ) -> Result<T, Failure>
    where
        Answer: Future<Output = RedisResult<T>>,
    {
        let Line { connection, lost } = self.line().await?;
        let answer = within(limit, call(connection)).await;
        match &answer {
            // What does not answer in time is not asked again, and what has become a replica may have a successor.
            Err(Failure::Lost(_)) => lost.cancel(),
            Err(Failure::Reply { code, .. }) if code == "READONLY" => lost.cancel(),
            _ => {}
        }
        answer
    }

    /// Lets go of the connection.
    pub(super) fn close(&self) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_with_their_defaults() {
        for (text, host, database) in [
            ("redis://h", "h:6379", 0),
            ("redis://u:p%40@127.0.0.1:1234/7", "127.0.0.1:1234", 7),
            ("rediss://:p@h.test/2", "h.test:6379", 2),
        ] {
            let info = parse(text).unwrap();
            assert_eq!((info.addr().to_string(), info.redis_settings().db()), (host.to_owned(), database));
        }
    }

    #[test]
    fn a_bad_address_is_refused_without_showing_it() {
        for text in [
            "",
            "hunter2",
            "http://u:hunter2@h",
            "redis://u:hunter2@h:port",
            "redis:hunter2",
            "redis://h/hunter2",
            "rediss://u:hunter2@h#insecure",
            "redis://u:hunter2%FF@h",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("queue.url: "), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
