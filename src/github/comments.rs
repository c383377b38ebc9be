//! Comments on issues and pull requests, and our own by the marker in their first line.

use reqwest::Method;
use serde_json::json;

use super::call::on;
use super::{GitHub, GitHubError, wire};
use crate::domain::{AccountId, CommentId, CommentMarker, RepoSlug};
use crate::rest::Call;
use crate::sticky::{Board, Own, Trouble, upsert};

/// The longest body that GitHub stores, in characters.
const BODY_LIMIT: usize = 65_536;

const SHORTENED: &str = "\n\n… shortened: the text was too long for GitHub.";

const GRANT: &str = "the permission Issues: write (and Pull requests: write)";

impl GitHub {
    /// Makes the issue or pull request have exactly one comment of ours with this marker and this text, and says which.
    /// Two writers at once end with one comment. A text that is too long is cut and says so.
    ///
    /// # Errors
    /// See [`GitHubError`].
    pub async fn upsert_comment(
        &self,
        repository: &RepoSlug,
        number: u64,
        marker: &CommentMarker,
        body_markdown: &str,
    ) -> Result<CommentId, GitHubError> {
        let first_line = first_line(marker);
        let board = IssueBoard {
            body: bounded(&format!("{first_line}\n{body_markdown}")),
            github: self,
            repository,
            number,
            first_line,
            login: self.user().await?,
        };
        upsert(&board).await
    }

    /// All comments, oldest first.
    pub(super) async fn comments(
        &self,
        repository: &RepoSlug,
        number: u64,
    ) -> Result<Vec<wire::Comment>, GitHubError> {
        let call =
            on(Method::GET, repository, &format!("the comments of #{number}"), "the permission Issues: read")
                .at(["issues", &number.to_string(), "comments"]);
        let mut comments: Vec<wire::Comment> = self.pages(repository, &call).await?;
        comments.sort_by_key(|comment| comment.id);
        Ok(comments)
    }
}

/// The line by which a comment is found again; people do not see it.
pub(super) fn first_line(marker: &CommentMarker) -> String {
    format!("<!-- {marker} -->")
}

/// Whether this login wrote it, and it starts with the line.
pub(super) fn is_own(comment: &wire::Comment, login: &AccountId, first_line: &str) -> bool {
    by(comment, login) && comment.body.lines().next().is_some_and(|line| line.trim() == first_line)
}

pub(super) fn by(comment: &wire::Comment, login: &AccountId) -> bool {
    let author = comment.user.as_ref();
    author.is_some_and(|user| user.login.eq_ignore_ascii_case(login.as_str()))
}

/// Line ends as we write them: GitHub's own editor makes them CR LF.
pub(super) fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// The body, cut at the end of a line when it is longer than GitHub stores, with an open code fence closed.
pub(super) fn bounded(body: &str) -> String {
    let length = |text: &str| text.encode_utf16().count();
    if length(body) <= BODY_LIMIT {
        return body.to_owned();
    }
    let room = BODY_LIMIT - length(SHORTENED) - "\n```".len();
    let (mut kept, mut used, mut in_fence) = (String::new(), 0, false);
    for line in body.split_inclusive('\n') {
        if used + length(line) > room {
            // A line that fills half of the room is cut within.
            if used < room / 2 {
                let part = line.chars().scan(used, |used, letter| {
                    *used += letter.len_utf16();
                    (*used <= room).then_some(letter)
                });
                kept.extend(part);
            }
            break;
        }
        used += length(line);
        in_fence ^= line.trim_start().starts_with("```");
        kept.push_str(line);
    }
    let kept = kept.trim_end();
    let close = if in_fence { "\n```" } else { "" };
    format!("{kept}{close}{SHORTENED}")
}

/// Our comments with one marker on one issue or pull request.
struct IssueBoard<'github> {
    github: &'github GitHub,
    repository: &'github RepoSlug,
    number: u64,
    first_line: String,
    login: AccountId,
    body: String,
}

impl IssueBoard<'_> {
    fn call(&self, method: Method) -> Call {
        on(method, self.repository, &format!("a comment on #{}", self.number), GRANT).at(["issues"])
    }

    fn one(&self, method: Method, id: CommentId) -> Call {
        self.call(method).at(["comments".to_owned(), id.to_string()])
    }
}

impl Board for IssueBoard<'_> {
    type Error = GitHubError;

    async fn own(&self) -> Result<Vec<Own>, GitHubError> {
        let comments = self.github.comments(self.repository, self.number).await?;
        let own = comments.iter().filter(|comment| is_own(comment, &self.login, &self.first_line));
        Ok(own
            .map(|comment| Own {
                id: comment.id.into(),
                right: unix(&comment.body).trim_end() == self.body.trim_end(),
            })
            .collect())
    }

    async fn create(&self) -> Result<CommentId, GitHubError> {
        let call = self
            .call(Method::POST)
            .at([self.number.to_string(), "comments".to_owned()])
            .json(json!({"body": self.body}));
        let comment: wire::Comment = self.github.read(Some(self.repository), &call).await?;
        if comment.id == 0 {
            return Err(GitHubError::unexpected(&call, "the new comment has no id"));
        }
        Ok(comment.id.into())
    }

    async fn update(&self, id: CommentId) -> Result<(), GitHubError> {
        let call = self.one(Method::PATCH, id).json(json!({"body": self.body})).repeatable();
        self.github.send(Some(self.repository), &call).await.map(|_| ())
    }

    async fn delete(&self, id: CommentId) -> Result<(), GitHubError> {
        self.github.send(Some(self.repository), &self.one(Method::DELETE, id)).await.map(|_| ())
    }

    fn trouble(error: &GitHubError) -> Trouble {
        match error {
            error if error.is_ambiguous() => Trouble::Ambiguous,
            GitHubError::NotFound { .. } => Trouble::Gone,
            GitHubError::Forbidden { .. } => Trouble::Forbidden,
            _ => Trouble::Other,
        }
    }

    fn restless(&self) -> GitHubError {
        GitHubError::unexpected(&self.call(Method::GET), "it vanishes again and again")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_too_long_is_cut_closed_and_says_so() {
        for body in ["x".repeat(100_000), format!("```\n{}", "line\n".repeat(30_000)), "😀\n".repeat(50_000)]
        {
            let cut = bounded(&body);
            let length = cut.encode_utf16().count();
            assert!(length <= BODY_LIMIT && length > BODY_LIMIT - 200, "{length}");
            assert!(cut.ends_with(SHORTENED) && cut.matches("```").count().is_multiple_of(2));
        }
        assert_eq!(bounded("short"), "short");
    }
}
