//! Imports point down only. The layers are the tables below; a module that is in none of them is an error too.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use regex::Regex;

/// A crate of this workspace: its name in paths, its folder, its layers from the bottom, and what it may import.
struct Crate {
    name: &'static str,
    folder: &'static str,
    /// Modules of one row do not import each other.
    layers: &'static [&'static [&'static str]],
    below: &'static [&'static str],
}

const CRATES: &[Crate] = &[
    Crate {
        name: "jira_agent",
        folder: "src",
        layers: &[
            &["domain"],
            &["secret"],
            &["redact"],
            &["config"],
            &["output", "retry", "routing", "shutdown", "status", "telemetry", "tls"],
            &["http", "progress"],
            &["lenient", "rest", "sticky"],
            &["testing"],
            &["queue", "jira", "github"],
            &["exit", "tickets"],
            &["doctor", "fuzzing", "program"],
            &["lib"],
        ],
        below: &[],
    },
    Crate {
        name: "jira_agent_worker",
        folder: "worker/src",
        layers: &[
            &["breaker", "crash", "marks", "tree", "workspace_dir"],
            &["git", "edit", "model", "sandbox", "search", "syntax"],
            &["prompt"],
            &["text"],
            &["failure", "snapshot_source"],
            &["run_log"],
            &["metrics"],
            &["services", "products"],
            &["world"],
            &["probe", "recall"],
            &["steps"],
            &["stage", "step_note"],
            &["pipeline"],
            &["consumer"],
            &["cli"],
            &["offline"],
            &["app"],
            &["lib", "main"],
        ],
        below: &["jira_agent"],
    },
    Crate {
        name: "jira_agent_producer",
        folder: "producer/src",
        layers: &[
            &["announce", "cli", "keys"],
            &["dead_letters", "enqueue", "runs", "topology"],
            &["app"],
            &["lib", "main"],
        ],
        below: &["jira_agent"],
    },
    Crate {
        name: "jira_agent_standalone",
        folder: "standalone/src",
        layers: &[&["cli"], &["settings"], &["demo", "run", "up"], &["lib", "main"]],
        below: &["jira_agent", "jira_agent_worker", "jira_agent_producer", "jira_agent_simulator"],
    },
];

/// Folders whose files do not import each other.
const APART: &[&str] = &["worker/src/steps"];

/// Crates from outside (as in a path, a pattern) and the only places that may name them.
const KEPT: &[(&str, &[&str])] = &[
    ("lapin", &["src/queue/rabbitmq"]),
    ("sqlx", &["src/queue/sqlite"]),
    // A module of the same name is declared in src/queue/mod.rs.
    ("redis", &["src/queue/redis", "src/queue/mod.rs"]),
    ("git2", &["worker/src/git"]),
    (r"tree_sitter\w*", &["worker/src/syntax"]),
    ("backoff", &["src/retry.rs"]),
    ("tracing_subscriber", &["src/telemetry.rs", "src/config/validate.rs"]),
    (
        "reqwest",
        &[
            "src/http",
            "src/tls.rs",
            "src/retry.rs",
            "src/rest.rs",
            "src/testing.rs",
            "src/doctor",
            "src/jira",
            "src/github",
            "src/queue/rabbitmq",
            "worker/src/model",
            "worker/src/git",
            "worker/src/failure.rs",
        ],
    ),
];

struct Source {
    /// From the workspace's root, with `/`.
    path: String,
    text: String,
}

#[test]
fn imports_point_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<Source> = CRATES.iter().flat_map(|one| sources_in(root, one.folder)).collect();
    assert!(sources.iter().any(|source| source.path == "src/config/load.rs"), "the sources were not found");
    let violations = violations(&sources);
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn sources_in(root: &Path, folder: &str) -> Vec<Source> {
    let mut pending: Vec<PathBuf> = vec![root.join(folder)];
    let mut sources = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            sources.push(Source { path: name, text: fs::read_to_string(&path).unwrap() });
        }
    }
    sources
}

