//! Edit: the model writes a patch until it applies, in memory.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use jira_agent::domain::{CommitId, Outcome};
use tokio_util::sync::CancellationToken;

use crate::edit::{self, EditBlock, Passage, Patch, PathRules, Rejection};
use crate::failure::Permanent;
use crate::model::{Message, Reply, Request, Stop, Usage};
use crate::products::{AppliedPatch, CheckReport, Claimed, Next, TaskContext, Workspace};
use crate::prompt::{self, ReplyKind};
use crate::services::Services;
use crate::snapshot_source::SnapshotSource;

/// Has the model write a patch for the ticket.
///
/// # Errors
/// When the model or the repository cannot be reached.
pub async fn write(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    context: &TaskContext,
    cancel: &CancellationToken,
) -> anyhow::Result<Next<AppliedPatch>> {
    let first = first_request(services, claimed, context);
    let desk = Desk::new(services, workspace, context)?;
    let (usage, draft) = (Usage::default(), Draft::Nothing);
    Talk { services, desk, request: first, usage, draft, said: None }.run(cancel).await
}

/// Has the model mend a patch that a check has refused.
///
/// # Errors
/// As [`write()`].
pub async fn correct(
    services: &Services,
    claimed: &Claimed,
    workspace: &Workspace,
    context: &TaskContext,
    failed: (AppliedPatch, &CheckReport),
    cancel: &CancellationToken,
) -> anyhow::Result<Next<AppliedPatch>> {
    let (applied, report) = failed;
    let mut request = first_request(services, claimed, context);
    request.messages = applied.conversation;
    let errors = services.redactor.redact(&report.errors.join("\n")).into_owned();
    request.messages.push(prompt::correction_message(&errors));
    let desk = Desk::new(services, workspace, context)?;
    let draft = Draft::Patch(Box::new(applied.patch));
    let said = Some(Written { summary: applied.summary, explanation: applied.explanation });
    Talk { services, desk, request, usage: applied.usage, draft, said }.run(cancel).await
}

fn first_request(services: &Services, claimed: &Claimed, context: &TaskContext) -> Request {
    let rendered = services.redactor.redact(&context.context.render()).into_owned();
    let ticket = services.redact_ticket(&claimed.ticket);
    prompt::edit_request(&services.prompt_input(&ticket, &rendered))
}

/// What a reply is applied to.
#[derive(Clone)]
struct Desk {
    git_dir: PathBuf,
    start: CommitId,
    shown: Arc<std::collections::BTreeSet<String>>,
    rules: Arc<PathRules>,
}

impl Desk {
    fn new(services: &Services, workspace: &Workspace, context: &TaskContext) -> anyhow::Result<Self> {
        let rules = PathRules::new(&services.config.worker.protected_paths, workspace.lfs.clone())
            .map_err(|error| Permanent(format!("worker.protected_paths: {error}")))?;
        Ok(Self {
            git_dir: workspace.dir.git_dir(),
            start: workspace.start.clone(),
            shown: Arc::new(context.shown.clone()),
            rules: Arc::new(rules),
        })
    }

    /// Applies blocks to a draft, off the runtime: it reads the repository's objects.
    async fn apply(&self, draft: Draft, blocks: Vec<EditBlock>) -> anyhow::Result<Result<Patch, Rejection>> {
        let desk = self.clone();
        let work = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let files = SnapshotSource::open(&desk.git_dir, &desk.start).context("reading the repository")?;
            Ok(match draft {
                Draft::Nothing => edit::apply(&files, &desk.shown, &desk.rules, blocks),
                Draft::Patch(patch) => patch.continue_with(&files, &desk.shown, &desk.rules, blocks),
                Draft::Rejected(rejection) => {
                    rejection.continue_with(&files, &desk.shown, &desk.rules, blocks)
                }
            })
        });
        work.await?
    }
}

/// What earlier replies have come to.
enum Draft {
    Nothing,
    Patch(Box<Patch>),
    Rejected(Box<Rejection>),
}

/// The conversation until a patch applies.
struct Talk<'run> {
    services: &'run Services,
    desk: Desk,
    request: Request,
    usage: Usage,
    draft: Draft,
    /// What the change is for, as the model first said it: a repair often brings blocks only.
    said: Option<Written>,
}

/// How many blocks that did not apply a person is told of.
const SHOWN_FAILURES: usize = 5;

/// What one reply has come to.
enum Turn {
    Done(Patch),
    End(Outcome),
    /// It has to be said again; what was wrong, for the model.
    Again(Problem),
}

/// Why a reply could not be used.
struct Problem {
    for_model: Vec<Passage>,
    for_people: String,
}

#[derive(Default)]
struct Written {
    summary: String,
    explanation: String,
}

