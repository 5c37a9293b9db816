//! Who may use the region: members whose enrolment a hosted fleet's root keys signed.
//!
//! A member is found by the transport key its TLS connection proved. A record on disk is the
//! `enrol` body it came with; it is checked again, signatures and all, whenever it is read.

use std::sync::Arc;

use seawall_base::{TenantId, Timestamp, write_atomic};
use seawall_record::{Enrolment, Fleet, Role, Subkey};
use seawall_sign::{Envelope, VerifyingKey};
use seawall_sync::message::{EnrolRequest, MAX_ENROL_SUBKEYS};
use seawall_sync::tenant_id;
use seawall_tlog::Origin;

use crate::home::must_read;
use crate::{Refusal, Region, RegionError};

/// What a write that did not finish leaves behind.
const TEMPORARY: &str = ".tmp";

/// A member of a hosted fleet.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its fleet.
    pub fleet: Fleet,
    /// Its enrolment.
    pub enrolment: Enrolment,
    /// The enrolment statement.
    pub envelope: Envelope,
    /// Its tenant: the scope of everything it can see.
    pub tenant: TenantId,
    /// The only log it may write.
    pub origin: Origin,
    /// Subkeys it has introduced, those that expire last first.
    pub subkeys: Vec<(Subkey, Envelope)>,
}

impl Member {
    /// Checks an `enrol` body against the fleet it names.
    fn check(fleet: &Fleet, request: &EnrolRequest) -> Result<Self, String> {
        let (envelope, offered) = request.envelopes().map_err(|e| e.to_string())?;
        let enrolment = Enrolment::open(fleet, &envelope, Role::Node).map_err(|e| e.to_string())?;
        if let Some(why) = fleet.revocation(enrolment.node(), enrolment.epoch) {
            return Err(format!("this node was revoked ({})", why.reason));
        }
        let name = enrolment.tenant.as_deref().ok_or("a node without a tenant")?;
        let tenant = tenant_id(fleet.id(), name);
        let origin = Origin::of_node(fleet.id(), enrolment.node(), enrolment.epoch);
        let fleet = fleet.clone();
        let mut member = Self { fleet, enrolment, envelope, tenant, origin, subkeys: Vec::new() };
        for subkey in offered {
            member.introduce(subkey)?;
        }
        Ok(member)
    }

    fn introduce(&mut self, envelope: Envelope) -> Result<(), String> {
        let subkey = Subkey::open(&self.enrolment, &envelope).map_err(|e| e.to_string())?;
        self.subkeys.retain(|(known, _)| known.key != subkey.key);
        self.subkeys.push((subkey, envelope));
        self.subkeys.sort_by_key(|(s, _)| (std::cmp::Reverse(s.not_after), s.key));
        self.subkeys.truncate(MAX_ENROL_SUBKEYS);
        Ok(())
    }

    /// Takes the place of `known`, this member as it is on record: learns its subkeys where the
    /// enrolment is the same, and refuses to where another enrolment has no higher epoch.
    fn succeed(&mut self, known: &Self) -> Result<(), Refusal> {
        if known.envelope.digest() == self.envelope.digest() {
            let offered = std::mem::replace(&mut self.subkeys, known.subkeys.clone());
            for (_, envelope) in offered {
                self.introduce(envelope)
                    .map_err(|why| Refusal::forbidden(why, "show subkeys of this member only"))?;
            }
            return Ok(());
        }
        let (held, offered) = (known.enrolment.epoch, self.enrolment.epoch);
        if offered > held {
            return Ok(());
        }
        Err(Refusal::forbidden(
            format!(
                "this node is enrolled under epoch {held}, and another enrolment of epoch \
                 {offered} does not replace it"
            ),
            "enrol the node again under a higher epoch",
        ))
    }

