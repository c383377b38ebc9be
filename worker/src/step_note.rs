//! A note beside the workspaces of the step that a run has come to. It outlives the process and is read only when that
//! has died: it informs people, and nothing depends on it.

use std::fs;
use std::path::{Path, PathBuf};

use jira_agent::domain::TaskId;

/// The longest step's name, in bytes.
const LONGEST: u64 = 64;

fn path(root: &Path, run: TaskId) -> PathBuf {
    root.join(format!("{run}.step"))
}

/// Leaves the note. Some bytes in the page cache: not worth a thread of its own.
pub fn write(root: &Path, run: TaskId, step: &str) {
    let written = fs::write(path(root, run), step);
    if let Err(error) = written
        && root.exists()
    {
        tracing::debug!(%error, "the step could not be noted");
    }
}

/// Takes the note away.
pub fn remove(root: &Path, run: TaskId) {
    // There is none when the run never came to a step.
    let _ = fs::remove_file(path(root, run));
}

/// The step, when a note was left.
#[must_use]
pub fn read(root: &Path, run: TaskId) -> Option<String> {
    let path = path(root, run);
    let short = fs::symlink_metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= LONGEST);
    let text = short.then(|| fs::read_to_string(path).ok()).flatten()?;
    let word = text.trim();
    (!word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_is_known_until_it_is_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let run = TaskId::generate();
        assert_eq!(read(root.path(), run), None);
        write(root.path(), run, "claim");
        write(root.path(), run, "edit");
        assert_eq!(read(root.path(), run).as_deref(), Some("edit"));
        assert_eq!(read(root.path(), TaskId::generate()), None);
        remove(root.path(), run);
        assert_eq!(read(root.path(), run), None);
    }

    #[test]
    fn a_note_that_is_no_word_is_none() {
        let root = tempfile::tempdir().unwrap();
        let run = TaskId::generate();
        for text in ["", "two words", &"x".repeat(100), "<b>"] {
            write(root.path(), run, text);
            assert_eq!(read(root.path(), run), None, "{text}");
        }
        write(&root.path().join("not there"), run, "claim");
    }
}
