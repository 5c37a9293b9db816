//! Deleting snapshots: by the custodians' statement, or because the fleet's rules let them expire.
//!
//! What is decided stands in `deleted.json` beside the log before anybody is told, and is never
//! taken back: an object of a deleted snapshot may be gone from the next collection on
//! ([`crate::Collect`]). The log itself stays whole; only objects go.
//!
//! A statement is acted on if it stands in the mirrored log, so that everybody who reads the log
//! sees it, and if it holds by the *newest* policy known here, at a time before it expires: of the
//! region's clock and the witnesses' the later one counts, so that a clock set back revives nothing.
//!
//! A snapshot expires if the root keys' rules in its log do not want it, its own node has let it go
//! (a forget statement), a quorum of witnesses has seen it for the minimum age, and no drill has
//! ever restored it. Neither a node nor this region's clock can bring that about alone.
//!
//! Rejected: acting on statements as they come along in a log. A node mirrors its log under policies
//! it may not know are old; refusing such an entry would end its backups.

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{Disk, FleetId, Sha256, TenantId, Timestamp, read_file, write_atomic};
use seawall_policy::deletion::{Kept, Stays, expire};
use seawall_policy::retention::Group;
use seawall_policy::witness::{witnessed_now, witnessed_then};
use seawall_record::{Deleted, DeletionRule, Fleet, Forgotten, Manifest, Retention};
use seawall_sign::{Envelope, Statement};
use serde::{Deserialize, Serialize};

use crate::logs::{LogSlot, MirroredLog};
use crate::witnessed::{cosigned, needed, roster, stamps};
use crate::{Expired, Member, Refusal, Region, RegionError};

const FORMAT: &str = "seawall-region-deleted/1";
/// Largest file of deleted snapshots in bytes: some 250 000 of them in one log.
const MAX_FILE: usize = 64 << 20;

/// A deleted snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tomb {
    pub(crate) sequence: u64,
    pub(crate) manifest: Sha256,
    /// The deletion or retention statement in its log.
    pub(crate) under: Sha256,
    /// When it was decided, by this region's clock.
    pub(crate) at: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TombFile {
    format: String,
    snapshots: Vec<Tomb>,
}

/// The deleted snapshots of one log.
pub(crate) struct Tombs {
    path: String,
    by_manifest: BTreeMap<Sha256, Tomb>,
}

impl Tombs {
    pub(crate) fn open(disk: &dyn Disk, dir: &str) -> Result<Self, RegionError> {
        let path = format!("{dir}/deleted.json");
        let bytes =
            read_file(disk, &path, MAX_FILE).map_err(RegionError::io(format!("reading {path}")))?;
        let Some(bytes) = bytes else { return Ok(Self { path, by_manifest: BTreeMap::new() }) };
        let damaged = |why: String| RegionError::Damaged { path: path.clone(), why };
        let file: TombFile = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if file.format != FORMAT {
            return Err(damaged(format!("format {:?}", file.format)));
        }
        let by_manifest = file.snapshots.into_iter().map(|it| (it.manifest, it)).collect();
        Ok(Self { path, by_manifest })
    }

    pub(crate) fn of(&self, manifest: &Sha256) -> Option<&Tomb> {
        self.by_manifest.get(manifest)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Tomb> {
        self.by_manifest.values()
    }

    /// Adds those that are not there yet. Durable on return; what was first stays.
    pub(crate) fn add(&mut self, disk: &dyn Disk, tombs: Vec<Tomb>) -> Result<(), RegionError> {
        let before = self.by_manifest.len();
        for it in tombs {
            self.by_manifest.entry(it.manifest).or_insert(it);
        }
        if self.by_manifest.len() == before {
            return Ok(());
        }
        let mut snapshots: Vec<Tomb> = self.by_manifest.values().cloned().collect();
        snapshots.sort_by_key(|it| (it.sequence, it.manifest));
        let file = TombFile { format: FORMAT.to_owned(), snapshots };
        let json = serde_json::to_vec(&file).expect("numbers and digests serialise");
        if json.len() > MAX_FILE {
            let why = "too many deleted snapshots in one log; begin its next epoch".to_owned();
            return Err(RegionError::Unusable { what: "deletion", why });
        }
        write_atomic(disk, &self.path, &json)
            .map_err(RegionError::io(format!("writing {}", self.path)))
    }
}

impl Region {
    /// Deletes the snapshots that a statement names, if it may be acted on. Durable on return.
    pub fn delete(&self, member: &Member, body: &[u8]) -> Result<(), Refusal> {
        let refuse = |status, why: String, remedy: &str| Refusal::new(status, why, remedy);
        let envelope = Envelope::parse(body).map_err(|e| {
            refuse(400, format!("malformed statement: {e}"), "use a matching version of seawall")
        })?;
        let claimed = seawall_record::Deletion::read_unverified(&envelope)
            .map_err(|e| refuse(422, e.to_string(), "propose the deletion anew"))?;
        let slot = self.visible_origin(member, &claimed.origin)?;
        let fleet = self.hosted(slot.fleet)?;
        let clock = self.clock.now();
        self.with_log(&slot, |log| {
            let digest = envelope.digest();
            if claimed.snapshots.iter().all(|it| log.tombs.of(&it.manifest).is_some()) {
                return Ok(Ok(()));
            }
            let logged = log.state.deletion(&digest);
            if logged.is_none_or(|it| it.index >= log.published()) {
                let why = "the statement does not stand in the log mirrored here".to_owned();
                return Ok(Err(refuse(409, why, "apply it on its node and sync first")));
            }
            if let Err(e) = log.state.check_deletion(&envelope, fleet.policy()) {
                return Ok(Err(refuse(403, e.to_string(), "let the custodians sign a new one")));
            }
            let now = clock.max(self.witnessed_now(&fleet, &slot, clock)?.unwrap_or(clock));
            if claimed.expires < now {
                let why = format!("the statement expired {}, and it is {now}", claimed.expires);
                return Ok(Err(refuse(403, why, "let the custodians sign a new one")));
            }
            let tomb = |it: &Forgotten| Tomb {
                sequence: it.sequence,
                manifest: it.manifest,
                under: digest,
                at: clock,
            };
            let tombs = claimed.snapshots.iter().map(tomb).collect();
            log.tombs.add(self.disk.as_ref(), tombs)?;
            let snapshots = claimed.snapshots.len();
            tracing::info!(origin = %slot.origin, under = %digest, snapshots, "deleted");
            Ok(Ok(()))
        })?
    }

