//! Statements of root keys for those who are to sign them: in words, with every key that decides.
//!
//! Names decide nothing, so whoever is shown a name is shown the key behind it.

use seawall_base::{NodeId, Sha256};
use seawall_record::{
    Base64, BundlePredicate, Enrolment, Epoch, Fleet, IndexPolicy, Retention, Role, fingerprint,
};
use seawall_sign::{Envelope, Predicate, Statement, predicate_type};

use super::changes::key_in_words;
use crate::output::show_path;

/// What a statement says, a line each.
pub(super) fn in_words(envelope: &Envelope, fleet: &Fleet) -> anyhow::Result<Vec<String>> {
    Ok(match predicate_type(envelope)?.as_str() {
        Enrolment::TYPE => enrolment(&read(envelope)?, fleet),
        BundlePredicate::TYPE => bundle(&read(envelope)?),
        Epoch::TYPE => epoch(&read(envelope)?, fleet),
        Retention::TYPE => {
            let it: Retention = read(envelope)?;
            vec![
                format!("of node   {}", it.node.to_hex()),
                format!("version   {}: regions keep {}", it.version, it.rules),
            ]
        }
        IndexPolicy::TYPE => indexes(&read(envelope)?),
        other => vec![other.escape_debug().to_string()],
    })
}

fn read<P: Predicate>(envelope: &Envelope) -> anyhow::Result<P> {
    Ok(Statement::<P>::read_unverified(envelope)?.predicate)
}

fn name(text: &str) -> String {
    show_path(text.as_bytes())
}

fn some_or(names: &[String], none: &str) -> String {
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

/// The fingerprint of a key that things are sealed to.
fn recipient(key: &Base64) -> String {
    format!("key with fingerprint {}", fingerprint(Sha256::of(&key.0)))
}

fn enrolment(it: &Enrolment, fleet: &Fleet) -> Vec<String> {
    let role = if it.role == Role::Region { "region" } else { "node" };
    let mut lines = vec![
        format!("enrols    {role} {}, epoch {}", name(&it.name), it.epoch),
        format!("id        {}", it.node().to_hex()),
        format!("identity  {}", key_in_words(&it.identity.to_string())),
        format!("transport {}", key_in_words(&it.transport.to_string())),
    ];
    lines.extend(it.tenant.as_ref().map(|tenant| format!("tenant    {}", name(tenant))));
    lines.extend(it.recipient.as_ref().map(|key| format!("secrets   for the {}", recipient(key))));
    let revoked = fleet.policy().revoked.iter().find(|r| r.member == it.node());
    lines.extend(revoked.map(|r| {
        let now =
            if it.epoch > r.epoch { "this brings it back" } else { "so this counts for nothing" };
        let (since, reason) = (r.since, name(&r.reason));
        format!("REVOKED   {since} ({reason}) up to epoch {}: {now}", r.epoch)
    }));
    lines
}

fn bundle(it: &BundlePredicate) -> Vec<String> {
    let region = |(address, enrolment): &(String, Sha256)| {
        format!("{} (enrolment {})", name(address), fingerprint(*enrolment))
    };
    let regions: Vec<_> = it.regions.iter().map(region).collect();
    let indexes = it
        .index_policy
        .map_or_else(|| "nobody".to_owned(), |it| format!("whom statement {} names", it.to_hex()));
    vec![
        format!("regions   {}", some_or(&regions, "none")),
        format!("indexes   are read by {indexes}"),
    ]
}

fn epoch(it: &Epoch, fleet: &Fleet) -> Vec<String> {
    let asked: Vec<_> = it.asked.iter().map(|who| name(who)).collect();
    let size = it.continues.size;
    let before = it.before();
    let of = before.map_or_else(
        || format!("of {}, NO EARLIER LOG OF THIS NODE", name(&it.continues.origin)),
        |before| format!("of epoch {before}"),
    );
    let mut lines = vec![
        format!("epoch     {} goes on from {size} entries {of}", it.epoch),
        format!("asked     {}", some_or(&asked, "NOBODY")),
        format!("reason    {}", name(&it.reason)),
    ];
    lines.extend(before.and_then(|before| revoked(fleet, it.node, before, size)));
    lines
}

/// What a next epoch makes of a revocation: how much is believed of the log before, and will be.
pub(crate) fn revoked(fleet: &Fleet, node: NodeId, before: u32, size: u64) -> Option<String> {
    let it = fleet.revocation(node, before)?;
    let believed = it.believed(before).unwrap_or(0);
    Some(format!(
        "REVOKED   {} ({}): so far {believed} entries are believed; all {size} that this epoch continues from will be",
        it.since,
        name(&it.reason),
    ))
}

fn indexes(it: &IndexPolicy) -> Vec<String> {
    let classes: Vec<_> = it.classes.iter().map(|class| name(class)).collect();
    let mut lines = vec![
        format!("indexes   of classes {}; version {}", some_or(&classes, "none"), it.version),
        format!("tenant    {}", name(&it.tenant)),
    ];
    let reader = |it: &seawall_record::Operator| {
        format!("read by   {}, {}", name(&it.name), recipient(&it.key))
    };
    lines.extend(it.operators.iter().map(reader));
    if it.operators.is_empty() {
        lines.push("read by   nobody".to_owned());
    }
    lines
}
