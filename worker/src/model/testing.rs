//! A service on loopback that answers what a test has written down, and remembers what it was asked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, Uri};
use futures_util::{StreamExt as _, stream};
use jira_agent::config::{HttpConfig, ModelConfig, ModelProvider};
use jira_agent::http::Http;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Message, Model, ModelError, Reply, Request};

pub const KEY: &str = "sk-test-0123456789";
pub const IDLE: Duration = Duration::from_secs(1);

/// How an answer ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Whole,
    /// The connection stays open and silent.
    Hangs,
    /// The connection breaks.
    Breaks,
}

#[derive(Debug, Clone)]
pub struct Canned {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    chunks: Vec<Bytes>,
    end: End,
}

/// An answer 200 with this body, sent in pieces of seven bytes so that no event comes whole.
pub fn good(body: &str) -> Canned {
    let chunks = body.as_bytes().chunks(7).map(Bytes::copy_from_slice).collect();
    Canned { status: 200, headers: Vec::new(), chunks, end: End::Whole }
}

pub fn refused(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Canned {
    Canned {
        status,
        headers: headers.to_vec(),
        chunks: vec![Bytes::copy_from_slice(body.as_bytes())],
        end: End::Whole,
    }
}

impl Canned {
    pub fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let end = self.end;
        let tail = stream::once(async move {
            tokio::task::yield_now().await;
            match end {
                End::Hangs => std::future::pending().await,
                _ => Err(std::io::Error::other("broken on purpose")),
            }
        });
        // Yielding lets the server send a piece before the next one comes.
        let chunks = stream::iter(self.chunks.into_iter().map(Ok)).then(|chunk| async {
            tokio::task::yield_now().await;
            chunk
        });
        let tail = match end {
            End::Whole => tail.take(0),
            End::Hangs | End::Breaks => tail.take(1),
        };
        response.body(Body::from_stream(chunks.chain(tail))).unwrap()
    }
}

#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

#[derive(Debug, Default)]
struct Inner {
    answers: VecDeque<Canned>,
    asked: Vec<Asked>,
}

#[derive(Debug, Clone)]
pub struct Service {
    pub base: String,
    inner: Arc<Mutex<Inner>>,
}

impl Service {
    /// Serves the answers, one a request. A request more gets 418, which no client tries again.
    pub async fn start(answers: impl IntoIterator<Item = Canned>) -> Self {
        let inner = Arc::new(Mutex::new(Inner { answers: answers.into_iter().collect(), asked: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, inner }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.inner.lock().unwrap().asked.clone()
    }

    /// A model that tries again for three seconds.
    pub fn model(&self, provider: ModelProvider) -> Model {
        Model::new(&self.config(provider), http(Duration::from_secs(3))).unwrap()
    }

    /// A model that tries once.
    pub fn impatient(&self, provider: ModelProvider) -> Model {
        Model::new(&self.config(provider), http(Duration::ZERO)).unwrap()
    }

    pub fn config(&self, provider: ModelProvider) -> ModelConfig {
        ModelConfig {
            provider,
            name: "big-model".to_owned(),
            base_url: Some(self.base.parse().unwrap()),
            api_key: KEY.into(),
            max_output_tokens: 1000,
            max_input_tokens: 7000,
            idle_timeout: IDLE,
            timeout: Duration::from_secs(20),
            prices: None,
        }
    }
}

async fn answer(
    State(inner): State<Arc<Mutex<Inner>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response<Body>, Infallible> {
    let mut inner = inner.lock().unwrap();
    inner.asked.push(Asked {
        path: uri.path().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap(),
    });
    let none = || refused(418, &[], "no answer is left");
    Ok(inner.answers.pop_front().unwrap_or_else(none).into_response())
}

pub fn http(retry_budget: Duration) -> Http {
    let config = HttpConfig {
        proxy: None,
        ca_file: None,
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        retry_budget,
    };
    Http::new(&config, CancellationToken::new()).unwrap()
}

pub fn question(text: &str) -> Request {
    Request {
        system: "You mend code.".to_owned(),
        messages: vec![Message::user(text)],
        cache: true,
        max_output_tokens: 500,
    }
}

pub async fn ask(model: &Model) -> Result<Reply, ModelError> {
    model.complete(&question("Mend it."), &CancellationToken::new()).await
}
