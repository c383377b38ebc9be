//! Log lines on stderr: JSON for machines, plain for people, secrets hidden in both.
//!
//! A JSON line is one flat object: `time`, `level`, `target`, `message`, the event's fields and the fields of all
//! spans around it, by their dotted names (`run.id`, `ticket.key`, `step`, `attempt`, `repo`).

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};
use crate::redact::Redactor;

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The setting `log.filter` cannot be read.
    #[error("log.filter: `{filter}` is no filter; set e.g. info or info,jira_agent=debug")]
    Filter {
        /// The setting.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was started before in this process.
    #[error("logging is already set up in this process")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps panics going to the log. When it is dropped, panics are printed as before.
#[must_use = "panics are logged only while the guard lives"]
#[derive(Debug)]
pub struct TelemetryGuard(());

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(std::panic::take_hook());
        }
    }
}

/// Starts logging to stderr for the whole process, panics included.
///
/// # Errors
/// When the filter cannot be read, or logging was started before.
pub fn init(config: &LogConfig, redactor: Redactor) -> Result<TelemetryGuard, TelemetryError> {
    let terminal = io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Human => false,
    };
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let look = if json { Look::Json } else { Look::Human { colour } };
    subscriber(&config.filter, look, redactor, io::stderr)?.try_init().map_err(TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(TelemetryGuard(()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Json,
    Human { colour: bool },
}

type AnySubscriber = Box<dyn Subscriber + Send + Sync>;

fn subscriber<W>(
    filter: &str,
    look: Look,
    redactor: Redactor,
    writer: W,
) -> Result<AnySubscriber, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // lapin calls it an error when another worker holds a lease; what matters of its failures is logged by the queue.
    let filter = EnvFilter::builder()
        .parse(format!("lapin=off,{filter}"))
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })?;
    let writer = Redacting { redactor, inner: writer, json: look == Look::Json };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match look {
        Look::Json => Box::new(builder.fmt_fields(JsonFields::new()).event_format(FlatJson).finish()),
        Look::Human { colour } => Box::new(builder.with_ansi(colour).with_timer(Clock).finish()),
    })
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("a panic without a text");
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(
        panic.message = message,
        panic.location = location,
        "a panic: this is a bug in jira-agent"
    );
}

/// The time of a line in UTC, to the millisecond.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:.3}", Timestamp::now())
    }
}

/// One flat JSON object a line.
struct FlatJson;

impl<S, N> FormatEvent<S, N> for FlatJson
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut own = String::new();
        context.format_fields(Writer::new(&mut own), event)?;
        let mut own = object(&own);
        let mut line = Map::new();
        line.insert("time".to_owned(), format!("{:.3}", Timestamp::now()).into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        // A line of the `log` crate says its target in a field.
        let target = own.remove("log.target").unwrap_or_else(|| event.metadata().target().into());
        line.insert("target".to_owned(), target);
        line.insert("message".to_owned(), own.remove("message").unwrap_or_default());
        own.retain(|name, _| !name.starts_with("log."));
        let spans = context.event_scope().into_iter().flat_map(|scope| scope.from_root());
        let spans =
            spans.filter_map(|span| span.extensions().get::<FormattedFields<N>>().map(|f| object(&f.fields)));
        for (name, value) in spans.chain([own]).flatten() {
            if !HEAD.contains(&name.as_str()) {
                line.insert(name, value);
            }
        }
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// What a line begins with; no field of a span or an event takes these places.
const HEAD: [&str; 4] = ["time", "level", "target", "message"];

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// Hides secrets in each whole line before it is written.
struct Redacting<W> {
    redactor: Redactor,
    inner: W,
    json: bool,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Redacting<W> {
    type Writer = Line<'w, W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        Line { redactor: &self.redactor, inner: self.inner.make_writer(), json: self.json, text: Vec::new() }
    }
}

/// One line in the making. It is written in one piece when it is dropped, after all of it is known.
struct Line<'w, W: Write> {
    redactor: &'w Redactor,
    inner: W,
    json: bool,
    text: Vec<u8>,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Drop for Line<'_, W> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let clean = self.redactor.redact(&text);
        let clean = if self.json { still_json(clean) } else { clean };
        // There is nowhere to say that stderr is gone.
        drop(self.inner.write_all(clean.as_bytes()));
    }
}

