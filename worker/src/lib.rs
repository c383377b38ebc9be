//! Placeholder.

pub mod model;
pub mod prompt;
