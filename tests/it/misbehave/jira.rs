//! Jira that limits, loses answers, refuses, or holds what nobody expected.

use jiff::{SignedDuration, Timestamp};
use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::github_glue::TOKEN;
use jira_agent_simulator::jira::{
    BURST, Category, CommentSeed, IssueSeed, Jira, PER_ISSUE_WRITES, Status, Transition, Workflow,
    rate_limited,
};
use jira_agent_simulator::models::{Reply, Rule};
use jira_agent_simulator::service::Service;
use serde_json::{Value, json};

use super::{DEAD, RUN, Taken, lost, once, requests, was_asked};
use crate::world::{NEEDED, REPLY, REPORTER, REPOSITORY, REVIEWER, TICKET, World, ticket};

/// See [`super::ends_well_after`].
async fn ends_well_after(method: &str, path: &str, action: Action, expected: usize) {
    super::ends_well_after(Service::Jira, method, path, action, expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_ends_soon_is_waited_for_inside_the_request() {
    let limit = Action::Status(rate_limited(PER_ISSUE_WRITES, Some(1)));
    ends_well_after("POST", "/comment$", limit, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_503_that_says_when_to_come_back_is_waited_for_inside_the_request() {
    let busy = Action::Status(Answer::new(503).header("retry-after", "1"));
    ends_well_after("GET", "fields=summary", busy, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_503_without_a_time_is_tried_again_inside_the_request() {
    ends_well_after("GET", "fields=summary", Action::Status(Answer::new(503)), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_asks_for_a_wait_of_nothing_is_not_hammered() {
    let world = World::new().await;
    let limit = Action::Status(rate_limited(BURST, Some(0)));
    world.simulator.faults().add(Fault::new("fields=summary", limit).unwrap().always());
    world.publish(TICKET).await;
    world.work_once().await;
    let count = requests(&world, "GET", "fields=summary");
    assert!((2..40).contains(&count), "{count} requests within the budget of one");
    world.simulator.faults().end_all();
    let waiting = Taken::from(&world, "agent-tasks.retry.30s").await;
    assert_eq!(waiting.attempt(), 1);
    waiting.again(&world).await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_longer_limit_puts_the_task_on_the_tier_that_covers_it_without_using_an_attempt() {
    let world = World::new().await;
    let reset = Timestamp::now() + SignedDuration::from_mins(8);
    let limited = |code: u16, header: &str, value: &str| Answer::new(code).header(header, value);
    let answers = [
        (rate_limited(BURST, Some(45)), "agent-tasks.retry.2m", "asks to wait 45 s"),
        (Answer::new(429), "agent-tasks.retry.30s", "asks to wait 10 s"),
        (limited(429, "x-ratelimit-reset", &reset.to_string()), "agent-tasks.retry.10m", "asks to wait 4"),
        (limited(503, "retry-after", "1200"), "agent-tasks.retry.1h", "asks to wait 1200 s"),
    ];
    world.publish(TICKET).await;
    for (answer, tier, reason) in answers {
        once(&world, Service::Jira, "GET", "fields=summary", Action::Status(answer));
        world.work_once().await;
        let waiting = Taken::from(&world, tier).await;
        assert_eq!(waiting.attempt(), 1, "{tier}");
        waiting.assert_reason(&[reason]);
        world.broker.publish(&waiting.body, waiting.properties).await;
    }
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(requests(&world, "GET", "fields=summary"), 5, "no limit was tried again inside a request");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_was_written_before_a_502_is_not_written_again() {
    ends_well_after("POST", "/comment$", lost(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_was_written_before_the_connection_broke_is_not_written_again() {
    ends_well_after("POST", "/comment$", Action::DropAfter, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_was_written_and_never_answered_is_not_written_again() {
    ends_well_after("POST", "/comment$", Action::HangAfter, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comment_that_a_502_kept_from_being_written_is_written() {
    ends_well_after("POST", "/comment$", Action::Status(Answer::new(502)), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_was_made_before_a_502_is_not_made_again() {
    ends_well_after("POST", "/transitions$", lost(), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_a_broken_connection_kept_from_being_made_is_made() {
    ends_well_after("POST", "/transitions$", Action::DropBefore, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assignment_that_was_made_before_a_502_is_made_again_and_changes_nothing() {
    ends_well_after("PUT", "/assignee$", lost(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_was_made_before_a_502_is_made_again_and_stays_one() {
    ends_well_after("POST", "/remotelink$", lost(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_that_was_written_before_a_502_is_written_again() {
    ends_well_after("PUT", "/properties/jira-agent$", lost(), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    ends_well_after("GET", "fields=summary", Action::TruncateBody(40), 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_dead_letters_with_the_setting_to_mend_and_says_that_the_ticket_was_not_told() {
    let world = World::new().await;
    world.simulator.jira().set_credentials(Jira::EMAIL, "another");
    world.publish(TICKET).await;
    world.work_once().await;
    let dead = Taken::from(&world, DEAD).await;
    assert_eq!(dead.attempt(), 1);
    dead.assert_reason(&["check jira.email and jira.token", "the ticket could not be told"]);
    let paths: Vec<String> =
        world.simulator.journal().entries().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths.len(), 3, "the ticket, its marker, and the own account for the comment: {paths:?}");
    assert_eq!(world.comments(), Vec::<String>::new());

    world.simulator.jira().set_credentials(Jira::EMAIL, Jira::TOKEN);
    dead.again(&world).await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_after_the_pull_request_leaves_a_task_that_a_replay_completes() {
    let world = World::new().await;
    // What a run asks Jira once the pull request is there: the ticket's state, and who it is to find its comments.
    for path in ["fields=status", "/myself$"] {
        let expired = Action::Status(Answer::new(401).body(r#"{"message":"Unauthorized"}"#));
        world.simulator.faults().add(Fault::new(path, expired).unwrap().always());
    }
    world.publish(&format!(r#"{{"task_id": "{RUN}", "issue_id": "{TICKET}"}}"#)).await;
    world.work_once().await;
    let dead = Taken::from(&world, DEAD).await;
    dead.assert_reason(&["check jira.email and jira.token", "the ticket could not be told"]);
    assert_eq!(world.pulls().len(), 1);
    assert_eq!(world.issue().status, "To Do");

    world.simulator.faults().end_all();
    assert!(dead.body.contains(RUN), "the same run: {}", dead.body);
    dead.again(&world).await;
    world.assert_fixed().await;
    assert_eq!(world.simulator.models().calls().len(), 1, "the commit of the first attempt was found");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_permission_to_move_the_ticket_is_named_and_the_run_succeeds() {
    let world = World::new().await;
    let body = r#"{"errorMessages":["You do not have permission to transition this issue."],"errors":{}}"#;
    once(&world, Service::Jira, "POST", "/transitions$", Action::Status(Answer::new(403).body(body)));
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_published();
    let issue = world.issue();
    assert_eq!((issue.status.as_str(), issue.assignee.as_deref()), ("To Do", Some(REVIEWER)));
    assert_eq!(issue.remote_links.len(), 1);
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    let expected = ["needs the permission Transition issues", "You do not have permission to transition"];
    assert!(expected.iter().all(|part| comments[0].contains(part)), "{comments:?}");
    assert_eq!(requests(&world, "POST", "/transitions$"), 1, "a refusal is not tried again");
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_not_there_is_dead_lettered_at_once() {
    let world = World::new().await;
    world.publish("PROJ-404").await;
    world.work_once().await;
    let dead = Taken::from(&world, DEAD).await;
    assert_eq!(dead.attempt(), 1);
    dead.assert_reason(&["issue PROJ-404 is not in Jira", "may not see it", "the ticket could not be told"]);
    assert!(!was_asked(&world, Service::GitHub));
    world.finish().await;
}

/// The run succeeds and hands over, but the ticket stays and its comment says all of this.
async fn stays_and_says(world: World, parts: &[&str]) {
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_published();
    let issue = world.issue();
    assert_eq!((issue.status.as_str(), issue.assignee.as_deref()), ("To Do", Some(REVIEWER)));
    assert_eq!((issue.transitions().len(), issue.remote_links.len()), (0, 1));
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    world.assert_opened(&comments[0]);
    for part in parts {
        assert!(comments[0].contains(part), "{part:?} is missing in: {}", comments[0]);
    }
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_without_transitions_stays_and_says_which_permission_is_missing() {
    let world = World::new().await;
    world.simulator.jira().set_empty_transitions(true);
    stays_and_says(world, &["I could not move this ticket", "the permission \"Transition issues\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_requires_a_resolution_gets_one() {
    let world = World::new().await;
    world.simulator.jira().require_field("In Testing", "resolution");
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    assert_eq!(world.issue().resolution.as_deref(), Some("Done"));
    assert_eq!(requests(&world, "POST", "/transitions$"), 1);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_screen_that_requires_what_only_people_know_is_left_to_them() {
    let world = World::new().await;
    world.simulator.jira().require_field("In Testing", "customfield_10010");
    stays_and_says(
        world,
        &["I could not move this ticket: \"Send to testing\" asks for", "a person has to fill in"],
    )
    .await;
}

/// A workflow in which every state can be reached from every other.
fn workflow(names: &[&str]) -> Workflow {
    let status = |name: &&str| Status { name: (*name).to_owned(), category: Category::Indeterminate };
    let transition =
        |name: &&str| Transition { name: format!("Go to {name}"), from: None, to: (*name).to_owned() };
    Workflow {
        statuses: names.iter().map(status).collect(),
        transitions: names.iter().map(transition).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_without_a_configured_state_is_told_with_the_states_it_has() {
    let world = World::new().await;
    world.simulator.jira().set_workflow(workflow(&["To Do", "Doing", "Done"])).unwrap();
    stays_and_says(world, &["`jira.review_states`", "\"Doing\"", "\"Done\""]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_configured_state_that_the_workflow_has_is_taken() {
    let world = World::new().await;
    world.simulator.jira().set_workflow(workflow(&["To Do", "Code Review", "in review"])).unwrap();
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_published();
    let issue = world.issue();
    assert_eq!((issue.status.as_str(), issue.assignee.as_deref()), ("in review", Some(REVIEWER)));
    assert_eq!(issue.transitions(), ["Go to in review"]);
    world.assert_opened(&world.comments()[0]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scoped_token_works_through_the_gateway_and_the_site_says_so() {
    let world = World::new().await;
    world.simulator.jira().set_scoped_token(true);
    world.publish(TICKET).await;
    world.work_once().await;
    let dead = Taken::from(&world, DEAD).await;
    dead.assert_reason(&["jira.api_url = https://api.atlassian.com/ex/jira/<cloud id>"]);

    let before = world.simulator.journal().entries().len();
    let gateway = format!("{}/ex/jira/{}", world.simulator.url(), Jira::CLOUD_ID);
    world.broker.publish(&dead.body, dead.properties).await;
    let once = ["run", "--once", "--idle-exit", "20s"];
    let ended = world.work(&once, &[("JIRA_AGENT__JIRA__API_URL", &gateway)]).await;
    assert!(ended.status.success(), "{}", ended.log);
    world.assert_fixed().await;
    let entries = world.simulator.journal().entries();
    let mut jira = entries.iter().skip(before).filter(|entry| entry.service == Service::Jira);
    assert!(jira.all(|entry| entry.path.starts_with("/ex/jira/")));
    let body = world.pulls()[0].issue.body.clone().unwrap_or_default();
    assert!(
        body.contains(&format!("{}/browse/{TICKET}", world.simulator.url())),
        "people open the site: {body}"
    );
    world.finish().await;
}

/// A world whose model answers only a prompt that holds all of `parts`.
async fn model_must_see(ticket: IssueSeed, parts: &[&str]) -> World {
    let world = World::about(ticket).await;
    let rule = Rule::new(NEEDED, Reply::text(REPLY)).unwrap();
    let rule = parts.iter().fold(rule, |rule, part| rule.and(&regex::escape(part)).unwrap());
    world.answer(rule);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_comments_reaches_the_model() {
    let said = ["the first word", "the second word", "the third word"];
    let comment = |text: &&str| CommentSeed { author: REPORTER.to_owned(), text: (*text).to_owned() };
    let seed = IssueSeed { comments: said.iter().map(comment).collect(), ..ticket(TICKET) };
    let world = model_must_see(seed, &said).await;
    world.simulator.jira().set_page_limit(1);
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    for start in 0..=2 {
        assert!(requests(&world, "GET", &format!("/comment\\?startAt={start}&")) >= 1, "page {start}");
    }
    world.finish().await;
}

fn text(words: &str) -> Value {
    json!({"type": "text", "text": words})
}

fn paragraph(words: &str) -> Value {
    json!({"type": "paragraph", "content": [text(words)]})
}

/// Every kind of node that Jira's editor makes, and two that nobody knows.
fn every_node() -> Value {
    let item = |words: &str| json!({"type": "listItem", "content": [paragraph(words)]});
    let cell = |kind: &str, words: &str| json!({"type": kind, "content": [paragraph(words)]});
    let media =
        |id: &str| json!({"type": "media", "attrs": {"id": id, "type": "file", "collection": "", "alt": id}});
    let marked = |mark: Value, words: &str| json!({"type": "text", "text": words, "marks": [mark]});
    json!({"version": 1, "type": "doc", "content": [
        {"type": "heading", "attrs": {"level": 2}, "content": [text("heading-word")]},
        {"type": "paragraph", "content": [
            marked(json!({"type": "strong"}), "strong-word"), marked(json!({"type": "em"}), "em-word"),
            marked(json!({"type": "strike"}), "strike-word"), marked(json!({"type": "code"}), "code-word"),
            marked(json!({"type": "underline"}), "underline-word"),
            marked(json!({"type": "textColor", "attrs": {"color": "#ff0000"}}), "color-word"),
            marked(json!({"type": "subsup", "attrs": {"type": "sub"}}), "sub-word"),
            marked(json!({"type": "link", "attrs": {"href": "https://example.com/link-word"}}), "link"),
            marked(json!({"type": "markOfTomorrow"}), "mark-word"),
            {"type": "hardBreak"},
            {"type": "mention", "attrs": {"id": REPORTER, "text": "@mention-word"}},
            {"type": "emoji", "attrs": {"shortName": ":emoji-word:"}},
            {"type": "date", "attrs": {"timestamp": "1769731200000"}},
            {"type": "status", "attrs": {"text": "status-word", "color": "blue"}},
            {"type": "inlineCard", "attrs": {"url": "https://example.com/inline-card-word"}},
            {"type": "placeholder", "attrs": {"text": "placeholder-word"}},
            {"type": "mediaInline", "attrs": {"id": "1", "collection": "", "alt": "media-inline-word"}},
            {"type": "inlineExtension", "attrs": {"extensionType": "x", "extensionKey": "y", "text": "inline-extension-word"}},
            {"type": "inlineOfTomorrow", "content": [text("unknown-inline-word")]},
        ]},
        {"type": "bulletList", "content": [item("bullet-word")]},
        {"type": "orderedList", "attrs": {"order": 3}, "content": [item("ordered-word")]},
        {"type": "taskList", "attrs": {"localId": "t"}, "content": [
            {"type": "taskItem", "attrs": {"localId": "1", "state": "DONE"}, "content": [text("task-word")]}]},
        {"type": "decisionList", "attrs": {"localId": "d"}, "content": [
            {"type": "decisionItem", "attrs": {"localId": "1", "state": "DECIDED"}, "content": [text("decision-word")]}]},
        {"type": "codeBlock", "attrs": {"language": "rust"}, "content": [text("let code_block_word = 1;")]},
        {"type": "blockquote", "content": [paragraph("quote-word")]},
        {"type": "panel", "attrs": {"panelType": "warning"}, "content": [paragraph("panel-word")]},
        {"type": "rule"},
        {"type": "table", "content": [
            {"type": "tableRow", "content": [cell("tableHeader", "header-word")]},
            {"type": "tableRow", "content": [cell("tableCell", "cell-word")]}]},
        {"type": "mediaSingle", "attrs": {"layout": "center"}, "content": [
            media("media-single-word"), {"type": "caption", "content": [text("caption-word")]}]},
        {"type": "mediaGroup", "content": [media("media-group-word")]},
        {"type": "expand", "attrs": {"title": "expand-title-word"}, "content": [paragraph("expand-word"),
            {"type": "nestedExpand", "attrs": {"title": "nested-title-word"}, "content": [paragraph("nested-word")]}]},
        {"type": "layoutSection", "content": [
            {"type": "layoutColumn", "attrs": {"width": 50}, "content": [paragraph("column-word")]}]},
        {"type": "blockCard", "attrs": {"url": "https://example.com/block-card-word"}},
        {"type": "embedCard", "attrs": {"url": "https://example.com/embed-card-word", "layout": "center"}},
        {"type": "bodiedExtension", "attrs": {"extensionType": "x", "extensionKey": "y"},
            "content": [paragraph("bodied-extension-word")]},
        {"type": "extension", "attrs": {"extensionType": "x", "extensionKey": "y", "text": "extension-word"}},
        {"type": "blockOfTomorrow", "attrs": {"a": [1]}, "content": [paragraph("unknown-block-word")]},
        {"type": "oddity"}, {"content": [text("typeless-word")]}, "no node", null,
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_of_every_kind_of_node_in_a_description_reach_the_model() {
    let words = [
        "## heading-word",
        "**strong-word**",
        "*em-word*",
        "~~strike-word~~",
        "`code-word`",
        "underline-word",
        "color-word",
        "sub-word",
        "https://example.com/link-word",
        "mark-word",
        "@mention-word",
        ":emoji-word:",
        "2026-01-30",
        "[status-word]",
        "inline-card-word",
        "placeholder-word",
        "media-inline-word",
        "inline-extension-word",
        "unknown-inline-word",
        "- bullet-word",
        "3. ordered-word",
        "- [x] task-word",
        "decision-word",
        "let code_block_word = 1;",
        "> quote-word",
        "panel-word",
        "---",
        "| header-word |",
        "| cell-word |",
        "media-single-word",
        "caption-word",
        "media-group-word",
        "expand-title-word",
        "expand-word",
        "nested-title-word",
        "nested-word",
        "column-word",
        "block-card-word",
        "embed-card-word",
        "bodied-extension-word",
        "extension-word",
        "unknown-block-word",
        "typeless-word",
    ];
    let seed = IssueSeed { adf: Some(every_node()), ..ticket(TICKET) };
    let world = model_must_see(seed, &words).await;
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_without_a_description_is_worked_on_by_its_title() {
    let seed = IssueSeed { description: String::new(), ..ticket(TICKET) };
    let world = model_must_see(seed, &["(There is no description.)"]).await;
    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_that_holds_garbage_is_ignored_and_replaced() {
    let world = World::new().await;
    let garbage = json!({"runs": "none", "watermark": 7, "cancel": {"by": []}});
    world.simulator.jira().set_property(TICKET, "jira-agent", garbage).unwrap();
    world.publish(&format!(r#"{{"task_id": "{RUN}", "issue_id": "{TICKET}"}}"#)).await;
    let ended = world.work_once().await;
    assert!(ended.log.contains("the issue property jira-agent cannot be read and is ignored"));
    world.assert_fixed().await;
    let memory = world.issue().properties["jira-agent"].clone();
    assert_eq!(
        (&memory["runs"][0]["run"], &memory["runs"][0]["end"]),
        (&json!(RUN), &json!("pull_request_opened"))
    );
    world.finish().await;
}

/// A task that this trigger made.
fn triggered(kind: &str) -> String {
    json!({"issue_id": TICKET, "trigger": {"kind": kind, "id": ""}}).to_string()
}

/// The ticket without its label, and given to somebody else.
fn take_away(world: &World) {
    let jira = world.simulator.jira();
    jira.label(TICKET, &[], &["ai-help".to_owned()], REPORTER).unwrap();
    jira.assign(TICKET, Some(REPORTER), REPORTER).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_label_or_assignment_is_gone_is_superseded_and_writes_nothing() {
    let world = World::new().await;
    take_away(&world);
    for kind in ["label", "assignment"] {
        world.publish(&triggered(kind)).await;
        let ended = world.work_once().await;
        assert!(ended.log.contains("superseded"), "{kind}: {}", ended.log);
    }
    assert_eq!(world.simulator.journal().writes(Service::Jira).len(), 0);
    // Whether an earlier attempt has had an effect is seen on the branch alone, and there is none.
    assert_eq!(world.simulator.journal().writes(Service::GitHub).len(), 0, "nothing is cloned either");
    assert!(was_asked(&world, Service::GitHub));
    assert_eq!(world.simulator.models().calls().len(), 0);
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_whose_label_is_gone_waits_for_people_where_nobody_can_see_whether_it_has_pushed() {
    let world = World::new().await;
    take_away(&world);
    world.simulator.github().expire_token_after(TOKEN, 0);
    world.publish(&triggered("label")).await;
    let ended = world.work_once().await;
    assert!(!ended.log.contains("superseded"), "{}", ended.log);
    assert_eq!(world.comments().len(), 1, "the ticket is told");
    assert_eq!(world.depths().await, [("agent-tasks.dlq".to_owned(), 1)]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_from_the_command_line_needs_neither_label_nor_assignment() {
    let world = World::new().await;
    take_away(&world);
    world.publish(&triggered("cli")).await;
    world.work_once().await;
    world.assert_fixed().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_request_on_the_ticket_ends_what_was_asked_before_it_and_nothing_later() {
    let world = World::new().await;
    let cancel = json!({"by": "riley", "at": Timestamp::now()});
    world.simulator.jira().set_property(TICKET, "jira-agent-cancel", cancel).unwrap();
    let asked = Timestamp::now() - SignedDuration::from_mins(1);
    let body = json!({"task_id": RUN, "issue_id": TICKET, "requested_at": asked}).to_string();
    world.publish(&body).await;
    world.work_once().await;
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].contains("The run was cancelled by riley."), "{comments:?}");
    assert_eq!(world.issue().properties["jira-agent"]["runs"][0]["end"], "cancelled");
    assert!(!was_asked(&world, Service::GitHub));
    assert_eq!(world.depths().await, []);

    world.publish(&body).await;
    world.work_once().await;
    assert_eq!(world.comments().len(), 1, "the run has ended and is not told twice");

    world.publish(TICKET).await;
    world.work_once().await;
    world.assert_published();
    world.assert_handed_over();
    world.assert_opened(&world.comments()[1]);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_without_a_route_hears_the_choices_and_nothing_else_is_written() {
    let world = World::new().await;
    world.simulator.jira().add_issue(ticket("OPS-1")).unwrap();
    world.publish("OPS-1").await;
    world.work_once().await;
    let issue = world.simulator.jira().issue("OPS-1").unwrap();
    let comments = issue.comments_by(Jira::AGENT);
    assert_eq!(comments.len(), 1);
    let choice = format!("{}/{REPOSITORY}", world.simulator.url());
    for part in ["I need a person's help", "no configured route fits this ticket", &choice] {
        assert!(comments[0].text.contains(part), "{part:?} is missing in: {}", comments[0].text);
    }
    let writes: Vec<String> = world
        .simulator
        .journal()
        .writes(Service::Jira)
        .into_iter()
        .map(|entry| format!("{} {}", entry.method, entry.path))
        .collect();
    // Without a repository there is no lease under which the ticket's memory could be written.
    assert_eq!(writes, ["POST /rest/api/3/issue/OPS-1/comment"]);
    assert!(!was_asked(&world, Service::GitHub));
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_for_a_repository_outside_of_the_routes_is_dead_lettered_before_it_is_touched() {
    let world = World::new().await;
    let other = format!("{}/acme/secrets", world.simulator.url());
    world.publish(&json!({"issue_id": TICKET, "repo_url": other}).to_string()).await;
    world.work_once().await;
    let dead = Taken::from(&world, DEAD).await;
    assert_eq!(dead.attempt(), 1);
    dead.assert_reason(&[&other, "is not among the configured routes; add a `[[routes]]` entry"]);
    let comments = world.comments();
    assert_eq!(comments.len(), 1, "{comments:?}");
    assert!(comments[0].contains("is not among the configured routes"), "{comments:?}");
    assert!(!was_asked(&world, Service::GitHub), "neither git nor REST");
    world.finish().await;
}
