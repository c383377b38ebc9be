//! Rules that hold between settings, by what a program needs.

use std::path::Path;
use std::time::Duration;

use globset::Glob;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::keys::variable;
use super::{Config, ConfigError, JiraConfig, ModelProvider, Problem, QueueKind, alias};
use crate::domain::{BranchName, IssueKey, Mode};
use crate::secret::Secret;

/// What a program is about to do, which decides what has to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Reach the queue and nothing else: `enqueue`, `topology`, `dead-letters`.
    Enqueue,
    /// Write on tickets, and reach the queue: `runs cancel`.
    Tickets {
        /// Whether one of them is in Jira.
        jira: bool,
        /// Whether one of them is on GitHub.
        github: bool,
    },
    /// Take tasks from the queue and work on them: `run`.
    Worker,
    /// Work on one ticket without a queue: `ticket KEY`.
    Ticket,
    /// Nothing from outside: `demo`.
    Demo,
}

impl Needs {
    /// Whether this secret is used.
    fn uses(self, secret: &str) -> bool {
        match self {
            Self::Enqueue => secret == "queue.url",
            Self::Tickets { jira, github } => match secret {
                "queue.url" | "http.proxy" => true,
                "jira.token" => jira,
                "github.token" => github,
                _ => false,
            },
            Self::Worker => true,
            Self::Ticket => !secret.starts_with("queue."),
            Self::Demo => false,
        }
    }
}

impl Config {
    /// Checks all rules that matter for `needs`.
    ///
    /// # Errors
    /// With every rule that is broken, each with the field, where its value is from, and what to do.
    pub fn check(&self, needs: Needs) -> Result<(), ConfigError> {
        let mut check = Check { config: self, problems: Vec::new() };
        check.log();
        if matches!(needs, Needs::Enqueue | Needs::Tickets { .. } | Needs::Worker) {
            check.queue();
        }
        if needs != Needs::Enqueue {
            check.jira();
            check.github();
            check.http();
        }
        if let Needs::Tickets { jira, github } = needs {
            check.accounts(jira, github);
        }
        if matches!(needs, Needs::Worker | Needs::Ticket | Needs::Demo) {
            check.model();
            check.worker();
            check.git();
            check.routes();
        }
        if matches!(needs, Needs::Worker | Needs::Ticket) {
            check.services();
        }
        if needs == Needs::Worker {
            check.deadline();
        }
        check.secrets(needs);
        ConfigError::unless_none(check.problems, ())
    }
}

