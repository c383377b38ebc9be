//! Changing a directory whole or not at all, as far as a file system allows: a process that is killed in the middle
//! leaves files that end in `.new` and `.old` beside what they are for.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};

use super::DirTree;

/// What becomes of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has this content.
    Write {
        /// The content.
        bytes: Vec<u8>,
        /// Whether it may be run. A file keeps what it had; a new one that begins with `#!` may.
        executable: bool,
    },
    /// It is gone.
    Delete,
}

/// A change of a directory that did not succeed.
#[derive(Debug, thiserror::Error)]
#[error("cannot change {path}; {}", describe(.lost))]
pub struct ApplyError {
    /// The file at which it failed.
    pub path: String,
    /// Files that could not be put back, each with where its old content is; empty: everything is as it was.
    pub lost: Vec<String>,
    source: io::Error,
}

fn describe(lost: &[String]) -> String {
    if lost.is_empty() {
        return "everything is as it was".to_owned();
    }
    format!("what could not be put back has to be put back by hand: {}", lost.join(", "))
}

impl DirTree {
    /// Makes all changes or none: the new contents are written beside their places first, then moved there; when one
    /// cannot be, those before it are put back. The listing of [`super::FileSource::entries`] stays as it was.
    ///
    /// # Errors
    /// When a directory or a file cannot be written, or a path leads out of the tree or is no file.
    pub fn apply(&self, changes: &BTreeMap<String, Change>) -> Result<(), ApplyError> {
        let mut work = Work { root: &self.root, folders: Vec::new(), staged: Vec::new(), done: Vec::new() };
        let failed = work.stage(changes).err().or_else(|| work.exchange().err());
        let lost = if failed.is_some() { work.undo() } else { Vec::new() };
        work.clean_up(failed.is_some());
        match failed {
            None => Ok(()),
            Some((path, source)) => Err(ApplyError { path, lost, source }),
        }
    }
}

type Failed = (String, io::Error);

struct Work<'a> {
    root: &'a Dir,
    /// Directories that were made, the outermost first.
    folders: Vec<String>,
    staged: Vec<Staged>,
    done: Vec<Staged>,
}

struct Staged {
    path: String,
    /// Where the new content waits; `None` when the file goes.
    new: Option<String>,
    /// Where the old content is kept meanwhile.
    old: String,
    existed: bool,
}

