//! What the API shows of accounts, repositories, issues, comments and labels, with every field that the public description requires.

use serde_json::{Map, Value, json};

use super::state::{Comment, Issue, Label, Permission, Repository, User, Users, now};

/// The address by which the client reached us.
pub(super) struct Urls {
    web: String,
}

impl Urls {
    pub fn new(host: &str) -> Self {
        Self { web: format!("http://{host}") }
    }

    /// Where people look.
    pub fn web(&self) -> &str {
        &self.web
    }

    /// Where programs look.
    pub fn api(&self) -> String {
        format!("{}/api/v3", self.web)
    }
}

/// What answers are written from.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub urls: &'a Urls,
    pub users: &'a Users,
    pub repository: &'a Repository,
}

/// Fields of a repository that are its address and something behind it.
const REPOSITORY_URLS: &[(&str, &str)] = &[
    ("url", ""),
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    ("notifications_url", "/notifications{?since,all,participating}"),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
];

/// Fields of a repository that are the same for all.
const REPOSITORY_CONSTANTS: &[(&[&str], Value)] = &[
    (&["description", "mirror_url", "homepage", "language", "license"], Value::Null),
    (
        &["fork", "disabled", "is_template", "has_projects", "has_wiki", "has_pages", "has_discussions"],
        Value::Bool(false),
    ),
    (&["allow_auto_merge", "delete_branch_on_merge"], Value::Bool(false)),
    (
        &["has_issues", "has_downloads", "allow_rebase_merge", "allow_squash_merge", "allow_merge_commit"],
        Value::Bool(true),
    ),
];

/// Counts of a repository that are never counted here.
const REPOSITORY_COUNTS: &[&str] =
    &["forks_count", "stargazers_count", "watchers_count", "forks", "watchers"];

/// Fields of an account that are its address and something behind it.
const USER_URLS: &[(&str, &str)] = &[
    ("url", ""),
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("organizations_url", "/orgs"),
    ("repos_url", "/repos"),
    ("events_url", "/events{/privacy}"),
    ("received_events_url", "/received_events"),
];

impl View<'_> {
    /// The repository's address in the API, and something behind it.
    pub fn api(&self, rest: &str) -> String {
        format!("{}/repos/{}{rest}", self.urls.api(), self.repository.slug())
    }

    /// The repository's address for people, and something behind it.
    pub fn web(&self, rest: &str) -> String {
        format!("{}/{}{rest}", self.urls.web(), self.repository.slug())
    }

    /// An account, or `null` when it no longer exists.
    pub fn user(&self, login: Option<&str>) -> Value {
        login.and_then(|login| self.users.get(login)).map_or(Value::Null, |found| user(self.urls, found))
    }

    /// An account where one is required: GitHub shows `ghost` in place of one that no longer exists.
    pub fn user_or_ghost(&self, login: Option<&str>) -> Value {
        match self.user(login) {
            Value::Null => user(self.urls, &User { id: 10_137, login: "ghost".to_owned(), kind: "User" }),
            found => found,
        }
    }

    /// The accounts that still exist.
    pub fn users(&self, logins: &[String]) -> Vec<Value> {
        logins.iter().map(|login| self.user(Some(login))).filter(|found| !found.is_null()).collect()
    }

    /// How an author stands to the repository. Not to be trusted as a right, see
    /// <https://docs.github.com/graphql/reference/enums#commentauthorassociation>.
    pub fn association(&self, login: Option<&str>) -> &'static str {
        match login {
            Some(login) if login.eq_ignore_ascii_case(&self.repository.owner) => "OWNER",
            Some(login) if self.repository.is_collaborator(login) => "COLLABORATOR",
            _ => "NONE",
        }
    }

    /// <https://docs.github.com/rest/repos/repos#get-a-repository>, as it is shown within other things.
    pub fn repository(&self, caller: Option<&str>) -> Value {
        let repository = self.repository;
        let slug = repository.slug();
        let open = repository.issues.values().filter(|issue| issue.closed_at.is_none()).count();
        let host = self.urls.web().trim_start_matches("http://");
        let mut shown = json!({
            "id": repository.id, "node_id": format!("R_{}", repository.id), "name": repository.name, "full_name": slug,
            "owner": self.user_or_ghost(Some(&repository.owner)), "private": repository.private,
            "visibility": if repository.private { "private" } else { "public" }, "archived": repository.archived,
            "html_url": self.web(""), "svn_url": self.web(""), "clone_url": self.web(".git"),
            "git_url": format!("git://{host}/{slug}.git"), "ssh_url": format!("git@{host}:{slug}.git"),
            "size": repository.git.size_kib(), "default_branch": repository.default_branch, "topics": [],
            "open_issues_count": open, "open_issues": open, "pushed_at": repository.created_at,
            "created_at": repository.created_at, "updated_at": repository.created_at,
            "permissions": rights(repository.permission(caller)),
        });
        for (names, value) in REPOSITORY_CONSTANTS {
            for name in *names {
                shown[*name] = value.clone();
            }
        }
        for name in REPOSITORY_COUNTS {
            shown[*name] = 0.into();
        }
        add_urls(&mut shown, &self.api(""), REPOSITORY_URLS);
        shown
    }

    /// <https://docs.github.com/rest/issues/issues#get-an-issue>
    pub fn issue(&self, issue: &Issue) -> Value {
        let number = issue.number;
        let author = issue.user.as_deref();
        let assignees = self.users(&issue.assignees);
        let kind = if issue.pull.is_some() { "pull" } else { "issues" };
        let comments = self.repository.comments.values().filter(|comment| comment.issue == number).count();
        let mut shown = json!({
            "id": issue.id, "node_id": format!("I_{}", issue.id), "number": number, "title": issue.title, "body": issue.body,
            "repository_url": self.api(""), "html_url": self.web(&format!("/{kind}/{number}")),
            "user": self.user(author), "author_association": self.association(author),
            "state": issue.state(), "state_reason": issue.state_reason, "labels": self.labels(&issue.labels),
            "assignee": assignees.first(), "assignees": assignees, "milestone": null, "locked": false,
            "active_lock_reason": null, "comments": comments, "created_at": issue.created_at,
            "updated_at": issue.updated_at, "closed_at": issue.closed_at, "closed_by": null,
            "performed_via_github_app": null, "reactions": self.reactions(&format!("/issues/{number}")),
        });
        let urls = [
            ("url", ""),
            ("labels_url", "/labels{/name}"),
            ("comments_url", "/comments"),
            ("events_url", "/events"),
            ("timeline_url", "/timeline"),
        ];
        add_urls(&mut shown, &self.api(&format!("/issues/{number}")), &urls);
        if let Some(pull) = &issue.pull {
            let web = self.web(&format!("/pull/{number}"));
            shown["draft"] = pull.draft.into();
            shown["pull_request"] = json!({
                "url": self.api(&format!("/pulls/{number}")), "html_url": web, "diff_url": format!("{web}.diff"),
                "patch_url": format!("{web}.patch"), "merged_at": pull.merged.as_ref().map(|merge| &merge.at),
            });
        }
        shown
    }

    /// <https://docs.github.com/rest/issues/comments#get-an-issue-comment>
    pub fn comment(&self, comment: &Comment) -> Value {
        let path = format!("/issues/comments/{}", comment.id);
        let author = comment.user.as_deref();
        let is_pull = self.repository.issues.get(&comment.issue).is_some_and(|issue| issue.pull.is_some());
        let kind = if is_pull { "pull" } else { "issues" };
        json!({
            "id": comment.id, "node_id": format!("IC_{}", comment.id), "url": self.api(&path), "body": comment.body,
            "html_url": self.web(&format!("/{kind}/{}#issuecomment-{}", comment.issue, comment.id)),
            "issue_url": self.api(&format!("/issues/{}", comment.issue)), "user": self.user(author),
            "created_at": comment.created_at, "updated_at": comment.updated_at,
            "author_association": self.association(author), "performed_via_github_app": null,
            "reactions": self.reactions(&path),
        })
    }

    /// The labels of an issue, by their names.
    pub fn labels(&self, names: &[String]) -> Vec<Value> {
        let known = names.iter().filter_map(|name| self.repository.labels.get(&name.to_lowercase()));
        known.map(|label| self.label(label)).collect()
    }

    /// <https://docs.github.com/rest/issues/labels#get-a-label>
    pub fn label(&self, label: &Label) -> Value {
        json!({
            "id": label.id, "node_id": format!("LA_{}", label.id), "name": label.name, "color": label.color,
            "url": self.api(&format!("/labels/{}", label.name.replace('%', "%25").replace(' ', "%20").replace('/', "%2F"))),
            "description": label.description, "default": false,
        })
    }

    fn reactions(&self, path: &str) -> Value {
        json!({
            "url": self.api(&format!("{path}/reactions")), "total_count": 0, "+1": 0, "-1": 0, "laugh": 0, "confused": 0,
            "heart": 0, "hooray": 0, "eyes": 0, "rocket": 0,
        })
    }
}

