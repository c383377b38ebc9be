//! Settings of a repository, and ways to misbehave.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::GitHub;
use super::state::{Repository, now_seconds};
use crate::git_http::{GitService, Stall};

impl GitHub {
    /// Changes the default branch, and what a clone checks out.
    ///
    /// # Errors
    /// When there is no such repository or branch.
    pub fn set_default_branch(&self, slug: &str, branch: &str) -> Result<()> {
        self.change(slug, |repository| {
            ensure!(repository.git.tip(branch).is_some(), "{slug} has no branch {branch}");
            repository.git.text(&["symbolic-ref", "HEAD", &format!("refs/heads/{branch}")])?;
            branch.clone_into(&mut repository.default_branch);
            Ok(())
        })
    }

    /// Lets only those with a right in the repository see it.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn set_private(&self, slug: &str, private: bool) -> Result<()> {
        self.change(slug, |repository| {
            repository.private = private;
            Ok(())
        })
    }

    /// Makes a repository read-only, or not.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn set_archived(&self, slug: &str, archived: bool) -> Result<()> {
        self.change(slug, |repository| {
            repository.archived = archived;
            Ok(())
        })
    }

    /// Protects a branch: every push to it is refused, pull requests only.
    ///
    /// # Errors
    /// When there is no such repository, or its rules cannot be written.
    pub fn protect(&self, slug: &str, branch: &str) -> Result<()> {
        self.change(slug, |repository| {
            repository.protected.insert(branch.to_owned());
            write_protected(repository)
        })
    }

    /// Lets pushes to a protected branch through again.
    ///
    /// # Errors
    /// When there is no such repository, or its rules cannot be written.
    pub fn unprotect(&self, slug: &str, branch: &str) -> Result<()> {
        self.change(slug, |repository| {
            repository.protected.remove(branch);
            write_protected(repository)
        })
    }

    /// Refuses pushes to refs that match a shell pattern (`refs/heads/ai/*`; `*` also matches `/`), with a message the client sees. Several
    /// can be set; [`GitHub::accept_pushes`] takes them all back.
    ///
    /// # Errors
    /// When there is no such repository, the texts have line ends or tabs, or its rules cannot be written.
    pub fn refuse_push(&self, slug: &str, ref_glob: &str, message: &str) -> Result<()> {
        ensure!(!format!("{ref_glob}{message}").contains(['\n', '\t']), "a refusal is one line without tabs");
        self.change(slug, |repository| {
            let path = repository.git.directory().join("refuse");
            let before = fs::read_to_string(&path).unwrap_or_default();
            fs::write(&path, format!("{before}{ref_glob}\t{message}\n"))
                .context("the refusal cannot be written")
        })
    }

    /// Takes back every [`GitHub::refuse_push`] of a repository.
    ///
    /// # Errors
    /// When there is no such repository, or its rules cannot be written.
    pub fn accept_pushes(&self, slug: &str) -> Result<()> {
        self.change(slug, |repository| {
            fs::write(repository.git.directory().join("refuse"), "").context("not written")
        })
    }

    /// Lets a push touch `.github/workflows/`. At first that is refused, as GitHub does to a token without the right to workflows.
    ///
    /// # Errors
    /// When there is no such repository, or its rules cannot be written.
    pub fn allow_workflows(&self, slug: &str, allowed: bool) -> Result<()> {
        self.change(slug, |repository| {
            let path = repository.git.directory().join("workflows-allowed");
            match allowed {
                true => fs::write(&path, "").context("the rule cannot be written"),
                false if path.exists() => fs::remove_file(&path).context("the rule cannot be removed"),
                false => Ok(()),
            }
        })
    }

    /// Refuses pushes that drop commits, forced or not.
    ///
    /// # Errors
    /// When there is no such repository or git fails.
    pub fn deny_non_fast_forwards(&self, slug: &str, denied: bool) -> Result<()> {
        self.change(slug, |repository| {
            repository.git.configure("receive.denyNonFastForwards", if denied { "true" } else { "false" })
        })
    }

    /// Refuses draft pull requests, as for a private repository on a free plan.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn refuse_drafts(&self, slug: &str, refused: bool) -> Result<()> {
        self.change(slug, |repository| {
            repository.drafts_refused = refused;
            Ok(())
        })
    }

    /// Refuses every request for review, as if nobody were a collaborator.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn refuse_reviewers(&self, slug: &str, refused: bool) -> Result<()> {
        self.change(slug, |repository| {
            repository.reviewers_refused = refused;
            Ok(())
        })
    }

    /// Refuses to mark drafts as ready for review, as GitHub does to many integrations.
    pub fn refuse_ready(&self, refused: bool) {
        self.store().ready_refused = refused;
    }

    /// Gives a repository a new slug. The old one redirects: REST with 301 or 307, git with 301.
    ///
    /// # Errors
    /// When there is no such repository, or the new slug is taken or not `owner/name`.
    pub fn rename_repository(&self, slug: &str, new_slug: &str) -> Result<()> {
        let (owner, name) =
            new_slug.split_once('/').with_context(|| format!("{new_slug:?} is not owner/name"))?;
        let mut store = self.store();
        let store = &mut *store;
        ensure!(
            !store.repositories.contains_key(&new_slug.to_lowercase()),
            "the repository {new_slug} exists already"
        );
        store.expect_repository(slug)?;
        let mut repository =
            store.repositories.remove(&slug.to_lowercase()).context("the repository went away")?;
        store.users.add(&mut store.ids, owner, "Organization");
        owner.clone_into(&mut repository.owner);
        name.clone_into(&mut repository.name);
        store.repositories.insert(new_slug.to_lowercase(), repository);
        store.renamed.insert(slug.to_lowercase(), new_slug.to_owned());
        Ok(())
    }

    /// Lets a token expire after so many more requests, REST and git together: 401 from then on.
    pub fn expire_token_after(&self, token: &str, requests: u64) {
        match self.store().tokens.get_mut(token) {
            Some(found) => found.requests_left = Some(requests),
            None => self.problems().report("GitHub: a token that was never added was to expire"),
        }
    }

    /// Leaves a token so many REST requests until, `reset_in` from now, it has all of the hour's again: 403 in between.
    pub fn limit_requests(&self, token: &str, remaining: u64, reset_in: Duration) {
        match self.store().tokens.get_mut(token) {
            Some(found) => {
                found.used = found.limit.saturating_sub(remaining);
                found.resets_at = now_seconds().saturating_add_unsigned(reset_in.as_secs());
            }
            None => self.problems().report("GitHub: a token that was never added was to be limited"),
        }
    }

    /// Lets a token make so many REST requests an hour, as an agreement with GitHub does; 5,000 without it.
    pub fn set_hourly_limit(&self, token: &str, limit: u64) {
        match self.store().tokens.get_mut(token) {
            Some(found) => found.limit = limit,
            None => self.problems().report("GitHub: a token that was never added was to get another limit"),
        }
    }

    /// Lets every answer of a git service hang after so many bytes of its body, until the returned handle releases it. The list of refs that
    /// opens an exchange is not meant: it always comes.
    #[must_use = "the answers hang until it is released or dropped"]
    pub fn stall(&self, slug: &str, service: GitService, after_bytes: u64) -> Stall {
        self.store().disturbances.stall(slug, service, after_bytes)
    }

    /// Breaks the connection in the next answer of a git service that is longer than so many bytes. A push has been done by then.
    pub fn break_after(&self, slug: &str, service: GitService, bytes: u64) {
        self.store().disturbances.break_after(slug, service, bytes);
    }

    fn change(&self, slug: &str, change: impl FnOnce(&mut Repository) -> Result<()>) -> Result<()> {
        change(self.store().expect_repository(slug)?)
    }
}

fn write_protected(repository: &Repository) -> Result<()> {
    let lines: String = repository.protected.iter().map(|branch| format!("{branch}\n")).collect();
    fs::write(repository.git.directory().join("protected"), lines).context("the protection cannot be written")
}
