use std::path::Path;

use jira_agent::domain::CommitId;
use jira_agent_worker::git::{
    Change, ChangeKind, CommitError, DiffStat, MergeBase, Mode, Snapshot, changed_paths, checkout, commit,
    diff_stat, filtered_paths, is_lfs_pointer, merge_base, unified_diff,
};

use tokio_util::sync::CancellationToken;

use super::new_commit;
use super::server::{Remote, git};

/// A bare repository that no network has seen; objects do not care where they come from.
fn repository(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Remote, CommitId) {
    let dir = tempfile::tempdir().unwrap();
    let remote = Remote { bare: dir.path().to_owned() };
    remote.git(&["init", "--quiet", "--bare", "--initial-branch=main", "."]);
    let head = remote.commit("main", None, "one", files);
    (dir, remote, head)
}

fn write(path: &str, bytes: &[u8]) -> Change {
    Change::Write { path: path.to_owned(), bytes: bytes.to_owned(), executable: None }
}

fn delete(path: &str) -> Change {
    Change::Delete { path: path.to_owned() }
}

fn listing(git_dir: &Path, commit: &CommitId) -> String {
    git(git_dir, &["ls-tree", "-r", "--format=%(objectmode) %(path)", commit.as_str()])
}

#[test]
fn a_commit_keeps_modes_and_bytes_and_what_it_does_not_touch() {
    let (_dir, remote, head) =
        repository(&[("a.txt", b"x"), ("!run.sh", b"x"), ("@link", b"a.txt"), ("d/e", b"x")]);
    let changes = vec![
        write("run.sh", b"#!/bin/sh\r\necho hi\r\n"),
        write("new/deep/file", b""),
        Change::Write { path: "tool".to_owned(), bytes: b"x".to_vec(), executable: Some(true) },
        Change::Write { path: "a.txt".to_owned(), bytes: b"\xff\x00\r".to_vec(), executable: Some(true) },
        delete("d/e"),
    ];
    let made = commit(&remote.bare, &new_commit(&head, changes.clone())).unwrap();
    let expected = "100755 a.txt\n120000 link\n100644 new/deep/file\n100755 run.sh\n100755 tool\n";
    assert_eq!(listing(&remote.bare, &made), expected);
    let snapshot = Snapshot::open(&remote.bare, &made).unwrap();
    assert_eq!(snapshot.read("run.sh").unwrap(), b"#!/bin/sh\r\necho hi\r\n");
    assert_eq!(snapshot.read("a.txt").unwrap(), b"\xff\x00\r");
    assert_eq!(
        git(&remote.bare, &["log", "-1", "--format=%an <%ae> %cI|%s", made.as_str()]).trim(),
        "Agent <agent@example.com> 2026-01-30T12:00:00+00:00|PROJ-1: Mend the cart"
    );
    // One input, one id: a commit made twice is one commit.
    assert_eq!(commit(&remote.bare, &new_commit(&head, changes)).unwrap(), made);
    assert_eq!(remote.head("main"), Some(head));
    git(&remote.bare, &["fsck", "--strict"]);
}

#[test]
fn a_commit_without_changes_must_be_wanted() {
    let (_dir, remote, head) = repository(&[("a", b"x")]);
    let same = new_commit(&head, vec![write("a", b"x")]);
    assert!(matches!(commit(&remote.bare, &same), Err(CommitError::Nothing)));
    let wanted = jira_agent_worker::git::NewCommit { allow_empty: true, changes: Vec::new(), ..same };
    let made = commit(&remote.bare, &wanted).unwrap();
    assert_ne!(made, head);
    assert_eq!(listing(&remote.bare, &made), "100644 a\n");
}

