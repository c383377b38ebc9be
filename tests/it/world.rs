//! One ticket, one repository, a model that knows the answer, and real worker processes between them.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent_simulator::github::{IssueSeed as GitHubIssue, Permission, PullSnapshot};
use jira_agent_simulator::github_glue::{LOGIN, TOKEN};
use jira_agent_simulator::jira::{IssueSeed, IssueSnapshot, Jira, User};
use jira_agent_simulator::models::{Models, Reply, Rule};
use jira_agent_simulator::{Simulator, SimulatorOptions};
use lapin::BasicProperties;
use lapin::message::Delivery;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::broker::Broker;

/// The Jira ticket.
pub const TICKET: &str = "PROJ-1";
/// The repository.
pub const REPOSITORY: &str = "acme/shop";
/// The branch for the ticket.
pub const BRANCH: &str = "ai/PROJ-1";
/// Who gets the ticket in the end.
pub const REVIEWER: &str = "712020:5e6f7a8b-riley";
/// Who wrote it.
pub const REPORTER: &str = "712020:9c0d1e2f-sam";
/// The line that the fix needs to see.
pub const NEEDED: &str = r"total = total \+ item\.price;";
/// The reply that mends it.
pub const REPLY: &str = include_str!("../fixtures/shop-reply.txt");
/// The plan, for mode `plan`.
pub const PLAN: &str = r#"```json
{"version": 1, "summary": "Charge for every piece",
 "changes": [{"path": "src/cart.rs", "action": "change", "why": "the total ignores the quantity"}],
 "strategy": "Multiply the price by the quantity.", "tests": ["three mugs cost 7.50"], "risks": [], "questions": []}
