//! `enqueue`: tickets from arguments, a file or standard input onto the queue.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream::{FuturesUnordered, SelectAll};
use jiff::Timestamp;
use jira_agent::config::QueueConfig;
use jira_agent::domain::{Event, EventKind, Run, Task, TaskBody, Trigger, TriggerKind};
use jira_agent::exit::ExitStatus;
use jira_agent::output;
use jira_agent::queue::{self, EventStream, TaskQueue};
use serde_json::{Value, json};

use crate::cli::EnqueueArgs;
use crate::progress::Progress;

/// Tickets that cannot be enqueued, all of them at once.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BadTickets(Vec<String>);

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
fn tasks(args: &EnqueueArgs) -> anyhow::Result<Vec<Task>> {
    let mut inputs = args.keys.clone();
    if let Some(path) = &args.file {
        inputs.extend(lines_of(path)?);
    }
    if inputs.is_empty() {
        return Err(BadTickets(vec!["no ticket was given: name keys (PROJ-123) or --file".to_owned()]).into());
    }
    let (mut tasks, mut bad) = (Vec::new(), Vec::new());
    for input in inputs {
        match task(args, &input) {
            Ok(task) => tasks.push(task),
            Err(why) => bad.push(why),
        }
    }
    if bad.is_empty() { Ok(tasks) } else { Err(BadTickets(bad).into()) }
}

fn lines_of(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("# "));
    Ok(lines.map(str::to_owned).collect())
}

fn task(args: &EnqueueArgs, input: &str) -> Result<Task, String> {
    // A number is an issue of --repo.
    let body = match (&args.repo, input.parse::<u64>()) {
        (Some(repo), Ok(number)) => json!({"issue_id": number, "repo_url": repo}).to_string(),
        _ => input.to_owned(),
    };
    let mut task = TaskBody::parse(body.as_bytes()).map_err(|why| format!("`{input}`: {why}"))?.task;
    task.repository = args.repo.clone().or(task.repository);
    task.mode = args.mode.or(task.mode);
    task.base_branch = args.base.clone().or(task.base_branch);
    task.requested_by = args.by.clone().or(task.requested_by);
    task.forced |= args.force;
    task.requested_at.get_or_insert_with(Timestamp::now);
    task.trigger.get_or_insert(Trigger { kind: TriggerKind::Cli, id: String::new() });
    // The flags may have made a task that cannot be read back, e.g. --mode execute without an approval.
    TaskBody::parse(&task.to_json()).map_err(|why| format!("`{input}`: {why}"))?;
    Ok(task)
}

async fn publish(args: &EnqueueArgs, tasks: &[Task], queue: &dyn TaskQueue) -> anyhow::Result<ExitStatus> {
    // Whoever wants to see a run from its first event has to listen before it is enqueued.
    let mut events = SelectAll::new();
    if args.wait {
        let mut pending: FuturesUnordered<_> = tasks.iter().map(|task| queue.follow(task.id)).collect();
        while let Some(stream) = pending.next().await {
            events.push(stream?);
        }
    }
    for (index, task) in tasks.iter().enumerate() {
        if let Err(error) = queue.publish(task).await {
            let left =
                tasks[index..].iter().map(|task| task.ticket.to_string()).collect::<Vec<_>>().join(", ");
            return Err(anyhow::Error::new(error).context(format!("not enqueued: {left}")));
        }
        announce(queue, task).await;
        if !args.json {
            output::line(&format!("{} {}", task.id, task.ticket))?;
        }
    }
    if args.json && !args.wait {
        let rows: Vec<Value> =
            tasks.iter().map(|task| json!({"task_id": task.id, "issue_id": task.ticket})).collect();
        output::line(&json!({ "tasks": rows }).to_string())?;
    }
    if !args.wait {
        return Ok(ExitStatus::Done);
    }
    follow(args, tasks, events).await
}

/// Tells the record that the task waits. The queue has it already, so a lost event loses nothing.
async fn announce(queue: &dyn TaskQueue, task: &Task) {
    let mut run = Run::queued(task.id, task.ticket.clone());
    let data = json!({"mode": task.mode, "by": task.requested_by, "trigger": task.trigger});
    if let Ok(event) = run.record(EventKind::Queued, 1, data)
        && let Err(error) = queue.emit(event).await
    {
        tracing::warn!(run.id = %task.id, %error, "the event `queued` was not published");
    }
}

async fn follow(
    args: &EnqueueArgs,
    tasks: &[Task],
    mut events: SelectAll<EventStream>,
) -> anyhow::Result<ExitStatus> {
    let progress = Progress::new(tasks.len(), args.json);
    let deadline = tokio::time::Instant::now() + args.timeout.min(Duration::from_secs(7 * 24 * 3600));
    let (mut open, mut failed) = (tasks.len(), false);
    while open > 0 {
        let Ok(next) = tokio::time::timeout_at(deadline, events.next()).await else {
            progress.finish();
            output::note(&format!("{open} of {} runs have not ended; they go on without you", tasks.len()));
            return Ok(ExitStatus::TryLater);
        };
        let Some(event) = next else {
            anyhow::bail!(queue::QueueError::Unreachable("the connection broke while waiting".to_owned()));
        };
        if args.json {
            output::line(&serde_json::to_string(&event)?)?;
        }
        progress.show(&event);
        if event.kind.is_end() {
            open -= 1;
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

    #[test]
    fn every_bad_ticket_is_named_at_once() {
        let error = tasks(&args(&["PROJ-1", "nope", "12"])).unwrap_err().to_string();
        assert!(error.contains("`nope`") && error.contains("`12`"), "{error}");
    }

    #[test]
    fn a_flag_that_makes_the_task_unreadable_is_refused_here_and_not_by_the_worker() {
        let error = tasks(&args(&["PROJ-1", "--mode", "execute"])).unwrap_err().to_string();
        assert!(error.contains("approv"), "{error}");
    }

    #[test]
    fn a_file_holds_keys_and_tasks() {
        let dir = std::env::temp_dir().join(format!("enqueue-{}", std::process::id()));
        std::fs::write(&dir, "# two\nPROJ-1\n\n{\"issue_id\":\"PROJ-2\",\"mode\":\"plan\"}\n").unwrap();
        let tasks = tasks(&args(&["--file", &dir.display().to_string()])).unwrap();
        std::fs::remove_file(&dir).unwrap();
        assert_eq!(
            tasks.iter().map(|task| task.ticket.to_string()).collect::<Vec<_>>(),
            ["PROJ-1", "PROJ-2"]
        );
    }

    use jira_agent::domain::Mode;
}
