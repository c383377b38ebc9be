//! Edit blocks: what a model writes to change files, and how a reply of them becomes a [`Patch`] or a [`Rejection`]
//! the model can act on. Nothing here writes a file: a reply is applied in memory, whole or not at all.
//!
//! A block names its file on the line before it:
//!
//! ```text
//! src/cart.rs
//! <<<<<<< SEARCH
//!     let total = price;
//! =======
//!     let total = price * quantity;
//! >>>>>>> REPLACE
//! ```
//!
//! - An empty SEARCH creates the file (or fills an empty one that was shown).
//! - A path line followed by a line with the one word `DELETE` removes a file that was shown.
//! - Fences and prose between blocks are ignored. The path may be bare, in backticks, bold, a heading, a list item,
//!   or in the info of the fence around the block. A block that follows another with nothing between but blank lines
//!   and fences may leave its path out.
//! - Markers have five to nine characters; inside a block only markers of its own length count, so text that itself
//!   has a line of seven is written between markers of nine.

mod apply;
mod guards;
mod indent;
mod lines;
mod locate;
mod nearest;
mod parse;
mod patch;
mod paths;
mod rejection;

pub use apply::{Acceptance, apply};
pub use guards::GuardProblem;
pub use locate::Laxness;
pub use parse::{BlockAction, BlockProblem, BlockProblemKind, EditBlock, ParseProblem, parse};
pub use patch::{Patch, Warning};
pub use paths::{PathProblem, PathRules, PathRulesError};
pub use rejection::{BlockFailure, FailureReason, Passage, Rejection};

pub use crate::tree::Change;
