//! From a model's reply to its edit blocks.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// One edit block of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditBlock {
    /// Its place among the reply's blocks, from 1.
    pub number: usize,
    /// The path as the model wrote it, without decoration.
    pub path: String,
    /// What is to be done.
    pub action: BlockAction,
}

/// What a block asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockAction {
    /// Put the second lines in place of the first; with no first lines, create the file. Without line endings.
    Replace {
        /// The lines to find.
        search: Vec<String>,
        /// The lines to put there.
        replace: Vec<String>,
    },
    /// Remove the file.
    Delete,
}

/// Why a reply could not be read as edit blocks. Its text is meant for the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseProblem {
    /// There is no block at all.
    #[error(
        "The reply holds no edit block. Write, for every change, the file's path alone on a line and then a block of \
         `<<<<<<< SEARCH`, the lines to find, `=======`, the new lines, `>>>>>>> REPLACE`."
    )]
    NoBlocks,
    /// Some blocks are malformed.
    #[error("{}", describe(.0))]
    Malformed(Vec<BlockProblem>),
}

/// What is wrong with one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProblem {
    /// The block's place in the reply, from 1.
    pub block: usize,
    /// The line of the reply where it starts, from 1.
    pub line: usize,
    /// Its first line of text, shortened.
    pub first_line: String,
    /// What is wrong.
    pub kind: BlockProblemKind,
}

/// The ways a block can be malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockProblemKind {
    /// No path stands before the block.
    NoPath,
    /// The block never ends.
    Unterminated,
    /// There is no line between the old and the new text.
    NoDivider,
    /// There are several lines that could divide the old text from the new.
    SeveralDividers,
    /// The end of a block that never began.
    StrayEnd,
    /// The marker has fewer than five or more than nine characters.
    MarkerLength,
    /// The word `DELETE` without a path before it.
    DeleteWithoutPath,
}

impl fmt::Display for BlockProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { block, line, first_line, kind } = self;
        write!(formatter, "Block {block} (line {line} of the reply, `{first_line}`) ")?;
        formatter.write_str(match kind {
            BlockProblemKind::NoPath => {
                "names no file: put the file's path alone on the line before `<<<<<<< SEARCH`."
            }
            BlockProblemKind::Unterminated => "never ends: close it with a line `>>>>>>> REPLACE`.",
            BlockProblemKind::NoDivider => {
                "has no line `=======` between the text to find and the text to put there."
            }
            BlockProblemKind::SeveralDividers => {
                "has several lines of `=`, so where the new text begins is unclear: write this block with markers of \
                 nine characters (`<<<<<<<<< SEARCH`, `=========`, `>>>>>>>>> REPLACE`)."
            }
            BlockProblemKind::StrayEnd => {
                "is an end without a beginning: a block begins with a line `<<<<<<< SEARCH` and nothing else on it."
            }
            BlockProblemKind::MarkerLength => "has a marker of the wrong length: write seven characters.",
            BlockProblemKind::DeleteWithoutPath => {
                "deletes, but names no file: put the file's path alone on the line before `DELETE`."
            }
        })
    }
}

fn describe(problems: &[BlockProblem]) -> String {
    let mut text = String::from("The reply's edit blocks cannot be read. Nothing has been applied.\n");
    for problem in problems {
        text.push_str(&format!("- {problem}\n"));
    }
    text.push_str("Send all blocks again, corrected.");
    text
}

/// Reads the edit blocks of a reply, in order.
///
/// # Errors
/// When there is no block, or any block is malformed; the text says which and what to do.
pub fn parse(reply: &str) -> Result<Vec<EditBlock>, ParseProblem> {
    let mut parser = Parser::new(reply);
    parser.run();
    if !parser.problems.is_empty() {
        return Err(ParseProblem::Malformed(parser.problems));
    }
    if parser.blocks.is_empty() {
        return Err(ParseProblem::NoBlocks);
    }
    Ok(parser.blocks)
}