    /// The earliest time it can be by a quorum of the fleet's witnesses.
    fn witnessed_now(
        &self,
        fleet: &Fleet,
        slot: &LogSlot,
        clock: Timestamp,
    ) -> Result<Option<Timestamp>, RegionError> {
        let Some(needed) = needed(fleet) else { return Ok(None) };
        let (roster, all) = (roster(fleet), cosigned(self.disk.as_ref(), slot)?);
        // Uncut by the region's clock, which may have been set back.
        let ahead = Timestamp(u64::MAX).max(clock);
        Ok(witnessed_now(stamps(all.stamps(&roster)), needed, ahead))
    }

    /// This region's word on what of a log it keeps no longer.
    pub fn notices(&self, member: &Member, hash: Sha256) -> Result<Vec<Envelope>, Refusal> {
        let slot = self.visible(member, hash)?;
        let tombs: Vec<Tomb> =
            self.with_log(&slot, |log| Ok(log.tombs.all().cloned().collect()))?;
        let mut by_statement: BTreeMap<Sha256, Vec<Forgotten>> = BTreeMap::new();
        for it in tombs {
            let gone = Forgotten { sequence: it.sequence, manifest: it.manifest };
            by_statement.entry(it.under).or_default().push(gone);
        }
        let mut notices = Vec::new();
        for (under, mut all) in by_statement {
            all.sort_by_key(|it| (it.sequence, it.manifest));
            for some in all.chunks(Deleted::MAX) {
                let notice = Deleted {
                    fleet: slot.fleet,
                    region: self.keys.identity.public().node_id(),
                    incarnation: self.config.incarnation,
                    origin: slot.origin.to_string(),
                    under,
                    snapshots: some.to_vec(),
                    created: self.clock.now(),
                };
                let signed = notice.statement().sign(&[&self.keys.identity]);
                notices.push(signed.map_err(|e| Refusal::internal(&e))?);
            }
        }
        Ok(notices)
    }

    /// What nodes have restored of others' snapshots in drills.
    pub(crate) fn proven_by_others(&self) -> ProvenByOthers {
        let mut out = ProvenByOthers::default();
        for slot in self.slots() {
            let done = self.with_log(&slot, |log| {
                let all: Vec<_> = log.state.proved_for_others().collect();
                Ok((log.tenant(), all))
            });
            match done {
                Ok((Some(tenant), all)) => {
                    out.snapshots.extend(all.into_iter().map(|it| (tenant, it)));
                }
                Ok((None, _)) => {}
                Err(_) => out.unread.push((slot.fleet, slot.origin.to_string())),
            }
        }
        out
    }

