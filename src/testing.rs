//! A tiny HTTP service for the clients' tests: a closure that answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::Response;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::HttpConfig;
use crate::http::Http;

/// A request as the closure sees it.
pub(crate) struct Asked {
    pub(crate) method: String,
    /// The path as it was sent.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: HeaderMap,
    /// The JSON body, or null.
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn query(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }
}

/// What the closure answers.
pub(crate) enum Answer {
    /// A status, headers and a JSON body; null is no body.
    Plain(u16, Vec<(&'static str, String)>, Value),
    /// The connection breaks in the middle of the answer.
    Broken,
    /// No answer, ever.
    Hung,
}

pub(crate) fn json(status: u16, body: Value) -> Answer {
    Answer::Plain(status, Vec::new(), body)
}

/// Starts the service on a free port of loopback; it ends with the test.
pub(crate) async fn serve(answer: impl Fn(Asked) -> Answer + Send + Sync + 'static) -> Url {
    let answer = Arc::new(answer);
    let router = Router::new().fallback(move |request: Request| {
        let answer = Arc::clone(&answer);
        async move {
            let asked = read(request).await;
            let (status, headers, body) = match answer(asked) {
                Answer::Plain(status, headers, body) => (status, headers, body),
                Answer::Broken => {
                    let error = Err::<bytes::Bytes, _>(std::io::Error::other("broken"));
                    return Response::new(Body::from_stream(futures_util::stream::iter([error])));
                }
                Answer::Hung => std::future::pending().await,
            };
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            let body = if body.is_null() { String::new() } else { body.to_string() };
            response.body(Body::from(body)).unwrap()
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}").parse().unwrap()
}

async fn read(request: Request) -> Asked {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 10_000_000).await.unwrap();
    let url = Url::parse(&format!("http://x{}", parts.uri)).unwrap();
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

/// A client that waits at most 1.5 s for an answer and retries for at most 5 s.
pub(crate) fn http() -> Http {
    let config = HttpConfig {
        proxy: None,
        ca_file: None,
        connect_timeout: Duration::from_secs(2),
        timeout: Duration::from_millis(1500),
        retry_budget: Duration::from_secs(5),
    };
    Http::new(&config, CancellationToken::new()).unwrap()
}
