//! What a worker counts and times, for Prometheus: <https://prometheus.io/docs/practices/naming/>. `docs/metrics.md`
//! lists the same; a test compares the two.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::breaker::{Breaker, Position};
use crate::model::Usage;

/// One label and its value.
type Label = [(&'static str, String); 1];
/// Two labels and their values.
type Labels = [(&'static str, String); 2];

/// Steps take from milliseconds (a check) to minutes (a model, a clone).
const STEP_SECONDS: [f64; 12] = [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0, 60.0, 180.0, 600.0];
/// Runs take from a second to the deadline.
const RUN_SECONDS: [f64; 9] = [1.0, 5.0, 15.0, 30.0, 60.0, 180.0, 300.0, 600.0, 1500.0];
/// Tasks wait from nothing to a night.
const WAIT_SECONDS: [f64; 9] = [0.1, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 14_400.0, 43_200.0];

/// All of a worker's metrics. Clones are the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    series: Series,
}

/// All but the version.
#[derive(Debug)]
struct Series {
    runs: Family<Label, Counter>,
    run_duration: Family<Label, Histogram>,
    step_duration: Family<Label, Histogram>,
    retries: Family<Label, Counter>,
    dead_letters: Family<Label, Counter>,
    queue_wait: Histogram,
    tokens: Family<Labels, Counter>,
    cost: Family<Label, Counter<f64, AtomicU64>>,
    breaker: Family<Label, Gauge>,
    contention: Counter,
    lost: Counter,
    busy: Gauge,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            runs: Family::default(),
            run_duration: Family::new_with_constructor(|| Histogram::new(RUN_SECONDS)),
            step_duration: Family::new_with_constructor(|| Histogram::new(STEP_SECONDS)),
            retries: Family::default(),
            dead_letters: Family::default(),
            queue_wait: Histogram::new(WAIT_SECONDS),
            tokens: Family::default(),
            cost: Family::default(),
            breaker: Family::default(),
            contention: Counter::default(),
            lost: Counter::default(),
            busy: Gauge::default(),
        }
    }
}

impl Series {
    fn register_runs(&self, to: &mut Registry) {
        to.register("runs", "Runs that have ended, by their outcome", self.runs.clone());
        to.register_with_unit(
            "run_duration",
            "From the claim to the end of the attempt that ended a run",
            Unit::Seconds,
            self.run_duration.clone(),
        );
        to.register_with_unit(
            "step_duration",
            "How long a step of a run took",
            Unit::Seconds,
            self.step_duration.clone(),
        );
    }

    fn register_tasks(&self, to: &mut Registry) {
        let retries = "Tasks that went back to the queue, by the kind of failure";
        to.register("retries", retries, self.retries.clone());
        let dead_letters = "Tasks that became dead letters, by the step in which they failed";
        to.register("dead_letters", dead_letters, self.dead_letters.clone());
        to.register_with_unit(
            "queue_wait",
            "From a task's first publish to its first delivery",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
    }

    fn register_model(&self, to: &mut Registry) {
        to.register("model_tokens", "Tokens that the model read and wrote", self.tokens.clone());
        let cost = "What the model's tokens cost in US dollars, by model.prices";
        to.register("model_cost_usd", cost, self.cost.clone());
        let breaker = "The breaker before the model's provider: 0 closed, 1 half open, 2 open";
        to.register("breaker_state", breaker, self.breaker.clone());
    }

    fn register_worker(&self, to: &mut Registry) {
        let contention = "Tasks that were put off because another worker held the ticket's lease";
        to.register("lease_contention", contention, self.contention.clone());
        let lost = "Deliveries whose connection or lease was lost before they could be settled";
        to.register("deliveries_lost", lost, self.lost.clone());
        to.register("worker_busy", "Runs that are under way", self.busy.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let (series, mut registry) = (Series::default(), Registry::with_prefix("jira_agent"));
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        series.register_runs(&mut registry);
        series.register_tasks(&mut registry);
        series.register_model(&mut registry);
        series.register_worker(&mut registry);
        Self { inner: Arc::new(Inner { registry, series }) }
    }
}

impl Metrics {
    /// A run has ended.
    pub fn run_ended(&self, outcome: &str, took: Option<Duration>) {
        let label = [("outcome", outcome.to_owned())];
        self.inner.series.runs.get_or_create(&label).inc();
        if let Some(took) = took {
            self.inner.series.run_duration.get_or_create(&label).observe(took.as_secs_f64());
        }
    }

    /// A step has ended, well or not.
    pub fn step_ended(&self, step: &'static str, took: Duration) {
        self.inner
            .series
            .step_duration
            .get_or_create(&[("step", step.to_owned())])
            .observe(took.as_secs_f64());
    }

    /// A task went back to the queue.
    pub fn retried(&self, reason: &'static str) {
        self.inner.series.retries.get_or_create(&[("reason", reason.to_owned())]).inc();
    }

    /// Another worker held the lease.
    pub fn contended(&self) {
        self.inner.series.contention.inc();
    }

    /// A delivery was lost.
    pub fn lost(&self) {
        self.inner.series.lost.inc();
    }

    /// A task became a dead letter.
    pub fn died(&self, step: Option<&str>) {
        self.inner.series.dead_letters.get_or_create(&[("step", step.unwrap_or("none").to_owned())]).inc();
    }

    /// A task was delivered for the first time, this long after it was published.
    pub fn waited(&self, wait: Duration) {
        self.inner.series.queue_wait.observe(wait.as_secs_f64());
    }

    /// The model has replied.
    pub fn model_replied(&self, model: &str, usage: &Usage, cost_usd: Option<f64>) {
        let Usage { input, output, cache_write, cache_read } = *usage;
        for (kind, count) in
            [("input", input), ("output", output), ("cache_write", cache_write), ("cache_read", cache_read)]
        {
            let labels = [("model", model.to_owned()), ("kind", kind.to_owned())];
            self.inner.series.tokens.get_or_create(&labels).inc_by(count);
        }
        if let Some(cost) = cost_usd {
            self.inner.series.cost.get_or_create(&[("model", model.to_owned())]).inc_by(cost);
        }
    }

    /// A run has begun; it is under way until the guard is dropped.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.inner.series.busy.inc();
        Busy { metrics: self.clone() }
    }

    /// All of them in the text format of OpenMetrics, as they are now.
    #[must_use]
    pub fn text(&self, breaker: &Breaker) -> String {
        let state = match breaker.position() {
            Position::Closed => 0,
            Position::HalfOpen => 1,
            Position::Open => 2,
        };
        self.inner.series.breaker.get_or_create(&[("breaker", "model".to_owned())]).set(state);
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.inner.registry);
        text
    }
}

/// A run that is under way.
#[derive(Debug)]
pub struct Busy {
    metrics: Metrics,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.metrics.inner.series.busy.dec();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jira_agent::queue::tiers::Tiers;

    use super::*;

    fn text() -> String {
        let metrics = Metrics::default();
        metrics.run_ended("pull_request_opened", Some(Duration::from_secs(3)));
        metrics.step_ended("edit", Duration::from_millis(20));
        metrics.retried("transient");
        metrics.died(None);
        metrics.waited(Duration::from_secs(1));
        let usage = Usage { input: 7, output: 5, ..Usage::default() };
        metrics.model_replied("scripted", &usage, Some(0.25));
        metrics.contended();
        metrics.lost();
        drop(metrics.busy());
        metrics.text(&Breaker::new(&Tiers::new(&[])))
    }

    #[test]
    fn every_metric_is_in_the_text() {
        let text = text();
        for line in [
            r#"jira_agent_runs_total{outcome="pull_request_opened"} 1"#,
            r#"jira_agent_step_duration_seconds_count{step="edit"} 1"#,
            r#"jira_agent_dead_letters_total{step="none"} 1"#,
            r#"jira_agent_model_tokens_total{model="scripted",kind="input"} 7"#,
            r#"jira_agent_model_cost_usd_total{model="scripted"} 0.25"#,
            r#"jira_agent_breaker_state{breaker="model"} 0"#,
            "jira_agent_worker_busy 0",
        ] {
            assert!(text.lines().any(|is| is == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    /// Name, kind and help of each metric, as the text says.
    fn described(text: &str) -> Vec<(String, String, String)> {
        let mut helps = BTreeMap::new();
        let mut all = Vec::new();
        for line in text.lines() {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                helps.insert(name.to_owned(), help.trim_end_matches('.').to_owned());
            }
            if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                all.push((format!("{name}{suffix}"), kind.to_owned(), helps[name].clone()));
            }
        }
        all
    }

    #[test]
    fn the_documentation_lists_exactly_these() {
        let rows: Vec<String> = described(&text())
            .into_iter()
            .map(|(name, kind, help)| format!("| `{name}` | {kind} | {help} |"))
            .collect();
        let document = include_str!("../../docs/metrics.md");
        let begins = |line: &&str| line.starts_with("| `jira_agent_");
        let shown: Vec<String> = document
            .lines()
            .filter(begins)
            .map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                format!("| {} | {} | {} |", cells[1], cells[2], cells[4])
            })
            .collect();
        assert_eq!(shown, rows, "\n{}", rows.join("\n"));
    }

    #[test]
    fn names_follow_the_conventions() {
        for (name, kind, _) in described(&text()) {
            assert!(name.starts_with("jira_agent_"), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        }
    }
}
