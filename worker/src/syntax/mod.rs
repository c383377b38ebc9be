//! Whether a file still reads after an edit, as a comparison: what could not be read before is not the edit's fault.
//!
//! The grammars are tree-sitter's. They accept more than the languages do, so [`SyntaxVerdict::Clean`] is no proof; and
//! they stumble over macros, most of all in C and C++, where an error in a new file only raises a doubt.

mod general;
mod language;
mod parse;
mod python;

use std::fmt;

pub use language::{Language, languages};

/// What became of a file's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyntaxVerdict {
    /// It has no error.
    Clean,
    /// It has errors, but no more than before.
    SameAsBefore,
    /// It has errors that the grammar may be wrong about: a file of C or C++ that is new or had errors before.
    Doubtful {
        /// The new ones, at most ten.
        errors: Vec<SyntaxError>,
    },
    /// It has more errors than before.
    Worse {
        /// The new ones, at most ten.
        errors: Vec<SyntaxError>,
    },
    /// Nothing can be said: the language is not covered, the file is a template of YAML, JSON or TOML, is larger than
    /// 2 MiB, or takes longer than two seconds to read. Left-over conflict markers and fences are [`SyntaxVerdict::Worse`] in any file.
    Unknown,
}

/// One place that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
    /// The line's text, shortened.
    pub excerpt: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, what, excerpt } = self;
        write!(formatter, "line {line}, column {column}: {what}")?;
        if excerpt.is_empty() { Ok(()) } else { write!(formatter, "\n    {excerpt}") }
    }
}

/// A larger file is not read.
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// How many errors are told.
const MOST_ERRORS: usize = 10;

/// Compares a file's syntax before and after; `before` is `None` for a new file. The language is known by the path or
/// by the first line. Takes at most about four seconds; meant for a blocking thread.
#[must_use]
pub fn check(path: &str, before: Option<&[u8]>, after: &[u8]) -> SyntaxVerdict {
    let marks = new_errors(
        before.map(|bytes| general::errors(path, bytes)).unwrap_or_default(),
        general::errors(path, after),
    );
    if let Some(errors) = marks {
        return SyntaxVerdict::Worse { errors };
    }
    let Some(language) = language::of(path, after) else {
        return SyntaxVerdict::Unknown;
    };
    let Some(errors_after) = errors(language, after) else {
        return SyntaxVerdict::Unknown;
    };
    if errors_after.is_empty() {
        return SyntaxVerdict::Clean;
    }
    if language.is_template(after) {
        return SyntaxVerdict::Unknown;
    }
    let Some(errors_before) = before.map_or(Some(Vec::new()), |bytes| errors(language, bytes)) else {
        return SyntaxVerdict::Unknown;
    };
    let was_clean = before.is_some() && errors_before.is_empty();
    match new_errors(errors_before, errors_after) {
        None => SyntaxVerdict::SameAsBefore,
        Some(errors) if language.has_preprocessor() && !was_clean => SyntaxVerdict::Doubtful { errors },
        Some(errors) => SyntaxVerdict::Worse { errors },
    }
}

fn errors(language: Language, bytes: &[u8]) -> Option<Vec<SyntaxError>> {
    if bytes.len() > MOST_BYTES { None } else { parse::errors(language, bytes) }
}

/// The errors that were not there before, if there are more than before.
fn new_errors(before: Vec<SyntaxError>, after: Vec<SyntaxError>) -> Option<Vec<SyntaxError>> {
    if after.len() <= before.len() {
        return None;
    }
    let mut old: Vec<_> = before.into_iter().map(|error| (error.what, error.excerpt)).collect();
    let mut new = after;
    new.retain(|error| {
        let same = |(what, excerpt): &(String, String)| *what == error.what && *excerpt == error.excerpt;
        old.iter().position(same).map(|at| old.swap_remove(at)).is_none()
    });
    new.truncate(MOST_ERRORS);
    Some(new)
}

