//! `jira-agent-producer`.

use std::process::ExitCode;

use clap::Parser as _;
use jira_agent_producer::app;
use jira_agent_producer::cli::Cli;

fn main() -> ExitCode {
    app::main(Cli::parse()).into()
}
