//! Why blocks could not be applied, in words a model can act on.

use std::collections::BTreeSet;
use std::fmt;

use super::apply::{Acceptance, Draft};
use super::guards::GuardProblem;
use super::nearest::Excerpt;
use super::parse::{BlockAction, EditBlock};
use super::patch::Patch;
use super::paths::{PathProblem, PathRules};
use crate::marks::fence_around;
use crate::tree::FileSource;

/// A reply of which some blocks could not be applied. Nothing is written; the blocks that could be applied are kept
/// in memory, so that only the others have to be sent again.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(.failures))]
pub struct Rejection {
    /// The blocks that could not be applied.
    pub failures: Vec<BlockFailure>,
    pub(super) draft: Draft,
}

impl Rejection {
    /// The blocks that could be applied and are kept.
    #[must_use]
    pub fn accepted(&self) -> &[Acceptance] {
        &self.draft.accepted
    }

    /// Goes on from the kept blocks with those of a new reply. A block that is kept already may be sent again; one that
    /// failed and is not sent again is left out, which [`super::Warning::Dropped`] tells.
    ///
    /// # Errors
    /// When a new block cannot be applied; everything that could be is kept.
    pub fn continue_with(
        self,
        files: &dyn FileSource,
        shown: &BTreeSet<String>,
        rules: &PathRules,
        blocks: Vec<EditBlock>,
    ) -> Result<Patch, Self> {
        let mut draft = self.draft;
        draft.owed.extend(self.failures.into_iter().map(|failure| failure.path));
        draft.run(files, shown, rules, blocks)
    }

    /// What the model is told: every failed block, why it failed, the real lines it may have meant, and what to send.
    #[must_use]
    pub fn for_model(&self) -> Vec<Passage> {
        let total = self.failures.len();
        let mut told = Told::default();
        told.say(&format!("{total} edit block(s) could not be applied. No file has been changed yet.\n"));
        for (at, failure) in self.failures.iter().enumerate() {
            if told.length > MOST_TEXT {
                told.say(&format!("\nThe reasons of {} more block(s) are left out here.\n", total - at));
                break;
            }
            told.say(&format!("\n## {failure}\n"));
            failure.explain(&mut told);
        }
        if !self.accepted().is_empty() {
            told.say("\nThese blocks matched and are kept; do not send them again:\n");
            for acceptance in self.accepted() {
                told.say(&format!("- {}: {}\n", acceptance.path, summary(&acceptance.action)));
            }
        }
        told.say(
            "\nSend corrected blocks for the failed ones only. SEARCH must repeat the file's lines exactly, and so many \
             of them that they fit one place only. Leave a failed block out if its change is not needed.\n",
        );
        told.passages
    }
}

/// A part of what the model is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// Our words. What they name of a reply or a file is within one line.
    Words(String),
    /// Lines of a reply or of a file, in a fence: data, whatever they say.
    Lines(String),
}

impl Passage {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Words(text) | Self::Lines(text) => text,
        }
    }

    /// The same with another text.
    #[must_use]
    pub fn map(&self, change: impl FnOnce(&str) -> String) -> Self {
        match self {
            Self::Words(text) => Self::Words(change(text)),
            Self::Lines(text) => Self::Lines(change(text)),
        }
    }
}

#[derive(Default)]
struct Told {
    passages: Vec<Passage>,
    length: usize,
}

impl Told {
    fn say(&mut self, words: &str) {
        self.length += words.len();
        match self.passages.last_mut() {
            Some(Passage::Words(before)) => before.push_str(words),
            _ => self.passages.push(Passage::Words(words.to_owned())),
        }
    }

    /// Lines in a fence longer than any in them.
    fn quote(&mut self, lines: &[String]) {
        let fence = fence_around(lines.iter().map(String::as_str));
        let mut text = format!("{fence}\n");
        for line in lines.iter().take(MOST_QUOTED) {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str(&format!("{fence}\n"));
        self.length += text.len();
        self.passages.push(Passage::Lines(text));
        if lines.len() > MOST_QUOTED {
            self.say(&format!("({} more lines)\n", lines.len() - MOST_QUOTED));
        }
    }
}

/// The bytes after which no more reasons are added.
const MOST_TEXT: usize = 24_000;

/// One block that could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFailure {
    /// The block.
    pub block: EditBlock,
    /// The path it means, in the form of the tree where that could be told.
    pub path: String,
    /// Why.
    pub reason: FailureReason,
}

