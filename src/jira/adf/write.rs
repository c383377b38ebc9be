//! Markdown to ADF, valid by the published schema (npm `@atlaskit/adf-schema`, `full.json`) and by the stricter rules
//! of older Jira versions: a list item holds paragraphs, lists and code, a quotation the same.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd, TextMergeStream};
use serde_json::{Value, json};

use super::inline::Inlines;

/// Jira refuses longer texts. Whether it counts the words or the whole document is not documented, so the document is
/// kept below it, counted in UTF-16 units as Java does.
const LENGTH_LIMIT: usize = 32_767;

/// What is behind so many bytes of Markdown is not read: it could not be in the document either, unless what is before
/// were comments.
const SOURCE_LIMIT: usize = 16 * LENGTH_LIMIT;

/// How deep lists and quotations may be nested; what is deeper becomes plain text.
const DEPTH_LIMIT: usize = 12;

const SHORTENED: &str = "… shortened: the text was too long for Jira.";

/// The Markdown (CommonMark with tables, task lists and strikethrough) as an ADF document. A text that is too long for
/// Jira is cut, and says so at its end. HTML comments are left out.
#[must_use]
pub fn from_markdown(markdown: &str) -> Value {
    let mut source = cut(markdown, SOURCE_LIMIT);
    loop {
        let mut content = Writer::new(source).document();
        if source.len() < markdown.len() {
            content.push(paragraph(vec![json!({"type": "text", "text": SHORTENED})]));
        }
        let document = json!({"version": 1, "type": "doc", "content": content});
        let length = document.to_string().encode_utf16().count();
        if length <= LENGTH_LIMIT || source.is_empty() {
            return document;
        }
        // The ratio of document to source is about the same in its first part; a little less makes few rounds.
        let wanted = (source.len() as u128 * LENGTH_LIMIT as u128 * 19 / 20 / length as u128) as usize;
        source = cut(source, wanted.min(source.len() - 1));
    }
}

/// At most `length` bytes, ending with a line where there is one in the last quarter.
fn cut(text: &str, length: usize) -> &str {
    if text.len() <= length {
        return text;
    }
    let end = text.floor_char_boundary(length);
    let line_end = text[..end].rfind('\n').filter(|at| *at >= end - end / 4);
    &text[..line_end.unwrap_or(end)]
}

pub(super) fn paragraph(content: Vec<Value>) -> Value {
    json!({"type": "paragraph", "content": content})
}

/// A finished node, or a list whose kind depends on where it stands.
enum Block {
    Node(Value),
    List(List),
}

struct List {
    first_number: Option<u64>,
    items: Vec<Item>,
}

struct Item {
    done: Option<bool>,
    blocks: Vec<Block>,
}

struct Writer<'text> {
    events: TextMergeStream<'text, Parser<'text>>,
    /// The check box of the item that is being read.
    check_box: Option<bool>,
}

impl<'text> Writer<'text> {
    fn new(markdown: &'text str) -> Self {
        let options = Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS | Options::ENABLE_STRIKETHROUGH;
        Self { events: TextMergeStream::new(Parser::new_ext(markdown, options)), check_box: None }
    }

    fn document(&mut self) -> Vec<Value> {
        let blocks = self.blocks(0);
        let mut tasks = 0;
        blocks
            .into_iter()
            .map(|block| match block {
                Block::Node(node) => node,
                Block::List(list) if list.is_tasks() => list.into_tasks(&mut tasks),
                Block::List(list) => list.into_node(),
            })
            .collect()
    }

