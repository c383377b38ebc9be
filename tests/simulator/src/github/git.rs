//! A bare repository, read and written with git's plumbing commands in a clean environment.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

/// 2026-01-01T00:00:00Z. Each commit that is made here is one minute after the one before, so that ids repeat from run to run.
const FIRST_COMMIT_SECONDS: i64 = 1_767_225_600;

const HOOKS: [(&str, &str); 3] = [
    ("pre-receive", include_str!("hooks/pre-receive.sh")),
    ("proc-receive", include_str!("hooks/proc-receive.sh")),
    ("reference-transaction", include_str!("hooks/reference-transaction.sh")),
];

/// A bare repository.
#[derive(Clone)]
pub(super) struct Git {
    directory: PathBuf,
    /// Where files are written while something is merged; there is no other tree.
    work_tree: Option<PathBuf>,
}

/// A file to be committed.
pub(super) struct File {
    /// `100644`, `100755` or `120000`.
    pub mode: &'static str,
    /// With `/`, relative to the top.
    pub path: String,
    /// The content, or where a link points.
    pub content: Vec<u8>,
}

impl File {
    /// An ordinary file.
    pub fn text(path: &str, content: &[u8]) -> Self {
        Self { mode: "100644", path: path.to_owned(), content: content.to_owned() }
    }
}

