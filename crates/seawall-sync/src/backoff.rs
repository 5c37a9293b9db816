//! How long to wait before trying again.
//!
//! Exponential with full jitter: a whole fleet that lost its region at one moment must not come
//! back at one moment. Pure: attempt and randomness in, a span out.

use seawall_base::{Rng, Seconds};

/// The bounds of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub first: Seconds,
    /// Upper bound of every wait.
    pub longest: Seconds,
}

impl Default for Backoff {
    /// Two seconds, growing to a quarter of an hour.
    fn default() -> Self {
        Self { first: Seconds(2), longest: Seconds(900) }
    }
}

impl Backoff {
    /// The wait before attempt `attempt + 1`, when `attempt` (from 0) has just failed: uniform
    /// between one second and `first · 2^attempt`, at most `longest`.
    pub fn wait(&self, attempt: u32, rng: &mut dyn Rng) -> Seconds {
        let bound = self.first.0.saturating_mul(1u64.checked_shl(attempt).unwrap_or(u64::MAX));
        let bound = bound.min(self.longest.0).max(1);
        let mut bytes = [0; 8];
        rng.fill(&mut bytes);
        // The bias of the remainder is below 2^-50 for bounds of days.
        Seconds(1 + u64::from_le_bytes(bytes) % bound)
    }
}

#[cfg(test)]
mod tests {
    use seawall_sim::SeededRng;

    use super::*;

    #[test]
    fn waits_grow_spread_and_stay_bounded() {
        let (backoff, mut rng) = (Backoff::default(), SeededRng::new(1));
        for attempt in 0..80 {
            let bound = 2u64.saturating_pow(attempt + 1).min(900);
            let waits: Vec<u64> = (0..200).map(|_| backoff.wait(attempt, &mut rng).0).collect();
            assert!(waits.iter().all(|w| (1..=bound).contains(w)), "attempt {attempt}");
            if attempt > 6 {
                assert!(
                    waits.iter().any(|w| *w < bound / 4) && waits.iter().any(|w| *w > bound / 2)
                );
            }
        }
        let none = Backoff { first: Seconds(0), longest: Seconds(0) };
        assert_eq!(none.wait(3, &mut rng), Seconds(1));
    }
}
