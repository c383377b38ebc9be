//! Reaching Redis: addresses, users, rights, certificates.

use std::time::{Duration, Instant};

use jira_agent::config::QueueConfig;
use jira_agent::queue::redis::Redis;
use jira_agent::queue::{LeaseOutcome, QueueError, TaskQueue};
use tokio::net::TcpListener;
use url::Url;

use super::server::Server;
use super::{lease_key, next, task};

const PASSWORD: &str = "hunter2-not-the-password";

/// What publishing, consuming and looking answer, none of which may show the password.
async fn errors(config: &QueueConfig) -> Vec<QueueError> {
    let queue = Redis::connect(config, "test").await.unwrap();
    let errors = vec![
        queue.publish(&task("PROJ-1")).await.unwrap_err(),
        queue.consume().await.err().unwrap(),
        queue.backlog().await.unwrap_err(),
        queue.inspect().await.unwrap_err(),
    ];
    for error in &errors {
        assert!(!format!("{error} {error:?} {queue:?}").contains(PASSWORD), "{error}");
    }
    errors
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let server = Server::shared().await;
    let mut url = server.url();
    url.set_password(Some(PASSWORD)).unwrap();
    for error in errors(&server.config_at(&url)).await {
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains("wrong user or password"), "{error}");
    }
    url.set_password(None).unwrap();
    url.set_username("").unwrap();
    for error in errors(&server.config_at(&url)).await {
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains("wrong user or password"), "{error}");
    }
}

#[tokio::test]
async fn a_user_with_the_least_rights_can_do_everything_and_one_without_is_told_so() {
    let server = Server::shared().await;
    let rule = include_str!("../../../ARCHITECTURE.md");
    let rule = rule.lines().find_map(|line| line.trim().strip_prefix("ACL SETUSER jira-agent on >PASSWORD "));
    let name = format!("user-{}", jira_agent::domain::TaskId::generate());
    let password = format!(">{PASSWORD}");
    let mut words = vec!["ACL", "SETUSER", &name, "on", &password];
    words.extend(rule.expect("the rule in ARCHITECTURE.md").split_whitespace());
    server.ask::<()>(&words).await;
    let mut url = server.url();
    url.set_username(&name).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    let queue = Redis::connect(&server.config_at(&url), "test").await.unwrap();
    queue.inspect().await.unwrap();
    queue.publish(&task("PROJ-1")).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    let delivery = next(&mut consumer).await;
    let LeaseOutcome::Granted(lease) = delivery.lease(&lease_key()).await.unwrap() else { panic!("held") };
    lease.release().await;
    drop(delivery);
    next(&mut consumer).await.ack().await.unwrap();
    let _orders = queue.orders().await.unwrap();
    let _events = queue.follow(&[]).await.unwrap();

    server.ask::<()>(&["ACL", "SETUSER", &name, "resetkeys", "~other*"]).await;
    for error in errors(&server.config_at(&url)).await {
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains("ACL SETUSER"), "{error}");
    }
    server.ask::<i64>(&["ACL", "DELUSER", &name]).await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_or_nothing_is_said_is_named_in_time() {
    let server = Server::shared().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let url = Url::parse(&format!("redis://tester:{PASSWORD}@{host}/1")).unwrap();
    let config = QueueConfig { timeout: Duration::from_millis(200), ..server.config_at(&url) };
    let start = Instant::now();
    for error in errors(&config).await {
        assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
        assert!(error.to_string().contains(&host), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    drop(listener);
    for error in errors(&config).await {
        assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_configured_and_only_then() {
    let server = Server::shared().await;
    let (url, ca_file) = server.tls();
    for error in errors(&server.config_at(&url)).await {
        assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let config = QueueConfig { ca_file: Some(ca_file), ..server.config_at(&url) };
    let queue = Redis::connect(&config, "test").await.unwrap();
    queue.publish(&task("PROJ-1")).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    next(&mut consumer).await.ack().await.unwrap();
}

#[tokio::test]
async fn a_key_that_is_something_else_is_named() {
    let server = Server::shared().await;
    server.ask::<()>(&["SET", "jira_ticket_queue", "a text"]).await;
    let queue = server.queue().await;
    for error in [queue.publish(&task("PROJ-1")).await.unwrap_err(), queue.consume().await.err().unwrap()] {
        assert!(matches!(error, QueueError::Topology(_)), "{error}");
        assert!(error.to_string().contains("another database"), "{error}");
    }
}

#[tokio::test]
async fn the_server_tells_about_itself() {
    let server = Server::shared().await;
    let facts = server.queue().await.inspect().await.unwrap();
    assert!(facts.major() >= 7, "{facts:?}");
    assert!(facts.writes_file && !facts.is_cluster && !facts.is_replica, "{facts:?}");
    assert_eq!(facts.memory_policy, "noeviction");
    assert!(server.ask::<Vec<String>>(&["KEYS", "*"]).await.is_empty(), "nothing is left behind");
}
