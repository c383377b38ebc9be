//! Exit codes, as `sysexits.h` has them.

use std::process::ExitCode;

use crate::queue::QueueError;

/// The codes in a line, for the help of a program.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 65 bad input, 69 a service is unreachable, \
    75 try again later, 78 configuration.";

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// 0: what was asked for is done.
    Done,
    /// 1: it was tried and failed.
    Failed,
    /// 2: the command line is wrong.
    Usage,
    /// 65: the input is wrong.
    BadInput,
    /// 69: a service cannot be reached.
    Unavailable,
    /// 75: try again later.
    TryLater,
    /// 78: the configuration is wrong.
    Config,
}

impl ExitStatus {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::BadInput => 65,
            Self::Unavailable => 69,
            Self::TryLater => 75,
            Self::Config => 78,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status.code())
    }
}

impl From<&QueueError> for ExitStatus {
    fn from(error: &QueueError) -> Self {
        match error {
            QueueError::Unreachable(_) => Self::Unavailable,
            QueueError::Full(_) => Self::TryLater,
            QueueError::Unroutable(_)
            | QueueError::Topology(_)
            | QueueError::Refused(_)
            | QueueError::Settings(_) => Self::Config,
        }
    }
}
