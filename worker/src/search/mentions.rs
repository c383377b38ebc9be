//! What a ticket names: files, places in them, identifiers.

use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

use regex::Regex;

use super::candidate::is_vendored;
use super::words::{for_each_part, for_each_run, is_telling};
use crate::tree::TreeEntry;

/// What was found in a text.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    /// The files named, the most telling first.
    pub(super) files: Vec<Mention>,
    /// Identifiers that were written as code, or look like it.
    pub(super) identifiers: BTreeSet<String>,
}

/// One file that was named.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Its place among the tree's entries.
    pub(super) entry: usize,
    /// The lines named, from 1.
    pub(super) lines: Vec<usize>,
}

/// A path as it was written.
#[derive(Debug)]
struct Written<'a> {
    at: usize,
    path: String,
    line: Option<usize>,
    /// Part of an address, or not at all.
    is_url: bool,
    text: &'a str,
}

/// A name that fits more files than this names none.
const MOST_FITTING: usize = 3;
/// The most of a text that is looked through, in bytes.
const MOST_TEXT: usize = 256 * 1024;
const MOST_IDENTIFIERS: usize = 200;

/// Finds what the text names.
pub(super) fn mentions(text: &str, entries: &[TreeEntry]) -> Mentions {
    let text = text.get(..text.floor_char_boundary(MOST_TEXT)).unwrap_or(text);
    let names = Names::of(entries);
    let mut found = Mentions { identifiers: identifiers(text), ..Mentions::default() };
    for written in written(text) {
        for entry in names.resolve(&written) {
            match found.files.iter_mut().find(|mention| mention.entry == entry) {
                Some(mention) => mention.lines.extend(written.line),
                None => found.files.push(Mention { entry, lines: written.line.into_iter().collect() }),
            }
        }
    }
    found
}

/// All paths in the text, in order; a Python trace from its end, where the error was raised.
fn written(text: &str) -> Vec<Written<'_>> {
    static PYTHON: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r#"File "([^"\n]+)", line (\d+)"#).ok());
    static JAVA: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"([\w.$<>]+)\(([\w$]+\.(?:java|kt|kts|scala|groovy|clj)):(\d+)\)").ok());
    static ANY: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(
            r"(?x)
            ( (?:[A-Za-z]:)? [\w@+~$./\\\[\]-]* [\w\]-] )
            (?: :(?:line\ )?(\d+) | \#L(\d+) | \((\d+)[,)] | ,?\ line\ (\d+) )?",
        )
        .ok()
    });
    let captures = |pattern: &'static LazyLock<Option<Regex>>| {
        pattern.as_ref().into_iter().flat_map(|pattern| pattern.captures_iter(text))
    };
    let number = |found: Option<regex::Match<'_>>| found.and_then(|found| found.as_str().parse().ok());
    let mut special: Vec<Written<'_>> = Vec::new();
    for found in captures(&PYTHON) {
        let (Some(whole), Some(path)) = (found.get(0), found.get(1)) else {
            continue;
        };
        let path = path.as_str().to_owned();
        special.push(Written {
            at: whole.start(),
            path,
            line: number(found.get(2)),
            is_url: false,
            text: whole.as_str(),
        });
    }
    special.reverse();
    for found in captures(&JAVA) {
        let (Some(whole), Some(method), Some(file)) = (found.get(0), found.get(1), found.get(2)) else {
            continue;
        };
        let package: Vec<&str> = method.as_str().split('.').collect();
        let package = package.get(..package.len().saturating_sub(2)).unwrap_or_default().join("/");
        let path = if package.is_empty() {
            file.as_str().to_owned()
        } else {
            format!("{package}/{}", file.as_str())
        };
        special.push(Written {
            at: whole.start(),
            path,
            line: number(found.get(3)),
            is_url: false,
            text: whole.as_str(),
        });
    }
    let is_covered = |at: usize| special.iter().any(|one| (one.at..one.at + one.text.len()).contains(&at));
    let mut any = Vec::new();
    for found in captures(&ANY) {
        let (Some(whole), Some(path)) = (found.get(0), found.get(1)) else {
            continue;
        };
        if is_covered(path.start()) || !names_a_file(path.as_str()) {
            continue;
        }
        let before = text.get(..path.start()).unwrap_or_default();
        let is_url = path.as_str().starts_with("//") && before.ends_with(':') && !before.ends_with("file:");
        let line = number((2..=5).find_map(|group| found.get(group)));
        any.push(Written {
            at: whole.start(),
            path: path.as_str().to_owned(),
            line,
            is_url,
            text: whole.as_str(),
        });
    }
    special.extend(any);
    special
}

fn names_a_file(path: &str) -> bool {
    path.contains(['.', '/', '\\'])
        || ["Makefile", "Dockerfile", "Jenkinsfile", "Gemfile", "Rakefile", "Procfile", "CODEOWNERS"]
            .contains(&path)
}

/// The entries of a tree by their last part.
struct Names<'a> {
    entries: &'a [TreeEntry],
    by_name: HashMap<String, Vec<usize>>,
}

