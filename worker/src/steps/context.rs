//! Context: choose what the model is shown.

use anyhow::Context as _;
use jira_agent::config::Config;
use jira_agent::domain::{Outcome, Ticket};

use crate::products::{Claimed, Next, TaskContext, Workspace};
use crate::search::{self, Limits, Query};
use crate::services::Services;
use crate::snapshot_source::SnapshotSource;

/// Part of the prompt that is not the context: instructions, the ticket, the conversation.
const RESERVED_PERCENT: u32 = 35;

/// Runs the step.
///
/// # Errors
/// When the repository's objects cannot be read.
pub async fn build(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
) -> anyhow::Result<Next<TaskContext>> {
    let limits = limits(&services.config);
    let query = query(&claimed.ticket);
    let (git_dir, start) = (workspace.dir.git_dir(), workspace.start.clone());
    let context = tokio::task::spawn_blocking(move || -> anyhow::Result<search::Context> {
        let source = SnapshotSource::open(&git_dir, &start).context("reading the repository")?;
        Ok(search::select(&source, &query, &limits))
    })
    .await??;
    if context.files.is_empty() {
        let reason = "I found no text file of the repository that fits into the model's input; is it empty of text, or is model.max_input_tokens too small?".to_owned();
        return Ok(Next::End(Outcome::NeedsHuman { reason }));
    }
    let shown = context.shown();
    Ok(Next::Go(TaskContext { context, shown }))
}

/// What was chosen, for the step's event.
#[must_use]
pub fn describe(context: &TaskContext) -> serde_json::Value {
    serde_json::json!({
        "files": context.context.files.iter().map(|file| &file.path).collect::<Vec<_>>(),
        "tokens": context.context.estimated_tokens,
    })
}

/// The words that are looked for: everything that people wrote on the ticket.
fn query(ticket: &Ticket) -> Query {
    Query {
        summary: ticket.summary.clone(),
        description: ticket.description.clone(),
        comments: ticket.comments.iter().map(|comment| comment.body.clone()).collect(),
    }
}

/// The limits by the settings.
#[must_use]
pub fn limits(config: &Config) -> Limits {
    let (worker, model) = (&config.worker, &config.model);
    let tokens = u64::from(model.max_input_tokens) * u64::from(100 - RESERVED_PERCENT) / 100;
    Limits {
        files: worker.context_files,
        lines_per_file: worker.context_lines,
        tokens: usize::try_from(tokens).unwrap_or(usize::MAX),
        ..Limits::default()
    }
}
