//! Scenario files: what the simulator holds when it starts.

use std::path::Path;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::fault::Fault;
use crate::github_glue::GitHubSection;
use crate::jira::{IssueSeed, Jira, Project, User, Workflow};
use crate::models::{Failure, Models, Reply, Rule, StopReason, UsageSeed};
use crate::server::Simulator;

/// A scenario, read from TOML. Unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    jira: JiraSection,
    github: GitHubSection,
    models: ModelsSection,
    faults: Vec<Fault>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JiraSection {
    email: String,
    token: String,
    scoped_token: bool,
    empty_transitions: bool,
    stale_search: bool,
    page_limit: Option<usize>,
    workflow: Option<Workflow>,
    required_fields: Vec<RequiredField>,
    projects: Vec<Project>,
    users: Vec<User>,
    issues: Vec<IssueSeed>,
}

impl Default for JiraSection {
    fn default() -> Self {
        Self {
            email: Jira::EMAIL.to_owned(),
            token: Jira::TOKEN.to_owned(),
            scoped_token: false,
            empty_transitions: false,
            stale_search: false,
            page_limit: None,
            workflow: None,
            required_fields: Vec::new(),
            projects: Vec::new(),
            users: Vec::new(),
            issues: Vec::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequiredField {
    transition: String,
    field: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelsSection {
    key: String,
    rules: Vec<RuleSeed>,
}

impl Default for ModelsSection {
    fn default() -> Self {
        Self { key: Models::KEY.to_owned(), rules: Vec::new() }
    }
}

/// One scripted reply, as a scenario or a control request describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleSeed {
    #[serde(default)]
    name: Option<String>,
    /// Regular expressions that must all be found in the prompt.
    when: OneOrMany,
    /// Regular expressions none of which may be found.
    #[serde(default)]
    unless: OneOrMany,
    #[serde(default)]
    times: Option<u32>,
    #[serde(default)]
    reply: Option<String>,
    /// The reply's text is in this file, seen from the scenario file's folder.
    #[serde(default)]
    reply_file: Option<String>,
    #[serde(default)]
    thinking: Option<String>,
    #[serde(default)]
    stop_reason: StopReason,
    #[serde(default)]
    usage: UsageSeed,
    #[serde(default)]
    failure: Option<Failure>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Many(texts) => texts,
        }
    }
}

impl RuleSeed {
    /// The rule; files are read from `base`, without one they are refused.
    pub(crate) fn into_rule(self, base: Option<&Path>) -> anyhow::Result<Rule> {
        let mut when = self.when.into_vec().into_iter();
        let first = when.next().context("a model rule needs at least one expression in `when`")?;
        let name = self.name.unwrap_or_else(|| first.clone());
        let named = || format!("model rule '{name}'");
        let text = match (self.reply, self.reply_file, base) {
            (Some(text), None, _) => text,
            (None, Some(file), Some(base)) => std::fs::read_to_string(base.join(&file))
                .with_context(|| format!("{}: its reply_file {file} cannot be read", named()))?,
            (None, Some(_), None) => anyhow::bail!("{}: reply_file works in scenario files only", named()),
            (Some(_), Some(_), _) => anyhow::bail!("{} has both reply and reply_file: keep one", named()),
            (None, None, _) if self.failure.is_some() => String::new(),
            (None, None, _) => anyhow::bail!("{} has neither reply, reply_file nor failure", named()),
        };
        let Self { thinking, stop_reason, usage, failure, .. } = self;
        let reply = Reply { text, stop_reason, usage, failure, thinking };
        let mut rule = Rule::new(&first, reply).with_context(named)?;
        for expression in when {
            rule = rule.and(&expression).with_context(named)?;
        }
        for expression in self.unless.into_vec() {
            rule = rule.unless(&expression).with_context(named)?;
        }
        if let Some(times) = self.times {
            rule = rule.times(times);
        }
        Ok(rule.named(name))
    }
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// When it cannot be read, is not TOML, or has a key that is not known: the message shows the line.
    pub fn read(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("the scenario {} cannot be read", file.display()))?;
        text.parse().with_context(|| format!("the scenario {} is not right", file.display()))
    }

    /// Fills the simulator; folders and files are seen from `base`.
    ///
    /// # Errors
    /// When something in it names what there is not.
    pub fn fill(self, simulator: &Simulator, base: &Path) -> anyhow::Result<()> {
        self.jira.fill(simulator.jira())?;
        self.github.fill(simulator.github(), base)?;
        let models = simulator.models();
        models.set_key(&self.models.key);
        for rule in self.models.rules {
            models.add(rule.into_rule(Some(base))?);
        }
        for fault in self.faults {
            simulator.faults().add(fault);
        }
        Ok(())
    }

