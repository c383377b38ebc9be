//! `runs cancel`: a request on the ticket, which lasts, and a word to the workers that run now.

use jiff::Timestamp;
use jira_agent::config::{Needs, QueueConfig};
use jira_agent::domain::{CancelRequest, Order, TicketKey};
use jira_agent::exit::ExitStatus;
use jira_agent::github::GitHubError;
use jira_agent::jira::JiraError;
use jira_agent::output;
use jira_agent::program::BadInput;
use jira_agent::queue::{self, QueueError};
use jira_agent::redact::Redactor;
use jira_agent::tickets::Tickets;

use crate::cli::CancelArgs;
use crate::keys;

/// What the command needs: the accounts of the services that hold the tickets.
#[must_use]
pub fn needs(args: &CancelArgs) -> Needs {
    // What cannot be read is refused later, with a better word.
    let tickets = tickets(args).unwrap_or_default();
    let is_jira = |ticket: &TicketKey| matches!(ticket, TicketKey::Jira(_));
    Needs::Tickets { jira: tickets.iter().any(is_jira), github: !tickets.iter().all(is_jira) }
}

/// Runs the command. One ticket that fails does not keep the others from being asked.
///
/// # Errors
/// When a key cannot be read; nothing is asked then.
pub async fn cancel(
    args: &CancelArgs,
    config: &QueueConfig,
    on: &Tickets,
    redactor: &Redactor,
) -> anyhow::Result<ExitStatus> {
    let tickets = tickets(args)?;
    let queue = queue::connect(config, "jira-agent-producer runs cancel").await?;
    let mut status = ExitStatus::Done;
    for ticket in &tickets {
        let request = CancelRequest { by: args.by.clone(), at: Timestamp::now() };
        // The ticket first: it is what a task meets that no worker has yet.
        let written = on.request_cancel(ticket, &request).await;
        let CancelRequest { by, at } = request;
        let told = queue.order(&Order::Cancel { ticket: ticket.clone(), by, at }).await;
        let (line, why) = say(ticket, written.as_ref().err(), told.as_ref().err());
        match line {
            Some(line) => output::line(&line)?,
            None => output::note(&format!("{ticket} was not asked to stop")),
        }
        for why in why {
            output::note(&redactor.redact(&why));
        }
        let failed = written.err().map(|error| status_of(&error)).or(told.err().map(|error| (&error).into()));
        if let (Some(failed), ExitStatus::Done) = (failed, status) {
            status = failed;
        }
    }
    queue.close().await;
    Ok(status)
}

fn tickets(args: &CancelArgs) -> Result<Vec<TicketKey>, BadInput> {
    let mut bad = Vec::new();
    let repository = keys::repository(args.repo.as_deref(), &mut bad);
    let mut tickets = Vec::new();
    for input in &args.keys {
        match keys::ticket(input, repository.as_ref()) {
            Ok(ticket) if tickets.contains(&ticket) => {}
            Ok(ticket) => tickets.push(ticket),
            Err(why) => bad.push(why),
        }
    }
    if bad.is_empty() {
        return Ok(tickets);
    }
    Err(BadInput(format!("nothing was asked to stop:\n  {}", bad.join("\n  "))))
}

/// What was done, and why the rest was not, with what follows from it.
fn say(
    ticket: &TicketKey,
    unwritten: Option<&anyhow::Error>,
    untold: Option<&QueueError>,
) -> (Option<String>, Vec<String>) {
    let asked = |how: &str| Some(format!("asked to stop {ticket}: {how}"));
    let line = match (unwritten, untold) {
        (None, None) => asked("written on the ticket, told to running workers"),
        (None, Some(_)) => asked("written on the ticket only"),
        (Some(_), None) => asked("told to running workers only"),
        (Some(_), Some(_)) => None,
    };
    let unwritten = unwritten.map(|error| {
        format!("{ticket}: not written on the ticket, so tasks that wait will still run; then ask again: {error:#}")
    });
    let untold = untold.map(|error| {
        format!("{ticket}: running workers were not told, so a run that is under way may go on; ask again: {error}")
    });
    (line, unwritten.into_iter().chain(untold).collect())
}

/// Whether asking again may help.
fn status_of(error: &anyhow::Error) -> ExitStatus {
    let passes = error.chain().any(|cause| {
        cause.downcast_ref::<JiraError>().is_some_and(JiraError::is_transient)
            || cause.downcast_ref::<GitHubError>().is_some_and(GitHubError::is_transient)
    });
    if passes { ExitStatus::TryLater } else { ExitStatus::Failed }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command, RunsCommand};

    fn args(line: &[&str]) -> CancelArgs {
        let words = ["jira-agent-producer", "runs", "cancel"].iter().chain(line);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Runs(RunsCommand::Cancel(args)) => args,
            _ => unreachable!(),
        }
    }

    #[test]
    fn only_the_accounts_of_the_named_tickets_are_needed() {
        let of = |line: &[&str]| needs(&args(line));
        assert_eq!(of(&["PROJ-1"]), Needs::Tickets { jira: true, github: false });
        assert_eq!(
            of(&["1", "--repo", "https://github.com/acme/shop"]),
            Needs::Tickets { jira: false, github: true }
        );
        assert_eq!(of(&["PROJ-1", "acme/shop#1"]), Needs::Tickets { jira: true, github: true });
        assert_eq!(of(&["nope"]), Needs::Tickets { jira: false, github: false });
    }

    #[test]
    fn a_ticket_is_asked_once_and_bad_keys_are_named_together() {
        let repo = "https://github.com/acme/shop";
        let twice = tickets(&args(&["7", "acme/shop#7", "--repo", repo])).unwrap();
        assert_eq!(twice.iter().map(ToString::to_string).collect::<Vec<_>>(), ["acme/shop#7"]);
        let text = tickets(&args(&["proj-1", "3", "PROJ-2"])).unwrap_err().to_string();
        for part in
            ["nothing was asked to stop", "did you mean PROJ-1?", "3 is an issue of which repository?"]
        {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn no_more_is_claimed_than_was_done() {
        let ticket = "PROJ-1".parse().unwrap();
        let away = QueueError::Unreachable("h".to_owned());
        let refused = anyhow::anyhow!("Jira is closed");
        assert_eq!(
            say(&ticket, None, None).0.unwrap(),
            "asked to stop PROJ-1: written on the ticket, told to running workers"
        );
        let (line, why) = say(&ticket, Some(&refused), None);
        assert!(line.unwrap().ends_with("told to running workers only"));
        assert!(
            why[0].contains("not written on the ticket") && why[0].ends_with("Jira is closed"),
            "{why:?}"
        );
        let (line, why) = say(&ticket, None, Some(&away));
        assert!(line.unwrap().ends_with("written on the ticket only"));
        assert!(why[0].contains("were not told"), "{why:?}");
        let (line, why) = say(&ticket, Some(&refused), Some(&away));
        assert_eq!((line, why.len()), (None, 2));
    }
}
