//! What this process and its transfer child say to each other: one JSON request down, JSON lines up.

use std::path::PathBuf;
use std::time::Duration;

use jira_agent::domain::{BranchName, CommitId, RepoUrl};
use jira_agent::secret::Secret;
use serde::{Deserialize, Serialize, Serializer};

use super::GitError;

/// A transfer, whole: the child knows nothing else.
#[derive(Serialize, Deserialize)]
pub(super) struct TransferRequest {
    pub(super) url: RepoUrl,
    /// The bare repository on disk.
    pub(super) git_dir: PathBuf,
    #[serde(serialize_with = "expose")]
    pub(super) token: Option<Secret>,
    pub(super) network: Network,
    pub(super) job: Job,
}

/// How the child reaches the remote.
#[derive(Serialize, Deserialize)]
pub(super) struct Network {
    /// The one proxy to use, with user and password if it needs them.
    #[serde(serialize_with = "expose")]
    pub(super) proxy: Option<Secret>,
    pub(super) no_proxy: Option<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    /// The longest silence of the remote.
    pub(super) idle_timeout: Duration,
}

/// The two directions.
#[derive(Serialize, Deserialize)]
#[serde(tag = "job", rename_all = "snake_case")]
pub(super) enum Job {
    Fetch { base: Option<BranchName>, agent_branch: Option<BranchName>, base_depth: u32, agent_depth: u32 },
    Push { commit: CommitId, branch: BranchName, expected: Option<CommitId> },
}

/// One line of the child's answer; the last one is not `Progress`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(super) enum Line {
    Progress(Progress),
    Fetched(FetchOutcome),
    Pushed(PushOutcome),
    Failed(GitError),
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Objects received, or sent in a push.
    pub objects: u64,
    /// Objects that there will be; 0 while unknown.
    pub total_objects: u64,
    /// Bytes received, or sent in a push.
    pub bytes: u64,
}

/// What a fetch brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchOutcome {
    /// The newest commit of the base branch.
    pub base: CommitId,
    /// The base branch: the one asked for, else the remote's default branch.
    pub base_branch: BranchName,
    /// The remote's default branch, when it names one.
    pub default_branch: Option<BranchName>,
    /// The newest commit of the agent's branch, when the remote has that branch.
    pub agent_head: Option<CommitId>,
    /// Bytes of HTTP bodies received.
    pub received_bytes: u64,
    /// Git objects received.
    pub objects: u64,
    /// The whole transfer, from the start of the child to its end.
    pub duration: Duration,
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PushOutcome {
    /// The branch is now at our commit.
    Pushed {
        /// What the remote said, cut and cleaned.
        messages: String,
    },
    /// The branch was at our commit already.
    AlreadyThere,
    /// Somebody else moved, made or deleted the branch.
    LeaseLost {
        /// Where the branch is now; none: there is no such branch.
        found: Option<CommitId>,
    },
    /// The branch is where it was expected, but our commit does not descend from it.
    NotFastForward,
    /// The remote refused: a hook, a protected branch, a rule.
    Refused {
        /// The remote's words, cut and cleaned.
        message: String,
    },
}

/// The one place where a secret is written: the pipe to the child.
fn expose<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(Secret::expose).serialize(serializer)
}

/// Makes a remote's words fit for a log, a comment or an error: printable, and at most `limit` bytes.
pub(super) fn clean(words: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(words);
    let mut cleaned = String::new();
    let mut in_escape = false;
    for letter in text.chars() {
        if in_escape {
            // An ANSI sequence ends with a letter: https://en.wikipedia.org/wiki/ANSI_escape_code
            in_escape = !letter.is_ascii_alphabetic();
        } else if letter == '\u{1b}' {
            in_escape = true;
        } else if letter == '\n' || letter == '\r' {
            // Progress meters rewrite a line with a carriage return.
            if !cleaned.is_empty() && !cleaned.ends_with('\n') {
                cleaned.push('\n');
            }
        } else if !letter.is_control() && !is_invisible(letter) {
            cleaned.push(letter);
        }
        if cleaned.len() >= limit {
            cleaned.push('…');
            break;
        }
    }
    cleaned.trim().to_owned()
}

/// Marks that change how a text reads without being seen.
fn is_invisible(letter: char) -> bool {
    matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remotes_words_lose_what_is_not_print_and_what_is_too_long() {
        let words = b"\x1b[31mremote:\x1b[0m no\r\n\n\x07way \xe2\x80\xae\xff";
        assert_eq!(clean(words, 100), "remote: no\nway \u{fffd}");
        assert_eq!(clean(&[b'a'; 50], 10), "aaaaaaaaaa…");
    }

    #[test]
    fn a_secret_reaches_the_child_and_nothing_else() {
        let network = Network {
            proxy: Some(Secret::new("http://u:p@proxy")),
            no_proxy: None,
            ca_file: None,
            connect_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
        };
        let sent = serde_json::to_string(&network).unwrap();
        assert!(sent.contains("u:p@proxy"));
        assert_eq!(
            serde_json::from_str::<Network>(&sent).unwrap().proxy.unwrap().expose(),
            "http://u:p@proxy"
        );
    }
}
