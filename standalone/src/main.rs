//! `jira-agent`: the one-machine product.

mod cli;
mod demo;
mod run;
mod settings;
mod up;

use std::process::ExitCode;

use clap::Parser as _;
use jira_agent::output;
use jira_agent::program::status_of;
use jira_agent_worker::git::transfer_main;

use cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        // A transfer blocks, so it has no runtime; it knows no settings but those in its request.
        Command::Transfer => return transfer_main(),
        Command::Demo(args) => demo::main(&args),
        Command::Up(args) => up::main(&args),
        Command::Run(args) => run::main(args),
    };
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            output::note(&format!("jira-agent: {error:#}"));
            status_of(&error).into()
        }
    }
}
