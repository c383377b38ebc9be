//! The right to work on a ticket.

use std::time::Instant;

use super::act::{Hands, cancelled, granted, is_held, lease_key, lease_key_of, lease_soon, publish};
use super::holder::{Holder, Takes};
use super::stage::{Shown, Stage};
use jira_agent::queue::{LeaseOutcome, Settled};

pub async fn a_lease_has_one_holder_among_all_clients(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    let delivery = hands.next().await;
    let lease = granted(delivery.lease(&lease_key()).await.unwrap());
    assert_eq!(*lease.key(), lease_key());
    assert!(is_held(&other).await);
    assert!(is_held(&queue).await);
    let twice = delivery.lease(&lease_key()).await.unwrap();
    assert!(matches!(twice, LeaseOutcome::Held), "not even its holder takes it twice");
    assert!(!lease.lost().is_cancelled() && !delivery.lost().is_cancelled(), "contention harms nobody");
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    Ok(())
}

pub async fn a_lease_that_is_given_back_is_free_at_once(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    for _ in 0..5 {
        granted(queue.lease(&lease_key()).await.unwrap()).release().await;
        granted(other.lease(&lease_key()).await.unwrap()).release().await;
    }
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    let delivery = hands.next().await;
    granted(delivery.lease(&lease_key()).await.unwrap()).release().await;
    granted(other.lease(&lease_key()).await.unwrap()).release().await;
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    Ok(())
}

pub async fn a_lease_that_is_dropped_is_free_soon(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    let delivery = hands.next().await;
    drop(granted(delivery.lease(&lease_key()).await.unwrap()));
    drop(lease_soon(&other).await);
    lease_soon(&queue).await.release().await;
    assert!(!delivery.lost().is_cancelled(), "the delivery is another thing");
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    Ok(())
}

pub async fn leases_on_different_keys_are_independent(stage: &dyn Stage) -> Shown {
    let queue = stage.client().await;
    let keys = [
        ("acme/shop", "ai/PROJ-1"),
        ("acme/shop", "ai/PROJ-2"),
        ("acme/shop", "ai/proj-1"),
        ("acme/shop", "ai.PROJ-1"),
        ("acme/shop.ai", "PROJ-1"),
        ("acme.shop/ai", "PROJ-1"),
        ("acme/store", "ai/PROJ-1"),
        ("acme-shop/a", "i/PROJ-1"),
    ];
    let mut leases = Vec::new();
    for (repository, branch) in keys {
        leases.push(granted(queue.lease(&lease_key_of(repository, branch)).await.unwrap()));
    }
    leases.remove(0).release().await;
    for (repository, branch) in &keys[1..] {
        let again = queue.lease(&lease_key_of(repository, branch)).await.unwrap();
        assert!(matches!(again, LeaseOutcome::Held), "{repository} {branch}");
    }
    granted(queue.lease(&lease_key()).await.unwrap()).release().await;
    assert!(leases.iter().all(|lease| !lease.lost().is_cancelled()));
    Ok(())
}

pub async fn owner_and_repository_are_the_same_in_every_spelling(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    let lease = granted(queue.lease(&lease_key_of("Acme/Shop", "ai/PROJ-1")).await.unwrap());
    assert!(is_held(&other).await);
    lease.release().await;
    let lease = granted(other.lease(&lease_key()).await.unwrap());
    let shouted = queue.lease(&lease_key_of("ACME/SHOP", "ai/PROJ-1")).await.unwrap();
    assert!(matches!(shouted, LeaseOutcome::Held));
    lease.release().await;
    Ok(())
}

pub async fn a_deliverys_lease_is_lost_with_the_delivery(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    publish(&queue, 1).await;
    let mut hands = Hands::of(&queue).await;
    let delivery = hands.next().await;
    let lease = granted(delivery.lease(&lease_key()).await.unwrap());
    drop(hands);
    cancelled(&delivery.lost()).await;
    cancelled(&lease.lost()).await;
    // Whoever gets the task next gets its lease.
    let mut hands = Hands::of(&other).await;
    let again = hands.next().await;
    drop(lease_soon(&other).await);
    assert_eq!(again.ack().await.unwrap(), Settled::Done);
    Ok(())
}

pub async fn a_late_holder_cannot_give_back_the_next_holders_lease(stage: &dyn Stage) -> Shown {
    let (queue, other) = (stage.client().await, stage.client().await);
    publish(&queue, 1).await;
    for drops in [true, false] {
        let mut hands = Hands::of(&queue).await;
        let delivery = hands.next().await;
        let lease = granted(delivery.lease(&lease_key()).await.unwrap());
        drop(hands);
        cancelled(&lease.lost()).await;
        let next = lease_soon(&other).await;
        if drops {
            drop(lease);
        } else {
            lease.release().await;
        }
        assert!(is_held(&queue).await && is_held(&other).await);
        assert!(!next.lost().is_cancelled());
        next.release().await;
    }
    Ok(())
}

pub async fn a_dead_holders_lease_is_free_within_the_bound(stage: &dyn Stage) -> Shown {
    let holder = Holder::start(stage, Takes::Lease).await?;
    let queue = stage.client().await;
    assert!(is_held(&queue).await);
    holder.kill().await;
    let killed = Instant::now();
    let lease = lease_soon(&queue).await;
    assert!(killed.elapsed() < stage.known_dead_within(), "{:?}", killed.elapsed());
    lease.release().await;
    Ok(())
}
