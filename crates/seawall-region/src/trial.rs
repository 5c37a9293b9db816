//! A region in memory, for tests inside this crate.

use std::sync::Arc;

use seawall_sim::{SeededRng, SimClock, SimDisk};
use seawall_sync::message::EnrolRequest;

use crate::world::{Node, World};
use crate::{Member, Region};

/// A new region that hosts the world's fleet.
pub(crate) fn region_of(world: &World) -> Arc<Region> {
    let (disk, clock) = (SimDisk::new(), SimClock::new(world.now));
    let fleets = std::slice::from_ref(&world.fleet);
    Region::init_on(&disk, "127.0.0.1:0", "shore", fleets, &mut SeededRng::new(1), &clock)
        .expect("a new region");
    Arc::new(Region::open_on(Arc::new(disk), Arc::new(clock)).expect("opened"))
}

/// Makes a node a member.
pub(crate) fn enrol(region: &Region, node: &Node) -> Arc<Member> {
    let request = EnrolRequest::new(node.fleet.id(), &node.envelope, &[]);
    let peer = node.transport.public();
    region.enrol(&peer, &serde_json::to_vec(&request).expect("JSON")).expect("enrolled");
    region.member(&peer).expect("a member")
}
