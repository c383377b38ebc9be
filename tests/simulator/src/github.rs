//! Stands in for GitHub until it is there: no routes, no state.

use std::path::Path;

use anyhow::{Result, bail};

use crate::problems::Problems;

/// A GitHub without repositories.
#[derive(Debug, Clone)]
pub struct GitHub;

/// A right in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Read.
    Read,
    /// Triage.
    Triage,
    /// Write.
    Write,
    /// Maintain.
    Maintain,
    /// Admin.
    Admin,
}

/// An issue as a person files it.
#[derive(Clone, Debug)]
pub struct IssueSeed {
    /// The number.
    pub number: Option<u64>,
    /// The title.
    pub title: String,
    /// The text.
    pub body: Option<String>,
    /// The author's login.
    pub user: Option<String>,
    /// Names of labels.
    pub labels: Vec<String>,
    /// Logins.
    pub assignees: Vec<String>,
    /// Whether it is open.
    pub open: bool,
}

impl GitHub {
    /// Without repositories.
    #[must_use]
    pub fn new(_problems: Problems) -> Self {
        Self
    }

    /// No routes.
    pub fn router(&self) -> axum::Router {
        axum::Router::new()
    }

    /// No state.
    #[must_use]
    pub fn state_json(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    /// Makes a token valid.
    pub fn add_token(&self, _token: &str, _login: &str) {}

    /// Adds an account.
    pub fn add_user(&self, _login: &str) {}

    /// Adds a team.
    ///
    /// # Errors
    /// Always.
    pub fn add_team(&self, _slug: &str, _team: &str) -> Result<()> {
        bail!("there is no GitHub yet")
    }

    /// Gives a right.
    ///
    /// # Errors
    /// Always.
    pub fn set_permission(&self, _slug: &str, _login: &str, _permission: Permission) -> Result<()> {
        bail!("there is no GitHub yet")
    }

    /// Adds a repository.
    ///
    /// # Errors
    /// Always.
    pub fn add_repository_from_dir(&self, _slug: &str, _dir: &Path) -> Result<()> {
        bail!("there is no GitHub yet")
    }

    /// Files an issue.
    ///
    /// # Errors
    /// Always.
    pub fn add_issue(&self, _slug: &str, _seed: IssueSeed) -> Result<u64> {
        bail!("there is no GitHub yet")
    }

    /// Comments.
    ///
    /// # Errors
    /// Always.
    pub fn add_comment(&self, _slug: &str, _number: u64, _user: Option<&str>, _body: &str) -> Result<u64> {
        bail!("there is no GitHub yet")
    }
}
