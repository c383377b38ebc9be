//! The same patch in a directory.

use std::fs;
use std::path::Path;

use jira_agent_worker::edit::{Change, Patch};
use jira_agent_worker::tree::{DirTree, FileMode, FileSource, MemoryTree};

/// Applies the patch to a copy of the tree on disk: it holds what the patch says and else what it held, and beside it
/// is nothing.
pub fn check(files: &MemoryTree, patch: &Patch) {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder for the test: {error}"));
    let root = folder.path().join("tree");
    lay_out(files, &root).unwrap_or_else(|error| panic!("the tree cannot be laid out: {error}"));
    let tree = DirTree::open(&root).unwrap_or_else(|error| panic!("{error}"));
    tree.apply(&patch.changes).unwrap_or_else(|error| panic!("{error}"));
    let after = DirTree::open(&root).unwrap_or_else(|error| panic!("{error}"));
    for entry in files.entries().iter().filter(|entry| !patch.changes.contains_key(&entry.path)) {
        assert_eq!(bytes(&after, &entry.path), bytes(files, &entry.path), "{} was not to change", entry.path);
    }
    for (path, change) in &patch.changes {
        match change {
            Change::Delete => assert!(after.entry(path).is_none(), "{path} is still there"),
            Change::Write { bytes: new, .. } => assert_eq!(bytes(&after, path).as_ref(), Some(new), "{path}"),
        }
    }
    let known = |path: &str| files.entry(path).is_some() || patch.changes.contains_key(path);
    let stray: Vec<_> = after.entries().iter().filter(|entry| !known(&entry.path)).collect();
    assert!(stray.is_empty(), "left behind: {stray:?}");
    let beside = fs::read_dir(folder.path()).map(Iterator::count).unwrap_or_default();
    assert_eq!(beside, 1, "something was written beside the tree");
}

fn bytes(files: &dyn FileSource, path: &str) -> Option<Vec<u8>> {
    files.read(path).map(|content| content.bytes)
}

fn lay_out(files: &MemoryTree, root: &Path) -> std::io::Result<()> {
    for entry in files.entries() {
        let path = root.join(&entry.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let content = bytes(files, &entry.path).unwrap_or_default();
        match entry.mode {
            FileMode::Gitlink => fs::create_dir_all(path.join(".git"))?,
            FileMode::Symlink => {
                std::os::unix::fs::symlink(String::from_utf8_lossy(&content).as_ref(), path)?;
            }
            FileMode::Regular | FileMode::Executable => fs::write(path, content)?,
        }
    }
    Ok(())
}