impl Work<'_> {
    /// Writes the new contents beside their places. Nothing that was there changes.
    fn stage(&mut self, changes: &BTreeMap<String, Change>) -> Result<(), Failed> {
        for (number, (path, change)) in changes.iter().enumerate() {
            self.stage_one(number, path, change).map_err(|error| (path.clone(), error))?;
        }
        Ok(())
    }

    fn stage_one(&mut self, number: usize, path: &str, change: &Change) -> io::Result<()> {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let slash = if parent.is_empty() { "" } else { "/" };
        // The file's own name may be as long as names can be.
        let beside = |end: &str| format!("{parent}{slash}.jira-agent-{}-{number}.{end}", std::process::id());
        let existed = self.is_file(path)?;
        let mut staged = Staged { path: path.to_owned(), new: None, old: beside("old"), existed };
        if let Change::Write { bytes, executable } = change {
            self.make_folders(parent)?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true).mode(if *executable { 0o755 } else { 0o644 });
            let new = beside("new");
            let mut file = self.root.open_with(&new, &options)?;
            staged.new = Some(new);
            self.staged.push(staged);
            return file.write_all(bytes);
        }
        self.staged.push(staged);
        Ok(())
    }

    /// Whether something is there; only a file may be replaced.
    fn is_file(&self, path: &str) -> io::Result<bool> {
        match self.root.symlink_metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(true),
            Ok(_) => Err(io::Error::other("something that is no file is in its place")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn make_folders(&mut self, parent: &str) -> io::Result<()> {
        let ends = parent.match_indices('/').map(|(at, _)| at).chain([parent.len()]);
        for folder in ends.filter_map(|end| parent.get(..end)).filter(|folder| !folder.is_empty()) {
            match self.root.create_dir(folder) {
                Ok(()) => self.folders.push(folder.to_owned()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Moves the new contents to their places, and what goes out of the way.
    fn exchange(&mut self) -> Result<(), Failed> {
        while !self.staged.is_empty() {
            let staged = self.staged.remove(0);
            let path = staged.path.clone();
            let moved = self.exchange_one(&staged);
            self.done.push(staged);
            moved.map_err(|error| (path, error))?;
        }
        Ok(())
    }

    fn exchange_one(&self, staged: &Staged) -> io::Result<()> {
        let Staged { path, new, old, .. } = staged;
        if self.is_file(path)? != staged.existed {
            return Err(io::Error::other("it came or went meanwhile"));
        }
        if staged.existed && new.is_some() {
            // With a second name for the old content a reader always finds the old or the new; not every file
            // system has them.
            self.root.hard_link(path, self.root, old).or_else(|_| self.root.rename(path, self.root, old))?;
        } else if staged.existed {
            self.root.rename(path, self.root, old)?;
        }
        new.as_ref().map_or(Ok(()), |new| self.root.rename(new, self.root, path))
    }

    /// Puts back what was moved; says what could not be.
    fn undo(&mut self) -> Vec<String> {
        let mut lost = Vec::new();
        for Staged { path, new, old, existed } in self.done.drain(..).rev() {
            let was_moved_in = new.as_ref().is_some_and(|new| self.root.symlink_metadata(new).is_err());
            let undone = if existed && self.root.symlink_metadata(&old).is_ok() {
                // Two names of one file stay two when one is renamed to the other.
                self.root.rename(&old, self.root, &path).inspect(|()| drop(self.root.remove_file(&old)))
            } else if !existed && was_moved_in {
                self.root.remove_file(&path)
            } else {
                Ok(())
            };
            if undone.is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
                lost.push(format!("{path} (from {old})"));
            }
            self.staged.push(Staged { path, new, old: String::new(), existed });
        }
        lost
    }

    /// Removes what stands beside the files, and after a failure the directories that were made. What cannot be
    /// removed stays: it is in nobody's way.
    fn clean_up(&self, failed: bool) {
        for staged in &self.staged {
            if let Some(new) = &staged.new {
                let _ = self.root.remove_file(new);
            }
        }
        for done in &self.done {
            let _ = self.root.remove_file(&done.old);
        }
        if failed {
            for folder in self.folders.iter().rev() {
                let _ = self.root.remove_dir(folder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::FileSource as _;
    use super::*;

    fn write(text: &str) -> Change {
        Change::Write { bytes: text.as_bytes().to_vec(), executable: false }
    }

    fn changes<const COUNT: usize>(all: [(&str, Change); COUNT]) -> BTreeMap<String, Change> {
        all.into_iter().map(|(path, change)| (path.to_owned(), change)).collect()
    }

    /// Everything below the folder, directories with a slash behind.
    fn listed(folder: &Path) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                all.insert(format!("{name}/"), String::new());
                all.extend(listed(&path).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)));
            } else {
                all.insert(name, fs::read_to_string(path).unwrap());
            }
        }
        all
    }

    #[test]
    fn all_changes_are_made_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), "old").unwrap();
        fs::write(folder.path().join("gone"), "old").unwrap();
        let long = "n".repeat(255);
        let tree = DirTree::open(folder.path()).unwrap();
        tree.apply(&changes([
            ("a", write("new")),
            ("gone", Change::Delete),
            ("x/y/z", write("z")),
            (&long, write("")),
        ]))
        .unwrap();
        let expected = [("a", "new"), (&long, ""), ("x/", ""), ("x/y/", ""), ("x/y/z", "z")];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(listed(folder.path()), BTreeMap::from(expected));
    }

    #[test]
    fn a_change_that_fails_in_the_middle_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a", "b", "c"] {
            fs::write(folder.path().join(path), "old").unwrap();
        }
        let tree = DirTree::open(folder.path()).unwrap();
        // Since the tree was listed, one of its files has become a directory.
        fs::remove_file(folder.path().join("c")).unwrap();
        fs::create_dir_all(folder.path().join("c/inside")).unwrap();
        let before = listed(folder.path());
        let error = tree
            .apply(&changes([
                ("a", write("new")),
                ("b", Change::Delete),
                ("b2/new", write("n")),
                ("c", write("new")),
            ]))
            .unwrap_err();
        assert_eq!((error.path.as_str(), error.lost.len()), ("c", 0));
        assert_eq!(error.to_string(), "cannot change c; everything is as it was");
        assert_eq!(listed(folder.path()), before);
    }

    #[test]
    fn what_was_moved_already_is_put_back() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a", "b", "c"] {
            fs::write(folder.path().join(path), "old").unwrap();
        }
        let before = listed(folder.path());
        let tree = DirTree::open(folder.path()).unwrap();
        let mut work = Work { root: &tree.root, folders: Vec::new(), staged: Vec::new(), done: Vec::new() };
        let all = changes([
            ("a", write("new")),
            ("b", Change::Delete),
            ("b2/new", write("n")),
            ("c", write("new")),
        ]);
        work.stage(&all).unwrap();
        // The last of the new contents is lost before it can be moved to its place.
        fs::remove_file(folder.path().join(work.staged[3].new.as_ref().unwrap())).unwrap();
        assert_eq!(work.exchange().unwrap_err().0, "c");
        assert!(!folder.path().join("b").exists(), "the first changes were made");
        assert_eq!(work.undo(), Vec::<String>::new());
        work.clean_up(true);
        assert_eq!(listed(folder.path()), before);
    }

    #[test]
    fn nothing_is_changed_outside_of_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "old").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("out")).unwrap();
        let tree = DirTree::open(folder.path()).unwrap();
        for path in ["out/file", "out/new", "../new"] {
            assert_eq!(tree.apply(&changes([("a", write("a")), (path, write("x"))])).unwrap_err().path, path);
            assert!(tree.apply(&changes([(path, Change::Delete)])).is_err() || path != "out/file");
        }
        assert_eq!(listed(outside.path()), BTreeMap::from([("file".to_owned(), "old".to_owned())]));
        assert!(!folder.path().join("a").exists() && tree.entry("out").is_some());
    }
}
