//! `enqueue`: tickets from arguments, a file or standard input onto the queue.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use jira_agent::config::QueueConfig;
use jira_agent::domain::{
    Event, EventKind, RepoUrl, Task, TaskBody, TaskId, TicketKey, Trigger, TriggerKind,
};
use jira_agent::exit::ExitStatus;
use jira_agent::output;
use jira_agent::program::BadInput;
use jira_agent::progress::Progress;
use jira_agent::queue::{self, EventStream, QueueError, TaskQueue};
use serde_json::json;

use crate::announce;
use crate::cli::EnqueueArgs;
use crate::keys;

/// The longest time that is waited for runs, whatever --timeout says.
const LONGEST_WAIT: Duration = Duration::from_hours(7 * 24);

/// Runs the command.
///
/// # Errors
/// Bad tickets, an unreadable file, an unreachable broker.
pub async fn run(args: &EnqueueArgs, config: &QueueConfig) -> anyhow::Result<ExitStatus> {
    let tasks = tasks(args)?;
    let queue = queue::connect(config, "jira-agent-producer enqueue").await?;
    let status = publish(args, &tasks, queue.as_ref()).await;
    queue.close().await;
    status
}

/// Reads and checks every ticket before the first is published.
fn tasks(args: &EnqueueArgs) -> Result<Vec<Task>, BadInput> {
    let mut bad = Vec::new();
    let repository = keys::repository(args.repo.as_deref(), &mut bad);
    let mut inputs: Vec<(Option<String>, String)> = args.keys.iter().map(|key| (None, key.clone())).collect();
    if let Some(path) = &args.file {
        match lines_of(path) {
            Ok(lines) => inputs.extend(lines.into_iter().map(|(place, line)| (Some(place), line))),
            Err(why) => bad.push(why),
        }
    }
    let mut tasks = Vec::new();
    for (place, input) in &inputs {
        match task(args, repository.as_ref(), input) {
            Ok(task) => tasks.push(task),
            Err(why) => bad.push(match place {
                Some(place) => format!("{place}: {why}"),
                None => why,
            }),
        }
    }
    if bad.is_empty() {
        return Ok(tasks);
    }
    Err(BadInput(format!("nothing was enqueued:\n  {}", bad.join("\n  "))))
}

