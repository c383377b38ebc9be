//! A queue that is not as it should be.

use jira_agent::queue::{QueueError, TaskQueue};

use super::act::{lease_key, publish, task};
use super::stage::{Shown, Stage};

pub async fn a_task_for_a_queue_that_is_gone_is_refused_by_name(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    publish(&queue, 1).await;
    stage.remove().await?;
    let error = queue.publish(&task(2)).await.unwrap_err();
    assert!(matches!(&error, QueueError::Unroutable(_)), "{error}");
    assert!(error.to_string().contains("topology apply"), "{error}");
    Ok(())
}

pub async fn a_queue_that_is_not_there_is_unreachable(stage: &dyn Stage) -> Shown {
    let queue = stage.nowhere().await?;
    for error in answers(queue.as_ref()).await {
        assert!(matches!(&error, QueueError::Unreachable(_)), "{error:?}");
    }
    queue.close().await;
    Ok(())
}

/// What everything that asks the server answers.
async fn answers(queue: &dyn TaskQueue) -> Vec<QueueError> {
    vec![
        queue.publish(&task(1)).await.unwrap_err(),
        queue.consume().await.err().unwrap(),
        queue.backlog().await.unwrap_err(),
        queue.dead_letters(1).await.unwrap_err(),
        queue.replay("x", "ann").await.unwrap_err(),
        queue.discard("x").await.unwrap_err(),
        queue.lease(&lease_key()).await.unwrap_err(),
        queue.orders().await.err().unwrap(),
        queue.follow(&[]).await.err().unwrap(),
    ]
}
