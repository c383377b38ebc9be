//! The world of the demonstration: a ticket, a repository, and a model that knows the answer.

use anyhow::Context as _;
use jira_agent::config::{Config, ConfigSources, Needs};
use jira_agent_simulator::github::Permission;
use jira_agent_simulator::github_glue::{LOGIN as GITHUB_LOGIN, TOKEN as GITHUB_TOKEN};
use jira_agent_simulator::jira::{IssueSeed, Jira, User};
use jira_agent_simulator::models::{Models, Reply, Rule};
use jira_agent_simulator::{Simulator, SimulatorOptions};
use tempfile::TempDir;

use crate::cli::{DemoArgs, DemoModel};

/// The ticket.
pub const TICKET: &str = "SHOP-1";
/// The repository.
pub const REPOSITORY: &str = "acme/shop";
const REVIEWER: &str = "712020:5e6f7a8b-riley";
const REPORTER: &str = "712020:9c0d1e2f-sam";

const SUMMARY: &str = "Cart charges one piece, whatever the quantity";
const DESCRIPTION: &str = "I put **three** mugs into the cart and `Cart::total` gave the price of one.\n\n\
    - expected: 7.50\n- got: 2.50\n\nThe invoice shows the same wrong sum.";

/// The repository's files. Cargo would take a `Cargo.toml` among the sources for a package of its own.
const FILES: [(&str, &[u8]); 6] = [
    ("Cargo.toml", include_bytes!("../../../tests/fixtures/shop/Cargo.toml.txt")),
    ("README.md", include_bytes!("../../../tests/fixtures/shop/README.md")),
    ("src/cart.rs", include_bytes!("../../../tests/fixtures/shop/src/cart.rs")),
    ("src/invoice.rs", include_bytes!("../../../tests/fixtures/shop/src/invoice.rs")),
    ("src/lib.rs", include_bytes!("../../../tests/fixtures/shop/src/lib.rs")),
    ("src/price.rs", include_bytes!("../../../tests/fixtures/shop/src/price.rs")),
];
const REPLY: &str = include_str!("../../../tests/fixtures/shop-reply.txt");
/// Without these lines in the prompt nobody could write the patch, so the scripted model does not either.
const NEEDED: &str = r"total = total \+ item\.price;";

/// The simulated services and a place for workspaces.
pub struct Scene {
    simulator: Simulator,
    workspaces: TempDir,
}

/// The ticket as a person sees it.
pub struct TicketView {
    pub summary: String,
    pub status: String,
    pub assignee: String,
    pub comments: String,
    pub links: String,
    /// The newest comment.
    pub comment: String,
}

/// The pull request as a person sees it.
pub struct PullView {
    pub number: u64,
    pub title: String,
    pub head: String,
    pub base: String,
    pub diff: String,
}

impl Scene {
    /// Starts the services and fills them.
    pub async fn set() -> anyhow::Result<Self> {
        let simulator = Simulator::start(SimulatorOptions::default()).await?;
        let jira = simulator.jira();
        for (account_id, name) in [(REVIEWER, "Riley Reviewer"), (REPORTER, "Sam Reporter")] {
            let email = format!("{}@example.com", name.to_lowercase().replace(' ', "."));
            jira.add_user(User {
                account_id: account_id.to_owned(),
                name: name.to_owned(),
                email,
                active: true,
            });
        }
        jira.add_project("SHOP", "Shop");
        jira.add_issue(IssueSeed {
            key: TICKET.to_owned(),
            summary: SUMMARY.to_owned(),
            description: DESCRIPTION.to_owned(),
            labels: vec!["ai-help".to_owned(), "quickfix".to_owned()],
            assignee: Some(Jira::AGENT.to_owned()),
            reporter: Some(REPORTER.to_owned()),
            kind: Some("Bug".to_owned()),
            ..IssueSeed::default()
        })?;
        let github = simulator.github().clone();
        github.add_token(GITHUB_TOKEN, GITHUB_LOGIN);
        // Git works in processes of its own, which block.
        let filling = tokio::task::spawn_blocking(move || {
            github.add_repository_with(REPOSITORY, &FILES)?;
            github.set_permission(REPOSITORY, GITHUB_LOGIN, Permission::Write)?;
            github.set_permission(REPOSITORY, "riley", Permission::Write)
        });
        filling.await??;
        simulator.models().add(Rule::new(NEEDED, Reply::text(REPLY))?);
        let workspaces = tempfile::tempdir().context("making a directory for workspaces")?;
        Ok(Self { simulator, workspaces })
    }

    /// Where the services are.
    pub fn url(&self) -> &str {
        self.simulator.url()
    }

    /// The worker's settings, complete and without the environment: nothing of a real account is used.
    pub fn config(&self, args: &DemoArgs) -> anyhow::Result<Config> {
        let url = self.url();
        let mut overrides: Vec<(String, String)> = [
            ("jira.url", url),
            ("jira.email", Jira::EMAIL),
            ("jira.token", Jira::TOKEN),
            ("jira.agent_account_id", Jira::AGENT),
            ("jira.reviewer_account_id", REVIEWER),
            ("github.url", url),
            ("github.api_url", &format!("{url}/api/v3")),
            ("github.token", GITHUB_TOKEN),
            ("github.reviewers", "riley"),
            ("worker.workspace_root", &self.workspaces.path().display().to_string()),
            ("worker.min_free_bytes", "0"),
            ("log.filter", "error"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        if args.model == DemoModel::Scripted {
            let scripted = [
                ("model.provider", "anthropic"),
                ("model.base_url", url),
                ("model.api_key", Models::KEY),
                ("model.name", "scripted"),
            ];
            overrides.extend(scripted.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
        let mut config = Config::load(ConfigSources { overrides, ..ConfigSources::default() })?;
        if args.model == DemoModel::Real {
            // Of the person's own settings only those of the model and of the way to it.
            let own = Config::load(ConfigSources::from_process(args.config.clone()))?;
            config.model = own.model;
            config.http = own.http;
        }
        let repo = format!("{url}/{REPOSITORY}").parse().context("the repository's address")?;
        config.routes = vec![jira_agent::config::RouteConfig {
            repo,
            projects: vec!["SHOP".to_owned()],
            components: Vec::new(),
            labels: Vec::new(),
            base_branch: None,
            mode: None,
        }];
        config.check(Needs::Ticket)?;
        Ok(config)
    }

    /// The ticket now.
    pub fn ticket(&self) -> anyhow::Result<TicketView> {
        let issue = self.simulator.jira().issue(TICKET).context("the ticket is gone")?;
        let count = |number: usize| if number == 0 { "none".to_owned() } else { number.to_string() };
        Ok(TicketView {
            status: issue.status,
            assignee: issue.assignee_name.unwrap_or_else(|| "nobody".to_owned()),
            comments: count(issue.comments.len()),
            links: count(issue.remote_links.len()),
            comment: issue.comments.last().map(|comment| comment.text.clone()).unwrap_or_default(),
            summary: issue.summary,
        })
    }

    /// The one pull request.
    pub fn pull(&self) -> anyhow::Result<PullView> {
        let github = self.simulator.github();
        let pull = github.pulls(REPOSITORY).pop().context("there is no pull request")?;
        let diff = github.diff(REPOSITORY, &pull.base, &pull.head);
        Ok(PullView {
            number: pull.issue.number,
            title: pull.issue.title,
            head: pull.head,
            base: pull.base,
            diff,
        })
    }
}