#[test]
fn changes_that_leave_the_tree_or_go_through_links_are_refused_whole() {
    let (_dir, remote, head) = repository(&[("dir/file", b"x"), ("@link", b"dir"), ("plain", b"x")]);
    let sub = format!("160000,{head},sub");
    let work = tempfile::tempdir().unwrap();
    git(work.path(), &["clone", "--quiet", remote.bare.to_str().unwrap(), "."]);
    git(work.path(), &["update-index", "--add", "--cacheinfo", &sub]);
    git(work.path(), &["commit", "--quiet", "-m", "sub"]);
    git(work.path(), &["push", "--quiet", "origin", "main"]);
    let head = remote.head("main").unwrap();

    let refused = |change: Change| {
        let error = commit(&remote.bare, &new_commit(&head, vec![write("fine", b"x"), change])).unwrap_err();
        error.to_string()
    };
    for path in
        [".git/config", ".GIT/hooks/pre-push", "a/.git/x", "../out", "/etc/passwd", "git~1/config", "a\\b"]
    {
        assert!(refused(write(path, b"x")).contains("cannot be written"), "{path}");
        assert!(refused(delete(path)).contains("cannot be written"), "{path}");
    }
    assert_eq!(refused(write("link/file", b"x")), "`link/file` cannot be changed: `link` is a symbolic link");
    assert_eq!(refused(write("link", b"x")), "`link` cannot be changed: `link` is a symbolic link");
    assert_eq!(refused(delete("link")), "`link` cannot be changed: `link` is a symbolic link");
    assert_eq!(refused(write("sub/file", b"x")), "`sub/file` cannot be changed: `sub` is a submodule");
    assert_eq!(refused(delete("sub")), "`sub` cannot be changed: `sub` is a submodule");
    assert_eq!(refused(write("plain/file", b"x")), "`plain/file` cannot be changed: `plain` is a file");
    assert_eq!(refused(write("dir", b"x")), "`dir` cannot be changed: `dir` is a directory");
    assert_eq!(refused(delete("dir")), "`dir` cannot be changed: `dir` is a directory");
    assert_eq!(refused(delete("absent")), "`absent` cannot be deleted: it is not in the commit");
    assert_eq!(refused(write("fine", b"y")), "`fine` is changed twice");

    let modes: Vec<_> = Snapshot::open(&remote.bare, &head).unwrap().entries().unwrap();
    let sub = modes.iter().find(|entry| entry.path == "sub").unwrap();
    assert_eq!((sub.mode, sub.size), (Mode::Gitlink, 0));
}

#[test]
fn a_file_may_become_a_directory_when_it_is_deleted_in_the_same_commit() {
    let (_dir, remote, head) = repository(&[("mod", b"x"), ("keep", b"x")]);
    let made = commit(&remote.bare, &new_commit(&head, vec![write("mod/a", b"x"), delete("mod")])).unwrap();
    assert_eq!(listing(&remote.bare, &made), "100644 keep\n100644 mod/a\n");
}

#[test]
fn two_new_files_that_need_each_others_place_are_refused() {
    let (_dir, remote, head) = repository(&[("keep", b"x")]);
    let both = new_commit(&head, vec![write("x", b"1"), write("x/y", b"2")]);
    assert!(commit(&remote.bare, &both).is_err());
}

#[test]
fn reading_names_what_is_missing_and_what_is_no_file() {
    let (_dir, remote, head) = repository(&[("dir/file", b"x"), ("@link", b"dir/file")]);
    let snapshot = Snapshot::open(&remote.bare, &head).unwrap();
    assert_eq!(snapshot.read("link").unwrap(), b"dir/file");
    assert!(snapshot.read("absent").unwrap_err().to_string().starts_with("`absent` is not in commit"));
    assert!(snapshot.read("dir").unwrap_err().to_string().starts_with("`dir` is not a file"));
    assert!(snapshot.read("link/file").is_err());
    let absent: CommitId = "0123456789".repeat(4).parse().unwrap();
    assert!(Snapshot::open(&remote.bare, &absent).is_err());
}

#[test]
fn a_commit_that_would_write_outside_the_tree_or_without_end_is_not_checked_out() {
    let (_dir, remote, head) = repository(&[("a", b"x")]);
    let blob = git(&remote.bare, &["rev-parse", &format!("{head}:a")]).trim().to_owned();
    let commit_of = |tree: &str| -> CommitId {
        git(&remote.bare, &["commit-tree", tree, "-m", "hostile"]).trim().parse().unwrap()
    };
    let raw_tree = |entries: &[(&str, &str, &str)]| -> String {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
            bytes.extend((0..20).map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).unwrap()));
        }
        let file = remote.bare.join("raw");
        std::fs::write(&file, bytes).unwrap();
        git(&remote.bare, &["hash-object", "-t", "tree", "-w", "--literally", "raw"]).trim().to_owned()
    };
    let inner = raw_tree(&[("100644", "x", &blob)]);
    let link = git(&remote.bare, &["rev-parse", &format!("{head}:a")]).trim().to_owned();
    // Two small objects that stand for a million entries.
    let names: Vec<String> = (1000..2001).map(|n| n.to_string()).collect();
    let wide = |mode, id| raw_tree(&names.iter().map(|name| (mode, name.as_str(), id)).collect::<Vec<_>>());
    let bomb = wide("40000", &wide("160000", head.as_str()));
    let mut deep = inner.clone();
    for _ in 0..400 {
        deep = raw_tree(&[("40000", "d", &deep)]);
    }
    let out = tempfile::tempdir().unwrap();
    let attempt = |tree: &str, name: &str| {
        let target = out.path().join(name);
        std::fs::create_dir(&target).unwrap();
        checkout(&remote.bare, &commit_of(tree), &target, &CancellationToken::new()).unwrap_err().to_string()
    };
    for (name, case) in [("..", "dots"), (".git", "git"), (".GIT", "upper"), ("a/../../x", "slash")] {
        let error = attempt(&raw_tree(&[("40000", name, &inner)]), case);
        assert!(error.contains("cannot be written"), "{name}: {error}");
    }
    let twice = raw_tree(&[("120000", "a", &link), ("40000", "a", &inner)]);
    assert_eq!(attempt(&twice, "twice"), "cannot write `a`");
    assert!(attempt(&deep, "deep").contains("too many directories in each other"));
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 6);
    let snapshot = Snapshot::open(&remote.bare, &commit_of(&bomb)).unwrap();
    assert!(snapshot.entries().unwrap_err().to_string().contains("too many files"));
}

