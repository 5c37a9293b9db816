//! What the machine gives: the real disk, clock and randomness behind `seawall-base`'s traits.
//!
//! Only composition roots (and tests) use this room; a room that reached for it could no longer
//! be simulated.

mod disk;

pub use disk::FsDisk;
use seawall_base::{Clock, Rng, Timestamp};

/// The system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as the epoch: such a machine has no idea of the time, and
        // everything that depends on freshness then fails closed.
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |d| d.as_secs()))
    }
}

/// The operating system's random number generator, through AWS-LC's DRBG.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl Rng for OsRng {
    fn fill(&mut self, out: &mut [u8]) {
        // AWS-LC aborts rather than return weak bytes; an error here means the machine has no
        // entropy source at all, and nothing safe can be done without one.
        aws_lc_rs::rand::fill(out).expect("the system's random number generator must work");
    }
}
