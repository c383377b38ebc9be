//! A note beside the workspaces of the step that a run has come to. It outlives the process and is read only when that
//! has died: it informs people, and nothing depends on it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jira_agent::domain::TaskId;
use rustix::fs::OFlags;

use crate::steps;

/// The longest note that is read, in bytes.
const LONGEST: u64 = 64;
/// What the name of a note ends with, and that of one in the making.
const ENDINGS: [&str; 2] = [".step", ".step.new"];
/// A note that is older than this tells nobody anything: 1 day.
const OLD: Duration = Duration::from_hours(24);

fn path(root: &Path, run: TaskId) -> PathBuf {
    root.join(format!("{run}{}", ENDINGS[0]))
}

/// Leaves the note. Some bytes in the page cache: not worth a thread of its own.
pub fn write(root: &Path, run: TaskId, step: &str) {
    if let Err(error) = replace(root, run, step)
        && root.exists()
    {
        tracing::debug!(%error, "the step could not be noted");
    }
}

/// A new file takes the place of the old one, so that nothing is written to what somebody else has put there.
fn replace(root: &Path, run: TaskId, step: &str) -> io::Result<()> {
    let new = root.join(format!("{run}{}", ENDINGS[1]));
    // A worker that died in the middle has left one.
    let _ = fs::remove_file(&new);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(step.as_bytes())?;
    fs::rename(&new, path(root, run))
}

/// Takes the note away.
pub fn remove(root: &Path, run: TaskId) {
    // There is none when the run never came to a step.
    let _ = fs::remove_file(path(root, run));
}

/// The step, when this user left a note.
#[must_use]
pub fn read(root: &Path, run: TaskId) -> Option<String> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path(root, run));
    let file = file.ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file() || found.uid() != rustix::process::geteuid().as_raw() {
        return None;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    steps::named(&text).map(str::to_owned)
}

/// Removes old notes: those of runs that nobody will ask about any more. Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// When `root` cannot be read; a note that cannot be removed is left.
pub fn sweep(root: &Path, now: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let run = name.to_str().and_then(|name| ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)));
        let is_note = run.is_some_and(|run| run.parse::<TaskId>().is_ok());
        let written = entry.metadata().and_then(|note| note.modified());
        let is_old = written.is_ok_and(|at| now.duration_since(at).is_ok_and(|age| age > OLD));
        if is_note && is_old {
            // In a directory that several users share it may be somebody else's.
            let _ = fs::remove_file(entry.path());
        }
    }
    Ok(())
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
    fn a_note_that_is_no_step_is_none() {
        let root = tempfile::tempdir().unwrap();
        let run = TaskId::generate();
        for text in ["", "two words", &"edit".repeat(100), "<b>", "edits"] {
            write(root.path(), run, text);
            assert_eq!(read(root.path(), run), None, "{text}");
        }
        write(&root.path().join("not there"), run, "claim");
    }

    #[test]
    fn a_note_is_neither_written_nor_read_through_a_link() {
        let root = tempfile::tempdir().unwrap();
        let run = TaskId::generate();
        let elsewhere = root.path().join("precious");
        fs::write(&elsewhere, "edit").unwrap();
        for ending in ENDINGS {
            std::os::unix::fs::symlink(&elsewhere, root.path().join(format!("{run}{ending}"))).unwrap();
        }
        assert_eq!(read(root.path(), run), None);
        write(root.path(), run, "claim");
        assert_eq!(read(root.path(), run).as_deref(), Some("claim"));
        assert_eq!(fs::read_to_string(elsewhere).unwrap(), "edit");
    }

    #[test]
    fn old_notes_are_swept_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let run = TaskId::generate();
        write(root.path(), run, "claim");
        fs::write(root.path().join(format!("{run}.step.new")), "").unwrap();
        fs::write(root.path().join("stairs.step"), "").unwrap();
        let count = || fs::read_dir(root.path()).unwrap().count();
        sweep(root.path(), SystemTime::now()).unwrap();
        assert_eq!(count(), 3);
        sweep(root.path(), SystemTime::now() + 2 * OLD).unwrap();
        assert_eq!(count(), 1);
        assert!(root.path().join("stairs.step").exists());
    }
}
