//! A clock that shows what the test says, forwards or backwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_base::{Clock, Seconds, Timestamp};

/// A settable clock; clones show the same time.
#[derive(Debug, Clone)]
pub struct SimClock {
    now: Arc<AtomicU64>,
}

impl SimClock {
    /// A clock standing at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: Arc::new(AtomicU64::new(now.0)) }
    }

    /// Jumps to `now`, in either direction.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }

    /// Moves forward by `span`, saturating at the end of time.
    pub fn advance(&self, span: Seconds) {
        self.set(self.now().after(span));
    }

    /// Moves backward by `span`, saturating at the epoch.
    pub fn rewind(&self, span: Seconds) {
        self.set(self.now().before(span));
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_time_and_it_jumps_both_ways() {
        let clock = SimClock::new(Timestamp(1_000));
        let seen = clock.clone();
        clock.advance(Seconds(5));
        assert_eq!(seen.now(), Timestamp(1_005));
        clock.rewind(Seconds(10));
        assert_eq!(seen.now(), Timestamp(995));
        clock.set(Timestamp(7));
        assert_eq!(seen.now(), Timestamp(7));
    }
}
