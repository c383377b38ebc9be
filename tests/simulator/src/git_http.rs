//! Git's smart HTTP protocol: each request runs `git http-backend` as a CGI program, streamed both ways.
//!
//! See <https://git-scm.com/docs/git-http-backend> and <https://git-scm.com/docs/http-protocol>.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

/// Longest silence of git before an exchange is given up.
const SILENCE: Duration = Duration::from_secs(120);
/// Longest that an answer stays stalled when nobody releases it.
const LONGEST_STALL: Duration = Duration::from_secs(600);
/// Largest request body, in bytes.
const LARGEST_BODY: u64 = 1 << 30;
/// Largest head of a CGI answer, in bytes.
const LARGEST_HEAD: u64 = 64 * 1024;
const CHUNK: usize = 32 * 1024;

/// The two halves of git over HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GitService {
    /// Clone and fetch.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl GitService {
    /// Reads the name in addresses: `git-upload-pack` or `git-receive-pack`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }
}

/// Holds answers back. They go on when it is released or dropped.
#[derive(Debug)]
pub struct Stall {
    released: watch::Sender<bool>,
    stalled: watch::Receiver<u64>,
}

impl Stall {
    /// Lets the answers go on, those that hang and those to come.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// Waits until an answer hangs. Bound it with a time-out.
    pub async fn reached(&self) {
        // An error means that the rule is gone, and with it every answer that could still hang.
        self.stalled.clone().wait_for(|count| *count > 0).await.ok();
    }

    /// How many answers have hung so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.stalled.borrow()
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.release();
    }
}

/// What shall go wrong with answers, by repository.
#[derive(Default)]
pub(crate) struct Disturbances {
    stalls: Vec<StallRule>,
    breaks: Vec<BreakRule>,
}

struct StallRule {
    slug: String,
    service: GitService,
    gate: Gate,
}

#[derive(Clone)]
struct Gate {
    after_bytes: u64,
    released: watch::Receiver<bool>,
    stalled: watch::Sender<u64>,
}

#[derive(Clone)]
struct BreakRule {
    slug: String,
    service: GitService,
    bytes: u64,
    /// Holds the one permission to break.
    pending: watch::Sender<bool>,
}

impl Disturbances {
    pub fn stall(&mut self, slug: &str, service: GitService, after_bytes: u64) -> Stall {
        let (released_sender, released) = watch::channel(false);
        let (stalled_sender, stalled) = watch::channel(0);
        let gate = Gate { after_bytes, released, stalled: stalled_sender };
        self.stalls.push(StallRule { slug: slug.to_lowercase(), service, gate });
        Stall { released: released_sender, stalled }
    }

    pub fn break_after(&mut self, slug: &str, service: GitService, bytes: u64) {
        let pending = watch::Sender::new(true);
        self.breaks.push(BreakRule { slug: slug.to_lowercase(), service, bytes, pending });
    }

    /// What shall go wrong with the next answer of a service.
    pub fn of(&mut self, slug: &str, service: GitService) -> Disturbance {
        self.stalls.retain(|rule| !*rule.gate.released.borrow());
        self.breaks.retain(|rule| *rule.pending.borrow());
        let slug = slug.to_lowercase();
        let stall = self.stalls.iter().find(|rule| rule.slug == slug && rule.service == service);
        let cut = self.breaks.iter().find(|rule| rule.slug == slug && rule.service == service);
        Disturbance { stall: stall.map(|rule| rule.gate.clone()), cut: cut.cloned() }
    }
}

/// What shall go wrong with one answer.
#[derive(Default)]
pub(crate) struct Disturbance {
    stall: Option<Gate>,
    cut: Option<BreakRule>,
}

