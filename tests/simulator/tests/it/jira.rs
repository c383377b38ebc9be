use jira_agent_simulator::jira::{IssueSeed, Jira};
use reqwest::Method;
use serde_json::{Value, json};

use super::support::{document, read, world};

#[tokio::test]
async fn the_account_and_the_site_say_who_they_are() {
    let world = world().await;
    let me = world.get("myself").await;
    assert_eq!((&me["accountId"], &me["emailAddress"]), (&json!(Jira::AGENT), &json!(Jira::EMAIL)));
    let info = world.get("serverInfo").await;
    assert_eq!(info["deploymentType"], "Cloud");
    assert_eq!(info["baseUrl"], world.simulator.url());
    let user = world.get("user?accountId=dev1").await;
    assert_eq!(user["displayName"], "Dev One");
    assert_eq!(world.get("users?maxResults=2").await.as_array().unwrap().len(), 2);
    read(world.jira(Method::GET, "user?accountId=nobody").send().await.unwrap(), 404).await;
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn without_the_right_token_the_answer_is_401_and_nothing_is_done() {
    let world = world().await;
    let url = world.url("/rest/api/3/issue/PROJ-1/comment");
    let body = json!({"body": document("hello")});
    for request in [
        world.client.post(&url),
        world.client.post(&url).bearer_auth(Jira::TOKEN),
        world.client.post(&url).basic_auth(Jira::EMAIL, Some("expired")),
    ] {
        let response = request.json(&body).send().await.unwrap();
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(read(response, 401).await["status-code"], 401);
    }
    world.simulator.jira().set_credentials(Jira::EMAIL, "rotated");
    read(world.jira(Method::GET, "myself").send().await.unwrap(), 401).await;
    assert!(world.simulator.jira().issue("PROJ-1").unwrap().comments.is_empty());
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_scoped_token_works_at_the_gateway_and_not_at_the_site() {
    let world = world().await;
    world.simulator.jira().set_scoped_token(true);
    read(world.jira(Method::GET, "myself").send().await.unwrap(), 401).await;
    let tenant = world.client.get(world.url("/_edge/tenant_info")).send().await.unwrap();
    let cloud_id = read(tenant, 200).await["cloudId"].as_str().unwrap().to_owned();
    let gateway = |cloud_id: &str, path: &str| {
        let url = world.url(&format!("/ex/jira/{cloud_id}/rest/api/3/{path}"));
        world.client.get(url).basic_auth(Jira::EMAIL, Some(Jira::TOKEN)).send()
    };
    let issue = read(gateway(&cloud_id, "issue/PROJ-1?fields=summary").await.unwrap(), 200).await;
    assert_eq!(issue["fields"], json!({"summary": "The total is wrong"}));
    read(gateway("other", "myself").await.unwrap(), 404).await;
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn an_issue_shows_the_fields_expansions_and_properties_that_were_asked_for() {
    let world = world().await;
    let jira = world.simulator.jira();
    jira.set_property("PROJ-1", "jira-agent", json!({"runs": []})).unwrap();
    let whole = world.get("issue/proj-1").await;
    let fields = &whole["fields"];
    assert_eq!(whole["key"], "PROJ-1");
    assert_eq!(fields["status"]["statusCategory"]["key"], "new");
    assert_eq!(fields["assignee"]["accountId"], "dev1");
    assert_eq!(fields["description"]["type"], "doc");
    assert_eq!(fields["project"]["key"], "PROJ");
    assert!(fields["created"].as_str().unwrap().ends_with("+0000"));
    assert_eq!(whole["properties"], Value::Null);

    let path = "issue/PROJ-1?fields=summary,labels&expand=names,transitions,changelog&properties=jira-agent";
    let part = world.get(path).await;
    assert_eq!(part["fields"], json!({"summary": "The total is wrong", "labels": ["ai-agent"]}));
    assert_eq!(part["names"], json!({"summary": "Summary", "labels": "Labels"}));
    assert_eq!(part["transitions"].as_array().unwrap().len(), 3);
    assert_eq!(part["changelog"]["total"], 0);
    assert_eq!(part["properties"], json!({"jira-agent": {"runs": []}}));

    let without = world.get("issue/PROJ-1?fields=*all,-comment,-description").await;
    assert!(without["fields"].get("comment").is_none() && without["fields"].get("summary").is_some());
    let missing = read(world.jira(Method::GET, "issue/PROJ-9").send().await.unwrap(), 404).await;
    assert_eq!(missing["errorMessages"][0], "Issue does not exist or you do not have permission to see it.");
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn comments_come_in_pages_and_in_the_order_asked_for() {
    let world = world().await;
    let jira = world.simulator.jira();
    for number in 0..5 {
        jira.add_comment("PROJ-1", "dev1", &format!("comment {number}")).unwrap();
    }
    jira.set_page_limit(2);
    let mut seen = Vec::new();
    let mut start = 0;
    loop {
        let page = world.get(&format!("issue/PROJ-1/comment?startAt={start}&maxResults=100")).await;
        assert_eq!(
            (&page["total"], &page["maxResults"], &page["startAt"]),
            (&json!(5), &json!(2), &json!(start))
        );
        let comments = page["comments"].as_array().unwrap();
        if comments.is_empty() {
            break;
        }
        start += comments.len();
        seen.extend(comments.iter().map(|it| it["body"]["content"][0]["content"][0]["text"].clone()));
    }
    assert_eq!(json!(seen), json!(["comment 0", "comment 1", "comment 2", "comment 3", "comment 4"]));
    let newest = world.get("issue/PROJ-1/comment?orderBy=-created&maxResults=1").await;
    assert_eq!(newest["comments"][0]["body"]["content"][0]["content"][0]["text"], "comment 4");
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn an_issue_that_is_read_whole_shows_no_more_comments_than_a_page() {
    let world = world().await;
    let jira = world.simulator.jira();
    for number in 0..3 {
        jira.add_comment("PROJ-1", "dev1", &format!("comment {number}")).unwrap();
    }
    jira.set_page_limit(2);
    let comment = &world.get("issue/PROJ-1?fields=comment").await["fields"]["comment"];
    assert_eq!((comment["comments"].as_array().unwrap().len(), &comment["total"]), (2, &json!(3)));
}

#[tokio::test]
async fn the_changelog_tells_who_changed_what() {
    let world = world().await;
    let jira = world.simulator.jira();
    jira.assign("PROJ-1", Some(Jira::AGENT), "dev2").unwrap();
    jira.label("PROJ-1", &["urgent".into()], &["ai-agent".into()], "dev1").unwrap();
    jira.set_status("PROJ-1", "done", "dev1").unwrap();
    jira.set_page_limit(2);
    let page = world.get("issue/PROJ-1/changelog").await;
    assert_eq!((&page["total"], &page["isLast"]), (&json!(3), &json!(false)));
    let next = page["nextPage"].as_str().unwrap().split_once("/rest/api/3/").unwrap().1.to_owned();
    let item = |page: &Value, index: usize| page["values"][index]["items"][0].clone();
    assert_eq!(page["values"][0]["author"]["accountId"], "dev2");
    assert_eq!(item(&page, 0)["to"], Jira::AGENT);
    assert_eq!(
        (&item(&page, 1)["fromString"], &item(&page, 1)["toString"]),
        (&json!("ai-agent"), &json!("urgent"))
    );
    let last = world.get(&next).await;
    assert_eq!((&item(&last, 0)["toString"], &last["isLast"]), (&json!("Done"), &json!(true)));
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn people_read_a_ticket_as_text() {
    let world = world().await;
    world.simulator.jira().add_comment("PROJ-1", "dev1", "Please **hurry**.").unwrap();
    let page = world.client.get(world.url("/browse/PROJ-1")).send().await.unwrap().text().await.unwrap();
    for words in ["PROJ-1 The total is wrong", "status: To Do", "assignee: Dev One", "Please **hurry**."] {
        assert!(page.contains(words), "{page}");
    }
}

#[tokio::test]
async fn an_unknown_route_method_or_parameter_is_a_problem() {
    let world = world().await;
    read(world.jira(Method::GET, "filter/1").send().await.unwrap(), 404).await;
    assert_eq!(
        world.problem(),
        "Jira: GET /rest/api/3/filter/1: {\"errorMessages\":[\"no such route at Jira\"],\"errors\":{}}"
    );
    read(world.jira(Method::DELETE, "myself").send().await.unwrap(), 404).await;
    assert!(world.problem().contains("DELETE /rest/api/3/myself"));
    read(world.jira(Method::GET, "issue/PROJ-1/comment?maxResult=1").send().await.unwrap(), 400).await;
    assert!(world.problem().contains("'maxResult'"));
    read(world.jira(Method::GET, "issue/PROJ-1/comment?startAt=x").send().await.unwrap(), 400).await;
    assert!(world.problem().contains("not a number"));
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn a_problem_fails_the_test_at_its_end() {
    let world = world().await;
    read(world.jira(Method::POST, "issue").json(&json!({})).send().await.unwrap(), 404).await;
    assert_eq!(world.simulator.finish().unwrap_err().len(), 1);
}

#[tokio::test]
async fn a_seed_that_names_what_there_is_not_is_refused() {
    let world = world().await;
    let seed = |key: &str| IssueSeed { key: key.into(), ..IssueSeed::default() };
    let jira = world.simulator.jira();
    let problem = |seed: IssueSeed| jira.add_issue(seed).unwrap_err().to_string();
    assert!(problem(seed("PROJ")).contains("no key like PROJ-1"));
    assert!(problem(seed("PROJ-1")).contains("two issues"));
    assert!(problem(IssueSeed { assignee: Some("ghost".into()), ..seed("PROJ-2") }).contains("\"ghost\""));
    assert!(problem(IssueSeed { status: Some("Lost".into()), ..seed("PROJ-2") }).contains("Lost"));
    assert!(jira.add_comment("PROJ-1", "ghost", "x").is_err());
    assert!(jira.add_comment("PROJ-9", "dev1", "x").is_err());
}
