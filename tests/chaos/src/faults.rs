//! The kinds of misbehaviour of the services, each of which ends well when it passes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jira_agent_simulator::fault::{Action, Answer, Fault, FaultId, Faults};
use jira_agent_simulator::models::Failure;
use jira_agent_simulator::service::Service;

/// One kind.
pub struct FaultKind {
    /// What goes wrong, in words: the row of the table.
    pub name: &'static str,
    how: How,
}

enum How {
    /// A request, by service, method, and a pattern of path and query.
    Request(Service, &'static str, &'static str, fn() -> Action),
    /// A reply of the model.
    Reply(fn() -> Failure),
}

fn status(code: u16) -> Action {
    Action::Status(Answer::new(code).body("<html>the gateway is in trouble</html>"))
}

fn status_after(code: u16) -> Action {
    Action::StatusAfter(Answer::new(code).body("<html>the gateway is in trouble</html>"))
}

fn limited(code: u16, seconds: u32) -> Action {
    Action::Status(Answer::new(code).header("retry-after", seconds.to_string()))
}

macro_rules! request {
    ($name:literal, $service:ident $method:literal $path:literal, $action:expr) => {
        FaultKind { name: $name, how: How::Request(Service::$service, $method, $path, || $action) }
    };
}

macro_rules! reply {
    ($name:literal, $failure:expr) => {
        FaultKind { name: $name, how: How::Reply(|| $failure) }
    };
}

/// Every kind.
pub const KINDS: &[FaultKind] = &[
    request!("jira: ticket 503", Jira "GET" "fields=summary", status(503)),
    request!("jira: ticket breaks off", Jira "GET" "fields=summary", Action::TruncateBody(40)),
    request!("jira: ticket 429, come back in 1 s", Jira "GET" "fields=summary", limited(429, 1)),
    request!("jira: ticket 429, come back in 3 s", Jira "GET" "fields=summary", limited(429, 3)),
    request!("jira: ticket slow", Jira "GET" "fields=summary", Action::Delay(1_500)),
    request!("jira: memory 502 after", Jira "PUT" "/properties/jira-agent$", status_after(502)),
    request!("jira: memory answer lost", Jira "PUT" "/properties/jira-agent$", Action::DropAfter),
    request!("jira: memory 502 before", Jira "PUT" "/properties/jira-agent$", status(502)),
    request!("jira: move 502 after", Jira "POST" "/transitions$", status_after(502)),
    request!("jira: move dropped", Jira "POST" "/transitions$", Action::DropBefore),
    request!("jira: assign 502 after", Jira "PUT" "/assignee$", status_after(502)),
    request!("jira: link 502 after", Jira "POST" "/remotelink$", status_after(502)),
    request!("jira: link answer lost", Jira "POST" "/remotelink$", Action::DropAfter),
    request!("jira: comment 502 before", Jira "POST" "/comment$", status(502)),
    request!("jira: comment 502 after", Jira "POST" "/comment$", status_after(502)),
    request!("jira: comment answer lost", Jira "POST" "/comment$", Action::DropAfter),
    request!("jira: comment never answered", Jira "POST" "/comment$", Action::HangAfter),
    request!("git: list of refs 503", GitHub "GET" "/info/refs", status(503)),
    request!("git: fetch breaks off", GitHub "POST" "/git-upload-pack$", Action::TruncateBody(100)),
    request!("git: fetch dropped", GitHub "POST" "/git-upload-pack$", Action::DropBefore),
    request!("git: push dropped", GitHub "POST" "/git-receive-pack$", Action::DropBefore),
    request!("git: push answer lost", GitHub "POST" "/git-receive-pack$", Action::DropAfter),
    request!("git: push 502 after", GitHub "POST" "/git-receive-pack$", status_after(502)),
    request!("git: push never answered", GitHub "POST" "/git-receive-pack$", Action::HangAfter),
    request!("github: pull request 500 before", GitHub "POST" "/pulls$", status(500)),
    request!("github: pull request 502 after", GitHub "POST" "/pulls$", status_after(502)),
    request!("github: pull request answer lost", GitHub "POST" "/pulls$", Action::DropAfter),
    request!("github: pull request never answered", GitHub "POST" "/pulls$", Action::HangAfter),
    request!("github: pull request 429, come back in 1 s", GitHub "POST" "/pulls$", limited(429, 1)),
    request!("github: labels 502 after", GitHub "POST" "/labels$", status_after(502)),
    request!("github: review 502 after", GitHub "POST" "/requested_reviewers$", status_after(502)),
    request!("github: comment 502 after", GitHub "POST" "/comments$", status_after(502)),
    request!("github: comment answer lost", GitHub "POST" "/comments$", Action::DropAfter),
    request!("model: connection dropped", Anthropic "POST" "/v1/messages$", Action::DropBefore),
    request!("model: stream cut", Anthropic "POST" "/v1/messages$", Action::TruncateBody(600)),
    request!("model: silence", Anthropic "POST" "/v1/messages$", Action::Hang),
    reply!("model: 529 overloaded", Failure::Status { code: 529, retry_after: None }),
    reply!("model: 429, come back in 1 s", Failure::Status { code: 429, retry_after: Some(1) }),
    reply!("model: stream ends in the middle", Failure::TruncatedStream { after_events: 3 }),
    reply!("model: stream falls silent", Failure::HungStream { after_events: 3 }),
    reply!(
        "model: error in the stream",
        Failure::ErrorEvent { after_events: 3, kind: "overloaded_error".to_owned() }
    ),
];

