use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The rules of the published schema for the nodes that we write; `Err` names the first breach.
fn validate(document: &Value) -> Result<(), String> {
    only(document, &["version", "type", "content"])?;
    if document["version"] != 1 || document["type"] != "doc" {
        return Err("not a document".to_owned());
    }
    let blocks = [
        "paragraph",
        "heading",
        "codeBlock",
        "rule",
        "blockquote",
        "bulletList",
        "orderedList",
        "taskList",
        "table",
    ];
    content(document)?.iter().try_for_each(|node| block(node, &blocks))
}

fn only(node: &Value, allowed: &[&str]) -> Result<(), String> {
    let object = node.as_object().ok_or_else(|| format!("not an object: {node}"))?;
    match object.keys().find(|key| !allowed.contains(&key.as_str())) {
        Some(key) => Err(format!("`{key}` does not belong into {node}")),
        None => Ok(()),
    }
}

fn content(node: &Value) -> Result<&[Value], String> {
    let content = node["content"].as_array();
    content.map(Vec::as_slice).ok_or_else(|| format!("no content: {node}"))
}

fn at_least_one(node: &Value) -> Result<&[Value], String> {
    let content = content(node)?;
    if content.is_empty() {
        return Err(format!("empty: {node}"));
    }
    Ok(content)
}

fn block(node: &Value, allowed: &[&str]) -> Result<(), String> {
    let kind = node["type"].as_str().unwrap_or_default();
    if !allowed.contains(&kind) {
        return Err(format!("{kind} may not stand here: {node}"));
    }
    const NESTED: [&str; 4] = ["paragraph", "bulletList", "orderedList", "codeBlock"];
    match kind {
        "paragraph" => {
            only(node, &["type", "content"])?;
            content(node)?.iter().try_for_each(inline)
        }
        "heading" => {
            only(node, &["type", "attrs", "content"])?;
            if !(1..=6).contains(&node["attrs"]["level"].as_u64().unwrap_or(0)) {
                return Err(format!("level: {node}"));
            }
            content(node)?.iter().try_for_each(inline)
        }
        "rule" => only(node, &["type"]),
        "codeBlock" => {
            only(node, &["type", "attrs", "content"])?;
            if let Some(attributes) = node.get("attrs") {
                only(attributes, &["language"])?;
                attributes["language"].as_str().ok_or("language")?;
            }
            let texts = node.get("content").map_or(Ok(&[][..]), |_| content(node))?;
            texts.iter().try_for_each(|text| only(text, &["type", "text"]).and_then(|()| inline(text)))
        }
        "blockquote" => {
            only(node, &["type", "content"])?;
            at_least_one(node)?.iter().try_for_each(|node| block(node, &NESTED))
        }
        "bulletList" | "orderedList" => {
            only(node, &["type", "attrs", "content"])?;
            if kind == "orderedList" {
                node["attrs"]["order"].as_u64().ok_or("order")?;
            } else if node.get("attrs").is_some() {
                return Err("attrs of a bulletList".to_owned());
            }
            for item in at_least_one(node)? {
                only(item, &["type", "content"])?;
                let inside = at_least_one(item)?;
                if item["type"] != "listItem"
                    || !["paragraph", "codeBlock"].iter().any(|k| inside[0]["type"] == *k)
                {
                    return Err(format!("item: {item}"));
                }
                inside.iter().try_for_each(|node| block(node, &NESTED))?;
            }
            Ok(())
        }
        "taskList" => tasks(node),
        "table" => {
            only(node, &["type", "content"])?;
            for row in at_least_one(node)? {
                only(row, &["type", "content"])?;
                for cell in content(row)? {
                    only(cell, &["type", "content"])?;
                    if row["type"] != "tableRow"
                        || !["tableCell", "tableHeader"].iter().any(|k| cell["type"] == *k)
                    {
                        return Err(format!("row: {row}"));
                    }
                    at_least_one(cell)?.iter().try_for_each(|node| block(node, &["paragraph"]))?;
                }
            }
            Ok(())
        }
        _ => Err(format!("unknown: {node}")),
    }
}

