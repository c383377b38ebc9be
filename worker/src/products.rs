//! What each step hands to the next. A step can only be called with its predecessor's product, so the order of a
//! run is checked by the compiler.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jira_agent::domain::{BranchName, CommitId, Outcome, Task, TaskId, Ticket};
use jira_agent::github::PullRequest;
use jira_agent::queue::Lease;
use jira_agent::routing::Route;

use crate::edit::Patch;
use crate::model::{Message, Usage};
use crate::prompt::Plan;
use crate::search::Context;
use crate::text::{ChangeNote, PullRequestFacts};
use crate::workspace_dir::WorkspaceDir;

/// A step's answer: the next product, or an expected end of the run.
#[derive(Debug)]
pub enum Next<T> {
    /// Go on with this.
    Go(T),
    /// The run ends here.
    End(Outcome),
}

/// The ticket is ours to work on.
#[derive(Debug)]
pub struct Claimed {
    /// The task.
    pub task: Task,
    /// Which attempt at the run this is, from 1.
    pub attempt: u32,
    /// The ticket as it was when the lease was taken.
    pub ticket: Ticket,
    /// Repository, base branch and mode.
    pub route: Route,
    /// The agent's branch.
    pub branch: BranchName,
    /// The right to work; `None` when there is no queue that could give one.
    pub lease: Option<Lease>,
    /// When the ticket was read: the run sees nothing newer.
    pub seen: Timestamp,
    /// Why there is nothing to do any more; it only matters while the run has had no effect.
    pub obsolete: Option<String>,
}

/// The repository is here.
#[derive(Debug)]
pub struct Workspace {
    /// The directories; removed with this value.
    pub dir: WorkspaceDir,
    /// The branch that the pull request goes to.
    pub base_branch: BranchName,
    /// The base branch's head.
    pub base: CommitId,
    /// The agent's branch on the server, when it exists.
    pub agent_head: Option<CommitId>,
    /// The commit whose tree is edited.
    pub start: CommitId,
    /// Parents of the commit that will be made.
    pub parents: Vec<CommitId>,
    /// The open pull request of the agent's branch.
    pub pull: Option<PullRequest>,
    /// A commit that this very run pushed in an earlier attempt.
    pub resumed: Option<Resumed>,
    /// Another run that has pushed the branch's newest commit a short while ago and has not ended yet.
    pub unfinished: Option<TaskId>,
    /// Paths that are stored in Git LFS and cannot be edited here.
    pub lfs: BTreeSet<String>,
}

/// What an earlier attempt of the run left on the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Its commit.
    pub commit: CommitId,
    /// The branch's newest pull request when that is merged or closed by now.
    pub past_pull: Option<PullRequest>,
    /// Whether another run has pushed on top of it since.
    pub overtaken: bool,
}

/// What the model is shown.
#[derive(Debug)]
pub struct TaskContext {
    /// The files and the tree.
    pub context: Context,
    /// The paths that may be edited.
    pub shown: BTreeSet<String>,
}

/// A plan that waits for approval.
#[derive(Debug)]
pub struct ChangePlan {
    /// The plan.
    pub plan: Plan,
    /// Tokens used.
    pub usage: Usage,
}

/// A patch that applies, in memory.
#[derive(Debug)]
pub struct AppliedPatch {
    /// The changes.
    pub patch: Patch,
    /// One imperative line.
    pub summary: String,
    /// A paragraph for reviewers.
    pub explanation: String,
    /// Tokens of all calls so far.
    pub usage: Usage,
    /// What was said so far, so that a failed check can be answered.
    pub conversation: Vec<Message>,
}

/// What the checks found in a patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// What a file of the patch breaks that was whole before, for the model: a line each.
    pub errors: Vec<String>,
    /// What was checked and with what result, for people: a line each.
    pub checks: Vec<String>,
}

/// A patch that may be published.
#[derive(Debug)]
pub struct Checked {
    /// The patch.
    pub applied: AppliedPatch,
    /// What was checked and with what result.
    pub checks: Vec<String>,
}

/// What GitHub holds now.
#[derive(Debug)]
pub struct Published {
    /// The pull request.
    pub facts: PullRequestFacts,
    /// Whether this run opened it.
    pub opened: bool,
    /// Whether it is open still; people may have merged or closed it before the run could report.
    pub is_open: bool,
    /// What it holds.
    pub content: Content,
}

/// What a pull request holds.
#[derive(Debug)]
pub enum Content {
    /// A change.
    Change(ChangeNote),
    /// A plan.
    Plan(Plan),
}

/// What the ticket holds now; the delivery may be acked.
#[derive(Debug)]
pub struct Reported {
    /// The outcome.
    pub outcome: Outcome,
}
