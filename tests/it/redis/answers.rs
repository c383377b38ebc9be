//! Answers that are lost on their way: what was done is not done twice, and its doer is not wrong about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jira_agent::config::QueueConfig;
use jira_agent::queue::redis::Redis;
use jira_agent::queue::{LeaseOutcome, Settled, TaskQueue};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::server::Server;
use super::{lease_key, next, task};
use crate::broker::{SOON, wait_for};

/// The address of a proxy that carries everything but the answers on the first connection that sends this command; and
/// whether it has come to that.
async fn losing_the_answer_to(command: &'static str, server: &Server) -> (Url, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut url = server.url();
    let behind = (url.host_str().unwrap().to_owned(), url.port().unwrap());
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    let is_lost = Arc::new(AtomicBool::new(false));
    let has_come = is_lost.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&behind).await.unwrap();
            tokio::spawn(carry(client, server, command, is_lost.clone()));
        }
    });
    (url, has_come)
}

async fn carry(client: TcpStream, server: TcpStream, command: &'static str, is_lost: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_mute = Arc::new(AtomicBool::new(false));
    let muted = is_mute.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if !muted.load(Ordering::SeqCst) && to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
        let has_it = buffer[..count].windows(command.len()).any(|part| part == command.as_bytes());
        if has_it && !is_lost.swap(true, Ordering::SeqCst) {
            is_mute.store(true, Ordering::SeqCst);
        }
        if to_server.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

fn impatient(server: &Server, url: &Url) -> QueueConfig {
    QueueConfig { timeout: Duration::from_secs(1), ..server.config_at(url) }
}

#[tokio::test]
async fn an_ack_whose_answer_is_lost_was_one() {
    let server = Server::shared().await;
    let (url, is_lost) = losing_the_answer_to("LREM\r\n", &server).await;
    let queue = Redis::connect(&impatient(&server, &url), "test").await.unwrap();
    server.push("PROJ-1").await;
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
    assert!(is_lost.load(Ordering::SeqCst), "no answer was lost");
    assert!(server.keys().await.is_empty());
}

#[tokio::test]
async fn a_publish_whose_answer_is_lost_leaves_no_two_equal_items() {
    let server = Server::shared().await;
    let (url, is_lost) = losing_the_answer_to("RPUSH\r\n", &server).await;
    let queue = Redis::connect(&impatient(&server, &url), "test").await.unwrap();
    let task = task("PROJ-1");
    queue.publish(&task).await.unwrap();
    assert!(is_lost.load(Ordering::SeqCst), "no answer was lost");
    let items: Vec<String> = server.ask(&["LRANGE", "jira_ticket_queue", "0", "-1"]).await;
    assert_eq!(items.len(), 2);
    assert_ne!(items[0], items[1], "two items, each with an id of its own");
    assert!(items.iter().all(|item| item.contains(&task.id.to_string())), "of the same task");
}

#[tokio::test]
async fn a_wish_for_a_lease_that_is_given_up_leaves_none_behind() {
    let server = Server::shared().await;
    let queue = server.queue().await;
    server.push("PROJ-1").await;
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    for number in 0..60 {
        // Given up at any moment: before, while and after the key is written.
        let limit = Duration::from_micros(number * 20);
        drop(tokio::time::timeout(limit, delivery.lease(&lease_key())).await);
        drop(tokio::time::timeout(limit, queue.lease(&lease_key())).await);
        let granted = wait_for("the lease", async || match queue.lease(&lease_key()).await.unwrap() {
            LeaseOutcome::Granted(lease) => Some(lease),
            LeaseOutcome::Held => None,
        });
        tokio::time::timeout(SOON, granted).await.unwrap().release().await;
    }
    assert!(!delivery.lost().is_cancelled());
    assert_eq!(delivery.ack().await.unwrap(), Settled::Done);
}
