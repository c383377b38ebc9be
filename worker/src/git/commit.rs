//! Making a commit out of git's objects: no index and no tree on disk, which commands may have touched.

use std::path::Path;

use git2::build::TreeUpdateBuilder;
use git2::{FileMode, Repository, Signature, Time, Tree};
use jiff::Timestamp;
use jira_agent::domain::CommitId;

use super::path::{UnsafePath, check_path};
use super::repository::{commit_id, failed, oid, open};
use super::{Mode, ObjectError};

/// Who makes a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
}

/// One change of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Creates a file or replaces its content.
    Write {
        /// The path from the top.
        path: String,
        /// The whole content.
        bytes: Vec<u8>,
        /// Whether the file may be executed; none: as before, and not for a new file.
        executable: Option<bool>,
    },
    /// Removes a file.
    Delete {
        /// The path from the top.
        path: String,
    },
}

impl Change {
    /// The path that changes.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Write { path, .. } | Self::Delete { path } => path,
        }
    }
}

/// A commit to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    /// The parents; the changes are made to the files of the first.
    pub parents: Vec<CommitId>,
    /// The changes, at most one for a path. Deletions come first, whatever their order here.
    pub changes: Vec<Change>,
    /// Whether a commit without changes is wanted, like the one that carries a plan.
    pub allow_empty: bool,
    /// The whole message.
    pub message: String,
    /// Author and committer.
    pub author: Identity,
    /// Author and committer time; one time makes one id.
    pub time: Timestamp,
}

/// Why a commit was not made.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A path may not be written.
    #[error(transparent)]
    UnsafePath(#[from] UnsafePath),
    /// The path is, or lies behind, something that is not an ordinary file or directory.
    #[error("`{path}` cannot be changed: `{obstacle}` is {what}")]
    Obstacle {
        /// The path to change.
        path: String,
        /// The entry that is in the way.
        obstacle: String,
        /// What it is.
        what: &'static str,
    },
    /// There is no such file to delete.
    #[error("`{path}` cannot be deleted: it is not in the commit")]
    Missing {
        /// The path to delete.
        path: String,
    },
    /// Two changes of one path.
    #[error("`{path}` is changed twice")]
    Twice {
        /// The path.
        path: String,
    },
    /// The files would be as before.
    #[error("the commit would change nothing")]
    Nothing,
    /// Git failed.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

/// Makes a commit in the git directory and moves no reference. Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// [`CommitError`]; then nothing is committed.
pub fn commit(git_dir: &Path, new: &NewCommit) -> Result<CommitId, CommitError> {
    let library = failed("make a commit", git_dir);
    let repository = open(git_dir).map_err(&library)?;
    let find = || {
        let parents = new.parents.iter().map(|parent| repository.find_commit(oid(parent)?));
        let parents: Vec<git2::Commit<'_>> = parents.collect::<Result<_, git2::Error>>()?;
        let tree = match parents.first() {
            Some(parent) => parent.tree()?,
            None => repository.find_tree(repository.treebuilder(None)?.write()?)?,
        };
        Ok((parents, tree))
    };
    let (parents, before) = find().map_err(&library)?;
    let mut paths: Vec<&str> = new.changes.iter().map(Change::path).collect();
    paths.sort_unstable();
    if let Some(pair) = paths.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(CommitError::Twice { path: pair[0].to_owned() });
    }

    let builder = Builder { git_dir, repository: &repository };
    let after = builder.delete(&before, &new.changes)?;
    let after = builder.write(&after, &new.changes)?;
    if after.id() == before.id() && !new.allow_empty {
        return Err(CommitError::Nothing);
    }
    let write = || {
        let time = Time::new(new.time.as_second(), 0);
        let author = Signature::new(&new.author.name, &new.author.email, &time)?;
        let parents: Vec<&git2::Commit<'_>> = parents.iter().collect();
        commit_id(repository.commit(None, &author, &author, &new.message, &after, &parents)?)
    };
    Ok(write().map_err(&library)?)
}

struct Builder<'a> {
    git_dir: &'a Path,
    repository: &'a Repository,
}

impl<'a> Builder<'a> {
    fn delete(&self, before: &Tree<'a>, changes: &[Change]) -> Result<Tree<'a>, CommitError> {
        let mut updates = TreeUpdateBuilder::new();
        for change in changes {
            if let Change::Delete { path } = change {
                check_path(path)?;
                self.file_at(before, path)?.ok_or_else(|| CommitError::Missing { path: path.clone() })?;
                updates.remove(path);
            }
        }
        self.build(before, &mut updates)
    }

    fn write(&self, before: &Tree<'a>, changes: &[Change]) -> Result<Tree<'a>, CommitError> {
        let mut updates = TreeUpdateBuilder::new();
        for change in changes {
            if let Change::Write { path, bytes, executable } = change {
                check_path(path)?;
                let now = self.file_at(before, path)?;
                let executable = executable.unwrap_or(now == Some(Mode::Executable));
                let mode = if executable { FileMode::BlobExecutable } else { FileMode::Blob };
                let blob = self.repository.blob(bytes).map_err(failed("write a file", self.git_dir))?;
                updates.upsert(path.as_str(), blob, mode);
            }
        }
        self.build(before, &mut updates)
    }

    fn build(&self, before: &Tree<'a>, updates: &mut TreeUpdateBuilder) -> Result<Tree<'a>, CommitError> {
        let built = updates.create_updated(self.repository, before);
        let built = built.and_then(|tree| self.repository.find_tree(tree));
        Ok(built.map_err(failed("write a directory", self.git_dir))?)
    }

    /// The mode of the file at `path`, none when there is nothing; an error when it is no file, or lies behind one.
    fn file_at(&self, tree: &Tree<'_>, path: &str) -> Result<Option<Mode>, CommitError> {
        let blocked = |obstacle: &str, what| {
            Err(CommitError::Obstacle { path: path.to_owned(), obstacle: obstacle.to_owned(), what })
        };
        let library = failed("look up a path", self.git_dir);
        let mut directory = tree.clone();
        let mut start = 0;
        loop {
            let end = path[start..].find('/').map(|offset| start + offset);
            let name = &path[start..end.unwrap_or(path.len())];
            let entry = directory.get_name(name).map(|entry| (entry.id(), Mode::of(entry.filemode())));
            let Some((id, mode)) = entry else { return Ok(None) };
            let here = &path[..end.unwrap_or(path.len())];
            match (mode, end) {
                (Some(Mode::Symlink), _) => return blocked(here, "a symbolic link"),
                (Some(Mode::Gitlink), _) => return blocked(here, "a submodule"),
                (Some(_), Some(_)) => return blocked(here, "a file"),
                (Some(mode), None) => return Ok(Some(mode)),
                (None, None) => return blocked(here, "a directory"),
                (None, Some(slash)) => {
                    directory = self.repository.find_tree(id).map_err(&library)?;
                    start = slash + 1;
                }
            }
        }
    }
}
