//! The published schema's rules for what an integration writes: `@atlaskit/adf-schema`, `json-schema/v1/full.json`.
//! Media, layouts and extensions are left out: they refer to what this Jira does not hold, so they are refused.

/// One kind of node: what may be in it and on it.
pub(super) struct Rule {
    pub(super) kind: &'static str,
    pub(super) content: Content,
    pub(super) attrs: &'static [Attr],
    /// Marks that the node itself may have; those of a text are in [`MARKS`].
    pub(super) marks: &'static [&'static str],
}

pub(super) enum Content {
    /// No `content` at all.
    Leaf,
    /// At least so many of these.
    Of(usize, &'static [&'static str]),
    /// Texts without marks.
    PlainText,
}

pub(super) struct Attr(pub(super) &'static str, pub(super) Need, pub(super) Form);

#[derive(PartialEq)]
pub(super) enum Need {
    Must,
    May,
}

pub(super) enum Form {
    Text,
    NonEmpty,
    Int(i64, i64),
    Bool,
    OneOf(&'static [&'static str]),
    Any,
}

use Content::{Leaf, Of, PlainText};
use Form::{Any, Bool, Int, NonEmpty, OneOf, Text};
use Need::{May, Must};

const INLINE: &[&str] = &["text", "hardBreak", "mention", "emoji", "date", "status", "inlineCard"];
const LIST_ITEM: &[&str] = &["paragraph", "bulletList", "orderedList", "taskList", "codeBlock"];
const QUOTED: &[&str] = &["paragraph", "orderedList", "bulletList", "codeBlock"];
const IN_PANEL: &[&str] = &[
    "paragraph",
    "heading",
    "bulletList",
    "orderedList",
    "blockCard",
    "codeBlock",
    "taskList",
    "rule",
    "decisionList",
];
const IN_CELL: &[&str] = &[
    "paragraph",
    "panel",
    "blockquote",
    "orderedList",
    "bulletList",
    "rule",
    "heading",
    "codeBlock",
    "decisionList",
    "taskList",
    "blockCard",
    "embedCard",
    "nestedExpand",
];
const IN_EXPAND: &[&str] = &[
    "paragraph",
    "panel",
    "blockquote",
    "orderedList",
    "bulletList",
    "rule",
    "heading",
    "codeBlock",
    "decisionList",
    "taskList",
    "table",
    "blockCard",
    "embedCard",
    "nestedExpand",
];
const IN_NESTED_EXPAND: &[&str] = &[
    "paragraph",
    "panel",
    "blockquote",
    "orderedList",
    "bulletList",
    "rule",
    "heading",
    "codeBlock",
    "decisionList",
    "taskList",
];
pub(super) const IN_DOCUMENT: &[&str] = &[
    "paragraph",
    "panel",
    "blockquote",
    "orderedList",
    "bulletList",
    "rule",
    "heading",
    "codeBlock",
    "decisionList",
    "taskList",
    "table",
    "expand",
    "blockCard",
    "embedCard",
];
const ALIGNED: &[&str] = &["alignment", "indentation"];
const CELL: &[Attr] = &[
    Attr("colspan", May, Int(1, 1000)),
    Attr("rowspan", May, Int(1, 1000)),
    Attr("colwidth", May, Any),
    Attr("background", May, Text),
];

