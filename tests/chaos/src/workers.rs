//! The worker processes: started, killed, stopped, drained, and always replaced.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// A drained worker that has not ended by then hangs.
const DRAIN: Duration = Duration::from_secs(40);

/// After a worker gave up by itself the next one is started so much later.
const AGAIN: Duration = Duration::from_millis(300);
/// The exit code of a panic.
const PANIC: i32 = 101;

/// What happened to workers.
#[derive(Debug, Default)]
pub struct Fates {
    /// How many were started.
    pub started: u32,
    /// Deaths by crash point.
    pub points: BTreeMap<&'static str, u32>,
    /// SIGKILLs.
    pub killed: u32,
    /// SIGSTOPs.
    pub stopped: u32,
    /// SIGTERMs.
    pub drained: u32,
    /// Those that ended without being told to, by their exit code.
    pub gave_up: BTreeMap<i32, u32>,
    /// When workers stood still.
    pub stops: Vec<Stop>,
    /// What no worker may do, in words.
    pub wrong: Vec<String>,
}

/// A time in which a worker stood still.
#[derive(Debug, Clone)]
pub struct Stop {
    /// The name of its log.
    pub worker: String,
    /// When it stopped.
    pub from: Timestamp,
    /// When it was to go on.
    pub until: Timestamp,
}

/// How to start a worker.
pub struct Recipe {
    /// The program.
    pub program: PathBuf,
    /// Where it runs, with its settings.
    pub directory: PathBuf,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}

struct Worker {
    child: Child,
    log: PathBuf,
    armed: Option<&'static str>,
    killed: bool,
    resume_at: Option<Instant>,
    draining: Option<Instant>,
}

/// All workers; each has a place, in which one follows the other.
pub struct Fleet {
    recipe: Recipe,
    places: Vec<Option<Worker>>,
    arms: Vec<Option<&'static str>>,
    /// Places that are not filled again.
    resting: bool,
    /// Nobody is started before: a worker that gives up would only give up again.
    not_before: Instant,
    /// What happened so far.
    pub fates: Fates,
}

