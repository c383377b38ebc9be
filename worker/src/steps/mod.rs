//! The steps of a run, in order. They know nothing of each other: each takes the product of the one before.

pub mod check;
pub mod claim;
pub mod context;
pub mod edit;
pub mod plan;
pub mod publish;
pub mod report;
pub mod workspace;
