//! Seeded fault injection behind the capabilities of `seawall-base`: a disk that loses power, fills
//! up and lies, a clock that jumps, randomness that repeats.
//!
//! Test-only: nothing here is fit to hold data or to make keys. The same seed and the same calls
//! give the same faults, so a failing case is a number.

mod clock;
mod disk;
mod rng;

pub use clock::SimClock;
pub use disk::{Outcome, PowerCut, SimDisk};
pub use rng::SeededRng;
