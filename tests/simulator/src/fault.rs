//! Faults: what goes wrong with which request, how often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use regex::Regex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::service::Service;

/// What happens instead of, or after, the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// This answer is given and nothing is done.
    Status(Answer),
    /// The request is carried out, then this answer is given instead of the real one.
    StatusAfter(Answer),
    /// The connection is closed; nothing is done.
    DropBefore,
    /// The request is carried out, then the connection is closed without an answer.
    DropAfter,
    /// Never answered, nothing is done, until the client gives up or the simulator stops.
    Hang,
    /// The request is carried out, then never answered.
    HangAfter,
    /// Carried out and answered after this many milliseconds.
    Delay(u64),
    /// Carried out; the connection is cut after this many bytes of the answer's body, streams too.
    TruncateBody(usize),
}

/// An answer that a fault gives.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// The headers; `content-type` is JSON unless given.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: String,
}

impl Answer {
    /// An answer with an empty body.
    #[must_use]
    pub fn new(code: u16) -> Self {
        Self { code, ..Self::default() }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.insert(name.to_ascii_lowercase(), value.into());
        self
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }
}

/// Which requests go wrong, how, and how often.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Only requests to this service.
    #[serde(default)]
    pub service: Option<Service>,
    /// Only requests of this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Searched in path and query.
    #[serde(deserialize_with = "read_regex", serialize_with = "write_regex")]
    pub path: Regex,
    /// How often it fires; unset in a file: once.
    #[serde(default = "once")]
    pub times: u32,
    /// It fires every time, whatever `times` says.
    #[serde(default)]
    pub always: bool,
    /// So many matching requests are let through first.
    #[serde(default)]
    pub skip: u32,
    /// What goes wrong.
    pub action: Action,
}

fn once() -> u32 {
    1
}

fn read_regex<'de, D: Deserializer<'de>>(source: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(source)?;
    Regex::new(&text).map_err(serde::de::Error::custom)
}

fn write_regex<S: Serializer>(regex: &Regex, target: S) -> Result<S::Ok, S::Error> {
    target.serialize_str(regex.as_str())
}

impl Fault {
    /// A fault that fires once, at the first request of any service and method whose path and query match.
    ///
    /// # Errors
    /// When `path` is not a regular expression.
    pub fn new(path: &str, action: Action) -> Result<Self, regex::Error> {
        let path = Regex::new(path)?;
        Ok(Self { service: None, method: None, path, times: 1, always: false, skip: 0, action })
    }

    /// Only for this service.
    #[must_use]
    pub fn service(mut self, service: Service) -> Self {
        self.service = Some(service);
        self
    }

    /// Only for this method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Fires so many times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Fires every time.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.always = true;
        self
    }

    /// Lets so many matching requests through first.
    #[must_use]
    pub fn skip(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    fn matches(&self, service: Service, method: &str, path: &str) -> bool {
        self.service.is_none_or(|wanted| wanted == service)
            && self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method))
            && self.path.is_match(path)
    }
}

/// A fault and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct FaultState {
    /// The fault.
    pub fault: Fault,
    /// Requests it matched, whether it fired or not.
    pub seen: u32,
    /// How often it fired.
    pub fired: u32,
}

impl FaultState {
    fn is_due(&mut self) -> bool {
        self.seen += 1;
        let due = self.seen > self.fault.skip && (self.fault.always || self.fired < self.fault.times);
        self.fired += u32::from(due);
        due
    }

    fn describe(&self) -> String {
        let Fault { service, method, path, action, .. } = &self.fault;
        let service = service.map_or_else(|| "any service".to_owned(), |service| service.to_string());
        let method = method.as_deref().unwrap_or("any method");
        format!("fault {action:?} at {service}, {method} /{path}/")
    }
}

/// Names one fault of [`Faults`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(usize);

/// All faults of a simulator. Clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Vec<FaultState>>>);

impl Faults {
    /// Adds a fault. Of several faults that are due the first added fires.
    pub fn add(&self, fault: Fault) -> FaultId {
        let mut list = self.lock();
        list.push(FaultState { fault, seen: 0, fired: 0 });
        FaultId(list.len() - 1)
    }

    /// How often the fault has fired.
    #[must_use]
    pub fn fired(&self, id: FaultId) -> u32 {
        self.lock().get(id.0).map_or(0, |state| state.fired)
    }

    /// Every fault and what became of it, in the order they were added.
    #[must_use]
    pub fn states(&self) -> Vec<FaultState> {
        self.lock().clone()
    }

    /// Faults that have not fired as often as they should (`always`: not once), in words.
    #[must_use]
    pub fn unfired(&self) -> Vec<String> {
        let owed = |state: &&FaultState| state.fired < if state.fault.always { 1 } else { state.fault.times };
        let list = self.lock();
        list.iter()
            .filter(owed)
            .map(|state| format!("{} fired {} times", state.describe(), state.fired))
            .collect()
    }

    /// Ends all faults; their counts stay readable.
    pub fn end_all(&self) {
        for state in self.lock().iter_mut() {
            state.fault.always = false;
            state.fault.times = state.fired;
        }
    }

    /// The action for a request, if a fault is due; counts it as fired.
    pub(crate) fn take(&self, service: Service, method: &str, path: &str) -> Option<Action> {
        let mut list = self.lock();
        let mut matching = list.iter_mut().filter(|state| state.fault.matches(service, method, path));
        let due = matching.find_map(|state| state.is_due().then_some(&*state));
        due.map(|state| state.fault.action.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FaultState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_skips_then_fires_so_many_times_then_rests() {
        let faults = Faults::default();
        let id = faults.add(Fault::new("/comment$", Action::Hang).unwrap().method("post").skip(1).times(2));
        let taken: Vec<bool> =
            (0..5).map(|_| faults.take(Service::Jira, "POST", "/issue/A-1/comment").is_some()).collect();
        assert_eq!(taken, [false, true, true, false, false]);
        assert_eq!(faults.fired(id), 2);
        assert!(faults.unfired().is_empty());
        assert!(faults.take(Service::Jira, "GET", "/issue/A-1/comment").is_none());
    }

    #[test]
    fn a_fault_that_was_owed_is_named() {
        let faults = Faults::default();
        faults.add(
            Fault::new("/x", Action::Status(Answer::new(502))).unwrap().service(Service::GitHub).always(),
        );
        assert_eq!(faults.unfired().len(), 1);
        assert!(faults.take(Service::Jira, "GET", "/x").is_none());
        assert!(faults.take(Service::GitHub, "GET", "/x").is_some());
        assert!(faults.unfired().is_empty());
        faults.end_all();
        assert!(faults.take(Service::GitHub, "GET", "/x").is_none());
    }

    #[test]
    fn a_fault_reads_from_json_and_refuses_unknown_keys() {
        let text = r#"{"service":"jira","path":"x","action":{"status_after":{"code":502}}}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.times, 1);
        assert_eq!(fault.action, Action::StatusAfter(Answer::new(502)));
        let wrong = serde_json::from_str::<Fault>(r#"{"path":"x","action":"hang","tims":2}"#).unwrap_err();
        assert!(wrong.to_string().contains("tims"), "{wrong}");
        assert!(serde_json::from_str::<Fault>(r#"{"path":"(","action":"hang"}"#).is_err());
    }
}
