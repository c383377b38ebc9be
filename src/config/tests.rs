use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::keys::{KEYS, ROUTE_KEYS};
use super::*;

fn sources(env: &[(&str, &str)], overrides: &[(&str, &str)]) -> ConfigSources {
    let own = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    ConfigSources {
        env: own(env).into_iter().collect(),
        overrides: own(overrides),
        ..ConfigSources::default()
    }
}

fn from_env(env: &[(&str, &str)]) -> Config {
    Config::load(sources(env, &[])).unwrap()
}

fn problems_of_env(env: &[(&str, &str)]) -> String {
    Config::load(sources(env, &[])).unwrap_err().to_string()
}

/// A file in a directory that lives as long as the test needs it.
fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jira-agent.toml");
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn from_file(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let (_directory, path) = file(text);
    Config::load(ConfigSources { file: Some(path), ..sources(env, &[]) })
}

/// Everything a worker needs.
const WORKER: &[(&str, &str)] = &[
    ("JIRA_URL", "https://acme.atlassian.net"),
    ("JIRA_EMAIL", "agent@acme.example"),
    ("JIRA_TOKEN", "jira-token"),
    ("GITHUB_TOKEN", "github-token"),
    ("ANTHROPIC_API_KEY", "model-key"),
    ("JIRA_AGENT__ROUTES", "SHOP=https://github.com/acme/shop"),
];

fn worker_with(changes: &[(&str, &str)]) -> Config {
    from_env(&[WORKER, changes].concat())
}

fn broken(config: &Config, needs: Needs) -> Vec<String> {
    let problems = config.check(needs).err().map(|error| error.problems).unwrap_or_default();
    problems.into_iter().map(|problem| problem.field).collect()
}

mod documentation {
    use super::*;

    /// The keys of a struct, from what serde says to a key that it does not know.
    fn fields<T: DeserializeOwned>() -> BTreeSet<String> {
        let error = serde_json::from_value::<T>(serde_json::json!({"?": 1})).err().unwrap().to_string();
        error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    fn struct_keys() -> BTreeSet<String> {
        let sections = [
            ("queue", fields::<QueueConfig>()),
            ("jira", fields::<JiraConfig>()),
            ("github", fields::<GitHubConfig>()),
            ("model", fields::<ModelConfig>()),
            ("worker", fields::<WorkerConfig>()),
            ("git", fields::<GitConfig>()),
            ("http", fields::<HttpConfig>()),
            ("log", fields::<LogConfig>()),
        ];
        let mut all: BTreeSet<String> = sections.iter().map(|(section, _)| (*section).to_owned()).collect();
        all.insert("routes".to_owned());
        assert_eq!(all, fields::<Config>(), "a section is missing above");
        let prices = fields::<ModelPrices>();
        let mut keys: BTreeSet<String> = sections
            .iter()
            .flat_map(|(section, names)| names.iter().map(move |name| format!("{section}.{name}")))
            .collect();
        assert!(keys.remove("model.prices"));
        keys.extend(prices.iter().map(|name| format!("model.prices.{name}")));
        keys
    }

    /// `config.default.toml` with every example made a setting.
    fn with_examples() -> String {
        let example = |line: &&str| {
            line.starts_with('#') && line[1..].starts_with(|c: char| c.is_ascii_lowercase() || c == '[')
        };
        let lines = DEFAULTS.lines().map(|line| if example(&line) { &line[1..] } else { line });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn leaves(prefix: &str, table: &toml::Table, keys: &mut BTreeSet<String>) {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            match value {
                toml::Value::Table(table) => leaves(&format!("{key}."), table, keys),
                _ => drop(keys.insert(key)),
            }
        }
    }

    #[test]
    fn every_key_is_documented_and_every_documented_key_exists() {
        let mut documented = BTreeSet::new();
        let mut table: toml::Table = with_examples().parse().unwrap();
        let routes = table.remove("routes").unwrap();
        leaves("", &table, &mut documented);
        let table_of_keys: BTreeSet<String> = KEYS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(documented, struct_keys());
        assert_eq!(table_of_keys, struct_keys());
        let route = routes[0].as_table().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(route, fields::<RouteConfig>());
        assert_eq!(route, ROUTE_KEYS.iter().map(|(name, _)| (*name).to_owned()).collect());
    }

    #[test]
    fn secret_fields_are_known_as_secrets() {
        let secrets: Vec<&str> =
            KEYS.iter().filter(|(_, kind)| *kind == keys::Kind::Secret).map(|(name, _)| *name).collect();
        let expected = [
            "queue.url",
            "queue.management_url",
            "jira.token",
            "github.token",
            "model.api_key",
            "http.proxy",
        ];
        assert_eq!(secrets, expected);
        for line in DEFAULTS.lines().collect::<Vec<_>>().windows(5) {
            if line[0].starts_with("# Secret.") {
                let key = line[1..].iter().find(|line| line.contains(" = ")).unwrap().trim_start_matches('#');
                let name = key.split(' ').next().unwrap();
                assert!(
                    secrets.iter().any(|secret| secret.ends_with(name)),
                    "{name} is documented as a secret"
                );
            }
        }
    }

    #[test]
    fn all_examples_together_are_a_configuration_for_a_worker() {
        let text = with_examples()
            .replace("/etc/ssl/rabbitmq-ca.pem", "Cargo.toml")
            .replace("/etc/ssl/acme-ca.pem", "Cargo.toml");
        let env = [("JIRA_ASSIGNEE_LEIGH_ACCOUNT_ID", "5b10ac8d82e05b22cc7d4ef5")];
        from_file(&text, &env).unwrap().check(Needs::Worker).unwrap();
    }

    #[test]
    fn usual_names_in_the_documentation_are_accepted_and_all_are_documented() {
        let documented: BTreeSet<&str> = DEFAULTS
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .filter(|word| {
                word.contains('_') && !word.starts_with("JIRA_AGENT") && word.to_uppercase() == **word
            })
            .collect();
        for name in alias::names() {
            assert!(documented.contains(name), "{name} is not in config.default.toml");
        }
    }

    #[test]
    fn the_documented_model_names_are_those_in_use() {
        for (word, variable) in [("anthropic", ""), ("openai", ""), ("ollama", "")] {
            let config = from_env(&[("JIRA_AGENT__MODEL__PROVIDER", word), ("OLLAMA_HOST", variable)]);
            assert!(DEFAULTS.contains(&format!("{} ({word})", config.model.name)), "{}", config.model.name);
        }
    }
}

mod defaults {
    use super::*;

