//! Reading the files of a commit from git's objects, never from a tree on disk.

use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository, Tree};
use jira_agent::domain::CommitId;

use super::ObjectError;
use super::repository::{failed, oid, open};

/// The most entries of a commit: a few small objects can stand for billions of files.
pub(super) const MAX_ENTRIES: usize = 1_000_000;

/// What an entry of a commit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A file.
    Regular,
    /// A file that may be executed.
    Executable,
    /// A symbolic link; its content is the path it points to.
    Symlink,
    /// A commit of another repository: a submodule.
    Gitlink,
}

impl Mode {
    pub(super) fn of(bits: i32) -> Option<Self> {
        match bits & 0o170_000 {
            0o100_000 if bits & 0o111 != 0 => Some(Self::Executable),
            0o100_000 => Some(Self::Regular),
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Gitlink),
            _ => None,
        }
    }

    /// Whether this is a file that may be edited.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Self::Regular | Self::Executable)
    }
}

/// One entry of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path from the top, parts separated by `/`.
    pub path: String,
    /// What it is.
    pub mode: Mode,
    /// Bytes of the content; 0 for a gitlink.
    pub size: u64,
    /// The id of the content.
    pub oid: String,
}

/// The files of one commit.
pub struct Snapshot {
    git_dir: PathBuf,
    commit: CommitId,
    repository: Repository,
    tree: Oid,
}

impl Snapshot {
    /// Opens a commit that was fetched or made.
    ///
    /// # Errors
    /// When the git directory has no such commit.
    pub fn open(git_dir: &Path, commit: &CommitId) -> Result<Self, ObjectError> {
        let find = || {
            let repository = open(git_dir)?;
            let tree = repository.find_commit(oid(commit)?)?.tree_id();
            Ok((repository, tree))
        };
        let (repository, tree) = find().map_err(failed("open a commit", git_dir))?;
        Ok(Self { git_dir: git_dir.to_owned(), commit: commit.clone(), repository, tree })
    }

    /// The commit.
    #[must_use]
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// All entries but directories, sorted by path. A name that is not UTF-8 is left out: it cannot be shown or edited,
    /// and a commit keeps it as it is.
    ///
    /// # Errors
    /// `TooLarge`, or a missing or broken object.
    pub fn entries(&self) -> Result<Vec<Entry>, ObjectError> {
        let library = failed("list a commit's files", &self.git_dir);
        let objects = self.repository.odb().map_err(&library)?;
        let mut entries = Vec::new();
        // Directories still to be listed, the next one last.
        let mut directories = vec![(String::new(), self.tree)];
        // Everything that was looked at counts, so that trees within trees without a file come to an end too.
        let mut seen = 0_usize;
        while let Some((above, id)) = directories.pop() {
            let tree = self.repository.find_tree(id).map_err(&library)?;
            for entry in &tree {
                let Ok(name) = entry.name() else { continue };
                let path = format!("{above}{name}");
                let Some(mode) = Mode::of(entry.filemode()) else {
                    directories.push((format!("{path}/"), entry.id()));
                    continue;
                };
                let size = match mode {
                    Mode::Gitlink => 0,
                    _ => objects.read_header(entry.id()).map_err(&library)?.0 as u64,
                };
                let oid = entry.id().to_string();
                entries.push(Entry { path, mode, size, oid });
            }
            seen += 1 + tree.len();
            if seen > MAX_ENTRIES {
                return Err(ObjectError::TooLarge { git_dir: self.git_dir.clone(), what: "files" });
            }
        }
        entries.sort_unstable_by(|one, two| one.path.cmp(&two.path));
        Ok(entries)
    }

    /// The bytes of a file; of a symlink the path it points to. Links are not followed.
    ///
    /// # Errors
    /// `Missing`, `NotAFile`, or a broken object.
    pub fn read(&self, path: &str) -> Result<Vec<u8>, ObjectError> {
        let (path, commit) = (path.to_owned(), self.commit.clone());
        let entry = match self.tree().and_then(|tree| tree.get_path(Path::new(&path))) {
            Ok(entry) => entry,
            Err(error) if error.code() == git2::ErrorCode::NotFound => {
                return Err(ObjectError::Missing { path, commit });
            }
            Err(error) => return Err(failed("look up a file", &self.git_dir)(error)),
        };
        if entry.kind() != Some(ObjectType::Blob) {
            return Err(ObjectError::NotAFile { path, commit });
        }
        let blob = self.repository.find_blob(entry.id()).map_err(failed("read a file", &self.git_dir))?;
        Ok(blob.content().to_owned())
    }

    pub(super) fn tree(&self) -> Result<Tree<'_>, git2::Error> {
        self.repository.find_tree(self.tree)
    }

    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }
}
