use std::path::PathBuf;
use std::time::Duration;

use jira_agent_simulator::fault::{Action, Fault};
use regex::Regex;
use tokio::process::{Child, Command};

use super::{run, signal};
use crate::broker::{SOON, wait_for};
use crate::world::{REPOSITORY, TICKET, World};

const MODEL: &str = "^/v1/messages$";

/// A person at one machine: no broker in the settings, and a home of their own.
struct Desk {
    world: World,
    home: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        Self { world: World::new().await, home: tempfile::tempdir().unwrap() }
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.world.command(program);
        command.env_remove("AMQP_URL").env("HOME", self.home.path()).args(arguments);
        command
    }

    fn queue(&self) -> PathBuf {
        self.home.path().join(".local/state/jira-agent/queue.db")
    }

    /// Starts `up`; what it says goes to a file.
    async fn up(&self, name: &str, more: &[(&str, &str)]) -> (Child, PathBuf) {
        let log = self.home.path().join(name);
        let file = std::fs::File::create(&log).unwrap();
        let mut command = self.command("jira-agent", &["up", "--workers", "2"]);
        command.envs(more.iter().copied()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = command.spawn().unwrap();
        until_said(&log, "enqueue PROJ-123").await;
        (child, log)
    }

    async fn enqueue(&self) {
        let mut enqueue = self.command("jira-agent-producer", &["enqueue", TICKET]);
        run(enqueue.env("JIRA_AGENT__QUEUE__KIND", "sqlite")).await.ended(0);
    }

    async fn until_moved(&self) {
        wait_for("the ticket to be moved", async || {
            (self.world.issue().status == "In Testing").then_some(())
        })
        .await;
    }

    fn asked(&self) -> usize {
        self.world.simulator.journal().matching("POST", &Regex::new(MODEL).unwrap()).len()
    }
}

async fn until_said(log: &std::path::Path, words: &str) {
    let said = async || std::fs::read_to_string(log).unwrap().contains(words).then_some(());
    wait_for(words, said).await;
}