/// The lines that hold something, each with its place for messages.
fn lines_of(path: &Path) -> Result<Vec<(String, String)>, String> {
    let (name, text) = if path == Path::new("-") {
        ("standard input".to_owned(), std::io::read_to_string(std::io::stdin()))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    let text = text.map_err(|error| format!("{name} cannot be read: {error}"))?;
    let numbered = text.trim_start_matches('\u{feff}').lines().map(str::trim).zip(1..);
    let lines = numbered.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
    let lines: Vec<_> =
        lines.map(|(line, number)| (format!("{name}, line {number}"), line.to_owned())).collect();
    if lines.is_empty() { Err(format!("{name} names no ticket")) } else { Ok(lines) }
}

fn task(args: &EnqueueArgs, repository: Option<&RepoUrl>, input: &str) -> Result<Task, String> {
    let mut task = if input.starts_with(['{', '"', '[']) {
        parse(input.as_bytes())?
    } else {
        Task::new(keys::ticket(input, repository)?)
    };
    keys::belongs(&task.ticket, repository)?;
    task.repository = repository.cloned().or(task.repository);
    task.mode = args.mode.or(task.mode);
    task.base_branch = args.base.clone().or(task.base_branch);
    task.requested_by = args.by.clone().or(task.requested_by);
    task.forced |= args.force;
    task.requested_at.get_or_insert_with(Timestamp::now);
    task.trigger.get_or_insert(Trigger { kind: TriggerKind::Cli, id: String::new() });
    // The flags may have made a task that cannot be read back, e.g. --mode execute without an approval.
    parse(&task.to_json()).map_err(|why| format!("{}: {why}", task.ticket))
}

fn parse(body: &[u8]) -> Result<Task, String> {
    TaskBody::parse(body).map(|body| body.task).map_err(|why| why.to_string())
}

async fn publish(args: &EnqueueArgs, tasks: &[Task], queue: &dyn TaskQueue) -> anyhow::Result<ExitStatus> {
    // Whoever wants to see a run from its first event has to listen before it is enqueued.
    let events = if args.wait {
        let runs: Vec<TaskId> = tasks.iter().map(|task| task.id).collect();
        Some(queue.follow(&runs).await.context("nothing was enqueued")?)
    } else {
        None
    };
    let mut failure = None;
    let mut rows = Vec::new();
    for (index, task) in tasks.iter().enumerate() {
        if let Err(error) = queue.publish(task).await {
            let left =
                tasks[index..].iter().map(|task| task.ticket.to_string()).collect::<Vec<_>>().join(", ");
            failure = Some(anyhow::Error::new(error).context(format!("not enqueued: {left}")));
            break;
        }
        let data = json!({"mode": task.mode, "by": task.requested_by, "trigger": task.trigger});
        announce::queued(queue, task.id, &task.ticket, data).await;
        rows.push(json!({"task_id": task.id, "issue_id": task.ticket}));
        if !args.json {
            output::line(&format!("{} {}", task.id, task.ticket))?;
        }
    }
    // What is on the queue is told, whatever came after it.
    if args.json && !args.wait && !rows.is_empty() {
        output::line(&json!({ "tasks": rows }).to_string())?;
    }
    match failure {
        Some(error) => Err(error),
        None => match events {
            Some(events) => follow(args, tasks, events).await,
            None => Ok(ExitStatus::Done),
        },
    }
}

async fn follow(args: &EnqueueArgs, tasks: &[Task], mut events: EventStream) -> anyhow::Result<ExitStatus> {
    let progress = Progress::new(tasks.len(), args.json);
    let deadline = tokio::time::Instant::now() + args.timeout.min(LONGEST_WAIT);
    // An event can come twice, so runs are struck off by their ids.
    let mut open: BTreeMap<TaskId, &TicketKey> = tasks.iter().map(|task| (task.id, &task.ticket)).collect();
    let mut failed = false;
    while !open.is_empty() {
        let Ok(next) = tokio::time::timeout_at(deadline, events.next()).await else {
            progress.finish();
            let names = open.values().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            output::note(&format!("--timeout is over; still under way, and going on: {names}"));
            return Ok(ExitStatus::TryLater);
        };
        let Some(event) = next else {
            let why = "the connection broke while waiting; the runs go on".to_owned();
            anyhow::bail!(QueueError::Unreachable(why));
        };
        if args.json {
            output::line(&serde_json::to_string(&event)?)?;
        }
        progress.show(&event);
        if event.kind.is_end() && open.remove(&event.run).is_some() {
            failed |= is_failure(&event);
        }
    }
    progress.finish();
    Ok(if failed { ExitStatus::Failed } else { ExitStatus::Done })
}

fn is_failure(event: &Event) -> bool {
    matches!(event.kind, EventKind::Failed | EventKind::NeedsHuman | EventKind::Cancelled)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn args(line: &[&str]) -> EnqueueArgs {
        let words = ["jira-agent-producer", "enqueue"].iter().chain(line);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Enqueue(args) => *args,
            _ => unreachable!(),
        }
    }

    #[test]
    fn a_number_with_a_repository_is_an_issue_of_it() {
        let tasks =
            tasks(&args(&["12", "--repo", "https://github.com/acme/shop", "--mode", "plan"])).unwrap();
        assert_eq!(tasks[0].ticket.to_string(), "acme/shop#12");
        assert_eq!(tasks[0].mode, Some(Mode::Plan));
    }

    fn problems(line: &[&str]) -> String {
        tasks(&args(line)).unwrap_err().to_string()
    }

    #[test]
    fn every_bad_ticket_is_named_at_once() {
        let text = problems(&["PROJ-1", "nope", "12", "--repo", "shop", "--file", "/nowhere"]);
        for part in
            ["nothing was enqueued", "`nope` is not a ticket key", "--repo: ", "/nowhere cannot be read"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(problems(&["12"]).contains("Add --repo URL"));
    }

    #[test]
    fn what_was_probably_meant_is_proposed() {
        assert!(problems(&["proj-7"]).ends_with("did you mean PROJ-7?"));
        assert!(problems(&["https://acme.atlassian.net/browse/PROJ-7"]).ends_with("did you mean PROJ-7?"));
        assert!(!problems(&["https://u:hunter22@host/x"]).contains("hunter22"));
        assert!(
            !problems(&[r#"{"issue_id": 1, "repo_url": "https://u:hunter22@host/a/b"}"#])
                .contains("hunter22")
        );
        assert!(!problems(&["1", "--repo", "https://u:hunter22@host/a/b"]).contains("hunter22"));
    }

    #[test]
    fn an_issue_of_another_repository_is_refused() {
        let text = problems(&["acme/shop#12", "--repo", "https://github.com/acme/other"]);
        assert!(text.contains("acme/shop#12 is not an issue of https://github.com/acme/other"), "{text}");
    }

    #[test]
    fn a_flag_that_makes_the_task_unreadable_is_refused_here_and_not_by_the_worker() {
        let error = tasks(&args(&["PROJ-1", "--mode", "execute"])).unwrap_err().to_string();
        assert!(error.contains("approv"), "{error}");
    }

    #[test]
    fn a_file_holds_keys_and_tasks() {
        let dir = std::env::temp_dir().join(format!("enqueue-{}", std::process::id()));
        let from_file = |text: &str| {
            std::fs::write(&dir, text).unwrap();
            tasks(&args(&["--file", &dir.display().to_string()]))
        };
        let two =
            from_file("\u{feff}# two\r\nPROJ-1\r\n\n{\"issue_id\":\"PROJ-2\",\"mode\":\"plan\"}\n").unwrap();
        let bad = from_file("PROJ-1\n{\"issue_id\"}\n").unwrap_err().to_string();
        let none = from_file("# none\n").unwrap_err().to_string();
        std::fs::remove_file(&dir).unwrap();
        assert_eq!(two.iter().map(|task| task.ticket.to_string()).collect::<Vec<_>>(), ["PROJ-1", "PROJ-2"]);
        assert!(bad.contains("line 2"), "{bad}");
        assert!(none.contains("names no ticket"), "{none}");
    }

    use jira_agent::domain::Mode;
}
