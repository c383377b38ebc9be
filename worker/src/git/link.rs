//! The child's HTTP: one client pinned to one repository.
//! The smart protocol over HTTP: <https://git-scm.com/docs/http-protocol>

use std::io::{self, Read, Seek};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jira_agent::domain::{CommitId, RepoUrl};
use jira_agent::secret::Secret;
use reqwest::StatusCode;
use reqwest::blocking::{Body, Client, RequestBuilder, Response};
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER, USER_AGENT};
use tempfile::SpooledTempFile;
use url::Url;

use super::GitError;
use super::activity::{Activity, Counted};
use super::client::client;
use super::protocol::{Network, clean};

/// GitHub serves git only to a user agent that starts with `git/`.
const AGENT: &str = "git/jira-agent";
/// What GitHub takes as the user of any token.
const TOKEN_USER: &str = "x-access-token";
/// A renamed repository needs one hop.
const MAX_REDIRECTS: usize = 3;
/// A request body up to this many bytes stays in memory; a larger one is spooled to the workspace.
const SPOOL_BYTES: usize = 1 << 20;
/// The bytes of an error's body that are looked at.
const ERROR_BODY_BYTES: u64 = 2_000;

/// The service asked of the remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GitService {
    UploadPack,
    ReceivePack,
}

impl GitService {
    fn name(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// The way to the one repository of this transfer.
pub(super) struct Link {
    client: Client,
    url: RepoUrl,
    /// Where the repository is now: the redirected address after a redirect.
    base: Mutex<Url>,
    token: Option<Secret>,
    spool_dir: PathBuf,
    /// Commits that the remote has, told to libgit2 in a push.
    pub(super) known: Vec<CommitId>,
    failure: Mutex<Option<GitError>>,
    activity: Activity,
    received: AtomicU64,
}

impl Link {
    pub(super) fn new(
        url: RepoUrl,
        token: Option<Secret>,
        network: &Network,
        spool_dir: PathBuf,
        known: Vec<CommitId>,
    ) -> Result<Self, GitError> {
        let base = Url::parse(&url.clone_url())
            .map_err(|error| other(format!("`{url}` is not an address: {error}")))?;
        let client = client(network)?;
        Ok(Self {
            client,
            url,
            base: Mutex::new(base),
            token,
            spool_dir,
            known,
            failure: Mutex::new(None),
            activity: Activity::new(),
            received: AtomicU64::new(0),
        })
    }

    pub(super) fn url(&self) -> &RepoUrl {
        &self.url
    }

    /// Bytes of bodies received so far.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// How long the remote has been silent while it is waited for.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.activity.silence()
    }

    /// Keeps the first failure: libgit2 knows only that there was one.
    pub(super) fn fail(&self, error: GitError) {
        lock(&self.failure).get_or_insert(error);
    }

    pub(super) fn take_failure(&self) -> Option<GitError> {
        lock(&self.failure).take()
    }

    /// A place for the body of one request.
    pub(super) fn spool(&self) -> SpooledTempFile {
        tempfile::spooled_tempfile_in(SPOOL_BYTES, &self.spool_dir)
    }

    /// Asks for the references. Follows redirects of the same origin, and stays where they lead.
    pub(super) fn advertisement(self: &Arc<Self>, service: GitService) -> Result<Answer, GitError> {
        let tail = "/info/refs";
        let mut base = lock(&self.base).clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut address = below(&base, tail);
            address.set_query(Some(&format!("service={}", service.name())));
            let response = self.send(self.client.get(address.clone()))?;
            if response.status().is_redirection() {
                base = self.redirected(&address, response.headers(), tail)?;
                continue;
            }
            let answer = self.answer(response, &format!("application/x-{}-advertisement", service.name()))?;
            *lock(&self.base) = base;
            return Ok(answer);
        }
        Err(other(format!("{} redirects more than {MAX_REDIRECTS} times", self.url)))
    }

    /// Sends a request's body and gives its answer.
    pub(super) fn post(
        self: &Arc<Self>,
        service: GitService,
        mut body: SpooledTempFile,
    ) -> Result<Answer, GitError> {
        let spooled = |error: io::Error| other(format!("cannot read the spooled request: {error}"));
        let length = body.stream_position().map_err(spooled)?;
        body.rewind().map_err(spooled)?;
        let body = Body::sized(Counted::new(body, self.activity.clone()), length);
        let base = lock(&self.base).clone();
        let request = self
            .client
            .post(below(&base, &format!("/{}", service.name())))
            .header(CONTENT_TYPE, format!("application/x-{}-request", service.name()))
            .header("Accept", format!("application/x-{}-result", service.name()))
            .body(body);
        let response = self.send(request)?;
        self.answer(response, &format!("application/x-{}-result", service.name()))
    }