    /// The blocks up to the end of the one that was entered. Inline events among them are a paragraph (tight lists).
    fn blocks(&mut self, depth: usize) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut line = Inlines::default();
        while let Some(event) = self.events.next() {
            match event {
                Event::Start(tag) if Inlines::takes(&tag.to_end()) => line.open(&tag),
                Event::End(end) if Inlines::takes(&end) => line.close(),
                Event::End(_) => break,
                Event::TaskListMarker(done) => self.check_box = Some(done),
                Event::Start(tag) => {
                    push_paragraph(std::mem::take(&mut line), &mut blocks);
                    self.block(tag, depth, &mut blocks);
                }
                Event::Rule => {
                    push_paragraph(std::mem::take(&mut line), &mut blocks);
                    if depth == 0 {
                        blocks.push(Block::Node(json!({"type": "rule"})));
                    }
                }
                event => line.push(&event),
            }
        }
        push_paragraph(line, &mut blocks);
        blocks
    }

    fn block(&mut self, tag: Tag<'text>, depth: usize, blocks: &mut Vec<Block>) {
        match tag {
            Tag::Heading { level, .. } => {
                let line = self.line();
                let node = if depth == 0 {
                    json!({"type": "heading", "attrs": {"level": level as usize}, "content": line.finish()})
                } else {
                    paragraph(line.bold().finish())
                };
                if node["content"].as_array().is_some_and(|content| !content.is_empty()) {
                    blocks.push(Block::Node(node));
                }
            }
            Tag::CodeBlock(kind) => {
                let text = self.plain_text();
                blocks.push(Block::Node(code_block(&kind, &text)));
            }
            Tag::BlockQuote(_) | Tag::List(_) if depth >= DEPTH_LIMIT => {
                let mut line = Inlines::default();
                line.push(&Event::Text(self.plain_text().trim().to_owned().into()));
                push_paragraph(line, blocks);
            }
            Tag::BlockQuote(_) => {
                let inside = self.blocks(depth + 1);
                if depth > 0 {
                    blocks.extend(inside);
                } else if !inside.is_empty() {
                    let content: Vec<Value> = inside.into_iter().map(Block::into_node).collect();
                    blocks.push(Block::Node(json!({"type": "blockquote", "content": content})));
                }
            }
            Tag::List(first_number) => {
                let items = self.items(depth + 1);
                if !items.is_empty() {
                    blocks.push(Block::List(List { first_number, items }));
                }
            }
            Tag::Table(_) => self.table(depth, blocks),
            Tag::Paragraph | Tag::HtmlBlock => push_paragraph(self.line(), blocks),
            _ => blocks.extend(self.blocks(depth + 1)),
        }
    }

    /// The inline content up to the end of the block that was entered.
    fn line(&mut self) -> Inlines {
        let mut line = Inlines::default();
        for event in self.events.by_ref() {
            match event {
                Event::Start(tag) => line.open(&tag),
                Event::End(end) if Inlines::takes(&end) => line.close(),
                Event::End(_) => break,
                Event::TaskListMarker(done) => self.check_box = Some(done),
                event => line.push(&event),
            }
        }
        line
    }

    /// All text up to the end of the block that was entered, without recursion.
    fn plain_text(&mut self) -> String {
        let (mut text, mut open) = (String::new(), 1_usize);
        for event in self.events.by_ref() {
            match event {
                Event::Start(_) => open += 1,
                Event::End(TagEnd::Paragraph | TagEnd::Item | TagEnd::Heading(_)) if open > 1 => {
                    open -= 1;
                    text.push('\n');
                }
                Event::End(_) => open -= 1,
                Event::Text(part) | Event::Code(part) => text.push_str(&part),
                Event::SoftBreak | Event::HardBreak => text.push('\n'),
                _ => {}
            }
            if open == 0 {
                break;
            }
        }
        text
    }

    fn items(&mut self, depth: usize) -> Vec<Item> {
        let mut items = Vec::new();
        while let Some(Event::Start(_)) = self.events.next() {
            let outer = self.check_box.take();
            let blocks = self.blocks(depth);
            let done = std::mem::replace(&mut self.check_box, outer);
            items.push(Item { done, blocks });
        }
        items
    }

    fn table(&mut self, depth: usize, blocks: &mut Vec<Block>) {
        let mut rows: Vec<(bool, Vec<Inlines>)> = Vec::new();
        while let Some(event) = self.events.next() {
            match event {
                Event::Start(Tag::TableHead) => rows.push((true, Vec::new())),
                Event::Start(Tag::TableRow) => rows.push((false, Vec::new())),
                Event::Start(_) => {
                    let cell = self.line();
                    if let Some((_, cells)) = rows.last_mut() {
                        cells.push(cell);
                    }
                }
                Event::End(TagEnd::Table) => break,
                _ => {}
            }
        }
        if depth == 0 {
            let rows: Vec<Value> = rows.into_iter().map(table_row).collect();
            blocks.push(Block::Node(json!({"type": "table", "content": rows})));
            return;
        }
        // There are no tables inside lists and quotations.
        for (_, cells) in rows {
            let mut line = Inlines::default();
            for (index, cell) in cells.into_iter().enumerate() {
                if index > 0 {
                    line.push(&Event::Text(" | ".into()));
                }
                line.append(cell);
            }
            push_paragraph(line, blocks);
        }
    }
}

