//! libgit2's smart transport over `Link`. Whatever address libgit2 resolved is ignored: every request goes to the
//! repository that the link is pinned to.

use std::io::{self, Cursor, Read, Write};
use std::mem;
use std::sync::Arc;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport};
use git2::{ConfigLevel, ErrorClass, ErrorCode};
use tempfile::SpooledTempFile;

use super::GitError;
use super::link::{Answer, GitService, Link, other};

/// Makes libgit2 use `link` for `http` and `https`, and no configuration of the machine or its user.
#[expect(unsafe_code, reason = "libgit2 keeps transports and search paths in globals without a lock")]
pub(super) fn install(link: &Arc<Link>) -> Result<(), git2::Error> {
    let levels = [ConfigLevel::ProgramData, ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global];
    for level in levels {
        // SAFETY: called once, at the start of the transfer process, before any other use of libgit2.
        unsafe { git2::opts::set_search_path(level, "")? };
    }
    for scheme in ["http", "https"] {
        let link = Arc::clone(link);
        let factory = move |remote: &git2::Remote<'_>| {
            // A stateless remote: every request is an exchange of its own.
            Transport::smart(remote, true, Subtransport { link: Arc::clone(&link) })
        };
        // SAFETY: as above; no other thread uses libgit2.
        unsafe { git2::transport::register(scheme, factory)? };
    }
    Ok(())
}

struct Subtransport {
    link: Arc<Link>,
}

impl SmartSubtransport for Subtransport {
    fn action(&self, _url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let link = Arc::clone(&self.link);
        let (service, listing) = match action {
            Service::UploadPackLs => (GitService::UploadPack, true),
            Service::UploadPack => (GitService::UploadPack, false),
            Service::ReceivePackLs => (GitService::ReceivePack, true),
            Service::ReceivePack => (GitService::ReceivePack, false),
        };
        let state = if listing { State::Fresh } else { State::Writing(link.spool()) };
        let mut exchange = Exchange { link, service, state };
        if listing {
            exchange.list().map_err(|error| exchange.reported(error))?;
        }
        Ok(Box::new(exchange))
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// One request and its answer.
struct Exchange {
    link: Arc<Link>,
    service: GitService,
    state: State,
}

enum State {
    Fresh,
    Writing(SpooledTempFile),
    /// What was read ahead, then the rest.
    Reading(Cursor<Vec<u8>>, Box<Answer>),
}

impl Exchange {
    fn list(&mut self) -> Result<(), GitError> {
        let mut answer = self.link.advertisement(self.service)?;
        let ahead = match self.service {
            GitService::UploadPack => Vec::new(),
            GitService::ReceivePack => tell_known(&self.link, &mut answer)?,
        };
        self.state = State::Reading(Cursor::new(ahead), Box::new(answer));
        Ok(())
    }

    fn reported(&self, error: GitError) -> git2::Error {
        self.link.fail(error);
        // The typed failure travels beside libgit2, which only needs to stop.
        git2::Error::new(ErrorCode::GenericError, ErrorClass::Net, "the remote could not be used")
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let State::Writing(_) = self.state {
            let State::Writing(body) = mem::replace(&mut self.state, State::Fresh) else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            match self.link.post(self.service, body) {
                Ok(answer) => self.state = State::Reading(Cursor::new(Vec::new()), Box::new(answer)),
                Err(error) => {
                    self.link.fail(error);
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
        }
        match &mut self.state {
            State::Reading(ahead, answer) => match ahead.read(buffer)? {
                0 => answer.read(buffer),
                count => Ok(count),
            },
            State::Fresh | State::Writing(_) => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Writing(body) => body.write(bytes).inspect_err(|error| {
                self.link.fail(other(format!("cannot spool the request in the workspace: {error}")));
            }),
            State::Fresh | State::Reading(..) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the head of receive-pack's advertisement and adds our known commits as `.have` lines, git's own way to name
/// what a repository holds without a reference. libgit2 leaves out of a push only what a listed commit holds, so
/// without them a base branch that has moved since the fetch would make it send the whole tree again.
fn tell_known(link: &Link, answer: &mut impl Read) -> Result<Vec<u8>, GitError> {
    let broken = |_: io::Error| {
        let host = link.url().authority();
        let detail = "the list of references breaks off".to_owned();
        link.take_failure().unwrap_or(GitError::Corrupt { host, detail })
    };
    let mut head = Vec::new();
    let service = read_packet(answer, &mut head).map_err(broken)?;
    let flush = read_packet(answer, &mut head).map_err(broken)?;
    let first = read_packet(answer, &mut head).map_err(broken)?;
    // A repository without references says so with a reference to nothing.
    let has_references = first.len() > 40 && !first.starts_with(b"0000000000");
    if service.starts_with(b"# service=") && flush.is_empty() && has_references {
        for commit in &link.known {
            let line = format!("{commit} .have\n");
            head.extend_from_slice(format!("{:04x}{line}", line.len() + 4).as_bytes());
        }
    }
    Ok(head)
}

/// Reads one packet, appends it as it is to `copy` and gives its content; a flush is empty.
/// The format: <https://git-scm.com/docs/protocol-common#_pkt_line_format>
fn read_packet(from: &mut impl Read, copy: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    copy.extend_from_slice(&prefix);
    let length = std::str::from_utf8(&prefix).ok().and_then(|digits| usize::from_str_radix(digits, 16).ok());
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    let mut content = vec![0; length.saturating_sub(4)];
    from.read_exact(&mut content)?;
    copy.extend_from_slice(&content);
    Ok(content)
}