    /// The introduced subkeys valid at some moment from `from` to `until`.
    pub(crate) fn subkeys_between(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> impl Iterator<Item = VerifyingKey> {
        self.subkeys
            .iter()
            .filter(move |(s, _)| s.not_before <= until && s.not_after >= from)
            .map(|(s, _)| s.key)
    }

    fn to_json(&self) -> Vec<u8> {
        let subkeys: Vec<Envelope> = self.subkeys.iter().map(|(_, e)| e.clone()).collect();
        let request = EnrolRequest::new(self.fleet.id(), &self.envelope, &subkeys);
        serde_json::to_vec(&request).expect("envelopes always serialise")
    }

    fn path(&self) -> String {
        let fleet = self.fleet.id().to_hex();
        format!("fleets/{fleet}/members/{}.json", self.enrolment.node().to_hex())
    }
}

impl Region {
    pub(crate) fn load_members(&self, fleet: &Fleet) -> Result<(), RegionError> {
        let dir = format!("fleets/{}/members", fleet.id().to_hex());
        let names = self.disk.list(&dir).map_err(RegionError::io(format!("listing {dir}")))?;
        for name in names.iter().filter(|name| !name.ends_with(TEMPORARY)) {
            let path = format!("{dir}/{name}");
            let damaged = |why: String| RegionError::Damaged { path: path.clone(), why };
            let bytes = must_read(self.disk.as_ref(), &path)?;
            let request: EnrolRequest =
                serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
            let member = match Member::check(fleet, &request) {
                Ok(member) => member,
                // A policy may take back what was good when the record was written.
                Err(why) if !fleet.policies().is_empty() => {
                    tracing::warn!(path, why, "no member any more");
                    continue;
                }
                Err(why) => return Err(damaged(why)),
            };
            let mut members = self.members_mut();
            // Whoever learned of a newer policy meanwhile judges by that.
            if self.fleet(fleet.id()).is_some_and(|now| now.version() > fleet.version()) {
                return Ok(());
            }
            members.insert(member.enrolment.transport, Arc::new(member));
        }
        Ok(())
    }

    /// Takes a member in, or learns more subkeys of one. `peer` is the key its connection proved.
    pub fn enrol(&self, peer: &VerifyingKey, body: &[u8]) -> Result<(), Refusal> {
        let request: EnrolRequest = serde_json::from_slice(body).map_err(|e| {
            Refusal::new(
                400,
                format!("malformed enrolment: {e}"),
                "use a matching version of seawall",
            )
        })?;
        let fleet = self.fleet(request.fleet).ok_or_else(|| {
            Refusal::forbidden(
                format!("{} is not hosted here", request.fleet),
                "ask the region's operator to add the fleet's card",
            )
        })?;
        let fleet = match request.policies() {
            Ok(policies) if policies.is_empty() => fleet,
            Ok(policies) => self.learn_policies(&fleet, policies)?,
            Err(e) => {
                let why = format!("malformed policy: {e}");
                return Err(Refusal::new(400, why, "use a matching version of seawall"));
            }
        };
        let mut member = Member::check(&fleet, &request).map_err(|why| {
            Refusal::forbidden(
                format!("not a member of the fleet: {why}"),
                "ask the fleet's operator for an enrolment",
            )
        })?;
        if member.enrolment.transport != *peer {
            return Err(Refusal::forbidden(
                "the connection's key is not the one enrolled",
                "use the transport key the enrolment names, or enrol again",
            ));
        }
        let mut members = self.members_mut();
        // Judged by a policy that is no longer the newest: whoever that one revokes would slip in.
        if self.fleet(request.fleet).is_none_or(|now| now.version() != fleet.version()) {
            drop(members);
            return self.enrol(peer, body);
        }
        let node = member.enrolment.node();
        let same = |m: &&Arc<Member>| m.enrolment.node() == node && m.fleet.id() == fleet.id();
        let known = members.values().find(same).cloned();
        if let Some(known) = &known {
            member.succeed(known)?;
            if member.to_json() == known.to_json() {
                return Ok(());
            }
        }
        if members.get(peer).is_some_and(|m| m.enrolment.node() != node) {
            return Err(Refusal::forbidden(
                "this transport key belongs to another member",
                "every member needs a key of its own",
            ));
        }
        self.write_member(&member)?;
        if let Some(known) = known {
            members.remove(&known.enrolment.transport);
        }
        tracing::info!(node = %node, fleet = %fleet.id(), name = member.enrolment.name, "member enrolled");
        members.insert(*peer, Arc::new(member));
        Ok(())
    }

    fn write_member(&self, member: &Member) -> Result<(), RegionError> {
        let path = member.path();
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        self.disk.create_dir_all(dir).map_err(RegionError::io(format!("creating {dir}")))?;
        write_atomic(self.disk.as_ref(), &path, &member.to_json())
            .map_err(RegionError::io(format!("writing {path}")))?;
        let fleet = format!("fleets/{}", member.fleet.id().to_hex());
        self.disk.sync_dir(&fleet).map_err(RegionError::io(format!("syncing {fleet}")))
    }
}
