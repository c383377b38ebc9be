//! A display of runs that are waited for.

use std::io::IsTerminal as _;
use std::time::Duration;

use crate::domain::Event;
use crate::output::note;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line that shows where the runs are: redrawn on a terminal, else one line an event.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// For this many runs; `quiet` shows nothing where there is no terminal.
    #[must_use]
    pub fn new(runs: usize, quiet: bool) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { bar: None, quiet };
        }
        let bar = ProgressBar::with_draw_target(u64::try_from(runs).ok(), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed}] {pos}/{len} runs ended  {msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar: Some(bar), quiet }
    }

    /// Shows an event.
    pub fn show(&self, event: &Event) {
        let text = sentence(event);
        match &self.bar {
            Some(bar) => {
                bar.set_message(text.clone());
                if event.kind.is_end() {
                    bar.inc(1);
                    bar.suspend(|| note(&text));
                }
            }
            None if !self.quiet => note(&text),
            None => {}
        }
    }

    /// Takes the line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// An event in a line: the ticket, the word, and where there is one the link or the reason.
fn sentence(event: &Event) -> String {
    let detail = ["url", "reason"].iter().find_map(|field| event.data.get(field)?.as_str());
    let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{} {}{detail}", event.ticket, event.kind.as_str().replace('_', " "))
}
