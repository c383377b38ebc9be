//! What the API shows of pull requests.

use serde_json::{Value, json};

use super::render::View;
use super::state::{Issue, Pull};

impl View<'_> {
    /// <https://docs.github.com/rest/pulls/pulls#get-a-pull-request>, the long form.
    pub fn pull(&self, issue: &Issue, pull: &Pull) -> Value {
        let git = &self.repository.git;
        let (base, head) = (pull.base_sha.as_str(), pull.head_sha.as_str());
        let numbers = git.diff_numbers(base, head);
        let mergeable = if issue.closed_at.is_some() { None } else { git.mergeable(base, head) };
        let comments =
            self.repository.comments.values().filter(|comment| comment.issue == issue.number).count();
        let mut shown = self.pull_simple(issue, pull);
        let more = json!({
            "user": self.user_or_ghost(issue.user.as_deref()),
            "merged": pull.merged.is_some(), "mergeable": mergeable, "rebaseable": mergeable,
            "mergeable_state": mergeable_state(pull, mergeable),
            "merged_by": self.user(pull.merged.as_ref().map(|merge| merge.by.as_str())),
            "comments": comments, "review_comments": 0, "maintainer_can_modify": pull.maintainer_can_modify,
            "commits": git.ahead(base, head), "additions": numbers.additions, "deletions": numbers.deletions,
            "changed_files": numbers.changed_files,
        });
        for team in shown["requested_teams"].as_array_mut().into_iter().flatten() {
            team.as_object_mut().map(|fields| fields.remove("parent"));
        }
        if let (Some(shown), Value::Object(more)) = (shown.as_object_mut(), more) {
            shown.extend(more);
        }
        shown
    }

    /// <https://docs.github.com/rest/pulls/pulls#list-pull-requests>, the short form.
    pub fn pull_simple(&self, issue: &Issue, pull: &Pull) -> Value {
        let number = issue.number;
        let api = self.api(&format!("/pulls/{number}"));
        let issue_api = self.api(&format!("/issues/{number}"));
        let web = self.web(&format!("/pull/{number}"));
        let statuses = self.api(&format!("/statuses/{}", pull.head_sha));
        let assignees = self.users(&issue.assignees);
        let teams: Vec<Value> = pull.teams.iter().filter_map(|team| self.team(team)).collect();
        let merged = pull.merged.as_ref();
        let mut labels = self.labels(&issue.labels);
        // Here, unlike in an issue, a label's description is never null.
        for label in labels.iter_mut().filter(|label| label["description"].is_null()) {
            label["description"] = "".into();
        }
        let link = |href: &str| json!({"href": href});
        let links = json!({
            "self": link(&api), "html": link(&web), "issue": link(&issue_api), "statuses": link(&statuses),
            "comments": link(&format!("{issue_api}/comments")), "commits": link(&format!("{api}/commits")),
            "review_comments": link(&format!("{api}/comments")),
            "review_comment": link(&self.api("/pulls/comments{/number}")),
        });
        json!({
            "url": api, "id": pull.id, "node_id": pull_node_id(pull.id), "html_url": web, "number": number,
            "diff_url": format!("{web}.diff"), "patch_url": format!("{web}.patch"), "issue_url": issue_api,
            "commits_url": format!("{api}/commits"), "review_comments_url": format!("{api}/comments"),
            "review_comment_url": self.api("/pulls/comments{/number}"), "comments_url": format!("{issue_api}/comments"),
            "statuses_url": statuses, "state": issue.state(), "locked": false, "active_lock_reason": null,
            "title": issue.title, "body": issue.body, "user": self.user(issue.user.as_deref()),
            "labels": labels, "milestone": null, "created_at": issue.created_at,
            "updated_at": issue.updated_at, "closed_at": issue.closed_at, "merged_at": merged.map(|merge| &merge.at),
            "merge_commit_sha": merged.map(|merge| &merge.commit), "assignee": assignees.first(), "assignees": assignees,
            "requested_reviewers": self.users(&pull.reviewers), "requested_teams": teams,
            "head": self.side(&pull.head, &pull.head_sha), "base": self.side(&pull.base, &pull.base_sha),
            "_links": links,
            "author_association": self.association(issue.user.as_deref()), "auto_merge": null, "draft": pull.draft,
        })
    }

    fn side(&self, branch: &str, id: &str) -> Value {
        let owner = &self.repository.owner;
        json!({
            "label": format!("{owner}:{branch}"), "ref": branch, "sha": id,
            "user": self.user_or_ghost(Some(owner)), "repo": self.repository(None),
        })
    }

    fn team(&self, slug: &str) -> Option<Value> {
        let id = self.repository.teams.get(slug)?;
        let owner = &self.repository.owner;
        let api = format!("{}/organizations/{owner}/team/{id}", self.urls.api());
        Some(json!({
            "id": id, "node_id": format!("T_{id}"), "name": slug, "slug": slug, "description": null, "privacy": "closed",
            "notification_setting": "notifications_enabled", "permission": "push", "url": api, "type": "organization",
            "html_url": format!("{}/orgs/{owner}/teams/{slug}", self.urls.web()),
            "members_url": format!("{api}/members{{/member}}"), "repositories_url": format!("{api}/repos"), "parent": null,
        }))
    }
}

/// The id by which GraphQL knows a pull request.
pub(super) fn pull_node_id(id: u64) -> String {
    format!("PR_{id}")
}

fn mergeable_state(pull: &Pull, mergeable: Option<bool>) -> &'static str {
    match mergeable {
        None => "unknown",
        Some(false) => "dirty",
        Some(true) if pull.draft => "draft",
        Some(true) => "clean",
    }
}
