//! While the model's provider is down, tasks wait and use up no attempts.

use std::path::Path;
use std::time::{Duration, Instant};

use jira_agent_simulator::models::{Failure, ModelScript, Reply, Rule};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};

use super::probes::{address, ask};
use super::{number, text};
use crate::broker::wait_for;
use crate::world::{NEEDED, REPLY, TICKET, World, ticket};

/// Short tiers, so that the breaker is open for a second.
const QUICK: (&str, &str) = ("JIRA_AGENT__QUEUE__RETRY_DELAYS", "1s,2s,3s");

fn asked(world: &World) -> usize {
    world.simulator.journal().matching("POST", &Regex::new("^/v1/messages$").unwrap()).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_parks_the_task_in_hand_uncounted_and_leaves_the_others_in_the_queue() {
    let world = World::speechless().await;
    let overloaded = Failure::Status { code: 529, retry_after: None };
    world.answer(Rule::new(NEEDED, Reply::failing("", overloaded)).unwrap());
    world.simulator.jira().add_issue(ticket("PROJ-2")).unwrap();
    world.publish(TICKET).await;
    // It may have been handed out already when the first one fails.
    world.publish("PROJ-2").await;
    let (mut worker, log) = world.start(&["run"], &[]);
    world.broker.wait_for_depth(&world.queue, "agent-tasks.retry.30s", 1).await;
    let before = asked(&world);
    assert!(before >= 1);
    world.broker.wait_for_depth(&world.queue, "agent-tasks", 1).await;
    let waiting = world.broker.take("agent-tasks.retry.30s").await;
    assert_eq!((number(&waiting, "x-attempt"), number(&waiting, "x-waits")), (1, 1));
    assert!(text(&waiting, "x-reason").contains("the model's provider is down"));
    let events = world.broker.drain("agent-events").await;
    let open = events.iter().filter(|event| event.contains(r#""breaker":"open""#)).count();
    assert_eq!(open, 1, "{events:?}");
    let asked_to_stop = Instant::now();
    kill_process(Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success());
    assert!(asked_to_stop.elapsed() < Duration::from_secs(5), "{:?}", asked_to_stop.elapsed());
    assert_eq!(asked(&world), before, "nothing is asked while the breaker is open");
    let left = world.broker.take("agent-tasks").await;
    assert_eq!((number(&left, "x-attempt"), number(&left, "x-waits")), (1, 0), "it was never put off");
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("the breaker opens").count(), 1, "{log}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_provider_leaves_the_tasks_to_one_that_has_it() {
    let world = World::new().await;
    let nobody = ("JIRA_AGENT__MODEL__BASE_URL", "http://127.0.0.1:1");
    let listening = ("JIRA_AGENT__WORKER__LISTEN", "127.0.0.1:0");
    let (mut broken, broken_log) = world.start(&["run"], &[nobody, listening]);
    let probe = address(&broken_log).await;
    world.publish(TICKET).await;
    world.broker.wait_for_depth(&world.queue, "agent-tasks.retry.30s", 1).await;
    wait_for("word that it could take nothing", async || {
        (ask(&probe, "/readyz").await.0 == 503).then_some(())
    })
    .await;
    let (_, why) = ask(&probe, "/readyz").await;
    assert_eq!(why, "the model's provider is down: no task is taken until it is asked again\n");
    let metrics = ask(&probe, "/metrics").await.1;
    assert!(metrics.contains(r#"jira_agent_breaker_state{breaker="model"} 2"#), "{metrics}");
    let others = ["PROJ-2", "PROJ-3", "PROJ-4"];
    for key in others {
        world.simulator.jira().add_issue(ticket(key)).unwrap();
        world.publish(key).await;
    }
    let (mut healthy, healthy_log) = world.start(&["run"], &[]);
    let done = async |keys: &[&str]| {
        wait_for("all tickets to be moved", async || {
            let is_moved = |key: &&str| world.simulator.jira().issue(key).unwrap().status == "In Testing";
            keys.iter().all(is_moved).then_some(())
        })
        .await;
    };
    done(&others).await;
    // As if it had waited its time.
    world.hurry("agent-tasks.retry.30s").await;
    done(&[TICKET]).await;
    assert_eq!(world.pulls().len(), 4);
    for worker in [&mut broken, &mut healthy] {
        let id = Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        assert!(worker.wait().await.unwrap().success());
    }
    let taken =
        |log: &Path| std::fs::read_to_string(log).unwrap().matches("waits for another attempt").count();
    assert_eq!((taken(&broken_log), taken(&healthy_log)), (1, 0), "one task was put off, once");
    assert!(world.depths().await.is_empty(), "{:?}", world.depths().await);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_answered_closes_the_breaker_again() {
    let world = World::speechless().await;
    let overloaded = Failure::Status { code: 529, retry_after: None };
    world.answer(Rule::new(NEEDED, Reply::failing("", overloaded)).unwrap());
    world.publish(TICKET).await;
    let (mut worker, log) = world.start(&["run"], &[QUICK]);
    let said = async |words: &str| {
        let said = async || std::fs::read_to_string(&log).unwrap().contains(words).then_some(());
        wait_for(words, said).await;
    };
    said("the breaker opens").await;
    world
        .simulator
        .models()
        .set_script(ModelScript::new(vec![Rule::new(NEEDED, Reply::text(REPLY)).unwrap()]));
    said("the breaker closes").await;
    wait_for("the ticket to be moved", async || (world.issue().status == "In Testing").then_some(())).await;
    kill_process(Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success());
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_credit_waits_for_people_to_pay() {
    let world = World::speechless().await;
    let unpaid = Failure::Status { code: 402, retry_after: None };
    world.answer(Rule::new(NEEDED, Reply::failing("", unpaid)).unwrap());
    world.publish(TICKET).await;
    world.work_once().await;
    assert_eq!(asked(&world), 1);
    assert_eq!(world.comments(), [""; 0]);
    let waiting = world.hurry("agent-tasks.retry.10m").await;
    assert_eq!((number(&waiting, "x-attempt"), number(&waiting, "x-waits")), (1, 1));
    assert!(text(&waiting, "x-reason").contains("asks for payment"), "{}", text(&waiting, "x-reason"));
    world
        .simulator
        .models()
        .set_script(ModelScript::new(vec![Rule::new(NEEDED, Reply::text(REPLY)).unwrap()]));
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}
