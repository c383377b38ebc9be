use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::domain::{CancelRequest, CommentMarker, RunMark, TaskId, TicketMemory};
use crate::testing::{Answer, Asked, http, json as answer, serve};

const BOT: &str = "bot-1";

/// What happens to a write besides, or instead of, its being done.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    DoneThen502,
    DoneThenBroken,
    NotDone502,
    DoneThenHung,
}

/// One issue with comments, enough for these tests.
#[derive(Default)]
struct Site {
    comments: Vec<Value>,
    next_id: u64,
    property: Value,
    cancel: Value,
    state: String,
    transitions: Value,
    faults: VecDeque<Fault>,
    writes: Vec<String>,
    sent: Vec<Value>,
}

impl Site {
    fn answer(&mut self, asked: &Asked) -> Answer {
        assert_eq!(asked.headers["authorization"], "Basic Ym90QGFjbWUudGVzdDpzM2NyM3Q=");
        let path = asked.path.strip_prefix("/rest/api/3/").expect("the API's path");
        if asked.method != "GET" {
            self.writes.push(format!("{} {path}", asked.method));
            self.sent.push(asked.body.clone());
            let fault = self.faults.pop_front();
            if fault == Some(Fault::NotDone502) {
                return answer(502, Value::Null);
            }
            let done = self.route(asked, path);
            return match fault {
                Some(Fault::DoneThen502) => answer(502, Value::Null),
                Some(Fault::DoneThenBroken) => Answer::Broken,
                Some(Fault::DoneThenHung) => Answer::Hung,
                _ => done,
            };
        }
        self.route(asked, path)
    }

    fn route(&mut self, asked: &Asked, path: &str) -> Answer {
        let parts: Vec<&str> = path.split('/').collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["myself"]) => answer(200, json!({"accountId": BOT, "displayName": "Bot"})),
            ("GET", ["issue", "PROJ-1"]) => answer(200, self.issue()),
            ("GET", ["issue", "PROJ-1", "comment"]) => self.page(asked),
            ("POST", ["issue", "PROJ-1", "comment"]) => {
                self.next_id += 1;
                let comment = comment(self.next_id, BOT, &asked.body["body"], &asked.body["properties"]);
                self.comments.push(comment.clone());
                answer(201, comment)
            }
            ("PUT", ["issue", "PROJ-1", "comment", id]) => match self.comment(id) {
                Some(at) => {
                    self.comments[at]["body"] = asked.body["body"].clone();
                    answer(200, self.comments[at].clone())
                }
                None => answer(404, Value::Null),
            },
            ("DELETE", ["issue", "PROJ-1", "comment", id]) => match self.comment(id) {
                Some(at) => {
                    self.comments.remove(at);
                    answer(204, Value::Null)
                }
                None => answer(404, Value::Null),
            },
            ("PUT", ["issue", "PROJ-1", "properties", "jira-agent"]) => {
                self.property = asked.body.clone();
                answer(201, Value::Null)
            }
            ("PUT", ["issue", "PROJ-1", "properties", "jira-agent-cancel"]) => {
                self.cancel = asked.body.clone();
                answer(201, Value::Null)
            }
            ("GET", ["issue", "PROJ-1", "transitions"]) => {
                answer(200, json!({"transitions": self.transitions}))
            }
            ("POST", ["issue", "PROJ-1", "transitions"]) => {
                let id = &asked.body["transition"]["id"];
                let offered = self.transitions.as_array().unwrap();
                let Some(transition) = offered.iter().find(|transition| transition["id"] == *id) else {
                    return answer(400, json!({"errorMessages": ["not valid for the current state"]}));
                };
                if let Some(refusal) = transition.get("refuse") {
                    return answer(400, json!({"errors": refusal}));
                }
                self.state = transition["to"]["name"].as_str().unwrap().to_owned();
                answer(204, Value::Null)
            }
            ("PUT", ["issue", "PROJ-1"] | ["issue", "PROJ-1", "assignee"]) => answer(204, Value::Null),
            ("POST", ["issue", "PROJ-1", "remotelink"]) => answer(200, json!({"id": 1})),
            ("POST", ["search", "jql"]) => {
                let second = asked.body["nextPageToken"] == "two";
                let key = if second { "PROJ-2" } else { "PROJ-1" };
                let mut page = json!({"issues": [{"id": "1", "key": key, "fields": {"updated": "2026-01-30T12:00:00.000+0000"}}]});
                if !second {
                    page["nextPageToken"] = json!("two");
                }
                answer(200, page)
            }
            _ => answer(
                404,
                json!({"errorMessages": ["Issue does not exist or you do not have permission to see it."]}),
            ),
        }
    }

    fn comment(&self, id: &str) -> Option<usize> {
        self.comments.iter().position(|comment| comment["id"] == id)
    }

    fn issue(&self) -> Value {
        json!({
            "id": "10001", "key": "PROJ-1",
            "fields": {
                "summary": "Total is wrong",
                "description": adf::from_markdown("It **fails**."),
                "status": {"name": self.state}, "labels": ["ai"], "components": [{"name": "cart"}],
                "assignee": null, "reporter": {"accountId": "ann"}, "issuetype": {"name": "Bug"},
                "updated": "2026-01-30T12:00:00.000+0000",
                "customfield_7": "set",
            },
            "properties": {"jira-agent": self.property, "jira-agent-cancel": self.cancel},
        })
    }

    /// Two comments a page, whatever is asked.
    fn page(&self, asked: &Asked) -> Answer {
        let start: usize = asked.query("startAt").parse().unwrap();
        let page: Vec<Value> = self.comments.iter().skip(start).take(2).cloned().collect();
        answer(
            200,
            json!({"startAt": start, "maxResults": 2, "total": self.comments.len(), "comments": page}),
        )
    }
}

