//! ADF to Markdown.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// How deep nodes may be nested; what is deeper is left out.
const DEPTH_LIMIT: usize = 64;

/// The document as Markdown. Texts are not escaped: they are for reading. A plain text is itself (older bodies and
/// Data Center have wiki text), an unknown node is the text inside it, anything else is empty.
#[must_use]
pub fn to_markdown(document: &Value) -> String {
    match document {
        Value::String(text) => text.trim().to_owned(),
        Value::Object(_) => block(document, 0).trim_matches('\n').to_owned(),
        Value::Array(nodes) => blocks(nodes, 0).trim_matches('\n').to_owned(),
        _ => String::new(),
    }
}

fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn attribute<'node>(node: &'node Value, name: &str) -> &'node str {
    node["attrs"][name].as_str().unwrap_or_default()
}

fn is_inline(node: &Value) -> bool {
    matches!(
        kind(node),
        "text"
            | "hardBreak"
            | "mention"
            | "emoji"
            | "date"
            | "status"
            | "inlineCard"
            | "placeholder"
            | "mediaInline"
            | "inlineExtension"
    )
}

/// The nodes as blocks with an empty line between; runs of inline nodes are a paragraph.
fn blocks(nodes: &[Value], depth: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for run in nodes.chunk_by(|a, b| is_inline(a) && is_inline(b)) {
        let part = if run.first().is_some_and(is_inline) {
            inlines(run, depth)
        } else {
            run.iter().map(|node| block(node, depth)).collect::<Vec<_>>().join("\n\n")
        };
        if !part.trim().is_empty() {
            parts.push(part.trim_matches('\n').to_owned());
        }
    }
    parts.join("\n\n")
}

fn block(node: &Value, depth: usize) -> String {
    if depth > DEPTH_LIMIT {
        return String::new();
    }
    let (inside, deeper) = (children(node), depth + 1);
    match kind(node) {
        "paragraph" | "caption" => inlines(inside, deeper),
        "heading" => {
            let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 6);
            let hashes = "######".get(..usize::try_from(level).unwrap_or(1)).unwrap_or("#");
            format!("{hashes} {}", one_line(&inlines(inside, deeper)))
        }
        "rule" => "---".to_owned(),
        "blockquote" => quoted(&blocks(inside, deeper)),
        "panel" => panel(attribute(node, "panelType"), &blocks(inside, deeper)),
        "codeBlock" => code_block(node),
        "bulletList" => list(inside, deeper, |_| "- ".to_owned()),
        "orderedList" => {
            let first = node["attrs"]["order"].as_u64().unwrap_or(1);
            list(inside, deeper, |index| format!("{}. ", first.saturating_add(index)))
        }
        "taskList" => task_list(inside, deeper),
        "decisionList" => list(inside, deeper, |_| "- Decision: ".to_owned()),
        "expand" | "nestedExpand" => {
            let title = attribute(node, "title");
            let title = if title.is_empty() { String::new() } else { format!("**{title}**\n\n") };
            format!("{title}{}", blocks(inside, deeper))
        }
        "table" => table(inside, deeper),
        "blockCard" | "embedCard" => card(node),
        "media" => media(node),
        "extension" if inside.is_empty() => attribute(node, "text").to_owned(),
        _ if is_inline(node) => inline(node, deeper),
        _ => blocks(inside, deeper),
    }
}

fn one_line(text: &str) -> String {
    text.replace("  \n", " ").replace('\n', " ")
}

fn indented(text: &str, first: &str) -> String {
    let rest = " ".repeat(first.len().min(4));
    let mut result = String::new();
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            result.push('\n');
        }
        if index == 0 {
            result.push_str(first);
        } else if !line.is_empty() {
            result.push_str(&rest);
        }
        result.push_str(line);
    }
    if result.is_empty() { first.trim_end().to_owned() } else { result }
}

fn quoted(text: &str) -> String {
    let quote = |line: &str| {
        if line.is_empty() { ">".to_owned() } else { format!("> {line}") }
    };
    text.lines().map(quote).collect::<Vec<_>>().join("\n")
}

fn panel(kind: &str, text: &str) -> String {
    let title = match kind {
        "note" => "**Note:** ",
        "tip" => "**Tip:** ",
        "warning" => "**Warning:** ",
        "error" => "**Error:** ",
        "success" => "**Success:** ",
        _ => "**Info:** ",
    };
    quoted(&format!("{title}{text}"))
}

/// A fence that no run of backticks inside can close.
fn fence_for(text: &str, least: usize) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(least.max(longest + 1))
}

fn code_block(node: &Value) -> String {
    let text: String = children(node).iter().filter_map(|node| node["text"].as_str()).collect();
    let fence = fence_for(&text, 3);
    let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{}\n{text}{newline}{fence}", one_line(attribute(node, "language")))
}

fn list(items: &[Value], depth: usize, bullet: impl Fn(u64) -> String) -> String {
    let line = |(index, item): (u64, &Value)| indented(&item_text(item, depth), &bullet(index));
    (0..).zip(items).map(line).collect::<Vec<_>>().join("\n")
}

