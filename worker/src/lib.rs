//! The worker: one ticket to one pull request. In suggested reading order.

mod marks;
pub mod tree;
pub mod workspace_dir;

pub mod edit;
pub mod git;
pub mod model;
pub mod prompt;
pub mod syntax;