    #[test]
    fn suffice_for_the_demo_and_to_enqueue() {
        let config = from_env(&[]);
        config.check(Needs::Demo).unwrap();
        config.check(Needs::Enqueue).unwrap();
        assert_eq!(config.model.provider, ModelProvider::Anthropic);
        assert_eq!(config.github.api_url.as_str(), "https://api.github.com/");
        assert_eq!(config.jira.review_states[0], "In Testing");
        assert_eq!(config.worker.run_deadline, Duration::from_secs(25 * 60));
        assert_eq!(config.worker.min_free_bytes, 1 << 30);
        assert!(config.secrets().is_empty(), "the published password is no secret");
    }

    #[test]
    fn do_not_suffice_for_a_worker_and_it_says_all_that_is_missing() {
        let config = from_env(&[]);
        assert_eq!(broken(&config, Needs::Worker), ["routes", "github.token", "model.api_key"]);
        let text = config.check(Needs::Worker).unwrap_err().to_string();
        insta::assert_snapshot!(text, @"
        the configuration has 3 problems:
          routes (default): no repository is named, and no other is ever touched; add a [[routes]] entry, or set JIRA_AGENT__ROUTES=PROJ=https://github.com/owner/repo
          github.token (default): it is not set; set GITHUB_TOKEN or JIRA_AGENT__GITHUB__TOKEN
          model.api_key (default): it is not set, and `anthropic` asks for one; set ANTHROPIC_API_KEY, or choose another with JIRA_AGENT__MODEL__PROVIDER
        ");
    }

    #[test]
    fn protect_what_runs_with_more_rights() {
        let globs = from_env(&[]).worker.protected_paths;
        let matches = |path: &str| {
            globs.iter().any(|glob| globset::Glob::new(glob).unwrap().compile_matcher().is_match(path))
        };
        for path in [
            ".github/workflows/ci.yml",
            "CODEOWNERS",
            "docs/CODEOWNERS",
            ".gitmodules",
            "a/.gitattributes",
            ".husky/pre-commit",
            "AGENTS.md",
            "web/.cursor/rules",
            "Jenkinsfile",
        ] {
            assert!(matches(path), "{path}");
        }
        for path in ["src/main.rs", ".gitignore", "README.md", "github/workflows.rs"] {
            assert!(!matches(path), "{path}");
        }
    }
}

mod layers {
    use super::*;

    #[test]
    fn later_ones_win() {
        let text =
            "[worker]\nmax_attempts = 2\nrepair_rounds = 9\ncontext_files = 3\n[jira]\nemail = 'file@x'";
        let (_directory, path) = file(text);
        let env = [
            ("JIRA_EMAIL", "env@x"),
            ("JIRA_AGENT__WORKER__MAX_ATTEMPTS", "3"),
            ("JIRA_AGENT__WORKER__CONTEXT_FILES", "4"),
        ];
        let sources = ConfigSources { file: Some(path), ..sources(&env, &[("worker.max_attempts", "4")]) };
        let config = Config::load(sources).unwrap();
        assert_eq!(
            (config.worker.max_attempts, config.worker.context_files, config.worker.repair_rounds),
            (4, 4, 9)
        );
        assert_eq!(config.jira.email, "env@x");
        assert_eq!(config.worker.correction_rounds, 1);
    }

