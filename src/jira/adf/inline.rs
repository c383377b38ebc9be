//! The words of one paragraph, heading or cell.

use pulldown_cmark::{Event, Tag, TagEnd};
use serde_json::{Value, json};
use url::Url;

/// A mark as it is opened. The address of an image or a link stands in for words that are missing.
#[derive(Debug, Clone, PartialEq)]
enum Mark {
    Emphasis,
    Strong,
    Strike,
    Link(String),
    /// A link to nowhere, or markup that ADF does not have.
    None,
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text { text: String, code: bool, marks: Vec<Mark> },
    Break,
}

#[derive(Debug, Default)]
pub(super) struct Inlines {
    pieces: Vec<Piece>,
    /// The open marks, each with the number of letters before it and whether it is among the marks in force.
    open: Vec<(Mark, usize, bool)>,
    /// The open marks that a text gets: each once, and one link.
    in_force: Vec<Mark>,
    letters: usize,
}

impl Inlines {
    /// Whether this end closes a mark and not a block.
    pub(super) fn takes(end: &TagEnd) -> bool {
        matches!(
            end,
            TagEnd::Emphasis
                | TagEnd::Strong
                | TagEnd::Strikethrough
                | TagEnd::Link
                | TagEnd::Image
                | TagEnd::Superscript
                | TagEnd::Subscript
        )
    }

    pub(super) fn open(&mut self, tag: &Tag<'_>) {
        let mark = match tag {
            Tag::Emphasis => Mark::Emphasis,
            Tag::Strong => Mark::Strong,
            Tag::Strikethrough => Mark::Strike,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } if is_address(dest_url) => {
                Mark::Link(dest_url.to_string())
            }
            _ => Mark::None,
        };
        let is_link = |mark: &Mark| matches!(mark, Mark::Link(_));
        let twice = self.in_force.contains(&mark) || (is_link(&mark) && self.in_force.iter().any(is_link));
        let counts = mark != Mark::None && !twice;
        if counts {
            self.in_force.push(mark.clone());
        }
        self.open.push((mark, self.letters, counts));
    }

    pub(super) fn close(&mut self) {
        if let Some((Mark::Link(address), before, _)) = self.open.last().cloned()
            && self.letters == before
        {
            self.push_text(&address, false);
        }
        if let Some((_, _, true)) = self.open.pop() {
            self.in_force.pop();
        }
    }

    pub(super) fn push(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) => self.push_text(text, false),
            Event::Code(text) => self.push_text(text, true),
            Event::SoftBreak => self.push_text(" ", false),
            Event::HardBreak => self.pieces.push(Piece::Break),
            Event::Html(html) | Event::InlineHtml(html) => self.push_html(html),
            _ => {}
        }
    }

    fn push_html(&mut self, html: &str) {
        let tag = html.trim();
        if tag.starts_with("<!--") {
            return;
        }
        if matches!(tag.to_ascii_lowercase().as_str(), "<br>" | "<br/>" | "<br />") {
            self.pieces.push(Piece::Break);
            return;
        }
        self.push_text(html, false);
    }

    fn push_text(&mut self, text: &str, code: bool) {
        let text = printable(text);
        if text.is_empty() {
            return;
        }
        self.letters += text.len();
        // Code may be a link, but nothing else besides.
        let fits = |mark: &&Mark| !code || matches!(mark, Mark::Link(_));
        let marks: Vec<Mark> = self.in_force.iter().filter(fits).cloned().collect();
        if let Some(Piece::Text { text: before, code: code_before, marks: marks_before }) =
            self.pieces.last_mut()
            && *code_before == code
            && *marks_before == marks
        {
            before.push_str(&text);
            return;
        }
        self.pieces.push(Piece::Text { text, code, marks });
    }

    pub(super) fn append(&mut self, other: Self) {
        self.letters += other.letters;
        self.pieces.extend(other.pieces);
    }

    /// The same in bold.
    pub(super) fn bold(mut self) -> Self {
        for piece in &mut self.pieces {
            if let Piece::Text { code: false, marks, .. } = piece
                && !marks.contains(&Mark::Strong)
            {
                marks.push(Mark::Strong);
            }
        }
        self
    }

    /// The nodes.
    pub(super) fn finish(mut self) -> Vec<Value> {
        self.trim();
        let mut nodes = Vec::new();
        for piece in self.pieces {
            match piece {
                Piece::Break => nodes.push(json!({"type": "hardBreak"})),
                Piece::Text { text, code: true, marks } => {
                    let marks =
                        std::iter::once(json!({"type": "code"})).chain(marks.iter().filter_map(mark_node));
                    nodes.push(text_node(&text, marks.collect()));
                }
                Piece::Text { text, marks, .. } => {
                    let nodes_of_marks: Vec<Value> = marks.iter().filter_map(mark_node).collect();
                    if marks.iter().any(|mark| matches!(mark, Mark::Link(_))) {
                        nodes.push(text_node(&text, nodes_of_marks));
                    } else {
                        push_linked(&text, &nodes_of_marks, &mut nodes);
                    }
                }
            }
        }
        nodes
    }

    /// The nodes of a whole paragraph: an address on its own is a card.
    pub(super) fn finish_alone(self) -> Vec<Value> {
        let nodes = self.finish();
        if let [node] = nodes.as_slice() {
            let text = node["text"].as_str().unwrap_or_default();
            let href = node["marks"][0]["attrs"]["href"].as_str().unwrap_or_default();
            let one_mark = node["marks"].as_array().is_some_and(|marks| marks.len() == 1);
            if one_mark && text == href && href.starts_with("http") {
                return vec![json!({"type": "inlineCard", "attrs": {"url": href}})];
            }
        }
        nodes
    }

    /// Without space and line breaks at both ends.
    fn trim(&mut self) {
        while let Some(last) = self.pieces.last_mut() {
            match last {
                Piece::Text { code: true, .. } => break,
                Piece::Text { text, .. } => {
                    text.truncate(text.trim_end().len());
                    if !text.is_empty() {
                        break;
                    }
                }
                Piece::Break => {}
            }
            self.pieces.pop();
        }
        self.trim_start();
    }

    fn trim_start(&mut self) {
        let is_empty = |piece: &Piece| match piece {
            Piece::Break => true,
            Piece::Text { text, code, .. } => !code && text.trim_start().is_empty(),
        };
        let leading = self.pieces.iter().take_while(|piece| is_empty(piece)).count();
        self.pieces.drain(..leading);
        if let Some(Piece::Text { text, code: false, .. }) = self.pieces.first_mut() {
            text.drain(..text.len() - text.trim_start().len());
        }
    }
}