    /// The same as [`Scenario::settings`] for a shell: lines of `export NAME=VALUE`.
    #[must_use]
    pub fn exports(&self, url: &str) -> String {
        let lines = self.settings(url).into_iter();
        lines.map(|(name, value)| format!("export {name}={value}\n")).collect()
    }

    /// The settings that let the product use the simulator at `url`: names and values.
    #[must_use]
    pub fn settings(&self, url: &str) -> Vec<(&'static str, String)> {
        let (jira, github, key) = (&self.jira, &self.github, &self.models.key);
        let routes: Vec<String> = github.repositories().map(|name| format!("{url}/{name}")).collect();
        let mut settings = vec![
            ("JIRA_URL", url.to_owned()),
            ("JIRA_EMAIL", jira.email.clone()),
            ("JIRA_API_TOKEN", jira.token.clone()),
            ("JIRA_AGENT__JIRA__AGENT_ACCOUNT_ID", Jira::AGENT.to_owned()),
            ("JIRA_AGENT__GITHUB__URL", url.to_owned()),
            ("GITHUB_API_URL", format!("{url}/api/v3")),
            ("GITHUB_TOKEN", github.token.clone()),
            ("ANTHROPIC_BASE_URL", url.to_owned()),
            ("ANTHROPIC_API_KEY", key.clone()),
            ("OPENAI_BASE_URL", format!("{url}/v1")),
            ("OPENAI_API_KEY", key.clone()),
            ("JIRA_AGENT__MODEL__PROVIDER", "anthropic".to_owned()),
            ("JIRA_AGENT__MODEL__NAME", Models::NAME.to_owned()),
            ("JIRA_AGENT__ROUTES", routes.join(",")),
            ("OLLAMA_HOST", url.to_owned()),
        ];
        if jira.scoped_token {
            let gateway = format!("{url}/ex/jira/{}", Jira::CLOUD_ID);
            settings.insert(1, ("JIRA_AGENT__JIRA__API_URL", gateway));
        }
        settings
    }
}

impl std::str::FromStr for Scenario {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let scenario: Self = toml::from_str(text)?;
        for value in
            [&scenario.jira.email, &scenario.jira.token, &scenario.github.token, &scenario.models.key]
        {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "@.+_-".contains(letter);
            ensure!(
                !value.is_empty() && value.chars().all(plain),
                "e-mail, tokens and keys are letters, digits and @.+_- only, so that a shell reads them as they are"
            );
        }
        Ok(scenario)
    }
}

impl JiraSection {
    fn fill(self, jira: &Jira) -> anyhow::Result<()> {
        jira.set_credentials(&self.email, &self.token);
        jira.set_scoped_token(self.scoped_token);
        jira.set_empty_transitions(self.empty_transitions);
        if let Some(limit) = self.page_limit {
            jira.set_page_limit(limit);
        }
        if let Some(workflow) = self.workflow {
            jira.set_workflow(workflow).context("the workflow")?;
        }
        for RequiredField { transition, field } in self.required_fields {
            jira.require_field(&transition, &field);
        }
        for user in self.users {
            jira.add_user(user);
        }
        for Project { key, name } in self.projects {
            jira.add_project(&key, &name);
        }
        for issue in self.issues {
            jira.add_issue(issue)?;
        }
        // From here on: what the file holds is what search sees.
        jira.set_stale_search(self.stale_search);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        format!("{:#}", text.parse::<Scenario>().unwrap_err())
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_known_ones() {
        let problem = problem("[[jira.issues]]\nkey = \"PROJ-1\"\nsumary = \"x\"\n");
        assert!(
            problem.contains("line 3") && problem.contains("`sumary`") && problem.contains("`summary`"),
            "{problem}"
        );
    }

    #[test]
    fn a_wrong_value_is_refused_where_it_stands() {
        for (text, words) in [
            ("[[faults]]\npath = \"(\"\naction = \"hang\"\n", "unclosed group"),
            ("[[faults]]\npath = \"x\"\naction = \"explode\"\n", "explode"),
            ("[[models.rules]]\nreply = \"x\"\n", "missing field `when`"),
            ("[[models.rules]]\nwhen = \"x\"\nstop_reason = \"bored\"\n", "bored"),
            ("[github]\ntoken = \"a b\"\n", "a shell reads"),
            ("[github]\nrepos = []\n", "`repos`"),
            ("jira = 3\n", "invalid type"),
            ("[jira\n", "line 1"),
        ] {
            let problem = problem(text);
            assert!(problem.contains(words), "{problem:?} does not say {words:?}");
        }
    }

    #[test]
    fn a_rule_without_a_reply_is_refused_by_name() {
        let seed = r#"{"name": "fix", "when": "x"}"#;
        let seed: RuleSeed = serde_json::from_str(seed).unwrap();
        let problem = seed.into_rule(None).unwrap_err().to_string();
        assert_eq!(problem, "model rule 'fix' has neither reply, reply_file nor failure");
    }
}