    #[test]
    fn a_file_is_found_by_flag_then_variable_then_name() {
        let (by_flag, by_variable, by_name) = (
            file("[worker]\nmax_attempts = 11"),
            file("[worker]\nmax_attempts = 12"),
            file("[worker]\nmax_attempts = 13"),
        );
        let variable = by_variable.1.to_string_lossy().into_owned();
        let mut sources = sources(&[("JIRA_AGENT_CONFIG", &variable)], &[]);
        sources.file = Some(by_flag.1);
        sources.directory = Some(by_name.0.path().to_owned());
        let attempts = |sources: &ConfigSources| Config::load(sources.clone()).unwrap().worker.max_attempts;
        assert_eq!(attempts(&sources), 11);
        sources.file = None;
        assert_eq!(attempts(&sources), 12);
        sources.env.clear();
        assert_eq!(attempts(&sources), 13);
        sources.directory = Some(by_name.0.path().join("elsewhere"));
        assert_eq!(attempts(&sources), 5);
    }

    #[test]
    fn a_named_file_that_is_missing_is_an_error() {
        let error = Config::load(ConfigSources { file: Some("/nowhere/x.toml".into()), ..sources(&[], &[]) })
            .unwrap_err();
        assert!(error.to_string().contains("file `/nowhere/x.toml`"), "{error}");
    }

    #[test]
    fn lists_in_variables_are_separated_by_commas() {
        let config = from_env(&[
            ("JIRA_AGENT__GITHUB__REVIEWERS", "dev1, dev2,"),
            ("JIRA_AGENT__WORKER__PROTECTED_PATHS", ""),
            ("JIRA_AGENT__ROUTES", "SHOP=https://github.com/acme/shop, https://github.com/acme/rest"),
        ]);
        assert_eq!(config.github.reviewers, ["dev1", "dev2"]);
        assert!(config.worker.protected_paths.is_empty());
        assert_eq!(config.routes[0].projects, ["SHOP"]);
        assert_eq!(config.routes[1].repo.to_string(), "https://github.com/acme/rest");
        assert!(config.routes[1].projects.is_empty());
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let config = from_env(&[
            ("JIRA_AGENT__JIRA__URL", ""),
            ("JIRA_URL", ""),
            ("JIRA_BASE_URL", "https://jira.example"),
        ]);
        assert_eq!(config.jira.url.unwrap().as_str(), "https://jira.example/");
    }

    #[test]
    fn variables_of_other_programs_are_left_alone() {
        from_env(&[
            ("JIRA_AGENT_SERVICE_HOST", "10.0.0.1"),
            ("JIRA_AGENT_PORT", "tcp://10.0.0.1"),
            ("HOME", "/root"),
        ]);
    }

    #[test]
    fn prices_can_be_spread_over_layers() {
        let config =
            from_file("[model.prices]\ninput = 3", &[("JIRA_AGENT__MODEL__PRICES__OUTPUT", "15.5")]).unwrap();
        let prices = config.model.prices.unwrap();
        assert_eq!((prices.input, prices.output, prices.cache_read), (3.0, 15.5, 0.0));
    }

    #[test]
    fn the_api_of_github_follows_from_its_site() {
        for (site, api) in [
            ("https://github.com", "https://api.github.com/"),
            ("https://git.acme.example:8443", "https://git.acme.example:8443/api/v3"),
            ("https://acme.ghe.com", "https://api.acme.ghe.com/"),
        ] {
            assert_eq!(from_env(&[("JIRA_AGENT__GITHUB__URL", site)]).github.api_url.as_str(), api);
        }
        let both = [
            ("JIRA_AGENT__GITHUB__URL", "https://git.acme.example"),
            ("GITHUB_API_URL", "http://127.0.0.1:9"),
        ];
        assert_eq!(from_env(&both).github.api_url.as_str(), "http://127.0.0.1:9/");
    }
}

mod usual_names {
    use super::*;

