//! `seawall fleet policy show | propose | sign | apply`.

use std::path::Path;

use anyhow::Context as _;
use seawall_base::{Clock as _, GroupId, Seconds, Timestamp};
use seawall_custodian::ceremony::check_group_file;
use seawall_host::SystemClock;
use seawall_node::{
    Believed, Home, OtherLogs, PolicyEdits, Proposal, RootFile, Told, apply_policy, believed_logs,
    member_named, propose_policy, sign_proposal,
};
use seawall_record::{
    CustodianCard, DeletionRule, Endpoint, EscrowGroupRecord, Fleet, FleetPolicy, GroupChange,
    GroupFile, Revocation, WitnessQuorum, WitnessRecord,
};
use seawall_sign::Envelope;
use serde_json::json;

use super::sign::{adding, copies_of, known_fleet};
use crate::cli::{PolicyCommand, ProposeArgs};
use crate::output::{Printer, Usage, read_input, show_path};

pub(super) fn run(path: &Path, command: &PolicyCommand, printer: &Printer) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Show { proposal: None, fleet } => {
            let fleet = known_fleet(path, fleet)?;
            let (value, words) = (as_json(fleet.policy()), in_words(fleet.policy()));
            printer.result(&value, &words)
        }
        PolicyCommand::Show { proposal: Some(file), fleet } => {
            let (value, words) = describe_against(&known_fleet(path, fleet)?, envelope(file)?)?;
            printer.result(&value, &words)
        }
        PolicyCommand::Propose(args) => {
            let home = &Home::open(path)?;
            let copies = copies_of(&home.fleet()?, &args.sign_with)?;
            let edits = edits(home, args)?;
            let proposal = propose_policy(home, &edits, copies, &SystemClock)?;
            write(&proposal, &home.fleet()?, &args.out, printer)
        }
        PolicyCommand::Sign { proposal, sign } => {
            let fleet = known_fleet(path, &sign.fleet)?;
            let mut signed = Proposal::of(&fleet, envelope(proposal)?)?;
            for key in &adding(path, &fleet, &sign.root_key)? {
                signed = sign_proposal(&fleet, signed.envelope, key)?;
            }
            write(&signed, &fleet, &sign.out, printer)
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

fn write(proposal: &Proposal, fleet: &Fleet, out: &Path, printer: &Printer) -> anyhow::Result<()> {
    let mut json = proposal.envelope.to_json();
    json.push(b'\n');
    let (value, words) = describe(fleet, proposal);
    printer.described(out, &json, (value, &words))
}

/// What a proposal would make of the policy of a fleet.
pub(super) fn describe_against(
    fleet: &Fleet,
    envelope: Envelope,
) -> anyhow::Result<(serde_json::Value, String)> {
    Ok(describe(fleet, &Proposal::of(fleet, envelope)?))
}

fn describe(fleet: &Fleet, proposal: &Proposal) -> (serde_json::Value, String) {
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
    value["changes"] = changes.iter().map(|(sign, line)| format!("{sign} {line}")).collect();
    let mut words =
        format!("{}\n\nbeside version {}:\n", in_words(&proposal.policy), fleet.version());
    for (sign, line) in &changes {
        words.push_str(&format!("  {sign} {}\n", line.trim_start()));
    }
    if changes.is_empty() {
        words.push_str("  nothing changes\n");
    }
    (value, format!("{words}\n{state}"))
}

/// The lines of a policy that are gone (`-`) and new (`+`) in the next.
fn changes(before: &FleetPolicy, next: &FleetPolicy) -> Vec<(char, String)> {
    // The first line says the version and the time.
    let lines = |of: &FleetPolicy| -> Vec<String> {
        in_words(of).lines().skip(1).map(str::to_owned).collect()
    };
    let (old, new) = (lines(before), lines(next));
    let gone = old.iter().filter(|line| !new.contains(line)).map(|line| ('-', line.clone()));
    let come = new.iter().filter(|line| !old.contains(line)).map(|line| ('+', line.clone()));
    gone.chain(come).collect()
}

fn as_json(policy: &FleetPolicy) -> serde_json::Value {
    let mut value = serde_json::to_value(policy).expect("a policy serialises");
    value["created"] = Timestamp::to_string(&policy.created).into();
    value
}

fn reached_at(endpoint: Option<&Endpoint>) -> String {
    endpoint.map_or_else(String::new, |it| format!(" at {}", show_path(it.address.as_bytes())))
}

fn in_words(policy: &FleetPolicy) -> String {
    let name = |text: &str| show_path(text.as_bytes());
    let mut lines = vec![format!("version {} of {}", policy.version, policy.created)];
    lines.push(format!(
        "root keys: {} of {}",
        policy.root_threshold,
        policy.root_keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    ));
    for g in &policy.groups {
        let retired = if g.retired { ", retired: opens, takes nothing new" } else { "" };
        lines.push(format!(
            "class {}: {} of {} custodians, {}, share epoch {}{retired}",
            name(&g.class),
            g.threshold,
            g.custodians.len(),
            g.id,
            g.share_epoch
        ));
        for c in &g.custodians {
            let at = reached_at(c.endpoint.as_ref());
            lines.push(format!("  {} {} {}{at}", c.index, name(&c.name), c.signing_key));
        }
    }
    for w in &policy.witnesses {
        let at = reached_at(w.endpoint.as_ref());
        lines.push(format!("witness {} of {}{at}", name(&w.name), name(&w.operator)));
    }
    match policy.witness_quorum {
        Some(q) => lines
            .push(format!("witness quorum: {} operators, {} of them may lie", q.quorum, q.faulty)),
        None => lines.push("witness quorum: none is demanded".to_owned()),
    }
    match policy.deletion {
        Some(d) => lines.push(format!(
            "regions delete what is {} d old by witnessed time, or what {} custodians sign for",
            d.min_age.0 / 86_400,
            d.custodians
        )),
        None => lines.push("regions delete nothing".to_owned()),
    }
    for r in &policy.revoked {
        lines.push(format!(
            "revoked: {} up to epoch {}, {} entries of its log are believed ({})",
            r.member,
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
