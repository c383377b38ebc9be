//! Jira's state as the API shows it.
//!
//! <https://developer.atlassian.com/cloud/jira/platform/rest/v3/>

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::model::{Change, Comment, Issue, RemoteLink, State, User};
use super::workflow::Category;

/// `2026-01-30T12:00:00.000+0000`.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string()
}

/// Renders with the site's address in the links.
pub(super) struct Wire<'a> {
    pub(super) site: &'a str,
    pub(super) state: &'a State,
}

impl Wire<'_> {
    pub(super) fn link(&self, path: &str) -> String {
        format!("{}/rest/api/3/{path}", self.site)
    }

    pub(super) fn user(&self, account_id: &str) -> Value {
        let Some(user) = self.state.users.get(account_id) else {
            return Value::Null;
        };
        let User { account_id, name, email, active } = user;
        let picture = |size: u32| format!("{}/avatar/{account_id}?size={size}", self.site);
        let mut shown = json!({
            "self": self.link(&format!("user?accountId={account_id}")),
            "accountId": account_id,
            "accountType": "atlassian",
            "avatarUrls": {"48x48": picture(48), "24x24": picture(24), "16x16": picture(16), "32x32": picture(32)},
            "displayName": name,
            "active": active,
            "timeZone": "Etc/UTC",
        });
        if !email.is_empty() {
            shown["emailAddress"] = json!(email);
        }
        shown
    }

    pub(super) fn status(&self, name: &str) -> Value {
        let Some(status) = self.state.workflow.status(name) else {
            return Value::Null;
        };
        let id = self.state.workflow.status_id(name).unwrap_or_default();
        let (category_id, key, colour, label) = match status.category {
            Category::New => (2, "new", "blue-gray", "To Do"),
            Category::Indeterminate => (4, "indeterminate", "yellow", "In Progress"),
            Category::Done => (3, "done", "green", "Done"),
        };
        json!({
            "self": self.link(&format!("status/{id}")),
            "description": "",
            "iconUrl": format!("{}/", self.site),
            "name": status.name,
            "id": id,
            "statusCategory": {
                "self": self.link(&format!("statuscategory/{category_id}")),
                "id": category_id,
                "key": key,
                "colorName": colour,
                "name": label,
            },
        })
    }

    pub(super) fn comment(&self, issue: &Issue, comment: &Comment, with_properties: bool) -> Value {
        let mut shown = json!({
            "self": self.link(&format!("issue/{}/comment/{}", issue.id, comment.id)),
            "id": comment.id.to_string(),
            "author": self.user(&comment.author),
            "body": comment.body,
            "updateAuthor": self.user(&comment.editor),
            "created": time(comment.created),
            "updated": time(comment.updated),
            "jsdPublic": true,
        });
        if let Some(visibility) = &comment.visibility {
            shown["visibility"] = visibility.clone();
        }
        if with_properties {
            let list = comment.properties.iter().map(|(key, value)| json!({"key": key, "value": value}));
            shown["properties"] = list.collect();
        }
        shown
    }

    pub(super) fn remote_link(&self, issue: &Issue, link: &RemoteLink) -> Value {
        let mut shown = json!({
            "id": link.id,
            "self": self.link(&format!("issue/{}/remotelink/{}", issue.key, link.id)),
            "application": link.application.clone().unwrap_or_else(|| json!({})),
            "object": link.object,
        });
        if let Some(global_id) = &link.global_id {
            shown["globalId"] = json!(global_id);
        }
        if let Some(relationship) = &link.relationship {
            shown["relationship"] = json!(relationship);
        }
        shown
    }

    pub(super) fn change(&self, change: &Change) -> Value {
        json!({
            "id": change.id.to_string(),
            "author": self.user(&change.by),
            "created": time(change.at),
            "items": [{
                "field": change.field,
                "fieldtype": "jira",
                "fieldId": change.field,
                "from": change.from,
                "fromString": change.from_text,
                "to": change.to,
                "toString": change.to_text,
            }],
        })
    }

    /// The issue with these of its fields: `*all`, `*navigable`, names, `-name`.
    pub(super) fn issue(&self, issue: &Issue, fields: &[String]) -> Value {
        let all = self.fields(issue);
        let everything = fields.iter().any(|name| name == "*all" || name == "*navigable")
            || fields.iter().all(|name| name.starts_with('-'));
        let wanted = |name: &str| {
            let asked = everything || fields.iter().any(|it| it == name);
            let taken_out = fields.iter().any(|it| it.strip_prefix('-') == Some(name));
            let hidden = name == "comment" && fields.iter().any(|it| it == "*navigable");
            asked && !taken_out && !hidden
        };
        let shown: Map<String, Value> = all.into_iter().filter(|(name, _)| wanted(name)).collect();
        json!({
            "expand": "renderedFields,names,schema,operations,editmeta,changelog,versionedRepresentations",
            "id": issue.id.to_string(),
            "self": self.link(&format!("issue/{}", issue.id)),
            "key": issue.key,
            "fields": shown,
        })
    }

    fn fields(&self, issue: &Issue) -> Map<String, Value> {
        let person = |account: &Option<String>| account.as_deref().map_or(Value::Null, |it| self.user(it));
        let named = |place: &str, id: &str, name: &str| json!({"self": self.link(&format!("{place}/{id}")), "id": id, "name": name});
        let components = issue.components.iter().enumerate();
        let components: Vec<Value> =
            components.map(|(index, name)| named("component", &(10_100 + index).to_string(), name)).collect();
        let comments = issue.comments.iter().map(|comment| self.comment(issue, comment, false));
        let comments: Vec<Value> = comments.take(self.state.settings.page_limit.unwrap_or(5000)).collect();
        let mut kind = named("issuetype", "10001", &issue.kind);
        kind["subtask"] = json!(false);
        let mut fields = issue.fields.clone();
        let known = json!({
            "summary": issue.summary,
            "description": issue.description,
            "status": self.status(&issue.status),
            "resolution": issue.resolution.as_deref().map(|name| named("resolution", "10000", name)),
            "assignee": person(&issue.assignee),
            "reporter": person(&issue.reporter),
            "creator": person(&issue.reporter),
            "labels": issue.labels,
            "components": components,
            "issuetype": kind,
            "priority": named("priority", "3", &issue.priority),
            "project": self.project(issue.project()),
            "created": time(issue.created),
            "updated": time(issue.updated),
            "issuelinks": [],
            "attachment": [],
            "subtasks": [],
            "comment": {
                "self": self.link(&format!("issue/{}/comment", issue.id)),
                "comments": comments,
                "maxResults": comments.len(),
                "total": issue.comments.len(),
                "startAt": 0,
            },
        });
        if let Value::Object(known) = known {
            fields.extend(known);
        }
        fields
    }

    pub(super) fn project(&self, key: &str) -> Value {
        let position = self.state.projects.keys().position(|it| it == key);
        let (Some(position), Some(project)) = (position, self.state.projects.get(key)) else {
            return Value::Null;
        };
        let id = (10_000 + position).to_string();
        json!({
            "self": self.link(&format!("project/{id}")),
            "id": id,
            "key": project.key,
            "name": project.name,
            "projectTypeKey": "software",
            "simplified": false,
        })
    }
}

/// What people call a field.
pub(super) fn field_name(field: &str) -> String {
    match field {
        "issuetype" => "Issue Type".to_owned(),
        "issuelinks" => "Linked Issues".to_owned(),
        "subtasks" => "Sub-tasks".to_owned(),
        other => {
            let mut letters = other.chars();
            letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    }
}
