//! Indentation in Python, which the grammar does not enforce: the statements of one block begin in one column, a block
//! is not empty, and `else`, `except` and the like stand under their statement.

use tree_sitter::Node;

use super::SyntaxError;
use super::parse::at;

/// Adds what is wrong with the indentation of one node's children.
pub(super) fn indentation(node: Node<'_>, bytes: &[u8], errors: &mut Vec<SyntaxError>) {
    match node.kind() {
        "module" => same_column(node, 0, bytes, errors),
        "block" => {
            let mut cursor = node.walk();
            let first = node.named_children(&mut cursor).find(|child| !child.is_extra());
            match first {
                Some(first) if begins_line(first, bytes) => {
                    same_column(node, first.start_position().column, bytes, errors);
                }
                Some(_) => {}
                None => errors.push(at(node, bytes, "an indented block is missing before this".to_owned())),
            }
        }
        "if_statement" | "for_statement" | "while_statement" => clauses(node, bytes, errors),
        "try_statement" => {
            clauses(node, bytes, errors);
            let mut cursor = node.walk();
            let handles = |kind: &str| kind.starts_with("except") || kind == "finally_clause";
            if !node.named_children(&mut cursor).any(|child| handles(child.kind())) {
                errors.push(at(node, bytes, "this has neither `except` nor `finally`".to_owned()));
            }
        }
        _ => {}
    }
}

fn same_column(node: Node<'_>, column: usize, bytes: &[u8], errors: &mut Vec<SyntaxError>) {
    let mut cursor = node.walk();
    for child in node.named_children(&mut cursor) {
        if !child.is_extra() && begins_line(child, bytes) && child.start_position().column != column {
            errors.push(at(child, bytes, "this is indented unlike the lines around it".to_owned()));
        }
    }
}

fn clauses(node: Node<'_>, bytes: &[u8], errors: &mut Vec<SyntaxError>) {
    let column = node.start_position().column;
    let mut cursor = node.walk();
    for child in node.named_children(&mut cursor) {
        let is_clause = child.kind().ends_with("_clause");
        if is_clause && begins_line(child, bytes) && child.start_position().column != column {
            errors.push(at(child, bytes, "this is indented unlike the statement it belongs to".to_owned()));
        }
    }
}

/// Whether nothing but blank space stands before it on its line. A form feed counts for nothing in Python, so a line
/// that has one is not judged.
fn begins_line(node: Node<'_>, bytes: &[u8]) -> bool {
    let start = node.start_byte();
    let line_start = start.saturating_sub(node.start_position().column);
    bytes.get(line_start..start).is_some_and(|before| before.iter().all(|byte| matches!(byte, b' ' | b'\t')))
}

#[cfg(test)]
mod tests {
    use super::super::{SyntaxVerdict, check};

    fn verdict(text: &str) -> SyntaxVerdict {
        check("a.py", None, text.as_bytes())
    }

    #[test]
    fn wrong_indentation_is_found() {
        for text in [
            "def f():\n    a = 1\n      b = 2\n",
            "def f():\nreturn 1\n",
            "class A:\n    def f(self):\n        pass\n      def g(self):\n        pass\n",
            "if a:\n    b()\n  else:\n    c()\n",
            "a = 1\n  b = 2\n",
            "def f():\n    if x:\n    return 1\n",
            "try:\n    a()\n",
        ] {
            assert!(matches!(verdict(text), SyntaxVerdict::Worse { .. }), "{text}");
        }
    }

    #[test]
    fn good_indentation_is_left_alone() {
        for text in [
            "def f():\n    a = 1; b = 2\n    # c\n  # odd comment\n    return a\n",
            "if a: b()\nelse: c()\n",
            "def f():\n\ta = [\n  1,\n]\n\treturn a\n",
            "try:\n    a()\nexcept (A, B):\n    b()\nelse:\n    c()\nfinally:\n    d()\n",
            "x = \"\"\"\n  text\n\"\"\"; y = 1\n",
            "if a:\n    pass\n\n# end\n",
            "\u{feff}a = 1\nb = 2\n",
            "@d\nasync def f():\n    async with a as b:\n        ...\n",
            "match a:\n    case 1:\n        b()\n    case _:\n        c()\n",
            "",
            "# only\n",
        ] {
            assert_eq!(verdict(text), SyntaxVerdict::Clean, "{text}");
        }
    }
}