/// Every rule that is broken, as `file:line: what`.
fn violations(sources: &[Source]) -> Vec<String> {
    let mut all: Vec<String> = sources.iter().flat_map(|source| violations_in(source, sources)).collect();
    all.sort();
    all.dedup();
    all
}

fn violations_in(source: &Source, sources: &[Source]) -> Vec<String> {
    let Some(home) = CRATES.iter().find(|one| source.path.starts_with(&format!("{}/", one.folder))) else {
        return vec![format!("{}: is in no crate of the table", source.path)];
    };
    let module = module_path(home, &source.path).remove(0);
    let Some(rank) = rank(home, &module) else {
        return vec![format!(
            "{}:1: module `{module}` is in no layer; add it to tests/layering.rs",
            source.path
        )];
    };
    let code = without_comments(&source.text);
    let mut found = Vec::new();
    for import in imports(home, &source.path, &code) {
        let what = if import.of == home.name {
            within(home, &module, rank, &import)
        } else if home.below.contains(&import.of) {
            None
        } else {
            Some(format!("`{}` may not import `{}`", home.name, import.of))
        };
        let what = what.or_else(|| between_siblings(source, &import, home, sources));
        found.extend(what.map(|what| (import.at, what)));
    }
    for (name, places) in KEPT {
        if !places.iter().any(|place| source.path.starts_with(place)) {
            let pattern = Regex::new(&format!(r"(?:^|[^:\w]){name}(?:::|;|\s+as\s)")).unwrap();
            let what = format!("only {} may use `{name}`", places.join(", "));
            found.extend(pattern.find_iter(&code).map(|hit| (hit.end(), what.clone())));
        }
    }
    if !source.path.starts_with("src/config/") {
        let pattern = Regex::new(r"(?m)^\s*use config(?:::|;)|[^:\w]config::Config::builder").unwrap();
        let what = "only src/config may use the `config` crate".to_owned();
        found.extend(pattern.find_iter(&code).map(|hit| (hit.end(), what.clone())));
    }
    let line = |at: usize| code[..at].matches('\n').count() + 1;
    found.into_iter().map(|(at, what)| format!("{}:{}: {what}", source.path, line(at))).collect()
}

/// An import of a module of the same crate: down is fine, and so is the module itself.
fn within(home: &Crate, module: &str, own: usize, import: &Import) -> Option<String> {
    let to = import.path.first()?;
    if to == module || to.starts_with(char::is_uppercase) {
        return None;
    }
    match rank(home, to) {
        None => Some(format!("`{to}` is in no layer; add it to tests/layering.rs")),
        Some(other) if other > own => Some(format!("`{module}` imports up: `{to}`")),
        Some(other) if other == own => Some(format!("`{module}` imports sideways: `{to}`")),
        Some(_) => None,
    }
}

fn between_siblings(source: &Source, import: &Import, home: &Crate, sources: &[Source]) -> Option<String> {
    let folder = APART.iter().find(|folder| source.path.starts_with(&format!("{folder}/")))?;
    let stem = |path: &str| {
        path.strip_prefix(&format!("{folder}/")).map(|rest| first(rest).trim_end_matches(".rs").to_owned())
    };
    let (own, [parent, to, ..]) = (stem(&source.path)?, import.path.as_slice()) else {
        return None;
    };
    let is_sibling = sources.iter().any(|other| stem(&other.path).as_ref() == Some(to));
    let same_folder = import.of == home.name && folder.ends_with(&format!("/{parent}"));
    let apart = own != "mod" && *to != own && to != "mod";
    (same_folder && is_sibling && apart).then(|| format!("`{own}` imports its neighbour `{to}`"))
}

fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn rank(home: &Crate, module: &str) -> Option<usize> {
    home.layers.iter().position(|row| row.contains(&module))
}

