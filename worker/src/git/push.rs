//! The child's push: one branch, under a lease, never forced.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use git2::{Direction, ErrorCode, Oid, PushOptions, RemoteCallbacks, Repository};
use jira_agent::domain::{BranchName, CommitId};

use super::child::{Reporter, local, stopped};
use super::link::Link;
use super::protocol::{Progress, PushOutcome, clean};
use super::{GitError, repository};

/// The most of the remote's words that are kept.
const MAX_MESSAGE_BYTES: usize = 4_000;

/// What to push, and what the branch must be at before.
pub(super) struct Update {
    pub(super) commit: CommitId,
    pub(super) branch: BranchName,
    /// None: the branch must not exist.
    pub(super) expected: Option<CommitId>,
}

pub(super) fn push(
    link: &Arc<Link>,
    repository: &Repository,
    update: &Update,
    reporter: &Reporter,
) -> Result<PushOutcome, GitError> {
    let reference = update.branch.reference();
    let ready = || {
        let commit = repository.find_commit(repository::oid(&update.commit)?)?.id();
        repository.reference(&reference, commit, true, "push")?;
        repository.remote_anonymous(&link.url().clone_url())
    };
    let mut remote = ready().map_err(|error| local("prepare the push", &error))?;

    let heard = Heard::default();
    let mut options = PushOptions::new();
    options.remote_callbacks(callbacks(&heard, update, reporter));
    let pushed = remote.push(&[format!("{reference}:{reference}")], Some(&mut options));
    drop(options);
    if let Some(outcome) = heard.before.take() {
        return Ok(outcome);
    }
    let messages = clean(&heard.messages.take(), MAX_MESSAGE_BYTES);
    match (pushed, heard.refusal.take()) {
        (Err(error), None) if error.code() == ErrorCode::NotFastForward => Ok(PushOutcome::NotFastForward),
        (Err(error), None) => Err(stopped(link, &error)),
        (_, Some(refusal)) => {
            // A race between our look and our push is told only in the remote's words, so look again.
            let found = look(link, repository, &reference)?;
            if found != update.expected {
                return Ok(PushOutcome::LeaseLost { found });
            }
            let refusal = clean(refusal.as_bytes(), MAX_MESSAGE_BYTES);
            let message = if messages.is_empty() { refusal } else { format!("{refusal}\n{messages}") };
            Ok(PushOutcome::Refused { message })
        }
        (Ok(()), None) => Ok(PushOutcome::Pushed { messages }),
    }
}

/// What libgit2 tells on the way.
#[derive(Default)]
struct Heard {
    /// The outcome that was clear before anything was sent.
    before: Cell<Option<PushOutcome>>,
    refusal: RefCell<Option<String>>,
    messages: RefCell<Vec<u8>>,
}

fn callbacks<'a>(heard: &'a Heard, update: &'a Update, reporter: &'a Reporter) -> RemoteCallbacks<'a> {
    let mut callbacks = RemoteCallbacks::new();
    callbacks.push_negotiation(move |updates| {
        let found = updates.first().map(git2::PushUpdate::src).filter(|oid| !oid.is_zero());
        let found = found.map(repository::commit_id).transpose()?;
        let clear = if found.as_ref() == Some(&update.commit) {
            PushOutcome::AlreadyThere
        } else if found != update.expected {
            PushOutcome::LeaseLost { found }
        } else {
            return Ok(());
        };
        heard.before.set(Some(clear));
        Err(git2::Error::from_str("nothing to push"))
    });
    // A refused reference is not an error for libgit2: it is told here and nowhere else.
    callbacks.push_update_reference(move |_, refusal| {
        if let Some(refusal) = refusal {
            *heard.refusal.borrow_mut() = Some(refusal.to_owned());
        }
        Ok(())
    });
    callbacks.sideband_progress(move |words| {
        let mut messages = heard.messages.borrow_mut();
        let room = (4 * MAX_MESSAGE_BYTES).saturating_sub(messages.len());
        messages.extend_from_slice(&words[..words.len().min(room)]);
        true
    });
    callbacks.push_transfer_progress(move |objects, total_objects, bytes| {
        let (objects, total_objects, bytes) = (objects as u64, total_objects as u64, bytes as u64);
        reporter.progress(Progress { objects, total_objects, bytes });
    });
    callbacks
}

/// Where the branch is now.
fn look(link: &Link, repository: &Repository, reference: &str) -> Result<Option<CommitId>, GitError> {
    let find = || {
        let mut remote = repository.remote_anonymous(&link.url().clone_url())?;
        let connection = remote.connect_auth(Direction::Push, None, None)?;
        let found: Option<Oid> =
            connection.list()?.iter().find(|head| head.name() == reference).map(git2::RemoteHead::oid);
        found.map(repository::commit_id).transpose()
    };
    find().map_err(|error| stopped(link, &error))
}
