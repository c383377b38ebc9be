//! Atlassian Document Format, the rich text of Jira Cloud, to and from Markdown.
//!
//! <https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/>

mod inline;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::to_markdown;
pub use write::from_markdown;
