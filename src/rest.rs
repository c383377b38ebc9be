//! One request to a REST API, described before it is sent: what the Jira and the GitHub client share.

use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use url::Url;

use crate::http::{Http, Safety, safety_of};

/// A request, relative to the API's address.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) safety: Safety,
    /// What it is about, for messages: "the comments of PROJ-1".
    pub(crate) what: String,
    /// The permission that it needs, for messages.
    pub(crate) grant: &'static str,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Value>,
}

impl Call {
    pub(crate) fn new(method: Method, what: impl Into<String>, grant: &'static str) -> Self {
        Self {
            safety: safety_of(&method),
            method,
            what: what.into(),
            grant,
            path: Vec::new(),
            query: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn get(what: impl Into<String>, grant: &'static str) -> Self {
        Self::new(Method::GET, what, grant)
    }

    /// The path, segment by segment; each is encoded.
    pub(crate) fn at<Segment: ToString>(mut self, path: impl IntoIterator<Item = Segment>) -> Self {
        self.path.extend(path.into_iter().map(|segment| segment.to_string()));
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Says that a POST may be repeated: doing it twice is the same as once.
    pub(crate) fn repeatable(mut self) -> Self {
        self.safety = Safety::Idempotent;
        self
    }

    /// The whole address below `api` and `prefix`.
    pub(crate) fn url(&self, api: &Url, prefix: &[&str]) -> Url {
        let mut url = api.clone();
        // An address that cannot have a path is refused when the request is built.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(prefix).extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    /// The request to this address, without authorisation.
    pub(crate) fn request(&self, http: &Http, url: Url) -> RequestBuilder {
        let request = http.client().request(self.method.clone(), url);
        match &self.body {
            Some(body) => request.json(body),
            None => request,
        }
    }
}
