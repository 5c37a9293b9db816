//! `seawall fleet policy show | propose | sign | apply`.

use std::path::Path;

use anyhow::Context as _;
use seawall_base::{Clock as _, GroupId, Seconds, Sha256, Timestamp};
use seawall_custodian::ceremony::check_group_file;
use seawall_host::SystemClock;
use seawall_node::{
    Believed, Home, OtherLogs, PolicyEdits, Proposal, RootFile, Told, apply_policy, believed_logs,
    member_named, propose_policy, sign_proposal,
};
use seawall_record::{
    CustodianCard, DeletionRule, Endpoint, EscrowGroupRecord, Fleet, FleetPolicy, GroupChange,
    GroupFile, Revocation, WitnessQuorum, WitnessRecord, fingerprint,
};
use seawall_sign::Envelope;
use serde_json::json;

use super::changes::{Change, changes};
use super::sign::{Described, adding, agree, copies_of, hand_over, known_fleet};
use crate::cli::{PolicyCommand, ProposeArgs};
use crate::output::{Printer, Usage, read_input, show_path, span};

pub(super) fn run(path: &Path, command: &PolicyCommand, printer: &Printer) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Show { proposal: None, fleet } => {
            let fleet = known_fleet(path, fleet.fleet.as_deref())?;
            let (value, words) = (as_json(fleet.policy()), in_words(fleet.policy()));
            printer.result(&value, &words)
        }
        PolicyCommand::Show { proposal: Some(file), fleet } => {
            let fleet = known_fleet(path, fleet.fleet.as_deref())?;
            let it = describe_against(&fleet, envelope(file)?)?;
            printer.result(&it.value, &format!("{}\n\n{}", it.words, it.state))
        }
        PolicyCommand::Propose(args) => {
            let home = &Home::open(path)?;
            let copies = copies_of(&home.fleet()?, &args.sign_with)?;
            let edits = edits(home, args)?;
            let proposal = propose_policy(home, &edits, copies, &SystemClock)?;
            let it = describe(&home.fleet()?, &proposal);
            let words = format!("{}\n\n{}", it.words, it.state);
            printer.described(&args.out, &as_file(&proposal), (it.value, &words))
        }
        PolicyCommand::Sign { proposal, sign } => {
            let fleet = known_fleet(path, sign.fleet.fleet.as_deref())?;
            let mut signed = Proposal::of(&fleet, envelope(proposal)?)?;
            agree(&describe(&fleet, &signed).words, sign.yes, printer)?;
            for key in &adding(path, &fleet, &sign.root_key)? {
                signed = sign_proposal(&fleet, signed.envelope, key)?;
            }
            let it = describe(&fleet, &signed);
            hand_over(&sign.out, &as_file(&signed), (it.value, &it.state), printer)
        }
        PolicyCommand::Apply { proposal } => {
            let fleet = apply_policy(&Home::open(path)?, envelope(proposal)?)?;
            printer.result(
                &as_json(fleet.policy()),
                &format!(
                    "version {} of the fleet's policy holds here; regions and other nodes learn of it at their next seawall sync",
                    fleet.version()
                ),
            )
        }
    }
}