/// Injects faults and knows which have come.
#[derive(Clone)]
pub struct Injector {
    faults: Faults,
    replies: Replies,
    added: Arc<Mutex<Vec<(FaultId, usize)>>>,
}

/// The replies of the model that are to go wrong.
#[derive(Clone, Default)]
pub struct Replies(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    kinds: VecDeque<usize>,
    fired: BTreeMap<usize, u32>,
}

impl Replies {
    /// How the next reply goes wrong, when it is to.
    pub fn next(&self) -> Option<Failure> {
        let mut waiting = lock(&self.0);
        let kind = waiting.kinds.pop_front()?;
        let How::Reply(failure) = KINDS.get(kind)?.how else { return None };
        *waiting.fired.entry(kind).or_default() += 1;
        Some(failure())
    }
}

impl Injector {
    /// For these services.
    pub fn new(faults: Faults, replies: Replies) -> Self {
        Self { faults, replies, added: Arc::default() }
    }

    /// Lets a kind, by its place in [`KINDS`], happen once, to the next that fits.
    ///
    /// # Errors
    /// When its pattern is none.
    pub fn inject(&self, kind: usize) -> anyhow::Result<()> {
        match KINDS.get(kind).map(|kind| &kind.how) {
            Some(How::Request(service, method, path, action)) => {
                let fault = Fault::new(path, action())?.service(*service).method(method);
                lock(&self.added).push((self.faults.add(fault), kind));
            }
            Some(How::Reply(_)) => lock(&self.replies.0).kinds.push_back(kind),
            None => anyhow::bail!("there is no kind of fault {kind}"),
        }
        Ok(())
    }

    /// How often each kind has happened, in their order.
    pub fn fired(&self) -> Vec<u32> {
        let mut fired = vec![0; KINDS.len()];
        for (id, kind) in lock(&self.added).iter() {
            fired[*kind] += self.faults.fired(*id);
        }
        for (kind, count) in &lock(&self.replies.0).fired {
            fired[*kind] += count;
        }
        fired
    }

    /// Nothing goes wrong any more.
    pub fn end(&self) {
        self.faults.end_all();
        lock(&self.replies.0).kinds.clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own_and_can_be_injected() {
        let injector = Injector::new(Faults::default(), Replies::default());
        for kind in 0..KINDS.len() {
            injector.inject(kind).unwrap();
            assert!(KINDS[..kind].iter().all(|other| other.name != KINDS[kind].name), "{}", KINDS[kind].name);
        }
        assert!(injector.inject(KINDS.len()).is_err());
        assert_eq!(injector.fired().iter().sum::<u32>(), 0);
        while injector.replies.next().is_some() {}
        let replies = KINDS.iter().filter(|kind| matches!(kind.how, How::Reply(_))).count();
        assert_eq!(injector.fired().iter().sum::<u32>(), u32::try_from(replies).unwrap());
    }
}
