//! What other programs put on the queue, and bodies of every kind.

use jiff::Timestamp;
use jira_agent::domain::TaskBody;
use jira_agent::queue::{Counts, Settled};

use super::act::{Hands, death, empty, retry, wait_for_backlog};
use super::stage::{Shown, Stage, TIERS};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub async fn a_bare_key_and_json_of_others_arrive_as_they_are(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let mut hands = Hands::of(&queue).await;
    for body in [
        "PROJ-1",
        r#"{"issue_id": "PROJ-2"}"#,
        r#"{"repo_url": "https://github.com/acme/shop", "issue_id": 7, "mode": "plan", "trigger_user": "dev1"}"#,
        r#"{"attempt": 9, "body": "x", "id": "y", "version": 1, "issue_id": "PROJ-3"}"#,
        " PROJ-4\n",
    ] {
        stage.put(body.as_bytes()).await;
        let delivery = hands.next().await;
        assert_eq!(delivery.body, body);
        let info = &delivery.info;
        assert_eq!((info.attempt, info.waits, info.crashes, info.delivery_count), (1, 0, 0, 0), "{body}");
        assert_eq!((&info.message_id, info.redelivered, &info.replayed_by), (&None, false, &None), "{body}");
        assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    }
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn a_normalised_body_becomes_exactly_one_message_with_an_id(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    stage.put(b"PROJ-1").await;
    let mut hands = Hands::of(&queue).await;
    let bare = hands.next().await;
    let body = TaskBody::parse(&bare.body).unwrap();
    assert!(!body.had_id);
    assert_eq!(bare.normalise(&body.task).await.unwrap(), Settled::Done);
    let whole = hands.next().await;
    let again = TaskBody::parse(&whole.body).unwrap();
    assert!(again.had_id);
    assert_eq!(again.task, body.task);
    let info = &whole.info;
    assert_eq!(info.message_id, Some(body.task.id.to_string()));
    assert_eq!((info.attempt, info.delivery_count, info.redelivered), (1, 0, false));
    assert!(info.first_published.is_some());
    assert_eq!(whole.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}

pub async fn normalising_keeps_the_trace_and_the_time_of_the_first_publish(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let published: Timestamp = "2026-01-30T12:00:00Z".parse().unwrap();
    stage.put_traced(b"PROJ-1", published, TRACE).await?;
    let mut hands = Hands::of(&queue).await;
    let bare = hands.next().await;
    assert_eq!(bare.info.first_published, Some(published));
    assert_eq!(bare.info.traceparent.as_deref(), Some(TRACE));
    let task = TaskBody::parse(&bare.body).unwrap().task;
    assert_eq!(bare.normalise(&task).await.unwrap(), Settled::Done);
    let whole = hands.next().await;
    assert_eq!(whole.info.message_id, Some(task.id.to_string()));
    assert_eq!(whole.info.first_published, Some(published));
    assert_eq!(whole.info.traceparent.as_deref(), Some(TRACE));
    Ok(())
}

pub async fn a_body_that_is_no_utf8_stays_as_it_is_on_every_road(stage: &dyn Stage) -> Shown {
    on_every_road(stage, b"\xff\xfe\x00PROJ-1\x80\r\n\x00").await
}

pub async fn a_body_of_200_kib_stays_as_it_is_on_every_road(stage: &dyn Stage) -> Shown {
    let body: Vec<u8> = (0..200 * 1024).map(|index: usize| b"0123456789abcdef\\\"\n"[index % 19]).collect();
    on_every_road(stage, &body).await
}

pub async fn a_body_in_many_scripts_stays_as_it_is_on_every_road(stage: &dyn Stage) -> Shown {
    on_every_road(stage, "{\"issue_id\": \"Überfluß 票据 тикет 🎫 \u{202e}\u{0} \u{feff}\"}".as_bytes()).await
}

pub async fn an_empty_body_stays_as_it_is_on_every_road(stage: &dyn Stage) -> Shown {
    on_every_road(stage, b"").await
}

/// Given back, retried, dead, replayed: the body is that which came.
async fn on_every_road(stage: &dyn Stage, body: &[u8]) -> Shown {
    let queue = stage.client().await;
    stage.put(body).await;
    let mut hands = Hands::of(&queue).await;
    let first = hands.next().await;
    assert!(first.body == body, "delivered");
    assert_eq!(first.release("the worker stops").await.unwrap(), Settled::Done);
    let second = hands.next().await;
    assert!(second.body == body, "released");
    assert_eq!(second.retry(retry(TIERS[0], Counts::Attempt)).await.unwrap(), Settled::Done);
    let third = hands.next().await;
    assert!(third.body == body, "retried");
    assert_eq!(third.info.attempt, 2);
    assert_eq!(third.dead_letter(&death("not a task")).await.unwrap(), Settled::Done);
    wait_for_backlog(&queue, 0, 0, 1).await;
    let letters = queue.dead_letters(10).await.unwrap();
    assert!(letters.len() == 1 && letters[0].body == body, "dead");
    assert!(queue.replay(&letters[0].id, "ann").await.unwrap());
    let last = hands.next().await;
    assert!(last.body == body, "replayed");
    assert_eq!(last.ack().await.unwrap(), Settled::Done);
    drop(hands);
    empty(&queue).await;
    Ok(())
}