#[derive(Default)]
struct Parser<'a> {
    lines: Vec<&'a str>,
    blocks: Vec<EditBlock>,
    problems: Vec<BlockProblem>,
    /// The first line after the last block.
    floor: usize,
    found: usize,
    /// Where markers of accepted length are, by it: a reply of beginnings alone would else be searched for an end from
    /// each of them.
    begins: BTreeMap<usize, Vec<usize>>,
    ends: BTreeMap<usize, Vec<usize>>,
}

impl<'a> Parser<'a> {
    fn new(reply: &'a str) -> Self {
        let mut parser = Self { lines: reply.lines().collect(), ..Self::default() };
        for (at, line) in parser.lines.iter().enumerate() {
            for (character, word, places) in
                [('<', "SEARCH", &mut parser.begins), ('>', "REPLACE", &mut parser.ends)]
            {
                if let Some(length) = marker(line, character, word).filter(|length| ACCEPTED.contains(length))
                {
                    places.entry(length).or_default().push(at);
                }
            }
        }
        parser
    }

    fn run(&mut self) {
        let mut at = 0;
        while let Some(line) = self.lines.get(at).copied() {
            if let Some(length) = marker(line, '<', "SEARCH") {
                self.found += 1;
                at = self.block(at, length);
                self.floor = at;
            } else if marker(line, '>', "REPLACE").is_some() {
                self.found += 1;
                self.problem(at, BlockProblemKind::StrayEnd);
                at += 1;
                self.floor = at;
            } else if line.trim() == "DELETE" {
                self.found += 1;
                match path_before(&self.lines, self.floor, at) {
                    Some(path) => self.push(path, BlockAction::Delete),
                    None => self.problem(at, BlockProblemKind::DeleteWithoutPath),
                }
                at += 1;
                self.floor = at;
            } else {
                at += 1;
            }
        }
    }

    /// Reads the block whose opening marker is at `open`; returns the line to go on from.
    fn block(&mut self, open: usize, length: usize) -> usize {
        if !ACCEPTED.contains(&length) {
            self.problem(open, BlockProblemKind::MarkerLength);
            return self.next_end(open).map_or(open + 1, |end| end + 1);
        }
        let Some(end) = self.end_of_block(open, length) else {
            self.problem(open, BlockProblemKind::Unterminated);
            return open + 1;
        };
        let divider = match self.divider(open, end, length) {
            Ok(divider) => divider,
            Err(kind) => {
                self.problem(open, kind);
                return end + 1;
            }
        };
        let search = text(&self.lines, open + 1, divider);
        let replace = text(&self.lines, divider + 1, end);
        let path = path_before(&self.lines, self.floor, open).or_else(|| self.inherited(open, &search));
        match path {
            Some(path) => self.push(path, BlockAction::Replace { search, replace }),
            None => self.problem(open, BlockProblemKind::NoPath),
        }
        end + 1
    }

    fn push(&mut self, path: String, action: BlockAction) {
        self.blocks.push(EditBlock { number: self.found, path, action });
    }

    /// The closing marker of the opener's own length, or, when that would run into another block, of any length.
    fn end_of_block(&self, open: usize, length: usize) -> Option<usize> {
        let before =
            |end: Option<usize>, next: Option<usize>| end.filter(|end| next.is_none_or(|next| *end < next));
        let next = |lengths: RangeInclusive<usize>| {
            before(first_behind(&self.ends, &lengths, open), first_behind(&self.begins, &lengths, open))
        };
        next(length..=length).or_else(|| next(ACCEPTED))
    }

    fn next_end(&self, open: usize) -> Option<usize> {
        let next_is = |at: usize, character, word| {
            self.lines.get(at).is_some_and(|line| marker(line, character, word).is_some())
        };
        (open + 1..self.lines.len())
            .take_while(|&at| !next_is(at, '<', "SEARCH"))
            .find(|&at| next_is(at, '>', "REPLACE"))
    }

