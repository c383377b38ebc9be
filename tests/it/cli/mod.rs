//! The command line as users meet it: the real programs, their words, their exit codes.

mod dead_letters;
mod demo;
mod doctor;
mod enqueue;
mod help;
mod offline;
mod runs;
mod simulator;
mod standalone;
mod ticket;
mod topology;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use crate::broker::SOON;
use crate::world::binary;

/// How long a command may take that is expected to end by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command that has ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    /// The lines on standard output.
    fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }

    /// Standard output as one JSON document.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Expects this exit code.
    #[track_caller]
    fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Expects all of these on standard error.
    #[track_caller]
    fn words(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is missing in {self:?}");
        }
        self
    }
}

/// A program with nothing but `PATH` in its environment, in a directory where it finds nothing.
fn bare(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary(program));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args(arguments).current_dir("/proc").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command to its end.
async fn run(command: &mut Command) -> Said {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    output(child).await
}

/// Runs a command to its end with a text on its standard input.
async fn feed(command: &mut Command, input: &str) -> Said {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    output(child).await
}

/// What a started command says until its end.
async fn output(child: Child) -> Said {
    let output =
        tokio::time::timeout(PATIENCE, child.wait_with_output()).await.expect("the command ends").unwrap();
    Said {
        code: output.status.code().expect("it ends by itself"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Sends a signal, e.g. `INT`.
fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    let status = std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap();
    assert!(status.success());
}

/// An address on this machine where nothing listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// What is at an address.
async fn read(url: &str) -> String {
    jira_agent::tls::install_crypto_provider();
    let client = reqwest::Client::builder().timeout(SOON).build().unwrap();
    client.get(url).send().await.unwrap().text().await.unwrap()
}

/// A file of the repository.
fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