/// <https://docs.github.com/rest/users/users#get-a-user>, the short form.
pub(super) fn user(urls: &Urls, user: &User) -> Value {
    let mut shown = json!({
        "login": user.login, "id": user.id, "node_id": format!("U_{}", user.id), "gravatar_id": "",
        "avatar_url": format!("{}/avatars/u/{}", urls.web(), user.id), "html_url": format!("{}/{}", urls.web(), user.login),
        "type": user.kind, "user_view_type": "public", "site_admin": false,
    });
    add_urls(&mut shown, &format!("{}/users/{}", urls.api(), user.login), USER_URLS);
    shown
}

/// <https://docs.github.com/rest/users/users#get-the-authenticated-user>
pub(super) fn authenticated_user(urls: &Urls, of: &User) -> Value {
    let mut shown = user(urls, of);
    for name in ["name", "company", "blog", "location", "email", "hireable", "bio", "twitter_username"] {
        shown[name] = Value::Null;
    }
    for name in [
        "public_repos",
        "public_gists",
        "followers",
        "following",
        "private_gists",
        "total_private_repos",
        "owned_private_repos",
        "disk_usage",
        "collaborators",
    ] {
        shown[name] = 0.into();
    }
    shown["two_factor_authentication"] = true.into();
    shown["user_view_type"] = "private".into();
    shown["created_at"] = now().into();
    shown["updated_at"] = now().into();
    shown
}

/// What a right lets one do, as the API lists it.
pub(super) fn rights(granted: Permission) -> Value {
    json!({
        "admin": granted >= Permission::Admin, "maintain": granted >= Permission::Maintain,
        "push": granted >= Permission::Write, "triage": granted >= Permission::Triage,
        "pull": granted >= Permission::Read,
    })
}

fn add_urls(shown: &mut Value, base: &str, urls: &[(&str, &str)]) {
    let mut empty = Map::new();
    let fields = shown.as_object_mut().unwrap_or(&mut empty);
    fields.extend(urls.iter().map(|(name, rest)| ((*name).to_owned(), Value::from(format!("{base}{rest}")))));
}