/// A line as it is when hiding left it JSON, else as the message of a new one.
fn still_json(line: Cow<'_, str>) -> Cow<'_, str> {
    match &line {
        Cow::Owned(text) if serde_json::from_str::<IgnoredAny>(text).is_err() => {
            Cow::Owned(format!("{}\n", json!({"level": "ERROR", "message": text.trim_end()})))
        }
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;
    use tracing::{error, info, info_span};

    use super::*;
    use crate::secret::Secret;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn captured(filter: &str, look: Look, secrets: &[&str], log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        let redactor = Redactor::new(secrets.iter().map(|secret| Secret::new(*secret)));
        let subscriber = subscriber(filter, look, redactor, move || writer.clone()).unwrap();
        with_default(subscriber, log);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_flat_and_has_the_fields_of_all_spans() {
        let text = captured("info", Look::Json, &[], || {
            let run =
                info_span!("delivery", run.id = "01K", ticket.key = "PROJ-1", attempt = 2, step = "none");
            run.in_scope(|| {
                let step = info_span!("step", step = "clone", repo = tracing::field::Empty);
                step.record("repo", "acme/shop");
                step.in_scope(|| info!(duration_ms = 12, level = "no", "cloned"));
            });
        });
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        let time = line["time"].as_str().unwrap();
        assert!(time.parse::<Timestamp>().is_ok() && time.ends_with('Z'), "{time}");
        let expected = json!({
            "time": time, "level": "INFO", "target": "jira_agent::telemetry::tests", "message": "cloned",
            "run.id": "01K", "ticket.key": "PROJ-1", "attempt": 2, "step": "clone", "repo": "acme/shop",
            "duration_ms": 12,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn secrets_are_hidden_in_every_part_of_a_line() {
        for look in [Look::Json, Look::Human { colour: true }, Look::Human { colour: false }] {
            let text = captured("info", look, &["correct horse"], || {
                info_span!("correct horse", field = "correct horse").in_scope(|| {
                    error!(error = "correct horse", "sent correct horse to https://u:p4ss@host");
                });
            });
            assert!(text.contains("***@host") && !text.contains("horse") && !text.contains("p4ss"), "{text}");
        }
    }

    #[test]
    fn hiding_never_breaks_a_json_line() {
        let text = captured("info", Look::Json, &["nope", "\":\""], || info!("a\nope, is it?"));
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert!(line["message"].as_str().unwrap().contains("***"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_human_line_is_readable_and_obeys_the_filter() {
        let text = captured("warn", Look::Human { colour: false }, &[], || {
            info!("too quiet");
            error!(size_bytes = 3, "disk full");
        });
        assert!(text.contains("ERROR") && text.contains("disk full size_bytes=3"), "{text}");
        assert!(!text.contains("quiet"));
    }

    #[test]
    fn a_broken_filter_is_an_error_that_names_it() {
        let config = LogConfig { format: LogFormat::Auto, filter: "info,jira_agent=loud".to_owned() };
        let error = init(&config, Redactor::default()).unwrap_err();
        assert!(error.to_string().contains("`info,jira_agent=loud`"), "{error}");
    }

    #[test]
    fn a_panic_is_logged_with_its_place_and_without_secrets() {
        let text = captured("info", Look::Json, &["correct horse"], || {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(log_panic));
            let caught = std::panic::catch_unwind(|| panic!("no correct horse"));
            std::panic::set_hook(before);
            assert!(caught.is_err());
        });
        let line: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["panic.message"], "no ***");
        assert!(line["panic.location"].as_str().unwrap().contains("telemetry.rs:"));
    }
}
