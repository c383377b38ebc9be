use super::{bare, run};

/// The commands that a help text lists, but `help` itself.
fn commands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A name stands two columns in; the rest of a long description stands further in.
    let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

/// Takes a snapshot of the help of every command below; gives the command lines.
async fn snapshots(program: &str) -> Vec<String> {
    let mut open = vec![vec![]];
    let mut seen = Vec::new();
    while let Some(path) = open.pop() {
        let mut command = bare(program, &[]);
        let help = run(command.args(&path).arg("--help").env("COLUMNS", "100")).await.ended(0);
        assert_eq!(help.err, "");
        let name = [&[program.to_owned()], path.as_slice()].concat().join(" ");
        insta::with_settings!({prepend_module_to_snapshot => false, omit_expression => true}, {
            insta::assert_snapshot!(name.replace(' ', "_"), help.out);
        });
        open.extend(commands(&help.out).into_iter().map(|command| [path.clone(), vec![command]].concat()));
        seen.push(name);
    }
    seen.sort();
    seen
}

#[tokio::test]
async fn every_command_of_the_producer_explains_itself() {
    let expected = [
        "",
        " dead-letters",
        " dead-letters drop",
        " dead-letters list",
        " dead-letters replay",
        " dead-letters show",
        " doctor",
        " enqueue",
        " runs",
        " runs cancel",
        " topology",
        " topology apply",
        " topology check",
    ];
    assert_eq!(
        snapshots("jira-agent-producer").await,
        expected.map(|name| format!("jira-agent-producer{name}"))
    );
}

#[tokio::test]
async fn every_command_of_the_worker_explains_itself() {
    let expected = ["", " apply", " context", " doctor", " run", " ticket"];
    assert_eq!(snapshots("jira-agent-worker").await, expected.map(|name| format!("jira-agent-worker{name}")));
}

#[tokio::test]
async fn every_command_of_the_one_machine_product_explains_itself() {
    assert_eq!(
        snapshots("jira-agent").await,
        ["jira-agent", "jira-agent demo", "jira-agent run", "jira-agent up"]
    );
}

#[tokio::test]
async fn the_simulator_explains_itself() {
    assert_eq!(snapshots("jira-agent-simulator").await, ["jira-agent-simulator"]);
}

#[tokio::test]
async fn no_value_of_the_environment_is_shown_in_a_help() {
    for (program, command) in
        [("jira-agent-producer", "enqueue"), ("jira-agent-worker", "run"), ("jira-agent", "demo")]
    {
        let mut help = bare(program, &[command, "--help"]);
        let help = run(help.env("JIRA_AGENT_CONFIG", "/somewhere/secret.toml")).await.ended(0);
        assert!(help.out.contains("JIRA_AGENT_CONFIG") && !help.out.contains("secret.toml"), "{}", help.out);
    }
}

#[tokio::test]
async fn a_program_without_a_command_shows_its_help_and_a_wrong_one_names_the_right_one() {
    for program in ["jira-agent-producer", "jira-agent-worker", "jira-agent"] {
        run(&mut bare(program, &[])).await.ended(2).words(&["Usage:", "Commands:"]);
    }
    run(&mut bare("jira-agent-producer", &["enque"])).await.ended(2).words(&["'enqueue'"]);
}