    /// Lets snapshots of a log expire that may; with `dry` only tells which. Why nothing of a log
    /// can, where that is so.
    pub(crate) fn expire(
        &self,
        slot: &LogSlot,
        proven: &ProvenByOthers,
        dry: bool,
    ) -> Result<Expired, RegionError> {
        if let Some((_, unread)) = proven.unread.iter().find(|(fleet, _)| *fleet == slot.fleet) {
            let why =
                format!("log {unread}, which may say that a drill restored them, cannot be read");
            let origin = slot.origin.to_string();
            return Ok(Expired { origin, why: Some(why), ..Expired::default() });
        }
        let fleet = self.hosted(slot.fleet)?;
        let origin = slot.origin.to_string();
        self.with_log(slot, |log| {
            let mut out = Expired { origin, ..Expired::default() };
            let retention = match retention_of(log, &fleet) {
                Ok(retention) => retention,
                Err(why) => return Ok(Expired { why: Some(why.to_owned()), ..out }),
            };
            let (kept, now) = self.kept(log, slot, &fleet, proven)?;
            let rule = fleet.deletion().map(DeletionRule::rule);
            let verdicts = expire(&kept, &retention.0.rules, rule, now).map_err(|e| {
                RegionError::Unusable { what: "retention rules", why: e.to_string() }
            })?;
            let clock = self.clock.now();
            let mut tombs = Vec::new();
            for ((manifest, it), verdict) in digests(log).into_iter().zip(&kept).zip(verdicts) {
                match verdict {
                    Ok(()) => tombs.push(Tomb {
                        sequence: it.sequence,
                        manifest,
                        under: retention.1,
                        at: clock,
                    }),
                    Err(Stays::Denied(_)) => out.denied += 1,
                    Err(Stays::Held) => out.held += 1,
                    Err(Stays::Wanted(_)) => out.wanted += 1,
                }
            }
            out.snapshots = tombs
                .iter()
                .map(|it| Forgotten { sequence: it.sequence, manifest: it.manifest })
                .collect();
            if !dry && !tombs.is_empty() {
                tracing::info!(origin = %slot.origin, snapshots = tombs.len(), "expired");
                log.tombs.add(self.disk.as_ref(), tombs)?;
            }
            Ok(out)
        })
    }

    /// What the rules are to know of those snapshots, and the earliest time it can be.
    fn kept(
        &self,
        log: &MirroredLog,
        slot: &LogSlot,
        fleet: &Fleet,
        proven: &ProvenByOthers,
    ) -> Result<(Vec<Kept>, Option<Timestamp>), RegionError> {
        let clock = self.clock.now();
        let Some(needed) = needed(fleet) else { return Ok((Vec::new(), None)) };
        let (roster, all) = (roster(fleet), cosigned(self.disk.as_ref(), slot)?);
        let now = witnessed_now(stamps(all.stamps(&roster)), needed, clock);
        let (mut kept, tenant) = (Vec::new(), log.tenant());
        for (&index, (digest, _)) in log.manifests.range(..log.published()) {
            if log.tombs.of(digest).is_some() {
                continue;
            }
            let envelope = Envelope::parse(&log.mirror.entry(index)?);
            let core = envelope
                .and_then(|it| Statement::<Manifest>::read_unverified(&it))
                .map_err(|e| RegionError::Damaged { path: slot.dir.clone(), why: e.to_string() })?
                .predicate
                .core;
            let first = stamps(all.first_stamps(&roster, index, needed));
            let chained = log.state.is_chained(core.sequence, *digest);
            kept.push(Kept {
                group: Group { node: core.node.to_string(), set: core.set, class: core.class },
                sequence: core.sequence,
                created: core.created,
                then: witnessed_then(first, needed, clock),
                tags: core.tags,
                let_go: log.state.forgotten(digest).is_some(),
                proven: (chained && log.state.was_proven(core.sequence))
                    || tenant.is_some_and(|it| proven.snapshots.contains(&(it, *digest))),
            });
        }
        Ok((kept, now))
    }
}

/// Snapshots that a node of the same tenant has restored in a drill, as its own log says: a machine
/// that drills for others keeps theirs. It can only keep, so its word is enough.
#[derive(Default)]
pub(crate) struct ProvenByOthers {
    snapshots: BTreeSet<(TenantId, Sha256)>,
    /// Logs that might name more.
    unread: Vec<(FleetId, String)>,
}

/// Published snapshots of a log that are not deleted, by index.
fn digests(log: &MirroredLog) -> Vec<Sha256> {
    let left = log.manifests.range(..log.published()).map(|(_, (digest, _))| *digest);
    left.filter(|digest| log.tombs.of(digest).is_none()).collect()
}

/// The rules by which snapshots of a log expire, with the digest of their statement, if today's
/// policy lets anything expire and today's root keys stand behind them.
fn retention_of<'l>(
    log: &'l MirroredLog,
    fleet: &Fleet,
) -> Result<(&'l Retention, Sha256), &'static str> {
    if fleet.deletion().is_none() {
        return Err("the fleet's policy lets nothing be deleted");
    }
    if needed(fleet).is_none() {
        return Err("the fleet's policy demands no quorum of witnesses, so nothing has an age");
    }
    if log.state.owner().is_some_and(|(node, epoch)| fleet.is_revoked(node, epoch)) {
        return Err("its node was revoked: what it says of itself does not count");
    }
    let (retention, envelope) = log.state.retention().ok_or("its log has no retention rules")?;
    fleet
        .open_root_signed::<Retention>("retention statement", envelope)
        .map_err(|_| "today's root keys do not stand behind its retention rules")?;
    Ok((retention, envelope.digest()))
}
