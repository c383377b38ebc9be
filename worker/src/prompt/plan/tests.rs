use proptest::prelude::*;
use serde_json::json;

use super::*;

fn example() -> Value {
    json!({
        "version": 1,
        "summary": "Multiply the price",
        "changes": [{"path": "src/cart.rs", "action": "change", "why": "it ignores the quantity"}],
        "strategy": "Multiply.",
        "tests": ["quantity 2"],
        "risks": [],
        "questions": ["Since when?"]
    })
}

fn with(name: &str, value: Value) -> Result<Plan, PlanProblem> {
    let mut plan = example();
    plan[name] = value;
    parse_plan(&plan.to_string())
}

#[test]
fn the_canonical_form_is_stable() {
    let plan = parse_plan(&example().to_string()).unwrap();
    insta::assert_snapshot!(plan.to_json(), @r#"
    {
      "version": 1,
      "summary": "Multiply the price",
      "changes": [
        {
          "path": "src/cart.rs",
          "action": "change",
          "why": "it ignores the quantity"
        }
      ],
      "strategy": "Multiply.",
      "tests": [
        "quantity 2"
      ],
      "risks": [],
      "questions": [
        "Since when?"
      ]
    }
    "#);
    assert_eq!(parse_plan(&plan.to_json()).unwrap(), plan);
}

#[test]
fn a_plan_is_found_whatever_is_around_it() {
    let json = serde_json::to_string_pretty(&example()).unwrap();
    let draft = r#"{"summary": "a draft", "changes": ["a.rs"]}"#;
    for text in [
        format!("```json\n{json}\n```"),
        format!("Here {{}} it is {{not this}}:\n{json}\nThat is all {{"),
        format!("<think>{draft}</think>{json}"),
        format!("First I thought {draft}, but:\n~~~\n{json}\n~~~"),
        format!("PROJ-1: Plan: x\n\n```json\n{json}\n```\n\nJira-Agent-Run: 01K\n"),
    ] {
        assert_eq!(parse_plan(&text).unwrap().summary, "Multiply the price", "{text}");
    }
}

#[test]
fn missing_and_loose_fields_are_understood() {
    let plan = parse_plan(
        r#"{"summary": " Do\nit ", "changes": ["./a.rs", {"path": "b.rs", "action": "Add"}, "a.rs"], "tests": "one",
            "risks": [{"risk": "two"}, 3, ""], "strategy": ["a", "b"], "unknown": {"x": 1}, "questions": null}"#,
    )
    .unwrap();
    assert_eq!((plan.summary.as_str(), plan.strategy.as_str()), ("Do it", "a\nb"));
    let files: Vec<String> =
        plan.changes.iter().map(|file| format!("{} {}", file.action, file.path)).collect();
    assert_eq!(files, ["change a.rs", "create b.rs"]);
    assert_eq!((plan.tests.len(), plan.risks, plan.questions.len()), (1, vec!["two".to_owned()], 0));
}

#[test]
fn a_problem_says_what_to_send() {
    for (name, value, problem) in [
        ("version", json!(2), "`version` must be 1"),
        ("summary", json!(""), "`summary` must be a text and not empty"),
        (
            "changes",
            json!("all"),
            "`changes` must name the files to touch, or `questions` must say what keeps you from naming them",
        ),
        (
            "changes",
            json!([{"path": "a", "action": "burn"}]),
            "`action` of `a` must be `change`, `create` or `delete`",
        ),
        ("changes", json!([{"action": "change"}]), "`` is not a path inside the repository: it is empty"),
    ] {
        assert_eq!(with(name, value).unwrap_err().to_string(), problem);
    }
    let many: Vec<String> = (0..51).map(|n| format!("f{n}")).collect();
    assert_eq!(with("changes", json!(many)), Err(PlanProblem::TooManyChanges { found: 51 }));
    for text in ["", "no plan", "{}", "{\"a\": 1}", "[1]", "{\"summary\": "] {
        assert_eq!(parse_plan(text), Err(PlanProblem::Missing), "{text}");
    }
}

#[test]
fn a_path_stays_inside_the_repository() {
    for path in [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a/",
        "C:/x",
        "a\\b",
        ".git/config",
        "a/.GIT/x",
        "a\u{202e}b",
        ".",
        "a\nb",
    ] {
        let error = with("changes", json!([path])).unwrap_err();
        assert!(matches!(error, PlanProblem::Path { .. }), "{path}: {error}");
    }
    for path in ["a", ".github/x.yml", "a b/ü.rs", "...", ".gitignore"] {
        assert!(with("changes", json!([path])).is_ok(), "{path}");
    }
}

#[test]
fn a_plan_may_ask_before_it_names_files() {
    assert!(with("changes", json!([])).unwrap().changes.is_empty());
    let mut plan = example();
    (plan["changes"], plan["questions"]) = (json!([]), json!([]));
    assert_eq!(parse_plan(&plan.to_string()), Err(PlanProblem::NoChanges));
}

#[test]
fn the_ways_out_count_only_without_a_plan() {
    let question = "Which shop?".to_owned();
    let reply = parse_plan_reply("NEEDS_HUMAN: Which shop?").unwrap();
    assert_eq!(reply, PlanReply::NeedsHuman { question });
    let reply = parse_plan_reply("```\nNOTHING_TO_CHANGE: done\n```").unwrap();
    assert!(matches!(reply, PlanReply::NothingToChange { .. }));
    let reply = parse_plan_reply(&format!("NEEDS_HUMAN: no\n{}", example())).unwrap();
    assert!(matches!(reply, PlanReply::Plan(_)));
    assert_eq!(parse_plan_reply("I do not know"), Err(PlanProblem::Missing));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(
        pieces in prop::collection::vec(prop_oneof![
            any::<String>(),
            prop::sample::select(vec!["{", "}", "[", "]", "\"summary\":", "\"changes\":", "\"x\"", ",", "\\", "```json\n", "1"])
                .prop_map(str::to_owned),
        ], 0..30)
    ) {
        let _ = parse_plan_reply(&pieces.concat());
    }

    #[test]
    fn a_plan_read_back_is_the_same(
        summary in "[a-z][^\u{0}]{0,200}", strategy in any::<String>(), why in any::<String>(),
        lists in prop::collection::vec("[a-z]?[!\\[(<\\-\"a ]{0,20}", 0..25), path in "[a-z]{1,9}(/[a-zü ]{1,9}){0,3}[a-z]"
    ) {
        let wild = json!({"summary": summary, "strategy": strategy, "tests": lists, "risks": lists, "questions": lists,
            "changes": [{"path": path, "action": "delete", "why": why}]});
        let plan = parse_plan(&wild.to_string()).unwrap();
        let text = format!("PROJ-1: x\n\n```json\n{}\n```\n\nJira-Agent-Run: 01K\n", plan.to_json());
        prop_assert_eq!(parse_plan(&text).unwrap(), plan);
    }
}