fn comment(id: u64, author: &str, body: &Value, properties: &Value) -> Value {
    json!({
        "id": id.to_string(), "author": {"accountId": author, "displayName": author}, "body": body,
        "created": format!("2026-01-30T12:00:{id:02}.000+0000"), "updated": format!("2026-01-30T12:00:{id:02}.000+0000"),
        "properties": properties,
    })
}

struct Fixture {
    site: Arc<Mutex<Site>>,
    jira: Jira,
}

impl Fixture {
    async fn new(site: Site) -> Self {
        let site = Arc::new(Mutex::new(site));
        let served = Arc::clone(&site);
        let url = serve(move |asked| served.lock().unwrap().answer(&asked)).await;
        Self { site, jira: client(&url) }
    }

    fn texts(&self) -> Vec<String> {
        let site = self.site.lock().unwrap();
        site.comments.iter().map(|comment| adf::to_markdown(&comment["body"])).collect()
    }

    fn writes(&self) -> Vec<String> {
        self.site.lock().unwrap().writes.clone()
    }
}

fn client(api: &Url) -> Jira {
    let config = JiraConfig {
        url: Some("https://acme.atlassian.test".parse().unwrap()),
        api_url: Some(api.clone()),
        deployment: JiraDeployment::Cloud,
        email: "bot@acme.test".to_owned(),
        token: Secret::new("s3cr3t"),
        agent_account_id: Some("agent-1".parse().unwrap()),
        reviewer: None,
        reviewer_account_id: None,
        review_states: Vec::new(),
        trigger_label: "ai".to_owned(),
    };
    Jira::new(&config, http()).unwrap()
}

fn key() -> IssueKey {
    "PROJ-1".parse().unwrap()
}

fn marker() -> CommentMarker {
    CommentMarker::new("result", "1")
}