/// A line of text for a message: no more than 120 characters.
fn excerpt(bytes: &[u8], row: usize) -> String {
    let line = bytes.split(|byte| *byte == b'\n').nth(row).unwrap_or_default();
    String::from_utf8_lossy(line).trim().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors_of(verdict: SyntaxVerdict) -> Vec<String> {
        match verdict {
            SyntaxVerdict::Worse { errors } => errors.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_language_tells_good_from_broken() {
        for (path, good, broken) in [
            ("a.rs", "fn main() { let a = 1; }\n", "fn main() { let a = ; }\n"),
            ("a.py", "def f(x):\n    return x\n", "def f(x:\n    return x\n"),
            ("a.js", "const a = () => ({b: 1});\n", "const a = () => ({b: 1);\n"),
            ("a.jsx", "const a = <b c={1}>x</b>;\n", "const a = <b c={1}>x</b;\n"),
            ("a.ts", "let a: number = f<string>(1);\n", "let a: number = f<string>(1;\n"),
            ("a.tsx", "const a = <B c={x as string}/>;\n", "const a = <B c={x as string/>;\n"),
            ("a.go", "package a\n\nfunc f() int { return 1 }\n", "package a\n\nfunc f() int { return 1 \n"),
            ("A.java", "class A { int f() { return 1; } }\n", "class A { int f() { return 1 } }\n"),
            ("a.cs", "class A { int F() => 1; }\n", "class A { int F() => ; }\n"),
            ("a.rb", "def f(x)\n  x + 1\nend\n", "def f(x)\n  x + 1\n"),
            ("a.php", "<?php\nfunction f($x) { return $x; }\n", "<?php\nfunction f($x) { return $x;\n"),
            ("a.sh", "if true; then\n  echo a\nfi\n", "if true; then\n  echo a\n"),
            ("a.json", "{\"a\": [1, 2]}\n", "{\"a\": [1, 2}\n"),
            ("a.yaml", "a:\n  - b: 1\n", "a:\n  - b: [1\n"),
            ("a.toml", "[a]\nb = 1\n", "[a\nb = 1\n"),
        ] {
            assert_eq!(check(path, None, good.as_bytes()), SyntaxVerdict::Clean, "{path}");
            assert!(matches!(check(path, None, broken.as_bytes()), SyntaxVerdict::Worse { .. }), "{path}");
            assert!(
                matches!(check(path, Some(good.as_bytes()), broken.as_bytes()), SyntaxVerdict::Worse { .. }),
                "{path}"
            );
            assert_eq!(
                check(path, Some(broken.as_bytes()), broken.as_bytes()),
                SyntaxVerdict::SameAsBefore,
                "{path}"
            );
        }
    }

    #[test]
    fn c_is_doubted_only_when_nothing_better_is_known() {
        let (good, broken) = ("int f(void) { return 1; }\n", "int f(void) { return 1 }\n");
        for path in ["a.c", "a.h", "a.cpp"] {
            assert_eq!(check(path, None, good.as_bytes()), SyntaxVerdict::Clean);
            assert!(matches!(check(path, None, broken.as_bytes()), SyntaxVerdict::Doubtful { .. }));
            assert!(matches!(
                check(path, Some(good.as_bytes()), broken.as_bytes()),
                SyntaxVerdict::Worse { .. }
            ));
        }
    }

    #[test]
    fn only_new_errors_are_told() {
        let before = "fn a() { let x = ; }\nfn b() {}\n";
        let after = "fn a() { let x = ; }\nfn b() { let yy = ; }\n";
        insta::assert_snapshot!(errors_of(check("a.rs", Some(before.as_bytes()), after.as_bytes())).join("\n"), @r"
        line 2, column 17: `=` cannot be read here
            fn b() { let yy = ; }
        ");
    }

    #[test]
    fn marks_of_a_reply_are_found_in_any_file() {
        for (path, text) in [
            ("a.unknown", "a\n<<<<<<< HEAD\nb\n"),
            ("Dockerfile", "```dockerfile\nFROM a\n```\n"),
            ("a.py", "a = 1\n```\n"),
        ] {
            assert!(matches!(check(path, None, text.as_bytes()), SyntaxVerdict::Worse { .. }), "{path}");
            assert!(!matches!(
                check(path, Some(text.as_bytes()), text.as_bytes()),
                SyntaxVerdict::Worse { .. }
            ));
        }
        assert_eq!(check("a.md", None, b"```\na\n```\n"), SyntaxVerdict::Unknown);
    }

    #[test]
    fn what_is_not_covered_is_unknown() {
        assert_eq!(check("a.kt", None, b"fun ("), SyntaxVerdict::Unknown);
        assert_eq!(check("a.rs", None, &vec![b'('; MOST_BYTES + 1]), SyntaxVerdict::Unknown);
        assert_eq!(
            check("chart/templates/a.yaml", None, b"{{- if .Values.a }}\na: 1\n{{- end }}\n"),
            SyntaxVerdict::Unknown
        );
        assert_eq!(check("ci.yaml", None, b"run: echo ${{ github.sha }}\n"), SyntaxVerdict::Clean);
    }

    #[test]
    fn deep_nesting_is_read_in_bounded_time() {
        let started = std::time::Instant::now();
        let _ = check("a.json", None, "[".repeat(200_000).as_bytes());
        let _ = check("a.rs", None, "fn f() { (".repeat(50_000).as_bytes());
        assert!(started.elapsed() < std::time::Duration::from_secs(30));
    }
}
