//! The directories of one attempt: made, locked while this process lives, removed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jira_agent::domain::TaskId;
use rustix::fs::{OFlags, statvfs};

/// More attempts of one run than this are never alive on one machine.
const MAX_TWINS: u32 = 100;

/// Permission to write for the group and for everybody.
const FOREIGN_WRITE: u32 = 0o022;

/// Why no workspaces are made in a directory.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnfitRoot(String);

/// Makes the directory of all workspaces, for this user alone, where there is none; else looks whether nobody else can
/// put something in the place of what is made there. Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// When somebody else can, or the file system refuses.
pub fn prepare_root(root: &Path) -> Result<(), UnfitRoot> {
    let refused = |doing: &str, error: &io::Error| UnfitRoot(format!("it cannot be {doing}: {error}"));
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(root);
    made.map_err(|error| refused("made", &error))?;
    let user = rustix::process::geteuid().as_raw();
    let link = fs::symlink_metadata(root).map_err(|error| refused("looked at", &error))?;
    if link.is_symlink() && ![user, 0].contains(&link.uid()) {
        return Err(UnfitRoot(format!("it is a link that user {} has made", link.uid())));
    }
    let found = fs::metadata(root).map_err(|error| refused("looked at", &error))?;
    objection(user, found.uid(), found.mode()).map_or(Ok(()), |why| Err(UnfitRoot(why)))
}

/// What speaks against a directory of this owner and mode.
fn objection(user: u32, owner: u32, mode: u32) -> Option<String> {
    if owner != user {
        return Some(format!("it belongs to user {owner}, and this program runs as user {user}"));
    }
    let is_open = mode & FOREIGN_WRITE != 0;
    is_open.then(|| format!("others may write to it (mode {:04o})", mode & 0o7777))
}

/// `ROOT/<run>-<attempt>-<twin>` with `git` (trusted) and `tree` (hostile once commands have run). A lock file beside
/// it is held by this process, so that a sweep knows the living. Removed by [`WorkspaceDir::remove`] or when dropped.
#[derive(Debug)]
pub struct WorkspaceDir {
    path: PathBuf,
    lock: Option<Lock>,
}

impl WorkspaceDir {
    /// Makes the directories of an attempt. What a dead process left of the same attempt is removed first.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn create(root: &Path, run: &TaskId, attempt: u32) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        for twin in 0..MAX_TWINS {
            let path = root.join(format!("{run}-{attempt}-{twin}"));
            if let Some(lock) = Lock::acquire(&path)? {
                let workspace = Self { path, lock: Some(lock) };
                remove_tree(&workspace.path)?;
                fs::DirBuilder::new().mode(0o700).create(&workspace.path)?;
                fs::create_dir(workspace.tree())?;
                return Ok(workspace);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} has {MAX_TWINS} living workspaces of attempt {attempt} of run {run}", root.display()),
        ))
    }

    /// The directory that holds both others.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The trusted git directory; a fetch makes it.
    #[must_use]
    pub fn git_dir(&self) -> PathBuf {
        self.path.join("git")
    }

    /// The tree in which commands may run. Holds no `.git`.
    #[must_use]
    pub fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// Removes everything, off the runtime's threads.
    ///
    /// # Errors
    /// When something cannot be removed; the next sweep tries again.
    pub async fn remove(mut self) -> io::Result<()> {
        tokio::task::spawn_blocking(move || self.remove_now()).await.map_err(io::Error::other)?
    }

    fn remove_now(&mut self) -> io::Result<()> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        remove_tree(&self.path)?;
        lock.release()
    }
}

impl Drop for WorkspaceDir {
    fn drop(&mut self) {
        if let Err(error) = self.remove_now() {
            tracing::warn!(path = %self.path.display(), %error, "a workspace is left for the next sweep");
        }
    }
}

/// Removes the workspaces below `root` whose processes are dead, and gives their number. Other files are left alone.
/// Blocks: call it in `spawn_blocking`.
///
/// # Errors
/// When `root` cannot be read; a workspace that cannot be removed is logged and skipped.
pub fn sweep(root: &Path) -> io::Result<usize> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let path = if path.extension().is_some_and(|extension| extension == "lock") {
            path.with_extension("")
        } else {
            path
        };
        if is_workspace(&path) {
            paths.push(path);
        }
    }
    paths.sort();
    paths.dedup();
    let mut removed = 0;
    for path in paths {
        match remove_dead(&path) {
            Ok(true) => removed += 1,
            Ok(false) => {}
            Err(error) => tracing::warn!(path = %path.display(), %error, "a dead workspace is left"),
        }
    }
    Ok(removed)
}

/// The bytes that this process may still write to the file system of `path`.
///
/// # Errors
/// When there is no such path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn is_workspace(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut parts = name.split('-');
    let run = parts.next().is_some_and(|run| run.parse::<TaskId>().is_ok());
    let numbers: Vec<bool> = parts.map(|part| part.parse::<u32>().is_ok()).collect();
    run && numbers == [true, true]
}

fn remove_dead(path: &Path) -> io::Result<bool> {
    let Some(lock) = Lock::acquire(path)? else {
        return Ok(false);
    };
    let existed = path.exists();
    remove_tree(path)?;
    lock.release()?;
    Ok(existed)
}

