//! What the API shows of commits.

use serde_json::{Value, json};

use super::render::View;

impl View<'_> {
    /// <https://docs.github.com/rest/commits/commits#get-a-commit>; `None` when there is no such commit.
    pub fn commit(&self, id: &str) -> Option<Value> {
        let git = &self.repository.git;
        let format = "--format=%an%n%ae%n%aI%n%cn%n%ce%n%cI%n%T%n%P%n%B";
        let shown = git.text(&["show", "--no-patch", format, id]).ok()?;
        let mut lines = shown.splitn(9, '\n');
        let mut next = || lines.next().unwrap_or_default();
        let author = json!({"name": next(), "email": next(), "date": next()});
        let committer = json!({"name": next(), "email": next(), "date": next()});
        let tree = next();
        let parents: Vec<&str> = next().split_whitespace().collect();
        let message = next().trim_end_matches('\n');
        let numbers = parents.first().map(|parent| git.diff_numbers(parent, id)).unwrap_or_default();
        let url = self.api(&format!("/commits/{id}"));
        let parents: Vec<Value> = parents
            .iter()
            .map(|parent| {
                let path = format!("/commits/{parent}");
                json!({"sha": parent, "url": self.api(&path), "html_url": self.web(&path.replace("commits", "commit"))})
            })
            .collect();
        Some(json!({
            "sha": id, "node_id": format!("C_{id}"), "url": url, "html_url": self.web(&format!("/commit/{id}")),
            "comments_url": format!("{url}/comments"), "author": null, "committer": null, "parents": parents,
            "commit": {
                "url": self.api(&format!("/git/commits/{id}")), "author": author, "committer": committer,
                "message": message, "comment_count": 0,
                "tree": {"sha": tree, "url": self.api(&format!("/git/trees/{tree}"))},
                "verification": {
                    "verified": false, "reason": "unsigned", "signature": null, "payload": null, "verified_at": null,
                },
            },
            "stats": {
                "additions": numbers.additions, "deletions": numbers.deletions,
                "total": numbers.additions + numbers.deletions,
            },
        }))
    }
}
