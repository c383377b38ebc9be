//! What goes wrong at the model, in its replies, at git and at the broker, and how each run ends.

mod broker;
mod crowd;
mod dead_letters;
mod files;
mod git;
mod model;
mod patch;
mod providers;
mod push;
mod reply;
mod shutdown;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use jira_agent_simulator::jira::Jira;
use jira_agent_simulator::models::{Call, Reply, Rule};
use lapin::types::AMQPValue;
use regex::Regex;
use tokio::process::Child;
use tokio::sync::Notify;

use crate::broker::{SOON, wait_for};
use crate::world::{BRANCH, Ended, NEEDED, REPLY, REPOSITORY, World};

const ONCE: [&str; 4] = ["run", "--once", "--idle-exit", "20s"];
const DEAD: &str = "agent-tasks.dlq";
/// Time enough for a model that is to hang: its silence is not what ends the run.
const PATIENT: (&str, &str) = ("JIRA_AGENT__MODEL__IDLE_TIMEOUT", "60s");

/// A message as it lies in a queue.
#[derive(Debug)]
struct Letter {
    body: String,
    attempt: i64,
    reason: String,
}

impl Letter {
    fn of(message: &lapin::message::Delivery) -> Self {
        let headers = message.properties.headers().clone().unwrap_or_default();
        let attempt = match headers.inner().get("x-attempt") {
            Some(AMQPValue::LongLongInt(attempt)) => *attempt,
            other => panic!("x-attempt is {other:?}"),
        };
        let reason = match headers.inner().get("x-reason") {
            Some(AMQPValue::LongString(reason)) => reason.to_string(),
            other => panic!("x-reason is {other:?}"),
        };
        Self { body: String::from_utf8_lossy(&message.data).into_owned(), attempt, reason }
    }
}

/// Waits for a message in `queue` and takes it.
async fn letter(world: &World, queue: &str) -> Letter {
    Letter::of(&world.broker.take(queue).await)
}

/// Checks what alone waits on a queue, then hands it to the workers, as a tier does when its time is over.
async fn hurry(world: &World, queue: &str, attempt: i64, reason: &str) {
    assert_eq!(world.depths().await, [(queue.to_owned(), 1)]);
    let letter = Letter::of(&world.hurry(queue).await);
    assert_eq!(letter.attempt, attempt, "{letter:?}");
    assert!(letter.reason.contains(reason), "{letter:?}");
}

/// A rule for every prompt that shows the line to mend.
fn rule(reply: Reply) -> Rule {
    Rule::new(NEEDED, reply).unwrap()
}

/// The rule of [`World::new`].
fn good() -> Rule {
    rule(Reply::text(REPLY))
}

fn calls(world: &World) -> Vec<Call> {
    world.simulator.models().calls()
}

/// What we said last in a conversation by Anthropic's API.
fn last_message(call: &Call) -> String {
    let last = call.body["messages"].as_array().and_then(|messages| messages.last());
    last.and_then(|last| last["content"][0]["text"].as_str()).unwrap_or_default().to_owned()
}

/// Runs a worker for one task with more settings.
async fn work_with(world: &World, settings: &[(&str, &str)]) -> Ended {
    let ended = world.work(&ONCE, settings).await;
    assert!(ended.status.success(), "{}", ended.log);
    ended
}

/// Nothing was pushed, opened or moved.
fn assert_untouched(world: &World) {
    let github = world.simulator.github();
    assert_eq!(github.pushes(), []);
    assert_eq!(github.branches(REPOSITORY).into_keys().collect::<Vec<_>>(), ["main"]);
    assert_eq!(world.pulls(), []);
    let issue = world.issue();
    assert_eq!((issue.status.as_str(), issue.assignee.as_deref()), ("To Do", Some(Jira::AGENT)));
    assert_eq!(issue.remote_links.len(), 0);
}

/// The run ended with one comment, and the task is settled.
async fn assert_told(world: &World, beginning: &str, words: &str) {
    assert_untouched(world);
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].starts_with(beginning), "{}", comments[0]);
    assert!(comments[0].contains(words), "{}", comments[0]);
    assert_eq!(world.depths().await, []);
}

