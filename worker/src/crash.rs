//! Named points between the effects of a run, at which a test can have the process die.
//!
//! Without the feature `crash-points` (never in a release) a point is nothing.

/// Every point, in the order in which a run passes them.
pub const POINTS: &[&str] = &[
    "consume:received",
    "claim:leased",
    "claim:done",
    "workspace:done",
    "context:done",
    "edit:done",
    "check:done",
    "publish:committed",
    "publish:pushed",
    "publish:pull-request",
    "publish:labels",
    "publish:reviewers",
    "publish:done",
    "report:moved",
    "report:assigned",
    "report:linked",
    "report:commented",
    "report:marked",
    "report:done",
    "consume:acked",
];

/// Points that only a run which fails for good passes.
pub const FAILURE_POINTS: &[&str] = &["consume:told"];

/// Ends the process as `SIGKILL` does when the environment variable `JIRA_AGENT_CRASH_AT` names this point.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    debug_assert!(
        POINTS.contains(&name) || FAILURE_POINTS.contains(&name),
        "{name} is in no list of crash points"
    );
    if std::env::var("JIRA_AGENT_CRASH_AT").is_ok_and(|wanted| wanted == name) {
        tracing::warn!(point = name, "dying at a crash point");
        // A process that cannot even kill itself must not go on as if nothing had happened.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort();
    }
}

/// Does nothing: this is not a test build.
#[cfg(not(feature = "crash-points"))]
#[inline]
pub fn point(_name: &'static str) {}
