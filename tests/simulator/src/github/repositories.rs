//! The caller, repositories, their branches, refs and commits, and rights in them.

use serde_json::{Value, json};

use super::answers;
use super::call::{Call, Reply, answer};
use super::render::{self, rights, user};
use super::state::{Permission, TokenKind};

/// `GET /user`, see <https://docs.github.com/rest/users/users#get-the-authenticated-user>. An App's installation is no user.
pub(super) async fn authenticated_user(call: Call) -> Reply {
    let store = call.github.store();
    Reply(match (call.login(), call.caller.kind) {
        (Err(refused), _) => refused,
        (Ok(_), Some(TokenKind::Installation)) => answers::not_accessible(true),
        (Ok(login), _) => match store.users.get(login) {
            Some(found) => (200, Vec::new(), render::authenticated_user(&call.urls, found)),
            None => answers::bad_credentials(),
        },
    })
}

/// `GET /rate_limit`, see <https://docs.github.com/rest/rate-limit/rate-limit>. Asking does not count.
pub(super) async fn rate_limit(call: Call) -> Reply {
    let (limit, used, reset) = call.caller.rate;
    let core = json!({"limit": limit, "used": used, "remaining": limit.saturating_sub(used), "reset": reset});
    let search = json!({"limit": 30, "used": 0, "remaining": 30, "reset": reset});
    let graphql = json!({"limit": limit, "used": 0, "remaining": limit, "reset": reset});
    let mut body = json!({"resources": {"core": core, "search": search, "graphql": graphql}});
    if !call.caller.lean {
        body["rate"] = body["resources"]["core"].clone();
    }
    Reply((200, Vec::new(), body))
}

/// `GET /repos/{owner}/{repo}`, see <https://docs.github.com/rest/repos/repos#get-a-repository>.
pub(super) async fn get(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        let mut shown = scope.view().repository(scope.call.caller.login.as_deref());
        shown["subscribers_count"] = 0.into();
        shown["network_count"] = 0.into();
        answer(200, shown)
    })
    .await
}

/// `GET /repos/{owner}/{repo}/branches/{branch}`, see <https://docs.github.com/rest/branches/branches#get-a-branch>.
pub(super) async fn branch(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        let name = scope.call.parameter("branch");
        let view = scope.view();
        let tip = scope.repository.git.tip(name);
        let missing = || answers::message(404, "Branch not found");
        let commit = tip.and_then(|tip| view.commit(&tip)).ok_or_else(missing)?;
        let protected = scope.repository.protected.contains(name);
        let api = view.api(&format!("/branches/{name}"));
        let checks = json!({"enforcement_level": "off", "contexts": [], "checks": []});
        let body = json!({
            "name": name, "commit": commit, "protected": protected, "protection_url": format!("{api}/protection"),
            "_links": {"self": api, "html": view.web(&format!("/tree/{name}"))},
            "protection": {"enabled": protected, "required_status_checks": checks},
        });
        answer(200, body)
    })
    .await
}

/// `GET /repos/{owner}/{repo}/git/ref/{ref}`, see <https://docs.github.com/rest/git/refs#get-a-reference>.
pub(super) async fn reference(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        let name = format!("refs/{}", scope.call.parameter("reference"));
        let view = scope.view();
        let refs = scope.repository.git.refs();
        let id = refs.get(&name).ok_or_else(answers::not_found)?;
        let body = json!({
            "ref": name, "node_id": format!("REF_{name}"), "url": view.api(&format!("/git/{name}")),
            "object": {"type": "commit", "sha": id, "url": view.api(&format!("/git/commits/{id}"))},
        });
        answer(200, body)
    })
    .await
}

/// `GET /repos/{owner}/{repo}/commits/{ref}`, see <https://docs.github.com/rest/commits/commits#get-a-commit>.
pub(super) async fn commit(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        let name = scope.call.parameter("reference");
        let git = &scope.repository.git;
        let short = name.strip_prefix("heads/").unwrap_or(name);
        let id = git.tip(short).or_else(|| git.commit_id(name));
        let shown = id.and_then(|id| scope.view().commit(&id));
        answer(200, shown.ok_or_else(|| answers::message(422, &format!("No commit found for SHA: {name}")))?)
    })
    .await
}

/// `GET /repos/{owner}/{repo}/collaborators/{user}/permission`, see
/// <https://docs.github.com/rest/collaborators/collaborators#get-repository-permissions-for-a-user>.
pub(super) async fn permission(call: Call) -> Reply {
    call.in_repository(Permission::Read, |scope| {
        scope.call.login()?;
        let login = scope.call.parameter("user");
        let missing = || answers::message(404, &format!("{login} is not a user"));
        let found = scope.users.get(login).ok_or_else(missing)?;
        let granted = scope.repository.permission(Some(&found.login));
        let (coarse, role) = match granted {
            Permission::None => ("none", "none"),
            Permission::Read => ("read", "read"),
            Permission::Triage => ("read", "triage"),
            Permission::Write => ("write", "write"),
            Permission::Maintain => ("write", "maintain"),
            Permission::Admin => ("admin", "admin"),
        };
        let mut shown = user(&scope.call.urls, found);
        shown["role_name"] = Value::from(role);
        shown["permissions"] = rights(granted);
        answer(200, json!({"permission": coarse, "role_name": role, "user": shown}))
    })
    .await
}
