//! `dead-letters list|show|replay|drop`: tasks that wait for people.

mod cause;
mod letter;
mod table;
#[cfg(test)]
mod tests;

use std::io::{BufRead as _, IsTerminal as _};
use std::time::Duration;

use console::Term;
use jiff::Timestamp;
use jira_agent::config::Config;
use jira_agent::domain::TaskBody;
use jira_agent::exit::ExitStatus;
use jira_agent::output;
use jira_agent::queue::{self, DeadLetter, QueueError, TaskQueue};
use jira_agent::redact::Redactor;
use serde_json::json;

use crate::announce;
use crate::cli::{DeadLettersCommand, DropArgs, ListArgs, ReplayArgs, ShowArgs, WhichArgs};
use cause::Cause;
use letter::Letter;

/// So many dead letters are looked through for an id, and dealt with by --all.
const EVERY: usize = 100_000;

/// A shorter beginning of an id is too easily another's.
const SHORTEST_ID: usize = 6;

/// How long a letter may be out of sight that was only looked at: a broker puts it back a moment later.
const OUT_OF_SIGHT: Duration = Duration::from_secs(3);

/// Runs the command.
///
/// # Errors
/// An unreachable broker, a missing queue, a queue that is full.
pub async fn run(
    command: &DeadLettersCommand,
    config: &Config,
    redactor: &Redactor,
) -> anyhow::Result<ExitStatus> {
    let queue = queue::connect(&config.queue, "jira-agent-producer dead-letters").await?;
    let desk = Desk { queue: queue.as_ref(), config, redactor };
    let status = match command {
        DeadLettersCommand::List(args) => desk.list(args).await,
        DeadLettersCommand::Show(args) => desk.show(args).await,
        DeadLettersCommand::Replay(args) => desk.replay(args).await,
        DeadLettersCommand::Drop(args) => desk.throw_away(args).await,
    };
    queue.close().await;
    status
}

/// Where a person deals with dead letters.
struct Desk<'run> {
    queue: &'run dyn TaskQueue,
    config: &'run Config,
    redactor: &'run Redactor,
}