pub(super) const RULES: &[Rule] = &[
    rule("paragraph", Of(0, INLINE), &[], ALIGNED),
    rule("heading", Of(0, INLINE), &[Attr("level", Must, Int(1, 6))], ALIGNED),
    rule("bulletList", Of(1, &["listItem"]), &[], &[]),
    rule("orderedList", Of(1, &["listItem"]), &[Attr("order", May, Int(0, i64::MAX))], &[]),
    rule("listItem", Of(1, LIST_ITEM), &[], &[]),
    rule("blockquote", Of(1, QUOTED), &[], &[]),
    rule("codeBlock", PlainText, &[Attr("language", May, Text), Attr("uniqueId", May, Text)], &["breakout"]),
    rule(
        "panel",
        Of(1, IN_PANEL),
        &[
            Attr("panelType", Must, OneOf(&["info", "note", "tip", "warning", "error", "success", "custom"])),
            Attr("panelIcon", May, Text),
            Attr("panelIconId", May, Text),
            Attr("panelIconText", May, Text),
            Attr("panelColor", May, Text),
        ],
        &[],
    ),
    rule("rule", Leaf, &[], &[]),
    rule(
        "table",
        Of(1, &["tableRow"]),
        &[
            Attr("isNumberColumnEnabled", May, Bool),
            Attr("layout", May, Text),
            Attr("displayMode", May, OneOf(&["default", "fixed"])),
            Attr("width", May, Any),
        ],
        &[],
    ),
    rule("tableRow", Of(0, &["tableCell", "tableHeader"]), &[], &[]),
    rule("tableCell", Of(1, IN_CELL), CELL, &[]),
    rule("tableHeader", Of(1, IN_CELL), CELL, &[]),
    rule("expand", Of(1, IN_EXPAND), &[Attr("title", May, Text)], &["breakout"]),
    rule("nestedExpand", Of(1, IN_NESTED_EXPAND), &[Attr("title", May, Text)], &[]),
    rule("taskList", Of(1, &["taskItem", "taskList"]), &[Attr("localId", Must, Text)], &[]),
    rule(
        "taskItem",
        Of(0, INLINE),
        &[Attr("localId", Must, Text), Attr("state", Must, OneOf(&["TODO", "DONE"]))],
        &[],
    ),
    rule("decisionList", Of(1, &["decisionItem"]), &[Attr("localId", Must, Text)], &[]),
    rule("decisionItem", Of(0, INLINE), &[Attr("localId", Must, Text), Attr("state", Must, Text)], &[]),
    rule("blockCard", Leaf, &[Attr("url", Must, Text)], &[]),
    rule(
        "embedCard",
        Leaf,
        &[Attr("url", Must, Text), Attr("layout", Must, Text), Attr("width", May, Any)],
        &[],
    ),
    rule("hardBreak", Leaf, &[Attr("text", May, OneOf(&["\n"]))], &[]),
    rule(
        "mention",
        Leaf,
        &[
            Attr("id", Must, NonEmpty),
            Attr("text", May, Text),
            Attr("accessLevel", May, Text),
            Attr("userType", May, OneOf(&["DEFAULT", "SPECIAL", "APP"])),
        ],
        &[],
    ),
    rule(
        "emoji",
        Leaf,
        &[Attr("shortName", Must, Text), Attr("id", May, Text), Attr("text", May, Text)],
        &[],
    ),
    rule("date", Leaf, &[Attr("timestamp", Must, NonEmpty)], &[]),
    rule(
        "status",
        Leaf,
        &[
            Attr("text", Must, NonEmpty),
            Attr("color", Must, OneOf(&["neutral", "purple", "blue", "red", "yellow", "green"])),
            Attr("style", May, Text),
        ],
        &[],
    ),
    rule("inlineCard", Leaf, &[Attr("url", Must, NonEmpty)], &[]),
];

/// The marks a text may have. `code` goes with links and annotations only.
pub(super) const MARKS: &[(&str, &[Attr])] = &[
    ("strong", &[]),
    ("em", &[]),
    ("code", &[]),
    ("strike", &[]),
    ("underline", &[]),
    ("subsup", &[Attr("type", Must, OneOf(&["sub", "sup"]))]),
    ("textColor", &[Attr("color", Must, NonEmpty)]),
    ("backgroundColor", &[Attr("color", Must, NonEmpty)]),
    (
        "link",
        &[
            Attr("href", Must, NonEmpty),
            Attr("title", May, Text),
            Attr("id", May, Text),
            Attr("collection", May, Text),
            Attr("occurrenceKey", May, Text),
        ],
    ),
    ("annotation", &[Attr("id", Must, Text), Attr("annotationType", Must, OneOf(&["inlineComment"]))]),
];

const fn rule(
    kind: &'static str,
    content: Content,
    attrs: &'static [Attr],
    marks: &'static [&'static str],
) -> Rule {
    Rule { kind, content, attrs, marks }
}
