//! Accounts, their credentials and their rights.

use anyhow::Result;

use super::GitHub;
use super::state::{Permission, Token};

impl GitHub {
    /// Adds a person's account, unless there is one of that login. Who files an issue or comments is added by that.
    pub fn add_user(&self, login: &str) {
        let mut store = self.store();
        let store = &mut *store;
        store.users.add(&mut store.ids, login, "User");
    }

    /// Deletes an account. What it wrote stays, with `"user": null`.
    pub fn remove_user(&self, login: &str) {
        self.store().users.remove(login);
    }

    /// Makes a token valid for an account, which is added when missing: a personal token of any form, or, when it starts with `ghs_`, an
    /// App's installation token. It gives no right in any repository: see [`GitHub::set_permission`].
    pub fn add_token(&self, token: &str, login: &str) {
        let mut store = self.store();
        let store = &mut *store;
        let kind = if token.starts_with("ghs_") { "Bot" } else { "User" };
        store.users.add(&mut store.ids, login, kind);
        store.tokens.insert(token.to_owned(), Token::new(token, login));
    }

    /// Gives an account, which is added when missing, a right in a repository.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn set_permission(&self, slug: &str, login: &str, permission: Permission) -> Result<()> {
        let mut store = self.store();
        let store = &mut *store;
        store.users.add(&mut store.ids, login, "User");
        store.expect_repository(slug)?.permissions.insert(login.to_lowercase(), permission);
        Ok(())
    }

    /// Gives a team of the owner access to a repository, so that its review can be asked for.
    ///
    /// # Errors
    /// When there is no such repository.
    pub fn add_team(&self, slug: &str, team: &str) -> Result<()> {
        let mut store = self.store();
        let id = store.ids.next();
        store.expect_repository(slug)?.teams.insert(team.to_lowercase(), id);
        Ok(())
    }
}