    fn divider(&self, open: usize, end: usize, length: usize) -> Result<usize, BlockProblemKind> {
        let all: Vec<(usize, usize)> = (open + 1..end)
            .filter_map(|at| Some((at, marker(self.lines.get(at)?, '=', "")?)))
            .filter(|(_, found)| ACCEPTED.contains(found))
            .collect();
        let mut own = all.iter().filter(|(_, found)| *found == length);
        match (own.next(), own.next(), all.as_slice()) {
            (Some((at, _)), None, _) | (None, _, [(at, _)]) => Ok(*at),
            (None, _, []) => Err(BlockProblemKind::NoDivider),
            _ => Err(BlockProblemKind::SeveralDividers),
        }
    }

    /// The path of the block before, when nothing but blank lines and fences is between. A new file names itself.
    fn inherited(&self, open: usize, search: &[String]) -> Option<String> {
        let nothing_between = self
            .lines
            .get(self.floor..open)?
            .iter()
            .all(|line| line.trim().is_empty() || fence_info(line).is_some());
        let previous = self.blocks.last()?;
        let is_neighbour =
            previous.number + 1 == self.found && !matches!(previous.action, BlockAction::Delete);
        (nothing_between && is_neighbour && !search.is_empty()).then(|| previous.path.clone())
    }

    fn problem(&mut self, at: usize, kind: BlockProblemKind) {
        let own = self.lines.get(at).copied().unwrap_or_default();
        let next = self.lines.get(at + 1).copied().filter(|_| marker(own, '<', "SEARCH").is_some());
        let shown = next.filter(|line| !line.trim().is_empty()).unwrap_or(own);
        self.problems.push(BlockProblem {
            block: self.found,
            line: at + 1,
            first_line: shown.trim().chars().take(80).collect(),
            kind,
        });
    }
}

/// How many characters a marker may have.
const ACCEPTED: RangeInclusive<usize> = 5..=9;

/// The first of the places of these lengths that is behind a line.
fn first_behind(
    places: &BTreeMap<usize, Vec<usize>>,
    lengths: &RangeInclusive<usize>,
    line: usize,
) -> Option<usize> {
    let first = |places: &Vec<usize>| places.get(places.partition_point(|place| *place <= line)).copied();
    places.range(lengths.clone()).filter_map(|(_, places)| first(places)).min()
}

/// A longer line, in bytes, is no path, however it is dressed.
const LONGEST_PATH_LINE: usize = 8192;

/// The number of `character`s of a marker line; at least three, with the word after them. The end marker's word may
/// be missing.
fn marker(line: &str, character: char, word: &str) -> Option<usize> {
    let line = line.trim();
    let rest = line.trim_start_matches(character);
    let length = (line.len() - rest.len()) / character.len_utf8();
    let rest = rest.trim();
    let bare = character == '>' && rest.is_empty() && ACCEPTED.contains(&length);
    (length >= 3 && (bare || rest.eq_ignore_ascii_case(word))).then_some(length)
}

