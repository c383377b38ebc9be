use std::net::TcpListener;
use std::time::{Duration, Instant};

use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::github::Permission;
use jira_agent_simulator::github_glue::{LOGIN, TOKEN};
use jira_agent_simulator::jira::Jira;
use jira_agent_simulator::models::Models;
use serde_json::Value;

use super::{Said, nowhere, run};
use crate::broker::Broker;
use crate::world::{REPOSITORY, TICKET, World};

const PROGRAMS: [&str; 2] = ["jira-agent-producer", "jira-agent-worker"];

/// What must never be shown: what is right, and what is wrong but still somebody's.
const SECRETS: [&str; 5] = [Jira::TOKEN, TOKEN, Models::KEY, "wrong-but-secret", "hunter22"];

/// Runs `doctor` with the settings of the world and these on top.
async fn doctor(world: &World, program: &str, more: &[&str], settings: &[(&str, &str)]) -> Said {
    let mut command = world.command(program);
    command
        .arg("doctor")
        .args(more)
        .env("JIRA_AGENT__MODEL__NAME", Models::NAME)
        .env("JIRA_AGENT__LOG__FILTER", "info");
    let said = run(command.envs(settings.iter().copied())).await;
    for secret in SECRETS {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "a secret in {said:?}");
    }
    said
}

/// The one finding that is not fine: its level, its area, its text and what mends it.
async fn finding(world: &World, settings: &[(&str, &str)]) -> (String, String, String, String) {
    let said = doctor(world, PROGRAMS[1], &["--json"], settings).await;
    let report = said.json();
    let findings = report["findings"].as_array().unwrap();
    let bad: Vec<&Value> = findings.iter().filter(|finding| finding["level"] != "fine").collect();
    assert_eq!(bad.len(), 1, "{settings:?}: {report}");
    let text = |field: &str| bad[0][field].as_str().unwrap_or_default().to_owned();
    assert_eq!(said.code, i32::from(text("level") == "broken"), "{settings:?}: {report}");
    (text("level"), text("area"), text("text"), text("fix"))
}

