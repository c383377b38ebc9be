//! Messages that are no tasks go to the dead-letter queue with a reason, and the consumer goes on.

use std::time::Duration;

use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::github_glue::TOKEN;
use jira_agent_simulator::models::Reply;
use lapin::types::AMQPValue;

use super::{DEAD, Letter, asked, assert_dead, calls, rule};
use crate::world::{TICKET, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_a_task_is_put_aside_with_its_reason_and_the_next_task_is_done() {
    let world = World::new().await;
    let large = "x".repeat(256 * 1024 + 1);
    let refused = [
        ("mend the cart, please", "the body is neither a JSON object nor a bare ticket key"),
        ("{\"issue_id\": ", "the body is neither a JSON object nor a bare ticket key"),
        ("", "the body is neither a JSON object nor a bare ticket key"),
        ("[\"PROJ-1\"]", "it is JSON but not an object"),
        (
            r#"{"version": 2, "issue_id": "PROJ-1"}"#,
            "task version 2 is not known; this worker reads version 1",
        ),
        (r#"{"issue_id": "PROJ-1", "mode": "yolo"}"#, "field `mode`: "),
        (r#"{"issue_id": 12}"#, "repo_url"),
        (r#"{"repo_url": "https://github.com/acme/shop"}"#, "field `issue_id`: it is required"),
        (r#"{"issue_id": "PROJ-1", "mode": "execute"}"#, "field `approval`: "),
        (large.as_str(), "the body has 262145 bytes; a task has at most 262144"),
    ];
    for (body, _) in refused {
        world.publish(body).await;
    }
    world.publish(TICKET).await;
    world.work_off().await;
    assert_eq!(world.depths().await, [(DEAD.to_owned(), 10)]);
    for (body, reason) in refused {
        let Letter { body: kept, reason: given, .. } = super::letter(&world, DEAD).await;
        assert_eq!(kept.len(), body.len());
        assert_eq!(kept, body);
        assert!(given.contains(reason), "{reason} is not in: {given}");
    }
    world.assert_fixed().await;
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_is_known_but_not_carried_out_is_told_to_the_ticket() {
    let world = World::new().await;
    world.publish(r#"{"issue_id": "PROJ-1", "mode": "revise"}"#).await;
    world.work_once().await;
    assert_dead(&world, 1, "mode `revise` is not carried out by this version; use quickfix or plan").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_not_there_is_a_dead_letter_that_says_so() {
    let world = World::new().await;
    world.publish("PROJ-404").await;
    world.publish(TICKET).await;
    world.work_off().await;
    let dead = super::letter(&world, DEAD).await;
    assert!(dead.reason.contains("PROJ-404"), "{dead:?}");
    assert!(dead.reason.contains("the ticket could not be told"), "{dead:?}");
    world.assert_fixed().await;
    assert_eq!(asked(&world, "POST", "PROJ-404"), 0, "no comment is tried where there is no ticket");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_pull_request_is_a_dead_letter() {
    let world = World::new().await;
    world.publish(TICKET).await;
    world.work_once().await;
    let pull = world.pulls()[0].issue.number;
    let url = world.simulator.url();
    world.publish(&format!(r#"{{"repo_url": "{url}/acme/shop", "issue_id": {pull}}}"#)).await;
    world.work_once().await;
    let dead = super::letter(&world, DEAD).await;
    assert!(dead.reason.contains("is a pull request; a task needs the number of an issue"), "{dead:?}");
    assert_eq!(calls(&world).len(), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_ticket_refuses_to_hear_names_the_step_report() {
    let world = World::speechless().await;
    world.answer(rule(Reply::text("NEEDS_HUMAN: before or after the discount?")));
    let refused = Action::Status(Answer::new(403));
    world.simulator.faults().add(Fault::new("/PROJ-1/comment$", refused).unwrap().method("POST"));
    world.publish(TICKET).await;
    world.work_once().await;
    let dead = world.broker.take(DEAD).await;
    let headers = dead.properties.headers().clone().unwrap_or_default();
    assert_eq!(headers.inner().get("x-step"), Some(&AMQPValue::LongString("report".into())), "{headers:?}");
    assert_eq!(world.comments().len(), 1, "the ticket hears of the failure");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telling_a_ticket_takes_no_longer_than_is_reckoned_with() {
    let world = World::new().await;
    world.simulator.github().expire_token_after(TOKEN, 0);
    // Each request ends in time, but all of them together do not: 5 s in this world.
    let slow = Fault::new("/issue/PROJ-1", Action::Delay(2_300)).unwrap();
    world.simulator.faults().add(slow.always());
    world.publish(TICKET).await;
    let begun = std::time::Instant::now();
    world.work_once().await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    let dead = super::letter(&world, DEAD).await;
    assert!(dead.reason.contains("the ticket could not be told: it took longer than 5s"), "{dead:?}");
    world.finish().await;
}
