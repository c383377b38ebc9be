//! The end of the process: the first signal asks for it, the second one takes it.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A signal that ends a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What an orchestrator sends first.
    Terminate,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// 128 and the signal's number, as a shell counts.
    fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// What a signal leads to.
#[derive(Debug, PartialEq, Eq)]
enum Reaction {
    /// Take no more work and come to an end.
    Drain,
    /// Exit now with this code.
    Exit(i32),
}

/// One cancellation token for the whole process. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// A shutdown that no signal starts, for programs within programs and for tests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Listens for SIGTERM and SIGINT from now on: the first cancels the token, the second exits at once with
    /// code 143 or 130. It listens on a thread of its own, so a program calls this before anything that takes time: a signal
    /// before it ends the process as the system does.
    ///
    /// # Errors
    /// When the system does not let signals be handled, or gives no thread.
    pub fn install() -> io::Result<Self> {
        let shutdown = Self::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let (mut interrupt, mut terminate) = {
            let _entered = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let listener = shutdown.clone();
        let listening = async move {
            loop {
                // Cancel-safe: a signal that the other branch wins over stays pending in its stream.
                let received = tokio::select! {
                    Some(()) = interrupt.recv() => Signal::Interrupt,
                    Some(()) = terminate.recv() => Signal::Terminate,
                    else => return,
                };
                match listener.receive(received) {
                    Reaction::Drain => {}
                    Reaction::Exit(code) => std::process::exit(code),
                }
            }
        };
        thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(listening))?;
        Ok(shutdown)
    }

    /// Cancelled when the process is to end.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Asks for the end without a signal; idempotent.
    pub fn request(&self) {
        self.token.cancel();
    }

    fn receive(&self, signal: Signal) -> Reaction {
        let name = signal.name();
        if self.token.is_cancelled() {
            tracing::warn!(
                signal = name,
                "second signal: exiting at once, what was held will be redelivered"
            );
            return Reaction::Exit(signal.exit_code());
        }
        tracing::info!(signal = name, "shutting down; a second signal exits at once");
        self.token.cancel();
        Reaction::Drain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_drains_and_the_second_exits_with_its_own_code() {
        for (second, code) in [(Signal::Interrupt, 130), (Signal::Terminate, 143)] {
            let shutdown = Shutdown::new();
            let token = shutdown.token();
            assert!(!token.is_cancelled());
            assert_eq!(shutdown.receive(Signal::Terminate), Reaction::Drain);
            assert!(token.is_cancelled());
            assert_eq!(shutdown.receive(second), Reaction::Exit(code));
        }
    }

    #[test]
    fn a_signal_after_a_request_exits_because_the_drain_has_begun() {
        let shutdown = Shutdown::new();
        shutdown.request();
        assert!(shutdown.token().is_cancelled());
        assert_eq!(shutdown.receive(Signal::Interrupt), Reaction::Exit(130));
    }

    #[test]
    fn listening_to_signals_cancels_nothing_by_itself() {
        assert!(!Shutdown::install().unwrap().token().is_cancelled());
    }
}
