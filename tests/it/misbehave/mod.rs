//! What services do to a run, each with the end that it must have.

mod github;
mod jira;

use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::service::Service;
use lapin::BasicProperties;
use lapin::types::AMQPValue;
use regex::Regex;

use crate::world::{Ended, TICKET, World};

/// The id of a task whose test names it.
const RUN: &str = "01K9ZW4R7M1S8T3V5X7Z9B1D3F";
/// Where the tasks are that nobody can carry out.
const DEAD: &str = "agent-tasks.dlq";

/// This goes wrong once with the first such request.
fn once(world: &World, service: Service, method: &str, path: &str, action: Action) {
    world.simulator.faults().add(Fault::new(path, action).unwrap().service(service).method(method));
}

/// The run of a Jira ticket that meets one misbehaviour ends as if nothing had happened, after so many such requests.
async fn ends_well_after(service: Service, method: &str, path: &str, action: Action, expected: usize) {
    let world = World::new().await;
    once(&world, service, method, path, action);
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(requests(&world, method, path), expected, "{method} {path}");
    assert_eq!(world.simulator.models().calls().len(), 1);
    world.finish().await;
}

/// How many such requests there were.
fn requests(world: &World, method: &str, path: &str) -> usize {
    world.simulator.journal().matching(method, &Regex::new(path).unwrap()).len()
}

/// Whether a service got a request at all.
fn was_asked(world: &World, service: Service) -> bool {
    world.simulator.journal().entries().iter().any(|entry| entry.service == service)
}

/// A 502, after the request was carried out.
fn lost() -> Action {
    Action::StatusAfter(Answer::new(502).body("<html>Bad Gateway</html>"))
}

/// A task that was taken from a queue.
struct Taken {
    body: String,
    properties: BasicProperties,
}

impl Taken {
    async fn from(world: &World, queue: &str) -> Self {
        assert_eq!(world.depths().await, [(queue.to_owned(), 1)]);
        let message = world.broker.take(queue).await;
        Self { body: String::from_utf8(message.data).unwrap(), properties: message.properties }
    }

    fn header(&self, name: &str) -> AMQPValue {
        self.properties.headers().as_ref().unwrap().inner().get(name).unwrap().clone()
    }

    /// Which attempt comes next, or was the last.
    fn attempt(&self) -> i64 {
        match self.header("x-attempt") {
            AMQPValue::LongLongInt(attempt) => attempt,
            other => panic!("x-attempt is {other:?}"),
        }
    }

    fn reason(&self) -> String {
        match self.header("x-reason") {
            AMQPValue::LongString(reason) => reason.to_string(),
            other => panic!("x-reason is {other:?}"),
        }
    }

    /// The reason says all of this.
    fn assert_reason(&self, parts: &[&str]) {
        let reason = self.reason();
        for part in parts {
            assert!(reason.contains(part), "{part:?} is missing in: {reason}");
        }
    }

    /// Publishes it as it is and lets a worker carry it out.
    async fn again(self, world: &World) -> Ended {
        world.broker.publish(&self.body, self.properties).await;
        world.work_once().await
    }
}
