//! Where the queue's file is, and whether a queue can be there.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ulid::Ulid;

use crate::config::QueueConfig;
use crate::queue::QueueError;

/// The file of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(PathBuf);

/// Which file a path leads to: device and inode. Another one is another queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileIdentity(u64, u64);

impl Place {
    /// `queue.path`, else `jira-agent/queue.db` in `$XDG_STATE_HOME`, else in `~/.local/state`
    /// (<https://specifications.freedesktop.org/basedir-spec/latest/>).
    ///
    /// # Errors
    /// When none of the three is set.
    pub fn of(config: &QueueConfig) -> Result<Self, QueueError> {
        let directory =
            |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let state =
            || directory("XDG_STATE_HOME").or_else(|| Some(directory("HOME")?.join(".local").join("state")));
        let path = config.path.clone().or_else(|| Some(state()?.join("jira-agent").join("queue.db")));
        path.map(Self).ok_or_else(|| {
            let why = "neither XDG_STATE_HOME nor HOME says where the queue's file should be; set queue.path";
            QueueError::Settings(why.to_owned())
        })
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path as an absolute one, for words that are read elsewhere.
    #[must_use]
    pub fn absolute(&self) -> PathBuf {
        std::path::absolute(&self.0).unwrap_or_else(|_| self.0.clone())
    }

    /// The directory in which each process that holds something keeps a locked file.
    pub(super) fn owners(&self) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push("-owners");
        name.into()
    }

    /// Makes what is missing: the directory for its user alone, and an empty file.
    pub(super) fn prepare(&self) -> Result<(), QueueError> {
        let cannot = |what: &str, error: &io::Error| {
            self.unfit(&format!(
                "{what}: {error}; make the directory writable, or name another in queue.path"
            ))
        };
        let directory = self.directory();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|error| cannot("its directory cannot be made", &error))?;
        self.check_file_system()?;
        if self.0.exists() {
            return Ok(());
        }
        self.create().map_err(|error| cannot("it cannot be made", &error))
    }

    /// Whether the file is there; and where it is not, whether it could be made. Leaves nothing behind.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn is_there(&self) -> Result<bool, QueueError> {
        self.check_file_system()?;
        if self.0.exists() {
            return Ok(true);
        }
        let there = self.absolute();
        let nearest = there.ancestors().skip(1).find(|path| path.exists()).unwrap_or(Path::new("/"));
        let probe = nearest.join(format!(".{}", Ulid::generate()));
        let probed = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&probe);
        probed.and_then(|_| fs::remove_file(&probe)).map_err(|error| {
            self.unfit(&format!(
                "nothing can be made in {}: {error}; make it writable, or name another place in queue.path",
                nearest.display()
            ))
        })?;
        Ok(false)
    }

    /// Makes an empty file for its user alone. It is closed before it has its name: closing a database's file takes the
    /// locks away that this process has on it (<https://www.sqlite.org/howtocorrupt.html>, 2.2).
    fn create(&self) -> io::Result<()> {
        let mut unnamed = self.0.clone().into_os_string();
        unnamed.push(format!(".{}", Ulid::generate()));
        let unnamed = PathBuf::from(unnamed);
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unnamed)?;
        let named = fs::hard_link(&unnamed, &self.0);
        fs::remove_file(&unnamed)?;
        match named {
            // Another process was quicker.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            named => named,
        }
    }

    /// Which file is there now.
    pub(super) fn identity(&self) -> io::Result<FileIdentity> {
        let metadata = fs::metadata(&self.0)?;
        Ok(FileIdentity(metadata.dev(), metadata.ino()))
    }

    /// Whether other users may read the file.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn is_open_to_others(&self) -> io::Result<bool> {
        Ok(fs::metadata(&self.0)?.mode() & 0o077 != 0)
    }

    fn directory(&self) -> &Path {
        self.0.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    /// The locks of a database, and the memory that its users share, do not reach over a network
    /// (<https://www.sqlite.org/wal.html>, "All processes using a database must be on the same host computer").
    ///
    /// # Errors
    /// When the nearest directory that exists is on such a file system.
    pub fn check_file_system(&self) -> Result<(), QueueError> {
        let there = self.absolute();
        let Some(nearest) = there.ancestors().skip(1).find(|path| path.exists()) else {
            return Ok(());
        };
        match network_file_system(nearest) {
            None => Ok(()),
            Some(kind) => Err(self.unfit(&format!(
                "{} is on a network file system ({kind}), where the locks of several processes do not hold; name \
                 a file on a local disk in queue.path, or use queue.kind = rabbitmq or redis for several machines",
                nearest.display()
            ))),
        }
    }

    /// The file cannot be the queue.
    pub(super) fn unfit(&self, why: &str) -> QueueError {
        QueueError::Settings(format!("queue file {}: {why}", self.0.display()))
    }
}

/// The kind of a network file system; magic numbers as in `statfs(2)`.
#[cfg(target_os = "linux")]
fn network_file_system(path: &Path) -> Option<&'static str> {
    let magic = rustix::fs::statfs(path).ok()?.f_type;
    // The type of the field differs between machines; the numbers have 32 bits.
    let magic = u32::try_from(magic & 0xffff_ffff).ok()?;
    Some(match magic {
        0x6969 => "NFS",
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x0102_1997 => "9p",
        0x5346_414f => "AFS",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        _ => return None,
    })
}

#[cfg(not(target_os = "linux"))]
fn network_file_system(_path: &Path) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place(dir.path().join("state").join("jira-agent").join("queue.db"));
        place.prepare().unwrap();
        place.prepare().unwrap();
        assert_eq!((mode(place.directory()), mode(place.path())), (0o700, 0o600));
        assert!(!place.is_open_to_others().unwrap());
    }

    #[test]
    fn a_place_where_nothing_can_be_written_is_named_with_what_to_do() {
        // In /proc nobody can write, not even root.
        let text = Place("/proc/jira-agent/queue.db".into()).prepare().unwrap_err().to_string();
        for part in ["queue file /proc/jira-agent/queue.db", "cannot be made", "queue.path"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