/// An item's blocks; a list directly below a paragraph needs no empty line.
fn item_text(item: &Value, depth: usize) -> String {
    let mut text = String::new();
    for run in children(item).chunk_by(|a, b| is_inline(a) && is_inline(b)) {
        let is_list = run.first().is_some_and(|node| kind(node).ends_with("List"));
        let part = blocks(run, depth + 1);
        if part.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str(if is_list { "\n" } else { "\n\n" });
        }
        text.push_str(&part);
    }
    text
}

fn task_list(items: &[Value], depth: usize) -> String {
    let line = |item: &Value| {
        if kind(item) == "taskList" {
            return indented(&block(item, depth), "  ");
        }
        let done = attribute(item, "state") == "DONE";
        indented(&item_text(item, depth), if done { "- [x] " } else { "- [ ] " })
    };
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn table(rows: &[Value], depth: usize) -> String {
    let cell = |cell: &Value| {
        let text = blocks(children(cell), depth + 1);
        text.replace("  \n", "<br>").replace("\n\n", "<br>").replace('\n', "<br>").replace('|', "\\|")
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| children(row).iter().map(cell).collect()).collect();
    let width = rows.iter().map(Vec::len).max().unwrap_or(0);
    if width == 0 {
        return String::new();
    }
    let line = |cells: &[String]| {
        let padded = (0..width).map(|column| cells.get(column).map_or("", String::as_str));
        format!("| {} |", padded.collect::<Vec<_>>().join(" | "))
    };
    let mut lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
    lines.insert(1, format!("|{}", " --- |".repeat(width)));
    lines.join("\n")
}

fn card(node: &Value) -> String {
    let url = attribute(node, "url");
    let url = if url.is_empty() { node["attrs"]["data"]["url"].as_str().unwrap_or_default() } else { url };
    url.to_owned()
}

fn media(node: &Value) -> String {
    let name =
        [attribute(node, "alt"), attribute(node, "url"), "file"].into_iter().find(|name| !name.is_empty());
    format!("[attachment: {}]", name.unwrap_or_default())
}

/// Inline nodes as one text; neighbours with the same marks are one run.
fn inlines(nodes: &[Value], depth: usize) -> String {
    let same_marks = |a: &Value, b: &Value| {
        kind(a) == "text" && kind(b) == "text" && a.get("marks").is_some() && a.get("marks") == b.get("marks")
    };
    let mut text = String::new();
    for run in nodes.chunk_by(same_marks) {
        match run {
            [node] if kind(node) != "text" => text.push_str(&inline(node, depth)),
            [first, ..] => {
                let words: String = run.iter().filter_map(|node| node["text"].as_str()).collect();
                text.push_str(&marked(&words, &first["marks"]));
            }
            [] => {}
        }
    }
    text
}

fn inline(node: &Value, depth: usize) -> String {
    if depth > DEPTH_LIMIT {
        return String::new();
    }
    match kind(node) {
        "text" => marked(node["text"].as_str().unwrap_or_default(), &node["marks"]),
        "hardBreak" => "  \n".to_owned(),
        "mention" => {
            let name = attribute(node, "text");
            let name = if name.is_empty() { attribute(node, "id") } else { name };
            format!("@{}", name.trim_start_matches('@'))
        }
        "emoji" => {
            let text = attribute(node, "text");
            let text = if text.is_empty() { attribute(node, "shortName") } else { text };
            text.to_owned()
        }
        "date" => date(&node["attrs"]["timestamp"]),
        "status" => format!("[{}]", attribute(node, "text")),
        "placeholder" | "inlineExtension" => attribute(node, "text").to_owned(),
        "inlineCard" => card(node),
        "mediaInline" => media(node),
        _ => block(node, depth),
    }
}

/// A date node holds milliseconds since 1970, as a text.
fn date(value: &Value) -> String {
    let millis = value.as_str().and_then(|text| text.parse().ok()).or_else(|| value.as_i64());
    millis
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .map(|moment| moment.to_zoned(TimeZone::UTC).date().to_string())
        .unwrap_or_default()
}

fn marked(text: &str, marks: &Value) -> String {
    let marks = marks.as_array().map(Vec::as_slice).unwrap_or_default();
    let has = |name: &str| marks.iter().any(|mark| kind(mark) == name);
    // Emphasis around outer spaces is no emphasis in Markdown.
    let core = text.trim();
    if core.is_empty() || marks.is_empty() {
        return text.to_owned();
    }
    let start = text.len() - text.trim_start().len();
    let mut result = core.to_owned();
    if has("code") {
        let fence = fence_for(core, 1);
        let gap = if core.starts_with('`') || core.ends_with('`') { " " } else { "" };
        result = format!("{fence}{gap}{core}{gap}{fence}");
    }
    for (name, around) in [("em", "*"), ("strong", "**"), ("strike", "~~")] {
        if has(name) {
            result = format!("{around}{result}{around}");
        }
    }
    let link = marks.iter().find(|mark| kind(mark) == "link");
    if let Some(href) = link.map(|mark| attribute(mark, "href")).filter(|href| !href.is_empty()) {
        let bare = href == core && result == core;
        result = if bare {
            href.to_owned()
        } else {
            let plain = !href.contains(|c: char| c.is_whitespace() || "()<>".contains(c));
            let target =
                if plain { href.to_owned() } else { format!("<{}>", href.replace(['<', '>', '\n'], "")) };
            format!("[{result}]({target})")
        };
    }
    format!("{}{result}{}", &text[..start], &text[start + core.len()..])
}
