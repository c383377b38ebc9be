//! What the workers work on: simulated services behind a proxy, tickets, repositories, a model that knows the answer.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use jira_agent::domain::{BranchName, Mode, Task, TicketKey};
use jira_agent_simulator::github::{IssueSeed as GitHubIssue, Permission};
use jira_agent_simulator::github_glue::{LOGIN, TOKEN};
use jira_agent_simulator::jira::{IssueSeed, Jira, User};
use jira_agent_simulator::models::{Models, Reply, Rule};
use jira_agent_simulator::{Simulator, SimulatorOptions};
use serde_json::json;

use crate::faults::{Injector, Replies};
use crate::proxy::Proxy;
use crate::schedule::{Form, Kind};
use crate::verdict::Ends;

/// Who gets a ticket with a pull request.
const REVIEWER: &str = "712020:5e6f7a8b-riley";
/// Who wrote the tickets.
const REPORTER: &str = "712020:9c0d1e2f-sam";
/// The line that the fix needs to see.
const NEEDED: &str = r"total = total \+ item\.price;";
const PATCHED: &str = r"total = total \+ item\.price \* item\.quantity;";
const REPLY: &str = include_str!("../../fixtures/shop-reply.txt");
const PLAN: &str = r#"```json
{"version": 1, "summary": "Charge for every piece",
 "changes": [{"path": "src/cart.rs", "action": "change", "why": "the total ignores the quantity"}],
 "strategy": "Multiply the price by the quantity.", "tests": ["three mugs cost 7.50"], "risks": [], "questions": []}
