//! The listener: every request passes the journal and the faults, then goes to its service.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use futures_util::{StreamExt, stream};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::control;
use crate::fault::{Action, Answer, Faults};
use crate::github::GitHub;
use crate::jira::Jira;
use crate::journal::Journal;
use crate::models::Models;
use crate::problems::Problems;
use crate::service::Service;

/// The largest request body that is taken.
const BODY_LIMIT: usize = 512 * 1024 * 1024;

/// How to start a [`Simulator`].
#[derive(Debug, Clone)]
pub struct SimulatorOptions {
    /// The address to listen on; port 0 takes a free one. Default `127.0.0.1:0`.
    pub listen: SocketAddr,
    /// The address that clients reach it by, for the links in answers; unset: the listener's own.
    pub public_url: Option<String>,
    /// Keep `Authorization` and the like in the journal as they came. Default: a fingerprint.
    pub keep_authorization: bool,
    /// Also write the journal to this file, one JSON document per line.
    pub journal_file: Option<PathBuf>,
}

impl Default for SimulatorOptions {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { listen, public_url: None, keep_authorization: false, journal_file: None }
    }
}

/// All services on one listener. Stops when dropped.
pub struct Simulator {
    url: String,
    services: Services,
    _stop: DropGuard,
}

/// The services and what they share. Clones are the same services.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) jira: Jira,
    pub(crate) github: GitHub,
    pub(crate) models: Models,
    pub(crate) faults: Faults,
    pub(crate) journal: Journal,
    pub(crate) problems: Problems,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Simulator").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Starts to serve on the calling runtime. Nothing is in the services but Jira's own account.
    ///
    /// # Errors
    /// When the address cannot be listened on or the journal file cannot be written.
    pub async fn start(options: SimulatorOptions) -> anyhow::Result<Self> {
        let journal = Journal::create(options.journal_file.as_deref(), options.keep_authorization)?;
        let listener = TcpListener::bind(options.listen).await;
        let listener = listener.with_context(|| format!("cannot listen on {}", options.listen))?;
        let own_url = format!("http://{}", listener.local_addr()?);
        let url = options.public_url.map_or(own_url, |url| url.trim_end_matches('/').to_owned());
        let problems = Problems::default();
        let services = Services {
            jira: Jira::new(problems.clone(), &url),
            github: GitHub::new(problems.clone()),
            models: Models::new(problems.clone()),
            faults: Faults::default(),
            journal,
            problems,
        };
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve(listener, Front::new(&services))));
        Ok(Self { url, services, _stop: stop.drop_guard() })
    }

    /// The address of everything, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Jira's state.
    #[must_use]
    pub fn jira(&self) -> &Jira {
        &self.services.jira
    }

    /// GitHub's state.
    #[must_use]
    pub fn github(&self) -> &GitHub {
        &self.services.github
    }

    /// The scripted models.
    #[must_use]
    pub fn models(&self) -> &Models {
        &self.services.models
    }

    /// What goes wrong.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.services.faults
    }

    /// Every request so far.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.services.journal
    }

    /// What no test expected.
    #[must_use]
    pub fn problems(&self) -> &Problems {
        &self.services.problems
    }

    /// Stops.
    ///
    /// # Errors
    /// The problems, oldest first, when there are any.
    pub fn finish(self) -> Result<(), Vec<String>> {
        let problems = self.services.problems.take();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Panics with all problems when there are any: for the end of a test.
    ///
    /// # Panics
    /// When a request came that no test expected.
    pub fn assert_no_problems(&self) {
        let problems = self.services.problems.take();
        assert!(problems.is_empty(), "the simulator got what it did not expect:\n{}", problems.join("\n"));
    }
}

/// A connection that is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer, as a fault wants it")]
struct Closed;

/// The routers behind journal and faults.
struct Front {
    journal: Journal,
    faults: Faults,
    jira: Router,
    github: Router,
    models: Router,
    control: Router,
}

