//! The right to work on a ticket: a row that lives as long as the process's session.

use std::sync::Arc;

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
    let hold = SqliteHold {
        session: session.clone(),
        key: key.name(),
        token: Ulid::generate().to_string(),
        open: true,
        done: CancellationToken::new(),
    };
    if !hold.take().await? {
        session.bury_the_dead().await?;
        if !hold.take().await? {
            return Ok(LeaseOutcome::Held);
        }
    }
    tokio::spawn(hold.let_go_when(lost.clone()));
    Ok(LeaseOutcome::Granted(Lease::new(key.clone(), lost, Box::new(hold))))
}

struct SqliteHold {
    session: Arc<Session>,
    key: String,
    token: String,
    open: bool,
    /// Cancelled when it is let go or dropped.
    done: CancellationToken,
}

impl SqliteHold {
    async fn take(&self) -> Result<bool, Trouble> {
        let mut connection = self.session.database.writer().await?;
        let statement = sqlx::query(TAKE).bind(&self.key).bind(self.session.id()).bind(&self.token);
        Ok(settle(&mut connection, statement).await?)
    }
}

impl SqliteHold {
    /// Lets go as soon as the lease is lost, for its holder may take its time: whoever gets the delivery next gets the lease.
    fn let_go_when(&self, lost: CancellationToken) -> impl Future<Output = ()> + use<> {
        let (session, key, token) = (self.session.clone(), self.key.clone(), self.token.clone());
        let done = self.done.clone();
        async move {
            // Cancel-safe: both only wait.
            tokio::select! {
                () = lost.cancelled() => let_go_late(&session, &key, &token).await,
                () = done.cancelled() => {}
            }
        }
    }
}

async fn let_go_late(session: &Session, key: &str, token: &str) {
    let Ok(mut connection) = session.database.writer().await else { return };
    if let Err(error) = let_go(&mut connection, key, token).await {
        tracing::warn!(%error, "a lease could not be let go; it ends with this process");
    }
}

async fn let_go(connection: &mut SqliteConnection, key: &str, token: &str) -> sqlx::Result<bool> {
    settle(connection, sqlx::query(LET_GO).bind(key).bind(token)).await
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
        self.done.cancel();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !self.open {
            return;
        }
        let (session, key, token) =
            (self.session.clone(), std::mem::take(&mut self.key), std::mem::take(&mut self.token));
        runtime.spawn(async move { let_go_late(&session, &key, &token).await });
    }
}
