//! What a process knows of the signs of life of others. They are timed by a clock that nobody sets: the time in the file
//! jumps when somebody sets the clock, or the machine was asleep, and that is nobody's death.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// No word of a process is waited out for longer, whatever time the file has.
const LONGEST: Duration = Duration::from_hours(24);

/// An owner as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) id: String,
    /// Milliseconds since 1970; each sign of life writes another.
    pub(super) deadline: i64,
}

/// The owners that were seen when this process looked last.
#[derive(Debug)]
pub(super) struct Others {
    seen: HashMap<String, Seen>,
    looked_at: Instant,
    /// How long each is given at least: the time between two signs of life, several times.
    timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    deadline: i64,
    silent_from: Instant,
}

impl Others {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { seen: HashMap::new(), looked_at: Instant::now(), timeout }
    }

    /// Those that gave no sign of life for as long as they may. `clock` is the time as the file has it.
    pub(super) fn silent(&mut self, others: &[Other], now: Instant, clock: i64) -> Vec<Other> {
        // Who did not look for so long was asleep, and perhaps the others with it.
        if now.duration_since(self.looked_at) > self.timeout {
            self.seen.clear();
        }
        self.looked_at = now;
        let before = std::mem::take(&mut self.seen);
        let mut silent = Vec::new();
        for other in others {
            let seen = before.get(&other.id).copied().filter(|seen| seen.deadline == other.deadline);
            let seen = seen.unwrap_or_else(|| self.first_seen(other.deadline, now, clock));
            if now >= seen.silent_from {
                silent.push(other.clone());
            }
            self.seen.insert(other.id.clone(), seen);
        }
        silent
    }

    /// Its word may be good for longer than ours would be.
    fn first_seen(&self, deadline: i64, now: Instant, clock: i64) -> Seen {
        let word = u64::try_from(deadline.saturating_sub(clock)).unwrap_or(0);
        let wait = Duration::from_millis(word).min(LONGEST).max(self.timeout);
        Seen { deadline, silent_from: now + wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    fn other(deadline: i64) -> Vec<Other> {
        vec![Other { id: "other".to_owned(), deadline }]
    }

    /// Looks once a second; after how many seconds it is silent.
    fn silent_after(others: &mut Others, begun: Instant, deadline: i64, clock: i64) -> Option<u32> {
        (0..200).find(|second| !others.silent(&other(deadline), begun + SECOND * *second, clock).is_empty())
    }

    #[tokio::test]
    async fn a_process_without_a_sign_of_life_for_its_time_is_silent() {
        let begun = Instant::now();
        assert_eq!(silent_after(&mut Others::new(TIMEOUT), begun, 60_000, 0), Some(60));
        // Its own time-out is longer than ours.
        assert_eq!(silent_after(&mut Others::new(TIMEOUT), begun, 90_000, 0), Some(90));
    }

    #[tokio::test]
    async fn a_clock_that_jumps_makes_nobody_silent() {
        let begun = Instant::now();
        let mut others = Others::new(TIMEOUT);
        assert!(others.silent(&other(60_000), begun, 0).is_empty());
        let (day, later) = (86_400_000, begun + SECOND);
        assert!(others.silent(&other(60_000), later, day).is_empty(), "set forward");
        assert!(others.silent(&other(day + 60_000), later + TIMEOUT / 4, day).is_empty());
        // Seen for the first time after the jump.
        assert_eq!(silent_after(&mut Others::new(TIMEOUT), begun, 60_000, day), Some(60));
        // Set back: what was seen before is timed as it was.
        let mut others = Others::new(TIMEOUT);
        assert!(others.silent(&other(60_000), begun, 0).is_empty());
        assert_eq!(silent_after(&mut others, begun, 60_000, -day), Some(60));
    }

    #[tokio::test]
    async fn who_was_asleep_gives_the_others_their_time_anew() {
        let begun = Instant::now();
        let mut others = Others::new(TIMEOUT);
        assert!(others.silent(&other(60_000), begun, 0).is_empty());
        let woken = begun + TIMEOUT * 10;
        assert!(others.silent(&other(60_000), woken, 0).is_empty());
        assert_eq!(silent_after(&mut others, woken, 60_000, 0), Some(60));
    }

    #[tokio::test]
    async fn a_time_from_far_away_is_no_trouble() {
        let mut others = Others::new(TIMEOUT);
        for deadline in [i64::MAX, i64::MIN] {
            assert!(others.silent(&other(deadline), Instant::now(), 0).is_empty());
        }
    }
}