fn mark_node(mark: &Mark) -> Option<Value> {
    match mark {
        Mark::Emphasis => Some(json!({"type": "em"})),
        Mark::Strong => Some(json!({"type": "strong"})),
        Mark::Strike => Some(json!({"type": "strike"})),
        Mark::Link(address) => Some(json!({"type": "link", "attrs": {"href": address}})),
        Mark::None => None,
    }
}

fn text_node(text: &str, marks: Vec<Value>) -> Value {
    if marks.is_empty() {
        json!({"type": "text", "text": text})
    } else {
        json!({"type": "text", "text": text, "marks": marks})
    }
}

/// The text with its bare addresses as links.
fn push_linked(text: &str, marks: &[Value], nodes: &mut Vec<Value>) {
    let mut rest = text;
    let mut plain_to = 0;
    while let Some(found) = next_address(rest, plain_to) {
        let (start, end) = found;
        let address = &rest[start..end];
        if !is_address(address) {
            plain_to = end;
            continue;
        }
        if start > 0 {
            nodes.push(text_node(&rest[..start], marks.to_vec()));
        }
        let mut marks = marks.to_vec();
        marks.push(json!({"type": "link", "attrs": {"href": address}}));
        nodes.push(text_node(address, marks));
        rest = &rest[end..];
        plain_to = 0;
    }
    if !rest.is_empty() {
        nodes.push(text_node(rest, marks.to_vec()));
    }
}

/// Where the next `http://` or `https://` address stands, without the punctuation behind it.
fn next_address(text: &str, from: usize) -> Option<(usize, usize)> {
    let tail = text.get(from..)?;
    // One search for both: when one of them does not occur, it would be looked for to the end each time.
    let is_start = |at: &usize| {
        tail.get(at + "http".len()..).is_some_and(|rest| rest.starts_with("://") || rest.starts_with("s://"))
    };
    let start = from + tail.match_indices("http").map(|(at, _)| at).find(is_start)?;
    let length = text[start..].find(|c: char| c.is_whitespace() || "<>\"`|".contains(c));
    let mut address = &text[start..length.map_or(text.len(), |length| start + length)];
    let mut surplus = address.matches(')').count().saturating_sub(address.matches('(').count());
    loop {
        let unbalanced = surplus > 0 && address.ends_with(')');
        if !unbalanced && !address.ends_with(['.', ',', ';', ':', '!', '?', '\'', '*', '_', ']']) {
            break;
        }
        surplus -= usize::from(unbalanced);
        address = &address[..address.len() - 1];
    }
    Some((start, start + address.len()))
}

/// Whether it is an address that a link in Jira may have.
fn is_address(text: &str) -> bool {
    let known = |url: Url| matches!(url.scheme(), "http" | "https" | "mailto");
    !text.contains(char::is_whitespace) && Url::parse(text).is_ok_and(known)
}

/// Without control characters, which Jira refuses; line ends and tabs stay.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