    #[test]
    fn are_accepted() {
        for (name, get) in [
            ("AMQP_URL", (|c| c.queue.url.expose().to_owned()) as fn(Config) -> String),
            ("RABBITMQ_URL", |c| c.queue.url.expose().to_owned()),
            ("JIRA_URL", |c| c.jira.url.unwrap().to_string()),
            ("JIRA_BASE_URL", |c| c.jira.url.unwrap().to_string()),
            ("JIRA_EMAIL", |c| c.jira.email),
            ("JIRA_TOKEN", |c| c.jira.token.expose().to_owned()),
            ("JIRA_API_TOKEN", |c| c.jira.token.expose().to_owned()),
            ("GIT_TOKEN", |c| c.github.token.expose().to_owned()),
            ("GITHUB_TOKEN", |c| c.github.token.expose().to_owned()),
            ("GITHUB_API_URL", |c| c.github.api_url.to_string()),
            ("JIRA_ASSIGNEE_AI_ACCOUNT_ID", |c| c.jira.agent_account_id.unwrap().to_string()),
            ("JIRA_REVIEWER_ACCOUNT_ID", |c| c.jira.reviewer_account_id.unwrap().to_string()),
            ("ANTHROPIC_API_KEY", |c| c.model.api_key.expose().to_owned()),
            ("ANTHROPIC_BASE_URL", |c| c.model.base_url.unwrap().to_string()),
            ("OPENAI_API_KEY", |c| c.model.api_key.expose().to_owned()),
            ("OLLAMA_HOST", |c| c.model.base_url.unwrap().to_string()),
        ] {
            assert_eq!(get(from_env(&[(name, "http://value/")])), "http://value/", "{name}");
        }
        let openai = [("OPENAI_BASE_URL", "http://value/"), ("OPENAI_API_KEY", "key")];
        assert_eq!(from_env(&openai).model.base_url.unwrap().as_str(), "http://value/");
    }

    #[test]
    fn lose_to_our_own_names() {
        let config = from_env(&[
            ("JIRA_TOKEN", "usual"),
            ("JIRA_API_TOKEN", "other"),
            ("JIRA_AGENT__JIRA__TOKEN", "own"),
        ]);
        assert_eq!(config.jira.token.expose(), "own");
    }

    #[test]
    fn of_one_key_must_agree() {
        from_env(&[("GIT_TOKEN", "same"), ("GITHUB_TOKEN", "same")]);
        let text = problems_of_env(&[("GIT_TOKEN", "s3cret-a"), ("GITHUB_TOKEN", "s3cret-b")]);
        assert!(text.contains("`GIT_TOKEN` and `GITHUB_TOKEN`") && !text.contains("s3cret"), "{text}");
    }

    #[test]
    fn of_a_vendor_choose_the_provider_when_only_one_is_there() {
        let provider = |env: &[(&str, &str)]| {
            let model = from_env(env).model;
            (model.provider, model.name, model.api_key.expose().to_owned())
        };
        let (anthropic, openai, ollama) =
            (("ANTHROPIC_API_KEY", "a-key"), ("OPENAI_API_KEY", "o-key"), ("OLLAMA_HOST", "gpu"));
        let expect = |provider, name: &str, key: &str| (provider, name.to_owned(), key.to_owned());
        assert_eq!(provider(&[openai]), expect(ModelProvider::Openai, "gpt-5.5", "o-key"));
        assert_eq!(provider(&[ollama]), expect(ModelProvider::Ollama, "qwen3-coder", ""));
        assert_eq!(
            provider(&[anthropic, openai]),
            expect(ModelProvider::Anthropic, "claude-sonnet-5-5", "a-key")
        );
        let explicit = ("JIRA_AGENT__MODEL__PROVIDER", "openai");
        assert_eq!(provider(&[anthropic, explicit]), expect(ModelProvider::Openai, "gpt-5.5", ""));
        let named = ("JIRA_AGENT__MODEL__NAME", "mine");
        assert_eq!(provider(&[openai, named]), expect(ModelProvider::Openai, "mine", "o-key"));
    }

    #[test]
    fn of_a_transport_count_when_it_is_in_use_and_choose_it_when_it_is_the_only_one() {
        let queue = |env: &[(&str, &str)]| {
            let queue = from_env(env).queue;
            (queue.kind, queue.url.expose().to_owned())
        };
        let (amqp, redis) = (("AMQP_URL", "amqp://broker"), ("REDIS_URL", "redis://store"));
        let kind = |word| ("JIRA_AGENT__QUEUE__KIND", word);
        let expect = |kind, url: &str| (kind, url.to_owned());
        assert_eq!(queue(&[redis]), expect(QueueKind::Redis, "redis://store"));
        assert_eq!(queue(&[amqp]), expect(QueueKind::Rabbitmq, "amqp://broker"));
        assert_eq!(queue(&[amqp, redis]), expect(QueueKind::Rabbitmq, "amqp://broker"));
        assert_eq!(queue(&[amqp, redis, kind("redis")]), expect(QueueKind::Redis, "redis://store"));
        assert_eq!(queue(&[amqp, redis, kind("sqlite")]), expect(QueueKind::Sqlite, ""));
        assert_eq!(queue(&[redis, kind("rabbitmq")]), expect(QueueKind::Rabbitmq, ""));
        assert_eq!(queue(&[]), expect(QueueKind::Rabbitmq, ""));
        let word = from_file("[queue]\nkind = 'rabbitmq'", &[redis]).unwrap().queue;
        assert_eq!((word.kind, word.url.expose()), (QueueKind::Rabbitmq, ""));
    }

