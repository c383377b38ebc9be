//! How long tasks wait for another attempt.

use std::time::Duration;

/// The retry tiers, shortest first; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiers(Vec<Duration>);

impl Tiers {
    /// From `queue.retry_delays`; without any there is one of 30 s.
    #[must_use]
    pub fn new(delays: &[Duration]) -> Self {
        let mut delays = delays.to_vec();
        delays.sort_unstable();
        delays.dedup();
        if delays.is_empty() {
            delays.push(Duration::from_secs(30));
        }
        Self(delays)
    }

    /// All of them, shortest first.
    pub fn iter(&self) -> impl Iterator<Item = Duration> + '_ {
        self.0.iter().copied()
    }

    /// The shortest that keeps a task for at least `after`, else the longest.
    #[must_use]
    pub fn at_least(&self, after: Duration) -> Duration {
        self.iter().find(|delay| *delay >= after).unwrap_or_else(|| self.nth(u32::MAX))
    }

    /// The `number`-th, from 1; the longest when there are fewer.
    #[must_use]
    pub fn nth(&self, number: u32) -> Duration {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        self.0[index.min(self.0.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiers() -> Tiers {
        Tiers::new(&[30, 120, 600, 3600].map(Duration::from_secs))
    }

    #[test]
    fn a_retry_waits_at_least_as_long_as_asked_where_a_tier_is_long_enough() {
        for (asked, given) in [(0, 30), (30, 30), (31, 120), (600, 600), (601, 3600), (100_000, 3600)] {
            let tier = tiers().at_least(Duration::from_secs(asked));
            assert_eq!(tier, Duration::from_secs(given), "{asked} s");
        }
    }

    #[test]
    fn waits_grow_by_tier_and_stay_at_the_last() {
        let seconds: Vec<u64> = [0, 1, 2, 3, 4, 5, 99].map(|number| tiers().nth(number).as_secs()).into();
        assert_eq!(seconds, [30, 30, 120, 600, 3600, 3600, 3600]);
    }

    #[test]
    fn tiers_are_in_order_and_never_none() {
        let mixed = Tiers::new(&[600, 30, 600].map(Duration::from_secs));
        assert_eq!(mixed.iter().map(|delay| delay.as_secs()).collect::<Vec<_>>(), [30, 600]);
        assert_eq!(Tiers::new(&[]).nth(9), Duration::from_secs(30));
    }
}