```"#;
const FILES: [(&str, &[u8]); 4] = [
    ("README.md", include_bytes!("../../fixtures/shop/README.md")),
    (CART, include_bytes!("../../fixtures/shop/src/cart.rs")),
    ("src/lib.rs", include_bytes!("../../fixtures/shop/src/lib.rs")),
    ("src/price.rs", include_bytes!("../../fixtures/shop/src/price.rs")),
];
/// The file that the fix changes.
pub const CART: &str = "src/cart.rs";
/// What the fix leaves in it.
pub const FIXED: &str = "total = total + item.price * item.quantity;";

/// How tickets end here.
pub const ENDS: Ends =
    Ends { reviewer: REVIEWER, agent: Jira::AGENT, moved: "In Testing", first: "To Do", login: "riley" };

/// One ticket.
pub struct Ticket {
    /// What it asks for.
    pub kind: Kind,
    /// Its repository, `owner/name`.
    pub slug: String,
    /// Its key.
    pub key: TicketKey,
    /// The agent's branch.
    pub branch: BranchName,
    /// The task of the product's own client.
    task: Task,
}

/// All of it.
pub struct World {
    /// The services.
    pub simulator: Simulator,
    /// What stands before them.
    pub proxy: Proxy,
    /// What goes wrong with them.
    pub injector: Injector,
    /// The tickets, in the schedule's order.
    pub tickets: Vec<Ticket>,
    /// The repositories.
    pub slugs: Vec<String>,
    /// Before anything was asked.
    began: Timestamp,
}

impl World {
    /// With repositories and people, without tickets.
    ///
    /// # Errors
    /// When the services do not start or git fails.
    pub async fn start(repositories: usize) -> anyhow::Result<Self> {
        // The proxy has to know where the services will be, and they where the proxy is.
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let proxy = Proxy::start(port).await?;
        let public_url = Some(format!("http://{}", proxy.address()));
        let options = SimulatorOptions { listen: port, public_url, ..SimulatorOptions::default() };
        let simulator = Simulator::start(options).await?;
        for (account_id, name) in [(REVIEWER, "Riley"), (REPORTER, "Sam")] {
            let (account_id, name) = (account_id.to_owned(), name.to_owned());
            let email = format!("{name}@example.com");
            simulator.jira().add_user(User { account_id, name, email, active: true });
        }
        let slugs: Vec<String> = (0..repositories).map(|number| format!("acme/shop-{number}")).collect();
        let (github, names) = (simulator.github().clone(), slugs.clone());
        let filling = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            github.add_token(TOKEN, LOGIN);
            // Thousands of runs in an hour are more than the usual 5,000 requests allow.
            github.set_hourly_limit(TOKEN, u64::from(u32::MAX));
            for slug in &names {
                github.add_repository_with(slug, &FILES)?;
                for login in [LOGIN, ENDS.login] {
                    github.set_permission(slug, login, Permission::Write)?;
                }
            }
            Ok(())
        });
        filling.await??;
        let replies = Replies::default();
        add_rules(simulator.models(), &replies)?;
        let injector = Injector::new(simulator.faults().clone(), replies);
        let (tickets, began) = (Vec::new(), Timestamp::now());
        Ok(Self { simulator, proxy, injector, tickets, slugs, began })
    }

    /// Files a ticket and says its place.
    ///
    /// # Errors
    /// When the services refuse it.
    pub fn add_ticket(&mut self, kind: Kind) -> anyhow::Result<usize> {
        let place = self.tickets.len();
        let repository = place % self.slugs.len();
        let slug = self.slugs.get(repository).context("there is no repository")?.clone();
        let title = "Cart charges one piece, whatever the quantity";
        let text = "I put **three** mugs into the cart and `Cart::total` gave the price of one.";
        let (key, branch) = if kind == Kind::Issue {
            let seed = GitHubIssue { body: Some(text.to_owned()), ..GitHubIssue::new(title) };
            let number = self.simulator.github().add_issue(&slug, seed)?;
            (format!("{slug}#{number}"), format!("ai-agent/issue-{number}"))
        } else {
            let key = format!("{}-{}", project(repository), place + 1);
            self.simulator.jira().add_issue(IssueSeed {
                key: key.clone(),
                summary: title.to_owned(),
                description: text.to_owned(),
                labels: vec!["ai-help".to_owned()],
                assignee: Some(Jira::AGENT.to_owned()),
                reporter: Some(REPORTER.to_owned()),
                kind: Some("Bug".to_owned()),
                ..IssueSeed::default()
            })?;
            let branch = format!("ai/{key}");
            (key, branch)
        };
        let mut task = Task::new(key.parse()?);
        task.requested_at = Some(self.began);
        task.mode = Some(if kind == Kind::Plan { Mode::Plan } else { Mode::Quickfix });
        if kind == Kind::Refused {
            task.repository = Some("https://github.com/acme/other".parse()?);
        }
        let (key, branch) = (task.ticket.clone(), branch.parse()?);
        self.tickets.push(Ticket { kind, slug, key, branch, task });
        Ok(place)
    }

    /// What a trigger puts on the queue: a task for the product's client, or the body of another program.
    /// `now` is when the wish of the moment was made.
    pub fn body(&self, ticket: &Ticket, form: Form, now: Timestamp) -> Body {
        let mut task = ticket.task.clone();
        let repository = format!("{}/{}", self.simulator.url(), ticket.slug);
        match (form, &ticket.key) {
            (Form::Client, _) => Body::Task(Box::new(task)),
            (Form::Other, _) => {
                task.id = Task::new(ticket.key.clone()).id;
                Body::Task(Box::new(task))
            }
            (Form::Newer, _) => {
                task.id = Task::new(ticket.key.clone()).id;
                task.requested_at = Some(now);
                Body::Task(Box::new(task))
            }
            (Form::Foreign, TicketKey::Jira(key)) => {
                let mode = task.mode.map_or("quickfix", Mode::as_str);
                Body::Raw(json!({"issue_id": key, "mode": mode, "requested_at": self.began}).to_string())
            }
            (Form::Foreign, TicketKey::GitHub { number, .. }) => Body::Raw(
                json!({"issue_id": number, "repo_url": repository, "requested_at": self.began}).to_string(),
            ),
            (Form::Bare, TicketKey::Jira(key)) => Body::Raw(key.to_string()),
            (Form::Bare, TicketKey::GitHub { number, .. }) => {
                let body = json!({
                    "repo_url": repository, "issue_id": number, "mode": "quickfix", "trigger_user": "dev1",
                });
                Body::Raw(body.to_string())
            }
        }
    }

    /// Writes the workers' settings, with this section `[queue]`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_settings(&self, directory: &Path, queue: &str) -> anyhow::Result<PathBuf> {
        let url = self.simulator.url();
        let routes: String = (self.slugs.iter().enumerate())
            .map(|(number, slug)| {
                format!("[[routes]]\nrepo = \"{url}/{slug}\"\nprojects = [\"{}\"]\n", project(number))
            })
            .collect();
        let text = format!(
            r#"
{queue}
retry_delays = ["200ms", "500ms", "1s", "2s"]
lease_timeout = "5s"
heartbeat = "5s"
timeout = "5s"

[jira]
url = "{url}"
email = "{email}"
agent_account_id = "{agent}"
reviewer_account_id = "{REVIEWER}"

[github]
url = "{url}"
api_url = "{url}/api/v3"
reviewers = ["{login}"]

[model]
provider = "anthropic"
base_url = "{url}"
name = "scripted"
idle_timeout = "2s"
timeout = "10s"

[worker]
min_free_bytes = 0
workspace_root = "{workspaces}"
run_deadline = "60s"
drain_timeout = "2s"
clone_timeout = "5s"
push_timeout = "3s"
max_attempts = 20

[http]
connect_timeout = "2s"
timeout = "3s"
retry_budget = "2s"

[log]
filter = "info"
format = "json"

{routes}"#,
            email = Jira::EMAIL,
            agent = Jira::AGENT,
            login = ENDS.login,
            workspaces = directory.join("workspaces").display(),
        );
        let path = directory.join("jira-agent.toml");
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    /// The secrets that workers need.
    pub fn secrets() -> [(&'static str, &'static str); 3] {
        [("JIRA_API_TOKEN", Jira::TOKEN), ("GITHUB_TOKEN", TOKEN), ("ANTHROPIC_API_KEY", Models::KEY)]
    }
}

/// What is put on the queue.
#[derive(Clone)]
pub enum Body {
    /// Published by the product's client.
    Task(Box<Task>),
    /// Put there as it is.
    Raw(String),
}

/// The key of the project whose tickets are about this repository: letters only, one for each.
fn project(repository: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(repository % 26).unwrap_or_default());
    format!("SHOP{letter}")
}

fn add_rules(models: &Models, replies: &Replies) -> anyhow::Result<()> {
    let reply = |text: &'static str| {
        let replies = replies.clone();
        move |_: &str| match replies.next() {
            Some(failure) => Reply::failing(text, failure),
            None => Reply::text(text),
        }
    };
    models.add(Rule::computed(NEEDED, reply(PLAN))?.and(r#""questions""#)?.named("plan"));
    models.add(Rule::computed(NEEDED, reply(REPLY))?.named("fix"));
    models.add(
        Rule::computed(PATCHED, reply("NOTHING_TO_CHANGE: every piece is charged already."))?.named("done"),
    );
    Ok(())
}