    #[test]
    fn of_redis_make_one_address() {
        let url = |env: &[(&str, &str)]| from_env(env).queue.url.expose().to_owned();
        let (host, port) = (("REDIS_HOST", "redis-master"), ("REDIS_PORT", "6380"));
        let password = ("REDIS_PASSWORD", "p@s/s%41");
        assert_eq!(url(&[("REDIS_URL", "redis-master:6379")]), "redis://redis-master:6379");
        assert_eq!(url(&[host]), "redis://redis-master");
        assert_eq!(url(&[host, port]), "redis://redis-master:6380");
        assert_eq!(url(&[host, ("REDIS_PORT", "tcp://10.0.0.1:6379")]), "redis://redis-master");
        assert_eq!(url(&[host, password]), "redis://:p%40s%2Fs%2541@redis-master");
        assert_eq!(
            url(&[("REDIS_URL", "rediss://h:1/2"), host, port, password, ("REDIS_USERNAME", "agent")]),
            "rediss://agent:p%40s%2Fs%2541@h:1/2"
        );
        assert_eq!(url(&[("REDIS_URL", "redis://:own@h"), password]), "redis://:own@h");
        let own = ("JIRA_AGENT__QUEUE__URL", "redis://own-host/3");
        assert_eq!(
            url(&[("JIRA_AGENT__QUEUE__KIND", "redis"), own, password]),
            "redis://:p%40s%2Fs%2541@own-host/3"
        );
        let own_host = ("REDIS_HOST", "own-host");
        assert_eq!(url(&[own_host, own, password]), "redis://:p%40s%2Fs%2541@own-host/3");
        // A password is for the server that is named beside it, and for no other.
        for other in [("REDIS_URL", "x"), host, ("REDIS_URL", "own-host:6380")] {
            assert_eq!(url(&[other, own, password]), "redis://own-host/3", "{other:?}");
        }
        let kind = ("JIRA_AGENT__QUEUE__KIND", "redis");
        assert_eq!(url(&[kind, password]), "redis://:p%40s%2Fs%2541@127.0.0.1");
        assert_eq!(url(&[password, ("AMQP_URL", "amqp://broker")]), "amqp://broker");
        let secrets = from_env(&[host, password]).secrets();
        assert!(secrets.iter().any(|secret| secret.expose() == "p@s/s%41"));
    }

    #[test]
    fn of_redis_can_name_a_file_with_the_password() {
        let (_directory, path) = file("from a file\n");
        let config = from_env(&[("REDIS_HOST", "h"), ("REDIS_PASSWORD_FILE", &path.to_string_lossy())]);
        assert_eq!(config.queue.url.expose(), "redis://:from%20a%20file@h");
        config.check(Needs::Enqueue).unwrap();
        let config = from_env(&[("REDIS_HOST", "h"), ("REDIS_PASSWORD_FILE", "/nowhere")]);
        let text = config.check(Needs::Enqueue).unwrap_err().to_string();
        assert!(text.contains("REDIS_PASSWORD_FILE"), "{text}");
    }

    #[test]
    fn name_a_reviewer_that_the_configuration_names() {
        let text = "[jira]\nreviewer = 'Leigh'";
        let config = from_file(text, &[("JIRA_ASSIGNEE_LEIGH_ACCOUNT_ID", "id-1")]).unwrap();
        assert_eq!(config.jira.reviewer_account_id.clone().unwrap().as_str(), "id-1");
        assert!(config.check(Needs::Demo).is_ok());
        let text = from_file(text, &[]).unwrap().check(Needs::Demo).unwrap_err().to_string();
        assert!(text.contains("JIRA_ASSIGNEE_LEIGH_ACCOUNT_ID"), "{text}");
    }
}

mod secret_values {
    use super::*;

    #[test]
    fn can_be_in_files() {
        let (_directory, path) = file("s3cret-token\n");
        let path = path.to_string_lossy();
        for name in ["JIRA_TOKEN_FILE", "JIRA_API_TOKEN_FILE", "JIRA_AGENT__JIRA__TOKEN_FILE"] {
            assert_eq!(from_env(&[(name, &path)]).jira.token.expose(), "s3cret-token", "{name}");
        }
        let config = from_file(&format!("[github]\ntoken_file = '{path}'"), &[]).unwrap();
        assert_eq!(config.github.token.expose(), "s3cret-token");
        assert_eq!(from_env(&[("OPENAI_API_KEY_FILE", &path)]).model.provider, ModelProvider::Openai);
    }

    #[test]
    fn in_unreadable_or_empty_files_are_errors_that_name_variable_and_file() {
        let without_token: Vec<_> =
            WORKER.iter().copied().filter(|(name, _)| *name != "GITHUB_TOKEN").collect();
        let config = from_env(&[&without_token[..], &[("GIT_TOKEN_FILE", "/nowhere/token")]].concat());
        assert_eq!(broken(&config, Needs::Worker), ["github.token"]);
        let text = config.check(Needs::Worker).unwrap_err().to_string();
        assert!(
            text.contains("github.token")
                && text.contains("GIT_TOKEN_FILE")
                && text.contains("/nowhere/token"),
            "{text}"
        );
        let (_directory, path) = file("\n");
        let config = worker_with(&[("JIRA_AGENT__MODEL__API_KEY_FILE", &path.to_string_lossy())]);
        let text = config.check(Needs::Worker).unwrap_err().to_string();
        assert!(text.contains("is empty"), "{text}");
    }

