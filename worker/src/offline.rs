//! `context` and `apply`: two steps of a run on a directory, without any service.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use jira_agent::config::Config;
use jira_agent::exit::ExitStatus;
use jira_agent::output;
use jira_agent::program::BadInput;
use serde_json::json;

use crate::cli::{ApplyArgs, ContextArgs};
use crate::edit::{self, PathRules};
use crate::search::{self, Query};
use crate::steps::context;
use crate::tree::{DirTree, FileSource as _};

/// Prints what the model would be shown.
///
/// # Errors
/// When the directory or the text cannot be read.
pub fn context(args: &ContextArgs, config: &Config) -> anyhow::Result<ExitStatus> {
    let tree = open(&args.tree)?;
    let query = Query { description: read(&args.text)?, ..Query::default() };
    let chosen = search::select(&tree, &query, &context::limits(config));
    if args.json {
        let files: Vec<_> =
            chosen.files.iter().map(|file| json!({"path": file.path, "why": file.why})).collect();
        output::line(&json!({"files": files, "estimated_tokens": chosen.estimated_tokens}).to_string())?;
    } else {
        output::line(&chosen.render())?;
    }
    Ok(ExitStatus::Done)
}

/// Applies a reply to the directory. Every file counts as shown.
///
/// # Errors
/// When the reply does not apply or a file cannot be changed; nothing is written then.
pub fn apply(args: &ApplyArgs, config: &Config) -> anyhow::Result<ExitStatus> {
    let tree = open(&args.tree)?;
    let reply = read(&args.reply)?;
    let blocks = edit::parse(&reply).map_err(|problem| BadInput(problem.to_string()))?;
    let shown: BTreeSet<String> = tree.entries().iter().map(|entry| entry.path.clone()).collect();
    let rules = PathRules::new(&config.worker.protected_paths, BTreeSet::new())?;
    let patch = match edit::apply(&tree, &shown, &rules, blocks) {
        Ok(patch) => patch,
        Err(rejection) => {
            let reasons: Vec<String> = rejection.failures.iter().map(ToString::to_string).collect();
            if args.json {
                output::line(&json!({"changed": [], "reasons": reasons}).to_string())?;
            }
            let text =
                format!("the reply does not apply, and nothing was written:\n  {}", reasons.join("\n  "));
            return Err(BadInput(text).into());
        }
    };
    if !args.dry_run {
        tree.apply(&patch.changes)?;
    }
    for warning in &patch.warnings {
        output::note(&format!("note: {warning}"));
    }
    if args.json {
        let changed: Vec<_> = patch.changes.keys().collect();
        output::line(
            &json!({"changed": changed, "added": patch.added, "removed": patch.removed}).to_string(),
        )?;
    } else {
        for path in patch.changes.keys() {
            output::line(path)?;
        }
    }
    Ok(ExitStatus::Done)
}

fn open(path: &Path) -> anyhow::Result<DirTree> {
    DirTree::open(path)
        .map_err(|error| BadInput(format!("cannot open the directory {}: {error}", path.display())).into())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(|_| ())
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    result.map_err(|error| BadInput(format!("cannot read {}: {error}", path.display())))?;
    Ok(text)
}
