use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::support::{client, read};

const START: Duration = Duration::from_secs(20);

const SCENARIO: &str = r#"
[jira]
token = "token-1"
page_limit = 2
required_fields = [{ transition = "Done", field = "resolution" }]
projects = [{ key = "PROJ", name = "The shop" }]
users = [{ account_id = "dev1", name = "Dev One" }]

[[jira.issues]]
key = "PROJ-1"
summary = "The total is wrong"
type = "Bug"
description = "It forgets the **quantity**."
labels = ["ai-agent"]
assignee = "dev1"
fields = { customfield_10042 = "https://example.com/shop" }
comments = [{ author = "dev1", text = "See `total()`." }]

[[models.rules]]
name = "fix"
when = ["price", "quantity"]
unless = "nothing"
times = 1
reply_file = "reply.txt"

[[models.rules]]
when = "quantity"
failure = { status = { code = 529 } }

[[faults]]
service = "jira"
path = "/serverInfo$"
action = { status = { code = 503, headers = { retry-after = "1" } } }
"#;

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jira-agent-simulator"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The settings that it prints when it is ready.
async fn settings(child: &mut Child) -> BTreeMap<String, String> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut settings = BTreeMap::new();
    while let Some(line) = timeout(START, lines.next_line()).await.unwrap().unwrap() {
        let (name, value) = line.strip_prefix("export ").unwrap().split_once('=').unwrap();
        settings.insert(name.to_owned(), value.to_owned());
        if name == "OLLAMA_HOST" {
            break;
        }
    }
    settings
}

fn terminate(child: &Child) {
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").arg(id).status().unwrap().success());
}

async fn end(mut child: Child) -> (i32, String) {
    let mut words = String::new();
    let mut stderr = child.stderr.take().unwrap();
    timeout(START, stderr.read_to_string(&mut words)).await.unwrap().unwrap();
    (timeout(START, child.wait()).await.unwrap().unwrap().code().unwrap(), words)
}

fn write(folder: &Path) -> std::path::PathBuf {
    std::fs::write(folder.join("reply.txt"), "multiply them").unwrap();
    let file = folder.join("scenario.toml");
    std::fs::write(&file, SCENARIO).unwrap();
    file
}

#[tokio::test]
async fn it_serves_a_scenario_under_the_settings_it_prints() {
    let folder = tempfile::tempdir().unwrap();
    let (scenario, journal) = (write(folder.path()), folder.path().join("journal.jsonl"));
    let mut child =
        command().arg("--scenario").arg(&scenario).arg("--journal-file").arg(&journal).spawn().unwrap();
    let settings = settings(&mut child).await;
    let client = client();
    let get = |path: &str| {
        let url = format!("{}/rest/api/3/{path}", settings["JIRA_URL"]);
        client.get(url).basic_auth(&settings["JIRA_EMAIL"], Some(&settings["JIRA_API_TOKEN"])).send()
    };
    let issue = read(get("issue/PROJ-1").await.unwrap(), 200).await;
    let fields = &issue["fields"];
    assert_eq!(
        (&fields["issuetype"]["name"], &fields["project"]["name"]),
        (&"Bug".into(), &"The shop".into())
    );
    assert_eq!(fields["customfield_10042"], "https://example.com/shop");
    assert_eq!(fields["comment"]["total"], 1);
    assert_eq!(get("serverInfo").await.unwrap().headers()["retry-after"], "1");
    for (reply, status) in [("multiply them", 200), ("", 529)] {
        let body = serde_json::json!({
            "model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "price and quantity"}],
        });
        let request = client.post(format!("{}/v1/messages", settings["ANTHROPIC_BASE_URL"])).json(&body);
        let request = request
            .header("x-api-key", &settings["ANTHROPIC_API_KEY"])
            .header("anthropic-version", "2026-10-21");
        let message: Value = read(request.send().await.unwrap(), status).await;
        assert_eq!(message["content"][0]["text"].as_str().unwrap_or_default(), reply);
    }
    for name in
        ["GITHUB_API_URL", "GITHUB_TOKEN", "JIRA_AGENT__GITHUB__URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"]
    {
        assert!(!settings[name].is_empty());
    }
    terminate(&child);
    assert_eq!(end(child).await.0, 0);
    assert_eq!(std::fs::read_to_string(journal).unwrap().lines().count(), 4);
}

#[tokio::test]
async fn it_ends_with_1_and_names_the_request_that_nobody_expected() {
    let mut child = command().spawn().unwrap();
    let settings = settings(&mut child).await;
    let url = format!("{}/rest/api/3/nowhere", settings["JIRA_URL"]);
    read(client().get(url).send().await.unwrap(), 404).await;
    terminate(&child);
    let (code, words) = end(child).await;
    assert_eq!(code, 1);
    assert!(words.contains("GET /rest/api/3/nowhere"), "{words}");
}

#[tokio::test]
async fn it_refuses_a_scenario_that_is_not_right() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    for (text, words) in [
        ("[jira]\ntokn = \"x\"\n", "unknown field `tokn`"),
        ("[[jira.issues]]\nkey = \"PROJ-1\"\nassignee = \"ghost\"\n", "\"ghost\", which is no account"),
        ("[[models.rules]]\nwhen = \"x\"\nreply_file = \"missing.txt\"\n", "missing.txt cannot be read"),
        ("[jira.workflow]\nstatuses = []\ntransitions = []\n", "at least one status"),
    ] {
        std::fs::write(&file, text).unwrap();
        let child = command().arg("--scenario").arg(&file).spawn().unwrap();
        let (code, problem) = end(child).await;
        assert_eq!(code, 65);
        assert!(problem.contains(words), "{problem:?} does not say {words:?}");
    }
    let child = command().arg("--scenario").arg(folder.path().join("none.toml")).spawn().unwrap();
    let (code, problem) = end(child).await;
    assert!(code == 65 && problem.contains("none.toml cannot be read"), "{problem}");
}