fn push_paragraph(line: Inlines, blocks: &mut Vec<Block>) {
    let content = line.finish_alone();
    if !content.is_empty() {
        blocks.push(Block::Node(paragraph(content)));
    }
}

fn table_row((is_head, cells): (bool, Vec<Inlines>)) -> Value {
    let kind = if is_head { "tableHeader" } else { "tableCell" };
    let cell = |cell: Inlines| json!({"type": kind, "content": [paragraph(cell.finish())]});
    json!({"type": "tableRow", "content": cells.into_iter().map(cell).collect::<Vec<_>>()})
}

fn code_block(kind: &CodeBlockKind<'_>, text: &str) -> Value {
    let text = super::inline::printable(text);
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let mut node = json!({"type": "codeBlock"});
    if let CodeBlockKind::Fenced(info) = kind
        && let Some(language) = info.split_whitespace().next()
    {
        node["attrs"] = json!({"language": super::inline::printable(language)});
    }
    if !text.is_empty() {
        node["content"] = json!([{"type": "text", "text": text}]);
    }
    node
}

impl Block {
    fn into_node(self) -> Value {
        match self {
            Self::Node(node) => node,
            Self::List(list) => list.into_node(),
        }
    }

    fn is_paragraph(&self) -> bool {
        matches!(self, Self::Node(node) if node["type"] == "paragraph")
    }
}

impl List {
    /// Whether it can be a task list: check boxes throughout, and only words and further such lists below them.
    fn is_tasks(&self) -> bool {
        self.first_number.is_none()
            && self.items.iter().all(|item| {
                let rest = match item.blocks.split_first() {
                    Some((first, rest)) if first.is_paragraph() => rest,
                    _ => &item.blocks[..],
                };
                let fits = |block: &Block| matches!(block, Block::List(list) if list.is_tasks());
                item.done.is_some() && rest.iter().all(fits)
            })
    }

    fn into_tasks(self, count: &mut usize) -> Value {
        // Ids by position, so that the same text is the same document.
        *count += 1;
        let id = format!("tasks-{count}");
        let mut content = Vec::new();
        for item in self.items {
            *count += 1;
            let state = if item.done == Some(true) { "DONE" } else { "TODO" };
            let at = content.len();
            content.push(
                json!({"type": "taskItem", "attrs": {"localId": format!("task-{count}"), "state": state}}),
            );
            for block in item.blocks {
                match block {
                    Block::Node(mut node) => content[at]["content"] = node["content"].take(),
                    Block::List(list) => content.push(list.into_tasks(count)),
                }
            }
        }
        json!({"type": "taskList", "attrs": {"localId": id}, "content": content})
    }

    fn into_node(self) -> Value {
        let items: Vec<Value> = self.items.into_iter().map(Item::into_node).collect();
        match self.first_number {
            Some(order) => json!({"type": "orderedList", "attrs": {"order": order}, "content": items}),
            None => json!({"type": "bulletList", "content": items}),
        }
    }
}

impl Item {
    fn into_node(self) -> Value {
        let mut content: Vec<Value> = self.blocks.into_iter().map(Block::into_node).collect();
        let first = content.first().map(|node| node["type"].clone()).unwrap_or_default();
        if first != "paragraph" && (first != "codeBlock" || self.done.is_some()) {
            content.insert(0, paragraph(Vec::new()));
        }
        if let Some(done) = self.done
            && let Some(words) = content[0]["content"].as_array_mut()
        {
            let check_box = if done { "[x] " } else { "[ ] " };
            words.insert(0, json!({"type": "text", "text": check_box}));
        }
        json!({"type": "listItem", "content": content})
    }
}
