//! What the root keys have decided, version by version, in words.
//!
//! Every field of a policy is compared with that of the version before, the founding one included.
//! A list that says less than what changed would hide the change that decides about all others.

use std::fmt::Display;

use seawall_base::Seconds;
use seawall_record::{CustodianRecord, Endpoint, EscrowGroupRecord, Fleet, FleetPolicy};
use seawall_record::{Revocation, WitnessRecord};

use super::{Happening, Proof};
use crate::home::HomeError;

/// The policies since the founding, each with what it changed.
pub(super) fn of_policies(fleet: &Fleet) -> Result<Vec<Happening>, HomeError> {
    let mut out = Vec::new();
    let mut before = fleet
        .policy_of(fleet.genesis().policy_version)
        .ok_or_else(|| HomeError::refused("the fleet has no founding policy"))?;
    for envelope in fleet.policies() {
        let it = FleetPolicy::read_unverified(envelope)?;
        let said = changes(&before, &it);
        let said = if said.is_empty() { "no change".to_owned() } else { said.join("; ") };
        out.push(Happening {
            at: it.created,
            actor: "root keys".to_owned(),
            kind: "policy",
            what: format!("version {}: {said}", it.version),
            snapshots: Vec::new(),
            request: None,
            approvals: Vec::new(),
            signers: Vec::new(),
            statement: envelope.digest(),
            proof: Proof::Policy { version: it.version },
        });
        before = it;
    }
    Ok(out)
}

/// How a policy differs from the one before it; empty only if nothing that decides anything does.
fn changes(before: &FleetPolicy, it: &FleetPolicy) -> Vec<String> {
    // By name, so that a field that is added is not forgotten here.
    let FleetPolicy {
        fleet: _,
        version: _,
        previous: _,
        root_keys,
        root_threshold,
        carried,
        groups,
        // The custodians' word for what `groups` changes.
        changes: _,
        witnesses,
        witness_quorum,
        deletion,
        revoked,
        created: _,
    } = it;
    let mut out = Vec::new();
    if (root_keys, root_threshold) != (&before.root_keys, &before.root_threshold) {
        let new = differing(root_keys, &before.root_keys);
        let gone = differing(&before.root_keys, root_keys);
        let keys = [listed(", new ", &new), listed(", no more ", &gone)].concat();
        out.push(format!("{root_threshold} of {} root keys decide{keys}", root_keys.len()));
    }
    for (n, what) in [
        (differing(carried, &before.carried).len(), "hold again or still"),
        (differing(&before.carried, carried).len(), "are no longer carried over"),
    ] {
        if n > 0 {
            out.push(format!("{n} statements that earlier root keys signed {what}"));
        }
    }
    of_groups(&before.groups, groups, &mut out);
    of_witnesses(&before.witnesses, witnesses, &mut out);
    if *witness_quorum != before.witness_quorum {
        out.push(witness_quorum.map_or_else(
            || "no witness operators need to vouch".to_owned(),
            |q| format!("{} witness operators must vouch, {} may lie", q.quorum, q.faulty),
        ));
    }
    if *deletion != before.deletion {
        out.push(deletion.map_or_else(
            || "nothing is deleted".to_owned(),
            |d| {
                let after = time(d.min_age);
                format!("regions delete after {after}, or by {} custodians", d.custodians)
            },
        ));
    }
    of_revoked(&before.revoked, revoked, &mut out);
    out
}

fn of_groups(before: &[EscrowGroupRecord], groups: &[EscrowGroupRecord], out: &mut Vec<String>) {
    for group in groups {
        match before.iter().find(|known| known.id == group.id) {
            None => {
                out.push(format!("class {} gets a group of {}", group.class, held(group)));
            }
            Some(known) if known == group => {}
            Some(known) => of_group(known, group, out),
        }
    }
    let gone = before.iter().filter(|known| groups.iter().all(|group| group.id != known.id));
    out.extend(gone.map(|it| format!("a group of class {} is gone", it.class)));
    let ids = |all: &[EscrowGroupRecord], of: &[EscrowGroupRecord]| -> Vec<_> {
        let shared = |id| of.iter().any(|group| group.id == id);
        all.iter().map(|group| group.id).filter(|id| shared(*id)).collect()
    };
    if ids(before, groups) != ids(groups, before) {
        out.push("the groups stand in another order".to_owned());
    }
}

fn held(group: &EscrowGroupRecord) -> String {
    let names: Vec<_> = group.custodians.iter().map(|c| c.name.as_str()).collect();
    format!("{} of {}", group.threshold, names.join(", "))
}

