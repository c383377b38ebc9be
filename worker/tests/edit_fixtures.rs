//! Replies applied to small trees: `fixtures/edit/NNN_name/{input/, reply.txt, expected/ | error.txt}`.
//!
//! Besides: `reply2.txt` is the answer to the rejection of the first, `shown.txt` and `protected.txt` list paths and
//! globs (all files, and none, without them). `UPDATE_FIXTURES=1` writes what comes out as `error.txt`.

#[cfg(test)]
mod fixtures {
    use std::collections::BTreeSet;
    use std::path::Path;

    use jira_agent_worker::edit::{Change, Passage, Patch, PathRules, Rejection, apply, parse};
    use jira_agent_worker::tree::{DirTree, FileMode, FileSource as _};

    struct Case {
        tree: DirTree,
        shown: BTreeSet<String>,
        rules: PathRules,
    }

    fn words(path: &Path) -> Option<Vec<String>> {
        Some(std::fs::read_to_string(path).ok()?.lines().map(str::to_owned).collect())
    }

    fn first(case: &Case, reply: &str) -> Result<Result<Patch, Rejection>, String> {
        let blocks = parse(reply).map_err(|problem| problem.to_string())?;
        Ok(apply(&case.tree, &case.shown, &case.rules, blocks))
    }

    fn second(case: &Case, rejection: Rejection, reply: &str) -> Result<Result<Patch, Rejection>, String> {
        let blocks = parse(reply).map_err(|problem| problem.to_string())?;
        Ok(rejection.continue_with(&case.tree, &case.shown, &case.rules, blocks))
    }

    fn outcome(folder: &Path, case: &Case) -> Result<Patch, String> {
        let reply = std::fs::read_to_string(folder.join("reply.txt")).unwrap();
        let mut result = first(case, &reply)?;
        if let Ok(reply) = std::fs::read_to_string(folder.join("reply2.txt")) {
            let rejection = result.expect_err("the first reply is to be rejected");
            result = second(case, rejection, &reply)?;
        }
        result.map_err(|rejection| rejection.for_model().iter().map(Passage::as_str).collect::<String>())
    }

    type Listing = Vec<(String, bool, Vec<u8>)>;

    fn listing(tree: &DirTree, skip: &BTreeSet<&String>) -> Listing {
        tree.entries()
            .iter()
            .filter(|entry| !skip.contains(&entry.path))
            .map(|entry| {
                let content = tree.read(&entry.path).unwrap();
                (entry.path.clone(), content.mode == FileMode::Executable, content.bytes)
            })
            .collect()
    }

    fn run(folder: &Path) {
        let tree = DirTree::open(&folder.join("input")).unwrap();
        let all = || tree.entries().iter().map(|entry| entry.path.clone()).collect();
        let shown = words(&folder.join("shown.txt")).map_or_else(all, |paths| paths.into_iter().collect());
        let protected = words(&folder.join("protected.txt")).unwrap_or_default();
        let rules = PathRules::new(&protected, BTreeSet::new()).unwrap();
        let case = Case { tree, shown, rules };
        let error_file = folder.join("error.txt");
        match outcome(folder, &case) {
            Ok(patch) => {
                assert!(!error_file.exists(), "{}: applied, though error.txt is there", folder.display());
                let mut result = listing(&case.tree, &patch.changes.keys().collect());
                result.extend(patch.changes.into_iter().filter_map(|(path, change)| match change {
                    Change::Write { bytes, executable } => Some((path, executable, bytes)),
                    Change::Delete => None,
                }));
                result.sort();
                let expected = DirTree::open(&folder.join("expected")).unwrap();
                let texts = |listing: Listing| -> Vec<_> {
                    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
                    listing
                        .into_iter()
                        .map(|(path, executable, bytes)| (path, executable, text(bytes)))
                        .collect()
                };
                assert_eq!(
                    texts(result),
                    texts(listing(&expected, &BTreeSet::new())),
                    "{}: not what was expected",
                    folder.display()
                );
            }
            Err(error)
                if std::env::var_os("UPDATE_FIXTURES").is_some() && !folder.join("expected").exists() =>
            {
                std::fs::write(error_file, error).unwrap();
            }
            Err(error) => {
                let expected = std::fs::read_to_string(error_file).unwrap_or_else(|_| {
                    panic!("{}: refused, though to be applied:\n{error}", folder.display())
                });
                assert_eq!(error, expected, "{}: another refusal", folder.display());
            }
        }
    }

    #[test]
    fn every_fixture_gives_its_tree_or_its_refusal() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/edit");
        let mut cases: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        cases.retain(|case| case.is_dir());
        cases.sort();
        assert!(cases.len() >= 25, "only {} fixtures were found", cases.len());
        for case in &cases {
            run(case);
        }
    }
}
