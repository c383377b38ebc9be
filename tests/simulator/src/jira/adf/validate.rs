//! Holding a document against the rules.

use serde_json::{Map, Value};

use super::rules::{Attr, Content, Form, IN_DOCUMENT, MARKS, Need, RULES};

/// Checks a whole document.
///
/// # Errors
/// The place and what is wrong there.
pub fn validate(document: &Value) -> Result<(), String> {
    let root =
        document.as_object().ok_or("a document is an object of the Atlassian Document Format, not a text")?;
    if root.get("type").and_then(Value::as_str) != Some("doc") {
        return Err("the root's type is not \"doc\"".to_owned());
    }
    if root.get("version").and_then(Value::as_u64) != Some(1) {
        return Err("the root's version is not 1".to_owned());
    }
    only(root, &["type", "version", "content"], "doc")?;
    children(root, "doc", 0, IN_DOCUMENT)
}

fn only(node: &Map<String, Value>, known: &[&str], place: &str) -> Result<(), String> {
    let unknown = node.keys().find(|key| !known.contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| Err(format!("{place} has the unknown key {key:?}")))
}

fn children(node: &Map<String, Value>, place: &str, minimum: usize, allowed: &[&str]) -> Result<(), String> {
    let content = match node.get("content") {
        None if minimum == 0 && place != "doc" => return Ok(()),
        content => {
            content.and_then(Value::as_array).ok_or_else(|| format!("{place} has no content array"))?
        }
    };
    if content.len() < minimum {
        return Err(format!("{place} needs at least {minimum} node"));
    }
    for (index, child) in content.iter().enumerate() {
        let kind = child["type"].as_str().ok_or_else(|| format!("{place}[{index}] has no type"))?;
        let place = format!("{place}[{index}] ({kind})");
        if !allowed.contains(&kind) {
            return Err(format!("{place} is not allowed here, only {}", allowed.join(", ")));
        }
        let child = child.as_object().ok_or_else(|| format!("{place} is no object"))?;
        if kind == "text" {
            check_text(child, &place, true)?;
        } else {
            check_node(child, kind, &place)?;
        }
        let first = index == 0 && kind == "taskList";
        if first && node.get("type").and_then(Value::as_str) == Some("taskList") {
            return Err(format!("{place} cannot be the first in a taskList"));
        }
    }
    Ok(())
}

fn check_node(node: &Map<String, Value>, kind: &str, place: &str) -> Result<(), String> {
    let rule = RULES.iter().find(|rule| rule.kind == kind);
    let rule = rule.ok_or_else(|| format!("{place} is of a type that cannot be written here"))?;
    only(node, &["type", "content", "attrs", "marks"], place)?;
    attributes(node.get("attrs"), rule.attrs, true, place)?;
    for mark in marks(node, place)? {
        let kind = mark["type"].as_str().unwrap_or_default();
        if !rule.marks.contains(&kind) {
            return Err(format!("{place} cannot have the mark {kind:?}"));
        }
    }
    match rule.content {
        Content::Leaf if node.contains_key("content") => Err(format!("{place} cannot have content")),
        Content::Leaf => Ok(()),
        Content::Of(minimum, allowed) => children(node, place, minimum, allowed),
        Content::PlainText => {
            let content = node.get("content").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (index, child) in content.iter().enumerate() {
                let place = format!("{place}[{index}]");
                let child = child
                    .as_object()
                    .filter(|child| child.get("type").and_then(Value::as_str) == Some("text"));
                check_text(child.ok_or_else(|| format!("{place} is not a text"))?, &place, false)?;
            }
            Ok(())
        }
    }
}

fn check_text(node: &Map<String, Value>, place: &str, with_marks: bool) -> Result<(), String> {
    only(node, &["type", "text", "marks"], place)?;
    if node.get("text").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(format!("{place} has no text, or an empty one"));
    }
    let marks = marks(node, place)?;
    if !with_marks && !marks.is_empty() {
        return Err(format!("{place} is in a codeBlock and cannot have marks"));
    }
    let kinds: Vec<&str> = marks.iter().map(|mark| mark["type"].as_str().unwrap_or_default()).collect();
    for (mark, kind) in marks.iter().zip(&kinds) {
        let known = MARKS.iter().find(|(name, _)| name == kind);
        let (_, attrs) = known.ok_or_else(|| format!("{place} has the unknown mark {kind:?}"))?;
        attributes(mark.get("attrs"), attrs, false, &format!("{place}, mark {kind}"))?;
        if kinds.iter().filter(|it| *it == kind).count() > 1 {
            return Err(format!("{place} has the mark {kind} twice"));
        }
    }
    let beside_code = kinds.iter().find(|kind| !["code", "link", "annotation"].contains(*kind));
    match beside_code {
        Some(kind) if kinds.contains(&"code") => {
            Err(format!("{place} has the mark {kind} together with code"))
        }
        _ => Ok(()),
    }
}

fn marks<'a>(node: &'a Map<String, Value>, place: &str) -> Result<&'a [Value], String> {
    match node.get("marks") {
        None => Ok(&[]),
        Some(Value::Array(marks)) => Ok(marks),
        Some(_) => Err(format!("{place} has marks that are no array")),
    }
}

