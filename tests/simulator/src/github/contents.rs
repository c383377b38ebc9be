//! Files and folders: <https://docs.github.com/rest/repos/contents#get-repository-content>.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers;
use super::call::{Asked, Call, Reply, answer};
use super::git_read::TreeEntry;
use super::render::View;
use super::state::Permission;

/// Bytes of a file whose content is in the answer; that of a larger one must be asked for raw.
const LARGEST_CONTENT: usize = 1_048_576;
const LINE: usize = 60;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    #[serde(rename = "ref")]
    reference: Option<String>,
}

/// `GET /repos/{owner}/{repo}/contents/{path}`
pub(super) async fn get(call: Call, Asked(query): Asked<Query>) -> Reply {
    call.in_repository(Permission::Read, move |scope| {
        let git = &scope.repository.git;
        let path = scope.call.parameter("path").trim_matches('/');
        let reference = query.reference.unwrap_or_else(|| scope.repository.default_branch.clone());
        let short = reference.strip_prefix("refs/heads/").unwrap_or(&reference);
        let no_commit = || answers::message(404, &format!("No commit found for the ref {reference}"));
        let commit = git.tip(short).or_else(|| git.commit_id(&reference)).ok_or_else(no_commit)?;
        let entry = git.entry(&commit, path).ok_or_else(answers::not_found)?;
        let view = scope.view();
        if entry.kind == "tree" {
            let inner = git.tree(&entry.id);
            let inner = inner.iter().map(|inner| {
                let path = format!("{path}/{}", inner.name);
                view.entry(inner, path.trim_start_matches('/'), &reference)
            });
            return answer(200, inner.collect());
        }
        let content = git.blob(&entry.id).ok_or_else(answers::not_found)?;
        if scope.call.accept.contains("raw") {
            let kind =
                vec![("content-type".to_owned(), "application/vnd.github.raw; charset=utf-8".to_owned())];
            return Ok((200, kind, Value::String(String::from_utf8_lossy(&content).into_owned())));
        }
        let mut shown = view.entry(&entry, path, &reference);
        if entry.mode == "120000" {
            shown["target"] = String::from_utf8_lossy(&content).into();
            return answer(200, shown);
        }
        shown["size"] = content.len().into();
        let large = content.len() > LARGEST_CONTENT;
        shown["encoding"] = if large { "none" } else { "base64" }.into();
        shown["content"] = if large { String::new() } else { wrapped(&content) }.into();
        answer(200, shown)
    })
    .await
}

impl View<'_> {
    fn entry(&self, entry: &TreeEntry, path: &str, reference: &str) -> Value {
        let kind = match (entry.mode.as_str(), entry.kind.as_str()) {
            ("120000", _) => "symlink",
            (_, "tree") => "dir",
            (_, "commit") => "submodule",
            _ => "file",
        };
        let api = self.api(&format!("/contents/{path}?ref={reference}"));
        let git = self.api(&format!("/git/{}s/{}", if kind == "dir" { "tree" } else { "blob" }, entry.id));
        let html = self.web(&format!("/{}/{reference}/{path}", if kind == "dir" { "tree" } else { "blob" }));
        let download = (kind == "file").then(|| self.web(&format!("/raw/{reference}/{path}")));
        let size = if kind == "file" {
            self.repository.git.blob(&entry.id).map_or(0, |content| content.len())
        } else {
            0
        };
        json!({
            "type": kind, "name": entry.name, "path": path, "sha": entry.id, "size": size, "url": api, "git_url": git,
            "html_url": html, "download_url": download, "_links": {"self": api, "git": git, "html": html},
        })
    }
}

/// Base64 in lines, as GitHub sends it.
fn wrapped(content: &[u8]) -> String {
    let encoded = BASE64_STANDARD.encode(content);
    let mut lines = String::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    for (index, digit) in encoded.chars().enumerate() {
        lines.push(digit);
        if index % LINE == LINE - 1 {
            lines.push('\n');
        }
    }
    lines.push('\n');
    lines
}