fn tasks(node: &Value) -> Result<(), String> {
    only(node, &["type", "attrs", "content"])?;
    node["attrs"]["localId"].as_str().ok_or("localId")?;
    let items = at_least_one(node)?;
    if items[0]["type"] != "taskItem" {
        return Err(format!("a task list starts with an item: {node}"));
    }
    for item in items {
        if item["type"] == "taskList" {
            tasks(item)?;
            continue;
        }
        only(item, &["type", "attrs", "content"])?;
        only(&item["attrs"], &["localId", "state"])?;
        if item["type"] != "taskItem"
            || !["TODO", "DONE"].iter().any(|state| item["attrs"]["state"] == *state)
        {
            return Err(format!("task: {item}"));
        }
        if item.get("content").is_some() {
            content(item)?.iter().try_for_each(inline)?;
        }
    }
    Ok(())
}

fn inline(node: &Value) -> Result<(), String> {
    match node["type"].as_str().unwrap_or_default() {
        "hardBreak" => only(node, &["type"]),
        "inlineCard" => {
            only(node, &["type", "attrs"])?;
            only(&node["attrs"], &["url"])?;
            node["attrs"]["url"].as_str().map(|_| ()).ok_or_else(|| "url".to_owned())
        }
        "text" => {
            only(node, &["type", "text", "marks"])?;
            if node["text"].as_str().unwrap_or_default().is_empty() {
                return Err(format!("an empty text: {node}"));
            }
            let Some(marks) = node.get("marks") else {
                return Ok(());
            };
            let marks = marks.as_array().ok_or("marks")?;
            let mut kinds: Vec<&str> =
                marks.iter().map(|mark| mark["type"].as_str().unwrap_or_default()).collect();
            let known: &[&str] =
                if kinds.contains(&"code") { &["code", "link"] } else { &["em", "strong", "strike", "link"] };
            if let Some(kind) = kinds.iter().find(|kind| !known.contains(kind)) {
                return Err(format!("mark {kind}: {node}"));
            }
            for mark in marks.iter().filter(|mark| mark["type"] == "link") {
                only(mark, &["type", "attrs"])?;
                only(&mark["attrs"], &["href"])?;
                mark["attrs"]["href"].as_str().ok_or("href")?;
            }
            kinds.sort_unstable();
            kinds.dedup();
            if kinds.len() == marks.len() { Ok(()) } else { Err(format!("a mark twice: {node}")) }
        }
        kind => Err(format!("{kind} is not inline: {node}")),
    }
}

#[track_caller]
fn round_trip(markdown: &str) {
    let document = from_markdown(markdown);
    validate(&document).unwrap();
    assert_eq!(to_markdown(&document), markdown, "{document:#}");
}

#[test]
fn common_constructs_round_trip() {
    for markdown in [
        "Some words.",
        "# Title\n\nText with **bold**, *slanted*, ~~gone~~ and `code`.",
        "- one\n- two\n  - below\n  - more\n- three",
        "3. three\n4. four",
        "- [x] done\n- [ ] open",
        "- [ ] open\n  - [x] below",
        "> a quotation\n>\n> in two parts",
        "```rust\nfn main() {\n    println!(\"`\");\n}\n```",
        "````\n```\ninside\n```\n````",
        "| a | b |\n| --- | --- |\n| 1 | `x` |\n| 2 |  |",
        "above\n\n---\n\nbelow",
        "a [link](https://example.com/x?y=1) and https://example.com/bare, too",
        "a line  \nand another",
        "[**both**](https://example.com)",
        "- a paragraph\n\n  ```\n  code\n  ```",
        "https://github.com/acme/shop/pull/7",
    ] {
        round_trip(markdown);
    }
}

