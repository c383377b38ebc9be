//! A commit's files for those who do not know git.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jira_agent::domain::CommitId;

use crate::git::{Mode, ObjectError, Snapshot};
use crate::tree::{FileContent, FileMode, FileSource, TreeEntry};

/// The files of one commit.
pub struct SnapshotSource {
    // libgit2's handle may move between threads but not be used by two at once.
    snapshot: Mutex<Snapshot>,
    entries: Vec<TreeEntry>,
}

impl SnapshotSource {
    /// Opens a commit of a git directory and lists it.
    ///
    /// # Errors
    /// When the commit or one of its trees is not there.
    pub fn open(git_dir: &Path, commit: &CommitId) -> Result<Self, ObjectError> {
        let snapshot = Snapshot::open(git_dir, commit)?;
        let entry = |entry: crate::git::Entry| TreeEntry {
            path: entry.path,
            mode: mode(entry.mode),
            size: entry.size,
        };
        let mut entries: Vec<TreeEntry> = snapshot.entries()?.into_iter().map(entry).collect();
        entries.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(Self { snapshot: Mutex::new(snapshot), entries })
    }
}

impl FileSource for SnapshotSource {
    fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Option<FileContent> {
        let entry = self.entry(path)?;
        let snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = snapshot.read(path).ok()?;
        Some(FileContent { bytes, mode: entry.mode })
    }
}

fn mode(mode: Mode) -> FileMode {
    match mode {
        Mode::Regular => FileMode::Regular,
        Mode::Executable => FileMode::Executable,
        Mode::Symlink => FileMode::Symlink,
        Mode::Gitlink => FileMode::Gitlink,
    }
}
