//! Where a repository is: `owner/name`, and the address it is cloned from.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use super::InvalidId;
use super::ids::string_serde;

/// `owner/name` of a GitHub repository. To GitHub, and to `==`, it is the same in every spelling.
#[derive(Debug, Clone)]
pub struct RepoSlug {
    owner: String,
    name: String,
}

impl RepoSlug {
    /// The user or organisation.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The repository's name without `.git`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl RepoSlug {
    /// What makes it this repository and no other.
    fn identity(&self) -> (String, String) {
        (self.owner.to_ascii_lowercase(), self.name.to_ascii_lowercase())
    }
}

impl PartialEq for RepoSlug {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for RepoSlug {}

impl Hash for RepoSlug {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Ord for RepoSlug {
    fn cmp(&self, other: &Self) -> Ordering {
        self.identity().cmp(&other.identity())
    }
}

impl PartialOrd for RepoSlug {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RepoSlug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl FromStr for RepoSlug {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fine = |part: &str| {
            let letters = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !part.is_empty()
                && part.len() <= 100
                && part.chars().all(letters)
                && part.chars().any(|c| c != '.')
                && !part.starts_with('-')
        };
        match text.split_once('/') {
            Some((owner, name)) if fine(owner) && fine(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            _ => Err(InvalidId::new(text, "a repository, e.g. acme/shop")),
        }
    }
}
string_serde!(RepoSlug);

/// Why an address cannot be used as a repository's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` cannot be used as a repository: {why}; write it as https://github.com/acme/shop")]
pub struct InvalidRepository {
    /// The address, without user and password.
    pub text: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

/// The address a repository is cloned from: `http(s)://host[:port]/owner/name`, without user, password, query
/// or `.git`. Two spellings of one address are equal: a host is lower-case, and so are owner and name when they
/// are compared.
#[derive(Debug, Clone)]
pub struct RepoUrl {
    origin: Url,
    slug: RepoSlug,
}

impl RepoUrl {
    /// The address of `slug` on the host of `origin`, e.g. `https://github.com`.
    ///
    /// # Errors
    /// When `origin` is not a plain `http` or `https` address.
    pub fn on_host(origin: &Url, slug: &RepoSlug) -> Result<Self, InvalidRepository> {
        format!("{}://{}/{slug}", origin.scheme(), authority(origin)).parse()
    }

    /// `owner/name`.
    #[must_use]
    pub fn slug(&self) -> &RepoSlug {
        &self.slug
    }

    /// Scheme, host and port, e.g. `https://github.com/`.
    #[must_use]
    pub fn origin(&self) -> &Url {
        &self.origin
    }

    /// The host with its port where that is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        authority(&self.origin)
    }

    /// What git is given: the address with `.git` at its end.
    #[must_use]
    pub fn clone_url(&self) -> String {
        format!("{self}.git")
    }
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl PartialEq for RepoUrl {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        self.origin == other.origin
            && same(self.slug.owner(), other.slug.owner())
            && same(self.slug.name(), other.slug.name())
    }
}

impl Eq for RepoUrl {}

impl fmt::Display for RepoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.slug)
    }
}

impl FromStr for RepoUrl {
    type Err = InvalidRepository;

    fn from_str(text: &str) -> Result<Self, InvalidRepository> {
        // A text that breaks the first rule may still hold a password, so it is not repeated.
        let hidden = |why| InvalidRepository { text: "the given address".to_owned(), why };
        let url = Url::parse(text.trim()).map_err(|_| hidden("it is not an address"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(hidden("it holds a user or a password, which belong in the configuration"));
        }
        let invalid = |why| InvalidRepository { text: text.chars().take(200).collect(), why };
        if !matches!(url.scheme(), "https" | "http") {
            return Err(invalid("only https is spoken (http on request)"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(invalid("it has no host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it has a query or a fragment"));
        }
        let path = url.path().trim_matches('/');
        let slug = path.strip_suffix(".git").unwrap_or(path).parse();
        let slug = slug.map_err(|_| invalid("its path is not owner/name"))?;
        let mut origin = url;
        origin.set_path("/");
        Ok(Self { origin, slug })
    }
}
string_serde!(RepoUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_repository_are_equal() {
        let plain: RepoUrl = "https://github.com/acme/shop".parse().unwrap();
        for other in ["https://GitHub.com/Acme/Shop.git", "https://github.com:443/acme/shop/"] {
            assert_eq!(other.parse::<RepoUrl>().unwrap(), plain, "{other}");
        }
        assert_eq!(plain.clone_url(), "https://github.com/acme/shop.git");
    }

    #[test]
    fn addresses_that_could_mislead_are_refused() {
        for bad in [
            "file:///etc/passwd",
            "ssh://git@github.com/a/b",
            "ext::sh -c x",
            "https://github.com/a",
            "https://github.com/a/b/c",
            "https://github.com/a/b?x=1",
            "https://github.com/../b",
            "acme/shop",
        ] {
            assert!(bad.parse::<RepoUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let error = "https://user:hunter2@github.com/a/b".parse::<RepoUrl>().unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
