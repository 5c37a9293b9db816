//! Manifests that nodes bring, and the post-quantum shares in them.
//!
//! A custodian can open its own share only, and only it can: so it looks as soon as a snapshot is
//! made, while the data is still where it was, and writes down what it found. A bad share goes into
//! the log with whatever proves it, and into a file that anybody can judge.
//!
//! Looked at, and not kept: the manifest stays in its node's log. Each is written down once.

use std::collections::BTreeMap;

use seawall_base::{FleetId, NodeId, Seconds, Sha256, Timestamp};
use seawall_record::{Act, Arrival, Arrived, BadShareFile, Hex32};
use seawall_sign::VerifyingKey;

use super::Office;
use crate::message::{ArrivalStatus, Refusal, ShareFound};
use crate::{ArrivedManifest, ShareReport};

/// Manifests of one node that are looked at in an hour.
const MAX_IN_AN_HOUR: u32 = 2_000;

/// How many manifests each node brought in the hour that began then.
#[derive(Default)]
pub(super) struct Arrivals(BTreeMap<NodeId, (Timestamp, u32)>);

impl Arrivals {
    fn admit(&mut self, node: NodeId, now: Timestamp) -> Result<(), Refusal> {
        let (since, count) = self.0.entry(node).or_insert((now, 0));
        if since.after(Seconds::hours(1)) <= now {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > MAX_IN_AN_HOUR {
            let why = "this custodian has looked at enough manifests of this node for now";
            return Err(Refusal::new(429, why, "sync again in an hour"));
        }
        Ok(())
    }
}

impl Office {
    /// A manifest from the node that wrote it: the share in it is looked at, and what was found is
    /// in the log when this returns.
    pub fn arrive(&mut self, peer: VerifyingKey, body: &[u8]) -> Result<ArrivalStatus, Refusal> {
        let arrival = Arrival::parse(body)
            .map_err(|e| Refusal::new(422, e.to_string(), "use a matching version of seawall"))?;
        let (fleet, arrived) = self.enrolled(&arrival, peer)?;
        self.remember(peer, fleet);
        let manifest = arrived.envelope.digest();
        if let Some(good) = self.dockets[&fleet].arrived.get(&manifest) {
            let found = if *good { ShareFound::Good } else { ShareFound::Bad };
            return Ok(ArrivalStatus { manifest, share: found, why: String::new() });
        }
        let now = self.time.now()?;
        self.arrivals.admit(arrived.author.enrolment.node(), now)?;
        self.dockets[&fleet].check_looks(arrived.author.enrolment.node(), now)?;
        let known = &self.dockets[&fleet].fleet;
        let checked = ArrivedManifest::check(known, &arrived.envelope).map_err(|e| {
            tracing::error!(manifest = %manifest.to_hex(), error = %e, "a node signed a bad capsule");
            Refusal::new(422, e.to_string(), "make a new snapshot; its node made this one wrongly")
        })?;
        let mut own = self.shares.iter().filter(|share| share.public().group == checked.group());
        let report = own.find_map(|share| share.report(&checked, now).transpose());
        let report = report.transpose().map_err(|e| Refusal::internal(&e))?;
        let Some(report) = report else {
            let why = "it holds no share for this custodian".to_owned();
            return Ok(ArrivalStatus { manifest, share: ShareFound::None, why });
        };
        self.write_down(fleet, &arrived, arrival, report, now)
    }

    /// The fleet of a manifest, if this connection is that of the node that signed it.
    fn enrolled(
        &self,
        arrival: &Arrival,
        peer: VerifyingKey,
    ) -> Result<(FleetId, Arrived), Refusal> {
        let mut opened = self.dockets.values().filter_map(|docket| {
            let arrived = arrival.open(&docket.fleet).ok()?;
            let it = &arrived.author.enrolment;
            let is_welcome = it.transport == peer && !docket.fleet.is_revoked(it.node(), it.epoch);
            is_welcome.then(|| (docket.fleet.id(), arrived))
        });
        opened.next().ok_or_else(Refusal::stranger)
    }

    fn write_down(
        &mut self,
        fleet: FleetId,
        arrived: &Arrived,
        arrival: Arrival,
        report: ShareReport,
        now: Timestamp,
    ) -> Result<ArrivalStatus, Refusal> {
        let manifest: Sha256 = arrived.envelope.digest();
        let node = arrived.manifest.core.node;
        let docket = self.dockets.get_mut(&fleet).expect("the caller looked it up");
        docket.refresh(&self.signing)?;
        let ShareReport { about: share, statement, evidence, share: opened } = report;
        let (act, found, why) = match opened {
            Ok(_) => (Act::ShareGood { node, share }, ShareFound::Good, String::new()),
            Err(e) => {
                let file = BadShareFile::new(&docket.fleet, arrival, &statement);
                docket.keep_bad_share(manifest, &file)?;
                let (why, evidence) = (e.to_string(), evidence.map(Hex32));
                tracing::error!(node = %node, manifest = %manifest.to_hex(), why, "a node dealt a bad share");
                (Act::ShareBad { node, share, why: why.clone(), evidence }, ShareFound::Bad, why)
            }
        };
        docket.record(manifest, now, vec![act], &self.signing)?;
        Ok(ArrivalStatus { manifest, share: found, why })
    }
}