/// The lines of a block; one that holds nothing but blank space is empty.
fn text(lines: &[&str], from: usize, to: usize) -> Vec<String> {
    let lines = lines.get(from..to).unwrap_or_default();
    if lines.iter().all(|line| line.trim().is_empty()) && lines.len() <= 1 {
        return Vec::new();
    }
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// The path that stands before line `at`, not looking further up than `floor`.
fn path_before(lines: &[&str], floor: usize, at: usize) -> Option<String> {
    let above = lines.get(floor..at)?;
    let last = above.last()?;
    if !last.trim().is_empty() && fence_info(last).is_none() {
        return path_line(last, true);
    }
    let mut info = None;
    let mut line = None;
    for candidate in above.iter().rev() {
        match fence_info(candidate) {
            Some(found) if info.is_none() => info = Some(found),
            Some(_) => break,
            None if candidate.trim().is_empty() => {}
            None => {
                line = path_line(candidate, false);
                break;
            }
        }
    }
    let info = info.and_then(path_in_info);
    match (info, line) {
        (Some(info), Some(_)) if info.contains('/') => Some(info),
        (info, line) => line.or(info),
    }
}

/// What stands after the backticks or tildes of a fence line.
fn fence_info(line: &str) -> Option<&str> {
    let line = line.trim();
    ['`', '~'].into_iter().find_map(|character| {
        let info = line.trim_start_matches(character);
        (line.len() - info.len() >= 3 && !info.contains(character)).then_some(info.trim())
    })
}

fn path_in_info(info: &str) -> Option<String> {
    info.split_whitespace()
        .flat_map(|word| {
            let value = word.split_once(['=', ':']).map(|(_, value)| value);
            [value, Some(word)].into_iter().flatten()
        })
        .map(|word| word.trim_matches(['"', '\'', '{', '}']))
        .find(|word| looks_like_path(word) || EXTENSIONLESS.contains(word))
        .map(ToOwned::to_owned)
}

/// Reads a line that holds a path and nothing else but decoration. `beside` is whether the line touches the marker:
/// then any single word is a path.
fn path_line(line: &str, beside: bool) -> Option<String> {
    let mut text = line.trim();
    if text.len() > LONGEST_PATH_LINE {
        return None;
    }
    let mut quoted = false;
    loop {
        let before = text;
        text = text.trim_start_matches('#').trim_start();
        text = text.strip_suffix(':').unwrap_or(text).trim_end();
        text = strip_list_mark(text);
        text = strip_label(text);
        if let Some((head, _)) = text.rsplit_once(" (").filter(|_| text.ends_with(')')) {
            text = head.trim_end();
        }
        for quote in ["**", "`"] {
            if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
                quoted |= quote == "`";
                text = inner.trim();
            }
        }
        if text == before {
            break;
        }
    }
    let is_word = !text.is_empty() && !text.contains(char::is_whitespace);
    let has_name = text.chars().any(|character| character.is_alphanumeric() || character == '_');
    let known = looks_like_path(text) || EXTENSIONLESS.contains(&text);
    let accepted = if is_word { beside || quoted || known } else { quoted && looks_like_path(text) };
    (accepted && has_name && !text.contains('`')).then(|| text.to_owned())
}

fn strip_list_mark(text: &str) -> &str {
    for mark in ["- ", "* ", "+ ", "// "] {
        if let Some(rest) = text.strip_prefix(mark) {
            return rest.trim_start();
        }
    }
    let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let numbered = rest.len() < text.len();
    match rest.strip_prefix(". ").or_else(|| rest.strip_prefix(") ")) {
        Some(rest) if numbered => rest.trim_start(),
        _ => text,
    }
}

fn strip_label(text: &str) -> &str {
    let Some((label, rest)) = text.split_once(':') else {
        return text;
    };
    let label = label.trim_matches('*').trim().to_ascii_lowercase();
    if ["file", "path", "filename", "file path", "new file"].contains(&label.as_str()) {
        rest.trim_start_matches('*').trim_start()
    } else {
        text
    }
}

/// Names of files that have no extension and yet are no prose.
const EXTENSIONLESS: [&str; 12] = [
    "Makefile",
    "Dockerfile",
    "Containerfile",
    "Jenkinsfile",
    "Rakefile",
    "Gemfile",
    "Procfile",
    "Vagrantfile",
    "LICENSE",
    "NOTICE",
    "README",
    "CODEOWNERS",
];