impl Front {
    fn new(services: &Services) -> Arc<Self> {
        Arc::new(Self {
            journal: services.journal.clone(),
            faults: services.faults.clone(),
            jira: services.jira.router(),
            github: services.github.router(),
            models: services.models.router(),
            control: control::router(services.clone()),
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Closed> {
        let service = Service::of_path(request.uri().path());
        let (head, body) = request.into_parts();
        let Ok(body) = to_bytes(Body::new(body), BODY_LIMIT).await else {
            return Err(Closed);
        };
        if service == Service::Control {
            return Ok(dispatch(&self.control, Request::from_parts(head, body.into())).await);
        }
        let open = self.journal.begin(service, &head, &body);
        let path = head.uri.path_and_query().map_or("/", |it| it.as_str());
        let action = self.faults.take(service, head.method.as_str(), path);
        if let Some(action) = &action {
            open.fault(format!("{action:?}"));
        }
        let request = Request::from_parts(head, Body::from(body));
        let response = self.act(service, action, request).await?;
        open.answered(response.status().as_u16());
        Ok(response)
    }

    async fn act(
        &self,
        service: Service,
        action: Option<Action>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Closed> {
        let router = match service {
            Service::Jira => &self.jira,
            Service::GitHub => &self.github,
            Service::Anthropic | Service::OpenAi | Service::Ollama => &self.models,
            Service::Control => &self.control,
        };
        match action {
            None => Ok(dispatch(router, request).await),
            Some(Action::Status(answer)) => Ok(given(answer)),
            Some(Action::StatusAfter(answer)) => {
                carry_out(router, request).await;
                Ok(given(answer))
            }
            Some(Action::DropBefore) => Err(Closed),
            Some(Action::DropAfter) => {
                carry_out(router, request).await;
                Err(Closed)
            }
            Some(Action::Hang) => std::future::pending().await,
            Some(Action::HangAfter) => {
                carry_out(router, request).await;
                std::future::pending().await
            }
            Some(Action::Delay(milliseconds)) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                Ok(dispatch(router, request).await)
            }
            Some(Action::TruncateBody(bytes)) => Ok(truncated(dispatch(router, request).await, bytes)),
        }
    }
}

async fn serve(listener: TcpListener, front: Arc<Front>) {
    // Dropped with this future, the set ends every connection.
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, front.clone()));
            }
            Err(problem) => {
                tracing::warn!(error = %problem, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, front: Arc<Front>) {
    let answer = service_fn(move |request| {
        let front = front.clone();
        async move { front.answer(request).await }
    });
    let served =
        http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
    if let Err(problem) = served.await {
        tracing::debug!(error = %problem, "a connection ended");
    }
}

/// Lets `router` answer.
pub(crate) async fn dispatch(router: &Router, request: Request<Body>) -> Response<Body> {
    let Ok(response) = TowerToHyperService::new(router.clone()).call(request).await;
    response
}

async fn carry_out(router: &Router, request: Request<Body>) {
    let response = dispatch(router, request).await;
    // A streamed answer may still do its work while it is read.
    let mut body = response.into_body().into_data_stream();
    while let Some(Ok(_)) = body.next().await {}
}

fn given(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in answer.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
            headers.insert(name, value);
        }
    }
    response
}

fn truncated(response: Response<Body>, limit: usize) -> Response<Body> {
    let (head, body) = response.into_parts();
    let start = (body.into_data_stream(), limit, false);
    let cut = stream::unfold(start, |(mut body, left, over)| async move {
        if over {
            return None;
        }
        if left == 0 {
            // What came before must be on its way first, or it would be lost with the connection.
            tokio::task::yield_now().await;
            return Some((Err(std::io::Error::other("cut by a fault")), (body, 0, true)));
        }
        let chunk: Result<Bytes, axum::Error> = body.next().await?;
        let chunk =
            chunk.map_err(std::io::Error::other).map(|mut chunk| chunk.split_to(chunk.len().min(left)));
        let left = left - chunk.as_ref().map_or(0, Bytes::len);
        Some((chunk, (body, left, false)))
    });
    Response::from_parts(head, Body::from_stream(cut))
}
