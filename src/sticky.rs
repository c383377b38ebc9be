//! One comment for each marker, whoever else writes at once: find or create, read again, the lowest id stays.

use std::fmt;

use crate::domain::CommentId;

/// How often one comment is created or changed before we give up.
const ROUNDS: usize = 4;

/// A comment of ours that has the wanted marker.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Its number.
    pub id: CommentId,
    /// Whether it already says what it should.
    pub right: bool,
}

/// What an error means for the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The write may have been done.
    Ambiguous,
    /// The comment is not there any more.
    Gone,
    /// We may not do that.
    Forbidden,
    /// Anything else.
    Other,
}

/// Where comments with one marker and one text are kept.
pub trait Board {
    /// What can go wrong.
    type Error: fmt::Display;

    /// All our comments with the marker, in any order.
    fn own(&self) -> impl Future<Output = Result<Vec<Own>, Self::Error>> + Send;
    /// Writes a new one.
    fn create(&self) -> impl Future<Output = Result<CommentId, Self::Error>> + Send;
    /// Changes an existing one.
    fn update(&self, id: CommentId) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// Deletes a surplus one.
    fn delete(&self, id: CommentId) -> impl Future<Output = Result<(), Self::Error>> + Send;
    /// What the error means.
    fn trouble(error: &Self::Error) -> Trouble;
    /// The error when it does not come to rest.
    fn restless(&self) -> Self::Error;
}

/// Makes the board hold exactly one comment with its marker and text, and says which.
///
/// After a create the list is read again: the lowest id stays and our others go, so that two writers end with one.
/// A create whose answer was lost is not repeated before the list was read.
pub async fn upsert<B: Board>(board: &B) -> Result<CommentId, B::Error> {
    let mut created = None;
    let mut last = None;
    for _ in 0..ROUNDS {
        let mut own = board.own().await?;
        if let Some(id) = created.filter(|id| !own.is_empty() && own.iter().all(|comment| comment.id != *id))
        {
            // The list shows another writer's but lags behind ours.
            own.push(Own { id, right: true });
        }
        own.sort_by_key(|comment| comment.id);
        let Some((first, surplus)) = own.split_first() else {
            if let Some(id) = created {
                // The list lags behind our own write.
                return Ok(id);
            }
            match board.create().await {
                Ok(id) => created = Some(id),
                Err(error) if B::trouble(&error) == Trouble::Ambiguous => last = Some(error),
                Err(error) => return Err(error),
            }
            continue;
        };
        for comment in surplus {
            remove(board, comment.id).await?;
        }
        // What the service makes of our text may not compare as equal, so what we just wrote is not asked.
        if first.right || created == Some(first.id) {
            return Ok(first.id);
        }
        match board.update(first.id).await {
            Ok(()) => return Ok(first.id),
            Err(error) if B::trouble(&error) == Trouble::Gone => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| board.restless()))
}

