use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::domain::{BranchName, CancelRequest, CommentMarker, TicketMemory};
use crate::testing::{Answer, Asked, http, json as answer, serve};

const SHA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// What happens to a write besides, or instead of, its being done.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    DoneThen502,
    DoneThenBroken,
    NotDone502,
    DoneThenHung,
}

/// One repository with one issue, enough for these tests.
#[derive(Default)]
struct Host {
    comments: Vec<Value>,
    pulls: Vec<Value>,
    next_id: u64,
    no_drafts: bool,
    unknown_head: u32,
    no_commits: bool,
    faults: VecDeque<Fault>,
    writes: Vec<String>,
    sent: Vec<Value>,
}

impl Host {
    fn answer(&mut self, asked: &Asked) -> Answer {
        assert_eq!(asked.headers["authorization"], "Bearer ghp_s3cr3t");
        assert_eq!(asked.headers["accept"], "application/vnd.github+json");
        assert_eq!(asked.headers["x-github-api-version"], "2022-11-28");
        let path = asked.path.strip_prefix("/api/v3/").expect("the API's path");
        if asked.method == "GET" {
            return self.route(asked, path);
        }
        self.writes.push(format!("{} {path}", asked.method));
        self.sent.push(asked.body.clone());
        let fault = self.faults.pop_front();
        if fault == Some(Fault::NotDone502) {
            return answer(502, Value::Null);
        }
        let done = self.route(asked, path);
        match fault {
            Some(Fault::DoneThen502) => answer(502, Value::Null),
            Some(Fault::DoneThenBroken) => Answer::Broken,
            Some(Fault::DoneThenHung) => Answer::Hung,
            _ => done,
        }
    }

    fn route(&mut self, asked: &Asked, path: &str) -> Answer {
        let parts: Vec<&str> = path.split('/').collect();
        let ["repos", "acme", "shop", rest @ ..] = parts.as_slice() else {
            return match path {
                "user" => answer(200, json!({"login": "Bot"})),
                _ => missing(),
            };
        };
        match (asked.method.as_str(), rest) {
            ("GET", ["issues", "7"]) => answer(200, issue()),
            ("GET", ["issues", "8"]) => answer(200, json!({"number": 8, "pull_request": {"url": "x"}})),
            ("GET", ["issues", "9"]) => {
                answer(200, json!({"number": 3, "html_url": "https://github.test/a/b/issues/3"}))
            }
            ("GET", ["issues", "7", "comments"]) => self.page(asked),
            ("POST", ["issues", "7", "comments"]) => {
                self.next_id += 1;
                let comment = comment(self.next_id, Some("bot"), asked.body["body"].as_str().unwrap());
                self.comments.push(comment.clone());
                answer(201, comment)
            }
            ("PATCH", ["issues", "comments", id]) => match self.comment(id) {
                Some(at) => {
                    // GitHub's editor writes CR LF; the client must not mind.
                    let body = asked.body["body"].as_str().unwrap().replace('\n', "\r\n");
                    self.comments[at]["body"] = json!(body);
                    answer(200, self.comments[at].clone())
                }
                None => missing(),
            },
            ("DELETE", ["issues", "comments", id]) => match self.comment(id) {
                Some(at) => {
                    self.comments.remove(at);
                    answer(204, Value::Null)
                }
                None => missing(),
            },
            ("POST", ["issues", "7", "labels"]) => answer(200, json!([])),
            ("GET", ["pulls"]) => self.list(asked),
            ("POST", ["pulls"]) => self.open(asked),
            ("GET", ["pulls", _]) => answer(200, self.pulls[0].clone()),
            ("PATCH", ["pulls", _]) => {
                self.pulls[0]["title"] = asked.body["title"].clone();
                self.pulls[0]["body"] = asked.body["body"].clone();
                answer(200, self.pulls[0].clone())
            }
            ("POST", ["pulls", "1", "requested_reviewers"]) => {
                let list = |name: &str| asked.body[name].as_array().unwrap().clone();
                let refused = list("reviewers").contains(&json!("stranger"))
                    || list("team_reviewers").contains(&json!("none"));
                let message = "Reviews may only be requested from collaborators.";
                if refused { answer(422, json!({"message": message})) } else { answer(201, json!({})) }
            }
            ("GET", ["branches", name]) => match *name {
                "ai%2FPROJ-1" => answer(200, json!({"name": "ai/PROJ-1", "commit": {"sha": SHA}})),
                "old" => answer(200, json!({"name": "new", "commit": {"sha": SHA}})),
                _ => missing(),
            },
            ("GET", ["contents", ".github", "a%20b.md"]) if asked.query("ref") == "main" => {
                answer(200, json!({"type": "file", "encoding": "base64", "content": "SGVs\nbG8=\n"}))
            }
            ("GET", ["contents", "docs"]) => answer(200, json!([{"type": "file"}])),
            ("GET", ["collaborators", user, "permission"]) => match *user {
                "ann" => answer(200, json!({"permission": "write", "role_name": "maintain"})),
                "eve" => answer(200, json!({"permission": "read"})),
                _ => missing(),
            },
            ("GET", []) => answer(
                200,
                json!({"full_name": "acme/shop", "default_branch": "main", "html_url": "https://github.test/acme/shop",
                    "archived": true, "private": true, "permissions": {"push": true}, "size": 120}),
            ),
            _ => missing(),
        }
    }

