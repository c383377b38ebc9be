//! Looks at the services afterwards: what is there of each ticket.

use std::collections::{BTreeMap, BTreeSet};

use jira_agent::domain::TicketKey;
use jira_agent::queue::DeadLetter;
use jira_agent_simulator::github::{GitHub, PullSnapshot};
use jira_agent_simulator::github_glue::LOGIN;
use jira_agent_simulator::jira::Jira;
use serde_json::Value;

use crate::schedule::Kind;
use crate::verdict::{Found, FoundJira, FoundPull};
use crate::world::{CART, FIXED, Ticket, World};

/// Where the product remembers what it did, on a ticket and on a comment.
const PROPERTY: &str = "jira-agent";
/// What the product's comments on GitHub begin with.
const MARKER: &str = "<!-- jira-agent:";
/// What stands before what it remembers on GitHub.
const DATA: &str = "<!-- jira-agent:data ";

/// Whether a run of the ticket has ended.
pub fn is_over(world: &World, ticket: &Ticket) -> bool {
    if ticket.kind == Kind::Refused {
        return !comments(world, ticket).is_empty();
    }
    !marks(world, ticket).is_empty()
}

/// What is there of every ticket, in their order, and the branches that belong to none.
pub fn at_all(world: &World, letters: &[DeadLetter]) -> (Vec<Found>, Vec<String>) {
    let github = world.simulator.github();
    let mut pulls: BTreeMap<(&str, String), Vec<PullSnapshot>> = BTreeMap::new();
    let mut branches: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for slug in &world.slugs {
        for pull in github.pulls(slug) {
            pulls.entry((slug, pull.head.clone())).or_default().push(pull);
        }
        branches.insert(slug, github.branches(slug).into_keys().collect());
    }
    let letter_keys: Vec<(String, String)> =
        letters.iter().map(|letter| (key_of(letter), words(letter))).collect();
    let mut found = Vec::new();
    for ticket in &world.tickets {
        let branch = ticket.branch.as_str();
        let has_branch = branches.get_mut(ticket.slug.as_str()).is_some_and(|names| names.remove(branch));
        let pulls = pulls.remove(&(ticket.slug.as_str(), branch.to_owned())).unwrap_or_default();
        let key = ticket.key.to_string();
        let about = letter_keys.iter().filter(|(about, _)| *about == key).map(|(_, words)| words.clone());
        found.push(Found {
            commits: has_branch.then(|| commits(github, ticket)),
            tree_is_right: has_branch && tree_is_right(github, ticket),
            pulls: pulls.iter().map(|pull| found_pull(github, &ticket.slug, pull)).collect(),
            comments: comments(world, ticket),
            marks: marks(world, ticket),
            watermark: memory(world, ticket)["watermark"].as_str().and_then(|time| time.parse().ok()),
            jira: jira(world, ticket),
            letters: about.collect(),
        });
    }
    let surplus = branches.into_iter().flat_map(|(slug, names)| {
        names.into_iter().filter(|name| name != "main").map(move |name| format!("{slug} has a branch {name}"))
    });
    (found, surplus.collect())
}

/// The key in a letter's body, as our own tasks have it; a body without an id may be any program's.
pub fn key_of(letter: &DeadLetter) -> String {
    let body: Value = serde_json::from_slice(&letter.body).unwrap_or_default();
    let text = String::from_utf8_lossy(&letter.body).into_owned();
    match (&body["issue_id"], body["repo_url"].as_str()) {
        (Value::Number(number), Some(url)) => {
            let slug: Vec<&str> = url.rsplitn(3, '/').collect();
            match slug.as_slice() {
                [name, owner, ..] => format!("{owner}/{name}#{number}"),
                _ => text,
            }
        }
        (Value::String(key), _) => key.clone(),
        _ => text,
    }
}

fn words(letter: &DeadLetter) -> String {
    let reason = letter.reason.as_deref().unwrap_or("the broker gave no reason");
    format!("{} (attempt {}, id {})", reason, letter.info.attempt, letter.id)
}

fn commits(github: &GitHub, ticket: &Ticket) -> Vec<String> {
    let mut all = github.commits(&ticket.slug, ticket.branch.as_str());
    // The first commit is the repository's own.
    all.pop();
    let subject = |message: String| message.lines().next().unwrap_or_default().to_owned();
    all.into_iter().map(|commit| subject(commit.message)).collect()
}