/// One request to `git http-backend`.
pub(crate) struct Exchange {
    /// The bare repository.
    pub repository: PathBuf,
    /// What follows the repository in the address: `info/refs`, `git-upload-pack` or `git-receive-pack`.
    pub action: &'static str,
    /// Who is allowed to push; without it git refuses a push.
    pub pusher: Option<String>,
    /// Variables for git and its hooks; nothing else is inherited.
    pub environment: Vec<(&'static str, OsString)>,
    /// What shall go wrong.
    pub disturbance: Disturbance,
}

impl Exchange {
    /// Runs the program and gives its answer, whose body is still to come.
    pub async fn serve(self, request: Request<Body>) -> Response<Body> {
        match self.start(request).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!("git http-backend did not answer: {error:#}");
                let mut response =
                    Response::new(Body::from(format!("git http-backend did not answer: {error:#}\n")));
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    async fn start(self, request: Request<Body>) -> Result<Response<Body>> {
        let mut child = self.command(&request).spawn().context("git cannot be started; is it on PATH?")?;
        let stdin = child.stdin.take().context("no standard input")?;
        let mut stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        if let Some(mut stderr) = child.stderr.take() {
            tokio::spawn(async move {
                let mut text = String::new();
                if (&mut stderr).take(LARGEST_HEAD).read_to_string(&mut text).await.is_ok()
                    && !text.is_empty()
                {
                    tracing::debug!("git http-backend says: {}", text.trim());
                }
                tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await.ok();
            });
        }
        tokio::spawn(send_body(request.into_body(), stdin));
        let (status, headers) =
            timeout(SILENCE, read_head(&mut stdout)).await.context("no answer in time")??;
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(Answer { child, stdout, sender, sent: 0, disturbance: self.disturbance }.run());
        let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn command(&self, request: &Request<Body>) -> Command {
        let mut command = Command::new("git");
        command
            .arg("http-backend")
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("GIT_PROJECT_ROOT", &self.repository)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("PATH_INFO", format!("/{}", self.action))
            .env("REQUEST_METHOD", request.method().as_str())
            .env("QUERY_STRING", request.uri().query().unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(login) = &self.pusher {
            command.env("REMOTE_USER", login);
        }
        for (header, variables) in [
            ("content-type", ["CONTENT_TYPE"].as_slice()),
            ("content-length", &["CONTENT_LENGTH"]),
            ("content-encoding", &["HTTP_CONTENT_ENCODING"]),
            ("git-protocol", &["HTTP_GIT_PROTOCOL", "GIT_PROTOCOL"]),
        ] {
            if let Some(value) = request.headers().get(header).and_then(|value| value.to_str().ok()) {
                command.envs(variables.iter().map(|variable| (variable, value)));
            }
        }
        command
    }
}

/// Hands the request's body to git. Git that wants no more of it is not an error.
async fn send_body(body: Body, mut stdin: ChildStdin) {
    let mut stream = body.into_data_stream();
    let mut taken = 0;
    while let Ok(Some(Ok(chunk))) = timeout(SILENCE, stream.next()).await {
        taken += chunk.len() as u64;
        if taken > LARGEST_BODY || stdin.write_all(&chunk).await.is_err() {
            return;
        }
    }
}

/// Reads the head of a CGI answer, see <https://www.rfc-editor.org/rfc/rfc3875#section-6>.
async fn read_head(stdout: &mut BufReader<ChildStdout>) -> Result<(StatusCode, HeaderMap)> {
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    let mut left = LARGEST_HEAD;
    loop {
        let mut line = String::new();
        let read = (&mut *stdout).take(left).read_line(&mut line).await?;
        ensure!(read > 0, "the answer ended, or grew too long, within its head");
        left -= read as u64;
        let line = line.trim_end();
        if line.is_empty() {
            return Ok((status, headers));
        }
        let Some((name, value)) = line.split_once(':') else { bail!("the line {line:?} is no header") };
        match name.eq_ignore_ascii_case("status") {
            true => status = value.trim().split(' ').next().unwrap_or_default().parse()?,
            false => {
                headers.append(HeaderName::try_from(name)?, HeaderValue::from_str(value.trim())?);
            }
        }
    }
}

/// The body of an answer on its way.
struct Answer {
    /// Ends with this value.
    child: Child,
    stdout: BufReader<ChildStdout>,
    sender: mpsc::Sender<io::Result<Bytes>>,
    sent: u64,
    disturbance: Disturbance,
}

impl Answer {
    async fn run(mut self) {
        let mut buffer = vec![0; CHUNK];
        loop {
            let read = match timeout(SILENCE, self.stdout.read(&mut buffer)).await {
                Ok(Ok(0)) => break,
                Ok(Ok(read)) => read,
                Ok(Err(error)) => return self.fail(error).await,
                Err(_) => return self.fail(io::ErrorKind::TimedOut.into()).await,
            };
            if !self.send(&buffer[..read]).await {
                return;
            }
        }
        timeout(SILENCE, self.child.wait()).await.ok();
    }

    /// Sends a piece of the body, disturbed as planned; false when the answer is over.
    async fn send(&mut self, mut piece: &[u8]) -> bool {
        if let Some(gate) = self.disturbance.stall.clone()
            && self.sent + piece.len() as u64 > gate.after_bytes
        {
            let (before, after) = split(piece, gate.after_bytes.saturating_sub(self.sent));
            if !self.forward(before).await || !self.wait(gate).await {
                return false;
            }
            self.disturbance.stall = None;
            piece = after;
        }
        if let Some(rule) = self.disturbance.cut.take_if(|rule| self.sent + piece.len() as u64 > rule.bytes)
            && rule.pending.send_if_modified(std::mem::take)
        {
            let (before, _) = split(piece, rule.bytes.saturating_sub(self.sent));
            if self.forward(before).await {
                // Git must come to its end first, or a push might be cut short instead of done.
                timeout(SILENCE, tokio::io::copy(&mut self.stdout, &mut tokio::io::sink())).await.ok();
                self.fail(io::ErrorKind::ConnectionReset.into()).await;
            }
            return false;
        }
        self.forward(piece).await
    }

    async fn forward(&mut self, piece: &[u8]) -> bool {
        self.sent += piece.len() as u64;
        piece.is_empty() || self.sender.send(Ok(Bytes::copy_from_slice(piece))).await.is_ok()
    }

    /// Hangs until released; false when the client has gone.
    async fn wait(&self, mut gate: Gate) -> bool {
        gate.stalled.send_modify(|count| *count += 1);
        // Cancel-safe: both branches only watch.
        tokio::select! {
            // An error means that the handle is gone, which releases too.
            _ = timeout(LONGEST_STALL, gate.released.wait_for(|released| *released)) => true,
            () = self.sender.closed() => false,
        }
    }

    /// Ends the answer in a way the client sees as a broken connection.
    async fn fail(&mut self, error: io::Error) {
        self.sender.send(Err(error)).await.ok();
    }
}

fn split(piece: &[u8], at: u64) -> (&[u8], &[u8]) {
    piece.split_at(usize::try_from(at).unwrap_or(usize::MAX).min(piece.len()))
}