    fn comment(&self, id: &str) -> Option<usize> {
        self.comments.iter().position(|comment| comment["id"].as_u64() == id.parse().ok())
    }

    /// Two comments a page, whatever is asked.
    fn page(&self, asked: &Asked) -> Answer {
        let page: usize = asked.query("page").parse().unwrap();
        let chunk: Vec<Value> = self.comments.iter().skip((page - 1) * 2).take(2).cloned().collect();
        let more = self.comments.len() > page * 2;
        let link = if more { "<https://x>; rel=\"next\"" } else { "<https://x>; rel=\"first\"" };
        Answer::Plain(200, vec![("link", link.to_owned())], json!(chunk))
    }

    fn list(&self, asked: &Asked) -> Answer {
        let open = asked.query("state") == "open";
        let fits = |pull: &&Value| {
            asked.query("head") == format!("acme:{}", pull["head"]["ref"].as_str().unwrap())
                && (!open || pull["state"] == "open")
        };
        answer(200, self.pulls.iter().filter(fits).cloned().collect())
    }

    fn open(&mut self, asked: &Asked) -> Answer {
        let (head, draft) = (asked.body["head"].as_str().unwrap(), asked.body["draft"] == true);
        let refuse = |errors: Value| answer(422, json!({"message": "Validation Failed", "errors": errors}));
        if self.unknown_head > 0 {
            self.unknown_head -= 1;
            return refuse(json!([{"resource": "PullRequest", "field": "head", "code": "invalid"}]));
        }
        if self.no_commits {
            return refuse(json!([{"code": "custom", "message": "No commits between main and ai/PROJ-1"}]));
        }
        if self.no_drafts && draft {
            return answer(
                422,
                json!({"message": "Draft pull requests are not supported in this repository."}),
            );
        }
        if self.pulls.iter().any(|pull| pull["head"]["ref"] == head && pull["state"] == "open") {
            return refuse(
                json!([{"code": "custom", "message": "A pull request already exists for acme:ai/PROJ-1."}]),
            );
        }
        let number = self.pulls.len() as u64 + 1;
        let mut pull = pull(number, "open");
        pull["title"] = asked.body["title"].clone();
        pull["body"] = asked.body["body"].clone();
        pull["draft"] = json!(draft);
        self.pulls.push(pull.clone());
        answer(201, pull)
    }
}

fn missing() -> Answer {
    answer(404, json!({"message": "Not Found"}))
}

fn issue() -> Value {
    json!({
        "number": 7, "html_url": "https://github.test/acme/shop/issues/7", "title": "Total is wrong", "body": null,
        "state": "open", "labels": [{"name": "ai"}, "plain"], "assignees": [{"login": "ann"}], "user": null,
        "type": {"name": "Bug"}, "updated_at": "2026-01-30T12:00:00Z",
    })
}

fn comment(id: u64, login: Option<&str>, body: &str) -> Value {
    json!({
        "id": id, "user": login.map(|login| json!({"login": login, "gravatar_id": null})), "body": body,
        "created_at": "2026-01-30T12:00:00Z", "updated_at": "2026-01-30T12:00:00Z",
    })
}

