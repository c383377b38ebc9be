//! Materialising a commit, and the paths that must not be edited.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use git2::{AttrCheckFlags, AttrValue, Index, Tree};
use jira_agent::domain::CommitId;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use tokio_util::sync::CancellationToken;

use super::path::check_name;
use super::repository::{failed, open};
use super::snapshot::{MAX_ENTRIES, Mode as EntryMode};
use super::{ObjectError, Snapshot};

/// No repository nests its directories deeper; each level holds a descriptor open.
const MAX_DEPTH: usize = 200;

/// The first line of a Git LFS pointer file: <https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md>
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/v1";

/// Writes a commit's files into the empty directory `tree`, byte for byte as they are in git: no end-of-line conversion
/// and no filter, so that a file on disk equals its blob. Symlinks are made and never followed; a submodule is an empty
/// directory. Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// `Cancelled`, a full disk, or a commit with a path that git forbids.
pub fn checkout(
    git_dir: &Path,
    commit: &CommitId,
    tree: &Path,
    cancel: &CancellationToken,
) -> Result<(), ObjectError> {
    let snapshot = Snapshot::open(git_dir, commit)?;
    let files = snapshot.tree().map_err(failed("open a commit", git_dir))?;
    let top =
        fs::open(tree, DIRECTORY, Mode::empty()).map_err(|source| unwritable(tree.display(), source))?;
    let mut writer = Writer { snapshot: &snapshot, cancel, written: 0 };
    writer.directory(&files, top.as_fd(), "", 0)
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const NEW_FILE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// libgit2's own checkout asks the kernel several times as much per file, and takes twice as long. This one starts from
/// an empty directory, goes down by descriptors and only ever creates, so no link can lead it out of the tree.
struct Writer<'a> {
    snapshot: &'a Snapshot,
    cancel: &'a CancellationToken,
    written: usize,
}

impl Writer<'_> {
    fn directory(
        &mut self,
        tree: &Tree<'_>,
        into: BorrowedFd<'_>,
        above: &str,
        depth: usize,
    ) -> Result<(), ObjectError> {
        let git_dir = self.snapshot.git_dir();
        if depth > MAX_DEPTH {
            return Err(ObjectError::TooLarge {
                git_dir: git_dir.to_owned(),
                what: "directories in each other",
            });
        }
        let library = failed("check a commit out", git_dir);
        for entry in tree {
            let name = entry.name_bytes();
            let path = format!("{above}{}", String::from_utf8_lossy(name));
            check_name(name, &path)?;
            self.count()?;
            let blob = || self.snapshot.repository().find_blob(entry.id()).map_err(&library);
            let io = |source: Errno| unwritable(&path, source);
            match EntryMode::of(entry.filemode()) {
                Some(mode @ (EntryMode::Regular | EntryMode::Executable)) => {
                    let bits = if mode == EntryMode::Executable { 0o777 } else { 0o666 };
                    let file = fs::openat(into, name, NEW_FILE, Mode::from(bits)).map_err(io)?;
                    let written = File::from(file).write_all(blob()?.content());
                    written.map_err(|source| ObjectError::Unwritable { path: path.clone(), source })?;
                }
                Some(EntryMode::Symlink) => fs::symlinkat(blob()?.content(), into, name).map_err(io)?,
                Some(EntryMode::Gitlink) => fs::mkdirat(into, name, Mode::from(0o777)).map_err(io)?,
                None => {
                    fs::mkdirat(into, name, Mode::from(0o777)).map_err(io)?;
                    let below = fs::openat(into, name, DIRECTORY, Mode::empty()).map_err(io)?;
                    let files = self.snapshot.repository().find_tree(entry.id()).map_err(&library)?;
                    self.directory(&files, below.as_fd(), &format!("{path}/"), depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), ObjectError> {
        let git_dir = || self.snapshot.git_dir().to_owned();
        self.written += 1;
        if self.cancel.is_cancelled() {
            return Err(ObjectError::Cancelled { git_dir: git_dir() });
        }
        if self.written > MAX_ENTRIES {
            return Err(ObjectError::TooLarge { git_dir: git_dir(), what: "files" });
        }
        Ok(())
    }
}

fn unwritable(path: impl ToString, source: Errno) -> ObjectError {
    ObjectError::Unwritable { path: path.to_string(), source: source.into() }
}

/// The paths to which the commit's own `.gitattributes` give a filter, with its name, e.g. `lfs`. What git holds of
/// them is not what their users see, so an edit would damage them. Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// When an object is missing or broken.
pub fn filtered_paths(snapshot: &Snapshot) -> Result<BTreeMap<String, String>, ObjectError> {
    let entries = snapshot.entries()?;
    let mut named = false;
    for entry in &entries {
        let is_attributes = entry.path == ".gitattributes" || entry.path.ends_with("/.gitattributes");
        if is_attributes && entry.mode.is_file() {
            named |= contains(&snapshot.read(&entry.path)?, b"filter");
        }
    }
    if !named {
        return Ok(BTreeMap::new());
    }
    let look = || {
        let repository = open(snapshot.git_dir())?;
        let mut index = Index::new()?;
        index.read_tree(&snapshot.tree()?)?;
        repository.set_index(&mut index)?;
        let flags = AttrCheckFlags::INDEX_ONLY | AttrCheckFlags::NO_SYSTEM;
        let mut filtered = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| entry.mode.is_file()) {
            let value = repository.get_attr(Path::new(&entry.path), "filter", flags)?;
            if let AttrValue::String(filter) = AttrValue::from_string(value) {
                filtered.insert(entry.path, filter.to_owned());
            }
        }
        Ok(filtered)
    };
    look().map_err(failed("read git's attributes", snapshot.git_dir()))
}

/// Whether this content stands for a file that Git LFS keeps elsewhere.
#[must_use]
pub fn is_lfs_pointer(content: &[u8]) -> bool {
    content.len() < 1024 && content.starts_with(LFS_POINTER)
}

fn contains(content: &[u8], word: &[u8]) -> bool {
    content.windows(word.len()).any(|window| window == word)
}