async fn assert_needs_human(world: &World, words: &str) {
    assert_told(world, "I need a person's help: ", words).await;
}

/// The task lies on the dead-letter queue, and the ticket says why.
async fn assert_dead(world: &World, attempts: i64, words: &str) {
    let dead = letter(world, DEAD).await;
    assert_eq!(dead.attempt, attempts, "{dead:?}");
    assert!(dead.reason.contains(words), "{dead:?}");
    let tries = if attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
    assert_told(world, &format!("I could not work on this ticket, and gave up after {tries}: "), words).await;
}

/// A model that thinks until the test lets it answer.
struct Thinking {
    begun: Arc<Notify>,
    answer: Sender<()>,
}

impl Thinking {
    /// The first call is answered only when the test says so, or is over.
    fn first(world: &World) -> Self {
        let begun = Arc::new(Notify::new());
        let (answer, wait) = channel();
        let (tell, wait) = (begun.clone(), Mutex::new(wait));
        let think = move |_: &str| {
            tell.notify_one();
            let _ = tokio::task::block_in_place(|| wait.lock().unwrap().recv_timeout(SOON));
            Reply::text(REPLY)
        };
        world.answer(Rule::computed(NEEDED, think).unwrap().times(1));
        Self { begun, answer }
    }

    /// Waits until the model is asked.
    async fn begun(&self) {
        tokio::time::timeout(SOON, self.begun.notified()).await.expect("the model is asked");
    }

    fn answer(&self) {
        self.answer.send(()).unwrap();
    }
}

/// How often the address was asked.
fn asked(world: &World, method: &str, path: &str) -> usize {
    world.simulator.journal().matching(method, &Regex::new(path).unwrap()).len()
}

async fn until_asked(world: &World, method: &str, path: &str) {
    wait_for(path, async || (asked(world, method, path) > 0).then_some(())).await;
}

async fn until_logged(log: &Path, words: &str) {
    let said = async || std::fs::read_to_string(log).unwrap().contains(words).then_some(());
    wait_for(words, said).await;
}

/// The processes that work for this world: all of them have its directory as theirs.
fn processes(world: &World) -> Vec<u32> {
    let dir = world.dir().canonicalize().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let id = entry.file_name().to_str()?.parse().ok()?;
        (std::fs::read_link(entry.path().join("cwd")).ok()? == dir).then_some(id)
    });
    entries.collect()
}

fn workspaces(world: &World) -> usize {
    std::fs::read_dir(world.workspaces()).map(|entries| entries.count()).unwrap_or_default()
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(id, signal).unwrap();
}

/// Waits until the worker ends by itself.
async fn end_of((mut child, log): (Child, std::path::PathBuf)) -> Ended {
    let Ok(status) = tokio::time::timeout(3 * SOON, child.wait()).await else {
        panic!("the worker does not end: {}", std::fs::read_to_string(log).unwrap());
    };
    let status = status.unwrap();
    Ended { status, log: std::fs::read_to_string(log).unwrap() }
}

/// A person pushes a file to the base branch.
fn push(world: &World, path: &str, content: &[u8]) {
    world.simulator.github().push_files(REPOSITORY, "main", "By hand", &[(path, content)]).unwrap();
}

/// An edit block; with nothing to search it creates the file.
fn block(path: &str, search: &str, replace: &str) -> String {
    let lines = |text: &str| if text.is_empty() { String::new() } else { format!("{text}\n") };
    format!("{path}\n<<<<<<< SEARCH\n{}=======\n{}>>>>>>> REPLACE\n\n", lines(search), lines(replace))
}

/// The files that the agent's branch changes.
fn changed(world: &World) -> Vec<String> {
    let diff = world.simulator.github().diff(REPOSITORY, "main", BRANCH);
    let names = diff.lines().filter_map(|line| line.strip_prefix("diff --git a/")?.split(" b/").next());
    names.map(str::to_owned).collect()
}
