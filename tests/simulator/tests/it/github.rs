use std::path::Path;
use std::time::Duration;

use jira_agent_simulator::fault::{Action, Answer, Fault};
use jira_agent_simulator::service::Service;
use jira_agent_simulator::{Scenario, Simulator, SimulatorOptions, github_glue};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use super::support::{World, client, read};

const PATIENCE: Duration = Duration::from_secs(60);

/// The example scenario over a small repository.
async fn example(folder: &Path) -> World {
    let repository = folder.join("example-repository");
    std::fs::create_dir(&repository).unwrap();
    std::fs::write(repository.join("cart.txt"), "total = price\n").unwrap();
    let scenario: Scenario = include_str!("../../scenario.example.toml").parse().unwrap();
    let simulator = Simulator::start(SimulatorOptions::default()).await.unwrap();
    scenario.fill(&simulator, folder).unwrap();
    World { simulator, client: client() }
}

impl World {
    async fn github(&self, path: &str) -> Value {
        let url = self.url(&format!("/api/v3/{path}"));
        read(self.client.get(url).bearer_auth(github_glue::TOKEN).send().await.unwrap(), 200).await
    }

    /// Runs git as the agent; says whether it went well.
    async fn git(&self, directory: &Path, arguments: &[&str]) -> bool {
        let token = github_glue::TOKEN;
        let url = self.simulator.url().replace("http://", &format!("http://x-access-token:{token}@"));
        let mut git = Command::new("git");
        git.current_dir(directory).env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_NOSYSTEM", "1");
        git.env("GIT_CONFIG_GLOBAL", "/dev/null").kill_on_drop(true);
        git.args(["-c", "user.name=agent", "-c", "user.email=agent@example.com", "-c", "credential.helper="]);
        git.args(arguments.iter().map(|it| it.replace("URL", &url)));
        timeout(PATIENCE, git.output()).await.unwrap().unwrap().status.success()
    }
}

#[tokio::test]
async fn the_example_scenario_fills_every_service() {
    let folder = tempfile::tempdir().unwrap();
    let world = example(folder.path()).await;
    assert_eq!(world.github("user").await["login"], "jira-agent");
    assert_eq!(world.github("repos/acme/shop").await["permissions"]["push"], true);
    assert_eq!(world.github("repos/acme/shop/issues/7").await["title"], "The total is wrong");
    assert_eq!(world.github("repos/acme/shop/issues/7/comments").await[0]["body"], "Please.");
    assert_eq!(world.get("issue/PROJ-1?fields=priority").await["fields"]["priority"]["name"], "High");
    let state = read(world.client.get(world.url("/_state")).send().await.unwrap(), 200).await;
    assert!(state["github"].to_string().contains("acme/shop"), "{}", state["github"]);
    assert_eq!(state["models"]["rules"][1]["name"], "fix");
    assert_eq!(state["faults"][0]["fault"]["skip"], 1);
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn git_clones_and_pushes_past_the_journal_and_the_faults() {
    let folder = tempfile::tempdir().unwrap();
    let world = example(folder.path()).await;
    assert!(world.git(folder.path(), &["clone", "--depth", "1", "URL/acme/shop.git", "tree"]).await);
    let tree = folder.path().join("tree");
    assert_eq!(std::fs::read_to_string(tree.join("cart.txt")).unwrap(), "total = price\n");
    std::fs::write(tree.join("cart.txt"), "total = price * quantity\n").unwrap();
    assert!(world.git(&tree, &["commit", "-qam", "PROJ-1: multiply"]).await);

    let faults = world.simulator.faults();
    let push = Fault::new("/git-receive-pack$", Action::StatusAfter(Answer::new(502))).unwrap();
    let id = faults.add(push.service(Service::GitHub).method("POST"));
    let refspec = ["push", "-q", "URL/acme/shop.git", "HEAD:refs/heads/ai/PROJ-1"];
    assert!(!world.git(&tree, &refspec).await);
    assert_eq!(faults.fired(id), 1);
    // The push was done although the answer was lost.
    assert!(world.simulator.github().branches("acme/shop").contains_key("ai/PROJ-1"));
    assert!(world.git(&tree, &refspec).await);

    let leaks = world.simulator.journal().leaks(&[github_glue::TOKEN]);
    assert!(leaks.is_empty(), "{leaks:?}");
    let pushed = world.simulator.journal().writes(Service::GitHub);
    assert!(
        pushed
            .iter()
            .any(|entry| entry.path == "/acme/shop.git/git-receive-pack" && entry.status == Some(502))
    );
    world.simulator.assert_no_problems();
}

#[tokio::test]
async fn an_address_that_nobody_has_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let world = example(folder.path()).await;
    for path in ["/nowhere", "/api/v3/emojis", "/acme/shop/wiki"] {
        let answer = world.client.get(world.url(path)).bearer_auth(github_glue::TOKEN).send().await.unwrap();
        assert_eq!(read(answer, 404).await["message"], json!("Not Found"));
        let problem = world.problem();
        assert!(problem.contains(path), "{problem}");
    }
}
