//! Which repository, branch and mode a ticket is worked on with. Pure functions over the settings and the ticket.

use std::collections::BTreeSet;

use crate::config::{GitConfig, RouteConfig, WorkerConfig};
use crate::domain::{BranchName, InvalidId, Mode, RepoUrl, Task, Ticket, TicketKey};

/// Where a ticket belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The repository.
    pub repository: RepoUrl,
    /// The branch to start from; `None`: the repository's default.
    pub base_branch: Option<BranchName>,
    /// What to do.
    pub mode: Mode,
}

/// The answer of [`route`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteOutcome {
    /// One route fits.
    Found(Route),
    /// No route fits the ticket; these repositories could be chosen.
    NoneFits(Vec<RepoUrl>),
}

/// Whether the task may be looked at: the repository that it names, or that holds its GitHub issue, is that of a route.
///
/// # Errors
/// The repository that is not.
pub fn allowed(routes: &[RouteConfig], task: &Task) -> Result<(), String> {
    match &task.repository {
        Some(named) if routes.iter().all(|route| route.repo != *named) => Err(named.to_string()),
        _ if !is_ours(routes, &task.ticket) => Err(task.ticket.to_string()),
        _ => Ok(()),
    }
}

/// Whether we may write to this ticket: Jira's are those of our account, GitHub's those of a routed repository.
#[must_use]
pub fn is_ours(routes: &[RouteConfig], ticket: &TicketKey) -> bool {
    match ticket {
        TicketKey::Jira(_) => true,
        TicketKey::GitHub { repository, .. } => routes.iter().any(|route| same_slug(&route.repo, repository)),
    }
}

/// Finds the first route whose every condition holds. A task's own repository, base branch and mode win over the
/// route's; a repository that no route names is never used.
#[must_use]
pub fn route(routes: &[RouteConfig], worker: &WorkerConfig, task: &Task, ticket: &Ticket) -> RouteOutcome {
    // A GitHub issue is worked on in its own repository.
    let named = |route: &&RouteConfig| match (&task.repository, &task.ticket) {
        (Some(repository), _) => route.repo == *repository,
        (None, TicketKey::GitHub { repository, .. }) => same_slug(&route.repo, repository),
        (None, TicketKey::Jira(_)) => fits(route, ticket),
    };
    let Some(found) = routes.iter().find(named) else {
        return RouteOutcome::NoneFits(choices(routes));
    };
    let mode =
        task.mode.or_else(|| labelled_mode(worker, ticket)).or(found.mode).unwrap_or(worker.default_mode);
    RouteOutcome::Found(Route {
        repository: found.repo.clone(),
        base_branch: task.base_branch.clone().or_else(|| found.base_branch.clone()),
        mode,
    })
}

/// The agent's branch for a ticket, by the templates of section `[git]`.
///
/// # Errors
/// When the template does not give a branch name.
pub fn agent_branch(git: &GitConfig, ticket: &TicketKey) -> Result<BranchName, InvalidId> {
    match ticket {
        TicketKey::Jira(key) => git.jira_branch.replace("{key}", &key.to_string()),
        TicketKey::GitHub { number, .. } => git.github_branch.replace("{number}", &number.to_string()),
    }
    .parse()
}

fn fits(route: &RouteConfig, ticket: &Ticket) -> bool {
    let project = match &ticket.key {
        TicketKey::Jira(key) => key.project(),
        TicketKey::GitHub { .. } => return false,
    };
    let any = |wanted: &[String], have: &[String]| {
        wanted.is_empty() || wanted.iter().any(|want| have.iter().any(|is| is.eq_ignore_ascii_case(want)))
    };
    (route.projects.is_empty() || route.projects.iter().any(|wanted| wanted == project))
        && any(&route.components, &ticket.components)
        && any(&route.labels, &ticket.labels)
}

fn same_slug(url: &RepoUrl, slug: &crate::domain::RepoSlug) -> bool {
    url.slug().to_string().eq_ignore_ascii_case(&slug.to_string())
}

fn labelled_mode(worker: &WorkerConfig, ticket: &Ticket) -> Option<Mode> {
    let has = |labels: &[String]| {
        labels.iter().any(|label| ticket.labels.iter().any(|is| is.eq_ignore_ascii_case(label)))
    };
    // Who asks for both gets the careful one.
    if has(&worker.plan_labels) {
        return Some(Mode::Plan);
    }
    has(&worker.quickfix_labels).then_some(Mode::Quickfix)
}

fn choices(routes: &[RouteConfig]) -> Vec<RepoUrl> {
    let mut seen = BTreeSet::new();
    routes.iter().map(|route| route.repo.clone()).filter(|repo| seen.insert(repo.to_string())).collect()
}
