//! Putting the context together, and writing it for a prompt.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::candidate::is_readable;
use super::mentions::{Mentions, mentions};
use super::outline::outline;
use super::rank::{Rarity, Wanted, rank};
use super::windows::{self, Room};
use super::words::Vocabulary;
use super::{Limits, Query};
use crate::marks::fence_around;
use crate::tree::FileSource;

/// What the model is shown of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The file tree, drawn.
    pub tree: String,
    /// The files, the most telling first.
    pub files: Vec<ContextFile>,
    /// The tokens of [`Context::render`], estimated.
    pub estimated_tokens: usize,
}

/// One file that is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextFile {
    /// Its path.
    pub path: String,
    /// What is shown of it, in order.
    pub windows: Vec<Window>,
    /// How many lines it has.
    pub total_lines: usize,
    /// Whether all of it is shown.
    pub whole: bool,
    /// Why it was chosen.
    pub why: String,
}

/// Some consecutive lines of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The number of the first one, from 1.
    pub first_line: usize,
    /// The lines, exactly, without their ends.
    pub lines: Vec<String>,
}

/// How many tokens a text has, estimated as one for every 3.5 bytes; code has between 3 and 4.
#[must_use]
pub fn estimate_tokens(text: &str) -> usize {
    tokens_of(text.len())
}

fn tokens_of(bytes: usize) -> usize {
    bytes.saturating_mul(2).div_ceil(7)
}

fn bytes_of(tokens: usize) -> usize {
    tokens.saturating_mul(7) / 2
}

/// Bytes kept for a file's heading and fences.
const HEADING: usize = 200;
/// A file that tells less than this part of the best is not shown.
const LEAST: f32 = 0.12;
/// A file is not begun when there is room for less than this, in bytes.
const LEAST_ROOM: usize = 400;

/// Chooses what is shown for a ticket. Reads the candidates' contents on several threads; meant for a blocking thread.
#[must_use]
pub fn select(files: &(dyn FileSource + Sync), query: &Query, limits: &Limits) -> Context {
    let mut text = format!("{}\n{}", query.summary, query.description);
    for comment in &query.comments {
        let _ = write!(text, "\n{comment}");
    }
    let mut vocabulary = Vocabulary::default();
    vocabulary.add(&query.summary, 2.0);
    vocabulary.add(&query.description, 1.0);
    for comment in &query.comments {
        vocabulary.add(comment, 1.0);
    }
    let mentions = mentions(&text, files.entries());
    let lower = text.to_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let wanted = Wanted {
        vocabulary: &vocabulary,
        identifiers: &mentions.identifiers,
        tests: speaks_of(&["test", "spec"]),
        documents: speaks_of(&["doc", "readme", "changelog", "markdown", ".md"]),
    };
    let (ranked, rarity) = rank(files, &wanted, limits.read_bytes);
    let picks = picks(&mentions, &ranked, limits.files);

    let entries = files.entries();
    let paths: Vec<&str> =
        picks.iter().filter_map(|pick| entries.get(pick.entry)).map(|entry| entry.path.as_str()).collect();
    let tree_tokens = limits.tree_tokens.min(limits.tokens / 4);
    let mut context = Context { tree: outline(entries, &paths, bytes_of(tree_tokens)), ..Context::default() };
    let desk = Desk { files, vocabulary: &vocabulary, rarity: &rarity, mentions: &mentions, limits };
    context.fill(&desk, &picks);
    context.estimated_tokens = estimate_tokens(&context.render());
    context
}

/// A file to be shown, if there is room.
struct Pick {
    entry: usize,
    lines: Vec<usize>,
    why: String,
}

fn picks(mentions: &Mentions, ranked: &[super::rank::Ranked], most: usize) -> Vec<Pick> {
    let mut picks: Vec<Pick> = mentions
        .files
        .iter()
        .map(|mention| {
            let lines = mention.lines.iter().filter_map(|line| line.checked_sub(1)).collect();
            Pick { entry: mention.entry, lines, why: "named in the ticket".to_owned() }
        })
        .collect();
    let best = ranked.first().map_or(0.0, |file| file.score);
    for file in ranked.iter().filter(|file| file.score >= LEAST * best && file.score > 0.0) {
        if picks.iter().all(|pick| pick.entry != file.entry) {
            let why =
                if file.defines { "defines what the ticket names" } else { "shares words with the ticket" };
            picks.push(Pick { entry: file.entry, lines: Vec::new(), why: why.to_owned() });
        }
        if picks.len() >= most {
            break;
        }
    }
    picks.truncate(most);
    picks
}

