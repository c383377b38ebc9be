//! Filling Jira, and acting as a person: what tests, scenarios and scripts do.

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::model::{Comment, Issue, IssueSeed, Project, User};
use super::{Jira, adf};

impl Jira {
    /// Adds an account, or replaces it.
    pub fn add_user(&self, user: User) {
        self.lock().users.insert(user.account_id.clone(), user);
    }

    /// Adds a project, or renames it.
    pub fn add_project(&self, key: &str, name: &str) {
        let project = Project { key: key.to_owned(), name: name.to_owned() };
        self.lock().projects.insert(project.key.clone(), project);
    }

    /// Adds an issue; its project is made when there is none.
    ///
    /// # Errors
    /// When the key is not one or is taken, or the seed names a status or an account that there is not.
    pub fn add_issue(&self, seed: IssueSeed) -> anyhow::Result<()> {
        let IssueSeed { key, .. } = &seed;
        let (project, number) =
            key.rsplit_once('-').with_context(|| format!("{key:?} is no key like PROJ-1"))?;
        ensure!(!project.is_empty() && number.parse::<u64>().is_ok(), "{key:?} is no key like PROJ-1");
        let mut state = self.lock();
        ensure!(state.issue(key).is_none(), "there are two issues {key}");
        if !state.projects.contains_key(project) {
            let project = Project { key: project.to_owned(), name: project.to_owned() };
            state.projects.insert(project.key.clone(), project);
        }
        let commenters = seed.comments.iter().map(|comment| &comment.author);
        for account in seed.assignee.iter().chain(&seed.reporter).chain(commenters) {
            ensure!(state.users.contains_key(account), "issue {key} names {account:?}, which is no account");
        }
        let status = match &seed.status {
            None => state.workflow.statuses.first().map(|status| status.name.clone()),
            Some(name) => state.workflow.status(name).map(|status| status.name.clone()),
        };
        let status =
            status.with_context(|| format!("issue {key} has the status {:?}, which is none", seed.status))?;
        let person = state.users.keys().find(|account| *account != Self::AGENT).cloned();
        let created = state.now();
        let issue = Issue {
            id: state.next_id(),
            key: seed.key.clone(),
            summary: seed.summary,
            description: seed.adf.unwrap_or_else(|| adf::from_markdown_or_null(&seed.description)),
            status,
            resolution: None,
            assignee: seed.assignee,
            reporter: seed.reporter.or(person),
            labels: seed.labels,
            components: seed.components,
            kind: seed.kind.unwrap_or_else(|| "Task".to_owned()),
            priority: seed.priority.unwrap_or_else(|| "Medium".to_owned()),
            fields: seed.fields,
            created,
            updated: created,
            comments: Vec::new(),
            links: Vec::new(),
            properties: std::collections::BTreeMap::new(),
            history: Vec::new(),
        };
        state.issues.insert(issue.id, issue);
        drop(state);
        for comment in seed.comments {
            self.add_comment(&seed.key, &comment.author, &comment.text)?;
        }
        Ok(())
    }

    /// A person comments, in Markdown. Returns the comment's id.
    ///
    /// # Errors
    /// When there is no such issue or account.
    pub fn add_comment(&self, key: &str, author: &str, text: &str) -> anyhow::Result<String> {
        self.add_comment_document(key, author, adf::from_markdown(text))
    }

    /// A person comments with a document that is taken as it is.
    ///
    /// # Errors
    /// When there is no such issue or account.
    pub fn add_comment_document(&self, key: &str, author: &str, body: Value) -> anyhow::Result<String> {
        let issue = self.id_of(key, author)?;
        let mut state = self.lock();
        let (id, now) = (state.next_id(), state.touch(issue));
        let (created, updated) = (now, now);
        let (author, editor) = (author.to_owned(), author.to_owned());
        let properties = std::collections::BTreeMap::new();
        let comment = Comment { id, author, editor, body, visibility: None, properties, created, updated };
        if let Some(issue) = state.issues.get_mut(&issue) {
            issue.comments.push(comment);
        }
        Ok(id.to_string())
    }

    /// A person assigns the issue, or takes the assignee away.
    ///
    /// # Errors
    /// When there is no such issue or account.
    pub fn assign(&self, key: &str, assignee: Option<&str>, by: &str) -> anyhow::Result<()> {
        let issue = self.id_of(key, by)?;
        let mut state = self.lock();
        if let Some(account) = assignee.filter(|account| !state.users.contains_key(*account)) {
            bail!("{account:?} is no account");
        }
        state.assign(issue, assignee.map(str::to_owned), by);
        Ok(())
    }

    /// A person changes the labels.
    ///
    /// # Errors
    /// When there is no such issue or account.
    pub fn label(&self, key: &str, add: &[String], remove: &[String], by: &str) -> anyhow::Result<()> {
        let issue = self.id_of(key, by)?;
        let mut state = self.lock();
        let mut labels = state.issues.get(&issue).map(|issue| issue.labels.clone()).unwrap_or_default();
        labels.retain(|label| !remove.contains(label));
        labels.extend(add.iter().cloned());
        state.set_labels(issue, labels, by);
        Ok(())
    }

    /// A person moves the issue, whatever the workflow says.
    ///
    /// # Errors
    /// When there is no such issue, account or status.
    pub fn set_status(&self, key: &str, status: &str, by: &str) -> anyhow::Result<()> {
        let issue = self.id_of(key, by)?;
        let mut state = self.lock();
        let status = state
            .workflow
            .status(status)
            .map(|it| it.name.clone())
            .with_context(|| format!("{status:?} is no status"))?;
        state.set_status(issue, &status, by, None);
        Ok(())
    }

    /// Puts an issue property in place from outside, e.g. what an earlier run left.
    ///
    /// # Errors
    /// When there is no such issue.
    pub fn set_property(&self, key: &str, property: &str, value: Value) -> anyhow::Result<()> {
        let mut state = self.lock();
        let issue = state.issue_mut(key).with_context(|| format!("there is no issue {key}"))?;
        issue.properties.insert(property.to_owned(), value);
        Ok(())
    }

    fn id_of(&self, key: &str, account: &str) -> anyhow::Result<u64> {
        let state = self.lock();
        ensure!(state.users.contains_key(account), "{account:?} is no account");
        state.issue(key).map(|issue| issue.id).with_context(|| format!("there is no issue {key}"))
    }
}