/// Why a block could not be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureReason {
    /// The path may not be touched.
    Path(PathProblem),
    /// The file was not shown, or is not there.
    NotShown {
        /// Whether the tree has it.
        exists: bool,
        /// A shown file of the same name.
        similar: Option<String>,
    },
    /// An earlier block deleted it.
    Deleted,
    /// The block creates a file that is there already.
    AlreadyExists,
    /// The file is not UTF-8 text.
    NotText,
    /// The file is, or would be, too large.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The patch would touch too many files.
    TooManyFiles {
        /// The limit.
        limit: usize,
    },
    /// The SEARCH is nowhere in the file.
    NotFound {
        /// The lines most like it, if any are.
        nearest: Option<NearestLines>,
        /// Where the replacement stands already, as a line from 1.
        already_at: Option<usize>,
        /// Another shown file that has the SEARCH.
        elsewhere: Option<String>,
    },
    /// The SEARCH fits several places.
    Ambiguous {
        /// Their first lines, from 1.
        lines: Vec<usize>,
    },
    /// It fits one place, but is indented in a way that the replacement cannot follow.
    Indentation {
        /// The lines as they are.
        real: NearestLines,
    },
    /// The replacement would leave something behind.
    Guard(GuardProblem),
}

/// Lines of the file, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearestLines {
    /// The first one's number, from 1.
    pub first_line: usize,
    /// The lines.
    pub lines: Vec<String>,
}

impl From<Excerpt> for NearestLines {
    fn from(excerpt: Excerpt) -> Self {
        Self { first_line: excerpt.first_line, lines: excerpt.lines }
    }
}

impl fmt::Display for BlockFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Block {}, {}: ", self.block.number, self.path)?;
        match &self.reason {
            FailureReason::Path(problem) => write!(formatter, "{problem}."),
            FailureReason::NotShown { exists: true, .. } => {
                formatter.write_str("the file was not shown, so it may not be edited.")
            }
            FailureReason::NotShown { exists: false, .. } => formatter.write_str(
                "there is no such file; to create it, send a block with nothing between SEARCH and =======.",
            ),
            FailureReason::Deleted => formatter.write_str("an earlier block deletes the file."),
            FailureReason::AlreadyExists => {
                formatter.write_str("the SEARCH is empty, but the file exists; SEARCH the lines to change.")
            }
            FailureReason::NotText => formatter.write_str("the file is not UTF-8 text and cannot be edited."),
            FailureReason::TooLarge { limit } => write!(formatter, "the file is larger than {limit} bytes."),
            FailureReason::TooManyFiles { limit } => {
                write!(formatter, "more than {limit} files would change.")
            }
            FailureReason::NotFound { .. } => formatter.write_str("the SEARCH lines are not in the file."),
            FailureReason::Ambiguous { lines } => {
                let shown: Vec<String> = lines.iter().take(10).map(ToString::to_string).collect();
                let more = if lines.len() > shown.len() { " and more" } else { "" };
                write!(
                    formatter,
                    "the SEARCH fits {} places, at lines {}{more}; add lines around it until it fits one.",
                    lines.len(),
                    shown.join(", ")
                )
            }
            FailureReason::Indentation { .. } => formatter.write_str(
                "the SEARCH is indented unlike the file, so the new lines' indentation is unclear.",
            ),
            FailureReason::Guard(problem) => write!(formatter, "{problem}."),
        }
    }
}

impl BlockFailure {
    /// Adds what helps to correct the block.
    fn explain(&self, told: &mut Told) {
        match &self.reason {
            FailureReason::NotShown { similar: Some(similar), .. } => {
                told.say(&format!("Did you mean `{similar}`?\n"));
            }
            FailureReason::NotFound { nearest, already_at, elsewhere } => {
                if let BlockAction::Replace { search, .. } = &self.block.action {
                    told.say("You wrote:\n");
                    told.quote(search);
                }
                if let Some(line) = already_at {
                    told.say(&format!(
                        "The replacement is already in the file, at line {line}: if that is all, leave the block out.\n"
                    ));
                }
                if let Some(elsewhere) = elsewhere {
                    told.say(&format!("These lines are in `{elsewhere}`: was that file meant?\n"));
                }
                match nearest {
                    Some(real) => self.show(told, "The most similar lines", real),
                    None => told.say("No lines were found that resemble them.\n"),
                }
            }
            FailureReason::Indentation { real } => self.show(told, "The lines", real),
            _ => {}
        }
    }

    fn show(&self, told: &mut Told, what: &str, real: &NearestLines) {
        let last = real.first_line + real.lines.len().saturating_sub(1);
        told.say(&format!("{what} of {} are {} to {last}, exactly:\n", self.path, real.first_line));
        told.quote(&real.lines);
    }
}

/// The most lines quoted at once.
const MOST_QUOTED: usize = 64;

fn summary(action: &BlockAction) -> String {
    match action {
        BlockAction::Delete => "deletes it".to_owned(),
        BlockAction::Replace { search, .. } => match search.iter().find(|line| !line.trim().is_empty()) {
            Some(line) => format!("changes `{}`", line.trim().chars().take(80).collect::<String>()),
            None => "creates it".to_owned(),
        },
    }
}

fn describe(failures: &[BlockFailure]) -> String {
    failures.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