#[test]
fn paths_with_a_filter_are_listed_by_the_commits_own_attributes() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    let (_dir, remote, head) = repository(&[
        (".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\nsecret/** filter=git-crypt\n"),
        ("a.bin", b"x"),
        ("a.txt", b"x"),
        ("sub/.gitattributes", b"plain.bin -filter\n"),
        ("sub/b.bin", pointer),
        ("sub/plain.bin", b"x"),
        ("secret/key", b"x"),
    ]);
    let snapshot = Snapshot::open(&remote.bare, &head).unwrap();
    let found: Vec<_> = filtered_paths(&snapshot).unwrap().into_iter().collect();
    let expected = [("a.bin", "lfs"), ("secret/key", "git-crypt"), ("sub/b.bin", "lfs")];
    assert_eq!(found, expected.map(|(path, filter)| (path.to_owned(), filter.to_owned())));
    assert!(is_lfs_pointer(&snapshot.read("sub/b.bin").unwrap()));
    assert!(!is_lfs_pointer(b"x"));

    let (_dir, remote, head) = repository(&[(".gitattributes", b"* text=auto\n"), ("a.bin", b"x")]);
    assert!(filtered_paths(&Snapshot::open(&remote.bare, &head).unwrap()).unwrap().is_empty());
}

#[test]
fn two_commits_are_compared_by_paths_counts_and_text() {
    let (_dir, remote, head) = repository(&[("a", b"1\n2\n3\n"), ("gone", b"x\n"), ("bin", b"\0\x01")]);
    let changes =
        vec![write("a", b"1\ntwo\n3\n"), delete("gone"), write("new", b"n\n"), write("bin", b"\0\x02")];
    let made = commit(&remote.bare, &new_commit(&head, changes)).unwrap();
    let changed: Vec<_> =
        changed_paths(&remote.bare, &head, &made).unwrap().into_iter().map(|c| (c.path, c.kind)).collect();
    let expected = [
        ("a", ChangeKind::Modified),
        ("bin", ChangeKind::Modified),
        ("gone", ChangeKind::Deleted),
        ("new", ChangeKind::Added),
    ];
    assert_eq!(changed, expected.map(|(path, kind)| (path.to_owned(), kind)));
    let stat = diff_stat(&remote.bare, &head, &made).unwrap();
    assert_eq!(stat, DiffStat { files: 4, insertions: 2, deletions: 2 });
    let diff = unified_diff(&remote.bare, &head, &made, 10_000).unwrap();
    let real = git(&remote.bare, &["diff", "--abbrev=7", "--no-renames", head.as_str(), made.as_str()]);
    assert_eq!((diff.text, diff.truncated), (real, false));
    let cut = unified_diff(&remote.bare, &head, &made, 100).unwrap();
    assert!(cut.truncated && cut.text.len() <= 100 && cut.text.ends_with('\n'), "{cut:?}");
}

#[test]
fn histories_without_a_common_commit_are_unrelated_when_they_are_whole() {
    let (_dir, remote, head) = repository(&[("a", b"1")]);
    let other = remote.commit("other", None, "orphan", &[("b", b"1")]);
    assert_eq!(merge_base(&remote.bare, &head, &other).unwrap(), MergeBase::Unrelated);
    assert_eq!(merge_base(&remote.bare, &head, &head).unwrap(), MergeBase::Found(head.clone()));
    let next = commit(&remote.bare, &new_commit(&head, vec![write("a", b"2")])).unwrap();
    assert_eq!(merge_base(&remote.bare, &head, &next).unwrap(), MergeBase::Found(head));
}
