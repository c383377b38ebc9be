//! What was planned and has not come: brought about at the end, and counted when it cannot be.

use std::time::{Duration, Instant};

use jira_agent_worker::crash::{FAILURE_POINTS, POINTS};

use super::Driver;
use crate::faults::KINDS;
use crate::schedule::{Action, Kind};

/// How long a worker may take to come to the point at which it dies, with a ticket that leads there.
const LAST_POINT: Duration = Duration::from_secs(20);
/// How often trouble that has not come is tried again.
const TRIES: usize = 10;
/// How long each of these tries may take to be felt.
const FELT: Duration = Duration::from_secs(3);

impl Driver {
    /// Tickets for the steps at which no worker has died yet, and for the trouble and the faults that have not come.
    ///
    /// # Errors
    /// When the harness itself cannot go on.
    pub(super) async fn close_gaps(&mut self) -> anyhow::Result<()> {
        for point in POINTS.iter().chain(FAILURE_POINTS).copied() {
            if self.fleet.fates.points.contains_key(point) {
                continue;
            }
            self.empty_places().await?;
            self.fleet.start_only(Some(point))?;
            let kind = if FAILURE_POINTS.contains(&point) { Kind::Refused } else { Kind::Fix };
            self.add(kind)?;
            let deadline = Instant::now() + LAST_POINT;
            while !self.fleet.fates.points.contains_key(point) && Instant::now() < deadline {
                self.tick().await?;
            }
        }
        self.fleet.resume();
        self.bring_trouble().await?;
        self.bring_faults().await
    }

    async fn bring_trouble(&mut self) -> anyhow::Result<()> {
        for _ in 0..TRIES {
            let missing: Vec<Action> = self.missing().filter_map(|(_, action)| action).collect();
            if missing.is_empty() {
                break;
            }
            if self.outstanding.is_empty() {
                self.add(Kind::Fix)?;
                self.add(Kind::Fix)?;
            }
            for action in missing {
                self.act(action)?;
            }
            let deadline = Instant::now() + FELT;
            while !self.chores.is_empty() || (Instant::now() < deadline && self.missing().next().is_some()) {
                self.tick().await?;
            }
        }
        Ok(())
    }

    async fn bring_faults(&mut self) -> anyhow::Result<()> {
        for _ in 0..3 {
            let fired = self.world.injector.fired();
            for (kind, _) in fired.iter().enumerate().filter(|(_, fired)| **fired == 0) {
                self.world.injector.inject(kind)?;
            }
            if fired.iter().all(|fired| *fired > 0) && self.outstanding.is_empty() {
                break;
            }
            if fired.contains(&0) {
                for kind in [Kind::Fix, Kind::Fix, Kind::Fix, Kind::Issue, Kind::Issue, Kind::Plan] {
                    self.add(kind)?;
                }
            }
            self.progress_at = Instant::now();
            while !self.outstanding.is_empty() && !self.is_stalled() {
                self.tick().await?;
            }
        }
        Ok(())
    }

    /// The trouble that was planned and has not come.
    fn missing(&self) -> impl Iterator<Item = (&'static str, Option<Action>)> {
        let planned = self.planned.iter().map(|(name, action)| (*name, *action));
        planned.filter(|(name, _)| self.count(name) == 0)
    }

    /// In words: the kinds of faults and of trouble that have not come, and the points at which no worker has died.
    pub fn gaps(&self) -> Vec<String> {
        let points = POINTS.iter().chain(FAILURE_POINTS);
        let steps = points.filter(|point| !self.fleet.fates.points.contains_key(**point));
        let fired = self.world.injector.fired();
        let faults = KINDS.iter().zip(fired).filter(|(_, fired)| *fired == 0);
        let steps = steps.map(|point| format!("some step was never killed: {point}"));
        let faults = faults.map(|(kind, _)| format!("some fault was never injected: {}", kind.name));
        let trouble = self.missing().map(|(name, _)| format!("some trouble never came: {name}"));
        steps.chain(faults).chain(trouble).collect()
    }

    /// Everything that was planned, and how often it came.
    pub fn troubles(&self) -> Vec<(&'static str, u64)> {
        self.planned.keys().map(|name| (*name, self.count(name))).collect()
    }
}
