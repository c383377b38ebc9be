//! What the demonstration prints: words to standard error, the result to standard output.

use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressStyle};
use jira_agent::config::Config;
use jira_agent::domain::Event;
use jira_agent::output::{line, note};

use super::scene::{self, Scene, TicketView};
use crate::cli::{DemoArgs, DemoModel};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Says what is real and what is not.
pub fn opening(scene: &Scene, config: &Config, args: &DemoArgs) {
    note(&styled(BOLD, "jira-agent demo: one ticket to one pull request"));
    note(&format!("  simulated: Jira, GitHub's REST API, at {}", scene.url()));
    let model = match args.model {
        DemoModel::Scripted => {
            "simulated: the model; it answers only when it is shown the right lines".to_owned()
        }
        DemoModel::Real => format!("real:      the model, {}", config.model.name),
    };
    note(&format!("  {model}"));
    note("  real:      the worker, git over HTTP, the repository, the patch, the checks, the push");
    note("  in memory: the queue (a fleet uses RabbitMQ)");
    note("");
}

/// The live steps.
pub struct Show {
    bar: ProgressBar,
    started: Instant,
}

impl Show {
    /// Starts the display; on a terminal a spinner shows that the next step is under way.
    pub fn begin() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message("waiting for the worker");
        bar.enable_steady_tick(Duration::from_millis(80));
        Self { bar, started: Instant::now() }
    }

    /// Shows a step that is done.
    pub fn event(&self, event: &Event) {
        let at = format!("{:>6.2} s", self.started.elapsed().as_secs_f64());
        let text =
            format!("  {} {:<20} {}", styled(DIM, &at), event.kind.as_str().replace('_', " "), detail(event));
        self.bar.suspend(|| note(text.trim_end()));
        self.bar.set_message(format!("after: {}", event.kind));
    }

    /// Takes the spinner away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The one thing about a step that a spectator wants to know.
fn detail(event: &Event) -> String {
    let text = |field: &str| event.data.get(field).and_then(|value| value.as_str()).map(str::to_owned);
    let list = |field: &str| {
        let values = event.data.get(field)?.as_array()?;
        Some(values.iter().filter_map(|value| value.as_str()).collect::<Vec<_>>().join(", "))
    };
    let tokens = || {
        let number = |field: &str| event.data.get(field)?.as_u64();
        Some(format!("{} tokens in, {} out", number("input_tokens")?, number("output_tokens")?))
    };
    list("files")
        .or_else(|| list("checks"))
        .or_else(tokens)
        .or_else(|| text("url"))
        .or_else(|| text("branch"))
        .or_else(|| text("repo"))
        .or_else(|| text("base_branch"))
        .or_else(|| text("reason"))
        .unwrap_or_default()
}

/// The pull request's diff and the ticket before and after.
pub fn ending(scene: &Scene, before: &TicketView, took: Duration) -> anyhow::Result<()> {
    let pull = scene.pull()?;
    line("")?;
    line(&styled(BOLD, &format!("Pull request #{}: {}", pull.number, pull.title)))?;
    line(&format!("{} into {}", pull.head, pull.base))?;
    line("")?;
    for row in pull.diff.lines() {
        line(&colour(row))?;
    }
    let after = scene.ticket()?;
    line("")?;
    line(&styled(BOLD, &format!("Ticket {}: {}", scene::TICKET, after.summary)))?;
    for (name, was, is) in [
        ("status", &before.status, &after.status),
        ("assignee", &before.assignee, &after.assignee),
        ("comments", &before.comments, &after.comments),
        ("links", &before.links, &after.links),
    ] {
        line(&format!("  {name:<9} {was}  ->  {is}"))?;
    }
    line("")?;
    for row in after.comment.lines() {
        line(&format!("  | {row}"))?;
    }
    note("");
    note(&format!("From a ticket to a pull request in {:.2} s.", took.as_secs_f64()));
    Ok(())
}

fn colour(row: &str) -> String {
    let style = match row.as_bytes().first() {
        Some(b'+') => Style::new().fg_color(Some(AnsiColor::Green.into())),
        Some(b'-') => Style::new().fg_color(Some(AnsiColor::Red.into())),
        Some(b'@') => Style::new().fg_color(Some(AnsiColor::Cyan.into())),
        _ => return row.to_owned(),
    };
    styled(style, row)
}

/// Where to look around.
pub fn addresses(scene: &Scene) {
    note("");
    note(&format!("The services stay up until Ctrl-C. Ticket: {}/browse/{}", scene.url(), scene::TICKET));
    note(&format!("State: {0}/_state   requests: {0}/_journal", scene.url()));
    note(&format!("git clone {}/{}.git", scene.url(), scene::REPOSITORY));
}
