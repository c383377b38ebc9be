//! Where files come from: a commit, a directory, or memory.

mod apply;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, PermissionsExt as _};

pub use apply::{ApplyError, Change};

/// What an entry of a tree is, in git's sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileMode {
    /// A file, `100644`.
    Regular,
    /// A file that may be run, `100755`.
    Executable,
    /// A symbolic link, `120000`; its content is its target.
    Symlink,
    /// A submodule's commit, `160000`; it has no content.
    Gitlink,
}

impl FileMode {
    /// Whether it is a file with content of its own.
    #[must_use]
    pub fn is_file(self) -> bool {
        matches!(self, Self::Regular | Self::Executable)
    }
}

/// One entry of a tree. Directories are not entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// The path from the tree's root, with `/` between its parts.
    pub path: String,
    /// What it is.
    pub mode: FileMode,
    /// The content's size in bytes; 0 for a submodule.
    pub size: u64,
}

/// A file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// The content.
    pub bytes: Vec<u8>,
    /// What it is.
    pub mode: FileMode,
}

/// A tree of files that can be listed and read, and does not change meanwhile.
pub trait FileSource {
    /// All entries, sorted by path as bytes.
    fn entries(&self) -> &[TreeEntry];

    /// The content of the entry at exactly this path; `None` when there is none, or it cannot be read.
    fn read(&self, path: &str) -> Option<FileContent>;

    /// The entry at exactly this path.
    fn entry(&self, path: &str) -> Option<&TreeEntry> {
        let entries = self.entries();
        let at = entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        entries.get(at)
    }

    /// Whether the path is a directory with at least one entry.
    fn is_directory(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let entries = self.entries();
        let at = entries.partition_point(|entry| entry.path < prefix);
        entries.get(at).is_some_and(|entry| entry.path.starts_with(&prefix))
    }
}

/// A tree in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    entries: Vec<TreeEntry>,
    contents: BTreeMap<String, FileContent>,
}

impl MemoryTree {
    /// A tree of these entries; of two with the same path the later wins.
    pub fn new(files: impl IntoIterator<Item = (String, FileContent)>) -> Self {
        let contents: BTreeMap<_, _> = files.into_iter().collect();
        let entries = contents
            .iter()
            .map(|(path, content)| TreeEntry {
                path: path.clone(),
                mode: content.mode,
                size: content.bytes.len() as u64,
            })
            .collect();
        Self { entries, contents }
    }

    /// A tree of regular files.
    pub fn of_texts<P: Into<String>, T: Into<Vec<u8>>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        Self::new(
            files.into_iter().map(|(path, text)| {
                (path.into(), FileContent { bytes: text.into(), mode: FileMode::Regular })
            }),
        )
    }
}

impl FileSource for MemoryTree {
    fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Option<FileContent> {
        self.contents.get(path).cloned()
    }
}

/// A directory on disk. Nothing outside of it is ever read or written, whatever links it holds. It is listed once,
/// when it is opened; `.git` is left out, a directory that has its own `.git` is a [`FileMode::Gitlink`], and a path
/// that is not Unicode is left out, since a reply cannot name it.
#[derive(Debug)]
pub struct DirTree {
    root: Dir,
    entries: Vec<TreeEntry>,
}

/// Directories nested deeper than this are refused.
const MAX_DEPTH: usize = 128;

impl DirTree {
    /// Opens and lists a directory.
    ///
    /// # Errors
    /// When it cannot be opened or listed, or directories are nested deeper than 128.
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = Dir::open_ambient_dir(path, ambient_authority())?;
        let mut entries = Vec::new();
        list(&root, "", 0, &mut entries)?;
        entries.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(Self { root, entries })
    }
}

impl FileSource for DirTree {
    fn entries(&self) -> &[TreeEntry] {
        &self.entries
    }

    fn read(&self, path: &str) -> Option<FileContent> {
        let mode = self.entry(path)?.mode;
        let bytes = match mode {
            FileMode::Gitlink => Vec::new(),
            FileMode::Symlink => {
                self.root.read_link_contents(path).ok()?.into_os_string().into_string().ok()?.into_bytes()
            }
            FileMode::Regular | FileMode::Executable => self.root.read(path).ok()?,
        };
        Some(FileContent { bytes, mode })
    }
}

fn list(directory: &Dir, prefix: &str, depth: usize, entries: &mut Vec<TreeEntry>) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Err(io::Error::other(format!("{prefix} is nested deeper than {MAX_DEPTH} directories")));
    }
    for child in directory.entries()? {
        let child = child?;
        let Ok(name) = child.file_name().into_string() else {
            continue;
        };
        if name == ".git" {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = child.file_type()?;
        let (mode, size) = if kind.is_dir() {
            let below = directory.open_dir(&name)?;
            if below.symlink_metadata(".git").is_err() {
                list(&below, &format!("{path}/"), depth + 1, entries)?;
                continue;
            }
            (FileMode::Gitlink, 0)
        } else if kind.is_symlink() {
            (FileMode::Symlink, child.metadata()?.len())
        } else if kind.is_file() {
            let metadata = child.metadata()?;
            let executable = metadata.permissions().mode() & 0o111 != 0;
            (if executable { FileMode::Executable } else { FileMode::Regular }, metadata.len())
        } else {
            continue;
        };
        entries.push(TreeEntry { path, mode, size });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_listed_without_git_and_with_what_its_entries_are() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str, executable| Change::Write { bytes: text.as_bytes().to_vec(), executable };
        let files = [("src/run.sh", write("#!/bin/sh\n", true)), ("README.md", write("hello", false))];
        let files = files.map(|(path, change)| (path.to_owned(), change));
        DirTree::open(folder.path()).unwrap().apply(&BTreeMap::from(files)).unwrap();
        std::fs::create_dir_all(folder.path().join(".git")).unwrap();
        std::fs::write(folder.path().join(".git/config"), "x").unwrap();
        std::fs::create_dir_all(folder.path().join("module/.git")).unwrap();
        std::fs::write(folder.path().join("module/code.c"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();

        let tree = DirTree::open(folder.path()).unwrap();
        let listed: Vec<_> = tree.entries().iter().map(|entry| (entry.path.as_str(), entry.mode)).collect();
        assert_eq!(
            listed,
            [
                ("README.md", FileMode::Regular),
                ("link", FileMode::Symlink),
                ("module", FileMode::Gitlink),
                ("src/run.sh", FileMode::Executable),
            ]
        );
        assert_eq!(tree.read("link").unwrap().bytes, b"/etc/passwd");
        assert_eq!(tree.read("README.md").unwrap().bytes, b"hello");
        assert!(tree.read("src").is_none());
        assert!(tree.is_directory("src") && !tree.is_directory("README.md"));
    }
}