/// Only the cart has changed, and as the model said; a plan changes nothing.
fn tree_is_right(github: &GitHub, ticket: &Ticket) -> bool {
    let diff = github.diff(&ticket.slug, "main", ticket.branch.as_str());
    let changed: Vec<&str> = diff.lines().filter(|line| line.starts_with("diff --git ")).collect();
    if ticket.kind == Kind::Plan {
        return changed.is_empty();
    }
    let cart = github.file(&ticket.slug, ticket.branch.as_str(), CART).unwrap_or_default();
    let fixed = String::from_utf8_lossy(&cart).matches(FIXED).count() == 1;
    fixed && changed.len() == 1 && changed.iter().all(|line| line.contains(CART))
}

fn found_pull(github: &GitHub, slug: &str, pull: &PullSnapshot) -> FoundPull {
    let mut labels = pull.issue.labels.clone();
    labels.sort();
    FoundPull {
        open: pull.issue.state == "open" && !pull.merged,
        base: pull.base.clone(),
        draft: pull.draft,
        labels,
        reviewers: pull.reviewers.clone(),
        comments: on_github(github, slug, pull.issue.number).iter().map(|body| kind_of(body)).collect(),
    }
}

/// The kinds of our comments on the ticket.
fn comments(world: &World, ticket: &Ticket) -> Vec<String> {
    match &ticket.key {
        TicketKey::GitHub { number, .. } => {
            let bodies = on_github(world.simulator.github(), &ticket.slug, *number);
            bodies.iter().map(|body| kind_of(body)).collect()
        }
        TicketKey::Jira(key) => {
            let Some(issue) = world.simulator.jira().issue(&key.to_string()) else { return Vec::new() };
            let kind =
                |marker: &Value| marker.as_str().and_then(|it| it.split(':').next()).map(str::to_owned);
            let ours = issue.comments_by(Jira::AGENT);
            ours.iter()
                .map(|comment| comment.properties.get(PROPERTY).and_then(|value| kind(&value["marker"])))
                .map(|kind| kind.unwrap_or_else(|| "unmarked".to_owned()))
                .collect()
        }
    }
}

/// What we wrote on an issue or a pull request of GitHub.
fn on_github(github: &GitHub, slug: &str, number: u64) -> Vec<String> {
    let all = github.comments(slug, number).into_iter();
    all.filter(|comment| comment.author.as_deref() == Some(LOGIN)).map(|comment| comment.body).collect()
}

fn kind_of(body: &str) -> String {
    let marker = body.lines().next().and_then(|line| line.strip_prefix(MARKER));
    marker.and_then(|rest| rest.split(':').next()).unwrap_or("unmarked").to_owned()
}

/// How the runs ended that the ticket remembers.
fn marks(world: &World, ticket: &Ticket) -> Vec<String> {
    let memory = memory(world, ticket);
    let runs = memory["runs"].as_array().cloned().unwrap_or_default();
    runs.iter().map(|run| run["end"].as_str().unwrap_or("?").to_owned()).collect()
}

/// What the ticket remembers.
fn memory(world: &World, ticket: &Ticket) -> Value {
    let memory = match &ticket.key {
        TicketKey::GitHub { number, .. } => {
            let bodies = on_github(world.simulator.github(), &ticket.slug, *number);
            let data = |body: &String| {
                let line = body
                    .lines()
                    .find_map(|line| line.strip_prefix(DATA)?.strip_suffix(" -->").map(str::to_owned))?;
                serde_json::from_str::<Value>(&line).ok()
            };
            bodies.iter().find_map(data)
        }
        TicketKey::Jira(key) => {
            let issue = world.simulator.jira().issue(&key.to_string());
            issue.and_then(|mut issue| issue.properties.remove(PROPERTY))
        }
    };
    memory.unwrap_or_default()
}

fn jira(world: &World, ticket: &Ticket) -> Option<FoundJira> {
    let TicketKey::Jira(key) = &ticket.key else { return None };
    let issue = world.simulator.jira().issue(&key.to_string())?;
    Some(FoundJira {
        moves: issue.transitions().len(),
        status: issue.status,
        assignee: issue.assignee.unwrap_or_default(),
        links: issue.remote_links.len(),
    })
}