async fn remove<B: Board>(board: &B, id: CommentId) -> Result<(), B::Error> {
    let Err(error) = board.delete(id).await else {
        return Ok(());
    };
    match B::trouble(&error) {
        Trouble::Gone => Ok(()),
        // A surplus comment is no reason to fail a run whose result is there.
        Trouble::Forbidden => {
            tracing::warn!(comment.id = %id, %error, "a surplus comment of ours may not be deleted");
            Ok(())
        }
        Trouble::Ambiguous | Trouble::Other => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Default)]
    struct Memory {
        next: u64,
        comments: Vec<(u64, String)>,
        lost_answers: u32,
        refused: u32,
        lag: u32,
        log: Vec<String>,
    }

    #[derive(Clone)]
    struct Fake {
        memory: Arc<Mutex<Memory>>,
        text: &'static str,
    }

    impl Fake {
        fn new(text: &'static str) -> Self {
            let memory = Arc::default();
            Self { memory, text }
        }

        fn texts(&self) -> Vec<(u64, String)> {
            self.memory.lock().unwrap().comments.clone()
        }
    }

    impl Board for Fake {
        type Error = String;

        async fn own(&self) -> Result<Vec<Own>, String> {
            tokio::task::yield_now().await;
            let mut memory = self.memory.lock().unwrap();
            if memory.lag > 0 {
                memory.lag -= 1;
                return Ok(Vec::new());
            }
            let own = |(id, text): &(u64, String)| Own { id: (*id).into(), right: text == self.text };
            Ok(memory.comments.iter().rev().map(own).collect())
        }

        async fn create(&self) -> Result<CommentId, String> {
            tokio::task::yield_now().await;
            let mut memory = self.memory.lock().unwrap();
            memory.log.push("create".to_owned());
            if memory.refused > 0 {
                memory.refused -= 1;
                return Err("ambiguous".to_owned());
            }
            memory.next += 1;
            let id = memory.next;
            memory.comments.push((id, self.text.to_owned()));
            if memory.lost_answers > 0 {
                memory.lost_answers -= 1;
                return Err("ambiguous".to_owned());
            }
            Ok(id.into())
        }

        async fn update(&self, id: CommentId) -> Result<(), String> {
            tokio::task::yield_now().await;
            let mut memory = self.memory.lock().unwrap();
            memory.log.push("update".to_owned());
            let found = memory.comments.iter_mut().find(|comment| CommentId::from(comment.0) == id);
            found.ok_or("gone")?.1 = self.text.to_owned();
            Ok(())
        }

        async fn delete(&self, id: CommentId) -> Result<(), String> {
            tokio::task::yield_now().await;
            let mut memory = self.memory.lock().unwrap();
            let before = memory.comments.len();
            memory.comments.retain(|comment| CommentId::from(comment.0) != id);
            if memory.comments.len() == before {
                return Err("gone".to_owned());
            }
            Ok(())
        }

        fn trouble(error: &String) -> Trouble {
            match error.as_str() {
                "ambiguous" => Trouble::Ambiguous,
                "gone" => Trouble::Gone,
                _ => Trouble::Other,
            }
        }

        fn restless(&self) -> String {
            "restless".to_owned()
        }
    }

    #[tokio::test]
    async fn the_second_time_changes_nothing_and_another_text_updates() {
        let board = Fake::new("a");
        let id = upsert(&board).await.unwrap();
        assert_eq!(upsert(&board).await.unwrap(), id);
        let other = Fake { text: "b", ..board.clone() };
        assert_eq!(upsert(&other).await.unwrap(), id);
        assert_eq!(board.texts(), [(1, "b".to_owned())]);
        assert_eq!(board.memory.lock().unwrap().log, ["create", "update"]);
    }

    #[tokio::test]
    async fn a_lost_answer_is_read_before_it_is_written_again() {
        let board = Fake::new("a");
        board.memory.lock().unwrap().lost_answers = 1;
        upsert(&board).await.unwrap();
        assert_eq!(board.memory.lock().unwrap().log, ["create"]);
    }

    #[tokio::test]
    async fn a_write_that_was_not_done_is_tried_again_but_not_for_ever() {
        let board = Fake::new("a");
        board.memory.lock().unwrap().refused = 2;
        upsert(&board).await.unwrap();
        assert_eq!(board.texts().len(), 1);
        let board = Fake::new("a");
        board.memory.lock().unwrap().refused = 100;
        assert_eq!(upsert(&board).await.unwrap_err(), "ambiguous");
    }

    #[tokio::test]
    async fn a_list_that_lags_behind_does_not_make_a_second_comment() {
        let board = Fake::new("a");
        board.memory.lock().unwrap().lag = 2;
        upsert(&board).await.unwrap();
        assert_eq!(board.texts().len(), 1);
    }

    #[tokio::test]
    async fn many_writers_at_once_end_with_the_lowest_comment() {
        let board = Fake::new("a");
        let writers = (0..8).map(|_| {
            let board = board.clone();
            tokio::spawn(async move { upsert(&board).await })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap().unwrap();
        }
        assert_eq!(board.texts(), [(1, "a".to_owned())]);
    }
}