fn pull(number: u64, state: &str) -> Value {
    json!({
        "number": number, "html_url": format!("https://github.test/acme/shop/pull/{number}"), "title": "t", "body": "b",
        "state": state, "draft": false, "merged_at": null, "user": {"login": "bot"}, "labels": [{"name": "ai-agent"}],
        "head": {"ref": "ai/PROJ-1", "sha": SHA, "repo": {"full_name": "acme/shop"}},
        "base": {"ref": "main", "sha": SHA, "repo": {"full_name": "Acme/Shop"}},
    })
}

struct Fixture {
    host: Arc<Mutex<Host>>,
    github: GitHub,
}

impl Fixture {
    async fn new(host: Host) -> Self {
        let host = Arc::new(Mutex::new(host));
        let served = Arc::clone(&host);
        let url = serve(move |asked| served.lock().unwrap().answer(&asked)).await;
        Self { host, github: client(url.join("/api/v3").unwrap()) }
    }

    fn bodies(&self) -> Vec<String> {
        let host = self.host.lock().unwrap();
        host.comments.iter().map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
    }

    fn writes(&self) -> Vec<String> {
        self.host.lock().unwrap().writes.clone()
    }
}

fn client(api_url: Url) -> GitHub {
    let config = GitHubConfig {
        url: "https://github.test".parse().unwrap(),
        api_url,
        token: Secret::new("ghp_s3cr3t"),
        reviewers: Vec::new(),
        team_reviewers: Vec::new(),
        trigger_label: "ai".to_owned(),
    };
    GitHub::new(&config, http())
}

fn shop() -> RepoSlug {
    "acme/shop".parse().unwrap()
}

fn branch() -> BranchName {
    "ai/PROJ-1".parse().unwrap()
}

fn marker() -> CommentMarker {
    CommentMarker::new("result", "1")
}

#[tokio::test]
async fn an_issue_is_a_ticket_with_all_comments_of_people_and_ghosts_without_ours() {
    let fixture = Fixture::new(Host {
        comments: vec![
            comment(1, Some("ann"), "first\r\nline"),
            comment(2, Some("bot"), "<!-- jira-agent:result:1 -->\nours"),
            comment(3, None, "a ghost's"),
            comment(4, Some("bot"), "by a person who lends their token"),
            comment(5, Some("eve"), "<!-- jira-agent:result:1 -->\nforged"),
        ],
        ..Host::default()
    })
    .await;
    let IssueOutcome::Ticket(ticket) = fixture.github.issue(&shop(), 7).await.unwrap() else {
        panic!("not a ticket");
    };
    assert_eq!(
        (ticket.description.as_str(), ticket.kind.as_str(), ticket.status.as_str()),
        ("", "Bug", "open")
    );
    assert_eq!((ticket.labels.join(","), ticket.reporter), ("ai,plain".to_owned(), None));
    assert_eq!(ticket.assignees[0].as_str(), "ann");
    let comments: Vec<(&str, &str)> =
        ticket.comments.iter().map(|comment| (comment.author_name.as_str(), comment.body.as_str())).collect();
    assert_eq!(
        comments,
        [
            ("ann", "first\nline"),
            ("ghost", "a ghost's"),
            ("bot", "by a person who lends their token"),
            ("eve", "<!-- jira-agent:result:1 -->\nforged"),
        ]
    );
}

#[tokio::test]
async fn the_number_of_a_pull_request_and_a_transferred_issue_are_told() {
    let fixture = Fixture::new(Host::default()).await;
    let outcome = fixture.github.issue(&shop(), 8).await.unwrap();
    assert!(matches!(outcome, IssueOutcome::IsPullRequest));
    let error = fixture.github.issue(&shop(), 9).await.unwrap_err().to_string();
    assert!(error.contains("moved to https://github.test/a/b/issues/3"), "{error}");
}

