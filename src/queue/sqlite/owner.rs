//! Which processes live. Each that holds something keeps a file locked, beside the database; the system takes the lock
//! away with the process, however that ends, and whoever can take it knows.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ulid::Ulid;

/// The end of a file's name that is not locked yet.
const UNNAMED: &str = ".new";

/// This process as one that holds tasks. Dropping it is its death to others.
#[derive(Debug)]
pub(super) struct Owner {
    id: String,
    path: PathBuf,
    _lock: File,
}

impl Owner {
    /// A new one, with its file in `directory`. Blocks.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let id = Ulid::generate().to_string();
        // It gets its name once it is locked: unlocked it would be taken for that of a dead process.
        let unnamed = directory.join(format!("{id}{UNNAMED}"));
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed)?;
        lock.lock()?;
        let path = directory.join(&id);
        std::fs::rename(&unnamed, &path)?;
        Ok(Self { id, path, _lock: lock })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Whether the process behind an id is gone for sure. Blocks, but for no other process.
pub(super) fn is_dead(directory: &Path, id: &str) -> bool {
    match File::open(directory.join(id)) {
        Ok(file) => match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        },
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Removes the files of dead processes. Blocks, but for no other process.
pub(super) fn sweep(directory: &Path) {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    for name in names.filter(|name| !name.ends_with(UNNAMED) && is_dead(directory, name)) {
        remove(&directory.join(name));
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::info!(path = %path.display(), %error, "a file of a process that has ended stays behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_lives_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Owner::new(&dir.path().join("owners")).unwrap();
        let directory = dir.path().join("owners");
        let id = owner.id().to_owned();
        assert!(!is_dead(&directory, &id));
        // A look does not take the lock away.
        assert!(!is_dead(&directory, &id));
        drop(owner);
        assert!(is_dead(&directory, &id));
        assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_nobody_locks_is_that_of_a_dead_process() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("some"), "").unwrap();
        assert!(is_dead(dir.path(), "some"));
        sweep(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