fn envelope(path: &Path) -> anyhow::Result<Envelope> {
    let text = read_input(path)?;
    Envelope::parse(text.trim_ascii())
        .with_context(|| format!("{} is not a signed statement", path.display()))
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> anyhow::Result<T> {
    serde_json::from_slice(&read_input(path)?)
        .with_context(|| format!("{} is not {what}", path.display()))
}

/// An escrow group and its custodians' word for it: from a ceremony's group file, computed again
/// from its statements. A record by itself says nothing but where the custodians of a group that
/// the fleet has are reached.
fn escrow_group(
    fleet: &Fleet,
    path: &Path,
) -> anyhow::Result<(EscrowGroupRecord, Option<GroupChange>)> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: String,
    }
    let bytes = read_input(path)?;
    let unsound = || format!("{} is not a sound escrow group", path.display());
    if serde_json::from_slice::<Format>(&bytes).is_ok_and(|f| f.format == GroupFile::FORMAT) {
        let (file, _) = check_group_file(&bytes).with_context(unsound)?;
        let change = of_this_fleet(fleet, &file)
            .with_context(|| format!("{} is not for this fleet's policy", path.display()))?;
        return Ok((file.record().clone(), change));
    }
    let group: EscrowGroupRecord = parse(path, "an escrow group's record")?;
    group.check_form()?;
    anyhow::ensure!(
        fleet.group(group.id).is_some(),
        "{} is a record that nobody has signed, of a group this fleet does not have: a ceremony between its custodians makes one (seawall group begin), and writes a file with everyone's signatures",
        path.display()
    );
    seawall_escrow::Group::of_record(&group).with_context(unsound)?;
    Ok((group, None))
}

/// Checks that a ceremony was about this fleet, and began from the group as the fleet has it.
fn of_this_fleet(fleet: &Fleet, file: &GroupFile) -> anyhow::Result<Option<GroupChange>> {
    let opening = &file.ceremony().opening;
    let elsewhere = opening.fleet.filter(|named| *named != fleet.id());
    if let Some(other) = elsewhere {
        anyhow::bail!("its ceremony was opened for fleet {}", other.to_hex());
    }
    let Some(previous) = &opening.previous else {
        anyhow::ensure!(
            fleet.group(file.record().id).is_none_or(|known| known == file.record()),
            "its ceremony made a group that the fleet has had changed since"
        );
        return Ok(None);
    };
    anyhow::ensure!(
        opening.fleet.is_some(),
        "its ceremony names no fleet: open it from the fleet's card"
    );
    let Some(known) = fleet.group(previous.id) else {
        anyhow::bail!("its ceremony began from a group this fleet does not have");
    };
    anyhow::ensure!(
        known == previous,
        "its ceremony began from another record of {} than the one in force, perhaps an invented one: do the ceremony again, from the fleet's newest card",
        previous.id
    );
    let change = file.change();
    anyhow::ensure!(
        change.is_some(),
        "its ceremony was done by an earlier version of seawall, whose result does not say what it began from: do it again"
    );
    Ok(change)
}

fn card(path: &Path) -> anyhow::Result<CustodianCard> {
    CustodianCard::parse(&read_input(path)?)
        .with_context(|| format!("{} is not a custodian's card", path.display()))
}

fn endpoint(card: &CustodianCard) -> Option<Endpoint> {
    card.address.clone().map(|address| Endpoint { address, transport: card.transport })
}

/// Puts a custodian's address and transport key into every group it is a custodian of.
fn say_where(home: &Home, card: &CustodianCard, edits: &mut PolicyEdits) -> anyhow::Result<()> {
    let endpoint = endpoint(card)
        .context("the card has no address; seawall custodian card --address HOST:PORT")?;
    let mut is_one = false;
    let mut groups = home.fleet()?.groups().to_vec();
    let is_new = |it: &&EscrowGroupRecord| groups.iter().all(|known| known.id != it.id);
    let new: Vec<_> = edits.groups.iter().filter(is_new).cloned().collect();
    groups.extend(new);
    for group in &groups {
        let known = edits.groups.iter().position(|edited| edited.id == group.id);
        let mut record = known.map_or_else(|| group.clone(), |at| edits.groups[at].clone());
        let own = record.custodians.iter_mut().find(|c| c.signing_key == card.signing_key);
        let Some(own) = own else { continue };
        own.endpoint = Some(endpoint.clone());
        is_one = true;
        match known {
            Some(at) => edits.groups[at] = record,
            None => edits.groups.push(record),
        }
    }
    anyhow::ensure!(is_one, "{} is no custodian of this fleet's groups", card.name);
    Ok(())
}

