//! The right to work on a ticket: a row that lives as long as the process's session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use super::database::Trouble;
use super::session::Session;
use super::tasks::settle;
use crate::queue::{Hold, Lease, LeaseKey, LeaseOutcome};

const TAKE: &str = "\
    INSERT INTO leases (key, owner, token) SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM owners WHERE id = ?2) \
    ON CONFLICT (key) DO NOTHING";
const LET_GO: &str = "DELETE FROM leases WHERE key = ?1 AND token = ?2";

/// The leases that a session has out, by token: one that is lost is let go at once, though its holder may take its time.
/// Whoever gets the delivery next gets the lease.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<String, Out>>);

#[derive(Debug)]
struct Out {
    key: String,
    lost: CancellationToken,
}

impl Leases {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Out>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them are let go together.
    pub(super) fn forget(&self) {
        self.all().clear();
    }

    fn take_lost(&self) -> Vec<(String, Out)> {
        self.all().extract_if(|_, out| out.lost.is_cancelled()).collect()
    }
}

/// Lets go of the leases that are lost.
pub(super) fn let_go_lost(session: &Arc<Session>) {
    for (token, Out { key, .. }) in session.leases.take_lost() {
        let_go_late(session, key, token);
    }
}

/// Takes the lease unless it is held by somebody who lives. It is lost with `lost`.
pub(super) async fn take(
    session: &Arc<Session>,
    key: &LeaseKey,
    lost: CancellationToken,
) -> Result<LeaseOutcome, Trouble> {
    if lost.is_cancelled() {
        return Ok(LeaseOutcome::Held);
    }
    // Made first: a lease that is taken while nobody waits for it any more is let go.
    let mut hold = SqliteHold {
        session: session.clone(),
        key: key.name(),
        token: Ulid::generate().to_string(),
        open: true,
    };
    if !hold.take().await? {
        session.bury_the_dead().await?;
        if !hold.take().await? {
            hold.open = false;
            return Ok(LeaseOutcome::Held);
        }
    }
    session.leases.all().insert(hold.token.clone(), Out { key: hold.key.clone(), lost: lost.clone() });
    if lost.is_cancelled() {
        // Whoever lets go of what is lost may have come too early for this one.
        let_go_lost(session);
    }
    Ok(LeaseOutcome::Granted(Lease::new(key.clone(), lost, Box::new(hold))))
}

struct SqliteHold {
    session: Arc<Session>,
    key: String,
    token: String,
    open: bool,
}

impl SqliteHold {
    async fn take(&self) -> Result<bool, Trouble> {
        let mut connection = self.session.database.writer().await?;
        let statement = sqlx::query(TAKE).bind(&self.key).bind(self.session.id()).bind(&self.token);
        Ok(settle(&mut connection, statement).await?)
    }
}

async fn let_go(connection: &mut SqliteConnection, key: &str, token: &str) -> sqlx::Result<bool> {
    settle(connection, sqlx::query(LET_GO).bind(key).bind(token)).await
}

fn let_go_late(session: &Arc<Session>, key: String, token: String) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let session = session.clone();
    runtime.spawn(async move {
        loop {
            let let_go = async {
                let mut connection = session.database.writer().await?;
                Ok::<_, Trouble>(let_go(&mut connection, &key, &token).await?)
            };
            match let_go.await {
                Ok(_) => return,
                Err(trouble) => {
                    if !session.waits_to_try_again("a lease", trouble).await {
                        return;
                    }
                }
            }
        }
    });
}

#[async_trait]
impl Hold for SqliteHold {
    async fn release(mut self: Box<Self>) {
        let let_go = async {
            let mut connection = self.session.database.writer().await?;
            Ok::<_, Trouble>(let_go(&mut connection, &self.key, &self.token).await?)
        };
        match let_go.await {
            Ok(_) => self.open = false,
            Err(trouble) => {
                let error = self.session.database.error(trouble);
                tracing::warn!(%error, "a lease could not be let go; trying once more");
            }
        }
    }
}

impl Drop for SqliteHold {
    fn drop(&mut self) {
        self.session.leases.all().remove(&self.token);
        if self.open {
            let_go_late(&self.session, std::mem::take(&mut self.key), std::mem::take(&mut self.token));
        }
    }
}