    /// The credential goes with every request at once: every address here is of the repository's own origin.
    fn send(&self, request: RequestBuilder) -> Result<Response, GitError> {
        let request = match &self.token {
            Some(token) => request.basic_auth(TOKEN_USER, Some(token.expose())),
            None => request,
        };
        let _waiting = self.activity.wait();
        request.header(USER_AGENT, AGENT).send().map_err(|error| self.unreachable(&error))
    }

    fn redirected(&self, from: &Url, headers: &HeaderMap, tail: &str) -> Result<Url, GitError> {
        let target = headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let target = target.and_then(|location| from.join(location).ok());
        let target = target.ok_or_else(|| other(format!("{} redirects to nowhere", self.url)))?;
        if target.origin() != self.url.origin().origin() {
            let place = target.origin().ascii_serialization();
            return Err(other(format!(
                "{} redirects to {place}, which may not get the token; configure the new address",
                self.url
            )));
        }
        let path = target.path().strip_suffix(tail).map(str::to_owned);
        let path =
            path.ok_or_else(|| other(format!("{} redirects to something that is not git", self.url)))?;
        let mut base = target;
        base.set_path(&path);
        base.set_query(None);
        base.set_fragment(None);
        Ok(base)
    }

    fn answer(self: &Arc<Self>, response: Response, content_type: &str) -> Result<Answer, GitError> {
        if !response.status().is_success() {
            return Err(self.refused(response));
        }
        let found = header(response.headers(), CONTENT_TYPE.as_str());
        if found.split(';').next().is_none_or(|found| found.trim() != content_type) {
            return Err(other(format!(
                "{} answers `{}` where git's `{content_type}` was expected; check that it is a repository's address",
                self.url,
                clean(found.as_bytes(), 100)
            )));
        }
        Ok(Answer { response, link: Arc::clone(self) })
    }

    fn refused(&self, response: Response) -> GitError {
        let status = response.status();
        let host = self.url.authority();
        let headers = response.headers();
        let retry_after = retry_after(headers, SystemTime::now());
        let exhausted = header(headers, "x-ratelimit-remaining") == "0";
        match status {
            StatusCode::TOO_MANY_REQUESTS => GitError::RateLimited { host, retry_after },
            StatusCode::FORBIDDEN if retry_after.is_some() || exhausted => {
                GitError::RateLimited { host, retry_after }
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                GitError::Unauthorized { host, status: status.as_u16(), detail: self.error_body(response) }
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => GitError::NotFound { url: self.url.to_string() },
            status if status.is_server_error() => GitError::ServerError { host, status: status.as_u16() },
            status => other(format!("{} answers HTTP {status}: {}", self.url, self.error_body(response))),
        }
    }

    fn error_body(&self, response: Response) -> String {
        let _waiting = self.activity.wait();
        let mut body = Vec::new();
        // Half a sentence is better than none, so a failure to read the rest is not told.
        let _ = response.take(ERROR_BODY_BYTES).read_to_end(&mut body);
        match clean(&body, 300) {
            text if text.is_empty() => "it does not say why".to_owned(),
            text => text,
        }
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> GitError {
        let mut detail = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            detail = format!("{detail}: {error}");
            cause = error.source();
        }
        GitError::Unreachable { host: self.url.authority(), detail: clean(detail.as_bytes(), 500) }
    }
}

/// The body of an answer, read as it comes; a broken connection is kept as the link's failure.
pub(super) struct Answer {
    response: Response,
    link: Arc<Link>,
}

impl Read for Answer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let _waiting = self.link.activity.wait();
        match self.response.read(buffer) {
            Ok(count) => {
                self.link.received.fetch_add(count as u64, Ordering::Relaxed);
                Ok(count)
            }
            Err(error) => {
                self.link.fail(self.link.unreachable(&error));
                Err(io::Error::from(error.kind()))
            }
        }
    }
}

/// The address of `tail` below the repository's.
fn below(base: &Url, tail: &str) -> Url {
    let mut address = base.clone();
    address.set_path(&format!("{}{tail}", base.path().trim_end_matches('/')));
    address
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// `Retry-After` as seconds or as a date: <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = header(headers, RETRY_AFTER.as_str());
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

pub(super) fn other(detail: String) -> GitError {
    GitError::Other { detail }
}

/// A panic elsewhere does not make a kept value wrong.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("17"), Some(Duration::from_secs(17)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(7)));
        assert_eq!(read("soon"), None);
    }
}