/// What a policy says anew of a group that was there before, which it does.
fn of_group(known: &EscrowGroupRecord, group: &EscrowGroupRecord, out: &mut Vec<String>) {
    let (class, said) = (&group.class, out.len());
    if group.retired != known.retired {
        let takes = if group.retired { "nothing new" } else { "snapshots again" };
        out.push(format!("the group of class {class} takes {takes}"));
    }
    let is_shared_anew =
        (group.share_epoch, group.threshold) != (known.share_epoch, known.threshold);
    if is_shared_anew {
        out.push(format!("class {class} is shared anew among {}", held(group)));
    }
    if group.suite != known.suite {
        let suite = group.suite.unwrap_or(1);
        out.push(format!("class {class} is sealed with suite {suite}"));
    }
    for custodian in &group.custodians {
        // Shared anew, custodians have other indices, and other shares.
        let is_it = |it: &&CustodianRecord| {
            if is_shared_anew { it.name == custodian.name } else { it.index == custodian.index }
        };
        if let Some(old) = known.custodians.iter().find(is_it) {
            of_custodian(class, old, custodian, out);
        }
    }
    if out.len() == said {
        out.push(format!("the record of class {class}'s group is another"));
    }
}

fn of_custodian(
    class: &str,
    known: &CustodianRecord,
    custodian: &CustodianRecord,
    out: &mut Vec<String>,
) {
    let name = &custodian.name;
    let who = format!("custodian {name} of class {class}");
    if *name != known.name {
        out.push(format!("{who} was {} before", known.name));
    }
    if custodian.signing_key != known.signing_key {
        out.push(format!("{who} signs with {}", custodian.signing_key));
    }
    if custodian.kem != known.kem {
        out.push(format!("{who} has another post-quantum key"));
    }
    if custodian.endpoint != known.endpoint {
        out.push(format!("{who} {}", reached(custodian.endpoint.as_ref())));
    }
}

fn reached(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(
        || "is reached nowhere any more".to_owned(),
        |it| format!("is reached at {} with key {}", it.address, it.transport),
    )
}

fn of_witnesses(before: &[WitnessRecord], witnesses: &[WitnessRecord], out: &mut Vec<String>) {
    let who = |it: &WitnessRecord| format!("witness {} of {}", it.name, it.operator);
    let same = |a: &WitnessRecord, b: &WitnessRecord| {
        (&a.name, &a.operator, &a.key) == (&b.name, &b.operator, &b.key)
    };
    for it in witnesses {
        match before.iter().find(|known| same(known, it)) {
            None => out.push(format!("{} with key {} counts", who(it), it.key)),
            Some(known) if known.endpoint != it.endpoint => {
                out.push(format!("{} {}", who(it), reached(it.endpoint.as_ref())));
            }
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|known| !witnesses.iter().any(|it| same(known, it)));
    out.extend(gone.map(|it| format!("{} with key {} does not count", who(it), it.key)));
}

fn of_revoked(before: &[Revocation], revoked: &[Revocation], out: &mut Vec<String>) {
    for it in differing(revoked, before) {
        let (member, entries) = (it.member.short(), it.log_size);
        out.push(format!(
            "{member} is revoked up to epoch {}, {entries} entries believed ({})",
            it.epoch, it.reason
        ));
    }
    let gone = before.iter().filter(|known| revoked.iter().all(|it| it.member != known.member));
    out.extend(gone.map(|it| format!("{} is not revoked any more", it.member.short())));
}

/// What of `all` is not in `other`.
fn differing<'a, T: PartialEq>(all: &'a [T], other: &[T]) -> Vec<&'a T> {
    all.iter().filter(|it| !other.contains(it)).collect()
}

fn listed(before: &str, all: &[&impl Display]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    format!("{before}{}", all.join(" "))
}

