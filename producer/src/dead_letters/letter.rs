//! A dead letter as people and scripts see it.

use jiff::{SignedDuration, Timestamp};
use jira_agent::config::Config;
use jira_agent::domain::{RepoUrl, Task, TaskBody, TicketKey};
use jira_agent::queue::DeadLetter;
use jira_agent::redact::Redactor;
use serde_json::{Value, json};

use super::cause::Cause;

/// So many characters of a body are shown to people; scripts get all.
const SHOWN_BODY: usize = 2000;

/// A dead letter with what its body says.
pub struct Letter<'list> {
    dead: &'list DeadLetter,
    task: Option<Task>,
    cause: Cause,
    url: Option<String>,
    redactor: &'list Redactor,
}

impl<'list> Letter<'list> {
    /// Reads its body.
    #[must_use]
    pub fn new(dead: &'list DeadLetter, config: &Config, redactor: &'list Redactor) -> Self {
        let body = TaskBody::parse(&dead.body).ok();
        let task = body.map(|body| body.task);
        let url = task.as_ref().and_then(|task| address(task, config));
        Self { dead, task, cause: Cause::of(dead), url, redactor }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> String {
        self.line(&self.dead.id)
    }

    /// The ticket's key; `-` when the body is no task.
    #[must_use]
    pub fn ticket(&self) -> String {
        self.task.as_ref().map_or_else(|| "-".to_owned(), |task| task.ticket.to_string())
    }

    /// Why it is here, on one line.
    #[must_use]
    pub fn reason(&self) -> String {
        let broker = "the broker put it here by itself, without a reason";
        self.line(self.dead.reason.as_deref().unwrap_or(broker))
    }

    /// The step in which it failed, or `-`.
    #[must_use]
    pub fn step(&self) -> String {
        self.line(self.dead.step.as_deref().unwrap_or("-"))
    }

    /// How often it was tried.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.dead.info.attempt
    }

    /// When it died.
    #[must_use]
    pub fn died_at(&self) -> Option<Timestamp> {
        self.dead.died_at
    }

    /// A text as it may be printed: without secrets, and without characters that a terminal would obey.
    fn clean(&self, text: &str) -> String {
        let text = self.redactor.redact(text);
        text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
    }

    fn line(&self, text: &str) -> String {
        self.clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn body(&self) -> String {
        self.clean(&String::from_utf8_lossy(&self.dead.body))
    }

    /// Everything, for people.
    #[must_use]
    pub fn explained(&self, now: Timestamp) -> String {
        let info = &self.dead.info;
        let time = |at: Option<Timestamp>| match at {
            Some(at) => format!("{} UTC ({} ago)", at.strftime("%Y-%m-%d %H:%M:%S"), age(at, now)),
            None => "not known".to_owned(),
        };
        let task = self.task.as_ref();
        let said = |text: Option<String>, otherwise: &str| text.unwrap_or_else(|| otherwise.to_owned());
        let mut rows = vec![
            ("dead letter", self.id()),
            ("ticket", self.url.as_ref().map_or(self.ticket(), |url| format!("{}  {url}", self.ticket()))),
            ("reason", self.reason()),
            ("step", self.step()),
            ("attempts", info.attempt.to_string()),
            ("crashes", info.crashes.to_string()),
            ("first published", time(info.first_published)),
            ("died", time(self.dead.died_at)),
            ("replayed by", said(info.replayed_by.as_deref().map(|by| self.line(by)), "nobody yet")),
        ];
        if let Some(task) = task {
            let repository = task.repository.as_ref().map(ToString::to_string);
            let mode = task.mode.map(|mode| mode.to_string());
            let by = task.requested_by.as_ref().map(|by| self.line(by.as_str()));
            let road =
                task.trigger.as_ref().and_then(|trigger| json!(trigger.kind).as_str().map(str::to_owned));
            let road = road.map_or_else(String::new, |road| format!(" (trigger: {road})"));
            rows.extend([
                ("repository", said(repository, "by the routes")),
                ("mode", said(mode, "by the ticket's labels and the routes")),
                ("asked for by", format!("{}{road}", said(by, "nobody named"))),
                ("asked for", time(task.requested_at)),
            ]);
        }
        let body = self.body();
        let mut shown: String = body.chars().take(SHOWN_BODY).collect();
        if shown.len() < body.len() {
            shown.push_str(&format!("… ({} bytes in all; --json shows them)", self.dead.body.len()));
        }
        rows.push(("body", shown));
        let commands = self.cause.commands(&self.id()).join("\n");
        rows.push(("next", format!("{}\n{commands}", self.cause.advice(self.dead))));
        rows.into_iter().map(|(name, value)| row(name, &value)).collect::<Vec<_>>().join("\n")
    }

    /// Everything, for scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        let info = &self.dead.info;
        let task = self.task.as_ref();
        let body = self.body();
        json!({
            "id": self.id(),
            "ticket": task.map(|task| &task.ticket),
            "url": self.url,
            "reason": self.dead.reason.as_ref().map(|_| self.reason()),
            "step": self.dead.step.as_ref().map(|_| self.step()),
            "attempts": info.attempt,
            "crashes": info.crashes,
            "first_published": info.first_published,
            "died_at": self.dead.died_at,
            "replayed_by": info.replayed_by.as_deref().map(|by| self.line(by)),
            "repository": task.and_then(|task| task.repository.as_ref()),
            "mode": task.and_then(|task| task.mode),
            "requested_by": task.and_then(|task| task.requested_by.as_ref()),
            "requested_at": task.and_then(|task| task.requested_at),
            "body": serde_json::from_str(&body).unwrap_or(Value::String(body)),
            "cause": self.cause,
            "next": {"advice": self.cause.advice(self.dead), "commands": self.cause.commands(&self.id())},
        })
    }
}

/// Where people see the ticket, where that is known.
fn address(task: &Task, config: &Config) -> Option<String> {
    match &task.ticket {
        TicketKey::Jira(key) => {
            let site = config.jira.url.as_ref()?;
            Some(format!("{}/browse/{key}", site.as_str().trim_end_matches('/')))
        }
        TicketKey::GitHub { repository, number } => {
            let host = || RepoUrl::on_host(&config.github.url, repository).ok();
            let repository = task.repository.clone().or_else(host)?;
            Some(format!("{repository}/issues/{number}"))
        }
    }
}

/// A name and its value, whose further lines stand below its first.
fn row(name: &str, value: &str) -> String {
    const WIDTH: usize = 17;
    let value = value.replace('\n', &format!("\n{}", " ".repeat(WIDTH)));
    format!("{name:<WIDTH$}{value}")
}

/// How long ago that was, in its largest unit.
#[must_use]
pub fn age(at: Timestamp, now: Timestamp) -> String {
    let passed: SignedDuration = now.duration_since(at).max(SignedDuration::ZERO);
    let (minutes, hours) = (passed.as_mins(), passed.as_hours());
    match (minutes, hours) {
        (0, _) => format!("{}s", passed.as_secs()),
        (minutes, 0) => format!("{minutes}m"),
        (_, hours @ 0..48) => format!("{hours}h"),
        (_, hours) => format!("{}d", hours / 24),
    }
}