struct Check<'a> {
    config: &'a Config,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn require(&mut self, holds: bool, field: &str, why: impl Into<String>, fix: impl Into<String>) {
        if !holds {
            let source = self.config.origin(field).to_owned();
            self.problems.push(Problem { field: field.to_owned(), source, why: why.into(), fix: fix.into() });
        }
    }

    /// Secrets whose files cannot be read; that they are not set needs no saying then.
    fn secrets(&mut self, needs: Needs) {
        for problem in self.config.unreadable.iter().filter(|problem| needs.uses(&problem.field)) {
            self.problems.retain(|other| other.field != problem.field);
            self.problems.push(problem.clone());
        }
    }

    /// A value that has to be there.
    fn present(&mut self, holds: bool, field: &str, usual: &str) {
        self.require(holds, field, "it is not set", format!("set {usual} or {}", variable(field)));
    }

    fn positive(&mut self, field: &str, duration: Duration) {
        self.require(!duration.is_zero(), field, "it is zero, which would never wait", "set e.g. 30s");
    }

    fn at_least_one(&mut self, field: &str, number: impl Into<u64>) {
        self.require(number.into() >= 1, field, "it is 0", "set at least 1");
    }

    fn not_blank(&mut self, field: &str, text: &str) {
        self.require(!text.trim().is_empty(), field, "it is empty", "set a text");
    }

    /// A plain address: http or https, with a host, without user, password, query or fragment.
    fn base_url(&mut self, field: &str, url: Option<&Url>) {
        let Some(url) = url else { return };
        let speaks = matches!(url.scheme(), "http" | "https") && url.has_host();
        self.require(
            speaks,
            field,
            format!("`{}:` is not http or https", url.scheme()),
            "set e.g. https://host",
        );
        let bare = url.username().is_empty() && url.password().is_none();
        self.require(
            bare,
            field,
            "it holds a user or a password",
            "take them out: tokens have keys of their own",
        );
        let plain = url.query().is_none() && url.fragment().is_none();
        self.require(plain, field, "it has a query or a fragment", "set the address up to the path");
    }

    /// A secret address of one of some schemes; empty counts as not set.
    fn secret_url(&mut self, field: &str, address: &Secret, schemes: &[&str]) {
        if address.is_empty() {
            return;
        }
        let url = Url::parse(address.expose());
        let fine = url.is_ok_and(|url| {
            schemes.contains(&url.scheme()) && url.host_str().is_some_and(|h| !h.is_empty())
        });
        let expected = format!("{}://user:password@host:port", schemes[0]);
        let why =
            format!("it is not an address with a host that starts with {}", schemes.join(":// or ") + "://");
        self.require(fine, field, why, format!("set e.g. {expected}"));
    }

    fn file(&mut self, field: &str, path: Option<&Path>) {
        let Some(path) = path else { return };
        let why = format!("there is no readable file `{}`", path.display());
        self.require(
            std::fs::File::open(path).is_ok() && path.is_file(),
            field,
            why,
            "name a PEM file, or unset it",
        );
    }

    fn log(&mut self) {
        let filter = &self.config.log.filter;
        let why =
            EnvFilter::builder().parse(filter).err().map(|error| format!("`{filter}` does not do: {error}"));
        let fix = "set e.g. info or info,jira_agent=debug";
        self.require(why.is_none(), "log.filter", why.unwrap_or_default(), fix);
    }

    fn queue(&mut self) {
        let queue = &self.config.queue;
        self.positive("queue.timeout", queue.timeout);
        self.require(
            !queue.retry_delays.is_empty(),
            "queue.retry_delays",
            "it is empty",
            "set e.g. [\"30s\"]",
        );
        for delay in &queue.retry_delays {
            self.positive("queue.retry_delays", *delay);
        }
        if queue.kind == QueueKind::Redis {
            self.secret_url("queue.url", &queue.url, &["redis", "rediss"]);
            self.file("queue.ca_file", queue.ca_file.as_deref());
        }
        if queue.kind != QueueKind::Rabbitmq {
            let enough = queue.lease_timeout >= Duration::from_secs(5);
            let why = format!("{:?} leaves no time to show that a worker lives", queue.lease_timeout);
            self.require(enough, "queue.lease_timeout", why, "set at least 5s");
            return;
        }
        self.secret_url("queue.url", &queue.url, &["amqp", "amqps"]);
        self.secret_url("queue.management_url", &queue.management_url, &["http", "https"]);
        self.file("queue.ca_file", queue.ca_file.as_deref());
        let whole = queue.heartbeat.subsec_nanos() == 0;
        let fits = (5..=u64::from(u16::MAX)).contains(&queue.heartbeat.as_secs());
        let why = format!("{:?} is not a whole number of seconds from 5 to 65535", queue.heartbeat);
        self.require(whole && fits, "queue.heartbeat", why, "set e.g. 20s");
    }

    /// The broker must not take a delivery away from a run that is within its deadline.
    fn deadline(&mut self) {
        let (queue, worker) = (&self.config.queue, &self.config.worker);
        if queue.kind != QueueKind::Rabbitmq {
            return;
        }
        let (deadline, limit) = (worker.run_deadline, queue.consumer_timeout);
        let after = self.config.time_to_end();
        let why = format!(
            "{deadline:?}, and {after:?} to end the run, are not below queue.consumer_timeout ({limit:?}): the broker \
             would take the task away"
        );
        let fix = "lower worker.run_deadline, or raise consumer_timeout on the broker and then queue.consumer_timeout";
        self.require(deadline + after < limit, "worker.run_deadline", why, fix);
    }

    fn jira(&mut self) {
        let jira = &self.config.jira;
        self.base_url("jira.url", jira.url.as_ref());
        self.base_url("jira.api_url", jira.api_url.as_ref());
        self.label("jira.trigger_label", &jira.trigger_label);
        let blank = jira.review_states.iter().any(|state| state.trim().is_empty());
        self.require(!blank, "jira.review_states", "a state is empty", "remove it");
        if let (Some(name), None) = (&jira.reviewer, &jira.reviewer_account_id) {
            let variable = alias::reviewer_variable(name);
            let why = format!("the variable `{variable}` is not set");
            self.require(false, "jira.reviewer", why, format!("set {variable} or jira.reviewer_account_id"));
        }
    }

    /// Labels have no spaces in Jira.
    fn label(&mut self, field: &str, label: &str) {
        let fine = !label.is_empty() && !label.contains(char::is_whitespace);
        self.require(fine, field, format!("`{label}` is not a label"), "set a word without spaces");
    }

    fn github(&mut self) {
        let github = &self.config.github;
        self.base_url("github.url", Some(&github.url));
        self.base_url("github.api_url", Some(&github.api_url));
        self.not_blank("github.trigger_label", &github.trigger_label);
    }

    fn model(&mut self) {
        let model = &self.config.model;
        self.not_blank("model.name", &model.name);
        self.base_url("model.base_url", model.base_url.as_ref());
        self.at_least_one("model.max_output_tokens", model.max_output_tokens);
        self.at_least_one("model.max_input_tokens", model.max_input_tokens);
        self.positive("model.idle_timeout", model.idle_timeout);
        self.positive("model.timeout", model.timeout);
        let Some(prices) = model.prices else { return };
        let named = [
            ("model.prices.input", prices.input),
            ("model.prices.output", prices.output),
            ("model.prices.cache_write", prices.cache_write),
            ("model.prices.cache_read", prices.cache_read),
        ];
        for (field, price) in named {
            let fine = price.is_finite() && price >= 0.0;
            self.require(
                fine,
                field,
                format!("{price} is not a price"),
                "set dollars per million tokens, from 0",
            );
        }
    }

    /// Where to listen; an empty text is nowhere.
    fn listen(&mut self, field: &str, address: &str) {
        let port = address
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty())
            .map(|(_, port)| port.parse::<u16>());
        let fine = address.is_empty() || matches!(port, Some(Ok(_)));
        self.require(fine, field, format!("`{address}` is not host:port"), "set e.g. 127.0.0.1:9464");
    }

    fn worker(&mut self) {
        let worker = &self.config.worker;
        self.listen("worker.listen", &worker.listen);
        self.positive("worker.run_deadline", worker.run_deadline);
        self.positive("worker.clone_timeout", worker.clone_timeout);
        self.positive("worker.push_timeout", worker.push_timeout);
        let why = "a run needs a moment to give its task back";
        self.require(
            worker.drain_timeout >= Duration::from_secs(1),
            "worker.drain_timeout",
            why,
            "set at least 1s",
        );
        self.at_least_one("worker.max_attempts", worker.max_attempts);
        self.at_least_one("worker.context_files", worker.context_files as u64);
        self.at_least_one("worker.context_lines", worker.context_lines as u64);
        self.starting_mode("worker.default_mode", worker.default_mode);
        let both = worker.quickfix_labels.iter().find(|label| worker.plan_labels.contains(label));
        let why = both.map(|label| format!("`{label}` is in worker.quickfix_labels too")).unwrap_or_default();
        self.require(both.is_none(), "worker.plan_labels", why, "keep it in one of them");
        for pattern in &worker.protected_paths {
            if let Err(error) = Glob::new(pattern) {
                let why = format!("`{pattern}` is not a glob: {}", error.kind());
                self.require(false, "worker.protected_paths", why, "mend it, e.g. .github/workflows/**");
            }
        }
    }

    /// The other modes go on with what an earlier run began.
    fn starting_mode(&mut self, field: &str, mode: Mode) {
        let starts = matches!(mode, Mode::Quickfix | Mode::Plan);
        self.require(starts, field, format!("no run can start with `{mode}`"), "set quickfix or plan");
    }

    fn git(&mut self) {
        let git = &self.config.git;
        let angles = |text: &str| text.contains(['<', '>', '\n']);
        let name = !git.author_name.trim().is_empty() && !angles(&git.author_name);
        self.require(name, "git.author_name", "it is empty or has < or >", "set a name");
        let email = git.author_email.contains('@') && !angles(&git.author_email);
        self.require(email, "git.author_email", "it is not an address", "set e.g. jira-agent@acme.example");
        self.branch("git.jira_branch", &git.jira_branch, "{key}", "PROJ-1");
        self.branch("git.github_branch", &git.github_branch, "{number}", "1");
    }

    fn branch(&mut self, field: &str, template: &str, placeholder: &str, example: &str) {
        let held = template.contains(placeholder);
        let why = format!("`{template}` lacks {placeholder}: all tickets would share a branch");
        self.require(held, field, why, format!("set e.g. ai/{placeholder}"));
        let valid = template.replace(placeholder, example).parse::<BranchName>().is_ok();
        self.require(
            !held || valid,
            field,
            format!("`{template}` makes no branch name"),
            "see git check-ref-format",
        );
    }

    fn http(&mut self) {
        let http = &self.config.http;
        self.positive("http.connect_timeout", http.connect_timeout);
        self.positive("http.timeout", http.timeout);
        self.file("http.ca_file", http.ca_file.as_deref());
        if let Some(proxy) = &http.proxy {
            self.secret_url("http.proxy", proxy, &["http", "https"]);
        }
    }

    fn routes(&mut self) {
        for (index, route) in self.config.routes.iter().enumerate() {
            let ours = &self.config.github.url;
            let same = route.repo.origin().origin() == ours.origin();
            let why = format!("{}: its repository is not on github.url ({ours})", route.repo);
            self.require(same, "routes", why, "use one host for both: tokens are sent to that host alone");
            for project in &route.projects {
                let valid = format!("{project}-1").parse::<IssueKey>().is_ok();
                let why = format!("routes[{index}]: `{project}` is not a Jira project key");
                self.require(valid, "routes", why, "set e.g. SHOP");
            }
            if let Some(mode) = route.mode {
                self.starting_mode("routes", mode);
            }
        }
    }

    /// What a run has to reach.
    fn services(&mut self) {
        let Config { routes, jira, github, model, .. } = self.config;
        let fix = "add a [[routes]] entry, or set JIRA_AGENT__ROUTES=PROJ=https://github.com/owner/repo";
        self.require(
            !routes.is_empty(),
            "routes",
            "no repository is named, and no other is ever touched",
            fix,
        );
        self.present(!github.token.is_empty(), "github.token", "GITHUB_TOKEN");
        let needed = routes.iter().any(|route| !route.projects.is_empty() || !route.components.is_empty());
        self.jira_account(jira, needed);
        let usual = match model.provider {
            ModelProvider::Anthropic => "ANTHROPIC_API_KEY",
            ModelProvider::Openai => "OPENAI_API_KEY (any text for a server that asks for none)",
            ModelProvider::Ollama => return,
        };
        let provider = model.provider.word();
        let why = format!("it is not set, and `{provider}` asks for one");
        let fix = format!("set {usual}, or choose another with {}", variable("model.provider"));
        self.require(!model.api_key.is_empty(), "model.api_key", why, fix);
    }

    /// The accounts that write on tickets.
    fn accounts(&mut self, jira: bool, github: bool) {
        if jira {
            self.jira_account(&self.config.jira, true);
        }
        if github {
            self.present(!self.config.github.token.is_empty(), "github.token", "GITHUB_TOKEN");
        }
    }

    /// Address, account and token of Jira: all or none; all when a route asks for a Jira ticket.
    fn jira_account(&mut self, jira: &JiraConfig, needed: bool) {
        let parts = [
            (jira.url.is_some(), "jira.url", "JIRA_URL"),
            (!jira.email.is_empty(), "jira.email", "JIRA_EMAIL"),
            (!jira.token.is_empty(), "jira.token", "JIRA_TOKEN"),
        ];
        if needed || parts.iter().any(|(set, ..)| *set) {
            for (set, field, usual) in parts {
                self.present(set, field, usual);
            }
        }
    }
}
