//! Placeholder.

pub mod edit;
pub mod git;
pub mod model;
pub mod prompt;
pub mod search;
pub mod syntax;
pub mod tree;
pub mod workspace_dir;
