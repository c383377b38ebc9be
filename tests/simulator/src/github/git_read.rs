//! What is read from the commits of a repository: history, differences, folders and files.

use anyhow::Result;

use super::git::Git;
use super::inspect::CommitSnapshot;

/// Numbers of the difference between two commits.
#[derive(Default)]
pub(super) struct DiffNumbers {
    pub changed_files: u64,
    pub additions: u64,
    pub deletions: u64,
}

/// One line of a tree.
pub(super) struct TreeEntry {
    pub mode: String,
    /// `blob`, `tree` or `commit`.
    pub kind: String,
    pub id: String,
    pub name: String,
}

impl Git {
    /// The tree that a merge of `head` into `base` gives; `None` when they conflict. With commands that every git has: `merge-tree --write-tree`
    /// came with 2.38.
    pub fn merged_tree(&self, base: &str, head: &str) -> Result<Option<String>> {
        let folder = tempfile::tempdir()?;
        let merger = self.with_work_tree(folder.path());
        let ancestor = self.text(&["merge-base", base, head])?;
        merger.run(&["read-tree", "-i", "-m", "--aggressive", ancestor.trim(), base, head], b"")?;
        let merged = merger.output(&["merge-index", "-q", "git-merge-one-file", "-a"], b"")?;
        if !merged.status.success() {
            return Ok(None);
        }
        Ok(Some(merger.text(&["write-tree"])?.trim().to_owned()))
    }

    /// Whether two commits merge without conflict; `None` when git cannot say.
    pub fn mergeable(&self, base: &str, head: &str) -> Option<bool> {
        self.merged_tree(base, head).ok().map(|tree| tree.is_some())
    }

    /// Whether two commits have any history in common.
    pub fn related(&self, one: &str, other: &str) -> bool {
        self.text(&["merge-base", one, other]).is_ok()
    }

    /// How many commits `head` has that `base` has not.
    pub fn ahead(&self, base: &str, head: &str) -> u64 {
        let count = self.text(&["rev-list", "--count", &format!("{base}..{head}")]);
        count.ok().and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }

    /// The numbers of what `head` changes since it left `base`.
    pub fn diff_numbers(&self, base: &str, head: &str) -> DiffNumbers {
        let listed = self.text(&["diff", "--numstat", &format!("{base}...{head}")]).unwrap_or_default();
        listed.lines().fold(DiffNumbers::default(), |mut sum, line| {
            let mut columns = line.split('\t').map(|column| column.parse::<u64>().unwrap_or_default());
            sum.additions += columns.next().unwrap_or_default();
            sum.deletions += columns.next().unwrap_or_default();
            sum.changed_files += 1;
            sum
        })
    }

    /// What `head` changes since it left `base`, as a patch.
    pub fn diff(&self, base: &str, head: &str) -> Result<String> {
        self.text(&["diff", "--no-color", "--no-ext-diff", &format!("{base}...{head}")])
    }

    /// The history of a commit, newest first.
    pub fn log(&self, tip: &str) -> Result<Vec<CommitSnapshot>> {
        let listed = self.text(&["log", "-z", "--format=%H%n%P%n%an <%ae>%n%B", tip])?;
        Ok(listed.split('\0').filter_map(parse_commit).collect())
    }

    /// One line of a tree: mode, kind and id of what lies at a path; an empty path is the top.
    pub fn entry(&self, commit: &str, path: &str) -> Option<TreeEntry> {
        if path.is_empty() {
            let id = self.text(&["rev-parse", &format!("{commit}^{{tree}}")]).ok()?.trim().to_owned();
            return Some(TreeEntry {
                mode: "040000".to_owned(),
                kind: "tree".to_owned(),
                id,
                name: String::new(),
            });
        }
        self.text(&["ls-tree", "-z", commit, "--", path]).ok()?.split('\0').find_map(parse_entry)
    }

    /// The lines of a tree.
    pub fn tree(&self, id: &str) -> Vec<TreeEntry> {
        self.text(&["ls-tree", "-z", id]).unwrap_or_default().split('\0').filter_map(parse_entry).collect()
    }

    /// The content of a blob.
    pub fn blob(&self, id: &str) -> Option<Vec<u8>> {
        self.run(&["cat-file", "blob", id], b"").ok()
    }
}

fn parse_commit(record: &str) -> Option<CommitSnapshot> {
    let mut lines = record.splitn(4, '\n');
    let id = lines.next().filter(|id| !id.is_empty())?.to_owned();
    let parents = lines.next()?.split_whitespace().map(str::to_owned).collect();
    let author = lines.next()?.to_owned();
    let message = lines.next().unwrap_or_default().trim_end_matches('\n').to_owned();
    Some(CommitSnapshot { id, message, author, parents })
}

fn parse_entry(record: &str) -> Option<TreeEntry> {
    let (left, path) = record.split_once('\t')?;
    let mut words = left.split_whitespace().map(str::to_owned);
    let (mode, kind, id) = (words.next()?, words.next()?, words.next()?);
    let name = path.rsplit('/').next().unwrap_or(path).to_owned();
    Some(TreeEntry { mode, kind, id, name })
}