/// Expects one broken thing, with these parts in its text and its remedy.
async fn broken(world: &World, settings: &[(&str, &str)], area: &str, text: &str, fix: &str) {
    let found = finding(world, settings).await;
    assert_eq!((found.0.as_str(), found.1.as_str()), ("broken", area), "{found:?}");
    assert!(found.2.contains(text), "`{text}` is missing in {found:?}");
    assert!(found.3.contains(fix), "`{fix}` is missing in {found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_fine_where_it_is() {
    let world = World::new().await;
    for program in PROGRAMS {
        let said = doctor(&world, program, &[], &[]).await.ended(0);
        assert_eq!(said.err, "");
        let areas = |said: &Said| {
            said.lines().iter().map(|line| line[9..].split(' ').next().unwrap().to_owned()).collect()
        };
        let mut areas: Vec<String> = areas(&said);
        areas.dedup();
        assert_eq!(areas, ["settings", "queue", "jira", "github", "model"], "{}", said.out);
        assert!(said.lines().iter().all(|line| line.starts_with("fine ")), "{}", said.out);
        for part in
            ["signed in as Jira Agent", "the clocks agree", "acme/shop can be pushed to", "offers simulated"]
        {
            assert!(said.out.contains(part), "{part}: {}", said.out);
        }
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_thing_has_a_line_and_a_remedy() {
    let world = World::new().await;
    let address = nowhere();
    let (amqp, http) = (format!("amqp://ann:hunter22@{address}/%2f"), format!("http://{address}"));
    let empty = Broker::shared().await;
    let wrong = "wrong-but-secret";
    broken(&world, &[("AMQP_URL", &amqp)], "queue", &address, "start RabbitMQ").await;
    broken(&world, &[("JIRA_API_TOKEN", wrong)], "jira", "does not accept the credentials", "jira.token")
        .await;
    broken(&world, &[("JIRA_URL", &http)], "jira", "cannot be reached", "check jira.url").await;
    broken(&world, &[("GITHUB_TOKEN", wrong)], "github", "does not accept the credentials", "github.token")
        .await;
    broken(&world, &[("GITHUB_API_URL", &http)], "github", &address, "check github.api_url").await;
    broken(&world, &[("ANTHROPIC_API_KEY", wrong)], "model", "401", "model.api_key").await;
    broken(&world, &[("ANTHROPIC_BASE_URL", &http)], "model", "cannot be reached", "check model.base_url")
        .await;
    let deadline = [("JIRA_AGENT__WORKER__RUN_DEADLINE", "30m")];
    broken(
        &world,
        &deadline,
        "settings",
        "not below queue.consumer_timeout",
        "raise consumer_timeout on the broker",
    )
    .await;

    let url = empty.url();
    let said = doctor(&world, PROGRAMS[0], &[], &[("AMQP_URL", url.as_str())]).await.ended(1);
    assert!(said.out.contains("broken   queue     queue `agent-tasks` is missing\n"), "{}", said.out);
    assert!(said.out.contains("fix: run `jira-agent-producer topology apply`\n"), "{}", said.out);

    world.simulator.github().set_permission(REPOSITORY, LOGIN, Permission::Read).unwrap();
    broken(&world, &[], "github", "may not push to acme/shop", "contents, issues and pull requests: write")
        .await;
    let unknown = world.simulator.url().to_owned() + "/acme/nothing";
    broken(
        &world,
        &[("JIRA_AGENT__ROUTES", &unknown)],
        "github",
        "acme/nothing is not on GitHub",
        "[[routes]]",
    )
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_broken() {
    let world = World::new().await;
    let me = serde_json::json!({"accountId": Jira::AGENT, "displayName": "Jira Agent", "accountType": "atlassian"});
    let answer = Answer::new(200).header("date", "Mon, 02 Mar 2026 10:00:00 GMT").body(me.to_string());
    world.simulator.faults().add(Fault::new("/myself$", Action::Status(answer)).unwrap().times(2));
    broken(&world, &[], "jira", "ahead of the service's", "NTP").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_matter_is_a_warning() {
    let world = World::new().await;
    let found = finding(&world, &[("JIRA_AGENT__MODEL__NAME", "claude-unheard-of")]).await;
    assert_eq!(found.0, "warning");
    assert!(found.2.contains("claude-unheard-of") && found.3.contains("model.name"), "{found:?}");
    let found = finding(&world, &[("JIRA_AGENT__QUEUE__CONSUMER_TIMEOUT", "2h")]).await;
    assert!(found.2.contains("120 min") && found.3.contains("consumer_timeout = 7200000"), "{found:?}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_missing_are_all_named_and_nobody_is_asked_in_vain() {
    let world = World::new().await;
    let unset = [("JIRA_API_TOKEN", ""), ("GITHUB_TOKEN", ""), ("ANTHROPIC_API_KEY", "")];
    let said = doctor(&world, PROGRAMS[1], &[], &unset).await.ended(1);
    for part in [
        "jira.token (default): it is not set",
        "github.token (default): it is not set",
        "model.api_key (default)",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert_eq!(said.out.matches("not asked: ").count(), 3, "{}", said.out);
    assert_eq!(world.simulator.journal().entries().len(), 0);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_management_api_tells_what_waits() {
    let world = World::new().await;
    let management = world.broker.management();
    let settings = [("JIRA_AGENT__QUEUE__MANAGEMENT_URL", management.as_str())];
    let said = doctor(&world, PROGRAMS[0], &[], &settings).await.ended(0);
    assert!(said.out.contains("the management API answers: RabbitMQ "), "{}", said.out);
    assert!(said.out.contains("agent-tasks: 0 tasks ready, 0 with workers, 0 consumers"), "{}", said.out);
    world.publish(TICKET).await;
    let waiting = crate::broker::wait_for("statistics of the queue", async || {
        let found = doctor(&world, PROGRAMS[0], &["--json"], &settings).await.json();
        let findings = found["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|finding| finding["level"] == "warning")
    });
    let waiting = waiting.await;
    assert_eq!(waiting["text"], "agent-tasks: 1 task ready, 0 with workers, 0 consumers");
    assert!(waiting["fix"].as_str().unwrap().contains("jira-agent-worker run"), "{waiting}");
    world.broker.take("agent-tasks").await;

    let mut wrong = management.clone();
    wrong.set_password(Some("wrong-but-secret")).unwrap();
    let settings = [("JIRA_AGENT__QUEUE__MANAGEMENT_URL", wrong.as_str())];
    broken(&world, &settings, "queue", "the management API: ", "queue.management_url").await;
    let away = format!("http://ann:hunter22@{}", nowhere());
    let settings = [("JIRA_AGENT__QUEUE__MANAGEMENT_URL", away.as_str())];
    broken(&world, &settings, "queue", "cannot be reached", "check queue.management_url").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_soon_when_everything_hangs() {
    let world = World::new().await;
    // The kernel accepts; nobody reads.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let amqp = format!("amqp://{}", silent.local_addr().unwrap());
    for path in ["/myself$", "/api/v3/user$", "/v1/models"] {
        world.simulator.faults().add(Fault::new(path, Action::Hang).unwrap().always());
    }
    let started = Instant::now();
    let patient =
        [("JIRA_AGENT__HTTP__TIMEOUT", "5m"), ("JIRA_AGENT__HTTP__RETRY_BUDGET", "5m"), ("AMQP_URL", &amqp)];
    let said = doctor(&world, PROGRAMS[1], &["--json"], &patient).await.ended(1);
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    let report = said.json();
    for area in ["queue", "jira", "github", "model"] {
        let mut findings = report["findings"].as_array().unwrap().iter();
        assert!(
            findings.any(|finding| finding["area"] == area && finding["level"] == "broken"),
            "{area}: {report}"
        );
    }
    world.finish().await;
}