/// A witness's record: of a custodian's card, or by itself.
fn witness(path: &Path) -> anyhow::Result<WitnessRecord> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: String,
    }
    let bytes = read_input(path)?;
    if serde_json::from_slice::<Format>(&bytes).is_ok_and(|f| f.format == CustodianCard::FORMAT) {
        let card = card(path)?;
        return Ok(WitnessRecord {
            operator: card.operator.clone(),
            // Names of cosigners have no blanks (C2SP signed-note).
            name: card.name.replace(' ', "-"),
            key: card.witness,
            endpoint: endpoint(&card),
        });
    }
    parse(path, "a witness's record")
}

fn edits(home: &Home, args: &ProposeArgs) -> anyhow::Result<PolicyEdits> {
    let mut edits = PolicyEdits {
        remove_witnesses: args.remove_witness.clone(),
        witness_quorum: args
            .witness_quorum
            .zip(args.faulty)
            .map(|(quorum, faulty)| WitnessQuorum { quorum, faulty }),
        no_witness_quorum: args.no_witness_quorum,
        ..PolicyEdits::default()
    };
    let fleet = home.fleet()?;
    for path in &args.group {
        let (group, change) = escrow_group(&fleet, path)?;
        edits.groups.push(group);
        edits.changes.extend(change);
    }
    for id in &args.retire {
        let id = id.strip_prefix("group:").unwrap_or(id);
        edits.retire.push(GroupId::from_hex(id).map_err(|e| Usage(e.to_string()))?);
    }
    for path in &args.endpoint {
        let card = card(path)?;
        say_where(home, &card, &mut edits).with_context(|| path.display().to_string())?;
    }
    for path in &args.witness {
        edits.witnesses.push(witness(path)?);
    }
    if let Some((days, custodians)) = args.deletion_min_days.zip(args.deletion_custodians) {
        let min_age = Seconds::days(days.into());
        edits.deletion = Some(DeletionRule { min_age, custodians });
    }
    if let Some((name, reason)) = args.revoke.as_ref().zip(args.reason.as_ref()) {
        edits.revoke.push(revocation(home, args, name, reason)?);
    }
    if let Some(threshold) = args.root_threshold {
        let keys = args
            .root_key
            .iter()
            .map(|key| key.parse().map_err(|e| Usage(format!("{key}: {e}"))))
            .collect::<Result<Vec<_>, _>>()?;
        edits.root_keys = Some((keys, threshold));
    }
    for path in &args.carry {
        let file = RootFile::parse(&read_input(path)?);
        edits.carry.extend(file.with_context(|| path.display().to_string())?.statements()?);
    }
    edits.other_logs = match (args.carry_logs, args.leave_logs) {
        (true, _) => OtherLogs::Carry,
        (_, true) => OtherLogs::Leave,
        _ => OtherLogs::Ask,
    };
    Ok(edits)
}

fn revocation(
    home: &Home,
    args: &ProposeArgs,
    name: &str,
    reason: &str,
) -> anyhow::Result<Revocation> {
    let member = member_named(home, name)?;
    let told =
        Told { epoch: args.epoch, log_size: args.keep_entries, earlier: args.keep_earlier.clone() };
    let Believed { epoch, log_size, earlier } = believed_logs(home, member, &told)?;
    let since = SystemClock.now();
    Ok(Revocation { member, epoch, log_size, reason: reason.to_owned(), since, earlier })
}

fn as_file(proposal: &Proposal) -> Vec<u8> {
    let mut json = proposal.envelope.to_json();
    json.push(b'\n');
    json
}

/// What a proposal would make of the policy of a fleet.
pub(super) fn describe_against(fleet: &Fleet, envelope: Envelope) -> anyhow::Result<Described> {
    Ok(describe(fleet, &Proposal::of(fleet, envelope)?))
}

