//! The worker's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == jira_agent_worker::git::TRANSFER_COMMAND)
    {
        return jira_agent_worker::git::transfer_main();
    }
    ExitCode::SUCCESS
}
