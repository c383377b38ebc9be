//! Choosing what the model is shown: the files of a commit that a ticket is most likely about, in full or in windows,
//! with the tree around them, within a budget of tokens.
//!
//! Files that the ticket names, in words or in a stack trace, come first. The others are ranked by BM25 over path,
//! identifiers and content, in one pass over the text that counts the ticket's words only, so that no index is built.

mod candidate;
mod context;
mod mentions;
mod outline;
mod rank;
mod scan;
mod windows;
mod words;

#[cfg(test)]
mod tests;

pub use candidate::is_candidate;
pub use context::{Context, ContextFile, Window, estimate_tokens, select};

/// What a ticket says, as Markdown.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Its title; its words count twice.
    pub summary: String,
    /// Its description.
    pub description: String,
    /// Its comments, oldest first.
    pub comments: Vec<String>,
}

/// How much is shown, and read to choose it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most files; 10 by default.
    pub files: usize,
    /// The most lines of one file; 500 by default.
    pub lines_per_file: usize,
    /// The most tokens of everything, as [`estimate_tokens`] counts; 60,000 by default.
    pub tokens: usize,
    /// The most tokens of the file tree, part of `tokens`; 2,000 by default.
    pub tree_tokens: usize,
    /// The most bytes read to choose; 128 MiB by default. Paths that share words with the ticket are read first.
    pub read_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 10,
            lines_per_file: 500,
            tokens: 60_000,
            tree_tokens: 2_000,
            read_bytes: 128 * 1024 * 1024,
        }
    }
}