impl Desk<'_> {
    fn letter<'list>(&'list self, dead: &'list DeadLetter) -> Letter<'list> {
        Letter::new(dead, self.config, self.redactor)
    }

    async fn list(&self, args: &ListArgs) -> anyhow::Result<ExitStatus> {
        let limit = usize::try_from(args.limit).unwrap_or(EVERY);
        let mut dead = self.queue.dead_letters(limit.saturating_add(1)).await?;
        let more = dead.len() > limit;
        dead.truncate(limit);
        let letters: Vec<Letter<'_>> = dead.iter().map(|dead| self.letter(dead)).collect();
        if args.json {
            let rows: Vec<_> = letters.iter().map(Letter::json).collect();
            output::line(&json!({"dead_letters": rows, "more": more}).to_string())?;
            return Ok(ExitStatus::Done);
        }
        if letters.is_empty() {
            output::note("there are no dead letters");
            return Ok(ExitStatus::Done);
        }
        let width = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
        for line in table::lines(&letters, Timestamp::now(), width) {
            output::line(&line)?;
        }
        if more {
            output::note(&format!("there are more than {limit}; --limit shows them"));
        }
        Ok(ExitStatus::Done)
    }

    async fn show(&self, args: &ShowArgs) -> anyhow::Result<ExitStatus> {
        let all = self.queue.dead_letters(EVERY).await?;
        let found = match find(&all, &args.id) {
            Ok(found) => found,
            Err(why) => return Ok(self.unknown(&[why])),
        };
        let letter = self.letter(found);
        if args.json {
            output::line(&letter.json().to_string())?;
        } else {
            output::line(&letter.explained(Timestamp::now()))?;
        }
        Ok(ExitStatus::Done)
    }

    async fn replay(&self, args: &ReplayArgs) -> anyhow::Result<ExitStatus> {
        let chosen = match self.choose(&args.which).await? {
            Ok(chosen) => chosen,
            Err(unknown) => return Ok(self.unknown(&unknown)),
        };
        let mut status = ExitStatus::Done;
        for dead in &chosen {
            let replayed = self.in_sight(|| self.queue.replay(&dead.id, args.by.as_str())).await?;
            if !replayed {
                status = self.gone(dead);
                continue;
            }
            if let Ok(TaskBody { task, had_id: true }) = TaskBody::parse(&dead.body) {
                let data = json!({"replayed_by": args.by});
                announce::queued(self.queue, task.id, &task.ticket, data).await;
            }
            let letter = self.letter(dead);
            output::line(&format!("{} {}", letter.id(), letter.ticket()))?;
            if Cause::of(dead) == Cause::Unreadable {
                output::note(&format!(
                    "{} is no task that this version can read; it will come back",
                    letter.id()
                ));
            }
        }
        Ok(status)
    }

    async fn throw_away(&self, args: &DropArgs) -> anyhow::Result<ExitStatus> {
        let may_ask = std::io::stdin().is_terminal();
        if !args.yes && !may_ask {
            output::note("nothing was thrown away: there is no terminal to ask on; add --yes");
            return Ok(ExitStatus::Usage);
        }
        let chosen = match self.choose(&args.which).await? {
            Ok(chosen) => chosen,
            Err(unknown) => return Ok(self.unknown(&unknown)),
        };
        if !args.yes && !chosen.is_empty() && !self.confirmed(&chosen).await? {
            output::note("nothing was thrown away");
            return Ok(ExitStatus::Failed);
        }
        let mut status = ExitStatus::Done;
        for dead in &chosen {
            if !self.in_sight(|| self.queue.discard(&dead.id)).await? {
                status = self.gone(dead);
                continue;
            }
            let letter = self.letter(dead);
            output::line(&format!("{} {}", letter.id(), letter.ticket()))?;
            output::note(&format!("thrown away for good: {}", letter.reason()));
        }
        Ok(status)
    }

    /// The letters that are meant, or why some are not known.
    async fn choose(&self, which: &WhichArgs) -> Result<Result<Vec<DeadLetter>, Vec<String>>, QueueError> {
        let mut all = self.queue.dead_letters(EVERY).await?;
        // A crash between two steps of the broker can leave one letter twice; it is dealt with once.
        let mut seen = std::collections::HashSet::new();
        all.retain(|letter| seen.insert(letter.id.clone()));
        if which.all {
            if all.is_empty() {
                output::note("there are no dead letters");
            }
            return Ok(Ok(all));
        }
        let (mut chosen, mut unknown) = (Vec::<DeadLetter>::new(), Vec::new());
        for id in &which.ids {
            match find(&all, id) {
                Ok(found) if chosen.contains(found) => {}
                Ok(found) => chosen.push(found.clone()),
                Err(why) => unknown.push(why),
            }
        }
        Ok(if unknown.is_empty() { Ok(chosen) } else { Err(unknown) })
    }

    fn unknown(&self, why: &[String]) -> ExitStatus {
        for why in why {
            output::note(&self.redactor.redact(why));
        }
        output::note("nothing was done; `jira-agent-producer dead-letters list` shows the ids");
        ExitStatus::Failed
    }

    /// Somebody else was quicker.
    fn gone(&self, dead: &DeadLetter) -> ExitStatus {
        output::note(&format!(
            "{} is not there any more; somebody else has taken it",
            self.letter(dead).id()
        ));
        ExitStatus::Failed
    }

    async fn confirmed(&self, chosen: &[DeadLetter]) -> anyhow::Result<bool> {
        for dead in chosen {
            let letter = self.letter(dead);
            output::note(&format!("{} {}: {}", letter.id(), letter.ticket(), letter.reason()));
        }
        output::note(&format!("Throw away {} for good? [y/N]", counted(chosen.len())));
        let answer = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
        });
        Ok(matches!(answer.await??.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Tries again while a letter that was just seen is not to be found.
    async fn in_sight<Try>(&self, mut attempt: impl FnMut() -> Try) -> Result<bool, QueueError>
    where
        Try: Future<Output = Result<bool, QueueError>>,
    {
        let deadline = tokio::time::Instant::now() + OUT_OF_SIGHT;
        loop {
            if attempt().await? {
                return Ok(true);
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn counted(letters: usize) -> String {
    if letters == 1 { "1 dead letter".to_owned() } else { format!("{letters} dead letters") }
}

/// The letter with this id, or with an id that alone begins so.
fn find<'list>(all: &'list [DeadLetter], id: &str) -> Result<&'list DeadLetter, String> {
    if let Some(letter) = all.iter().find(|letter| letter.id == id) {
        return Ok(letter);
    }
    let begins = |letter: &&DeadLetter| {
        letter.id.get(..id.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(id))
    };
    let mut ids: Vec<&DeadLetter> = all.iter().filter(begins).collect();
    ids.sort_by(|one, other| one.id.cmp(&other.id));
    ids.dedup_by(|one, other| one.id == other.id);
    match ids.as_slice() {
        _ if id.len() < SHORTEST_ID => {
            Err(format!("`{id}` is too short for an id; give at least {SHORTEST_ID} characters"))
        }
        [one] => Ok(one),
        [] => Err(format!(
            "there is no dead letter `{id}`; it was never one, or somebody replayed or dropped it"
        )),
        several => Err(format!("`{id}` could be any of {}; give more of the id", counted(several.len()))),
    }
}
