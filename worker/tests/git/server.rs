//! A remote for tests: bare repositories behind `git http-backend`, with a token, a record of what was asked, and
//! faults on request.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use futures_util::{StreamExt, stream};
use jira_agent::domain::{CommitId, RepoUrl};
use jira_agent::secret::Secret;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

pub const TOKEN: &str = "ghs_a-token.for_tests";
/// `x-access-token:<TOKEN>` in base64.
const AUTHORIZATION: &str = "Basic eC1hY2Nlc3MtdG9rZW46Z2hzX2EtdG9rZW4uZm9yX3Rlc3Rz";

/// What the server does instead of serving.
#[derive(Clone, Default)]
pub enum Fault {
    #[default]
    None,
    /// Takes the request and never answers.
    Silence,
    /// Sends the head of an answer and this many bytes of its body, then nothing.
    Stall(usize),
    /// Sends this many bytes of a body and drops the connection.
    Cut(usize),
    /// Answers a status with a header and a body.
    Status(u16, &'static str, String),
}

/// One request as the server saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub uri: String,
    pub authorization: Option<String>,
    pub agent: String,
    pub body_bytes: usize,
}

#[derive(Default)]
struct Shared {
    seen: Vec<Seen>,
    /// The fault for requests whose path and query contain the text.
    fault: Option<(String, Fault)>,
}

pub struct Server {
    root: TempDir,
    address: String,
    shared: Arc<Mutex<Shared>>,
}

impl Server {
    pub async fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        let shared = Arc::new(Mutex::new(Shared::default()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = (root.path().to_owned(), Arc::clone(&shared));
        let router = Router::new().fallback(serve).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { root, address, shared }
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn url(&self, slug: &str) -> RepoUrl {
        format!("{}/{slug}", self.origin()).parse().unwrap()
    }

    pub fn token(&self) -> Option<Secret> {
        Some(Secret::new(TOKEN))
    }

    /// From now on requests whose path and query contain `text` meet the fault.
    pub fn fault(&self, text: &str, fault: Fault) {
        self.shared.lock().unwrap().fault = Some((text.to_owned(), fault));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.lock().unwrap().seen.clone()
    }

    /// Makes an empty repository.
    pub fn repository(&self, slug: &str) -> Remote {
        let bare = self.root.path().join(format!("{slug}.git"));
        fs::create_dir_all(&bare).unwrap();
        let remote = Remote { bare };
        remote.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]);
        remote.git(&["config", "http.receivepack", "true"]);
        remote
    }
}

/// A bare repository on the server's disk.
pub struct Remote {
    pub bare: PathBuf,
}

impl Remote {
    /// Runs git here and gives its output.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.bare, arguments)
    }

    /// Commits files on a branch, from `from` if given. A name `!path` makes the file executable, `@path` a symlink.
    pub fn commit(
        &self,
        branch: &str,
        from: Option<&str>,
        message: &str,
        files: &[(&str, &[u8])],
    ) -> CommitId {
        let work = tempfile::tempdir().unwrap();
        git(work.path(), &["clone", "--quiet", self.bare.to_str().unwrap(), "."]);
        match from {
            Some(from) => git(work.path(), &["checkout", "--quiet", "-B", branch, &format!("origin/{from}")]),
            None => git(work.path(), &["checkout", "--quiet", "--orphan", branch]),
        };
        for (name, content) in files {
            let path = work.path().join(name.trim_start_matches(['!', '@']));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if name.starts_with('@') {
                std::os::unix::fs::symlink(std::str::from_utf8(content).unwrap(), &path).unwrap();
            } else {
                fs::write(&path, content).unwrap();
            }
            if name.starts_with('!') {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        git(work.path(), &["add", "--all"]);
        git(work.path(), &["commit", "--quiet", "--allow-empty", "-m", message]);
        git(work.path(), &["push", "--quiet", "origin", branch]);
        self.head(branch).unwrap()
    }

    pub fn head(&self, branch: &str) -> Option<CommitId> {
        let found = self.git(&["for-each-ref", "--format=%(objectname)", &format!("refs/heads/{branch}")]);
        found.trim().parse().ok()
    }

    /// Installs a hook that is this shell script.
    pub fn hook(&self, name: &str, script: &str) {
        let path = self.bare.join("hooks").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Runs the git of this machine without its configuration.
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = std::process::Command::new("git")
        .args(["-c", "user.name=Tester", "-c", "user.email=tester@example.com", "-c", "core.autocrlf=false"])
        .args(["-c", "protocol.file.allow=always", "-c", "advice.detachedHead=false"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("these tests need git");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

type Served = (PathBuf, Arc<Mutex<Shared>>);

async fn serve(State((root, shared)): State<Served>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let text = |name: &str| {
        parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let uri = parts.uri.to_string();
    let authorization = Some(text("authorization")).filter(|value| !value.is_empty());
    let fault = {
        let mut shared = shared.lock().unwrap();
        shared.seen.push(Seen {
            method: parts.method.to_string(),
            uri: uri.clone(),
            authorization: authorization.clone(),
            agent: text("user-agent"),
            body_bytes: body.len(),
        });
        shared
            .fault
            .clone()
            .filter(|(part, _)| uri.contains(part))
            .map(|(_, fault)| fault)
            .unwrap_or_default()
    };
    match &fault {
        Fault::Silence => return std::future::pending().await,
        Fault::Status(status, header, body) => {
            let (name, value) = header.split_once(": ").unwrap_or(("x-nothing", "x"));
            let response = Response::builder().status(*status).header(name, value);
            return response.body(Body::from(body.clone())).unwrap();
        }
        _ => {}
    }
    if authorization.as_deref() != Some(AUTHORIZATION) {
        let response = Response::builder().status(StatusCode::UNAUTHORIZED);
        return response.body(Body::from("remote: Invalid username or token.\n")).unwrap();
    }
    let (head, content) = backend(&root, &parts, &text("content-type"), &body).await;
    let content = match fault {
        Fault::Stall(bytes) => {
            let start = stream::iter([Ok::<_, std::io::Error>(content.slice(..bytes))]);
            Body::from_stream(start.chain(stream::pending()))
        }
        Fault::Cut(bytes) => {
            let broken = std::io::Error::other("cut");
            Body::from_stream(stream::iter([Ok(content.slice(..bytes)), Err(broken)]))
        }
        _ => Body::from(content),
    };
    head.body(content).unwrap()
}

/// git's own CGI program: <https://git-scm.com/docs/git-http-backend>
async fn backend(
    root: &Path,
    parts: &axum::http::request::Parts,
    content_type: &str,
    body: &[u8],
) -> (axum::http::response::Builder, Bytes) {
    let mut child = Command::new("git")
        .args(["-c", "receive.denyNonFastForwards=false", "http-backend"])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REMOTE_USER", "tester")
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("CONTENT_TYPE", content_type)
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let body = body.to_vec();
    let writing = tokio::spawn(async move {
        let _ = input.write_all(&body).await;
    });
    let output = child.wait_with_output().await.unwrap().stdout;
    writing.await.unwrap();
    let end = output.windows(4).position(|window| window == b"\r\n\r\n").expect("CGI headers");
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value[..3].parse::<u16>().unwrap()),
            _ => response.header(name, value),
        };
    }
    (response, Bytes::from(output).slice(end + 4..))
}