fn looks_like_path(text: &str) -> bool {
    let has_dot = text.strip_suffix('.').unwrap_or(text).contains('.') && !text.ends_with('.');
    (text.contains(['/', '\\']) && !text.contains("://") || has_dot) && text.len() <= 1024
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paths(reply: &str) -> Vec<String> {
        parse(reply).unwrap().into_iter().map(|block| block.path).collect()
    }

    fn problem(reply: &str) -> BlockProblem {
        match parse(reply).unwrap_err() {
            ParseProblem::Malformed(mut problems) => problems.remove(0),
            ParseProblem::NoBlocks => panic!("no blocks"),
        }
    }

    #[test]
    fn the_path_may_be_dressed_in_many_ways() {
        let block = "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n";
        for (before, expected) in [
            ("src/cart.rs\n", "src/cart.rs"),
            ("`src/cart.rs`\n", "src/cart.rs"),
            ("**src/cart.rs**\n", "src/cart.rs"),
            ("**`src/cart.rs`**:\n", "src/cart.rs"),
            ("### `src/cart.rs`\n\n```rust\n", "src/cart.rs"),
            ("### 2. src/cart.rs\n", "src/cart.rs"),
            ("File: src/cart.rs\n", "src/cart.rs"),
            ("**File:** `src/cart.rs`\n", "src/cart.rs"),
            ("1. `src/cart.rs` (new file)\n", "src/cart.rs"),
            ("- src/cart.rs\n```\n", "src/cart.rs"),
            ("```rust\nsrc/cart.rs\n", "src/cart.rs"),
            ("```src/cart.rs\n", "src/cart.rs"),
            ("```rust src/cart.rs\n", "src/cart.rs"),
            ("```rust:src/cart.rs\n", "src/cart.rs"),
            ("```rust title=\"src/cart.rs\"\n", "src/cart.rs"),
            ("Change the cart:\n\n```rust src/cart.rs\n", "src/cart.rs"),
            ("src/cart.rs\n\n~~~~rust\n", "src/cart.rs"),
            ("Makefile\n", "Makefile"),
            ("Makefile\n```make\n", "Makefile"),
            ("script\n", "script"),
            ("`docs/My notes.md`\n", "docs/My notes.md"),
            ("__init__.py\n", "__init__.py"),
            ("`.github/workflows/ci.yml`\n```yaml\n", ".github/workflows/ci.yml"),
        ] {
            assert_eq!(paths(&format!("{before}{block}")), [expected], "{before}");
        }
    }

    #[test]
    fn prose_is_no_path() {
        for before in
            ["", "Change the cart:\n\n", "Here is the edit:\n", "```rust\n", "# Changes\n\n```rust\n"]
        {
            let reply = format!("{before}<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n");
            assert_eq!(problem(&reply).kind, BlockProblemKind::NoPath, "{before}");
        }
    }

    #[test]
    fn markers_may_be_sloppy() {
        let reply = "a.rs\r\n  <<<<< search  \r\nold\r\n======== \r\nnew\r\n>>>>>>>>>\r\n";
        let blocks = parse(reply).unwrap();
        let [EditBlock { action: BlockAction::Replace { search, replace }, .. }] = blocks.as_slice() else {
            panic!("{blocks:?}");
        };
        assert_eq!(
            (search.as_slice(), replace.as_slice()),
            (&["old".to_owned()][..], &["new".to_owned()][..])
        );
    }

    #[test]
    fn a_block_may_leave_out_the_path_of_the_one_before() {
        let block = "<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n";
        assert_eq!(
            paths(&format!("a.rs\n{block}\n{block}```\n\n```rust\n{block}")),
            ["a.rs", "a.rs", "a.rs"]
        );
        assert_eq!(problem(&format!("a.rs\n{block}And then\n\n{block}")).block, 2);
        assert_eq!(
            problem(&format!("a.rs\n{block}<<<<<<< SEARCH\n=======\nb\n>>>>>>> REPLACE\n")).kind,
            BlockProblemKind::NoPath
        );
    }

    #[test]
    fn text_with_markers_goes_between_longer_markers() {
        let body = "Title\n=======\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE";
        let reply = format!("a.md\n<<<<<<<<< SEARCH\n{body}\n=========\nnew\n>>>>>>>>> REPLACE\n");
        let blocks = parse(&reply).unwrap();
        assert_eq!(blocks.len(), 1);
        assert!(
            matches!(&blocks[0].action, BlockAction::Replace { search, .. } if search.join("\n") == body)
        );
        let short = "a.md\n<<<<<<< SEARCH\nTitle\n=======\n=======\nNew\n>>>>>>> REPLACE\n";
        assert_eq!(problem(short).kind, BlockProblemKind::SeveralDividers);
    }

    #[test]
    fn malformed_blocks_are_named() {
        let cut_off = "a.rs\n<<<<<<< SEARCH\nlet a = 1;\n=======\nlet a";
        insta::assert_snapshot!(parse(cut_off).unwrap_err(), @r"
        The reply's edit blocks cannot be read. Nothing has been applied.
        - Block 1 (line 2 of the reply, `let a = 1;`) never ends: close it with a line `>>>>>>> REPLACE`.
        Send all blocks again, corrected.
        ");
        for (reply, kind) in [
            ("a.rs\n<<<<<<< SEARCH\na\n>>>>>>> REPLACE\n", BlockProblemKind::NoDivider),
            ("a.rs\na\n=======\nb\n>>>>>>> REPLACE\n", BlockProblemKind::StrayEnd),
            (
                "a.rs\n<<<<<<<<<<< SEARCH\na\n=======\nb\n>>>>>>>>>>> REPLACE\n",
                BlockProblemKind::MarkerLength,
            ),
            ("\nDELETE\n", BlockProblemKind::DeleteWithoutPath),
        ] {
            assert_eq!(problem(reply).kind, kind, "{reply}");
        }
    }

    #[test]
    fn an_unterminated_block_does_not_swallow_the_next() {
        let reply =
            "a.rs\n<<<<<<< SEARCH\na\n=======\nb\n\nb.rs\n<<<<<<< SEARCH\nc\n=======\nd\n>>>>>>> REPLACE\n";
        let problem = problem(reply);
        assert_eq!((problem.block, problem.kind), (1, BlockProblemKind::Unterminated));
    }

    #[test]
    fn a_file_is_deleted_by_its_path_and_the_word() {
        let blocks =
            parse("I drop the old one.\n\n`src/old.rs`\nDELETE\n\n```\nsrc/older.rs\nDELETE\n```\n").unwrap();
        let found: Vec<_> = blocks.iter().map(|block| (block.number, block.path.as_str())).collect();
        assert_eq!(found, [(1, "src/old.rs"), (2, "src/older.rs")]);
        assert!(blocks.iter().all(|block| block.action == BlockAction::Delete));
    }

    #[test]
    fn a_reply_of_beginnings_alone_takes_bounded_time() {
        let start = std::time::Instant::now();
        let reply = "<<<<<<< SEARCH\n".repeat(20_000);
        assert_eq!(problem(&reply).kind, BlockProblemKind::Unterminated);
        let dressed = format!("a{}\n<<<<<<< SEARCH\n=======\n>>>>>>> REPLACE\n", " (b)".repeat(100_000));
        assert_eq!(problem(&dressed).kind, BlockProblemKind::NoPath);
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }

    #[test]
    fn a_reply_of_prose_has_no_blocks() {
        assert_eq!(parse("I would rather not.\n"), Err(ParseProblem::NoBlocks));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(reply in ".*") {
            let _ = parse(&reply);
        }

        #[test]
        fn any_mix_of_markers_is_read_without_panic(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("<<<<<<< SEARCH"), Just("======="), Just(">>>>>>> REPLACE"), Just("a.rs"), Just("```rust"),
                    Just("DELETE"), Just("<<<<<<<<< SEARCH"), Just(""), Just("ü ** ` \u{feff}"), Just("# (x)"),
                ],
                0..30,
            )
        ) {
            let _ = parse(&lines.join("\n"));
        }
    }
}