#[tokio::test]
async fn memory_lives_beside_the_reports_and_survives_edits_by_people() {
    let fixture = Fixture::new(Host::default()).await;
    let github = &fixture.github;
    assert_eq!(github.memory(&shop(), 7).await.unwrap(), TicketMemory::default());
    github.upsert_comment(&shop(), 7, &marker(), "report").await.unwrap();
    let mut memory = TicketMemory::default();
    memory.other.insert("odd".to_owned(), json!("--> <b>"));
    github.write_memory(&shop(), 7, &memory).await.unwrap();
    github.upsert_comment(&shop(), 7, &marker(), "report again").await.unwrap();
    assert_eq!(github.memory(&shop(), 7).await.unwrap(), memory);
    let IssueOutcome::Ticket(ticket) = github.issue(&shop(), 7).await.unwrap() else {
        panic!("not a ticket")
    };
    assert_eq!((ticket.memory, ticket.comments.len()), (memory.clone(), 0));
    memory.watermark = Some("2026-01-30T12:00:00Z".parse().unwrap());
    github.write_memory(&shop(), 7, &memory).await.unwrap();
    assert_eq!(github.memory(&shop(), 7).await.unwrap(), memory);
    assert_eq!(fixture.bodies().len(), 2);
    fixture.host.lock().unwrap().comments[1]["body"] = json!("<!-- jira-agent:memory:0 -->\nI broke it");
    assert_eq!(github.memory(&shop(), 7).await.unwrap(), TicketMemory::default());
    github.write_memory(&shop(), 7, &memory).await.unwrap();
    assert_eq!(github.memory(&shop(), 7).await.unwrap(), memory);
}

#[tokio::test]
async fn a_cancel_request_is_a_comment_of_its_own_and_the_newest_stands() {
    let fixture = Fixture::new(Host::default()).await;
    let github = &fixture.github;
    let cancel =
        |by: &str| CancelRequest { by: by.parse().unwrap(), at: "2026-01-30T12:00:00Z".parse().unwrap() };
    github.write_memory(&shop(), 7, &TicketMemory::default()).await.unwrap();
    github.request_cancel(&shop(), 7, &cancel("ann")).await.unwrap();
    github.request_cancel(&shop(), 7, &cancel("b`en")).await.unwrap();
    github.write_memory(&shop(), 7, &TicketMemory::default()).await.unwrap();
    let bodies = fixture.bodies();
    assert_eq!(bodies.len(), 2, "{bodies:?}");
    assert!(
        bodies[1].ends_with(
            "`b'en` asked jira-agent at 2026-01-30 12:00:00 UTC to stop what was asked for until \
        then on this issue."
        ),
        "{bodies:?}"
    );
    assert_eq!(github.memory(&shop(), 7).await.unwrap().cancel, Some(cancel("b`en")));
    let IssueOutcome::Ticket(ticket) = github.issue(&shop(), 7).await.unwrap() else {
        panic!("not a ticket")
    };
    assert_eq!((ticket.memory.cancel, ticket.comments.len()), (Some(cancel("b`en")), 0));
    let own = ["memory", "cancel"].map(|kind| CommentMarker::new(kind, "0"));
    assert_eq!(ticket.own_comments, own);
    fixture.host.lock().unwrap().comments[1]["body"] = json!("<!-- jira-agent:cancel:0 -->\nI broke it");
    assert_eq!(github.memory(&shop(), 7).await.unwrap().cancel, None);
}

#[tokio::test]
async fn a_comment_is_created_once_and_updated_only_when_it_differs() {
    let fixture = Fixture::new(Host {
        comments: vec![comment(1, Some("eve"), "<!-- jira-agent:result:1 -->\nforged")],
        next_id: 1,
        ..Host::default()
    })
    .await;
    let github = &fixture.github;
    let id = github.upsert_comment(&shop(), 7, &marker(), "one\ntwo").await.unwrap();
    github.upsert_comment(&shop(), 7, &marker(), "one\ntwo").await.unwrap();
    github.upsert_comment(&shop(), 7, &marker(), "new\ntext").await.unwrap();
    assert_eq!(github.upsert_comment(&shop(), 7, &marker(), "new\ntext").await.unwrap(), id);
    assert_eq!(
        fixture.writes(),
        ["POST repos/acme/shop/issues/7/comments", "PATCH repos/acme/shop/issues/comments/2"]
    );
    assert_eq!(
        fixture.bodies(),
        ["<!-- jira-agent:result:1 -->\nforged", "<!-- jira-agent:result:1 -->\r\nnew\r\ntext"]
    );
}

