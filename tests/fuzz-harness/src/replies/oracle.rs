//! What must hold, said again in other words than the product's.

use std::collections::BTreeSet;

use jira_agent_worker::edit::{Change, Patch};
use jira_agent_worker::model::Message;
use jira_agent_worker::tree::{FileSource as _, MemoryTree};

/// The most bytes of what is sent back to a model: its limit in characters, and the words around.
const MESSAGE_LIMIT: usize = 4 * 41_000;

/// A path is below the tree's root and not in git's directory.
pub fn check_path(path: &str) {
    assert!(!path.is_empty() && !path.starts_with('/') && !path.contains('\\'), "the path {path:?}");
    for part in path.split('/') {
        assert!(!["", ".", ".."].contains(&part), "the path {path:?}");
        assert!(!part.to_ascii_lowercase().starts_with(".git") || part.len() > 4, "the path {path:?}");
    }
}

/// The patch touches only what it may, and says the truth about what was there.
pub fn check_patch(patch: &Patch, files: &MemoryTree, shown: &BTreeSet<String>) {
    for (path, change) in &patch.changes {
        check_path(path);
        for kept in ["link", "module", "ci/", "art/logo.svg", "binary", "hidden.rs"] {
            assert!(!path.starts_with(kept) || path.starts_with("linked"), "{path} may not be touched");
        }
        assert!(!path.ends_with(".lock"), "{path} is protected");
        let old = files.read(path);
        assert_eq!(patch.before(path), old.as_ref().map(|content| content.bytes.as_slice()), "{path}");
        assert!(old.is_none() || shown.contains(path), "{path} was not shown");
        match change {
            Change::Delete => assert!(old.is_some(), "{path} is not there"),
            Change::Write { bytes, .. } => {
                assert!(std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0), "{path} became binary");
                assert!(old.is_none_or(|old| old.bytes != *bytes), "{path} does not change");
            }
        }
    }
    let _ = patch.unified_diff();
}

/// What others wrote stands between marks that it cannot end, so many times, and the whole is bounded.
pub fn check_message(message: &Message, quoted: usize) {
    let text = message.text.to_ascii_lowercase();
    assert!(text.len() <= MESSAGE_LIMIT, "a message of {} bytes", text.len());
    if quoted == 0 {
        return;
    }
    let numbers = text.split("data-").skip(1).filter_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<u64>().ok().filter(|_| end < 16)
    });
    // Ours is above all that the data have.
    let ours = numbers.max().unwrap_or_default();
    for mark in [format!("<data-{ours} kind="), format!("</data-{ours}>")] {
        assert_eq!(text.matches(&mark).count(), quoted, "{mark} in {text}");
    }
}
