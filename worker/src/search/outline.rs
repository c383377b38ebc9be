//! The tree as the model sees it: directories opened as far as the room allows, the others with a count.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use super::candidate::is_vendored;
use crate::tree::TreeEntry;

/// The most files of one directory that are listed.
const MOST_FILES: usize = 60;

#[derive(Debug, Default)]
struct Directory<'a> {
    directories: BTreeMap<&'a str, Directory<'a>>,
    files: Vec<&'a str>,
    /// All files below.
    count: usize,
}

/// Draws the tree in at most so many bytes. Directories on the way to `chosen` are opened first, then from the top.
pub(super) fn outline(entries: &[TreeEntry], chosen: &[&str], bytes: usize) -> String {
    let mut root = Directory::default();
    for entry in entries {
        root.insert(&entry.path);
    }
    let mut open = BTreeSet::new();
    let mut left = bytes.saturating_sub(root.cost(0, usize::MAX));
    let root_limit = if left == 0 { bytes / 2 } else { usize::MAX };
    let on_the_way =
        chosen.iter().flat_map(|path| path.match_indices('/').filter_map(|(at, _)| path.get(..at)));
    for path in on_the_way {
        root.open(path, &mut open, &mut left);
    }
    let mut queue: VecDeque<String> = root.directories.keys().map(|name| (*name).to_owned()).collect();
    while let Some(path) = queue.pop_front().filter(|_| left > 0) {
        if is_vendored(&format!("{path}/x")) {
            continue;
        }
        root.open(&path, &mut open, &mut left);
        if let Some(directory) = root.at(&path).filter(|_| open.contains(&path)) {
            queue.extend(directory.directories.keys().map(|name| format!("{path}/{name}")));
        }
    }
    let mut text = String::new();
    root.draw("", 0, &open, root_limit, &mut text);
    text
}

impl<'a> Directory<'a> {
    fn insert(&mut self, path: &'a str) {
        let mut directory = self;
        let mut rest = path;
        directory.count += 1;
        while let Some((name, below)) = rest.split_once('/') {
            directory = directory.directories.entry(name).or_default();
            directory.count += 1;
            rest = below;
        }
        directory.files.push(rest);
    }

    fn at(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, |directory, name| directory.directories.get(name))
    }

    /// Opens a directory whose parents are open, if that fits.
    fn open(&self, path: &str, open: &mut BTreeSet<String>, left: &mut usize) {
        let parent_is_open = path.rsplit_once('/').is_none_or(|(parent, _)| open.contains(parent));
        if !parent_is_open || open.contains(path) {
            return;
        }
        let Some(directory) = self.at(path) else { return };
        let cost = directory.cost(path.split('/').count(), MOST_FILES);
        if cost <= *left {
            *left -= cost;
            open.insert(path.to_owned());
        }
    }

    /// The bytes of its own listing, its directories closed.
    fn cost(&self, depth: usize, most_files: usize) -> usize {
        let indent = 2 * depth;
        let directories: usize = self.directories.keys().map(|name| indent + name.len() + 20).sum();
        let files: usize = self.files.iter().take(most_files).map(|name| indent + name.len() + 1).sum();
        directories + files + 30
    }

    /// Draws the directory's listing; at most `limit` bytes of it, for a root that is too wide.
    fn draw(&self, path: &str, depth: usize, open: &BTreeSet<String>, limit: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        let mut left_out = 0;
        for (name, directory) in &self.directories {
            let below = if path.is_empty() { (*name).to_owned() } else { format!("{path}/{name}") };
            if text.len() > limit {
                left_out += directory.count;
            } else if open.contains(&below) {
                let _ = writeln!(text, "{indent}{name}/");
                directory.draw(&below, depth + 1, open, limit, text);
            } else {
                let files = if directory.count == 1 { "file" } else { "files" };
                let _ = writeln!(text, "{indent}{name}/ ({} {files})", directory.count);
            }
        }
        for (at, name) in self.files.iter().enumerate() {
            if text.len() > limit || (limit == usize::MAX && depth > 0 && at >= MOST_FILES) {
                left_out += self.files.len() - at;
                break;
            }
            let _ = writeln!(text, "{indent}{name}");
        }
        if left_out > 0 {
            let _ = writeln!(text, "{indent}({left_out} more files)");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{FileSource as _, MemoryTree};

    fn draw(paths: &[&str], chosen: &[&str], bytes: usize) -> String {
        let tree = MemoryTree::of_texts(paths.iter().map(|path| (*path, "")));
        outline(tree.entries(), chosen, bytes)
    }

    #[test]
    fn directories_open_while_there_is_room() {
        let paths =
            ["src/cart.rs", "src/tax/rate.rs", "docs/a.md", "docs/b.md", "vendor/x/y.go", "Cargo.toml"];
        insta::assert_snapshot!(draw(&paths, &[], 1_000), @r"
        docs/
          a.md
          b.md
        src/
          tax/
            rate.rs
          cart.rs
        vendor/ (1 file)
        Cargo.toml
        ");
        insta::assert_snapshot!(draw(&paths, &["src/tax/rate.rs"], 240), @r"
        docs/ (2 files)
        src/
          tax/
            rate.rs
          cart.rs
        vendor/ (1 file)
        Cargo.toml
        ");
    }

    #[test]
    fn a_wide_tree_keeps_the_room() {
        let paths: Vec<String> = (0..5_000).map(|number| format!("dir{number}/file.rs")).collect();
        let mut paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        assert!(draw(&paths, &["dir7/file.rs"], 3_000).len() < 3_000);
        let files: Vec<String> = (0..5_000).map(|number| format!("one/file{number}.rs")).collect();
        paths.extend(files.iter().map(String::as_str));
        let text = draw(&paths, &[], 3_000);
        assert!(text.len() < 3_000 && text.contains("more files"), "{text}");
        assert_eq!(draw(&[], &[], 100), "");
    }
}
