//! Which service a request is for. Everything is served on one listener: the paths tell the services apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One simulated service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Jira Cloud.
    Jira,
    /// GitHub, REST and git.
    GitHub,
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI chat completions.
    OpenAi,
    /// Ollama.
    Ollama,
    /// The simulator's own endpoints; neither journalled nor subject to faults.
    Control,
}

impl Service {
    /// The service that answers `path`.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        let under = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| under(prefix));
        if any(&["/rest", "/ex/jira", "/browse", "/_edge"]) {
            Self::Jira
        } else if path.starts_with("/_") {
            Self::Control
        } else if under("/v1/messages") {
            Self::Anthropic
        } else if under("/v1") {
            Self::OpenAi
        } else if any(&["/api/chat", "/api/tags", "/api/version"]) {
            Self::Ollama
        } else {
            Self::GitHub
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Jira => "jira",
            Self::GitHub => "github",
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::Ollama => "ollama",
            Self::Control => "control",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_alone_tells_the_services_apart() {
        for (path, service) in [
            ("/rest/api/3/myself", Service::Jira),
            ("/ex/jira/cloud/rest/api/3/myself", Service::Jira),
            ("/browse/PROJ-1", Service::Jira),
            ("/_edge/tenant_info", Service::Jira),
            ("/_state", Service::Control),
            ("/v1/messages", Service::Anthropic),
            ("/v1/chat/completions", Service::OpenAi),
            ("/api/chat", Service::Ollama),
            ("/api/v3/user", Service::GitHub),
            ("/acme/shop.git/info/refs", Service::GitHub),
            ("/restaurant/menu/info/refs", Service::GitHub),
        ] {
            assert_eq!(Service::of_path(path), service, "{path}");
        }
    }
}