struct Desk<'a> {
    files: &'a (dyn FileSource + Sync),
    vocabulary: &'a Vocabulary,
    rarity: &'a Rarity,
    mentions: &'a Mentions,
    limits: &'a Limits,
}

impl Desk<'_> {
    /// What is shown of a file in so many bytes.
    fn show(&self, pick: &Pick, bytes: usize) -> Option<ContextFile> {
        let entry = self.files.entries().get(pick.entry)?;
        if !is_readable(entry.size, &[]) {
            return None;
        }
        let content = self.files.read(&entry.path).filter(|content| content.mode.is_file())?;
        if !is_readable(content.bytes.len() as u64, &content.bytes) {
            return None;
        }
        let text = String::from_utf8(content.bytes).ok()?;
        let lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().collect();
        let room = Room { lines: self.limits.lines_per_file, bytes: bytes.saturating_sub(HEADING) };
        let whole = lines.len() <= room.lines && text.len() <= room.bytes;
        let ranges = if whole {
            std::iter::once(0..lines.len()).collect()
        } else {
            let identifiers = &self.mentions.identifiers;
            windows::choose(&lines, &pick.lines, self.vocabulary, self.rarity, identifiers, room)
        };
        let windows: Vec<Window> = ranges
            .into_iter()
            .map(|range| Window {
                first_line: range.start + 1,
                lines: lines.get(range).unwrap_or_default().iter().map(|line| (*line).to_owned()).collect(),
            })
            .collect();
        let shows_something = whole || !windows.is_empty();
        shows_something.then(|| ContextFile {
            path: entry.path.clone(),
            windows,
            total_lines: lines.len(),
            whole,
            why: pick.why.clone(),
        })
    }
}

impl Context {
    /// The paths of the files that are shown, in full or in part. Only these may be edited; of one that is shown in
    /// part, an edit has to fit one place of the whole file.
    #[must_use]
    pub fn shown(&self) -> BTreeSet<String> {
        self.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Adds the files until the room is used up. No file gets more than half of what is left, or its even share.
    fn fill(&mut self, desk: &Desk<'_>, picks: &[Pick]) {
        let all = bytes_of(desk.limits.tokens);
        let mut left = all.saturating_sub(self.render().len());
        for (at, pick) in picks.iter().enumerate() {
            let share = (left / 2).max(left / (picks.len() - at));
            if share < LEAST_ROOM {
                break;
            }
            let mut room = share;
            while let Some(file) = desk.show(pick, room) {
                let mut text = String::new();
                file.render(&mut text);
                if text.len() <= share {
                    left -= text.len();
                    self.files.push(file);
                    break;
                }
                // Many windows have many headings.
                room = room.saturating_sub(text.len() - share + 64);
                if room < HEADING {
                    break;
                }
            }
        }
    }

    /// The context as text: the tree, then every file under a heading that says which of its lines follow. The lines
    /// stand as they are in the file, without numbers, since an edit has to repeat them exactly.
    #[must_use]
    pub fn render(&self) -> String {
        let fence = fence_around(self.tree.lines());
        let mut text = format!("## Files of the repository\n\n{fence}\n{}{fence}\n", self.tree);
        for file in &self.files {
            file.render(&mut text);
        }
        text
    }
}

impl ContextFile {
    fn render(&self, text: &mut String) {
        let total = self.total_lines;
        if self.whole {
            let _ = writeln!(
                text,
                "\n## {} (whole file, {total} {})",
                self.path,
                if total == 1 { "line" } else { "lines" }
            );
        } else {
            let ranges: Vec<String> = self.windows.iter().map(Window::range).collect();
            let _ =
                writeln!(text, "\n## {} (of {total} lines, only {} are shown)", self.path, ranges.join(", "));
        }
        let language =
            self.path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, end)| end);
        let language =
            if language.chars().all(|character| character.is_ascii_alphanumeric()) { language } else { "" };
        let mut next = 1;
        for window in &self.windows {
            if window.first_line > next {
                let _ = writeln!(text, "\n(lines {next} to {} are not shown)", window.first_line - 1);
            }
            let fence = fence_around(window.lines.iter().map(String::as_str));
            let _ = writeln!(text, "\n{fence}{language}");
            for line in &window.lines {
                let _ = writeln!(text, "{line}");
            }
            let _ = writeln!(text, "{fence}");
            next = window.first_line + window.lines.len();
        }
        if next <= total {
            let _ = writeln!(text, "\n(lines {next} to {total} are not shown)");
        }
    }
}

impl Window {
    fn range(&self) -> String {
        format!("{} to {}", self.first_line, self.first_line + self.lines.len().saturating_sub(1))
    }
}