impl Git {
    /// Makes an empty repository with the hooks that decide about pushes.
    pub fn init(directory: PathBuf, branch: &str) -> Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let git = Self { directory, work_tree: None };
        git.run(
            &["init", "--quiet", "--bare", "--template=", &format!("--initial-branch={branch}"), "."],
            b"",
        )?;
        for (name, value) in [
            ("receive.procReceiveRefs", "refs/heads"),
            ("receive.hideRefs", "refs/pull"),
            ("uploadpack.allowAnySHA1InWant", "true"),
            ("uploadpack.allowFilter", "true"),
            ("core.logAllRefUpdates", "false"),
            ("gc.auto", "0"),
            ("receive.autogc", "false"),
        ] {
            git.configure(name, value)?;
        }
        let hooks = git.directory.join("hooks");
        std::fs::create_dir_all(&hooks)?;
        for (name, script) in HOOKS {
            write_executable(&hooks.join(name), script)?;
        }
        Ok(git)
    }

    /// The same repository with a folder to merge in, which also gets the index.
    pub fn with_work_tree(&self, folder: &Path) -> Self {
        Self { directory: self.directory.clone(), work_tree: Some(folder.to_owned()) }
    }

    /// Where the repository lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sets one value of the repository's configuration.
    pub fn configure(&self, name: &str, value: &str) -> Result<()> {
        self.run(&["config", name, value], b"").map(drop)
    }

    /// The branches and their tips.
    pub fn branches(&self) -> BTreeMap<String, String> {
        let listed = self.text(&["for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads"]);
        listed
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, name)| (name.into(), id.into()))
            .collect()
    }

    /// All refs and what they point at.
    pub fn refs(&self) -> BTreeMap<String, String> {
        let listed = self.text(&["for-each-ref", "--format=%(objectname) %(refname)"]);
        listed
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(id, name)| (name.into(), id.into()))
            .collect()
    }

    /// The commit that a full ref name or an id stands for.
    pub fn commit_id(&self, revision: &str) -> Option<String> {
        let asked = format!("{revision}^{{commit}}");
        Some(
            self.text(&["rev-parse", "--verify", "--quiet", "--end-of-options", &asked])
                .ok()?
                .trim()
                .to_owned(),
        )
    }

    /// The tip of a branch.
    pub fn tip(&self, branch: &str) -> Option<String> {
        self.commit_id(&format!("refs/heads/{branch}"))
    }

    /// Points a ref at a commit, whatever it pointed at before. A failure shows in what is read next.
    pub fn set_ref(&self, name: &str, id: &str) {
        if let Err(error) = self.run(&["update-ref", name, id], b"") {
            tracing::warn!("ref {name} not set: {error:#}");
        }
    }

    /// Removes a ref.
    pub fn delete_ref(&self, name: &str) -> Result<()> {
        self.run(&["update-ref", "-d", name], b"").map(drop)
    }

    /// Commits files on a branch, on top of `parent`, and gives the new tip. With the same content and history the id is the same.
    pub fn commit(
        &self,
        branch: &str,
        parent: Option<&str>,
        message: &str,
        files: &[File],
    ) -> Result<String> {
        let count: i64 = match parent {
            Some(parent) => self.text(&["rev-list", "--count", parent])?.trim().parse()?,
            None => 0,
        };
        let seconds = FIRST_COMMIT_SECONDS + 60 * count;
        let mut stream = format!(
            "commit refs/heads/{branch}\ncommitter Dana Developer <dana@example.com> {seconds} +0000\ndata {}\n{message}\n",
            message.len()
        )
        .into_bytes();
        if let Some(parent) = parent {
            writeln!(stream, "from {parent}")?;
        }
        for file in files {
            ensure!(
                !file.path.starts_with('"') && !file.path.contains('\n'),
                "the path {:?} is not supported",
                file.path
            );
            writeln!(stream, "M {} inline {}\ndata {}", file.mode, file.path, file.content.len())?;
            stream.extend_from_slice(&file.content);
            stream.push(b'\n');
        }
        self.run(&["fast-import", "--quiet", "--date-format=raw"], &stream)?;
        self.tip(branch).with_context(|| format!("branch {branch} is missing after a commit on it"))
    }

    /// Merges `head` into the branch `base` and gives the merge commit.
    pub fn merge(&self, base: &str, head: &str, message: &str) -> Result<String> {
        let tip = self.tip(base).with_context(|| format!("there is no branch {base}"))?;
        let tree = self.merged_tree(&tip, head)?.context("the branches conflict")?;
        let commit =
            self.text(&["commit-tree", &tree, "-p", &tip, "-p", head, "-m", message])?.trim().to_owned();
        self.run(&["update-ref", &format!("refs/heads/{base}"), &commit, &tip], b"")?;
        Ok(commit)
    }

    /// Disk use in KiB, which is what the API's `size` counts.
    pub fn size_kib(&self) -> u64 {
        let counted = self.text(&["count-objects", "-v"]).unwrap_or_default();
        let of = |name: &str| -> u64 {
            let value = counted.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
        };
        of("size:") + of("size-pack:")
    }

    /// Runs a command whose output is text.
    pub fn text(&self, arguments: &[&str]) -> Result<String> {
        Ok(String::from_utf8_lossy(&self.run(arguments, b"")?).into_owned())
    }

    pub(super) fn run(&self, arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
        let output = self.output(arguments, input)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "git {} ended with {}: {}",
            arguments.join(" "),
            output.status,
            errors.trim()
        );
        Ok(output.stdout)
    }

    pub(super) fn output(&self, arguments: &[&str], input: &[u8]) -> Result<Output> {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .env_clear()
            .envs(environment(&self.directory))
            .env("GIT_DIR", &self.directory)
            .current_dir(self.work_tree.as_ref().unwrap_or(&self.directory));
        if let Some(folder) = &self.work_tree {
            command.env("GIT_WORK_TREE", folder).env("GIT_INDEX_FILE", folder.join(".git-index"));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("git cannot be started; is it installed and on PATH?")?;
        let mut stdin = child.stdin.take().context("git has no standard input")?;
        // Commands that print much read nothing and the other way round, so that neither side waits for the other.
        let written = stdin.write_all(input);
        drop(stdin);
        let output = child.wait_with_output()?;
        written.ok();
        Ok(output)
    }
}

/// The variables that git gets: nothing of the machine's or the user's settings.
pub(super) fn environment(home: &Path) -> Vec<(&'static str, std::ffi::OsString)> {
    let mut variables = vec![
        ("HOME", home.as_os_str().to_owned()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ("GIT_TERMINAL_PROMPT", "0".into()),
        ("LC_ALL", "C".into()),
        ("GIT_AUTHOR_NAME", "Dana Developer".into()),
        ("GIT_AUTHOR_EMAIL", "dana@example.com".into()),
        ("GIT_COMMITTER_NAME", "Dana Developer".into()),
        ("GIT_COMMITTER_EMAIL", "dana@example.com".into()),
    ];
    variables.extend(["PATH", "TMPDIR"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    variables
}

fn write_executable(path: &Path, script: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, script)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}
