//! One action of the schedule.

use std::time::Duration;

use super::Driver;
use crate::schedule::Action;

impl Driver {
    /// Does it.
    ///
    /// # Errors
    /// When it names something that is not there.
    pub(super) fn act(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Kill { worker } => self.fleet.kill(worker),
            Action::Pause { worker, milliseconds } => {
                self.fleet.pause(worker, Duration::from_millis(milliseconds));
            }
            Action::Drain { worker } => self.fleet.drain(worker, None),
            Action::Arm { worker, point } => self.fleet.drain(worker, Some(point)),
            Action::RestartBroker | Action::KillBroker | Action::CloseConnections => self.start_chore(action),
            Action::CutServices => {
                self.world.proxy.cut_all();
            }
            Action::Fault { kind } => self.world.injector.inject(kind)?,
            Action::CutAll | Action::CutOne | Action::BlackHole { .. } | Action::Delay { .. } => {
                self.trouble_connections(action);
            }
        }
        Ok(())
    }

    /// What takes a while: one after the other, beside everything else.
    fn start_chore(&mut self, action: Action) {
        let (broker, restarting) = (self.broker.clone(), self.restarting.clone());
        let name = action.trouble().unwrap_or_default();
        self.chores.spawn(async move {
            let _one = restarting.lock().await;
            let count = match action {
                Action::KillBroker => broker.kill().await.map(|()| 1)?,
                Action::CloseConnections => u64::try_from(broker.close_connections().await?)?,
                _ => broker.restart().await.map(|()| 1)?,
            };
            Ok((name, count))
        });
    }

    fn trouble_connections(&mut self, action: Action) {
        let Some(proxy) = self.broker.proxy() else { return };
        let rng = &mut self.rng;
        let mut cut = 0;
        match action {
            Action::CutAll => cut = proxy.cut_all(),
            Action::CutOne => cut = proxy.cut_one(|count| rng.usize(0..count)),
            Action::BlackHole { milliseconds } => {
                proxy.silence(|count| rng.usize(0..count), Duration::from_millis(milliseconds));
            }
            Action::Delay { by, milliseconds } => {
                proxy.delay(Duration::from_millis(by), Duration::from_millis(milliseconds));
            }
            _ => {}
        }
        if let Some(name) = action.trouble()
            && cut > 0
        {
            self.came(name, u64::try_from(cut).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn came(&mut self, what: &'static str, count: u64) {
        *self.deeds.came.entry(what).or_default() += count;
    }

    /// How often that has come; `what` is a name of [`Action::trouble`] or of the schedule.
    pub fn count(&self, what: &str) -> u64 {
        let fates = &self.fleet.fates;
        let of_proxy = |count: fn(&crate::proxy::Proxy) -> u64| self.broker.proxy().map_or(0, count);
        match what {
            "random kills" => fates.killed.into(),
            "stops (SIGSTOP)" => fates.stopped.into(),
            "drains (SIGTERM)" => fates.drained.into(),
            "connections cut to services" => self.world.proxy.cut(),
            "pieces held on a silenced connection to the broker" => of_proxy(crate::proxy::Proxy::held),
            "pieces delayed to and from the broker" => of_proxy(crate::proxy::Proxy::delayed),
            _ => self.deeds.came.get(what).copied().unwrap_or_default(),
        }
    }
}
