//! What people did before and beside the product: repositories, commits, issues, comments, merges.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::GitHub;
use super::git::{File, Git};
use super::state::{self, Comment, Issue, Merge, Repository, Store, now};

/// The branch that a new repository has.
const FIRST_BRANCH: &str = "main";

/// An issue as a person files it.
#[derive(Clone, Debug)]
pub struct IssueSeed {
    /// The number; the next free one when `None`.
    pub number: Option<u64>,
    /// The title.
    pub title: String,
    /// The text, in Markdown.
    pub body: Option<String>,
    /// The author's login; `None` is an account that no longer exists, which the API shows as `null`.
    pub user: Option<String>,
    /// Names of labels; the repository gets those it lacks.
    pub labels: Vec<String>,
    /// Logins.
    pub assignees: Vec<String>,
    /// Whether it is open.
    pub open: bool,
}

impl IssueSeed {
    /// An open issue with a title, filed by `reporter`.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            number: None,
            title: title.into(),
            body: None,
            user: Some("reporter".to_owned()),
            labels: Vec::new(),
            assignees: Vec::new(),
            open: true,
        }
    }
}

impl GitHub {
    /// Adds a public repository whose branch `main` has one commit: the files of a folder, without its `.git`. The same folder gives
    /// the same commit id everywhere.
    ///
    /// # Errors
    /// When the folder cannot be read, the slug is not `owner/name` or is taken, or git fails.
    pub fn add_repository_from_dir(&self, slug: &str, dir: &Path) -> Result<()> {
        let mut files = Vec::new();
        read_folder(dir, "", &mut files)
            .with_context(|| format!("the folder {} cannot be read", dir.display()))?;
        self.add_repository(slug, &files)
    }

    /// Adds a public repository whose branch `main` has one commit with these files; without files it has no commit.
    ///
    /// # Errors
    /// When the slug is not `owner/name` or is taken, or git fails.
    pub fn add_repository_with(&self, slug: &str, files: &[(&str, &[u8])]) -> Result<()> {
        let files: Vec<File> = files.iter().map(|(path, content)| File::text(path, content)).collect();
        self.add_repository(slug, &files)
    }

    fn add_repository(&self, slug: &str, files: &[File]) -> Result<()> {
        let (owner, name) = slug.split_once('/').with_context(|| format!("{slug:?} is not owner/name"))?;
        let mut store = self.store();
        let store = &mut *store;
        ensure!(
            !store.repositories.contains_key(&slug.to_lowercase()),
            "the repository {slug} exists already"
        );
        let root = store.root()?;
        let id = store.ids.next();
        let git = Git::init(state::repository_path(&root, id), FIRST_BRANCH)?;
        if !files.is_empty() {
            git.commit(FIRST_BRANCH, None, "Import", files)?;
        }
        store.users.add(&mut store.ids, owner, "Organization");
        let repository = Repository {
            id,
            owner: owner.to_owned(),
            name: name.to_owned(),
            git,
            default_branch: FIRST_BRANCH.to_owned(),
            private: false,
            archived: false,
            drafts_refused: false,
            reviewers_refused: false,
            permissions: Default::default(),
            teams: Default::default(),
            protected: Default::default(),
            labels: Default::default(),
            issues: Default::default(),
            comments: Default::default(),
            created_at: now(),
        };
        store.repositories.insert(slug.to_lowercase(), repository);
        Ok(())
    }

    /// A person's commit on a branch, straight in the repository; a new branch starts at the default branch. Gives the commit id.
    ///
    /// # Errors
    /// When there is no such repository or git fails.
    pub fn push_files(
        &self,
        slug: &str,
        branch: &str,
        message: &str,
        files: &[(&str, &[u8])],
    ) -> Result<String> {
        let mut store = self.store();
        let repository = store.expect_repository(slug)?;
        let parent = repository.git.tip(branch).or_else(|| repository.git.tip(&repository.default_branch));
        let files: Vec<File> = files.iter().map(|(path, content)| File::text(path, content)).collect();
        let commit = repository.git.commit(branch, parent.as_deref(), message, &files)?;
        repository.follow_branches();
        Ok(commit)
    }

    /// Removes a branch, which closes its pull request.
    ///
    /// # Errors
    /// When there is no such repository or git fails.
    pub fn delete_branch(&self, slug: &str, branch: &str) -> Result<()> {
        let mut store = self.store();
        let repository = store.expect_repository(slug)?;
        repository.git.delete_ref(&format!("refs/heads/{branch}"))?;
        repository.follow_branches();
        Ok(())
    }

