//! The embedded queue: can its file be where it should, and what is in it.

use super::Finding;
use crate::config::Config;
use crate::queue::sqlite::{Place, Sqlite};
use crate::queue::{Backlog, QueueError, TaskQueue as _};

const AREA: &str = "queue";
const FIX: &str = "set queue.path to a file on a local disk that this user may write";

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    look(config).await.unwrap_or_else(|error| vec![Finding::broken(AREA, error.to_string(), FIX)])
}

async fn look(config: &Config) -> Result<Vec<Finding>, QueueError> {
    let place = Place::of(&config.queue)?;
    let path = place.absolute().display().to_string();
    if !place.is_there()? {
        return Ok(vec![Finding::fine(AREA, format!("embedded: {path} is made when it is first used"))]);
    }
    let queue = Sqlite::connect(&config.queue).await?;
    let backlog = queue.backlog().await;
    queue.close().await;
    let Backlog { ready, held, delayed, dead } = backlog?;
    let held = held.unwrap_or_default();
    let text = format!("embedded: {path}: {ready} ready, {held} with workers, {delayed} waiting");
    let mut findings = vec![Finding::fine(AREA, text)];
    if dead > 0 {
        let text = format!("dead letters: {dead}, which wait for a person");
        let fix =
            "read them with `jira-agent-producer dead-letters list`, mend the cause, and replay or drop them";
        findings.push(Finding::warning(AREA, text, fix));
    }
    if place.is_open_to_others().unwrap_or(false) {
        let fix = format!("chmod 600 {path}");
        findings.push(Finding::warning(AREA, "other users may read the queue's file", fix));
    }
    Ok(findings)
}