    #[test]
    fn that_cannot_be_read_matter_only_to_those_who_use_them() {
        let config = from_env(&[
            ("JIRA_URL", "https://acme.atlassian.net"),
            ("JIRA_EMAIL", "agent@acme.example"),
            ("JIRA_TOKEN_FILE", "/nowhere/jira"),
            ("GITHUB_TOKEN_FILE", "/nowhere/github"),
            ("ANTHROPIC_API_KEY_FILE", "/nowhere/model"),
        ]);
        let on = |jira, github| Needs::Tickets { jira, github };
        assert_eq!(broken(&config, Needs::Enqueue), Vec::<String>::new());
        assert_eq!(broken(&config, Needs::Demo), Vec::<String>::new());
        assert_eq!(broken(&config, on(true, false)), ["jira.token"]);
        assert_eq!(broken(&config, on(false, true)), ["github.token"]);
        let worker = broken(&config, Needs::Worker);
        for field in ["jira.token", "github.token", "model.api_key"] {
            assert_eq!(worker.iter().filter(|name| *name == field).count(), 1, "{field}: {worker:?}");
        }
        let queue = from_env(&[("AMQP_URL_FILE", "/nowhere/queue")]);
        assert_eq!(broken(&queue, Needs::Enqueue), ["queue.url"]);
    }

    #[test]
    fn that_cannot_be_read_do_not_matter_where_a_later_layer_sets_them() {
        let text = "[github]\ntoken_file = '/nowhere/token'";
        let changes = [("GITHUB_TOKEN", "t0ken")];
        from_file(text, &changes).unwrap().check(Needs::Tickets { jira: false, github: true }).unwrap();
    }

    #[test]
    fn given_twice_in_one_place_are_a_conflict() {
        let (_directory, path) = file("s3cret-token\n");
        let path = path.to_string_lossy();
        for second in [&*path, "/nowhere"] {
            let text = format!("[github]\ntoken = 'other'\ntoken_file = '{second}'");
            let error = from_file(&text, &[]).unwrap_err().to_string();
            assert!(error.contains("`github.token` and `github.token_file` are both set"), "{error}");
            assert!(!error.contains("other"), "{error}");
        }
        let variables = [("JIRA_AGENT__GITHUB__TOKEN", "a"), ("JIRA_AGENT__GITHUB__TOKEN_FILE", &*path)];
        assert!(problems_of_env(&variables).contains("remove one of them"));
        let empty = from_file(&format!("[github]\ntoken = ''\ntoken_file = '{path}'"), &[]).unwrap();
        assert_eq!(empty.github.token.expose(), "s3cret-token");
    }

    #[test]
    fn are_all_given_to_redaction() {
        let config = worker_with(&[
            ("AMQP_URL", "amqp://user:p%40ss-queue@host/%2f"),
            ("JIRA_AGENT__QUEUE__MANAGEMENT_URL", "http://u:pass-management@host:15672"),
            ("JIRA_AGENT__HTTP__PROXY", "http://u:pass-proxy@proxy:3128"),
        ]);
        let secrets = config.secrets();
        let all: Vec<&str> = secrets.iter().map(crate::secret::Secret::expose).collect();
        for expected in [
            "jira-token",
            "github-token",
            "model-key",
            "p%40ss-queue",
            "p@ss-queue",
            "pass-management",
            "pass-proxy",
            "YWdlbnRAYWNtZS5leGFtcGxlOmppcmEtdG9rZW4=",
            "eC1hY2Nlc3MtdG9rZW46Z2l0aHViLXRva2Vu",
        ] {
            assert!(all.contains(&expected), "{expected} is missing in {all:?}");
        }
        let debug = format!("{config:?}");
        for secret in all {
            assert!(!debug.contains(secret), "Debug shows {secret}");
        }
    }

    #[test]
    fn are_never_in_an_error() {
        let mut env = WORKER.to_vec();
        env.extend([
            ("AMQP_URL", "p4ssw0rd-without-address"),
            ("JIRA_AGENT__HTTP__PROXY", "ftp://u:p4ssw0rd@proxy"),
            ("JIRA_AGENT__QUEUE__MANAGEMENT_URL", "p4ssw0rd"),
        ]);
        let config = from_env(&env);
        assert_eq!(broken(&config, Needs::Worker), ["queue.url", "queue.management_url", "http.proxy"]);
        assert!(!config.check(Needs::Worker).unwrap_err().to_string().contains("p4ssw0rd"));
        for text in [
            "[github]\ntoken = \"p4ssw0rd",
            "[github.token]\np4ss = 'p4ssw0rd'",
            "[github]\ntoken = ['p4ssw0rd']",
            "[jira]\nurl = 'http//u:p4ssw0rd@host'\n",
            "[jira]\nurl = 'x://u:p4ssw0rd@host:port'",
        ] {
            let error = from_file(text, &[]).unwrap_err().to_string();
            assert!(!error.contains("p4ssw0rd"), "{error}");
        }
    }
}

mod problems {
    use super::*;

