//! Which paths a commit of ours may hold.

/// A path that may not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` cannot be written: {why}; name a file of the repository by its path from the top")]
pub struct UnsafePath {
    /// The path as it was given, cut to a readable length.
    pub path: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

/// Checks that a path names a file below the top of the repository on every system that may check it out: relative,
/// no `.` or `..`, and no part that Windows or macOS would take for `.git`.
///
/// # Errors
/// The rule that is broken.
pub fn check_path(path: &str) -> Result<(), UnsafePath> {
    let broken = if path.is_empty() {
        Some("it is empty")
    } else if path.len() > 4_000 {
        Some("it is longer than 4000 bytes")
    } else if path.starts_with('/') {
        Some("it is absolute")
    } else if path.contains('\\') {
        Some("a backslash separates directories on Windows")
    } else if path.chars().any(char::is_control) {
        Some("it holds a control character")
    } else {
        path.split('/').find_map(broken_part)
    };
    match broken {
        Some(why) => Err(UnsafePath { path: path.chars().take(200).collect(), why }),
        None => Ok(()),
    }
}

/// Checks one name of a commit that others have made: what git itself refuses to check out, and no more. `path` is for
/// the message.
pub(super) fn check_name(name: &[u8], path: &str) -> Result<(), UnsafePath> {
    let broken = match name {
        b"" => Some("a part is empty"),
        b"." | b".." => Some("it has a part `.` or `..`"),
        _ if name.contains(&b'/') => Some("a part holds a slash"),
        _ if is_git_directory(&String::from_utf8_lossy(name)) => Some("a part means git's own directory"),
        _ => None,
    };
    match broken {
        Some(why) => Err(UnsafePath { path: path.chars().take(200).collect(), why }),
        None => Ok(()),
    }
}

fn broken_part(part: &str) -> Option<&'static str> {
    match part {
        "" => Some("it has an empty part"),
        "." | ".." => Some("it has a part `.` or `..`"),
        _ if part.len() > 255 => Some("a part is longer than 255 bytes"),
        _ if is_git_directory(part) => Some("a part means git's own directory"),
        _ => None,
    }
}

/// Whether some file system takes this name for `.git`. HFS+ ignores case and invisible letters; NTFS ignores case,
/// trailing dots and spaces, what follows a colon, and knows the short name `GIT~1` (CVE-2014-9390, CVE-2019-1352).
fn is_git_directory(part: &str) -> bool {
    let folded: String = part
        .chars()
        .filter(|letter| !is_ignorable(*letter))
        .flat_map(fold)
        .collect::<String>()
        .to_lowercase();
    let name = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let short =
        name.strip_prefix("git~").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    name == ".git" || short
}

/// Letters that look or compare like an ASCII letter: full-width forms and the dotless i.
fn fold(letter: char) -> Option<char> {
    match letter {
        'ı' | 'İ' => Some('i'),
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0),
        letter => Some(letter),
    }
}

/// Letters without a shape, which HFS+ or a reader's eye skips.
fn is_ignorable(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{307}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_paths_are_fine() {
        for path in
            ["a", "src/main.rs", ".gitignore", ".github/x.yml", "a b/ü.txt", "x.git", "git~x", "..a", "a/..b"]
        {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_leave_the_tree_or_mean_gits_directory_are_refused() {
        for path in [
            "",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            "./a",
            "a\0b",
            "a\nb",
            "C:\\x",
            "a\\..\\b",
            ".git",
            ".git/config",
            ".GIT/hooks/pre-push",
            ".GiT",
            "a/.git/x",
            ".git.",
            ".git ",
            ".git. .",
            "git~1",
            "GIT~1/config",
            "git~2",
            ".git::$INDEX_ALLOCATION/x",
            ".git:x",
            ".g\u{200c}it",
            ".gi\u{feff}t",
            "\u{200d}.git",
            ".g\u{131}t",
            ".G\u{130}T",
            "\u{ff0e}git",
            ".ｇｉｔ/config",
        ] {
            assert!(check_path(path).is_err(), "{path:?}");
        }
        assert!(check_path(&"a/".repeat(3_000)).is_err());
        assert!(check_path(&"a".repeat(256)).is_err());
    }

    proptest! {
        #[test]
        fn what_is_accepted_stays_below_the_top(path in "[a./ ~\\\\:gGiItT\u{200c}1-]{0,24}") {
            if check_path(&path).is_ok() {
                let parts: Vec<_> = std::path::Path::new(&path).components().collect();
                prop_assert!(parts.iter().all(|part| matches!(part, std::path::Component::Normal(_))), "{path}");
                prop_assert!(!path.to_lowercase().split('/').any(|part| part == ".git"), "{path}");
            }
        }
    }
}
