//! How long things take. A drill measures: this is the one place where it asks a clock that only
//! runs forward, and what it says decides nothing.

use std::time::{Duration, Instant};

/// Measures from when it was started, or from its last lap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch(Instant);

impl Watch {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// Milliseconds since the last lap.
    pub(super) fn so_far(&self) -> u64 {
        self.0.elapsed().as_millis() as u64
    }

    /// Ends a lap: its milliseconds.
    pub(super) fn lap(&mut self) -> u64 {
        let millis = self.so_far();
        self.0 = Instant::now();
        millis
    }

    /// Lets the lap begin so many milliseconds later: they were told apart.
    pub(super) fn skip(&mut self, millis: u64) {
        self.0 += Duration::from_millis(millis);
    }
}
