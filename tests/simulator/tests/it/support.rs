//! What every test needs: a simulator, a client, requests with the right credentials.

use std::sync::Once;
use std::time::Duration;

use jira_agent_simulator::jira::{IssueSeed, Jira, User};
use jira_agent_simulator::models::Models;
use jira_agent_simulator::{Simulator, SimulatorOptions};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

/// No answer of the simulator takes longer unless it is meant to hang.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long a hang is watched before it counts as one.
pub const HANG: Duration = Duration::from_millis(300);

pub struct World {
    pub simulator: Simulator,
    pub client: Client,
}

pub fn client() -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Client::builder().user_agent("jira-agent-tests").timeout(PATIENCE).no_proxy().build().unwrap()
}

/// A simulator with two people and the ticket PROJ-1, which `dev1` has.
pub async fn world() -> World {
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    let jira = simulator.jira();
    for (account_id, name) in [("dev1", "Dev One"), ("dev2", "Dev Two")] {
        jira.add_user(User {
            account_id: account_id.into(),
            name: name.into(),
            email: String::new(),
            active: true,
        });
    }
    let ticket = IssueSeed {
        key: "PROJ-1".into(),
        summary: "The total is wrong".into(),
        description: "The *cart* forgets the quantity.".into(),
        labels: vec!["ai-agent".into()],
        assignee: Some("dev1".into()),
        ..IssueSeed::default()
    };
    jira.add_issue(ticket).unwrap();
    World { simulator, client: client() }
}

impl World {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.url())
    }

    pub fn jira(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.url(&format!("/rest/api/3/{path}"));
        self.client.request(method, url).basic_auth(Jira::EMAIL, Some(Jira::TOKEN))
    }

    pub async fn get(&self, path: &str) -> Value {
        read(self.jira(Method::GET, path).send().await.unwrap(), 200).await
    }

    pub async fn send(&self, method: Method, path: &str, body: &Value) -> Response {
        self.jira(method, path).json(body).send().await.unwrap()
    }

    pub fn anthropic(&self, body: &Value) -> RequestBuilder {
        let request = self.client.post(self.url("/v1/messages")).header("x-api-key", Models::KEY);
        request.header("anthropic-version", "2023-06-01").json(body)
    }

    pub fn openai(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.url("/v1/chat/completions")).bearer_auth(Models::KEY).json(body)
    }

    pub fn ollama(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.url("/api/chat")).json(body)
    }

    /// The one problem there is.
    pub fn problem(&self) -> String {
        let problems = self.simulator.problems().take();
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }
}

/// The JSON of an answer with this status.
pub async fn read(response: Response, status: u16) -> Value {
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!(found, status, "{text}");
    serde_json::from_str(&text).unwrap_or_else(|_| json!(text))
}

pub async fn nothing(response: Response, status: u16) {
    let found = response.status().as_u16();
    let text = response.text().await.unwrap();
    assert_eq!((found, &*text), (status, ""));
}

pub fn document(text: &str) -> Value {
    json!({"version": 1, "type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]})
}

pub async fn ask_control(world: &World, method: Method, path: &str, body: Value) -> Response {
    world.client.request(method, world.url(&format!("/_{path}"))).json(&body).send().await.unwrap()
}
