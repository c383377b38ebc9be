use std::time::Duration;

use jira_agent::config::ConfigSources;
use jira_agent::github::GitHubError;
use jira_agent::http::HttpError;
use jira_agent::jira::JiraError;
use jira_agent::queue::DeliveryInfo;
use jira_agent::tickets::NoTicket;

use super::*;

const ID: &str = "01K9ZW4R7M1S8T3V5X7Z9B1D3F";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-01-30T15:00:00Z")
}

fn dead(body: &str, reason: Option<&str>) -> DeadLetter {
    DeadLetter {
        id: ID.to_owned(),
        body: body.to_owned().into(),
        info: DeliveryInfo {
            message_id: Some(ID.to_owned()),
            attempt: 1,
            waits: 0,
            crashes: 0,
            delivery_count: 0,
            first_published: Some(at("2026-01-30T11:58:30Z")),
            traceparent: None,
            redelivered: false,
            replayed_by: None,
        },
        reason: reason.map(str::to_owned),
        step: reason.map(|_| "claim".to_owned()),
        died_at: reason.map(|_| at("2026-01-30T12:00:00Z")),
    }
}

fn config() -> Config {
    let env = [("JIRA_URL", "https://acme.atlassian.net")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Config::load(ConfigSources { env, ..ConfigSources::default() }).unwrap()
}

fn full() -> DeadLetter {
    let body = format!(
        r#"{{"version":1,"task_id":"{ID}","issue_id":12,"repo_url":"https://github.com/acme/shop","mode":"plan","trigger_user":"ann","trigger":{{"kind":"cli"}},"requested_at":"2026-01-30T11:58:30Z"}}"#
    );
    let mut dead = dead(&body, Some("step claim: GitHub at api.github.com does not accept the credentials"));
    dead.info.replayed_by = Some("ben".to_owned());
    dead
}

#[test]
fn a_letter_is_explained_with_what_to_do_next() {
    let (dead, config, redactor) = (full(), config(), Redactor::default());
    insta::assert_snapshot!(Letter::new(&dead, &config, &redactor).explained(now()), @r#"
    dead letter      01K9ZW4R7M1S8T3V5X7Z9B1D3F
    ticket           acme/shop#12  https://github.com/acme/shop/issues/12
    reason           step claim: GitHub at api.github.com does not accept the credentials
    step             claim
    attempts         1
    crashes          0
    first published  2026-01-30 11:58:30 UTC (3h ago)
    died             2026-01-30 12:00:00 UTC (3h ago)
    replayed by      ben
    repository       https://github.com/acme/shop
    mode             plan
    asked for by     ann (trigger: cli)
    asked for        2026-01-30 11:58:30 UTC (3h ago)
    body             {"version":1,"task_id":"01K9ZW4R7M1S8T3V5X7Z9B1D3F","issue_id":12,"repo_url":"https://github.com/acme/shop","mode":"plan","trigger_user":"ann","trigger":{"kind":"cli"},"requested_at":"2026-01-30T11:58:30Z"}
    next             Mend the token or give it the right that the reason names, restart the workers with it (`jira-agent-worker doctor` says whether it does), then replay it.
                     jira-agent-producer dead-letters replay 01K9ZW4R7M1S8T3V5X7Z9B1D3F
    "#);
}

#[test]
fn a_letter_that_tells_nothing_says_what_is_not_known() {
    let mut dead = dead("mend the cart, please\u{1b}[2J", None);
    dead.info.first_published = None;
    let (config, redactor) = (config(), Redactor::default());
    insta::assert_snapshot!(Letter::new(&dead, &config, &redactor).explained(now()), @r#"
    dead letter      01K9ZW4R7M1S8T3V5X7Z9B1D3F
    ticket           -
    reason           the broker put it here by itself, without a reason
    step             -
    attempts         1
    crashes          0
    first published  not known
    died             not known
    replayed by      nobody yet
    body             mend the cart, please [2J
    next             No worker can read this body. Put a corrected task on the queue with `jira-agent-producer enqueue`, and drop this one.
                     jira-agent-producer dead-letters drop 01K9ZW4R7M1S8T3V5X7Z9B1D3F
    "#);
}

#[test]
fn a_long_body_is_cut_for_people_and_whole_for_scripts() {
    let (config, redactor) = (config(), Redactor::default());
    let dead = dead(&"x".repeat(9000), Some("no task"));
    let letter = Letter::new(&dead, &config, &redactor);
    assert!(letter.explained(now()).contains("x… (9000 bytes in all; --json shows them)"));
    assert_eq!(letter.json()["body"].as_str().unwrap().len(), 9000);
}

#[test]
fn the_address_of_a_ticket_is_known_from_the_settings_or_the_task() {
    let (config, redactor) = (config(), Redactor::default());
    let url = |body: &str| Letter::new(&dead(body, None), &config, &redactor).json()["url"].clone();
    assert_eq!(url("PROJ-7"), "https://acme.atlassian.net/browse/PROJ-7");
    assert_eq!(url("acme/shop#7"), "https://github.com/acme/shop/issues/7");
    let elsewhere = r#"{"issue_id": 7, "repo_url": "https://git.acme.example/acme/shop"}"#;
    assert_eq!(url(elsewhere), "https://git.acme.example/acme/shop/issues/7");
    let bare = Config::load(ConfigSources::default()).unwrap();
    let (unknown, letter) = (serde_json::Value::Null, dead("PROJ-7", None));
    assert_eq!(Letter::new(&letter, &bare, &redactor).json()["url"], unknown);
}

#[test]
fn an_id_that_a_shell_would_read_is_one_word_of_the_commands() {
    let (config, redactor) = (config(), Redactor::default());
    let dead = DeadLetter { id: "it's $(reboot);\nreboot".to_owned(), ..dead("?", Some("no task")) };
    let letter = Letter::new(&dead, &config, &redactor);
    let word = r"'it'\''s $(reboot); reboot'";
    assert!(letter.explained(now()).contains(&format!("dead-letters drop {word}")));
    assert!(letter.json().to_string().contains(&word.replace('\\', r"\\")), "{}", letter.json());
}

#[test]
fn no_secret_is_shown() {
    let redactor = Redactor::new([jira_agent::secret::Secret::new("hunter22")]);
    let (config, dead) = (config(), dead("say hunter22", Some("hunter22 was refused")));
    let letter = Letter::new(&dead, &config, &redactor);
    let all = format!("{} {} {}", letter.explained(now()), letter.json(), letter.reason());
    assert!(!all.contains("hunter22") && all.contains("***"), "{all}");
}

#[test]
fn the_table_ends_where_the_terminal_does() {
    let (config, redactor) = (config(), Redactor::default());
    let several = [full(), dead("PROJ-1\n", None), dead("?", Some("the body is neither\nthis nor that"))];
    let letters: Vec<Letter<'_>> = several.iter().map(|dead| Letter::new(dead, &config, &redactor)).collect();
    let lines = table::lines(&letters, now(), Some(110));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    ID                          TICKET        STEP   ATTEMPTS  DIED (UTC)        AGE  REASON
    01K9ZW4R7M1S8T3V5X7Z9B1D3F  acme/shop#12  claim  1         2026-01-30 12:00  3h   step claim: GitHub at api.g…
    01K9ZW4R7M1S8T3V5X7Z9B1D3F  PROJ-1        -      1         -                 -    the broker put it here by i…
    01K9ZW4R7M1S8T3V5X7Z9B1D3F  -             claim  1         2026-01-30 12:00  3h   the body is neither this no…
    "#);
    assert!(lines.iter().all(|line| console::measure_text_width(line) <= 110));
    let whole = table::lines(&letters, now(), None);
    assert!(whole[1].ends_with("does not accept the credentials"), "{whole:?}");
}

#[test]
fn the_reason_that_a_client_gives_leads_to_its_cause() {
    let what = || "issue PROJ-1".to_owned();
    let of = |reason: String| Cause::of(&dead("PROJ-1", Some(&format!("step claim: {reason}"))));
    let host = || "h".to_owned();
    assert_eq!(of(JiraError::Unauthorized { host: host() }.to_string()), Cause::Credentials);
    assert_eq!(of(GitHubError::Unauthorized { host: host() }.to_string()), Cause::Credentials);
    let forbidden = JiraError::Forbidden { what: what(), grant: "a right", message: String::new() };
    assert_eq!(of(forbidden.to_string()), Cause::Credentials);
    let forbidden = GitHubError::Forbidden { what: what(), grant: "a right", message: String::new() };
    assert_eq!(of(forbidden.to_string()), Cause::Credentials);
    assert_eq!(of(JiraError::NotFound { what: what() }.to_string()), Cause::NotFound);
    assert_eq!(of(GitHubError::NotFound { what: what() }.to_string()), Cause::NotFound);
    let pull = NoTicket::IsPullRequest("acme/shop#1".parse().unwrap());
    assert_eq!(of(pull.to_string()), Cause::NotFound);
    assert_eq!(of(NoTicket::NoJira("PROJ-1".parse().unwrap()).to_string()), Cause::Credentials);
    let limited = HttpError::RateLimited { host: host(), retry_after: Duration::from_secs(1) };
    assert_eq!(of(JiraError::Http(limited).to_string()), Cause::Other);
}

#[test]
fn counters_and_the_body_tell_where_the_words_do_not() {
    let mut tired = dead("PROJ-1", Some("the model is busy"));
    assert_eq!(Cause::of(&tired), Cause::Other);
    tired.info.attempt = 5;
    assert_eq!(Cause::of(&tired), Cause::AttemptsUsedUp);
    assert!(Cause::of(&tired).advice(&tired).contains("It failed 5 times"));
    tired.info.crashes = 3;
    assert_eq!(Cause::of(&tired), Cause::WorkerDied);
    assert!(Cause::of(&tired).advice(&tired).contains("in step claim"));
    assert_eq!(Cause::of(&dead("PROJ-1", None)), Cause::Broker);
    assert_eq!(Cause::of(&dead("hello", None)), Cause::Unreadable);
}

#[test]
fn an_id_may_be_shortened_as_long_as_it_is_one_letters() {
    let with = |id: &str| DeadLetter { id: id.to_owned(), ..dead("PROJ-1", None) };
    let all = [
        with("01K9ZW4R7M1S8T3V5X7Z9B1D3F"),
        with("01K9ZW4R7M1S8T3V5X7Z9B1D3G"),
        with("short"),
        with("sha256-12ab"),
    ];
    let id = |text: &str| find(&all, text).map(|letter| letter.id.clone());
    assert_eq!(id("short").unwrap(), "short", "a whole id is never too short");
    assert_eq!(id("SHA256").unwrap(), "sha256-12ab");
    assert!(id("01K9ZW").unwrap_err().contains("any of 2 dead letters"));
    assert!(id("sha25").unwrap_err().contains("at least 6 characters"));
    assert!(id("01K9ZX").unwrap_err().contains("there is no dead letter `01K9ZX`"));
    assert!(id("ä€ä€ä€").is_err());
}

#[test]
fn an_age_is_told_in_its_largest_unit() {
    let ages = [
        ("2026-01-30T15:00:10Z", "0s"),
        ("2026-01-30T14:59:01Z", "59s"),
        ("2026-01-30T14:00:01Z", "59m"),
        ("2026-01-28T15:00:01Z", "47h"),
        ("2026-01-27T15:00:00Z", "3d"),
    ];
    for (then, text) in ages {
        assert_eq!(letter::age(at(then), now()), text, "{then}");
    }
}