    /// Files an issue and gives its number.
    ///
    /// # Errors
    /// When there is no such repository, or the number is taken.
    pub fn add_issue(&self, slug: &str, seed: IssueSeed) -> Result<u64> {
        let mut store = self.store();
        let store = &mut *store;
        for login in seed.user.iter().chain(&seed.assignees) {
            store.users.add(&mut store.ids, login, "User");
        }
        let id = store.ids.next();
        let repository =
            store.repositories.get_mut(&slug.to_lowercase()).with_context(|| no_repository(slug))?;
        let number = seed.number.unwrap_or_else(|| repository.next_number());
        ensure!(!repository.issues.contains_key(&number), "{slug}#{number} exists already");
        let labels = seed.labels.iter().map(|label| repository.ensure_label(&mut store.ids, label)).collect();
        let issue = Issue {
            id,
            number,
            title: seed.title,
            body: seed.body,
            user: seed.user,
            labels,
            assignees: seed.assignees,
            state_reason: None,
            created_at: now(),
            updated_at: now(),
            closed_at: (!seed.open).then(now),
            pull: None,
        };
        repository.issues.insert(number, issue);
        Ok(number)
    }

    /// Comments on an issue or a pull request and gives the comment's id. Without a `user` the author no longer exists.
    ///
    /// # Errors
    /// When there is no such issue.
    pub fn add_comment(&self, slug: &str, number: u64, user: Option<&str>, body: &str) -> Result<u64> {
        let mut store = self.store();
        let store = &mut *store;
        if let Some(login) = user {
            store.users.add(&mut store.ids, login, "User");
        }
        let id = store.ids.next();
        let repository =
            store.repositories.get_mut(&slug.to_lowercase()).with_context(|| no_repository(slug))?;
        let issue =
            repository.issues.get_mut(&number).with_context(|| format!("there is no {slug}#{number}"))?;
        issue.updated_at = now();
        let comment = Comment {
            id,
            issue: number,
            user: user.map(str::to_owned),
            body: body.to_owned(),
            created_at: now(),
            updated_at: now(),
        };
        repository.comments.insert(id, comment);
        Ok(id)
    }

    /// A person merges an open pull request with a merge commit, whose id is given. The branch stays.
    ///
    /// # Errors
    /// When there is no such open pull request, or it conflicts.
    pub fn merge_pull(&self, slug: &str, number: u64, by: &str) -> Result<String> {
        let mut store = self.store();
        let store = &mut *store;
        store.users.add(&mut store.ids, by, "User");
        let repository = store.expect_repository(slug)?;
        repository.follow_branches();
        let owner = repository.owner.clone();
        let open = repository.issues.get_mut(&number).filter(|issue| issue.closed_at.is_none());
        let issue = open.with_context(|| format!("{slug}#{number} is not open"))?;
        let title = issue.title.clone();
        let pull = issue.pull.as_mut().with_context(|| format!("{slug}#{number} is no pull request"))?;
        let message = format!("Merge pull request #{number} from {owner}/{}\n\n{title}", pull.head);
        let commit = repository.git.merge(&pull.base, &pull.head_sha, &message)?;
        pull.merged = Some(Merge { at: now(), by: by.to_owned(), commit: commit.clone() });
        issue.closed_at = Some(now());
        issue.updated_at = now();
        Ok(commit)
    }
}

impl Store {
    /// The repository of a slug, or an error that says what is wrong.
    pub(super) fn expect_repository(&mut self, slug: &str) -> Result<&mut Repository> {
        self.repository(slug).with_context(|| no_repository(slug))
    }

    /// The directory of the repositories, made when first asked for.
    fn root(&mut self) -> Result<Arc<tempfile::TempDir>> {
        if let Some(root) = &self.root {
            return Ok(Arc::clone(root));
        }
        let made = tempfile::Builder::new().prefix("jira-agent-simulator-").tempdir();
        let root = Arc::new(made.context("no directory for the repositories can be made")?);
        self.root = Some(Arc::clone(&root));
        Ok(root)
    }
}

fn no_repository(slug: &str) -> String {
    format!("the simulated GitHub has no repository {slug}; add it first")
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_str().with_context(|| format!("{} is not UTF-8", entry.path().display()))?;
        if name == ".git" {
            continue;
        }
        let path = format!("{prefix}{name}");
        let metadata = fs::symlink_metadata(entry.path())?;
        if metadata.is_dir() {
            read_folder(&entry.path(), &format!("{path}/"), files)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(entry.path())?;
            files.push(File { mode: "120000", path, content: target.into_os_string().into_encoded_bytes() });
        } else {
            let mode = if metadata.permissions().mode() & 0o111 == 0 { "100644" } else { "100755" };
            files.push(File { mode, path, content: fs::read(entry.path())? });
        }
    }
    Ok(())
}