#[tokio::test]
async fn a_ticket_is_read_with_all_comments_of_people_and_without_ours() {
    let ours = json!([{"key": "jira-agent", "value": {"marker": "result:1"}}]);
    let mark = RunMark {
        run: TaskId::generate(),
        end: "needs_human".to_owned(),
        at: "2026-01-30T12:00:00Z".parse().unwrap(),
    };
    let mut memory = TicketMemory::default();
    memory.mark_end(mark.clone(), mark.at);
    let fixture = Fixture::new(Site {
        state: "To Do".to_owned(),
        property: serde_json::to_value(&memory).unwrap(),
        comments: vec![
            comment(1, "ann", &adf::from_markdown("first"), &json!([])),
            comment(2, BOT, &adf::from_markdown("ours"), &ours),
            comment(3, "agent-1", &adf::from_markdown("by the agent's account"), &Value::Null),
            json!({"id": "4", "author": null, "body": "h1. wiki", "created": "2026-01-30T12:00:04.000+0000"}),
            comment(5, "ben", &adf::from_markdown("last"), &json!([])),
        ],
        ..Site::default()
    })
    .await;
    let ticket = fixture.jira.issue(&key()).await.unwrap();
    assert_eq!(ticket.url, "https://acme.atlassian.test/browse/PROJ-1");
    assert_eq!((ticket.description.as_str(), ticket.kind.as_str()), ("It **fails**.", "Bug"));
    assert_eq!((ticket.labels, ticket.components), (vec!["ai".to_owned()], vec!["cart".to_owned()]));
    assert_eq!(ticket.reporter.unwrap().as_str(), "ann");
    assert_eq!(ticket.updated_at, "2026-01-30T12:00:00Z".parse().unwrap());
    assert_eq!(ticket.memory, memory);
    let comments: Vec<(&str, bool)> =
        ticket.comments.iter().map(|comment| (comment.body.as_str(), comment.author.is_some())).collect();
    assert_eq!(comments, [("first", true), ("h1. wiki", false), ("last", true)]);
}

#[tokio::test]
async fn a_cancel_request_has_a_place_of_its_own_and_the_newest_stands() {
    let fixture = Fixture::new(Site::default()).await;
    let cancel =
        |by: &str| CancelRequest { by: by.parse().unwrap(), at: "2026-01-30T12:00:00Z".parse().unwrap() };
    fixture.jira.request_cancel(&key(), &cancel("ann")).await.unwrap();
    fixture.jira.request_cancel(&key(), &cancel("ben")).await.unwrap();
    let mut memory = fixture.jira.memory(&key()).await.unwrap();
    assert_eq!(memory.cancel, Some(cancel("ben")));
    // A run that read the ticket before somebody asked does not undo the request.
    memory.cancel = None;
    fixture.jira.write_memory(&key(), &memory).await.unwrap();
    assert_eq!(fixture.jira.issue(&key()).await.unwrap().memory.cancel, Some(cancel("ben")));
    fixture.site.lock().unwrap().cancel = json!({"by": []});
    assert_eq!(fixture.jira.memory(&key()).await.unwrap(), memory, "garbage counts as no request");
}

#[tokio::test]
async fn memory_is_written_read_back_and_garbage_is_ignored() {
    let fixture = Fixture::new(Site::default()).await;
    assert_eq!(fixture.jira.memory(&key()).await.unwrap(), TicketMemory::default());
    let memory =
        TicketMemory { watermark: Some("2026-01-30T12:00:00Z".parse().unwrap()), ..TicketMemory::default() };
    fixture.jira.write_memory(&key(), &memory).await.unwrap();
    assert_eq!(fixture.jira.memory(&key()).await.unwrap(), memory);
    fixture.site.lock().unwrap().property = json!({"runs": "garbage"});
    assert_eq!(fixture.jira.memory(&key()).await.unwrap(), TicketMemory::default());
    let mut large = TicketMemory::default();
    large.other.insert("future".to_owned(), json!("x".repeat(40_000)));
    let error = fixture.jira.write_memory(&key(), &large).await.unwrap_err();
    assert!(error.to_string().contains("32768"), "{error}");
}

