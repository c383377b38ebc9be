//! The small HTTP server beside a program's work: is it alive, could it work now, and its metrics.
//! <https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/>

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What the server tells.
pub trait Status: Send + Sync + 'static {
    /// Whether work could be taken now; else why not, in a few words.
    ///
    /// # Errors
    /// With the reason, when it could not.
    fn ready(&self) -> Result<(), String>;

    /// The metrics, in the text format of OpenMetrics.
    fn metrics(&self) -> String;
}

/// `Content-Type` of the metrics: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A server that runs until it is dropped.
#[derive(Debug)]
pub struct StatusServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl StatusServer {
    /// Listens on `address` and serves `GET /healthz`, `/readyz` and `/metrics`.
    ///
    /// # Errors
    /// When the address cannot be listened on, e.g. because another program does.
    pub async fn start(address: &str, status: Arc<dyn Status>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router(status)).await {
                tracing::warn!(%error, "probes and metrics are no longer served");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for StatusServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn router(status: Arc<dyn Status>) -> Router {
    Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(status)
}

/// That this is answered is the answer; no outside service has a part in it.
async fn alive() -> &'static str {
    "alive\n"
}

async fn ready(State(status): State<Arc<dyn Status>>) -> Response {
    match status.ready() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn metrics(State(status): State<Arc<dyn Status>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], status.metrics())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    struct Lamp(AtomicBool);

    impl Status for Lamp {
        fn ready(&self) -> Result<(), String> {
            if self.0.load(Ordering::Relaxed) { Ok(()) } else { Err("no broker".to_owned()) }
        }

        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }
    }

    #[tokio::test]
    async fn alive_and_ready_are_two_things() {
        let lamp = Arc::new(Lamp(AtomicBool::new(false)));
        let server = StatusServer::start("127.0.0.1:0", lamp.clone()).await.unwrap();
        let ask = async |path: &str| {
            let mut stream = TcpStream::connect(server.address()).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.split(' ').nth(1).unwrap().parse::<u16>().unwrap(), body.to_owned())
        };
        assert_eq!(ask("/healthz").await, (200, "alive\n".to_owned()));
        assert_eq!(ask("/readyz").await, (503, "no broker\n".to_owned()));
        lamp.0.store(true, Ordering::Relaxed);
        assert_eq!(ask("/readyz").await.0, 200);
        assert_eq!(ask("/metrics").await.1, "# EOF\n");
        assert_eq!(ask("/else").await.0, 404);
        let taken = StatusServer::start(&server.address().to_string(), lamp).await;
        assert!(taken.is_err());
    }
}
