//! What the machine gives: the real disk, clock and randomness behind `seawall-base`'s traits.
//!
//! Only composition roots (and tests) use this room; a room that reached for it could no longer
//! be simulated.

mod disk;

pub use disk::FsDisk;
use rustix::time::{ClockId, clock_gettime};
use seawall_base::{Clock, Rng, Seconds, Steady, Timestamp};

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

/// The time since the machine was started, with the time it slept.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemSteady;

impl Steady for SystemSteady {
    fn elapsed(&self) -> Seconds {
        // CLOCK_BOOTTIME: setting the time does not move it. A time server that slews the clock
        // changes its rate, by a tenth at most.
        let since = clock_gettime(ClockId::Boottime).tv_sec;
        Seconds(u64::try_from(since).unwrap_or(0))
    }
}

/// The operating system's random number generator, through AWS-LC's DRBG.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl Rng for OsRng {
    fn fill(&mut self, out: &mut [u8]) {
        // The kernel's generator, not a library's above it: that would first gather entropy of its
        // own for some 40 ms, in every command. An error means that the machine has none at all,
        // and nothing safe can be done without.
        getrandom::fill(out).expect("the system's random number generator must work");
    }
}