#[tokio::test]
async fn a_comment_is_created_once_and_updated_only_when_it_differs() {
    let fixture = Fixture::new(Site::default()).await;
    let other = CommentMarker::new("result", "2");
    let id = fixture.jira.upsert_comment(&key(), &marker(), "**one**").await.unwrap();
    fixture.jira.upsert_comment(&key(), &other, "two").await.unwrap();
    assert_eq!(fixture.jira.upsert_comment(&key(), &marker(), "**one**").await.unwrap(), id);
    assert_eq!(fixture.jira.upsert_comment(&key(), &marker(), "new").await.unwrap(), id);
    assert_eq!(fixture.texts(), ["new", "two"]);
    assert_eq!(
        fixture.writes(),
        ["POST issue/PROJ-1/comment", "POST issue/PROJ-1/comment", "PUT issue/PROJ-1/comment/1"]
    );
    let created = fixture.site.lock().unwrap().sent[0].clone();
    assert_eq!(created["properties"][0], json!({"key": "jira-agent", "value": {"marker": "result:1"}}));
    assert_eq!(created["properties"][1]["value"], json!({"internal": true}));
}

#[tokio::test]
async fn somebody_elses_comment_with_our_marker_is_left_alone() {
    let ours = json!([{"key": "jira-agent", "value": {"marker": "result:1"}}]);
    let fixture = Fixture::new(Site {
        comments: vec![comment(1, "mallory", &adf::from_markdown("mine"), &ours)],
        next_id: 1,
        ..Site::default()
    })
    .await;
    fixture.jira.upsert_comment(&key(), &marker(), "ours").await.unwrap();
    assert_eq!(fixture.texts(), ["mine", "ours"]);
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_not_written_twice() {
    for fault in [Fault::DoneThen502, Fault::DoneThenBroken, Fault::DoneThenHung] {
        let fixture = Fixture::new(Site { faults: [fault].into(), ..Site::default() }).await;
        fixture.jira.upsert_comment(&key(), &marker(), "one").await.unwrap();
        assert_eq!(fixture.writes(), ["POST issue/PROJ-1/comment"]);
        assert_eq!(fixture.texts(), ["one"]);
    }
}

#[tokio::test]
async fn a_comment_that_was_not_written_is_written_again() {
    let fixture = Fixture::new(Site { faults: [Fault::NotDone502].into(), ..Site::default() }).await;
    fixture.jira.upsert_comment(&key(), &marker(), "one").await.unwrap();
    assert_eq!(fixture.texts(), ["one"]);
}

#[tokio::test]
async fn writers_at_once_end_with_one_comment() {
    let fixture = Fixture::new(Site::default()).await;
    let writers: Vec<_> = (0..6)
        .map(|_| {
            let jira = fixture.jira.clone();
            tokio::spawn(async move { jira.upsert_comment(&key(), &marker(), "one").await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(fixture.texts(), ["one"]);
}

fn workflow() -> Value {
    json!([
        {"id": "11", "name": "Start", "to": {"name": "In Progress"}},
        {"id": "21", "name": "Send to QA", "to": {"name": "In Testing"}},
        {"id": "31", "name": "Close", "to": {"name": "Done"}, "fields": {
            "resolution": {"required": true, "hasDefaultValue": false, "name": "Resolution",
                "allowedValues": [{"id": "2", "name": "Won't do"}, {"id": "1", "name": "Fixed"}]},
            "customfield_7": {"required": true, "name": "Set already"}}},
        {"id": "41", "name": "Approve", "to": {"name": "Approved"}, "fields": {
            "customfield_8": {"required": true, "name": "Team"}, "summary": {"required": true, "name": "Summary"},
            "customfield_9": {"required": true, "hasDefaultValue": true, "name": "Defaulted"}}},
        {"id": "51", "name": "Check", "to": {"name": "Checked"}, "refuse": {"customfield_10": "Risk is required."}},
        {"id": "61", "name": "Hidden", "to": {"name": "Nowhere"}, "isAvailable": false},
    ])
}

async fn moved(wanted: &[&str], faults: &[Fault]) -> (MoveOutcome, Fixture) {
    let fixture = Fixture::new(Site {
        state: "To Do".to_owned(),
        transitions: workflow(),
        faults: faults.iter().copied().collect(),
        ..Site::default()
    })
    .await;
    let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    (fixture.jira.move_to(&key(), &wanted).await.unwrap(), fixture)
}

#[tokio::test]
async fn a_ticket_moves_by_state_transition_name_or_id() {
    for wanted in ["in testing", "SEND TO QA", "21"] {
        let (outcome, fixture) = moved(&["No such", wanted], &[]).await;
        assert_eq!(outcome, MoveOutcome::Moved { to: "In Testing".to_owned() }, "{wanted}");
        assert_eq!(fixture.site.lock().unwrap().state, "In Testing");
    }
}

#[tokio::test]
async fn a_ticket_that_is_there_is_not_moved() {
    let (outcome, fixture) = moved(&["to do"], &[]).await;
    assert_eq!(outcome, MoveOutcome::Already { state: "To Do".to_owned() });
    assert!(fixture.writes().is_empty());
}

#[tokio::test]
async fn an_unreachable_state_names_those_that_exist() {
    let (outcome, _) = moved(&["Nowhere"], &[]).await;
    let MoveOutcome::Unreachable { available } = outcome else { panic!("{outcome:?}") };
    assert_eq!(available, ["In Progress", "In Testing", "Done", "Approved", "Checked"]);
    let fixture = Fixture::new(Site { transitions: json!([]), ..Site::default() }).await;
    let outcome = fixture.jira.move_to(&key(), &["Done".to_owned()]).await.unwrap();
    assert_eq!(outcome, MoveOutcome::Unreachable { available: Vec::new() });
}

#[tokio::test]
async fn a_required_resolution_is_filled_and_fields_with_a_value_are_left() {
    let (outcome, fixture) = moved(&["Done"], &[]).await;
    assert_eq!(outcome, MoveOutcome::Moved { to: "Done".to_owned() });
    let sent = fixture.site.lock().unwrap().sent[0].clone();
    assert_eq!(sent, json!({"transition": {"id": "31"}, "fields": {"resolution": {"id": "1"}}}));
}

#[tokio::test]
async fn a_required_field_is_named_unless_another_wanted_state_needs_none() {
    let (outcome, _) = moved(&["Approved"], &[]).await;
    let needs = |transition: &str, field: &str| MoveOutcome::NeedsFields {
        transition: transition.to_owned(),
        fields: vec![field.to_owned()],
    };
    assert_eq!(outcome, needs("Approve", "Team"));
    let (outcome, _) = moved(&["Approved", "In Testing"], &[]).await;
    assert_eq!(outcome, MoveOutcome::Moved { to: "In Testing".to_owned() });
    let (outcome, _) = moved(&["Checked"], &[]).await;
    assert_eq!(outcome, needs("Check", "customfield_10"));
}

#[tokio::test]
async fn a_move_whose_answer_was_lost_is_read_before_it_is_repeated() {
    for (fault, writes) in [(Fault::DoneThen502, 1), (Fault::DoneThenBroken, 1), (Fault::NotDone502, 2)] {
        let (outcome, fixture) = moved(&["In Testing"], &[fault]).await;
        assert_eq!(outcome, MoveOutcome::Moved { to: "In Testing".to_owned() });
        assert_eq!(fixture.writes().len(), writes);
    }
}

#[tokio::test]
async fn labels_assignee_links_search_and_time_speak_the_api() {
    let fixture = Fixture::new(Site::default()).await;
    let jira = &fixture.jira;
    jira.add_labels(&key(), &["ai-done"]).await.unwrap();
    jira.remove_labels(&key(), &["ai", "x"]).await.unwrap();
    jira.add_labels(&key(), &[]).await.unwrap();
    jira.assign(&key(), &"ann".parse().unwrap()).await.unwrap();
    let link = RemoteLink {
        global_id: "jira-agent=pr:acme/shop#7".to_owned(),
        url: "https://github.test/acme/shop/pull/7".to_owned(),
        title: "t".repeat(300),
        summary: "s".to_owned(),
        resolved: false,
    };
    jira.upsert_remote_link(&key(), &link).await.unwrap();
    let sent = fixture.site.lock().unwrap().sent.clone();
    assert_eq!(sent[0], json!({"update": {"labels": [{"add": "ai-done"}]}}));
    assert_eq!(sent[1], json!({"update": {"labels": [{"remove": "ai"}, {"remove": "x"}]}}));
    assert_eq!(sent[2], json!({"accountId": "ann"}));
    assert_eq!(sent[3]["object"]["title"].as_str().unwrap().len(), 255);
    let found = jira.search("project = PROJ", 50).await.unwrap();
    assert_eq!(found.iter().map(|issue| issue.key.to_string()).collect::<Vec<_>>(), ["PROJ-1", "PROJ-2"]);
    assert_eq!(jira.search("project = PROJ", 1).await.unwrap().len(), 1);
    let apart = jira.server_time().await.unwrap().duration_since(Timestamp::now());
    assert!(apart.abs() < jiff::SignedDuration::from_secs(5), "{apart}");
    assert_eq!(jira.myself().await.unwrap().account.as_str(), BOT);
}

async fn error_of(status: u16, headers: Vec<(&'static str, String)>, body: Value) -> JiraError {
    let url = serve(move |_| Answer::Plain(status, headers.clone(), body.clone())).await;
    client(&url).write_memory(&key(), &TicketMemory::default()).await.unwrap_err()
}

#[tokio::test]
async fn every_refusal_says_what_to_do_and_none_shows_the_token() {
    let message = |text: &str| json!({"errorMessages": [text]});
    let cases = [
        (401, vec![], Value::Null, "jira.api_url", false),
        (403, vec![], message("No."), "Edit issues (scope write:jira-work): No.", false),
        (404, vec![], message("gone"), "the property jira-agent of PROJ-1 is not in Jira", false),
        (400, vec![], json!({"errors": {"labels": "is odd"}}), "labels: is odd", false),
        (410, vec![], message("The requested API has been removed."), "has been removed", false),
        (
            302,
            vec![("location", "https://login.test/sso?t=1".to_owned())],
            Value::Null,
            "https://login.test/sso;",
            false,
        ),
        (429, vec![("retry-after", "120".to_owned())], Value::Null, "does not answer as it should", true),
    ];
    for (status, headers, body, part, transient) in cases {
        let error = error_of(status, headers, body).await;
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(part), "{status}: {shown}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("Ym90"), "{shown}");
        assert_eq!(error.is_transient(), transient, "{status}");
        let wait = (status == 429).then_some(Duration::from_secs(120));
        assert_eq!(error.retry_after(), wait);
    }
}

#[tokio::test]
async fn a_page_that_is_not_the_api_is_named() {
    let url =
        serve(|_| Answer::Plain(200, vec![("content-type", "text/html".to_owned())], json!("<html>"))).await;
    let error = client(&url).issue(&key()).await.unwrap_err().to_string();
    assert!(error.contains("text/html") && error.contains("jira.url"), "{error}");
}

#[tokio::test]
async fn a_short_rate_limit_is_waited_out() {
    let count = Arc::new(Mutex::new(0));
    let url = serve(move |_| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count == 1 {
            return Answer::Plain(429, vec![("retry-after", "1".to_owned())], Value::Null);
        }
        answer(200, json!({"accountId": BOT}))
    })
    .await;
    assert_eq!(client(&url).myself().await.unwrap().account.as_str(), BOT);
}
