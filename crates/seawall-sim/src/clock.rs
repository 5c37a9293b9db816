//! A clock that shows what the test says, forwards or backwards, and the time that truly passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use seawall_base::{Clock, Seconds, Steady, Timestamp};

/// A settable clock; clones show the same time.
#[derive(Debug, Clone)]
pub struct SimClock {
    now: Arc<AtomicU64>,
    elapsed: Arc<AtomicU64>,
}

impl SimClock {
    /// A clock standing at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now: Arc::new(AtomicU64::new(now.0)), elapsed: Arc::default() }
    }

    /// Is set to `now`, in either direction; no time passes.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.0, Ordering::SeqCst);
    }

    /// Lets `span` pass, saturating at the end of time.
    pub fn advance(&self, span: Seconds) {
        self.elapsed.fetch_add(span.0, Ordering::SeqCst);
        self.set(self.now().after(span));
    }

    /// Is set back by `span`, saturating at the epoch.
    pub fn rewind(&self, span: Seconds) {
        self.set(self.now().before(span));
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }
}

impl Steady for SimClock {
    fn elapsed(&self) -> Seconds {
        Seconds(self.elapsed.load(Ordering::SeqCst))
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
        assert_eq!(seen.elapsed(), Seconds(5), "setting it lets no time pass");
    }
}