impl Fleet {
    /// Starts that many.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(recipe: Recipe, count: usize) -> anyhow::Result<Self> {
        let places = (0..count).map(|_| None).collect();
        let (arms, fates) = (vec![None; count], Fates::default());
        let mut fleet = Self { recipe, places, arms, resting: false, not_before: Instant::now(), fates };
        fleet.tick()?;
        Ok(fleet)
    }

    /// Sees who has ended, fills empty places, and wakes who has been stopped long enough.
    ///
    /// # Errors
    /// When a process cannot be started or looked at.
    pub fn tick(&mut self) -> anyhow::Result<()> {
        for place in 0..self.places.len() {
            if let Some(worker) = &mut self.places[place] {
                match worker.child.try_wait()? {
                    Some(status) => self.ended(place, status)?,
                    None => self.watch(place),
                }
            }
            if self.places[place].is_none() && !self.resting && Instant::now() >= self.not_before {
                let arm = self.arms[place].take();
                self.places[place] = Some(self.spawn(place, arm)?);
            }
        }
        Ok(())
    }

    fn watch(&mut self, place: usize) {
        let Some(worker) = &mut self.places[place] else { return };
        if worker.resume_at.is_some_and(|at| Instant::now() >= at) {
            worker.resume_at = None;
            signal(&worker.child, Signal::CONT);
        }
        if worker.draining.is_some_and(|since| since.elapsed() > DRAIN) {
            let log = worker.log.display();
            self.fates
                .wrong
                .push(format!("a worker did not end within {DRAIN:?} of SIGTERM; its log: {log}"));
            worker.draining = None;
            worker.killed = true;
            signal(&worker.child, Signal::KILL);
        }
    }

    fn ended(&mut self, place: usize, status: ExitStatus) -> anyhow::Result<()> {
        let Some(worker) = self.places[place].take() else { return Ok(()) };
        let log = worker.log.display();
        match (status.code(), status.signal(), worker.armed) {
            (_, Some(_), _) if worker.killed => {}
            (_, Some(9), Some(point)) => *self.fates.points.entry(point).or_default() += 1,
            (Some(0), ..) if worker.draining.is_some() => {}
            // It had only just been started, did not listen for signals yet and held nothing.
            (_, Some(15), _) if worker.draining.is_some() && !has_consumed(&worker.log) => {}
            (Some(code), ..) if code == i32::from(jira_agent::exit::ExitStatus::Config.code()) => {
                bail!("the workers' settings are wrong; see {log}");
            }
            (Some(code @ 1..), ..) if worker.draining.is_some() && has_consumed(&worker.log) => {
                self.fates
                    .wrong
                    .push(format!("a drained worker ended with exit code {code}; its log: {log}"));
            }
            (Some(code @ 1..), ..) if code != PANIC => {
                *self.fates.gave_up.entry(code).or_default() += 1;
                self.not_before = Instant::now() + AGAIN;
            }
            _ => self.fates.wrong.push(format!("a worker ended with {status}; its log: {log}")),
        }
        Ok(())
    }

    fn spawn(&mut self, place: usize, armed: Option<&'static str>) -> anyhow::Result<Worker> {
        self.fates.started += 1;
        let log = self.recipe.directory.join(format!("worker-{place}-{:05}.log", self.fates.started));
        let file = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(&self.recipe.program);
        command
            .arg("run")
            .env_clear()
            .envs(self.recipe.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.recipe.directory)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true);
        if let Some(point) = armed {
            command.env("JIRA_AGENT_CRASH_AT", point);
        }
        let child = command.spawn().with_context(|| self.recipe.program.display().to_string())?;
        Ok(Worker { child, log, armed, killed: false, resume_at: None, draining: None })
    }

    /// SIGKILL.
    pub fn kill(&mut self, place: usize) {
        if let Some(worker) = &mut self.places[place] {
            worker.killed = true;
            self.fates.killed += 1;
            signal(&worker.child, Signal::KILL);
        }
    }

    /// SIGSTOP, and SIGCONT after that time.
    pub fn pause(&mut self, place: usize, time: Duration) {
        if let Some(worker) = &mut self.places[place] {
            worker.resume_at = Some(Instant::now() + time);
            self.fates.stopped += 1;
            let name = worker.log.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let from = Timestamp::now();
            self.fates.stops.push(Stop { worker: name, from, until: from + time });
            signal(&worker.child, Signal::STOP);
        }
    }

    /// SIGTERM; who follows dies at `arm`, when one is given.
    pub fn drain(&mut self, place: usize, arm: Option<&'static str>) {
        if let Some(arm) = arm {
            self.arms[place] = Some(arm);
        }
        let Some(worker) = &mut self.places[place] else { return };
        // A second SIGTERM would abort it.
        if worker.draining.is_none() {
            worker.draining =
                Some(Instant::now() + worker.resume_at.map_or(Duration::ZERO, |at| at - Instant::now()));
            self.fates.drained += 1;
            signal(&worker.child, Signal::TERM);
        }
    }

    /// Drains all, and fills no place until [`Fleet::resume`].
    pub fn rest(&mut self) {
        self.resting = true;
        for place in 0..self.places.len() {
            self.drain(place, None);
        }
    }

    /// Whether no worker is left.
    pub fn is_empty(&self) -> bool {
        self.places.iter().all(Option::is_none)
    }

    /// Starts one worker that dies at `point`, while the others rest.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_only(&mut self, point: Option<&'static str>) -> anyhow::Result<()> {
        self.places[0] = Some(self.spawn(0, point)?);
        Ok(())
    }

    /// Fills all places again.
    pub fn resume(&mut self) {
        self.resting = false;
    }

    /// Where the logs are.
    pub fn directory(&self) -> &Path {
        &self.recipe.directory
    }
}

fn has_consumed(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|log| log.contains(r#""consuming""#))
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself just now; the next look will tell.
        let _ = kill_process(pid, signal);
    }
}