    #[test]
    fn are_reported_all_at_once_with_key_source_value_and_expectation() {
        let text = "
[qeue]
url = 'x'
[worker]
run_deadline = 'soon'
max_atempts = 3
max_attempts = -1
[[routes]]
repo = 'https://github.com/acme/shop'
project = ['SHOP']
[[routes]]
repo = 'acme/shop'
mode = 'fast'
[[routes]]
labels = ['x']
";
        let env = [
            ("JIRA_AGENT__MODEL__PROVIDER", "claude"),
            ("JIRA_AGENT__QUEUE__DECLARE", "perhaps"),
            ("JIRA_AGENT__JIRA__TOKN", "x"),
            ("JIRA_AGENT__JIRA__URL", "not an address"),
        ];
        let (_directory, path) = file(text);
        let sources = ConfigSources { file: Some(path.clone()), ..sources(&env, &[("log.fromat", "json")]) };
        let error =
            Config::load(sources).unwrap_err().to_string().replace(&*path.to_string_lossy(), "x.toml");
        insta::assert_snapshot!(error, @r#"
        the configuration has 13 problems:
          jira.tokn (environment variable `JIRA_AGENT__JIRA__TOKN`): there is no such setting; did you mean `JIRA_AGENT__JIRA__TOKEN`? config.default.toml lists all settings
          jira.url (environment variable `JIRA_AGENT__JIRA__URL`): relative URL without a base: "not an address"; config.default.toml describes it
          log.fromat (flag): there is no such setting; did you mean `log.format`? config.default.toml lists all settings
          model.provider (environment variable `JIRA_AGENT__MODEL__PROVIDER`): `claude` is not one of anthropic, openai, ollama; config.default.toml describes it
          qeue.url (file `x.toml`): there is no such setting; did you mean `queue.url`? config.default.toml lists all settings
          queue.declare (environment variable `JIRA_AGENT__QUEUE__DECLARE`): expected a boolean, not string "perhaps"; config.default.toml describes it
          routes[0].project (file `x.toml`): there is no such setting; did you mean `projects`? config.default.toml lists all settings
          routes[1].mode (file `x.toml`): `fast` is not one of quickfix, plan; config.default.toml describes it
          routes[1].repo (file `x.toml`): `the given address` cannot be used as a repository: it is not an address; write it as https://github.com/acme/shop; config.default.toml describes it
          routes[2] (file `x.toml`): `repo` is missing; config.default.toml describes it
          worker.max_atempts (file `x.toml`): there is no such setting; did you mean `worker.max_attempts`? config.default.toml lists all settings
          worker.max_attempts (file `x.toml`): expected an unsigned 64 bit or less integer, not 64-bit integer `-1`; config.default.toml describes it
          worker.run_deadline (file `x.toml`): `soon` is not a duration; write e.g. 30s, 25m or 1h 30m; config.default.toml describes it
        "#);
    }

    #[test]
    fn of_a_combination_are_reported_too() {
        let text = from_file("[model.prices]\ninput = 3", &[]).unwrap_err().to_string();
        assert!(text.contains("model.prices") && text.contains("output"), "{text}");
        let text = problems_of_env(&[("JIRA_AGENT__ROUTES", "SHOP")]);
        assert!(text.contains("routes") && text.contains("https://github.com/acme/shop"), "{text}");
    }
}

mod rules {
    use super::*;

    #[test]
    fn a_complete_worker_passes() {
        worker_with(&[]).check(Needs::Worker).unwrap();
        let ollama = [("JIRA_AGENT__MODEL__PROVIDER", "ollama")];
        worker_with(&ollama).check(Needs::Worker).unwrap();
    }

    #[test]
    fn the_deadline_stays_below_the_brokers_limit() {
        let config = worker_with(&[("JIRA_AGENT__WORKER__RUN_DEADLINE", "30m")]);
        let text = config.check(Needs::Worker).unwrap_err().to_string();
        assert!(
            text.contains("JIRA_AGENT__WORKER__RUN_DEADLINE") && text.contains("queue.consumer_timeout"),
            "{text}"
        );
        assert!(config.check(Needs::Ticket).is_ok(), "without a queue there is no such limit");
        let raised =
            [("JIRA_AGENT__WORKER__RUN_DEADLINE", "30m"), ("JIRA_AGENT__QUEUE__CONSUMER_TIMEOUT", "32m")];
        worker_with(&raised).check(Needs::Worker).unwrap();
    }