/// The modules from the crate's root to a file: `worker/src/steps/clone.rs` is `steps`, `clone`.
fn module_path(home: &Crate, path: &str) -> Vec<String> {
    let inside = path.trim_start_matches(home.folder).trim_start_matches('/').trim_end_matches(".rs");
    let names: Vec<String> = inside.split('/').map(str::to_owned).collect();
    match names.split_last() {
        Some((last, before)) if last == "mod" && !before.is_empty() => before.to_vec(),
        _ => names,
    }
}

/// A path into a crate of this workspace.
struct Import {
    of: &'static str,
    path: Vec<String>,
    at: usize,
}

/// All such paths in a file, in `use` and elsewhere, groups taken apart.
fn imports(home: &Crate, path: &str, code: &str) -> Vec<Import> {
    let names: Vec<&str> = CRATES.iter().map(|one| one.name).chain(["jira_agent_simulator"]).collect();
    let absolute = Regex::new(&format!(r"(?:^|[^:\w])(crate|{})::", names.join("|"))).unwrap();
    let mut imports = Vec::new();
    for hit in absolute.captures_iter(code) {
        let of = match &hit[1] {
            "crate" => home.name,
            name => names.iter().copied().find(|known| *known == name).unwrap(),
        };
        let at = hit.get(0).unwrap().end();
        imports.extend(spread(&code[at..]).into_iter().map(|path| Import { of, path, at }));
    }
    // At the start of a line `super` is seen from the file's own module; further in it may be a test module's.
    let relative = Regex::new(r"(?m)^(?:pub(?:\([a-z]+\))? )?use ((?:super::)+)").unwrap();
    for hit in relative.captures_iter(code) {
        let ups = hit[1].matches("super").count();
        let mut base = module_path(home, path);
        base.truncate(base.len().saturating_sub(ups));
        let at = hit.get(0).unwrap().end();
        let rests = spread(&code[at..]).into_iter();
        imports.extend(rests.map(|rest| Import { of: home.name, path: [base.clone(), rest].concat(), at }));
    }
    imports
}

/// The paths that a piece of code begins with: `a::b` is one, `{a::b, c::{d, e}}` are three.
fn spread(code: &str) -> Vec<Vec<String>> {
    let Some(group) = code.strip_prefix('{') else {
        let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
        let name = code[..end].to_owned();
        return match code[end..].strip_prefix("::") {
            Some(rest) if rest.starts_with(|c: char| c == '{' || c.is_alphabetic() || c == '_') => {
                spread(rest).into_iter().map(|rest| [vec![name.clone()], rest].concat()).collect()
            }
            _ => vec![vec![name]],
        };
    };
    let parts = parts_of_group(group);
    parts
        .into_iter()
        .map(|part| group[part].trim())
        .filter(|part| !part.is_empty())
        .flat_map(spread)
        .collect()
}

/// Where the parts of `a, b::{c, d}} …` are, up to the brace that closes the group.
fn parts_of_group(group: &str) -> Vec<Range<usize>> {
    let (mut depth, mut start, mut parts) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(start..at);
                return parts;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

/// The code with comments blanked, so that lines keep their numbers.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn planted(files: &[(&str, &str)]) -> Vec<String> {
    let source = |(path, text): &(&str, &str)| Source { path: (*path).to_owned(), text: (*text).to_owned() };
    violations(&files.iter().map(source).collect::<Vec<_>>())
}

#[test]
fn an_import_that_points_up_is_found() {
    let text =
        "//! Doc.\nuse crate::config::Config;\n\nuse crate::{secret::Secret,\n    queue::{Task, Other}};\n";
    assert_eq!(
        planted(&[("src/redact.rs", text)]),
        ["src/redact.rs:2: `redact` imports up: `config`", "src/redact.rs:4: `redact` imports up: `queue`",]
    );
    let inline = "fn f() { crate::steps::clone::run() }";
    assert_eq!(
        planted(&[("worker/src/git/mod.rs", inline)]),
        ["worker/src/git/mod.rs:1: `git` imports up: `steps`"]
    );
}

