//! The two mutations that REST does not have: a draft becomes ready for review, and the other way round.
//!
//! See <https://docs.github.com/graphql/reference/mutations#markpullrequestreadyforreview>.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::answers;
use super::call::{Call, Reply, Strict};
use super::render_pull::pull_node_id;
use super::state::{Issue, Permission, Store};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Request {
    query: String,
    #[serde(default)]
    variables: Map<String, Value>,
    #[serde(default, rename = "operationName")]
    _operation_name: Option<String>,
}

/// `POST /api/graphql`
pub(super) async fn run(call: Call, Strict(request): Strict<Request>) -> Reply {
    let login = match call.login() {
        Ok(login) => login,
        Err(refused) => return Reply(refused),
    };
    let mutations = [("markPullRequestReadyForReview", false), ("convertPullRequestToDraft", true)];
    let Some((mutation, draft)) = mutations.into_iter().find(|(name, _)| request.query.contains(name)) else {
        call.github
            .problems()
            .report(format!("GitHub: GraphQL is not answered by the simulator: {}", request.query));
        return Reply(answers::message(400, "The simulator knows only the two mutations of a draft"));
    };
    let mut store = call.github.store();
    let refused = store.ready_refused;
    let Some((issue, may_write)) = store.find_pull(login, &request) else {
        return failed(mutation, "NOT_FOUND", "Could not resolve to a node with the global id");
    };
    let Some(pull) = issue.pull.as_mut().filter(|_| may_write && !refused) else {
        return failed(mutation, "FORBIDDEN", "Resource not accessible by integration");
    };
    pull.draft = draft;
    let shown = json!({"id": pull_node_id(pull.id), "number": issue.number, "isDraft": draft});
    Reply((200, Vec::new(), json!({"data": {mutation: {"pullRequest": shown}}})))
}

impl Store {
    /// The open pull request that a request names by its node id, and whether the caller may change it.
    fn find_pull(&mut self, login: &str, request: &Request) -> Option<(&mut Issue, bool)> {
        let named = |id: u64| {
            let id = format!("\"{}\"", pull_node_id(id));
            request.query.contains(&id) || Value::Object(request.variables.clone()).to_string().contains(&id)
        };
        self.repositories.values_mut().find_map(|repository| {
            let may_write = repository.permission(Some(login)) >= Permission::Write;
            let found = repository
                .issues
                .values_mut()
                .find(|issue| issue.pull.as_ref().is_some_and(|pull| named(pull.id)));
            Some((found?, may_write))
        })
    }
}

fn failed(mutation: &str, kind: &str, message: &str) -> Reply {
    let error = json!({"type": kind, "path": [mutation], "message": message});
    Reply((200, Vec::new(), json!({"data": {mutation: null}, "errors": [error]})))
}
