//! What tests of whole snapshots share.

use seawall_base::{FleetId, GroupId, NodeId, Timestamp};
use seawall_record::{ManifestCore, ReferenceSet, Totals};

/// The data class of all snapshots here.
pub(crate) const CLASS: u8 = 3;

/// In memory where that is possible: a restore ends by writing out its whole file system, which
/// on a busy disk takes as long as all others' writes.
pub(crate) fn temporary() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory")
}

/// The part of a manifest that a restore looks at, and something in its other fields.
pub(crate) fn signed(reference_set: ReferenceSet, totals: Totals) -> ManifestCore {
    ManifestCore {
        fleet: FleetId([1; 32]),
        node: NodeId([2; 32]),
        origin: "seawall.test/node".to_owned(),
        sequence: 1,
        previous: None,
        created: Timestamp(1_700_000_000),
        class: CLASS,
        group: GroupId([3; 32]),
        reference_set,
        totals,
        set: None,
        tags: Vec::new(),
    }
}