#[test]
fn an_address_on_its_own_is_a_card_and_one_among_words_a_link() {
    let document = from_markdown("https://github.com/acme/shop/pull/7\n\nSee (https://example.com/a_(b)).");
    insta::assert_snapshot!(document, @r#"{"content":[{"content":[{"attrs":{"url":"https://github.com/acme/shop/pull/7"},"type":"inlineCard"}],"type":"paragraph"},{"content":[{"text":"See (","type":"text"},{"marks":[{"attrs":{"href":"https://example.com/a_(b)"},"type":"link"}],"text":"https://example.com/a_(b)","type":"text"},{"text":").","type":"text"}],"type":"paragraph"}],"type":"doc","version":1}"#);
}

#[test]
fn what_a_place_cannot_hold_becomes_what_it_can() {
    let document = from_markdown(
        "> # Title\n>\n> > deeper\n>\n> | a |\n> | - |\n> | 1 |\n\n- # Head\n- > quoted\n- [ ] task\n  1. sub\n-\n- ```\n  x\n  ```",
    );
    validate(&document).unwrap();
    insta::assert_snapshot!(to_markdown(&document), @r"
    > **Title**
    >
    > deeper
    >
    > a
    >
    > 1

    - **Head**
    - quoted
    - [ ] task
      1. sub
    -
    - ```
      x
      ```
    ");
}

#[test]
fn code_keeps_no_mark_but_a_link_and_bad_links_are_words() {
    let document = from_markdown(
        "**`a`** [`b`](https://x.test) [c](javascript:alert) ![](https://x.test/i.png) ![alt](rel.png)",
    );
    validate(&document).unwrap();
    assert_eq!(to_markdown(&document), "`a` [`b`](https://x.test) c https://x.test/i.png alt");
}

#[test]
fn html_comments_are_left_out_and_line_breaks_understood() {
    let document = from_markdown("<!-- hidden -->\n\none<br>two <!-- x -->three");
    validate(&document).unwrap();
    assert_eq!(to_markdown(&document), "one  \ntwo three");
}

#[test]
fn a_text_that_is_too_long_is_cut_and_says_so() {
    for markdown in [
        "word ".repeat(20_000),
        format!("```\n{}", "\"\n".repeat(40_000)),
        "| a ".repeat(9_000) + "\n" + &"|-".repeat(9_000),
    ] {
        let document = from_markdown(&markdown);
        validate(&document).unwrap();
        let length = document.to_string().encode_utf16().count();
        assert!(length <= 32_767, "{length}");
        assert!(to_markdown(&document).ends_with("… shortened: the text was too long for Jira."));
    }
    let document = from_markdown(&"word ".repeat(20_000));
    assert!(document.to_string().len() > 25_000, "not more is cut than needed");
}

#[test]
fn nesting_without_end_is_survived() {
    for markdown in
        [">".repeat(30_000) + "x", "- ".repeat(15_000) + "x", "*a _b ".repeat(5_000), "[".repeat(20_000)]
    {
        validate(&from_markdown(&markdown)).unwrap();
    }
    let mut document = json!({"type": "text", "text": "x"});
    for _ in 0..120 {
        document = json!({"type": "blockquote", "content": [document]});
    }
    assert!(to_markdown(&document).len() < 100_000);
}

#[test]
fn every_node_that_people_write_is_read() {
    let document = json!({"version": 1, "type": "doc", "content": [
        {"type": "panel", "attrs": {"panelType": "warning"}, "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "careful"}]}]},
        {"type": "paragraph", "content": [
            {"type": "mention", "attrs": {"id": "5b1", "text": "@Ann"}}, {"type": "text", "text": " "},
            {"type": "emoji", "attrs": {"shortName": ":smile:", "text": "😄"}}, {"type": "text", "text": " by "},
            {"type": "date", "attrs": {"timestamp": "1769731200000"}}, {"type": "hardBreak"},
            {"type": "status", "attrs": {"text": "DONE", "color": "green"}}, {"type": "text", "text": " "},
            {"type": "inlineCard", "attrs": {"url": "https://example.com/c"}},
            {"type": "text", "text": " bold ", "marks": [{"type": "strong"}, {"type": "textColor", "attrs": {"color": "#fff"}}]},
            {"type": "text", "text": "x`y", "marks": [{"type": "code"}]}]},
        {"type": "expand", "attrs": {"title": "More"}, "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "inside"}]}]},
        {"type": "table", "content": [
            {"type": "tableRow", "content": [
                {"type": "tableHeader", "content": [{"type": "paragraph", "content": [{"type": "text", "text": "a|b"}]}]}]},
            {"type": "tableRow", "content": [
                {"type": "tableCell", "content": [
                    {"type": "paragraph", "content": [{"type": "text", "text": "1"}]},
                    {"type": "paragraph", "content": [{"type": "text", "text": "2"}]}]},
                {"type": "tableCell", "content": []}]}]},
        {"type": "taskList", "attrs": {"localId": "t"}, "content": [
            {"type": "taskItem", "attrs": {"localId": "1", "state": "DONE"}, "content": [{"type": "text", "text": "did"}]},
            {"type": "blockTaskItem", "attrs": {"localId": "2", "state": "TODO"}, "content": [
                {"type": "paragraph", "content": [{"type": "text", "text": "do"}]}]}]},
        {"type": "decisionList", "attrs": {"localId": "d"}, "content": [
            {"type": "decisionItem", "attrs": {"localId": "1", "state": "DECIDED"}, "content": [{"type": "text", "text": "yes"}]}]},
        {"type": "mediaSingle", "content": [
            {"type": "media", "attrs": {"type": "file", "id": "1", "alt": "shot.png"}},
            {"type": "caption", "content": [{"type": "text", "text": "the shot"}]}]},
        {"type": "layoutSection", "content": [{"type": "layoutColumn", "attrs": {"width": 50}, "content": [
            {"type": "paragraph", "content": [{"type": "text", "text": "column"}]}]}]},
        {"type": "somethingNew", "content": [{"type": "text", "text": "kept"}]},
        {"type": "blockCard", "attrs": {"data": {"url": "https://example.com/b"}}},
    ]});
    insta::assert_snapshot!(to_markdown(&document).replace("  \n", "\\
"), @r"
    > **Warning:** careful

    @Ann 😄 by 2026-01-30\
    [DONE] https://example.com/c **bold** ``x`y``

    **More**

    inside

    | a\|b |  |
    | --- | --- |
    | 1<br>2 |  |

    - [x] did
    - [ ] do

    - Decision: yes

    [attachment: shot.png]

    the shot

    column

    kept

    https://example.com/b
    ");
}

#[test]
fn plain_and_missing_bodies_are_read() {
    assert_eq!(to_markdown(&json!("h1. wiki text\n")), "h1. wiki text");
    assert_eq!(to_markdown(&Value::Null), "");
    assert_eq!(to_markdown(&json!({})), "");
}

fn any_json() -> impl Strategy<Value = Value> {
    let kinds = prop::sample::select(vec![
        "doc",
        "paragraph",
        "text",
        "heading",
        "codeBlock",
        "bulletList",
        "orderedList",
        "listItem",
        "table",
        "tableRow",
        "tableCell",
        "taskList",
        "taskItem",
        "panel",
        "date",
        "mention",
        "media",
        "odd",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        kinds.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 5, move |inner| {
        let attributes = prop::collection::btree_map(
            prop::sample::select(vec!["level", "order", "language", "timestamp", "text", "state", "url"]),
            inner.clone(),
            0..3,
        );
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            (kinds.clone(), prop::collection::vec(inner.clone(), 0..5), attributes)
                .prop_map(|(kind, content, attrs)| json!({"type": kind, "content": content, "attrs": attrs, "text": "t"})),
            (kinds.clone(), inner.clone(), inner)
                .prop_map(|(kind, content, marks)| json!({"type": kind, "content": content, "marks": marks, "text": "x"})),
        ]
    })
}

proptest! {
    #[test]
    fn any_markdown_gives_a_valid_document(
        lines in prop::collection::vec("(> |- |1\\. |\\- \\[x\\] |# |    |\\| |```|<!--|\\*\\*|`|https://)?(> |- )?[a-z *_`~\\[\\]()<>|!&;:/\\\\\u{0}-]{0,16}", 0..14),
    ) {
        let markdown = lines.join("\n");
        let document = from_markdown(&markdown);
        prop_assert_eq!(validate(&document), Ok(()), "{}", document);
    }

    #[test]
    fn any_text_gives_a_valid_document(markdown in "\\PC{0,200}") {
        prop_assert_eq!(validate(&from_markdown(&markdown)), Ok(()));
    }

    #[test]
    fn any_json_gives_markdown(document in any_json()) {
        let markdown = to_markdown(&document);
        prop_assert_eq!(validate(&from_markdown(&markdown)), Ok(()));
    }
}

#[test]
fn a_text_of_addresses_or_emphasis_alone_takes_bounded_time() {
    let start = std::time::Instant::now();
    let closing = format!("http://a{}", ")".repeat(100_000));
    let nested = format!("{}{}", "*a ".repeat(10_000), "a* ".repeat(10_000));
    for text in [closing, nested, "http://|".repeat(20_000)] {
        assert!(from_markdown(&text).to_string().len() < 33_000);
    }
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}