#[test]
fn an_import_that_points_sideways_is_found() {
    assert_eq!(
        planted(&[("src/jira/wire.rs", "use crate::github::Issue;")]),
        ["src/jira/wire.rs:1: `jira` imports sideways: `github`"]
    );
    assert_eq!(
        planted(&[("src/jira/wire.rs", "use super::super::github::Issue;\nuse super::client::Jira;")]),
        ["src/jira/wire.rs:1: `jira` imports sideways: `github`"]
    );
}

#[test]
fn an_import_that_points_down_or_inside_is_fine() {
    let text = "use crate::domain::Task;\nuse super::client::Jira;\n// use crate::github::Issue;\n\
        mod tests {\n    use super::*;\n    use crate::jira::x;\n}\n";
    assert_eq!(planted(&[("src/jira/wire.rs", text)]), Vec::<String>::new());
    let text = "use jira_agent::queue::{self, Delivery};\nuse crate::pipeline;\nuse crate::steps::clone;";
    assert_eq!(planted(&[("worker/src/consumer.rs", text)]), Vec::<String>::new());
}

#[test]
fn worker_and_producer_stay_apart_and_the_shared_library_knows_neither() {
    let found = planted(&[
        ("worker/src/app.rs", "use jira_agent_producer::enqueue;"),
        ("producer/src/app.rs", "use jira_agent_worker::pipeline;"),
        ("src/http.rs", "use jira_agent_worker::model;"),
        ("standalone/src/demo.rs", "use jira_agent_worker::app::App;"),
    ]);
    assert_eq!(
        found,
        [
            "producer/src/app.rs:1: `jira_agent_producer` may not import `jira_agent_worker`",
            "src/http.rs:1: `jira_agent` may not import `jira_agent_worker`",
            "worker/src/app.rs:1: `jira_agent_worker` may not import `jira_agent_producer`",
        ]
    );
}

#[test]
fn a_step_that_imports_another_is_found() {
    let found = planted(&[
        ("worker/src/steps/mod.rs", "use clone::Workspace;"),
        ("worker/src/steps/clone.rs", "use super::Product;\nuse super::push::Pushed;"),
        ("worker/src/steps/push.rs", "use crate::git::Git;\nuse crate::steps::clone::Workspace;"),
    ]);
    assert_eq!(
        found,
        [
            "worker/src/steps/clone.rs:2: `clone` imports its neighbour `push`",
            "worker/src/steps/push.rs:2: `push` imports its neighbour `clone`",
        ]
    );
}

#[test]
fn a_module_without_a_layer_is_found() {
    assert_eq!(
        planted(&[("worker/src/utils.rs", "")]),
        ["worker/src/utils.rs:1: module `utils` is in no layer; add it to tests/layering.rs"]
    );
    assert_eq!(
        planted(&[("src/http.rs", "use crate::utils::x;")]),
        ["src/http.rs:1: `utils` is in no layer; add it to tests/layering.rs"]
    );
}

#[test]
fn a_crate_outside_its_place_is_found() {
    let found = planted(&[
        ("src/queue/rabbitmq/topology.rs", "use lapin::Channel;"),
        ("src/queue/mod.rs", "use lapin::Channel;"),
        ("worker/src/steps/push.rs", "fn f(r: &git2::Repository) {}"),
        ("worker/src/edit/mod.rs", "use tree_sitter_rust;"),
        ("src/http.rs", "use config::Config;"),
        ("src/telemetry.rs", "use crate::config::{LogConfig};"),
    ]);
    assert_eq!(
        found,
        [
            "src/http.rs:1: only src/config may use the `config` crate",
            "src/queue/mod.rs:1: only src/queue/rabbitmq may use `lapin`",
            r"worker/src/edit/mod.rs:1: only worker/src/syntax may use `tree_sitter\w*`",
            "worker/src/steps/push.rs:1: only worker/src/git may use `git2`",
        ]
    );
}
