//! Reading a file with its grammar.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tree_sitter::{Node, ParseOptions, ParseState, Parser, Tree};

use super::{Language, SyntaxError, excerpt, python};

/// How long one file may take.
const TIME_LIMIT: Duration = Duration::from_secs(2);

/// The places that cannot be read; `None` when it takes too long.
pub(super) fn errors(language: Language, bytes: &[u8]) -> Option<Vec<SyntaxError>> {
    let tree = tree(language, bytes)?;
    let mut errors = Vec::new();
    walk(&tree, Node::has_error, |node| {
        if node.is_missing() {
            errors.push(at(node, bytes, missing(node)));
        } else if node.is_error() {
            errors.push(at(node, bytes, unreadable(node, bytes)));
        }
    });
    if language == Language::Python && errors.is_empty() {
        walk(&tree, |_| true, |node| python::indentation(node, bytes, &mut errors));
    }
    Some(errors)
}

fn tree(language: Language, bytes: &[u8]) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&language.grammar()).ok()?;
    let end = Instant::now() + TIME_LIMIT;
    let mut in_time = |_: &ParseState| {
        if Instant::now() < end { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let options = ParseOptions::new().progress_callback(&mut in_time);
    parser.parse_with_options(&mut |offset, _| bytes.get(offset..).unwrap_or_default(), None, Some(options))
}

/// Visits every node in order, below a node only if it is to be entered. No recursion, so that depth does no harm.
fn walk<'a>(tree: &'a Tree, enter: impl Fn(&Node<'a>) -> bool, mut visit: impl FnMut(Node<'a>)) {
    let mut cursor = tree.walk();
    loop {
        let node = cursor.node();
        visit(node);
        if enter(&node) && cursor.goto_first_child() {
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return;
            }
        }
    }
}

/// An error at the node's first character.
pub(super) fn at(node: Node<'_>, bytes: &[u8], what: String) -> SyntaxError {
    let point = node.start_position();
    let line_start = node.start_byte().saturating_sub(point.column);
    let before = bytes.get(line_start..node.start_byte()).unwrap_or_default();
    SyntaxError {
        line: point.row + 1,
        column: String::from_utf8_lossy(before).chars().count() + 1,
        what,
        excerpt: excerpt(bytes, point.row),
    }
}

fn missing(node: Node<'_>) -> String {
    if node.is_named() {
        format!("{} is missing", node.kind().replace('_', " "))
    } else {
        format!("`{}` is missing", node.kind())
    }
}

fn unreadable(node: Node<'_>, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes.get(node.byte_range()).unwrap_or_default()).into_owned();
    let first: String = text.lines().next().unwrap_or_default().trim().chars().take(40).collect();
    if first.is_empty() { "this cannot be read".to_owned() } else { format!("`{first}` cannot be read here") }
}
