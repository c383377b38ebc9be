//! Through the network, with an HTTP client and with git itself, as the product does it.

mod comments;
mod description;
mod git_access;
mod git_disturbed;
mod git_push;
mod limits;
mod pulls;
mod repositories;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{GitHub, IssueSeed, Permission};
use crate::problems::Problems;

const SLUG: &str = "acme/shop";
/// The token of `ai-bot`, who may write to [`SLUG`].
const TOKEN: &str = "ghp_0123456789abcdefghijABCDEFGHIJ012345";
/// For what must happen soon.
const SOON: Duration = Duration::from_secs(20);

/// A simulated GitHub on the network with one repository, one issue (number 1) and one account that may write.
struct World {
    github: GitHub,
    problems: Problems,
    host: String,
    client: reqwest::Client,
    folder: TempDir,
}

struct Answer {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The answer's body, if it has this status.
    fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

impl World {
    async fn start() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let problems = Problems::default();
        let github = GitHub::new(problems.clone());
        github
            .add_repository_with(SLUG, &[("README.md", b"# Shop\n"), ("src/cart.rs", b"fn total() {}\n")])
            .unwrap();
        github.add_token(TOKEN, "ai-bot");
        github.set_permission(SLUG, "ai-bot", Permission::Write).unwrap();
        github.add_issue(SLUG, IssueSeed::new("The total is wrong")).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = github.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let policy = reqwest::redirect::Policy::none();
        let builder = reqwest::Client::builder().redirect(policy).user_agent("jira-agent").no_proxy();
        let client = builder.build().unwrap();
        Self { github, problems, host, client, folder: tempfile::tempdir().unwrap() }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}/api/v3{path}", self.host)).timeout(SOON)
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }

    /// A request below the repository, as `ai-bot`.
    async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(method, &format!("/repos/{SLUG}{path}")).bearer_auth(TOKEN);
        self.answer(if body.is_null() { request } else { request.json(&body) }).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, body).await
    }

    async fn patch(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PATCH, path, body).await
    }

    /// A branch with one commit and a pull request from it to `main`; gives the number.
    async fn open_pull(&self, branch: &str) -> u64 {
        self.github.push_files(SLUG, branch, "Change", &[("src/new.rs", b"one\ntwo\n")]).unwrap();
        let new = json!({"title": "Change", "head": branch, "base": "main", "body": "Why", "draft": true});
        self.post("/pulls", new).await.expect(201)["number"].as_u64().unwrap()
    }

    /// The address of the repository with credentials.
    fn remote(&self, token: &str) -> String {
        format!("http://x-access-token:{token}@{}/{SLUG}.git", self.host)
    }

    fn folder(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// A clone of the repository with `TOKEN`, in a new folder.
    async fn clone(&self, name: &str) -> std::path::PathBuf {
        let to = self.folder(name);
        let output =
            self.git(self.folder.path(), &["clone", "-q", "--depth", "1", &self.remote(TOKEN), name]).await;
        assert!(output.status.success(), "{output:?}");
        to
    }

    /// Commits a file in a clone.
    async fn commit(&self, clone: &Path, path: &str, content: &str) {
        let file = clone.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        for arguments in [["add", "--all"].as_slice(), &["commit", "-q", "-m", "Change"]] {
            assert!(self.git(clone, arguments).await.status.success());
        }
    }

    async fn git(&self, directory: &Path, arguments: &[&str]) -> Output {
        tokio::task::spawn_blocking(self.git_command(directory, arguments)).await.unwrap()
    }

    fn git_command(&self, directory: &Path, arguments: &[&str]) -> impl FnOnce() -> Output + Send + 'static {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=Bot", "-c", "user.email=bot@example.com"])
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .envs(super::git::environment(self.folder.path()))
            .env("GIT_TRACE_CURL", self.folder("trace"))
            .env("GIT_HTTP_LOW_SPEED_LIMIT", "1")
            .env("GIT_HTTP_LOW_SPEED_TIME", "60");
        move || command.output().unwrap()
    }
}

impl Drop for World {
    /// What a test did not take is what it did not expect.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.problems.take(), Vec::<String>::new());
        }
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