impl<'a> Names<'a> {
    fn of(entries: &'a [TreeEntry]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.mode.is_file()) {
            let name = entry.path.rsplit('/').next().unwrap_or_default().to_lowercase();
            by_name.entry(name).or_default().push(at);
        }
        Self { entries, by_name }
    }

    /// The entries a path means: those that end as it ends, or that it ends with (`/app/src/cart.py`).
    fn resolve(&self, written: &Written<'_>) -> Vec<usize> {
        let path = written.path.replace('\\', "/");
        let path = path.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(&path);
        let is_absolute = path.starts_with('/') || path.get(1..3) == Some(":/");
        let parts: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != "." && *part != "~").collect();
        let Some(name) = parts.last() else {
            return Vec::new();
        };
        let Some(same_name) = self.by_name.get(&name.to_lowercase()) else {
            return Vec::new();
        };
        let mut fitting: Vec<(usize, usize)> = Vec::new();
        for &entry in same_name {
            let Some(full) = self.entries.get(entry).map(|entry| entry.path.as_str()) else {
                continue;
            };
            let common = full
                .rsplit('/')
                .zip(parts.iter().rev())
                .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
                .count();
            let depth = full.split('/').count();
            let covers_written = common == parts.len();
            let covers_entry = common == depth && (common > 1 || (is_absolute && !written.is_url));
            let is_exact = covers_written && common == depth;
            if (covers_written || covers_entry) && (is_exact || !is_vendored(full)) {
                fitting.push((common + usize::from(is_exact), entry));
            }
        }
        let best = fitting.iter().map(|(common, _)| *common).max().unwrap_or(0);
        fitting.retain(|(common, _)| *common == best);
        if fitting.len() > MOST_FITTING {
            return Vec::new();
        }
        fitting.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// Words in backticks, with `()` after them, or of several parts (`cartTotal`, `cart_total`).
fn identifiers(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let bytes = text.as_bytes();
    let mut ticks = 0;
    let mut seen_to = 0;
    for_each_run(bytes, |at, run| {
        ticks += bytes.get(seen_to..at).unwrap_or_default().iter().filter(|byte| **byte == b'`').count();
        seen_to = at;
        let mut parts = 0;
        for_each_part(run, |_| parts += 1);
        let is_called = bytes.get(at + run.len()..).is_some_and(|rest| rest.starts_with(b"("));
        let is_code = parts > 1 || ticks % 2 == 1 || is_called;
        let is_sane = run.len() >= 3 && run.len() <= 80 && !run.first().is_some_and(u8::is_ascii_digit);
        if is_code && is_sane && is_telling(&run.to_ascii_lowercase()) && found.len() < MOST_IDENTIFIERS {
            found.insert(String::from_utf8_lossy(run).into_owned());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::{FileSource as _, MemoryTree};

    fn named(text: &str) -> Vec<(String, Vec<usize>)> {
        let tree = MemoryTree::of_texts(
            [
                "src/cart.rs",
                "src/cart/total.py",
                "src/main.rs",
                "shop/models/order.py",
                "shop/views.py",
                "Makefile",
                "app/src/main/java/com/acme/shop/Cart.java",
                "lib/src/main/java/com/acme/lib/Cart.java",
                "web/src/app.ts",
                "pkg/server/handler.go",
                "Shop/Cart.cs",
                "index.html",
                "vendor/github.com/x/handler.go",
                "a/index.ts",
                "b/index.ts",
                "c/index.ts",
                "d/index.ts",
                "pages/[id].tsx",
            ]
            .map(|path| (path, "")),
        );
        mentions(text, tree.entries())
            .files
            .into_iter()
            .map(|mention| (tree.entries()[mention.entry].path.clone(), mention.lines))
            .collect()
    }

    #[test]
    fn paths_are_found_however_they_are_written() {
        for (text, path, lines) in [
            ("the bug is in src/cart.rs.", "src/cart.rs", vec![]),
            ("see `cart.rs`, please", "src/cart.rs", vec![]),
            ("./src/cart.rs:12:5: error", "src/cart.rs", vec![12]),
            ("  --> src/main.rs:3:1", "src/main.rs", vec![3]),
            ("File \"/app/shop/models/order.py\", line 41, in total", "shop/models/order.py", vec![41]),
            (
                "at com.acme.shop.Cart.total(Cart.java:12)",
                "app/src/main/java/com/acme/shop/Cart.java",
                vec![12],
            ),
            ("at total (file:///srv/web/src/app.ts:7:9)", "web/src/app.ts", vec![7]),
            ("\t/go/src/acme/pkg/server/handler.go:88 +0x1d", "pkg/server/handler.go", vec![88]),
            ("in C:\\work\\Shop\\Cart.cs:line 12", "Shop/Cart.cs", vec![12]),
            ("https://github.com/acme/shop/blob/main/src/cart.rs#L10-L20", "src/cart.rs", vec![10]),
            ("Cart.cs(3,4): error CS1002", "Shop/Cart.cs", vec![3]),
            ("change the Makefile", "Makefile", vec![]),
            ("pages/[id].tsx breaks", "pages/[id].tsx", vec![]),
            ("views.py, line 9", "shop/views.py", vec![9]),
        ] {
            assert_eq!(named(text), [(path.to_owned(), lines)], "{text}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_elsewhere_names_nothing() {
        for text in [
            "index.ts",
            "https://example.com/index.html",
            "lib/unknown.rs",
            "e.g. this, etc.",
            "v1.2.3",
            "a/b",
        ] {
            assert_eq!(named(text), [], "{text}");
        }
    }

    #[test]
    fn a_python_trace_is_read_from_its_end() {
        let trace = "Traceback\n  File \"shop/views.py\", line 3, in a\n  File \"shop/models/order.py\", line 4, in b\nE";
        let paths: Vec<_> = named(trace).into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["shop/models/order.py", "shop/views.py"]);
    }

    #[test]
    fn identifiers_look_like_code() {
        let found = identifiers(
            "The `total` of calculateTotal and cart_size() is wrong when flush() is called, not The",
        );
        let found: Vec<_> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["calculateTotal", "cart_size", "flush", "total"]);
    }

    proptest! {
        #[test]
        fn any_text_is_looked_through_without_panic(text in r#"(.|src/cart.rs|File "|:|\\|/|`|line 3){0,60}"#) {
            let _ = named(&text);
        }
    }
}