/// A lock file beside a workspace, held until it is dropped or the process dies.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// None when a living process holds it.
    fn acquire(workspace: &Path) -> io::Result<Option<Self>> {
        let mut path = workspace.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Between opening and locking, its last holder may have removed the file: a lock on it would guard nothing.
            let same = fs::metadata(&path)
                .is_ok_and(|now| file.metadata().is_ok_and(|mine| mine.ino() == now.ino()));
            if same {
                return Ok(Some(Self { path, file }));
            }
        }
    }

    /// Removes the file while the lock is still held.
    fn release(self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        drop(self.file);
        Ok(())
    }
}

/// Removes a directory with everything in it, also what a command has made read-only. Links are not followed.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_directories(path)?;
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Makes every directory writable; a link is none. No command runs any more, so nothing swaps a directory for a link meanwhile.
fn open_directories(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_directories(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> TaskId {
        "01K9ZW4R7M1S8T3V5X7Z9B1D3F".parse().unwrap()
    }

    fn names(root: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_root_is_made_for_this_user_alone_and_refused_where_others_may_write() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("a/b");
        prepare_root(&root).unwrap();
        assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o700);
        for (mode, is_fit) in [(0o777, false), (0o770, false), (0o1777, false), (0o755, true)] {
            fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(prepare_root(&root).is_ok(), is_fit, "{mode:o}");
        }
        fs::write(place.path().join("file"), "").unwrap();
        assert!(prepare_root(&place.path().join("file")).is_err());
    }

    #[test]
    fn a_root_of_somebody_else_or_that_others_may_write_to_is_refused() {
        assert_eq!(objection(1000, 1000, 0o40_700), None);
        let foreign = Some("it belongs to user 0, and this program runs as user 1000".to_owned());
        assert_eq!(objection(1000, 0, 0o40_755), foreign);
        assert!(objection(1000, 1001, 0o41_777).is_some());
        let open = Some("others may write to it (mode 0775)".to_owned());
        assert_eq!(objection(1000, 1000, 0o40_775), open);
    }

    #[tokio::test]
    async fn a_workspace_leaves_nothing_when_removed_or_dropped() {
        let root = tempfile::tempdir().unwrap();
        let first = WorkspaceDir::create(root.path(), &run(), 1).unwrap();
        assert!(first.tree().is_dir());
        fs::create_dir_all(first.tree().join("a/b")).unwrap();
        first.remove().await.unwrap();
        let second = WorkspaceDir::create(root.path(), &run(), 2).unwrap();
        drop(second);
        assert_eq!(names(root.path()), Vec::<String>::new());
    }

    #[test]
    fn two_attempts_of_one_number_do_not_share_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let first = WorkspaceDir::create(root.path(), &run(), 1).unwrap();
        let second = WorkspaceDir::create(root.path(), &run(), 1).unwrap();
        assert_ne!(first.path(), second.path());
    }

    #[test]
    fn a_sweep_removes_the_dead_and_spares_the_living_and_the_foreign() {
        let root = tempfile::tempdir().unwrap();
        let alive = WorkspaceDir::create(root.path(), &run(), 1).unwrap();
        let dead = root.path().join(format!("{}-7-0", run()));
        fs::create_dir_all(dead.join("tree/x")).unwrap();
        fs::write(root.path().join(format!("{}-8-0.lock", run())), "").unwrap();
        fs::create_dir(root.path().join("photos")).unwrap();
        fs::write(root.path().join("notes.lock"), "").unwrap();

        assert_eq!(sweep(root.path()).unwrap(), 1);
        assert!(alive.tree().is_dir());
        let kept =
            [format!("{}-1-0", run()), format!("{}-1-0.lock", run()), "notes.lock".into(), "photos".into()];
        assert_eq!(names(root.path()), kept);
        assert_eq!(sweep(&root.path().join("absent")).unwrap(), 0);
    }

    #[test]
    fn what_a_dead_process_left_of_the_same_attempt_is_not_inherited() {
        let root = tempfile::tempdir().unwrap();
        let left = root.path().join(format!("{}-1-0/tree", run()));
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("old"), "").unwrap();
        let workspace = WorkspaceDir::create(root.path(), &run(), 1).unwrap();
        assert_eq!(names(&workspace.tree()), Vec::<String>::new());
    }

    #[test]
    fn links_in_the_tree_are_removed_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let workspace = WorkspaceDir::create(root.path(), &run(), 1).unwrap();
        std::os::unix::fs::symlink(outside.path(), workspace.tree().join("link")).unwrap();
        let closed = workspace.tree().join("closed");
        fs::create_dir(&closed).unwrap();
        fs::write(closed.join("file"), "").unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
        drop(workspace);
        assert_eq!(names(root.path()), Vec::<String>::new());
        assert_eq!(names(outside.path()), ["kept"]);
    }

    #[test]
    fn free_bytes_are_counted_and_a_missing_path_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        assert!(free_bytes(root.path()).unwrap() > 0);
        assert!(free_bytes(&root.path().join("absent")).is_err());
    }
}
