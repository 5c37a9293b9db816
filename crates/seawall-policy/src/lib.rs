//! Pure decisions: (declared policy, observed facts, now) → decision.
//!
//! Floor 1. No clock and no I/O, so that every decision can be replayed from what was known when
//! it was made. The first decision that moved in is retention.
//!
//! It must not know: what a log, an object or a store is; where facts come from; how a decision
//! is carried out.

mod calendar;
pub mod retention;
mod span;

pub use span::{Span, SpanError};
