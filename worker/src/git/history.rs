//! Messages, trailers and the shape of a history that may be cut off.

use std::path::Path;

use git2::{ErrorCode, Repository};
use jiff::Timestamp;
use jira_agent::domain::{CommitId, TaskId};

use super::ObjectError;
use super::repository::{commit_id, failed, oid, open};

/// The trailer that names the run a commit was made by.
pub const RUN_TRAILER: &str = "Jira-Agent-Run";

/// Whether one commit is behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestry {
    /// The first is the second, or one of its ancestors.
    Yes,
    /// It is not.
    No,
    /// The fetched history ends before that can be said: fetch deeper and ask again.
    NeedsDeepen,
}

/// Where two histories meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeBase {
    /// At this commit.
    Found(CommitId),
    /// Nowhere: they have nothing in common.
    Unrelated,
    /// The fetched histories end before that can be said: fetch deeper and ask again.
    NeedsDeepen,
}

/// The whole message of a commit.
///
/// # Errors
/// When the git directory has no such commit.
pub fn message(git_dir: &Path, commit: &CommitId) -> Result<String, ObjectError> {
    let read = || {
        let repository = open(git_dir)?;
        let commit = repository.find_commit(oid(commit)?)?;
        Ok(String::from_utf8_lossy(commit.message_bytes()).into_owned())
    };
    read().map_err(failed("read a commit's message", git_dir))
}

/// The first parent of a commit; none for the first commit of all, or where a shallow history ends.
///
/// # Errors
/// When the git directory has no such commit.
pub fn first_parent(git_dir: &Path, commit: &CommitId) -> Result<Option<CommitId>, ObjectError> {
    let read = || {
        let repository = open(git_dir)?;
        let commit = repository.find_commit(oid(commit)?)?;
        match commit.parent_ids().next() {
            Some(parent) if repository.odb()?.exists(parent) => commit_id(parent).map(Some),
            _ => Ok(None),
        }
    };
    read().map_err(failed("read a commit's parent", git_dir))
}

/// The trailers of a message, in order: <https://git-scm.com/docs/git-interpret-trailers>
#[must_use]
pub fn trailers(message: &str) -> Vec<(String, String)> {
    // A message with a NUL byte has no trailers that could be trusted.
    git2::message_trailers_strs(message)
        .map(|found| found.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        .unwrap_or_default()
}

/// The newest commit that `run` made, among the first `limit` commits from `head` along first parents.
///
/// # Errors
/// When the git directory has no commit `head`.
pub fn find_run_commit(
    git_dir: &Path,
    head: &CommitId,
    run: &TaskId,
    limit: usize,
) -> Result<Option<CommitId>, ObjectError> {
    let wanted = run.to_string();
    let find = || {
        let repository = open(git_dir)?;
        let mut commit = repository.find_commit(oid(head)?)?;
        for _ in 0..limit {
            let message = String::from_utf8_lossy(commit.message_bytes()).into_owned();
            let ours =
                |(name, value): &(String, String)| name.eq_ignore_ascii_case(RUN_TRAILER) && *value == wanted;
            if trailers(&message).iter().any(ours) {
                return commit_id(commit.id()).map(Some);
            }
            // The history may be cut off here, or begin.
            match commit.parent(0) {
                Ok(parent) => commit = parent,
                Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    };
    find().map_err(failed("walk a branch", git_dir))
}

/// The run that made a commit, by its trailer, and when it was made; `None` when no run did.
///
/// # Errors
/// When the git directory has no such commit.
pub fn run_of(git_dir: &Path, commit: &CommitId) -> Result<Option<(TaskId, Timestamp)>, ObjectError> {
    let read = || {
        let repository = open(git_dir)?;
        let commit = repository.find_commit(oid(commit)?)?;
        let made_at = Timestamp::from_second(commit.time().seconds()).unwrap_or(Timestamp::UNIX_EPOCH);
        let trailers = trailers(&String::from_utf8_lossy(commit.message_bytes()));
        let run = trailers.iter().find(|(name, _)| name.eq_ignore_ascii_case(RUN_TRAILER));
        Ok(run.and_then(|(_, run)| run.parse().ok()).map(|run| (run, made_at)))
    };
    read().map_err(failed("read the trailers of a commit", git_dir))
}

/// Whether `ancestor` is `commit` or behind it.
///
/// # Errors
/// When an object is broken.
pub fn ancestry(git_dir: &Path, ancestor: &CommitId, commit: &CommitId) -> Result<Ancestry, ObjectError> {
    Ok(match merge_base(git_dir, ancestor, commit)? {
        MergeBase::Found(base) if base == *ancestor => Ancestry::Yes,
        MergeBase::Found(_) | MergeBase::Unrelated if !is_shallow(git_dir)? => Ancestry::No,
        _ => Ancestry::NeedsDeepen,
    })
}

/// Where the histories of two commits meet.
///
/// # Errors
/// When an object is broken.
pub fn merge_base(git_dir: &Path, one: &CommitId, two: &CommitId) -> Result<MergeBase, ObjectError> {
    let find = || {
        let repository = open(git_dir)?;
        let found = if one == two {
            repository.find_commit(oid(one)?).map(|commit| commit.id())
        } else {
            repository.merge_base(oid(one)?, oid(two)?)
        };
        match found {
            Ok(base) => Ok(MergeBase::Found(commit_id(base)?)),
            Err(error) if error.code() == ErrorCode::NotFound && repository.is_shallow() => {
                Ok(MergeBase::NeedsDeepen)
            }
            Err(error) if error.code() == ErrorCode::NotFound && both_here(&repository, one, two) => {
                Ok(MergeBase::Unrelated)
            }
            Err(error) => Err(error),
        }
    };
    find().map_err(failed("find where two histories meet", git_dir))
}

fn both_here(repository: &Repository, one: &CommitId, two: &CommitId) -> bool {
    [one, two].into_iter().all(|commit| oid(commit).and_then(|oid| repository.find_commit(oid)).is_ok())
}

fn is_shallow(git_dir: &Path) -> Result<bool, ObjectError> {
    open(git_dir).map(|repository| repository.is_shallow()).map_err(failed("open", git_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_are_read_from_the_last_paragraph_only() {
        let message =
            "PROJ-1: Mend the cart\n\nNote: not a trailer\n\nJira-Agent-Run: 01K\nSigned-off-by: A <a@b.c>\n";
        let expected = [("Jira-Agent-Run", "01K"), ("Signed-off-by", "A <a@b.c>")];
        assert_eq!(trailers(message), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(trailers("PROJ-1: Mend the cart"), []);
        assert_eq!(trailers(""), []);
    }
}
