//! Opening the trusted git directory, and how local git failures look.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use git2::{Config, Oid, Repository, RepositoryInitOptions, RepositoryOpenFlags};
use jira_agent::domain::CommitId;

use super::UnsafePath;

/// A failure of git on local objects.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// The commit holds nothing at this path.
    #[error("`{path}` is not in commit {commit}")]
    Missing {
        /// The path asked for.
        path: String,
        /// The commit looked into.
        commit: CommitId,
    },
    /// The path is a directory, a symlink or a submodule.
    #[error("`{path}` is not a file in commit {commit}")]
    NotAFile {
        /// The path asked for.
        path: String,
        /// The commit looked into.
        commit: CommitId,
    },
    /// The commit holds a path that git forbids.
    #[error(transparent)]
    UnsafePath(#[from] UnsafePath),
    /// A file of the commit cannot be written.
    #[error("cannot write `{path}`")]
    Unwritable {
        /// The path in the commit, or the directory to write into.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The commit holds more than a repository has: it would fill the disk or the memory.
    #[error("a commit in {} holds too many {what}", git_dir.display())]
    TooLarge {
        /// The git directory.
        git_dir: PathBuf,
        /// What there is too much of.
        what: &'static str,
    },
    /// The caller's token was cancelled.
    #[error("the work on {} was cancelled", git_dir.display())]
    Cancelled {
        /// The git directory.
        git_dir: PathBuf,
    },
    /// libgit2 failed.
    #[error("cannot {action} in {}", git_dir.display())]
    Library {
        /// What was tried.
        action: &'static str,
        /// The git directory.
        git_dir: PathBuf,
        /// What libgit2 says.
        source: LibraryError,
    },
}

/// libgit2's own words.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LibraryError(git2::Error);

/// Turns a libgit2 error into ours: `.map_err(failed("read a blob", git_dir))`.
pub(super) fn failed(action: &'static str, git_dir: &Path) -> impl Fn(git2::Error) -> ObjectError {
    move |error| ObjectError::Library { action, git_dir: git_dir.to_owned(), source: LibraryError(error) }
}

/// Opens the git directory without obeying any configuration, its own included.
pub(super) fn open(git_dir: &Path) -> Result<Repository, git2::Error> {
    let flags = RepositoryOpenFlags::BARE | RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT;
    let repository = Repository::open_ext(git_dir, flags, std::iter::empty::<&OsStr>())?;
    repository.set_config(&Config::new()?)?;
    Ok(repository)
}

/// Opens the git directory, or makes an empty one without hooks or templates.
pub(super) fn open_or_init(git_dir: &Path) -> Result<Repository, git2::Error> {
    if !git_dir.join("HEAD").exists() {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).mkpath(true).initial_head("unused");
        Repository::init_opts(git_dir, &options)?;
    }
    open(git_dir)
}

pub(super) fn oid(commit: &CommitId) -> Result<Oid, git2::Error> {
    Oid::from_str(commit.as_str())
}

pub(super) fn commit_id(oid: Oid) -> Result<CommitId, git2::Error> {
    oid.to_string().parse().map_err(|_| git2::Error::from_str("libgit2 gave an object id that is not one"))
}
