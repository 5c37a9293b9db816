//! The node: keys and state on disk, the client of the region, the sync loop.
//!
//! Floor 6, a composition root: here real disks, clocks and sockets meet the pure rooms. The
//! operator's part of a small fleet (founding it, enrolling members) lives here too, because in
//! a fleet of one person the operator's machine *is* a node; its root key is a file of its own
//! that can be kept elsewhere.
//!
//! It must not know: how commands are spelled, what is printed, who is asked for a passphrase.

mod arrivals;
mod audit;
mod browse;
mod bucket;
mod bucket_source;
mod canary;
mod carried;
mod clock;
mod command_source;
mod custodians;
mod delegations;
mod deletion;
mod drill;
mod enrol;
mod epoch;
mod events;
mod evidence;
mod fetch;
mod file_cache;
mod find;
mod fleet_policy;
mod forks;
mod founding;
mod history;
mod home;
mod hooks;
mod input;
mod keys;
mod mount;
mod opening;
mod operators;
mod policy_news;
mod prune;
mod recovery;
pub mod region_client;
mod restore;
mod retention;
mod root_files;
mod sheet;
mod snapshots;
mod still;
mod tiers;
mod verify;
mod witness_link;
mod witnesses;

pub use arrivals::{Away, Brought, capsules};
pub use audit::{Happening, Proof, add_exported, audit, audit_exported, in_words};
pub use browse::{Reach, view};
pub use bucket::{Bucket, BucketError, BucketPushed};
pub use canary::{CANARY, approve_canary, canary_dir};
pub use carried::OtherLogs;
pub use clock::{ClockStanding, clock_standing, trust_clock};
pub use command_source::CommandLine;
pub use custodians::{AskError, Asked, alive, check_approval, request_status, send_request};
pub use deletion::{
    DeletionOrder, apply_deletion, apply_retention, propose_deletion, propose_retention,
    read_retention, region_retention,
};
pub use drill::{
    Against, AppCheck, Drilled, Published, RequestClaim, RestoreDrill, Scratch, ScrubDrill,
    drill_restore, drill_scrub, duration, kept_reports, kind_word, publish, read_claim,
    remove_tree_in_use, report_page, word,
};
pub use enrol::{
    adopt_region, enroll, enrolment_bundle, member_keys, replaced_region, sign_region,
};
pub use epoch::{
    Adopted, Elsewhere, EpochGrant, EpochRequest, MAX_EPOCH_FILE, OpenedEpochRequest, Provisional,
    Standing, adopt as adopt_epoch, begin as begin_epoch, provisional, sign as sign_epoch,
    standing as log_standing,
};
pub use events::append_event;
pub use evidence::{
    OriginProof, Provenance, keep as keep_evidence, prove_origin, provenance, record_use,
};
pub use fetch::{FetchFileError, fetch_file};
pub use find::{Finder, Tiers, Updated};
pub use fleet_policy::{
    Believed, PolicyEdits, Proposal, Told, apply_policy, believed_logs, member_named,
    propose_policy, sign_proposal,
};
pub use forks::forks_shown;
pub use founding::{AskPassphrase, Founded, Founding, FoundingGroup, LocalGroup, found};
pub use history::{Vouched, check_history};
pub use home::{Home, HomeError, Lock};
pub use hooks::{CommandError, Commands, Hook, on_interruption};
pub use input::{Input, Survey, Trees, survey};
pub use mount::{MountOptions, Unmounted, mount};
pub use opening::{
    Answer, Opened, examine_request, examine_request_with, is_asked_here, keep_hand_over,
    open_request,
};
pub use operators::{
    PolicyChange, apply_index_policy, change_index_policy, index_policy, operator_card,
};
pub use policy_news::Told as PolicyTold;
pub use prune::{PrunePlan, PruneStep, Pruned, REWRITE_BELOW, plan_prune, prune};
pub use recovery::{CardSource, HandOn, Recovered, export_root_key, new_root_key, recover};
pub use restore::{RequestOptions, RequestWritten, Requestable, forget_expired, request};
pub use retention::{DEFAULT_COPIES, DEFAULT_MIN_AGE, Decision, Held, Retention};
pub use root_files::{RootFile, open_root_key, root_signers};
pub use sheet::{sheet_html, sheet_text};
pub use snapshots::{CreateOptions, Listed, Written, create_snapshot, list_snapshots};
pub use tiers::{
    Layered, Pulled, PulledLog, RegionLink, SyncDone, SyncOptions, SyncOutcome, SyncProgress,
    Unreached, learn_newer, pull_bucket_shown, pull_shown, sync,
};
pub use verify::{ReadData, Repaired, Verified, VerifyOptions, VerifyProgress, verify};
pub use witness_link::{HttpWitness, hear};
pub use witnesses::{Witnessed, home_roster, log_reached, region_cosigners, roster};
