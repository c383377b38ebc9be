//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Serves Jira Cloud, GitHub with git over HTTP, and three model APIs on one address, in memory.
///
/// Prints the settings that let jira-agent use it as `export NAME=VALUE` lines, then serves until it is interrupted. Ends with 1 when a
/// request came that no service knows or that the real service would refuse as malformed; those are listed on stderr.
#[derive(Debug, Parser)]
#[command(name = "jira-agent-simulator", version)]
pub struct Cli {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The tickets, repositories, scripted model replies and faults to start with, in TOML.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Also write every request to this file, one JSON document per line.
    #[arg(long, value_name = "FILE")]
    pub journal_file: Option<PathBuf>,
    /// The address that clients reach it by, when it is not the one it listens on.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
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
