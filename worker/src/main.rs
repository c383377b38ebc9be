//! `jira-agent-worker`.

use std::process::ExitCode;

use clap::Parser as _;
use jira_agent_worker::app;
use jira_agent_worker::cli::{Cli, Command};
use jira_agent_worker::git::transfer_main;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        // A transfer blocks, so it has no runtime; it knows no settings but those in its request.
        Command::Transfer => transfer_main(),
        _ => app::main(cli).into(),
    }
}
