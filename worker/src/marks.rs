//! Marks that mean something in a reply and nothing good in a file: fences and conflict markers.

/// Whether a line is a marker of a merge conflict, in git's form.
pub(crate) fn is_conflict_marker(line: &str) -> bool {
    ['<', '>', '|'].into_iter().any(|character| {
        let rest = line.trim_start_matches(character);
        line.len() - rest.len() == 7 && (rest.is_empty() && character != '|' || rest.starts_with(' '))
    })
}

/// Whether a line is a fence of Markdown.
pub(crate) fn is_fence(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("```") && !line.trim_start_matches('`').contains('`')
}

/// Whether fences, and dots in place of text, are at home in the file.
pub(crate) fn is_prose(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    ["md", "markdown", "mdx", "rst", "adoc", "asciidoc", "txt", "org", "tex", "ipynb", "qmd", "rmd"]
        .contains(&extension.as_str())
}

/// Backticks for a fence around these lines: at least three, and more than any run in them.
pub(crate) fn fence_around<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let run = |line: &str| line.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let longest = lines.into_iter().map(run).max().unwrap_or(0);
    "`".repeat((longest + 1).max(3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        assert_eq!(fence_around(["a ``b``", "c"]), "```");
        assert_eq!(fence_around(["````x", "c"]), "`````");
    }

    #[test]
    fn a_heading_is_no_conflict() {
        assert!(is_conflict_marker("<<<<<<< HEAD") && is_conflict_marker(">>>>>>>"));
        assert!(
            !is_conflict_marker("=======")
                && !is_conflict_marker("<<<<<<<<< x")
                && !is_conflict_marker("<<<<<<<x")
        );
    }
}