impl Talk<'_> {
    async fn run(mut self, cancel: &CancellationToken) -> anyhow::Result<Next<AppliedPatch>> {
        let mut repairs = self.services.config.worker.repair_rounds;
        loop {
            let reply = self.services.ask(&self.request, cancel).await?;
            self.usage += reply.usage;
            // The model may hold a secret that we never showed it; we do not show it again.
            self.request.messages.push(Message::assistant(self.services.redactor.redact(&reply.text)));
            match self.turn(&reply).await? {
                Turn::Done(patch) => return Ok(self.finish(patch)),
                Turn::End(outcome) => return Ok(Next::End(outcome)),
                Turn::Again(problem) if repairs == 0 => {
                    let reason = format!("I could not write a patch that applies: {}", problem.for_people);
                    return Ok(Next::End(Outcome::NeedsHuman { reason }));
                }
                Turn::Again(problem) => {
                    repairs -= 1;
                    tracing::info!(
                        repairs_left = repairs,
                        "the patch does not apply; the model is asked again"
                    );
                    let redact = |text: &str| self.services.redactor.redact(text).into_owned();
                    let problem: Vec<_> =
                        problem.for_model.iter().map(|passage| passage.map(redact)).collect();
                    self.request.messages.push(prompt::repair_message(&problem));
                }
            }
        }
    }

    async fn turn(&mut self, reply: &Reply) -> anyhow::Result<Turn> {
        if let Some(turn) = stopped_early(&reply.stop) {
            return Ok(turn);
        }
        let (summary, explanation, blocks) = match prompt::parse_reply(&reply.text) {
            ReplyKind::NothingToChange { reason } => {
                return Ok(Turn::End(Outcome::NothingToChange { reason }));
            }
            ReplyKind::NeedsHuman { question } => {
                return Ok(Turn::End(Outcome::NeedsHuman { reason: question }));
            }
            ReplyKind::Edits { summary, explanation, blocks_text } => (summary, explanation, blocks_text),
        };
        if self.said.is_none() || !summary.is_empty() {
            self.said = Some(Written { summary, explanation });
        }
        let blocks = match edit::parse(&blocks) {
            Ok(blocks) => blocks,
            Err(problem) => {
                let for_people = "the model's reply is not in the form of edit blocks".to_owned();
                return Ok(Turn::Again(Problem {
                    for_model: vec![Passage::Words(problem.to_string())],
                    for_people,
                }));
            }
        };
        let draft = std::mem::replace(&mut self.draft, Draft::Nothing);
        match self.desk.apply(draft, blocks).await? {
            Ok(patch) => Ok(self.judge(patch)),
            Err(rejection) => {
                let failures = rejection.failures.iter().take(SHOWN_FAILURES);
                let for_people = failures.map(|failure| format!("\n- {failure}")).collect();
                let problem = Problem { for_model: rejection.for_model(), for_people };
                self.draft = Draft::Rejected(Box::new(rejection));
                Ok(Turn::Again(problem))
            }
        }
    }

    fn judge(&self, patch: Patch) -> Turn {
        if patch.is_empty() {
            let reason = "the files already are as the change would make them".to_owned();
            return Turn::End(Outcome::NothingToChange { reason });
        }
        if let Some(path) = self.leaks(&patch) {
            let reason = format!("the change would write a secret into `{path}`, so it was not published");
            return Turn::End(Outcome::NeedsHuman { reason });
        }
        Turn::Done(patch)
    }

    /// The file into which the patch would write something that must stay secret.
    fn leaks(&self, patch: &Patch) -> Option<String> {
        let secret = |bytes: &[u8]| self.services.redactor.contains_secret(&String::from_utf8_lossy(bytes));
        let leaking = patch.changes.iter().find(|(path, change)| match change {
            edit::Change::Write { bytes, .. } => secret(bytes) && !patch.before(path).is_some_and(secret),
            edit::Change::Delete => false,
        });
        leaking.map(|(path, _)| path.clone())
    }

    fn finish(self, patch: Patch) -> Next<AppliedPatch> {
        let written = self.said.unwrap_or_default();
        Next::Go(AppliedPatch {
            summary: if written.summary.is_empty() {
                "Change what the ticket asks for".to_owned()
            } else {
                written.summary
            },
            explanation: written.explanation,
            usage: self.usage,
            conversation: self.request.messages,
            patch,
        })
    }
}

/// What follows when the model did not say everything; `None` when it did.
fn stopped_early(stop: &Stop) -> Option<Turn> {
    let human = |reason: String| Some(Turn::End(Outcome::NeedsHuman { reason }));
    match stop {
        Stop::End => None,
        Stop::MaxTokens => Some(Turn::Again(Problem {
            for_model: vec![Passage::Words(
                "Your reply was cut off at its limit, so nothing of it was applied. Write less: only the blocks, and as \
                 few lines in each as make it unique."
                    .to_owned(),
            )],
            for_people: "the model's reply is longer than model.max_output_tokens allows".to_owned(),
        })),
        Stop::ContextExceeded => human(
            "the ticket and the code it needs do not fit the model; split the ticket, or raise \
             model.max_input_tokens for a larger model"
                .to_owned(),
        ),
        Stop::Refusal { why } if why.is_empty() => human("the model refused to work on this ticket".to_owned()),
        Stop::Refusal { why } => human(format!("the model refused to work on this ticket: {why}")),
        Stop::Other { reason } => human(format!("the model stopped for a reason that I do not know: {reason}")),
    }
}
