//! The child's fetch: one branch at depth 1, and the agent's branch if there is one.

use std::sync::Arc;
use std::time::Duration;

use git2::{
    AutotagOption, Direction, FetchOptions, Oid, Remote, RemoteCallbacks, RemoteConnection, Repository,
};
use jira_agent::domain::BranchName;

use super::child::{Reporter, local, stopped};
use super::link::Link;
use super::protocol::{FetchOutcome, Progress};
use super::{GitError, repository};

/// What to bring.
pub(super) struct Wanted {
    pub(super) base: Option<BranchName>,
    pub(super) agent_branch: Option<BranchName>,
    pub(super) base_depth: u32,
    pub(super) agent_depth: u32,
}

pub(super) fn fetch(
    link: &Arc<Link>,
    repository: &Repository,
    wanted: &Wanted,
    reporter: &Reporter,
) -> Result<FetchOutcome, GitError> {
    let mut download = Download { link, repository, reporter, objects: 0 };
    let mut remote = download.remote()?;
    let (connection, heads) = download.connect(&mut remote)?;
    let missing = |branch: String| GitError::BranchMissing { url: link.url().to_string(), branch };
    if heads.all.is_empty() {
        return Err(GitError::Empty { url: link.url().to_string() });
    }
    let base_branch = wanted.base.clone().or_else(|| heads.default.clone());
    let base_branch = base_branch.ok_or_else(|| missing("HEAD".to_owned()))?;
    let base = heads.find(&base_branch).ok_or_else(|| missing(base_branch.to_string()))?;
    download.branch(connection, &base_branch, base, wanted.base_depth)?;

    let agent = wanted.agent_branch.as_ref().filter(|branch| heads.find(branch).is_some());
    let agent_head = match agent {
        Some(branch) => download.agent_branch(branch, wanted.agent_depth)?,
        None => None,
    };
    let id = |oid| repository::commit_id(oid).map_err(|error| local("read a commit's id", &error));
    Ok(FetchOutcome {
        base: id(base)?,
        base_branch,
        default_branch: heads.default,
        agent_head: agent_head.map(id).transpose()?,
        received_bytes: link.received_bytes(),
        objects: download.objects,
        // The parent knows it: it has started this process.
        duration: Duration::ZERO,
    })
}

/// The branches that the remote has named.
struct Heads {
    all: Vec<(String, Oid)>,
    default: Option<BranchName>,
}

impl Heads {
    fn new(listed: &[git2::RemoteHead<'_>]) -> Self {
        let default =
            listed.iter().find(|head| head.name() == "HEAD").and_then(git2::RemoteHead::symref_target);
        let default = default.and_then(|target| target.strip_prefix("refs/heads/")?.parse().ok());
        Self { all: listed.iter().map(|head| (head.name().to_owned(), head.oid())).collect(), default }
    }

    fn find(&self, branch: &BranchName) -> Option<Oid> {
        let reference = branch.reference();
        self.all.iter().find(|(name, _)| *name == reference).map(|(_, oid)| *oid)
    }
}

struct Download<'a> {
    link: &'a Link,
    repository: &'a Repository,
    reporter: &'a Reporter,
    objects: u64,
}

impl<'a> Download<'a> {
    fn remote(&self) -> Result<Remote<'a>, GitError> {
        let remote = self.repository.remote_anonymous(&self.link.url().clone_url());
        remote.map_err(|error| local("name the remote", &error))
    }

    fn connect<'remote>(
        &self,
        remote: &'remote mut Remote<'a>,
    ) -> Result<(RemoteConnection<'a, 'remote, 'static>, Heads), GitError> {
        let connection = remote.connect_auth(Direction::Fetch, None, None);
        let connection = connection.map_err(|error| stopped(self.link, &error))?;
        let listed = connection.list().map_err(|error| stopped(self.link, &error))?;
        let heads = Heads::new(listed);
        Ok((connection, heads))
    }

    /// Brings the agent's branch, asked for anew: libgit2 confuses two negotiations of one connection, because it
    /// keeps what both sides had in common in the first.
    fn agent_branch(&mut self, branch: &BranchName, depth: u32) -> Result<Option<Oid>, GitError> {
        let mut remote = self.remote()?;
        let (connection, heads) = self.connect(&mut remote)?;
        let Some(head) = heads.find(branch) else {
            return Ok(None);
        };
        self.branch(connection, branch, head, depth)?;
        Ok(Some(head))
    }

    /// Brings one branch and notes where it is.
    fn branch(
        &mut self,
        mut connection: RemoteConnection<'_, '_, '_>,
        branch: &BranchName,
        head: Oid,
        depth: u32,
    ) -> Result<(), GitError> {
        let mut callbacks = RemoteCallbacks::new();
        let (reporter, objects) = (self.reporter, self.objects);
        callbacks.transfer_progress(move |stats| {
            reporter.progress(Progress {
                objects: objects + stats.received_objects() as u64,
                total_objects: objects + stats.total_objects() as u64,
                bytes: stats.received_bytes() as u64,
            });
            true
        });
        let mut options = FetchOptions::new();
        options
            .remote_callbacks(callbacks)
            .download_tags(AutotagOption::None)
            .depth(i32::try_from(depth).unwrap_or(i32::MAX));
        let noted = format!("refs/remotes/origin/{branch}");
        let refspec = format!("+{}:{noted}", branch.reference());
        let remote = connection.remote();
        remote.download(&[refspec], Some(&mut options)).map_err(|error| stopped(self.link, &error))?;
        self.objects += remote.stats().received_objects() as u64;

        let note = || {
            self.repository.find_commit(head)?;
            self.repository.reference(&noted, head, true, "fetch")
        };
        note().map_err(|error| local("note the fetched commit", &error)).map(drop)
    }
}
