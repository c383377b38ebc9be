//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::server::SimulatorOptions;

/// Serves Jira Cloud, GitHub with git over HTTP, and three model APIs on one address, in memory.
///
/// Prints the settings that let jira-agent use it as `export NAME=VALUE` lines, then serves until SIGTERM or Ctrl-C.
/// GET /_state and GET /_journal show what it holds and what it was asked.
#[derive(Debug, Parser)]
#[command(name = "jira-agent-simulator", version, after_help = AFTER)]
pub struct Cli {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The tickets, repositories, scripted model replies and faults to start with, in TOML [default: nothing]
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Also write every request to this file, one JSON document per line
    #[arg(long, value_name = "FILE")]
    pub journal_file: Option<PathBuf>,
    /// The address that clients reach it by [default: the one it listens on]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

const AFTER: &str = "\
Example:
  jira-agent-simulator --scenario tests/simulator/scenario.example.toml >settings &
  sleep 1; . ./settings; jira-agent-worker ticket PROJ-1 --no-lease

Exit codes: 0 stopped; 1 a request came that no service knows or that the real service would refuse as malformed (they \
are listed on stderr), or it cannot listen; 2 usage; 65 the scenario is not right.";

impl Cli {
    /// How to start the simulator.
    #[must_use]
    pub fn options(&self) -> SimulatorOptions {
        SimulatorOptions {
            listen: self.listen,
            public_url: self.public_url.clone(),
            journal_file: self.journal_file.clone(),
            keep_authorization: false,
        }
    }

    /// The folder that the scenario's own paths are seen from.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        self.scenario.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
