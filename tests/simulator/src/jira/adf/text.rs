use serde_json::Value;

/// The document as Markdown; a node that is not known counts for its content.
#[must_use]
pub fn to_markdown(document: &Value) -> String {
    blocks(document).join("\n\n")
}

/// How many characters of text a document holds; a card or a mention counts as one.
#[must_use]
pub fn text_length(node: &Value) -> usize {
    let own = match kind(node) {
        "text" => node["text"].as_str().map_or(0, |text| text.chars().count()),
        "hardBreak" | "inlineCard" | "mention" | "emoji" | "rule" => 1,
        _ => 0,
    };
    own + children(node).iter().map(text_length).sum::<usize>()
}

fn kind(node: &Value) -> &str {
    node["type"].as_str().unwrap_or_default()
}

fn children(node: &Value) -> &[Value] {
    node["content"].as_array().map_or(&[], Vec::as_slice)
}

fn blocks(node: &Value) -> Vec<String> {
    children(node).iter().map(block).filter(|text| !text.is_empty()).collect()
}

fn block(node: &Value) -> String {
    match kind(node) {
        "heading" => {
            let level = node["attrs"]["level"].as_u64().unwrap_or(1).clamp(1, 6);
            let marks: String = (0..level).map(|_| '#').collect();
            format!("{marks} {}", inline(node))
        }
        "codeBlock" => {
            let language = node["attrs"]["language"].as_str().unwrap_or_default();
            format!("```{language}\n{}\n```", plain(node))
        }
        "bulletList" => list(node, |_| "- ".to_owned()),
        "taskList" => list(node, |item| {
            let done = item["attrs"]["state"] == "DONE";
            format!("- [{}] ", if done { 'x' } else { ' ' })
        }),
        "orderedList" => {
            let mut number = node["attrs"]["order"].as_u64().unwrap_or(1);
            list(node, |_| {
                number += 1;
                format!("{}. ", number - 1)
            })
        }
        "blockquote" | "panel" => prefixed(&blocks(node).join("\n\n"), "> ", "> "),
        "rule" => "---".to_owned(),
        "expand" | "nestedExpand" => {
            let title = node["attrs"]["title"].as_str().unwrap_or_default();
            format!("{title}\n\n{}", blocks(node).join("\n\n"))
        }
        "tableRow" => {
            children(node).iter().map(|cell| blocks(cell).join(" ")).collect::<Vec<_>>().join(" | ")
        }
        "table" => blocks(node).join("\n"),
        _ if has_inline(node) => inline(node),
        _ => blocks(node).join("\n\n"),
    }
}

fn has_inline(node: &Value) -> bool {
    let inline = ["text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status"];
    kind(node) == "paragraph"
        || inline.contains(&kind(node))
        || children(node).iter().any(|it| inline.contains(&kind(it)))
}

fn list(node: &Value, mut bullet: impl FnMut(&Value) -> String) -> String {
    let item = |item: &Value| {
        let bullet = bullet(item);
        let text = if has_inline(item) { inline(item) } else { blocks(item).join("\n") };
        let indent: String = bullet.chars().map(|_| ' ').collect();
        prefixed(&text, &bullet, &indent)
    };
    children(node).iter().map(item).collect::<Vec<_>>().join("\n")
}

fn prefixed(text: &str, first: &str, rest: &str) -> String {
    let line = |(index, line): (usize, &str)| format!("{}{line}", if index == 0 { first } else { rest });
    text.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n")
}

fn plain(node: &Value) -> String {
    match kind(node) {
        "text" => node["text"].as_str().unwrap_or_default().to_owned(),
        _ => children(node).iter().map(plain).collect(),
    }
}

fn inline(node: &Value) -> String {
    let attribute = |name: &str| node["attrs"][name].as_str().unwrap_or_default().to_owned();
    match kind(node) {
        "text" => marked(node),
        "hardBreak" => "\n".to_owned(),
        "mention" | "status" => attribute("text"),
        "emoji" => attribute("shortName"),
        "inlineCard" => attribute("url"),
        "date" => attribute("timestamp"),
        _ => children(node).iter().map(inline).collect(),
    }
}

fn marked(node: &Value) -> String {
    let text = node["text"].as_str().unwrap_or_default().to_owned();
    let marks = node["marks"].as_array().map_or(&[][..], Vec::as_slice);
    // Written from the inside out: what stands last in the list is innermost.
    marks.iter().rev().fold(text, |text, mark| match kind(mark) {
        "code" => format!("`{text}`"),
        "strong" => format!("**{text}**"),
        "em" => format!("*{text}*"),
        "strike" => format!("~~{text}~~"),
        "link" => format!("[{text}]({})", mark["attrs"]["href"].as_str().unwrap_or_default()),
        _ => text,
    })
}