async fn stop(mut up: Child, log: &std::path::Path) -> String {
    signal(&up, "TERM");
    let status = tokio::time::timeout(SOON, up.wait()).await.expect("it stops").unwrap();
    let said = std::fs::read_to_string(log).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn one_machine_needs_no_broker() {
    let desk = Desk::new().await;
    let (up, log) = desk.up("up.log", &[]).await;
    desk.enqueue().await;
    desk.until_moved().await;
    let said = stop(up, &log).await;
    desk.world.assert_fixed().await;
    for part in [
        "2 workers take tickets from the queue in",
        &desk.queue().display().to_string(),
        "JIRA_AGENT__QUEUE__KIND=sqlite jira-agent-producer enqueue PROJ-123",
        "stopped",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    desk.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_kill_cut_off_is_finished_by_the_next_up() {
    let desk = Desk::new().await;
    let (mut up, _) = desk.up("first.log", &[("JIRA_AGENT_CRASH_AT", "publish:pull-request")]).await;
    desk.enqueue().await;
    let status = tokio::time::timeout(SOON, up.wait()).await.expect("it dies").unwrap();
    assert_eq!(status.code(), None, "by SIGKILL");
    let (up, log) = desk.up("second.log", &[]).await;
    desk.until_moved().await;
    let said = stop(up, &log).await;
    assert!(said.contains("tasks of workers that died are handed out again"), "{said}");
    desk.world.assert_fixed().await;
    assert_eq!(desk.asked(), 1, "the model was not paid again");
    desk.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_up_that_is_told_to_stop_gives_back_what_it_cannot_finish() {
    let desk = Desk::new().await;
    desk.world.simulator.faults().add(Fault::new(MODEL, Action::Hang).unwrap());
    let hurried = [("JIRA_AGENT__WORKER__DRAIN_TIMEOUT", "1s"), ("JIRA_AGENT__MODEL__IDLE_TIMEOUT", "60s")];
    let (up, log) = desk.up("first.log", &hurried).await;
    desk.enqueue().await;
    wait_for("the model to be asked", async || (desk.asked() > 0).then_some(())).await;
    let said = stop(up, &log).await;
    assert!(said.contains("goes back to the queue"), "{said}");
    let (up, log) = desk.up("second.log", &[]).await;
    desk.until_moved().await;
    let said = stop(up, &log).await;
    assert!(!said.contains("workers that died"), "{said}");
    desk.world.assert_fixed().await;
    desk.world.finish().await;
}

/// The processor time that a process has used, in hundredths of a second: `proc_pid_stat(5)`, fields 14 and 15.
fn used(process: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id().unwrap())).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_up_hardly_uses_the_processor() {
    let desk = Desk::new().await;
    let (up, log) = desk.up("up.log", &[]).await;
    let before = used(&up);
    let (mut ticks, looks) = (tokio::time::interval(Duration::from_millis(500)), 6);
    for _ in 0..looks {
        ticks.tick().await;
    }
    let used = used(&up) - before;
    assert!(used <= 15, "{used} hundredths of a second in 2.5 s of nothing to do");
    stop(up, &log).await;
    desk.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_run_here_and_now_and_leaves_no_queue() {
    let desk = Desk::new().await;
    let said = run(&mut desk.command("jira-agent", &["run", TICKET])).await.ended(0);
    let url = format!("{}/{REPOSITORY}/pull/1", desk.world.simulator.url());
    assert_eq!(said.lines(), [format!("pull_request_opened {url}")]);
    said.words(&["without a queue there is no lease", "PROJ-1 claimed", "PROJ-1 pushed", "PROJ-1 succeeded"]);
    assert_eq!(std::fs::read_dir(desk.home.path()).unwrap().count(), 0, "nothing is left behind");
    desk.world.assert_fixed().await;
    desk.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_queue_is_named_a_run_takes_its_lease_there() {
    let desk = Desk::new().await;
    let mut command = desk.command("jira-agent", &["run", TICKET, "--json"]);
    let said = run(command.env("JIRA_AGENT__QUEUE__KIND", "sqlite")).await.ended(0);
    assert_eq!(said.json()["outcome"], "pull_request_opened");
    assert!(!said.err.contains("without a queue"), "{}", said.err);
    assert!(desk.queue().exists());
    desk.world.assert_fixed().await;
    desk.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_at_once() {
    let desk = Desk::new().await;
    for arguments in [&["up"][..], &["run", TICKET]] {
        let mut command = desk.command("jira-agent", arguments);
        command.env_remove("GITHUB_TOKEN").env_remove("JIRA_API_TOKEN");
        run(&mut command).await.ended(78).words(&["2 problems", "github.token", "jira.token"]);
    }
    run(&mut desk.command("jira-agent", &["run", "proj-1"])).await.ended(65).words(&["not a ticket key"]);
    let mut nowhere = desk.command("jira-agent", &["up"]);
    run(nowhere.env("JIRA_AGENT__QUEUE__PATH", "/proc/queue.db")).await.ended(78).words(&["/proc/queue.db"]);
    desk.world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_looks_at_the_file_and_makes_none() {
    let desk = Desk::new().await;
    let doctor = |path: Option<&str>| {
        let mut command = desk.command("jira-agent-worker", &["doctor"]);
        command.env("JIRA_AGENT__QUEUE__KIND", "sqlite").env("JIRA_AGENT__LOG__FILTER", "info");
        command.envs(path.map(|path| ("JIRA_AGENT__QUEUE__PATH", path.to_owned())));
        command.env("JIRA_AGENT__MODEL__NAME", jira_agent_simulator::models::Models::NAME);
        command
    };
    let said = run(&mut doctor(None)).await.ended(0);
    assert!(said.out.contains("queue.db is made when it is first used"), "{}", said.out);
    assert!(!desk.queue().exists());
    desk.enqueue().await;
    let said = run(&mut doctor(None)).await.ended(0);
    assert!(said.out.contains("queue.db: 1 ready, 0 with workers, 0 waiting"), "{}", said.out);
    let said = run(&mut doctor(Some("/proc/queue.db"))).await.ended(1);
    assert!(said.out.contains("broken   queue") && said.out.contains("/proc"), "{}", said.out);
    desk.world.finish().await;
}
