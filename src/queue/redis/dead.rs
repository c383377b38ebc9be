//! Looking at dead letters, and taking one back.

use bytes::Bytes;

use super::connection::Link;
use super::envelope::Envelope;
use super::keys;
use super::scripts::call;
use crate::queue::{DeadLetter, QueueError};

/// How many letters are read at once.
const PAGE: usize = 500;

/// The oldest letters, at most `limit`.
pub(super) async fn list(link: &Link, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
    let mut letters = Vec::new();
    while letters.len() < limit {
        let page = read(link, letters.len(), PAGE.min(limit - letters.len())).await?;
        if page.is_empty() {
            break;
        }
        letters.extend(page.iter().map(|item| Envelope::open(item).into_dead_letter()));
    }
    Ok(letters)
}

/// Puts the letter before the workers again and takes it away, and copies of it too, in one step.
pub(super) async fn replay(link: &Link, wanted: &str, by: &str) -> Result<bool, QueueError> {
    let found = find(link, wanted).await?;
    let Some(first) = found.first() else {
        return Ok(false);
    };
    let Envelope { header, body, .. } = Envelope::open(first);
    bury(link, &header.replayed(by).seal(&body), &found).await
}

/// Takes the letter away, and copies of it.
pub(super) async fn discard(link: &Link, wanted: &str) -> Result<bool, QueueError> {
    bury(link, b"", &find(link, wanted).await?).await
}

async fn read(link: &Link, from: usize, count: usize) -> Result<Vec<Bytes>, QueueError> {
    let settings = &link.settings;
    let items = link.ask(settings.timeout, async |mut connection| {
        let mut range = redis::cmd("LRANGE");
        range.arg(keys::DEAD).arg(from).arg(from + count - 1);
        range.query_async::<Vec<Bytes>>(&mut connection).await
    });
    items.await.map_err(|failure| settings.error(failure))
}

/// Every letter with this id, as it is on the list.
async fn find(link: &Link, wanted: &str) -> Result<Vec<Bytes>, QueueError> {
    let (mut found, mut from) = (Vec::new(), 0);
    loop {
        let page = read(link, from, PAGE).await?;
        if page.is_empty() {
            return Ok(found);
        }
        from += page.len();
        found.extend(page.into_iter().filter(|item| Envelope::open(item).into_dead_letter().id == wanted));
    }
}

async fn bury(link: &Link, onward: &[u8], letters: &[Bytes]) -> Result<bool, QueueError> {
    if letters.is_empty() {
        return Ok(false);
    }
    let settings = &link.settings;
    let mut arguments = vec![onward];
    arguments.extend(letters.iter().map(Bytes::as_ref));
    let buried = link.ask(settings.timeout, async |mut connection| {
        call::<i64>(&settings.scripts.bury, &mut connection, &[keys::DEAD, keys::READY], &arguments).await
    });
    Ok(buried.await.map_err(|failure| settings.error(failure))? > 0)
}
