//! Jira's rich text. Any JSON is read, any Markdown is written as a document that Jira takes, and what was written is
//! read again.

use arbitrary::Unstructured;
use jira_agent::jira::adf::{from_markdown, to_markdown};
use serde_json::{Map, Value, json};

use crate::source::{altered, any_json, below, number, once_in, pick, text};

/// The longest document that is written, in UTF-16 units, as the product promises.
const DOCUMENT_LIMIT: usize = 32_767;

const BLOCKS: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "listItem",
    "taskList",
    "taskItem",
    "decisionList",
    "decisionItem",
    "blockquote",
    "panel",
    "codeBlock",
    "expand",
    "nestedExpand",
    "table",
    "tableRow",
    "tableCell",
    "tableHeader",
    "rule",
    "mediaSingle",
    "mediaGroup",
    "media",
    "caption",
    "layoutSection",
    "layoutColumn",
    "extension",
    "bodiedExtension",
    "blockCard",
    "embedCard",
    "doc",
    "unknown",
];

const INLINES: &[&str] = &[
    "text",
    "hardBreak",
    "mention",
    "emoji",
    "date",
    "status",
    "inlineCard",
    "placeholder",
    "mediaInline",
    "inlineExtension",
];

/// A document, a document nested too deeply, or Markdown.
pub fn generate(source: &mut Unstructured<'_>) -> Vec<u8> {
    match below(source, 8) {
        0 => bomb(source).into_bytes(),
        1..=3 => markdown(source).into_bytes(),
        _ => {
            let document = document(source);
            altered(source, document).to_string().into_bytes()
        }
    }
}

/// A document of up to some dozen nodes.
pub fn document(source: &mut Unstructured<'_>) -> Value {
    let mut room = 40;
    let content: Vec<Value> = (0..below(source, 4)).map(|_| node(source, 8, &mut room)).collect();
    json!({"type": "doc", "version": 1, "content": content})
}

fn node(source: &mut Unstructured<'_>, depth: usize, room: &mut usize) -> Value {
    *room = room.saturating_sub(1);
    let is_block = depth > 0 && *room > 0 && !once_in(source, 3);
    let mut node = Map::new();
    node.insert("type".to_owned(), json!(pick(source, if is_block { BLOCKS } else { INLINES })));
    if !is_block || once_in(source, 8) {
        node.insert("text".to_owned(), json!(text(source, 5)));
        node.insert("marks".to_owned(), (0..below(source, 4)).map(|_| mark(source)).collect());
    }
    if !once_in(source, 3) {
        node.insert("attrs".to_owned(), attributes(source));
    }
    if is_block {
        let count = below(source, 4);
        node.insert("content".to_owned(), (0..count).map(|_| self::node(source, depth - 1, room)).collect());
    }
    Value::Object(node)
}

fn mark(source: &mut Unstructured<'_>) -> Value {
    let kind = pick(source, &["code", "em", "strong", "strike", "link", "underline", "textColor", ""]);
    json!({"type": kind, "attrs": {"href": text(source, 3)}})
}

fn attributes(source: &mut Unstructured<'_>) -> Value {
    let fixed = json!({
        "level": number(source), "order": number(source), "state": pick(source, &["DONE", "TODO", "x"]),
        "panelType": pick(source, &["info", "note", "x"]), "language": text(source, 2), "text": text(source, 3),
        "timestamp": if once_in(source, 2) { number(source) } else { json!("1769774400000") },
        "url": text(source, 3), "title": text(source, 2), "alt": text(source, 2), "colspan": number(source),
    });
    if once_in(source, 8) { any_json(source, 2) } else { fixed }
}

/// Something many times within itself.
fn bomb(source: &mut Unstructured<'_>) -> String {
    let times = 1 + below(source, 3_000);
    let (open, close) = match below(source, 14) {
        0 => ("{\"type\":\"blockquote\",\"content\":[", "]}"),
        1 => ("{\"type\":\"bulletList\",\"content\":[{\"type\":\"listItem\",\"content\":[", "]}]}"),
        2 => ("[", "]"),
        3 => (">", "x"),
        4 => ("- ", "x"),
        5 => ("*a ", "a*"),
        6 => ("[", "](x)"),
        7 => ("![", "](http://x)"),
        8 => ("<", ">"),
        9 => ("1. - ", ""),
        10 => ("http://a)", ")"),
        11 => ("`", "``"),
        12 => ("|", "|-|\n"),
        _ => ("~~a**b", "b**a~~"),
    };
    let json = open.starts_with('{') || open == "[";
    let times = if json && !once_in(source, 4) { times % 62 } else { times };
    format!("{}{}{}", open.repeat(times), if json { "" } else { "x" }, close.repeat(times))
}

const LINES: &[&str] = &[
    "# ",
    "###### ",
    "- ",
    "* ",
    "1. ",
    "999999999. ",
    "> ",
    "```rust\n",
    "```\n",
    "~~~\n",
    "    ",
    "- [ ] ",
    "- [x] ",
    "| a | b |\n|---|---|\n| ",
    "---\n",
    "<div>",
    "<br>",
    "<!-- ",
    "-->",
    "[a]: http://x\n",
    "\n\n",
    "[^1]: ",
    "",
];

fn markdown(source: &mut Unstructured<'_>) -> String {
    let mut markdown = String::new();
    for _ in 0..below(source, 16) {
        let indent = " ".repeat(below(source, 5));
        markdown.push_str(&indent);
        for _ in 0..=below(source, 3) {
            markdown.push_str(pick(source, LINES));
        }
        markdown.push_str(&text(source, 8));
        markdown.push('\n');
    }
    if once_in(source, 100) { markdown.repeat(1 + 40_000 / (markdown.len() + 1)) } else { markdown }
}

/// See the module.
pub fn check(input: &[u8]) {
    if let Ok(document) = serde_json::from_slice::<Value>(input) {
        let markdown = to_markdown(&document);
        // Every level may indent every line.
        let most = 10_000 + input.len() * 200;
        assert!(markdown.len() <= most, "{} bytes became {}", input.len(), markdown.len());
        check_markdown(&markdown);
    } else {
        check_markdown(&String::from_utf8_lossy(input));
    }
}

fn check_markdown(markdown: &str) {
    let document = from_markdown(markdown);
    let length = document.to_string().encode_utf16().count();
    assert!(length <= DOCUMENT_LIMIT, "a document of {length} units");
    check_node(&document);
    check_node(&from_markdown(&to_markdown(&document)));
}

/// Jira refuses nodes without a type, texts that are empty and content that is no list.
fn check_node(node: &Value) {
    assert!(node["type"].is_string(), "a node without a type: {node}");
    if node["type"] == "text" {
        assert!(node["text"].as_str().is_some_and(|text| !text.is_empty()), "an empty text: {node}");
    }
    match node.get("content") {
        None => {}
        Some(Value::Array(nodes)) => nodes.iter().for_each(check_node),
        Some(other) => panic!("content that is no list: {other}"),
    }
}
