use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};
use serde_json::{Map, Value, json};

/// The document that a Markdown text describes. What the format has no node for stays as text.
#[must_use]
pub fn from_markdown(markdown: &str) -> Value {
    let mut writer = Writer { open: vec![Node::new("doc", json!({}))], marks: Vec::new() };
    for event in Parser::new(markdown) {
        writer.take(event);
    }
    while writer.open.len() > 1 {
        writer.close();
    }
    let content = writer.open.pop().map(|node| node.content).unwrap_or_default();
    json!({"version": 1, "type": "doc", "content": content})
}

struct Node {
    kind: &'static str,
    attrs: Value,
    content: Vec<Value>,
}

impl Node {
    fn new(kind: &'static str, attrs: Value) -> Self {
        Self { kind, attrs, content: Vec::new() }
    }

    fn json(self) -> Value {
        let mut shown = json!({"type": self.kind, "content": self.content});
        if self.attrs.as_object().is_some_and(|attrs| !attrs.is_empty()) {
            shown["attrs"] = self.attrs;
        }
        shown
    }
}

struct Writer {
    open: Vec<Node>,
    marks: Vec<Value>,
}

impl Writer {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(end) => self.end(end),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text, None),
            Event::Code(text) => self.text(&text, Some(json!({"type": "code"}))),
            Event::SoftBreak => self.text(" ", None),
            Event::HardBreak => self.push(json!({"type": "hardBreak"})),
            Event::Rule => self.push(json!({"type": "rule"})),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        let mark = |kind: &str| json!({"type": kind});
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.begin("paragraph", json!({})),
            Tag::Heading { level, .. } => self.begin("heading", json!({"level": level_number(level)})),
            Tag::BlockQuote(_) => self.begin("blockquote", json!({})),
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) if !language.is_empty() => {
                self.begin("codeBlock", json!({"language": language.as_ref()}));
            }
            Tag::CodeBlock(_) => self.begin("codeBlock", json!({})),
            Tag::List(None) => self.begin("bulletList", json!({})),
            Tag::List(Some(order)) => self.begin("orderedList", json!({"order": order})),
            Tag::Item => self.begin("listItem", json!({})),
            Tag::Emphasis => self.marks.push(mark("em")),
            Tag::Strong => self.marks.push(mark("strong")),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.marks.push(json!({"type": "link", "attrs": {"href": dest_url.as_ref()}}));
            }
            _ => {}
        }
    }

    fn end(&mut self, end: TagEnd) {
        match end {
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Link | TagEnd::Image => {
                self.marks.pop();
            }
            TagEnd::Item => {
                self.leave_paragraph();
                self.close();
            }
            TagEnd::Paragraph | TagEnd::HtmlBlock => self.leave_paragraph(),
            TagEnd::Heading(_) | TagEnd::BlockQuote(_) | TagEnd::CodeBlock | TagEnd::List(_) => self.close(),
            _ => {}
        }
    }

    /// A tight list's text comes without a paragraph; a block that follows ends that text.
    fn begin(&mut self, kind: &'static str, attrs: Value) {
        self.leave_paragraph();
        self.open.push(Node::new(kind, attrs));
    }

    fn leave_paragraph(&mut self) {
        if self.open.last().is_some_and(|node| node.kind == "paragraph") {
            self.close();
        }
    }

    fn text(&mut self, text: &str, extra: Option<Value>) {
        let in_code = self.open.last().is_some_and(|node| node.kind == "codeBlock");
        let text = if in_code { text } else { text.trim_end_matches('\n') };
        if text.is_empty() {
            return;
        }
        if self.open.last().is_some_and(|node| ["doc", "listItem", "blockquote"].contains(&node.kind)) {
            self.open.push(Node::new("paragraph", json!({})));
        }
        // Inline code goes with a link, and with nothing else.
        let goes = |mark: &&Value| extra.is_none() || mark["type"] == "link";
        let marks: Vec<Value> = self.marks.iter().filter(goes).cloned().chain(extra.clone()).collect();
        let mut node = Map::from_iter([("type".to_owned(), json!("text")), ("text".to_owned(), json!(text))]);
        if !marks.is_empty() && !in_code {
            node.insert("marks".to_owned(), json!(marks));
        }
        self.push(Value::Object(node));
    }

    fn push(&mut self, node: Value) {
        if let Some(parent) = self.open.last_mut() {
            parent.content.push(node);
        }
    }

    fn close(&mut self) {
        let Some(mut node) = self.open.pop() else { return };
        match node.kind {
            "codeBlock" => trim_last_line(&mut node.content),
            // These may not be empty.
            "listItem" | "blockquote" if node.content.is_empty() => {
                node.content.push(json!({"type": "paragraph", "content": []}));
            }
            _ => {}
        }
        self.push(node.json());
    }
}

fn trim_last_line(content: &mut Vec<Value>) {
    let Some(last) = content.last_mut() else { return };
    let text = last["text"].as_str().unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(text).to_owned();
    if text.is_empty() {
        content.pop();
    } else {
        last["text"] = json!(text);
    }
}

fn level_number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