    #[test]
    fn each_broken_value_is_named() {
        for (variable, value, field) in [
            ("JIRA_AGENT__QUEUE__HEARTBEAT", "4s", "queue.heartbeat"),
            ("JIRA_AGENT__QUEUE__HEARTBEAT", "10500ms", "queue.heartbeat"),
            ("JIRA_AGENT__QUEUE__TIMEOUT", "0s", "queue.timeout"),
            ("JIRA_AGENT__QUEUE__URL", "http://host", "queue.url"),
            ("JIRA_AGENT__QUEUE__CA_FILE", "/nowhere", "queue.ca_file"),
            ("JIRA_AGENT__HTTP__CA_FILE", "/tmp", "http.ca_file"),
            ("JIRA_AGENT__HTTP__TIMEOUT", "0s", "http.timeout"),
            ("JIRA_AGENT__WORKER__LISTEN", "19464", "worker.listen"),
            ("JIRA_AGENT__WORKER__LISTEN", ":9464", "worker.listen"),
            ("JIRA_AGENT__WORKER__DRAIN_TIMEOUT", "500ms", "worker.drain_timeout"),
            ("JIRA_AGENT__WORKER__MAX_ATTEMPTS", "0", "worker.max_attempts"),
            ("JIRA_AGENT__WORKER__DEFAULT_MODE", "revise", "worker.default_mode"),
            ("JIRA_AGENT__WORKER__PLAN_LABELS", "quickfix", "worker.plan_labels"),
            ("JIRA_AGENT__WORKER__PROTECTED_PATHS", "a[b", "worker.protected_paths"),
            ("JIRA_AGENT__GIT__JIRA_BRANCH", "ai/agent", "git.jira_branch"),
            ("JIRA_AGENT__GIT__GITHUB_BRANCH", "a b{number}", "git.github_branch"),
            ("JIRA_AGENT__GIT__AUTHOR_EMAIL", "nobody", "git.author_email"),
            ("JIRA_AGENT__JIRA__API_URL", "ftp://host", "jira.api_url"),
            ("JIRA_AGENT__JIRA__TRIGGER_LABEL", "two words", "jira.trigger_label"),
            ("GITHUB_API_URL", "https://user:password@host", "github.api_url"),
            ("JIRA_AGENT__GITHUB__URL", "https://github.com?x=1", "github.url"),
            ("ANTHROPIC_BASE_URL", "file:///etc", "model.base_url"),
            ("JIRA_AGENT__MODEL__NAME", " ", "model.name"),
            ("JIRA_AGENT__MODEL__MAX_OUTPUT_TOKENS", "0", "model.max_output_tokens"),
            ("JIRA_AGENT__LOG__FILTER", "jira_agent=loud", "log.filter"),
            ("JIRA_AGENT__ROUTES", "shop=https://github.com/acme/shop", "routes"),
            ("JIRA_AGENT__ROUTES", "https://gitlab.example/acme/shop", "routes"),
        ] {
            assert_eq!(
                broken(&worker_with(&[(variable, value)]), Needs::Worker),
                [field],
                "{variable}={value}"
            );
        }
        let prices = [("JIRA_AGENT__MODEL__PRICES__INPUT", "-1"), ("JIRA_AGENT__MODEL__PRICES__OUTPUT", "1")];
        assert_eq!(broken(&worker_with(&prices), Needs::Demo), ["model.prices.input"]);
    }

    #[test]
    fn jira_is_whole_or_absent_unless_a_route_asks_for_it() {
        let github_only = [
            ("GITHUB_TOKEN", "github-token"),
            ("ANTHROPIC_API_KEY", "model-key"),
            ("JIRA_AGENT__ROUTES", "https://github.com/acme/shop"),
        ];
        from_env(&github_only).check(Needs::Worker).unwrap();
        let half = [&github_only[..], &[("JIRA_URL", "https://acme.atlassian.net")]].concat();
        assert_eq!(broken(&from_env(&half), Needs::Worker), ["jira.email", "jira.token"]);
        let asked =
            [&github_only[..2], &[("JIRA_AGENT__ROUTES", "SHOP=https://github.com/acme/shop")]].concat();
        assert_eq!(broken(&from_env(&asked), Needs::Worker), ["jira.url", "jira.email", "jira.token"]);
    }

    #[test]
    fn enqueue_needs_the_queue_and_nothing_else() {
        let elsewhere = [("JIRA_AGENT__WORKER__MAX_ATTEMPTS", "0"), ("JIRA_AGENT__GIT__JIRA_BRANCH", "x")];
        from_env(&elsewhere).check(Needs::Enqueue).unwrap();
        from_env(&elsewhere).check(Needs::Tickets { jira: false, github: false }).unwrap();
        assert_eq!(broken(&from_env(&[("AMQP_URL", "host:5672")]), Needs::Enqueue), ["queue.url"]);
    }
}
