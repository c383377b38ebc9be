//! Files that must come out as they went in: line ends, modes, what Git LFS keeps.

use std::os::unix::fs::PermissionsExt as _;

use jira_agent_simulator::github::Permission;
use jira_agent_simulator::github_glue::LOGIN;
use jira_agent_simulator::models::{Reply, Rule};

use super::{block, calls, changed, good, last_message, push, rule};
use crate::world::{BRANCH, REPOSITORY, TICKET, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_its_line_ends() {
    let world = World::new().await;
    let github = world.simulator.github();
    let file =
        |branch: &str| String::from_utf8(github.file(REPOSITORY, branch, "src/cart.rs").unwrap()).unwrap();
    push(&world, "src/cart.rs", file("main").replace('\n', "\r\n").as_bytes());
    world.publish(TICKET).await;
    world.work_once().await;
    let after = file(BRANCH);
    assert!(after.contains("item.price * item.quantity;\r\n"), "{after}");
    assert!(after.contains("fn every_piece_is_charged() {\r\n"), "{after}");
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "every line ends as before");
    let diff = github.diff(REPOSITORY, "main", BRANCH);
    assert_eq!(
        diff.lines().filter(|line| line.starts_with('-') && !line.starts_with("---")).count(),
        1,
        "{diff}"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_git_lfs_is_not_edited() {
    let world = World::speechless().await;
    push(&world, ".gitattributes", b"docs/cart.txt filter=lfs diff=lfs merge=lfs -text\n");
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize 12\n", "a".repeat(64));
    push(&world, "docs/cart.txt", pointer.as_bytes());
    let touched = block("docs/cart.txt", "size 12", "size 13");
    world.answer(rule(Reply::text(touched)).times(1));
    world.answer(good());
    world.publish(TICKET).await;
    world.work_once().await;
    let calls = calls(&world);
    assert_eq!(calls.len(), 2);
    assert!(
        last_message(&calls[1]).contains("docs/cart.txt: is kept in Git LFS"),
        "{}",
        last_message(&calls[1])
    );
    assert_eq!(changed(&world), ["src/cart.rs"]);
    assert_eq!(world.depths().await, []);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_stays_executable_and_a_link_is_not_followed() {
    let world = World::speechless().await;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("cart-total.sh");
    std::fs::write(&script, "#!/bin/sh\n# The cart's total.\necho one piece\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("cart-total.sh", folder.path().join("total")).unwrap();
    let github = world.simulator.github();
    github.add_repository_from_dir("acme/tools", folder.path()).unwrap();
    github.set_permission("acme/tools", LOGIN, Permission::Write).unwrap();
    let url = world.simulator.url();
    world.write_config(&format!("[[routes]]\nrepo = \"{url}/acme/tools\"\n"));
    let edit = |path: &str| block(path, "echo one piece", "echo every piece");
    world.answer(Rule::new("echo one piece", Reply::text(edit("total"))).unwrap().times(1));
    world.answer(Rule::new("echo one piece", Reply::text(edit("cart-total.sh"))).unwrap());
    world.publish(&format!(r#"{{"issue_id": "{TICKET}", "repo_url": "{url}/acme/tools"}}"#)).await;
    world.work_once().await;
    assert_eq!(github.pulls("acme/tools").len(), 1, "{:?}", world.comments());
    let diff = github.diff("acme/tools", "main", BRANCH);
    assert!(diff.contains("+echo every piece") && diff.contains(" 100755\n"), "{diff}");
    assert!(
        !diff.contains("mode change") && !diff.contains("new mode") && !diff.contains("a/total "),
        "{diff}"
    );
    let calls = calls(&world);
    assert_eq!(calls.len(), 2);
    assert!(last_message(&calls[1]).contains("`total` is a symbolic link"), "{}", last_message(&calls[1]));
    assert_eq!(world.depths().await, []);
    world.finish().await;
}
