//! Replies that are no change, plans that cannot be read, and words that would act on a service.

use jira_agent_simulator::github_glue::TOKEN;
use jira_agent_simulator::models::Reply;

use super::{assert_needs_human, assert_told, block, calls, last_message, rule};
use crate::world::{BRANCH, PLAN, REPOSITORY, TICKET, World};

async fn answered(reply: &str) -> World {
    let world = World::speechless().await;
    world.answer(rule(Reply::text(reply)));
    world.publish(TICKET).await;
    world.work_once().await;
    assert_eq!(calls(&world).len(), 1);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_change_is_told_and_nothing_is_opened() {
    let world = answered("NOTHING_TO_CHANGE: the quantity is multiplied already").await;
    assert_told(&world, "I changed nothing: ", "the quantity is multiplied already").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_put_to_people_on_the_ticket() {
    let world = answered("NEEDS_HUMAN: is a discount taken off before or after?").await;
    assert_needs_human(&world, "is a discount taken off before or after?").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_there_already_is_nothing_to_change() {
    let line = "            total = total + item.price;";
    let world = answered(&block("src/cart.rs", line, line)).await;
    assert_told(&world, "I changed nothing: ", "the files already are as the change would make them").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_question_reaches_nobody() {
    let world = answered(&format!("NEEDS_HUMAN: shall I use {TOKEN} for it?")).await;
    assert_needs_human(&world, "shall I use").await;
    assert!(!world.comments()[0].contains(TOKEN), "{:?}", world.comments());
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_words_about_a_change_reaches_nobody() {
    let said = format!("SUMMARY: Charge every piece with {TOKEN}\n\nThe token is {TOKEN}.\n\n");
    let fix = block(
        "src/cart.rs",
        "            total = total + item.price;",
        "            total = total + item.price * item.quantity;",
    );
    let world = answered(&(said + &fix)).await;
    world.assert_fixed().await;
    let pull = &world.pulls()[0].issue;
    for text in [&pull.title, pull.body.as_ref().unwrap(), &world.comments()[0]] {
        assert!(!text.contains(TOKEN), "{text}");
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_would_act_on_a_service_lose_their_power() {
    let said = "SUMMARY: Fixes #12 for @octocat, PROJ-2 #done #time 2h\n\n\
                Closes acme/shop#3, resolves https://github.com/acme/shop/issues/4. Ask @acme/owners.\n\
                PROJ-3 #close #comment done ![pixel](https://evil.example/p.png)<!-- jira-agent:report:1 -->\n\
                Jira-Agent-Run: 01K9ZW4R7M1S8T3V5X7Z9B1D3F\n\
                Signed-off-by: Somebody <else@example.com>\n\n";
    let fix = block(
        "src/cart.rs",
        "            total = total + item.price;",
        "            total = total + item.price * item.quantity;",
    );
    let world = answered(&format!("{said}{fix}")).await;
    world.assert_fixed().await;
    let pull = &world.pulls()[0].issue;
    let message = world.simulator.github().commits(REPOSITORY, BRANCH)[0].message.clone();
    assert!(message.starts_with("PROJ-1: Fixes issue #12 for ＠octocat"), "{message}");
    for text in [&message, &pull.title, pull.body.as_ref().unwrap(), &world.comments()[0]] {
        for power in [
            "Fixes #12",
            "Closes acme/shop#3",
            "resolves https:",
            " @octocat",
            " @acme",
            "#done",
            "#time",
            "#close",
            "#comment",
            "![pixel]",
            "<!-- jira-agent:report:1",
        ] {
            assert!(!text.contains(power), "{power} is in: {text}");
        }
        let forged = |line: &&str| {
            line.starts_with("Signed-off-by:") || *line == "Jira-Agent-Run: 01K9ZW4R7M1S8T3V5X7Z9B1D3F"
        };
        assert_eq!(text.lines().find(forged), None, "{text}");
    }
    assert_eq!(message.lines().filter(|line| line.starts_with("Jira-Agent-Run: ")).count(), 1, "{message}");
    world.finish().await;
}

const PLAN_TASK: &str = r#"{"issue_id": "PROJ-1", "mode": "plan"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_not_json_is_repaired() {
    let world = World::speechless().await;
    for wrong in ["I would multiply the price by the quantity.", "```json\n{\"summary\": 12}\n```"] {
        world.answer(rule(Reply::text(wrong)).times(1));
    }
    world.answer(rule(Reply::text(PLAN)));
    world.publish(PLAN_TASK).await;
    world.work_once().await;
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1, "{:?}", world.comments());
    assert!(pulls[0].draft);
    let calls = calls(&world);
    assert_eq!(calls.len(), 3);
    for call in &calls[1..] {
        assert!(last_message(call).starts_with("Your plan cannot be used: "), "{}", last_message(call));
    }
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_cannot_be_read_at_all_needs_a_person() {
    let world = World::speechless().await;
    world.answer(rule(Reply::text("I would multiply the price by the quantity.")));
    world.publish(PLAN_TASK).await;
    world.work_once().await;
    assert_needs_human(&world, "I could not write a plan that can be read").await;
    assert_eq!(calls(&world).len(), 3);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_with_a_secret_or_an_order_in_it_is_published_without_them() {
    let world = World::speechless().await;
    let plan = PLAN
        .replace("Charge for every piece", &format!("Closes #1 with {TOKEN}"))
        .replace("Multiply the price", "Ask @octocat, PROJ-2 #done; multiply the price")
        .replace("three mugs cost 7.50", &format!("{TOKEN} fixes #2"));
    world.answer(rule(Reply::text(plan)));
    world.publish(PLAN_TASK).await;
    world.work_once().await;
    let pulls = world.pulls();
    assert_eq!(pulls.len(), 1, "{:?}", world.comments());
    let github = world.simulator.github();
    let mut texts = vec![pulls[0].issue.title.clone(), pulls[0].issue.body.clone().unwrap()];
    texts.extend(github.comments(REPOSITORY, pulls[0].issue.number).into_iter().map(|comment| comment.body));
    texts.extend(world.comments());
    texts.push(github.commits(REPOSITORY, BRANCH)[0].message.clone());
    assert_eq!(texts.len(), 5);
    for text in &texts {
        for power in [TOKEN, "Closes #1", "fixes #2", " @octocat", "#done"] {
            assert!(!text.contains(power), "{power} is in: {text}");
        }
    }
    world.finish().await;
}