#[tokio::test]
async fn a_comment_whose_answer_was_lost_is_not_written_twice() {
    for (fault, writes) in [
        (Fault::DoneThen502, 1),
        (Fault::DoneThenBroken, 1),
        (Fault::DoneThenHung, 1),
        (Fault::NotDone502, 2),
    ] {
        let fixture = Fixture::new(Host { faults: [fault].into(), ..Host::default() }).await;
        fixture.github.upsert_comment(&shop(), 7, &marker(), "one").await.unwrap();
        assert_eq!((fixture.writes().len(), fixture.bodies().len()), (writes, 1));
    }
}

#[tokio::test]
async fn writers_at_once_end_with_one_comment() {
    let fixture = Fixture::new(Host::default()).await;
    let writers: Vec<_> = (0..6)
        .map(|_| {
            let github = fixture.github.clone();
            tokio::spawn(async move { github.upsert_comment(&shop(), 7, &marker(), "one").await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(fixture.bodies().len(), 1);
}

fn new_pull(draft: bool) -> NewPull {
    NewPull {
        title: "PROJ-1: Mend the total".to_owned(),
        body: "body".to_owned(),
        head: branch(),
        base: "main".parse().unwrap(),
        draft,
    }
}

#[tokio::test]
async fn a_pull_request_is_opened_once_and_then_found() {
    let fixture = Fixture::new(Host { pulls: vec![pull(1, "closed")], ..Host::default() }).await;
    let outcome = fixture.github.open_pull(&shop(), &new_pull(true)).await.unwrap();
    assert!(matches!(&outcome, PullOutcome::Opened(pull) if pull.draft && pull.number == 2), "{outcome:?}");
    let outcome = fixture.github.open_pull(&shop(), &new_pull(true)).await.unwrap();
    assert!(matches!(&outcome, PullOutcome::Found(pull) if pull.number == 2), "{outcome:?}");
    assert_eq!(fixture.writes(), ["POST repos/acme/shop/pulls"]);
    let base = |name: &str| Some(name.parse().unwrap());
    assert!(fixture.github.find_pull(&shop(), &branch(), base("main").as_ref()).await.unwrap().is_some());
    assert!(fixture.github.find_pull(&shop(), &branch(), base("other").as_ref()).await.unwrap().is_none());
}

#[tokio::test]
async fn two_openers_at_once_end_with_one_pull_request() {
    let fixture = Fixture::new(Host::default()).await;
    let openers: Vec<_> = (0..4)
        .map(|_| {
            let github = fixture.github.clone();
            tokio::spawn(async move { github.open_pull(&shop(), &new_pull(false)).await })
        })
        .collect();
    for opener in openers {
        assert_eq!(opener.await.unwrap().unwrap().pull().number, 1);
    }
    assert_eq!(fixture.host.lock().unwrap().pulls.len(), 1);
}

#[tokio::test]
async fn a_pull_request_whose_answer_was_lost_is_not_opened_twice() {
    for fault in [Fault::DoneThen502, Fault::DoneThenBroken, Fault::DoneThenHung, Fault::NotDone502] {
        let fixture = Fixture::new(Host { faults: [fault].into(), ..Host::default() }).await;
        let outcome = fixture.github.open_pull(&shop(), &new_pull(false)).await.unwrap();
        assert!(matches!(outcome, PullOutcome::Opened(_)));
        assert_eq!(fixture.host.lock().unwrap().pulls.len(), 1);
    }
}

#[tokio::test]
async fn where_drafts_are_not_to_be_had_a_plain_one_is_opened_and_says_so() {
    let fixture = Fixture::new(Host { no_drafts: true, ..Host::default() }).await;
    let outcome = fixture.github.open_pull(&shop(), &new_pull(true)).await.unwrap();
    assert!(matches!(outcome, PullOutcome::Opened(pull) if !pull.draft));
}

#[tokio::test]
async fn a_branch_that_github_does_not_know_yet_is_waited_for() {
    let fixture = Fixture::new(Host { unknown_head: 2, ..Host::default() }).await;
    fixture.github.open_pull(&shop(), &new_pull(false)).await.unwrap();
    assert_eq!(fixture.writes().len(), 3);
}

#[tokio::test]
async fn a_pull_request_without_commits_is_refused_with_githubs_words() {
    let fixture = Fixture::new(Host { no_commits: true, ..Host::default() }).await;
    let error = fixture.github.open_pull(&shop(), &new_pull(true)).await.unwrap_err();
    assert!(matches!(error, GitHubError::Invalid { .. }));
    assert!(error.to_string().contains("No commits between main and ai/PROJ-1"), "{error}");
    assert_eq!(fixture.writes().len(), 1);
}

#[tokio::test]
async fn the_latest_pull_request_tells_what_became_of_it_and_a_forks_does_not_count() {
    let mut merged = pull(2, "closed");
    merged["merged_at"] = json!("2026-01-30T12:00:00Z");
    let mut fork = pull(3, "open");
    fork["head"]["repo"]["full_name"] = json!("eve/shop");
    let fixture =
        Fixture::new(Host { pulls: vec![pull(1, "closed"), merged, fork], ..Host::default() }).await;
    let latest = fixture.github.latest_pull(&shop(), &branch()).await.unwrap().unwrap();
    assert_eq!((latest.number, latest.state), (2, PullState::Merged));
    assert_eq!(fixture.github.find_pull(&shop(), &branch(), None).await.unwrap(), None);
}

#[tokio::test]
async fn a_pull_request_is_changed_only_when_it_differs() {
    let mut existing = pull(1, "open");
    existing["body"] = json!("one\r\ntwo");
    let fixture = Fixture::new(Host { pulls: vec![existing], ..Host::default() }).await;
    fixture.github.update_pull(&shop(), 1, "t", "one\ntwo\n").await.unwrap();
    assert!(fixture.writes().is_empty());
    let pull = fixture.github.update_pull(&shop(), 1, "T", "one").await.unwrap();
    assert_eq!((pull.title.as_str(), pull.body.as_str()), ("T", "one"));
}

#[tokio::test]
async fn reviewers_who_cannot_review_do_not_spoil_the_others() {
    let fixture = Fixture::new(Host::default()).await;
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let ask = |users: Vec<String>, teams: Vec<String>| {
        let github = fixture.github.clone();
        async move { github.request_reviewers(&shop(), 1, &users, &teams).await.unwrap() }
    };
    let outcome = ask(names(&["ann", "stranger"]), names(&["core", "none"])).await;
    assert_eq!(outcome.requested, ["ann", "core"]);
    assert_eq!(outcome.refused, ["stranger", "none"]);
    assert_eq!(ask(names(&["ann"]), vec![]).await.requested, ["ann"]);
    assert_eq!(ask(names(&["stranger"]), vec![]).await.refused, ["stranger"]);
    let before = fixture.writes().len();
    assert_eq!(ask(vec![], vec![]).await, ReviewersOutcome::default());
    assert_eq!(fixture.writes().len(), before);
}

#[tokio::test]
async fn repositories_permissions_branches_files_and_labels_speak_the_api() {
    let fixture = Fixture::new(Host::default()).await;
    let github = &fixture.github;
    let repository = github.repository(&shop()).await.unwrap();
    assert_eq!(
        (repository.default_branch.as_str(), repository.archived, repository.may_push),
        ("main", true, Some(true))
    );
    let may = async |name: &str| github.permission(&shop(), &name.parse().unwrap()).await.unwrap();
    assert_eq!(may("ann").await, Permission::Write);
    assert_eq!((may("eve").await, may("nobody").await), (Permission::Read, Permission::None));
    assert!(Permission::Write > Permission::Read);
    assert_eq!(github.branch(&shop(), &branch()).await.unwrap().unwrap().as_str(), SHA);
    for other in ["old", "gone"] {
        assert_eq!(github.branch(&shop(), &other.parse().unwrap()).await.unwrap(), None);
    }
    let file = github.file(&shop(), ".github/a b.md", "main").await.unwrap();
    assert_eq!(file.as_deref(), Some("Hello"));
    assert_eq!(github.file(&shop(), "docs", "main").await.unwrap(), None);
    assert_eq!(github.file(&shop(), "gone.md", "main").await.unwrap(), None);
    github.add_labels(&shop(), 7, &["ai-agent"]).await.unwrap();
    github.remove_label(&shop(), 7, "a/b c").await.unwrap();
    assert_eq!(
        fixture.writes(),
        ["POST repos/acme/shop/issues/7/labels", "DELETE repos/acme/shop/issues/7/labels/a%2Fb%20c"]
    );
    assert_eq!(github.user().await.unwrap().as_str(), "Bot");
    assert_eq!(github.token(&shop()).await.unwrap().expose(), "ghp_s3cr3t");
}

/// Answers each path of a table with a redirect, anything else with a repository.
async fn redirecting(table: &[(&str, u16, &str)]) -> GitHub {
    let table: BTreeMap<String, (u16, String)> = table
        .iter()
        .map(|(path, status, location)| ((*path).to_owned(), (*status, (*location).to_owned())))
        .collect();
    let url = serve(move |asked| match table.get(&asked.path) {
        Some((status, location)) => Answer::Plain(*status, vec![("location", location.clone())], Value::Null),
        None => {
            assert_eq!(asked.headers["authorization"], "Bearer ghp_s3cr3t");
            let name = format!("acme/{}", asked.query("ref").len());
            answer(200, json!({"full_name": name, "default_branch": "main", "type": "file", "encoding": "base64", "content": ""}))
        }
    })
    .await;
    client(url)
}

#[tokio::test]
async fn a_renamed_repository_is_followed_with_its_query() {
    for status in [301, 307, 308] {
        let github = redirecting(&[("/repos/acme/shop", status, "/repositories/1")]).await;
        assert_eq!(github.repository(&shop()).await.unwrap().slug.to_string(), "acme/0");
    }
    let github = redirecting(&[("/repos/acme/shop/contents/x", 301, "/repositories/1/contents/x")]).await;
    assert!(github.file(&shop(), "x", "main").await.unwrap().is_some());
}

#[tokio::test]
async fn a_write_is_followed_only_where_the_same_request_is_asked_for() {
    let labels = "/repos/acme/shop/issues/7/labels";
    for status in [307, 308] {
        let github = redirecting(&[(labels, status, "/repositories/1/issues/7/labels")]).await;
        github.add_labels(&shop(), 7, &["x"]).await.unwrap();
    }
    for (status, location) in [(301, "/repositories/1/issues/7/labels"), (307, "https://evil.test/labels")] {
        let github = redirecting(&[(labels, status, location)]).await;
        let error = github.add_labels(&shop(), 7, &["x"]).await.unwrap_err().to_string();
        assert!(error.contains("configured routes"), "{error}");
    }
}

#[tokio::test]
async fn no_redirect_leads_to_another_host_or_in_circles() {
    let part = |error: GitHubError, part: &str| {
        let error = error.to_string();
        assert!(error.contains(part), "{error}");
    };
    let github = redirecting(&[("/repos/acme/shop", 301, "https://evil.test/x?token=1")]).await;
    part(github.repository(&shop()).await.unwrap_err(), "moved to https://evil.test/x;");
    let github = redirecting(&[("/repos/acme/shop", 301, "/repos/acme/shop")]).await;
    part(github.repository(&shop()).await.unwrap_err(), "more than 3 redirects");
    let github = redirecting(&[("/repos/acme/shop", 302, "/login")]).await;
    part(github.repository(&shop()).await.unwrap_err(), "moved to");
}

#[tokio::test]
async fn every_refusal_says_what_to_do_and_none_shows_the_token() {
    let message = |text: &str| json!({"message": text});
    let seconds = |header| vec![(header, "120".to_owned())];
    let cases = [
        (401, vec![], message("Bad credentials"), "check github.token", None),
        (
            403,
            vec![],
            message("Resource not accessible by personal access token"),
            "Issues: write: Resource not",
            None,
        ),
        (404, vec![], message("Not Found"), "the labels of #7 of acme/shop is not on GitHub", None),
        (422, vec![], json!({"errors": [{"field": "name", "code": "too_long"}]}), "name too_long", None),
        (403, seconds("retry-after"), message("secondary rate limit"), "does not answer", Some(120)),
        (403, vec![], message("You have exceeded a secondary rate limit."), "does not answer", Some(60)),
        (429, vec![], Value::Null, "does not answer", Some(60)),
    ];
    for (status, headers, body, part, wait) in cases {
        let url = serve(move |_| Answer::Plain(status, headers.clone(), body.clone())).await;
        let error = client(url).add_labels(&shop(), 7, &["x"]).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(part) && !shown.contains("ghp_s3cr3t"), "{status}: {shown}");
        assert_eq!(error.retry_after(), wait.map(Duration::from_secs), "{status}");
        assert_eq!(error.is_transient(), wait.is_some());
    }
}
