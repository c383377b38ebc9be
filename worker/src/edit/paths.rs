//! Which paths a reply may touch. The rules are held here, whatever the prompt said.

use std::collections::BTreeSet;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::tree::{FileMode, FileSource};

/// The rules a patch has to keep, beyond those that hold always.
#[derive(Debug, Clone)]
pub struct PathRules {
    protected: GlobSet,
    patterns: Vec<String>,
    lfs: BTreeSet<String>,
    /// The most bytes of one file, before and after; 1 MiB by default.
    pub max_file_bytes: usize,
    /// The most files of one patch; 200 by default.
    pub max_files: usize,
}

/// A protected path that is no glob.
#[derive(Debug, thiserror::Error)]
#[error("`{pattern}` is not a glob for protected paths; write e.g. `.github/**` or `*.lock`")]
pub struct PathRulesError {
    pattern: String,
    source: globset::Error,
}

impl PathRules {
    /// Rules with these protected globs and paths kept in Git LFS. A glob without `/` protects files of that name in
    /// every directory, one that ends in `/` everything below; capital letters make no difference.
    ///
    /// # Errors
    /// When a glob cannot be read.
    pub fn new(protected: &[String], lfs: BTreeSet<String>) -> Result<Self, PathRulesError> {
        let mut globs = GlobSetBuilder::new();
        for pattern in protected {
            globs.add(protected_glob(pattern).map_err(|source| refused(pattern, source))?);
        }
        let all = protected.join(", ");
        let protected_set = globs.build().map_err(|source| refused(&all, source))?;
        Ok(Self {
            protected: protected_set,
            patterns: protected.to_vec(),
            lfs,
            max_file_bytes: 1024 * 1024,
            max_files: 200,
        })
    }

    fn protecting(&self, path: &str) -> Option<&str> {
        let first = self.protected.matches(path).into_iter().next()?;
        self.patterns.get(first).map(String::as_str)
    }
}

fn refused(pattern: &str, source: globset::Error) -> PathRulesError {
    PathRulesError { pattern: pattern.to_owned(), source }
}

fn protected_glob(pattern: &str) -> Result<Glob, globset::Error> {
    let trimmed = pattern.trim_start_matches("./").trim_start_matches('/');
    let mut glob = if let Some(directory) = trimmed.strip_suffix('/') {
        format!("{directory}/**")
    } else {
        trimmed.to_owned()
    };
    if !pattern.contains('/') {
        glob = format!("**/{glob}");
    }
    GlobBuilder::new(&glob).literal_separator(true).case_insensitive(true).build()
}

/// Why a path may not be touched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// It is no path of a file in a tree.
    #[error("is not a plain path from the root of the repository: {0}")]
    NotPlain(&'static str),
    /// It is in git's own directory, or becomes so on some file system.
    #[error("belongs to git itself and may not be touched")]
    GitDirectory,
    /// It is, or lies behind, a symbolic link.
    #[error("`{0}` is a symbolic link: edit the file it points to, by that file's own path")]
    Symlink(String),
    /// It is, or lies in, a submodule.
    #[error("`{0}` is a submodule, whose files belong to another repository")]
    Submodule(String),
    /// A part of it is a file, not a directory.
    #[error("`{0}` is a file, so nothing can be put below it")]
    BelowFile(String),
    /// It is a directory.
    #[error("is a directory; name a file")]
    Directory,
    /// A protected glob matches it.
    #[error("is protected by the settings (`{0}`) and has to be changed by a person")]
    Protected(String),
    /// Its content is in Git LFS.
    #[error("is kept in Git LFS, where its text is not at hand")]
    Lfs,
}

/// A path as the model wrote it, brought into the form of the tree; `is_known` tells which paths can be edited.
pub(super) fn normalise(written: &str, is_known: impl Fn(&str) -> bool) -> Result<String, PathProblem> {
    let slashed = written.trim().replace('\\', "/");
    let mut path = slashed.as_str();
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let relative = path.trim_start_matches('/');
    if !is_known(path) {
        let without_side = ["a/", "b/"].into_iter().find_map(|side| relative.strip_prefix(side));
        if let Some(known) = [Some(relative), without_side].into_iter().flatten().find(|path| is_known(path))
        {
            path = known;
        }
    }
    plain(path)?;
    Ok(path.to_owned())
}

