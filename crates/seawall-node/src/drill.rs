//! Drills: whether what was backed up can be had back, tried before it is needed.
//!
//! Three sorts. A *scrub* reads everything and needs no key. A *canary* restores data that is worth
//! nothing, whose escrow group is one share on the drill's own machine, so it runs without people.
//! A *quorum* drill restores a real snapshot with the approvals of its custodians. Each ends in a
//! report that is signed, logged and kept, whatever came of it.
//!
//! Rejected: a drill as a mode of `restore run`. A restore is done when the tree is written; a drill
//! has only begun then, and what it writes must not stay.

mod claim;
mod compare;
mod page;
mod publish;
mod record;
mod restore;
mod scratch;
mod scrub;
mod watch;

pub use claim::{RequestClaim, read_claim};
pub use compare::Against;
pub use page::{duration, kind_word, report_page, word};
pub use publish::{Published, publish};
pub use record::{Drilled, kept_reports};
pub use restore::{AppCheck, RestoreDrill, drill_restore};
pub use scratch::{Scratch, remove_tree_in_use};
pub use scrub::{ScrubDrill, drill_scrub};
