//! Who is let in, and what is said to whom is not.

use std::time::{Duration, Instant};

use jira_agent::config::QueueConfig;
use jira_agent::queue::rabbitmq::RabbitMq;
use jira_agent::queue::topology::TopologyProblemKind;
use jira_agent::queue::{QueueError, TaskQueue};
use jira_agent::secret::Secret;
use tokio::net::TcpListener;

use super::task;
use crate::broker::{Broker, config};

const PASSWORD: &str = "hunter2-not-the-password";

/// What publishing, consuming and declaring answer, none of which may show the password.
async fn errors(config: &QueueConfig) -> Vec<QueueError> {
    let queue = RabbitMq::connect(config, "test").await.unwrap();
    let errors = vec![
        queue.publish(&task()).await.unwrap_err(),
        queue.consume().await.err().unwrap(),
        queue.apply_topology().await.unwrap_err(),
    ];
    for error in &errors {
        assert!(!format!("{error} {error:?} {queue:?}").contains(PASSWORD), "{error}");
    }
    errors
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let broker = Broker::shared().await;
    let mut url = broker.url();
    url.set_password(Some(PASSWORD)).unwrap();
    for error in errors(&config(url.as_str())).await {
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains("check user `tester` and its password in `queue.url`"), "{error}");
    }
}

#[tokio::test]
async fn an_unknown_virtual_host_is_named() {
    let broker = Broker::shared().await;
    let mut url = broker.url();
    url.set_path("nowhere");
    for error in errors(&config(url.as_str())).await {
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains("create virtual host `nowhere`"), "{error}");
    }
}

#[tokio::test]
async fn a_user_without_rights_is_told_so() {
    let broker = Broker::shared().await;
    let queue = broker.queue().await;
    let user = broker.add_user(PASSWORD).await;
    broker.allow(&user, "^nothing$").await;
    let mut url = broker.url();
    url.set_username(&user).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    for error in errors(&config(url.as_str())).await {
        assert!(matches!(error, QueueError::Refused(_)), "{error}");
        assert!(error.to_string().contains("set_permissions"), "{error}");
    }
    let blind = RabbitMq::connect(&config(url.as_str()), "test").await.unwrap();
    let problems = blind.check_topology().await.unwrap();
    assert!(problems.iter().all(|problem| matches!(problem.kind, TopologyProblemKind::Unknown(_))));
    assert_eq!(problems.len(), 12);
    queue.close().await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    drop(listener);
    for error in errors(&config(&format!("amqp://tester:{PASSWORD}@{host}/x"))).await {
        assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
        assert!(error.to_string().contains(&host), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let mut config = config(&format!("amqp://tester:{PASSWORD}@{host}/x"));
    config.timeout = Duration::from_millis(300);
    let start = Instant::now();
    for error in errors(&config).await {
        assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
        assert!(error.to_string().contains(&host), "{error}");
    }
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_it_is_configured() {
    let broker = Broker::shared().await;
    let (url, ca_file) = broker.tls();
    let mut config = config(url.as_str());
    config.ca_file = Some(ca_file);
    let queue = RabbitMq::connect(&config, "test").await.unwrap();
    queue.apply_topology().await.unwrap();
    queue.publish(&task()).await.unwrap();
    let mut consumer = queue.consume().await.unwrap();
    super::next(&mut consumer).await.ack().await.unwrap();
}

#[tokio::test]
async fn a_private_authority_is_not_trusted_by_itself() {
    let broker = Broker::shared().await;
    let (url, _) = broker.tls();
    for error in errors(&config(url.as_str())).await {
        assert!(matches!(error, QueueError::Unreachable(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for path in [empty, directory.path().join("missing.pem")] {
        let mut config = config("amqps://127.0.0.1");
        config.ca_file = Some(path.clone());
        let error = RabbitMq::connect(&config, "test").await.unwrap_err().to_string();
        assert!(error.starts_with("queue.ca_file: ") && error.contains(path.to_str().unwrap()), "{error}");
    }
    let mut config = config("amqps://127.0.0.1");
    config.url = Secret::new("http://127.0.0.1");
    let error = RabbitMq::connect(&config, "test").await.unwrap_err();
    assert!(matches!(error, QueueError::Settings(_)), "{error}");
}