fn plain(path: &str) -> Result<(), PathProblem> {
    let drive = matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    if path.starts_with('/') || drive {
        return Err(PathProblem::NotPlain("it is absolute"));
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(PathProblem::NotPlain("it names no file"));
    }
    if path.len() > 4096 || path.split('/').any(|part| part.len() > 255) {
        return Err(PathProblem::NotPlain("it is too long"));
    }
    if path.chars().any(char::is_control) {
        return Err(PathProblem::NotPlain("it holds a control character"));
    }
    for part in path.split('/') {
        match part {
            "" => return Err(PathProblem::NotPlain("it has an empty part")),
            "." | ".." => return Err(PathProblem::NotPlain("it has a part `.` or `..`")),
            _ if is_dot_git(part) => return Err(PathProblem::GitDirectory),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a name is, or some file system takes it for, `.git` or `.gitmodules`: NTFS ignores trailing dots and
/// spaces and what follows a colon, and gives short names; HFS+ ignores some invisible characters; both ignore case.
/// See <https://github.com/git/git/blob/master/read-cache.c> (`verify_dotfile`) and CVE-2014-9390, CVE-2019-1353.
fn is_dot_git(name: &str) -> bool {
    let folded: String =
        name.chars().filter(|character| !is_ignored_by_hfs(*character)).map(fold_letter).collect();
    let base = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let short_name = |prefix: &str| {
        base.strip_prefix(prefix).is_some_and(|number| {
            !number.is_empty() && number.chars().all(|character| character.is_ascii_digit())
        })
    };
    base == ".git" || base == ".gitmodules" || short_name("git~") || short_name("gitmod~")
}

fn is_ignored_by_hfs(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

fn fold_letter(character: char) -> char {
    match character {
        // Full-width forms.
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(character as u32 - 0xfee0).unwrap_or(character).to_ascii_lowercase()
        }
        'İ' | 'ı' => 'i',
        '\u{2024}' | '\u{fe52}' => '.',
        _ => character.to_ascii_lowercase(),
    }
}

/// Checks what the tree and the rules say about a plain path.
pub(super) fn admit(path: &str, files: &dyn FileSource, rules: &PathRules) -> Result<(), PathProblem> {
    for (at, _) in path.match_indices('/') {
        let Some(parent) = path.get(..at) else { continue };
        match files.entry(parent).map(|entry| entry.mode) {
            Some(FileMode::Symlink) => return Err(PathProblem::Symlink(parent.to_owned())),
            Some(FileMode::Gitlink) => return Err(PathProblem::Submodule(parent.to_owned())),
            Some(_) => return Err(PathProblem::BelowFile(parent.to_owned())),
            None => {}
        }
    }
    match files.entry(path).map(|entry| entry.mode) {
        Some(FileMode::Symlink) => return Err(PathProblem::Symlink(path.to_owned())),
        Some(FileMode::Gitlink) => return Err(PathProblem::Submodule(path.to_owned())),
        Some(_) => {}
        None if files.is_directory(path) => return Err(PathProblem::Directory),
        None => {}
    }
    if let Some(pattern) = rules.protecting(path) {
        return Err(PathProblem::Protected(pattern.to_owned()));
    }
    if rules.lfs.contains(path) {
        return Err(PathProblem::Lfs);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{FileContent, MemoryTree};

    fn known(path: &str) -> bool {
        ["src/cart.rs", "a/b.rs"].contains(&path)
    }

    #[test]
    fn a_wrong_prefix_of_a_known_path_is_dropped() {
        for written in
            ["src/cart.rs", "./src/cart.rs", "/src/cart.rs", "a/src/cart.rs", "b/src/cart.rs", "src\\cart.rs"]
        {
            assert_eq!(normalise(written, known).as_deref(), Ok("src/cart.rs"), "{written}");
        }
        assert_eq!(normalise("a/b.rs", known).as_deref(), Ok("a/b.rs"));
        assert_eq!(normalise("a/new.rs", known).as_deref(), Ok("a/new.rs"));
    }

    #[test]
    fn a_path_stays_inside_the_tree() {
        for written in [
            "/etc/passwd",
            "../x",
            "src/../../x",
            "src/./x",
            "src//x",
            "C:/x",
            "c:\\x",
            "",
            "src/",
            "a\u{0}b",
        ] {
            assert!(matches!(normalise(written, known), Err(PathProblem::NotPlain(_))), "{written}");
        }
    }

    #[test]
    fn no_disguise_of_the_git_directory_is_admitted() {
        for written in [
            ".git/config",
            ".GIT/config",
            "src/.Git/hooks/x",
            "git~1/config",
            "GIT~2",
            ".git./config",
            ".git /config",
            ".git::$INDEX_ALLOCATION/x",
            ".g\u{200c}it/config",
            "\u{feff}.git/x",
            ".ｇｉｔ/x",
            ".gıt/x",
            ".gitmodules",
            ".git\\config",
            "GITMOD~1",
        ] {
            assert_eq!(normalise(written, known), Err(PathProblem::GitDirectory), "{written}");
        }
        for written in [".gitignore", ".github/x.yml", "git/x", "docs/git~", ".gitx/y", ".gitattributes"] {
            assert!(normalise(written, known).is_ok(), "{written}");
        }
    }

    #[test]
    fn links_submodules_and_settings_are_kept() {
        let of = |mode| FileContent { bytes: b"x".to_vec(), mode };
        let files = MemoryTree::new([
            ("link".to_owned(), of(FileMode::Symlink)),
            ("module".to_owned(), of(FileMode::Gitlink)),
            ("src/main.rs".to_owned(), of(FileMode::Regular)),
        ]);
        let globs = ["*.lock", ".github/", "/deploy/**/*.yml"].map(str::to_owned);
        let rules = PathRules::new(&globs, BTreeSet::from(["art/logo.svg".to_owned()])).unwrap();
        let check = |path: &str| admit(path, &files, &rules);
        assert_eq!(check("link"), Err(PathProblem::Symlink("link".to_owned())));
        assert_eq!(check("link/x"), Err(PathProblem::Symlink("link".to_owned())));
        assert_eq!(check("module/x/y"), Err(PathProblem::Submodule("module".to_owned())));
        assert_eq!(check("src/main.rs/x"), Err(PathProblem::BelowFile("src/main.rs".to_owned())));
        assert_eq!(check("src"), Err(PathProblem::Directory));
        assert_eq!(check("web/yarn.lock"), Err(PathProblem::Protected("*.lock".to_owned())));
        assert_eq!(check(".GitHub/workflows/ci.yml"), Err(PathProblem::Protected(".github/".to_owned())));
        assert_eq!(check("deploy/a/b.yml"), Err(PathProblem::Protected("/deploy/**/*.yml".to_owned())));
        assert_eq!(check("art/logo.svg"), Err(PathProblem::Lfs));
        assert_eq!(check("src/new.rs"), Ok(()));
        assert_eq!(check("src/github/x"), Ok(()));
    }

    #[test]
    fn a_bad_glob_is_named() {
        let error = PathRules::new(&["a[".to_owned()], BTreeSet::new()).unwrap_err();
        assert!(error.to_string().contains("`a[`"));
    }
}