```"#;
/// How long a worker process may take.
const PATIENCE: Duration = Duration::from_secs(90);

const FILES: [(&str, &[u8]); 6] = [
    ("Cargo.toml", include_bytes!("../fixtures/shop/Cargo.toml.txt")),
    ("README.md", include_bytes!("../fixtures/shop/README.md")),
    ("src/cart.rs", include_bytes!("../fixtures/shop/src/cart.rs")),
    ("src/invoice.rs", include_bytes!("../fixtures/shop/src/invoice.rs")),
    ("src/lib.rs", include_bytes!("../fixtures/shop/src/lib.rs")),
    ("src/price.rs", include_bytes!("../fixtures/shop/src/price.rs")),
];

/// Everything around a worker.
pub struct World {
    pub broker: Broker,
    pub queue: RabbitMq,
    pub simulator: Simulator,
    dir: TempDir,
    logs: AtomicUsize,
    secrets: Mutex<Vec<String>>,
}

/// A worker process that has ended.
pub struct Ended {
    pub status: ExitStatus,
    pub log: String,
}

impl World {
    /// With the ticket, the repository and the model's answer.
    pub async fn new() -> Self {
        Self::with(Broker::shared().await).await
    }

    /// With a broker that the test may take down.
    pub async fn alone() -> Self {
        Self::with(Broker::alone().await).await
    }

    async fn with(broker: Broker) -> Self {
        let world = Self::without_answer(broker, ticket(TICKET)).await;
        world.answer(Rule::new(NEEDED, Reply::text(REPLY)).unwrap());
        world
    }

    /// The model knows nothing yet.
    pub async fn speechless() -> Self {
        Self::about(ticket(TICKET)).await
    }

    /// The same with another ticket.
    pub async fn about(ticket: IssueSeed) -> Self {
        Self::without_answer(Broker::shared().await, ticket).await
    }

    async fn without_answer(broker: Broker, ticket: IssueSeed) -> Self {
        let queue = broker.queue().await;
        let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
        let jira = simulator.jira();
        for (account_id, name) in [(REVIEWER, "Riley"), (REPORTER, "Sam")] {
            let email = format!("{name}@example.com");
            jira.add_user(User {
                account_id: account_id.to_owned(),
                name: name.to_owned(),
                email,
                active: true,
            });
        }
        jira.add_issue(ticket).unwrap();
        let github = simulator.github().clone();
        github.add_token(TOKEN, LOGIN);
        let filling = tokio::task::spawn_blocking(move || {
            github.add_repository_with(REPOSITORY, &FILES).unwrap();
            for login in [LOGIN, "riley"] {
                github.set_permission(REPOSITORY, login, Permission::Write).unwrap();
            }
        });
        filling.await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let secrets = [Jira::TOKEN, TOKEN, Models::KEY].map(str::to_owned).into();
        let (logs, secrets) = (AtomicUsize::new(0), Mutex::new(secrets));
        let world = Self { broker, queue, simulator, dir, logs, secrets };
        world.write_config("");
        world
    }

    /// From now on this is a secret too: `finish` looks for it.
    pub fn keep_secret(&self, secret: &str) {
        self.secrets.lock().unwrap().push(secret.to_owned());
    }

    /// Adds a rule for the model.
    pub fn answer(&self, rule: Rule) {
        self.simulator.models().add(rule);
    }

    /// Writes the settings; `more` are further lines, in which a later key of the same section is not allowed.
    pub fn write_config(&self, more: &str) {
        let url = self.simulator.url();
        let text = format!(
            r#"
[jira]
url = "{url}"
email = "{email}"
agent_account_id = "{agent}"
reviewer_account_id = "{REVIEWER}"

[github]
url = "{url}"
api_url = "{url}/api/v3"
reviewers = ["riley"]

[model]
provider = "anthropic"
base_url = "{url}"
name = "scripted"
idle_timeout = "1s"
prices = {{ input = 3.0, output = 15.0 }}

[worker]
listen = ""
min_free_bytes = 0
workspace_root = "{workspaces}"

[http]
timeout = "3s"
retry_budget = "2s"

[log]
filter = "debug"
format = "json"

[[routes]]
repo = "{url}/{REPOSITORY}"
projects = ["PROJ"]
{more}"#,
            email = Jira::EMAIL,
            agent = Jira::AGENT,
            workspaces = self.workspaces().display(),
        );
        std::fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("jira-agent.toml")
    }

    /// The directory in which all processes of this world run.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where workers make their workspaces.
    pub fn workspaces(&self) -> PathBuf {
        self.dir.path().join("workspaces")
    }

    /// A command of one of our binaries with the settings and the secrets of this world.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binary(program));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("JIRA_AGENT_CONFIG", self.config())
            .env("AMQP_URL", self.broker.url().as_str())
            .env("JIRA_API_TOKEN", Jira::TOKEN)
            .env("GITHUB_TOKEN", TOKEN)
            .env("ANTHROPIC_API_KEY", Models::KEY)
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Puts a body on the queue as any program could: no id, no headers.
    pub async fn publish(&self, body: &str) {
        self.broker.publish(body, BasicProperties::default()).await;
    }

    /// Starts a worker; its log goes to a file of its own.
    pub fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (Child, PathBuf) {
        let number = self.logs.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.path().join(format!("worker-{number}.log"));
        let log = std::fs::File::create(&path).unwrap();
        let mut command = self.command("jira-agent-worker");
        command
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        (command.spawn().unwrap(), path)
    }

    /// Runs a worker until it ends by itself.
    pub async fn work(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let (mut child, path) = self.start(arguments, environment);
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("the worker ends").unwrap();
        Ended { status, log: std::fs::read_to_string(path).unwrap() }
    }

    /// Runs a worker for one task, and expects that it is settled.
    pub async fn work_once(&self) -> Ended {
        let ended = self.work(&["run", "--once", "--idle-exit", "20s"], &[]).await;
        assert!(ended.status.success(), "{}", ended.log);
        ended
    }

    /// Runs a worker until nothing is left to do.
    pub async fn work_off(&self) -> Ended {
        let ended = self.work(&["run", "--idle-exit", "1s"], &[]).await;
        assert!(ended.status.success(), "{}", ended.log);
        ended
    }

    /// Moves what waits on a queue to the tasks, as a tier does when its time is over, and gives it.
    pub async fn hurry(&self, queue: &str) -> Delivery {
        let waiting = self.broker.take(queue).await;
        let body = String::from_utf8(waiting.data.clone()).unwrap();
        self.broker.publish(&body, waiting.properties.clone()).await;
        waiting
    }

    /// The ticket now.
    pub fn issue(&self) -> IssueSnapshot {
        self.simulator.jira().issue(TICKET).unwrap()
    }

    /// All pull requests.
    pub fn pulls(&self) -> Vec<PullSnapshot> {
        self.simulator.github().pulls(REPOSITORY)
    }

    /// Our comments on the ticket.
    pub fn comments(&self) -> Vec<String> {
        self.issue().comments_by(Jira::AGENT).iter().map(|comment| comment.text.clone()).collect()
    }

    /// Adds an issue to the repository.
    pub fn add_github_issue(&self, title: &str, body: &str) -> u64 {
        let seed = GitHubIssue { body: Some(body.to_owned()), ..GitHubIssue::new(title) };
        self.simulator.github().add_issue(REPOSITORY, seed).unwrap()
    }

    /// How many messages wait in each queue but that of events.
    pub async fn depths(&self) -> Vec<(String, u32)> {
        let depths = self.queue.depths().await.unwrap();
        depths.into_iter().filter(|(name, count)| *count > 0 && name != "agent-events").collect()
    }

    /// The end of a quickfix of the Jira ticket: one of everything, whatever happened on the way.
    pub async fn assert_fixed(&self) {
        self.assert_published();
        self.assert_handed_over();
        let comments = self.comments();
        assert_eq!(comments.len(), 1, "one comment: {comments:?}");
        self.assert_opened(&comments[0]);
        assert_eq!(self.depths().await, []);
    }

    /// The comment says that the pull request was opened.
    pub fn assert_opened(&self, comment: &str) {
        let number = self.pulls()[0].issue.number;
        assert!(comment.contains(&format!("/{REPOSITORY}/pull/{number}")), "{comment}");
        assert!(comment.contains("I opened"), "{comment}");
    }

    /// What `assert_fixed` expects of GitHub.
    pub fn assert_published(&self) {
        let github = self.simulator.github();
        let pulls = self.pulls();
        assert_eq!(pulls.len(), 1, "one pull request");
        let pull = &pulls[0];
        assert_eq!((pull.head.as_str(), pull.base.as_str(), pull.draft), (BRANCH, "main", false));
        assert_eq!(pull.issue.labels, ["ai-agent"]);
        assert_eq!(pull.reviewers, ["riley"]);
        assert!(github.comments(REPOSITORY, pull.issue.number).is_empty());
        let branches: Vec<String> = github.branches(REPOSITORY).into_keys().collect();
        assert_eq!(branches, [BRANCH, "main"]);
        assert_eq!(github.commits(REPOSITORY, BRANCH).len(), 2, "one commit on top of the first");
        let cart = String::from_utf8(github.file(REPOSITORY, BRANCH, "src/cart.rs").unwrap()).unwrap();
        assert!(cart.contains("item.price * item.quantity"), "{cart}");
    }

    /// What `assert_fixed` expects of the ticket but for its comments.
    pub fn assert_handed_over(&self) {
        let issue = self.issue();
        assert_eq!(issue.status, "In Testing");
        assert_eq!(issue.assignee.as_deref(), Some(REVIEWER));
        assert_eq!(issue.remote_links.len(), 1, "one link");
        assert_eq!(issue.transitions().len(), 1, "moved once");
    }

    /// The end of every test: nothing unexpected was asked, every planned fault came, no workspace is left, and no
    /// secret stands where it must not.
    pub async fn finish(self) {
        self.simulator.assert_no_problems();
        assert_eq!(
            self.simulator.faults().unfired(),
            Vec::<String>::new(),
            "a fault that never came tests nothing"
        );
        let left = std::fs::read_dir(self.workspaces()).map(|entries| entries.count()).unwrap_or_default();
        assert_eq!(left, 0, "workspaces are removed");
        let password = self.broker.url().password().unwrap_or_default().to_owned();
        let kept = self.secrets.lock().unwrap().clone();
        let password = (password.len() > 5).then_some(password.as_str());
        let secrets: Vec<&str> = kept.iter().map(String::as_str).chain(password).collect();
        assert_eq!(self.simulator.journal().leaks(&secrets), Vec::<String>::new());
        for event in self.broker.drain("agent-events").await {
            assert!(secrets.iter().all(|secret| !event.contains(secret)), "an event holds a secret: {event}");
        }
        for number in 0..self.logs.load(Ordering::Relaxed) {
            let log = std::fs::read_to_string(self.dir.path().join(format!("worker-{number}.log"))).unwrap();
            for secret in &secrets {
                assert!(!log.contains(secret), "worker {number} logged a secret");
            }
        }
        for branch in self.simulator.github().branches(REPOSITORY).keys() {
            for commit in self.simulator.github().commits(REPOSITORY, branch) {
                assert!(secrets.iter().all(|secret| !commit.message.contains(secret)));
            }
            let diff = self.simulator.github().diff(REPOSITORY, "main", branch);
            assert!(secrets.iter().all(|secret| !diff.contains(secret)));
        }
    }
}

/// A ticket about the cart.
pub fn ticket(key: &str) -> IssueSeed {
    IssueSeed {
        key: key.to_owned(),
        summary: "Cart charges one piece, whatever the quantity".to_owned(),
        description: "I put **three** mugs into the cart and `Cart::total` gave the price of one.".to_owned(),
        labels: vec!["ai-help".to_owned()],
        assignee: Some(Jira::AGENT.to_owned()),
        reporter: Some(REPORTER.to_owned()),
        kind: Some("Bug".to_owned()),
        ..IssueSeed::default()
    }
}

/// One of our programs, built beside this test.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(path.exists(), "{} is not built: run `make test`", path.display());
    path
}
