//! The region: keeps sealed objects, mirrors and cosigns logs, signs receipts.
//!
//! Floor 6, a composition root. [`Region`] is the whole of it without a network: synchronous,
//! over the capabilities it is given, so that a test can cut its power. Around it,
//! [`run_until_signal`] speaks HTTP over TLS, and [`init`] makes a new home.
//!
//! Invariants: nothing is acknowledged before it is durable; every id is checked on arrival;
//! every log entry passes the rules of the record before it is committed; nothing of one tenant
//! can be seen, or noticed, from another; whoever is not a member gets no further than asking to
//! be one.
//!
//! It must not know: how to open anything. It does not link sealing, escrow or backup.

mod collect;
mod deletion;
mod enrol;
mod epochs;
mod error;
mod evidence;
mod home;
mod logs;
mod objects;
mod receipt;
mod region;
mod routes;
mod serving;
mod tokens;
#[cfg(test)]
mod trial;
mod verify;
mod witnessed;
#[cfg(test)]
#[path = "../tests/world/mod.rs"]
mod world;

pub use collect::{Collect, CollectReport, Collected, Expired};
pub use enrol::Member;
pub use error::{Refusal, RegionError};
pub use home::{Config, init};
pub use region::Region;
pub use serving::{Background, run_until_signal, serve_in_background};
pub use tokens::{Admitted, Head, Pending};
pub use verify::verify;
