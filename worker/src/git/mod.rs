//! Everything git, on libgit2, in suggested reading order: transfers with the remote in a child process that can
//! be killed, then objects (read, check out, commit, compare) in this process and without a network.
//!
//! No hook, filter or helper program ever runs, and no configuration is obeyed: not the machine's, not the user's
//! and not the repository's.

mod error;
mod protocol;
mod transfers;

mod activity;
mod child;
mod client;
mod fetch;
mod link;
mod push;
mod transport;

mod repository;

mod path;
mod snapshot;

mod checkout;
mod commit;
mod diff;
mod history;

pub use checkout::{checkout, filtered_paths, is_lfs_pointer};
pub use child::{TRANSFER_COMMAND, transfer_main};
pub use commit::{Change, CommitError, Identity, NewCommit, commit};
pub use diff::{
    ChangeKind, ChangedPath, DiffStat, FileStat, UnifiedDiff, changed_files, changed_paths, diff_stat,
    unified_diff,
};
pub use error::GitError;
pub use history::{
    Ancestry, MergeBase, RUN_TRAILER, ancestry, find_run_commit, first_parent, merge_base, message, run_of,
    trailers,
};
pub use path::{UnsafePath, check_path};
pub use protocol::{FetchOutcome, Progress, PushOutcome};
pub use repository::ObjectError;
pub use snapshot::{Entry, Mode, Snapshot};
pub use transfers::{FetchRequest, PushRequest, Transfers};
