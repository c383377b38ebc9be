//! Reading the files of a commit from git's objects, never from a tree on disk.

use std::path::{Path, PathBuf};

use git2::{ObjectType, Oid, Repository, Tree, TreeWalkMode, TreeWalkResult};
use jira_agent::domain::CommitId;

use super::ObjectError;
use super::repository::{failed, oid, open};

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
        Ok(Self {
            git_dir: git_dir.to_owned(),
            commit: commit.clone(),
            repository,
            tree,
        })
    }

    /// The commit.
    #[must_use]
    pub fn commit(&self) -> &CommitId {
        &self.commit
    }

    /// All entries but directories, in git's order. A name that is not UTF-8 is left out: it cannot be shown or edited,
    /// and a commit keeps it as it is.
    ///
    /// # Errors
    /// When an object is missing or broken.
    pub fn entries(&self) -> Result<Vec<Entry>, ObjectError> {
        self.list()
            .map_err(failed("list a commit's files", &self.git_dir))
    }

    fn list(&self) -> Result<Vec<Entry>, git2::Error> {
        let objects = self.repository.odb()?;
        let mut entries = Vec::new();
        let mut failure = None;
        self.tree()?.walk(TreeWalkMode::PreOrder, |directory, entry| {
            let (Some(mode), Ok(name)) = (Mode::of(entry.filemode()), entry.name()) else {
                return TreeWalkResult::Ok;
            };
            let size = match mode {
                Mode::Gitlink => Ok(0),
                _ => objects.read_header(entry.id()).map(|(size, _)| size as u64),
            };
            match size {
                Ok(size) => {
                    let path = format!("{directory}{name}");
                    entries.push(Entry {
                        path,
                        mode,
                        size,
                        oid: entry.id().to_string(),
                    });
                    TreeWalkResult::Ok
                }
                Err(error) => {
                    failure = Some(error);
                    TreeWalkResult::Abort
                }
            }
        })?;
        match failure {
            Some(error) => Err(error),
            None => Ok(entries),
        }
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
        let blob = self
            .repository
            .find_blob(entry.id())
            .map_err(failed("read a file", &self.git_dir))?;
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