fn describe(fleet: &Fleet, proposal: &Proposal) -> Described {
    let mut value = as_json(&proposal.policy);
    let [now, then] = proposal.signed;
    value["signed"] = json!({ "by": now.0, "of": now.1, "by_new": then.0, "of_new": then.1 });
    value["complete"] = proposal.is_complete().into();
    let state = if proposal.is_complete() {
        "signed by enough root keys; seawall fleet policy apply puts it in force".to_owned()
    } else {
        format!(
            "signed by {} of {} root keys that decide now and {} of {} that it names; seawall fleet policy sign adds one",
            now.0, now.1, then.0, then.1
        )
    };
    let changes = changes(fleet.policy(), &proposal.policy);
    value["changes"] = changes.iter().map(Change::as_json).collect();
    let mut words =
        format!("{}\n\nbeside version {}:", in_words(&proposal.policy), fleet.version());
    for change in &changes {
        words.push_str(&format!("\n{}", change.in_words()));
    }
    if changes.is_empty() {
        words.push_str("\n  nothing changes");
    }
    Described { value, words, state }
}

fn as_json(policy: &FleetPolicy) -> serde_json::Value {
    let mut value = serde_json::to_value(policy).expect("a policy serialises");
    value["created"] = Timestamp::to_string(&policy.created).into();
    value
}

fn name(text: &str) -> String {
    show_path(text.as_bytes())
}

/// Where somebody is reached, under the line that names him: the key is what is trusted.
fn reached_at(endpoint: Option<&Endpoint>) -> Option<String> {
    let it = endpoint?;
    Some(format!("    at {}, transport key {}", name(&it.address), it.transport))
}

fn in_words(policy: &FleetPolicy) -> String {
    let mut lines = vec![format!("version {} of {}", policy.version, policy.created)];
    lines.push(format!(
        "root keys: {} of {}",
        policy.root_threshold,
        policy.root_keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    ));
    for digest in &policy.carried {
        lines.push(format!("  and, of earlier root keys, statement {}", digest.to_hex()));
    }
    policy.groups.iter().for_each(|group| lines.extend(group_in_words(group)));
    for w in &policy.witnesses {
        lines.push(format!("witness {} of {}, key {}", name(&w.name), name(&w.operator), w.key));
        lines.extend(reached_at(w.endpoint.as_ref()));
    }
    match policy.witness_quorum {
        Some(q) => lines
            .push(format!("witness quorum: {} operators, {} of them may lie", q.quorum, q.faulty)),
        None => lines.push("witness quorum: none is demanded".to_owned()),
    }
    match policy.deletion {
        Some(d) => lines.push(format!(
            "regions delete what is {} old by witnessed time, or what {} custodians sign for",
            span(d.min_age),
            d.custodians
        )),
        None => lines.push("regions delete nothing".to_owned()),
    }
    for r in &policy.revoked {
        lines.push(format!(
            "revoked: {} since {} up to epoch {}, {} entries of its log are believed ({})",
            r.member,
            r.since,
            r.epoch,
            r.log_size,
            name(&r.reason)
        ));
        for it in &r.earlier {
            lines.push(format!("  and {} of its log of epoch {}", it.log_size, it.epoch));
        }
    }
    lines.join("\n")
}

fn group_in_words(group: &EscrowGroupRecord) -> Vec<String> {
    let retired = if group.retired { ", retired: opens, takes nothing new" } else { "" };
    let suite = match group.suite {
        Some(suite) => format!("suite {suite}, with a post-quantum half"),
        None => "suite 1".to_owned(),
    };
    let mut lines = vec![
        format!(
            "class {}: {} of {} custodians, {}, share epoch {}{retired}",
            name(&group.class),
            group.threshold,
            group.custodians.len(),
            group.id,
            group.share_epoch
        ),
        format!(
            "  class number {}, {suite}, {} ceremony",
            group.class_number,
            name(&group.ceremony)
        ),
    ];
    for c in &group.custodians {
        lines.push(format!("  {} {} {}", c.index, name(&c.name), c.signing_key));
        let kem = c.kem.as_ref().map(|key| fingerprint(Sha256::of(&key.0)));
        lines.extend(kem.map(|it| format!("    post-quantum key with fingerprint {it}")));
        lines.extend(reached_at(c.endpoint.as_ref()));
    }
    lines
}
