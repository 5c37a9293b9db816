//! Pure decisions: (declared policy, observed facts, now) → decision.
//!
//! Floor 1. No clock and no I/O, so that every decision can be replayed from what was known when
//! it was made. So far: retention ([`retention`]), deletion where it cannot be undone ([`deletion`]),
//! what a custodian may answer ([`custodian`]), and what witnesses are worth.
//!
//! It must not know: what a log, an object or a store is; where facts come from; how a decision
//! is carried out.

mod calendar;
pub mod custodian;
pub mod deletion;
pub mod retention;
mod span;
pub mod witness;

pub use span::{Span, SpanError};
