//! While the model's provider is down, tasks wait and use up no attempts.

use jira_agent_simulator::models::{Failure, ModelScript, Reply, Rule};
use regex::Regex;
use rustix::process::{Pid, Signal, kill_process};

use super::{number, text};
use crate::broker::wait_for;
use crate::world::{NEEDED, REPLY, TICKET, World, ticket};

/// Short tiers, so that the breaker is open for a second.
const QUICK: (&str, &str) = ("JIRA_AGENT__QUEUE__RETRY_DELAYS", "1s,2s,3s");

fn asked(world: &World) -> usize {
    world.simulator.journal().matching("POST", &Regex::new("^/v1/messages$").unwrap()).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_parks_tasks_without_asking_again_and_without_counting() {
    let world = World::speechless().await;
    let overloaded = Failure::Status { code: 529, retry_after: None };
    world.answer(Rule::new(NEEDED, Reply::failing("", overloaded)).unwrap());
    world.simulator.jira().add_issue(ticket("PROJ-2")).unwrap();
    world.publish(TICKET).await;
    let (mut worker, log) = world.start(&["run"], &[]);
    world.broker.wait_for_depth(&world.queue, "agent-tasks.retry.30s", 1).await;
    let before = asked(&world);
    assert!(before >= 1);
    world.publish("PROJ-2").await;
    world.broker.wait_for_depth(&world.queue, "agent-tasks.retry.30s", 2).await;
    assert_eq!(asked(&world), before, "nothing is asked while the breaker is open");
    for _ in 0..2 {
        let waiting = world.broker.take("agent-tasks.retry.30s").await;
        assert_eq!((number(&waiting, "x-attempt"), number(&waiting, "x-waits")), (1, 1));
        assert!(text(&waiting, "x-reason").contains("the model's provider is down"));
    }
    let events = world.broker.drain("agent-events").await;
    let open = events.iter().filter(|event| event.contains(r#""breaker":"open""#)).count();
    assert_eq!(open, 2, "{events:?}");
    kill_process(Pid::from_raw(worker.id().unwrap().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(worker.wait().await.unwrap().success());
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(log.matches("the breaker opens").count(), 1, "{log}");
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