fn attributes(sent: Option<&Value>, known: &[Attr], local_id: bool, place: &str) -> Result<(), String> {
    let empty = Map::new();
    let sent = match sent {
        None => &empty,
        Some(Value::Object(sent)) => sent,
        Some(_) => return Err(format!("{place} has attrs that are no object")),
    };
    for Attr(name, need, form) in known {
        match sent.get(*name) {
            None if *need == Need::Must => return Err(format!("{place} lacks the attribute {name}")),
            Some(value) if !fits(value, form) => {
                return Err(format!("{place} has the attribute {name} as {value}"));
            }
            _ => {}
        }
    }
    let is_known = |name: &str| known.iter().any(|attr| attr.0 == name) || (local_id && name == "localId");
    let unknown = sent.keys().find(|name| !is_known(name));
    unknown.map_or(Ok(()), |name| Err(format!("{place} has the unknown attribute {name:?}")))
}

fn fits(value: &Value, form: &Form) -> bool {
    match form {
        Form::Text => value.is_string(),
        Form::NonEmpty => value.as_str().is_some_and(|text| !text.is_empty()),
        Form::Int(least, most) => value.as_i64().is_some_and(|number| (*least..=*most).contains(&number)),
        Form::Bool => value.is_boolean(),
        Form::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
        Form::Any => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(node: Value) -> Value {
        json!({"version": 1, "type": "doc", "content": [node]})
    }

    fn paragraph(node: Value) -> Value {
        document(json!({"type": "paragraph", "content": [node]}))
    }

    #[test]
    fn what_an_integration_writes_is_valid() {
        let text = json!({"type": "text", "text": "x"});
        for node in [
            json!({"type": "paragraph"}),
            json!({"type": "codeBlock", "attrs": {"language": "rust"}, "content": [text]}),
            json!({"type": "panel", "attrs": {"panelType": "info"}, "content": [{"type": "paragraph", "content": [text]}]}),
            json!({"type": "expand", "attrs": {"title": "more"}, "content": [{"type": "paragraph"}]}),
            json!({"type": "table", "content": [{"type": "tableRow", "content": [
                {"type": "tableHeader", "attrs": {}, "content": [{"type": "paragraph"}]}]}]}),
            json!({"type": "taskList", "attrs": {"localId": "a"}, "content": [
                {"type": "taskItem", "attrs": {"localId": "b", "state": "TODO"}, "content": [text]}]}),
            json!({"type": "paragraph", "content": [
                {"type": "inlineCard", "attrs": {"url": "https://example.com"}}, {"type": "hardBreak"},
                {"type": "mention", "attrs": {"id": "1", "text": "@dev"}},
                {"type": "text", "text": "x", "marks": [{"type": "code"}, {"type": "link", "attrs": {"href": "https://x"}}]}]}),
        ] {
            validate(&document(node.clone())).unwrap_or_else(|problem| panic!("{problem}: {node}"));
        }
    }

    #[test]
    fn every_rule_refuses_what_breaks_it() {
        let text = json!({"type": "text", "text": "x"});
        for (sent, reason) in [
            (json!("text"), "not a text"),
            (json!({"type": "doc", "content": []}), "version"),
            (json!({"type": "doc", "version": 1}), "content"),
            (json!({"type": "doc", "version": 1, "content": [], "x": 1}), "unknown key"),
            (paragraph(json!({"type": "text", "text": ""})), "empty"),
            (paragraph(json!({"type": "text", "text": "x", "marks": [{"type": "bold"}]})), "unknown mark"),
            (paragraph(json!({"type": "text", "text": "x", "marks": [{"type": "link"}]})), "href"),
            (
                paragraph(
                    json!({"type": "text", "text": "x", "marks": [{"type": "code"}, {"type": "strong"}]}),
                ),
                "together with code",
            ),
            (paragraph(json!({"type": "mention", "attrs": {"id": ""}})), "id"),
            (paragraph(json!({"type": "paragraph"})), "not allowed here"),
            (document(json!({"type": "html"})), "not allowed here"),
            (document(text), "not allowed here"),
            (document(json!({"type": "heading", "attrs": {"level": 7}})), "level"),
            (document(json!({"type": "heading"})), "level"),
            (
                document(json!({"type": "codeBlock", "content": [
                    {"type": "text", "text": "x", "marks": [{"type": "strong"}]}]})),
                "cannot have marks",
            ),
            (document(json!({"type": "codeBlock", "content": [{"type": "hardBreak"}]})), "not a text"),
            (document(json!({"type": "panel", "attrs": {"panelType": "red"}, "content": []})), "panelType"),
            (document(json!({"type": "expand", "attrs": {}, "content": []})), "at least 1"),
            (document(json!({"type": "bulletList", "content": []})), "at least 1"),
            (document(json!({"type": "bulletList", "content": [{"type": "paragraph"}]})), "not allowed here"),
            (document(json!({"type": "rule", "content": []})), "cannot have content"),
            (document(json!({"type": "paragraph", "attrs": {"color": "red"}})), "unknown attribute"),
            (document(json!({"type": "taskList", "attrs": {}, "content": []})), "localId"),
        ] {
            let problem = validate(&sent).expect_err(&sent.to_string());
            assert!(problem.contains(reason), "{problem:?} does not say {reason:?}: {sent}");
        }
    }
}
