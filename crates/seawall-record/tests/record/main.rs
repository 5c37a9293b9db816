//! The rules of the record, each broken by a test of its own, through the public interface.

mod bundles;
mod cards;
mod ceremonies;
mod deleting;
mod dossiers;
mod epochs;
mod fixture;
mod forgetting;
mod genesis_rules;
mod happened;
mod hostile_bytes;
mod index_policies;
mod log_rules;
mod policies;
mod predicates;
mod requests;