/// A time without rounding.
fn time(seconds: Seconds) -> String {
    match seconds.0 {
        n if n % 86_400 == 0 => format!("{} days", n / 86_400),
        n if n % 3_600 == 0 => format!("{} hours", n / 3_600),
        n => format!("{n} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use seawall_base::{FleetId, GroupId, NodeId, Sha256, Timestamp};
    use seawall_record::{DeletionRule, Hex32, WitnessQuorum};
    use seawall_sign::{SigningKey, VerifyingKey};

    use super::*;

    fn key(seed: u8) -> VerifyingKey {
        SigningKey::from_seed(&[seed; 32]).public()
    }

    fn policy() -> FleetPolicy {
        let custodian = |index: u16, name: &str| CustodianRecord {
            index,
            name: name.to_owned(),
            signing_key: key(index as u8),
            share: Hex32([index as u8; 32]),
            kem: None,
            endpoint: None,
        };
        let group = |id: u8, class: &str| EscrowGroupRecord {
            id: GroupId([id; 32]),
            class: class.to_owned(),
            class_number: id,
            threshold: 2,
            key: Hex32([id; 32]),
            ceremony: "local".to_owned(),
            share_epoch: 0,
            suite: None,
            retired: false,
            custodians: vec![custodian(1, "anna"), custodian(2, "ben")],
        };
        FleetPolicy {
            fleet: FleetId([1; 32]),
            version: 2,
            previous: Sha256([0; 32]),
            root_keys: vec![key(50)],
            root_threshold: 1,
            carried: vec![Sha256([7; 32])],
            groups: vec![group(1, "default"), group(2, "secret")],
            changes: Vec::new(),
            witnesses: vec![WitnessRecord {
                operator: "dora".to_owned(),
                name: "dora".to_owned(),
                key: key(60),
                endpoint: None,
            }],
            witness_quorum: None,
            deletion: None,
            revoked: vec![Revocation {
                member: NodeId([9; 32]),
                epoch: 1,
                log_size: 3,
                reason: "stolen".to_owned(),
                since: Timestamp(1),
                earlier: Vec::new(),
            }],
            created: Timestamp(1),
        }
    }

    type Change = fn(&mut FleetPolicy);

    /// What a change of a policy is said to be, there and back.
    fn said(change: Change) -> [String; 2] {
        let (before, mut after) = (policy(), policy());
        change(&mut after);
        [changes(&before, &after).join("; "), changes(&after, &before).join("; ")]
    }

    #[test]
    fn whatever_changed_is_named_both_ways() {
        let endpoint = || Some(Endpoint { address: "h:1".to_owned(), transport: key(70) });
        assert_eq!(changes(&policy(), &policy()), [""; 0]);
        let all: [(&str, Change); 21] = [
            ("1 of 1 root keys decide, new ed25519:", |p| p.root_keys = vec![key(51)]),
            ("2 of 2 root keys decide, new ed25519:", |p| {
                p.root_keys.push(key(51));
                p.root_threshold = 2;
            }),
            ("1 statements that earlier root keys signed hold", |p| {
                p.carried.push(Sha256([8; 32]));
            }),
            ("1 statements that earlier root keys signed are no longer", |p| p.carried.clear()),
            ("class third gets a group of 2 of anna, ben", |p| {
                let mut new = p.groups[0].clone();
                (new.id, new.class) = (GroupId([3; 32]), "third".to_owned());
                p.groups.push(new);
            }),
            ("the groups stand in another order", |p| p.groups.reverse()),
            ("the group of class secret takes nothing new", |p| p.groups[1].retired = true),
            ("class default is shared anew among 2 of anna, ben", |p| p.groups[0].share_epoch = 1),
            ("class default is sealed with suite 3", |p| p.groups[0].suite = Some(3)),
            ("the record of class default's group", |p| p.groups[0].key = Hex32([99; 32])),
            ("custodian eve of class default was ben before", |p| {
                p.groups[0].custodians[1].name = "eve".to_owned();
            }),
            ("custodian ben of class secret signs with ed25519:", |p| {
                (p.groups[1].share_epoch, p.groups[1].custodians[1].signing_key) = (1, key(77));
            }),
            ("custodian anna of class default has another post-quantum", |p| {
                p.groups[0].custodians[0].kem = Some(seawall_record::Base64(vec![1]));
            }),
            ("the record of class default's group", |p| {
                p.groups[0].custodians[0].share = Hex32([88; 32]);
            }),
            ("witness dora of dora with key ed25519:", |p| p.witnesses[0].key = key(61)),
            ("witness dora of dora with key ed25519:", |p| p.witnesses.clear()),
            ("2 witness operators must vouch, 0 may lie", |p| {
                p.witness_quorum = Some(WitnessQuorum { quorum: 2, faulty: 0 });
            }),
            ("regions delete after 47 hours, or by 2 custodians", |p| {
                p.deletion = Some(DeletionRule { min_age: Seconds::hours(47), custodians: 2 });
            }),
            ("regions delete after 1 seconds", |p| {
                p.deletion = Some(DeletionRule { min_age: Seconds(1), custodians: 2 });
            }),
            ("is revoked up to epoch 1, 2 entries believed (stolen)", |p| {
                p.revoked[0].log_size = 2;
            }),
            ("090909090909 is not revoked any more", |p| p.revoked.clear()),
        ];
        for (words, change) in all {
            let [there, back] = said(change);
            assert!(there.contains(words), "{words}: {there}");
            assert!(!back.is_empty(), "{words}, taken back");
        }
        let mut moved = policy();
        (moved.groups[1].custodians[0].endpoint, moved.witnesses[0].endpoint) =
            (endpoint(), endpoint());
        let said = changes(&policy(), &moved).join("; ");
        for who in ["custodian anna of class secret", "witness dora of dora"] {
            assert!(said.contains(&format!("{who} is reached at h:1 with key ed25519:")), "{said}");
        }
        let said = changes(&moved, &policy()).join("; ");
        assert!(said.contains("is reached nowhere any more"), "{said}");
    }
}
