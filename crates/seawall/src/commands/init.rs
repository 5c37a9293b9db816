//! `seawall init`: found a fleet.

use std::path::Path;

use anyhow::Context as _;
use seawall_custodian::ceremony::check_group_file;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{Founded, Founding, FoundingGroup, HomeError, LocalGroup};
use seawall_record::EscrowGroupRecord;
use serde_json::json;

use crate::cli::{InitArgs, Profile};
use crate::output::{Outcome, Printer, Usage, passphrase, read_input};

pub(crate) fn run(args: &InitArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    if args.bucket.is_some() && args.profile != Profile::Solo {
        return Err(Usage("--bucket goes with --profile solo".to_owned()).into());
    }
    super::check_role(home, "home.json")?;
    let bucket = bucket(args)?;
    let name = args.name.clone().unwrap_or_else(super::host_name);
    let made = args.group.as_deref().map(made_before).transpose()?;
    let group = match (&made, &args.shares_dir) {
        (Some(record), _) => FoundingGroup::Distributed(record),
        (None, Some(shares_dir)) => {
            let (custodians, threshold) = (names(args)?, args.threshold);
            let post_quantum = !args.classical;
            FoundingGroup::Local(LocalGroup {
                shares_dir,
                class: "default",
                custodians,
                threshold,
                post_quantum,
            })
        }
        (None, None) => return Err(Usage("--shares-dir or --group is needed".to_owned()).into()),
    };
    let canary = seawall_node::canary_dir(&std::path::absolute(home)?);
    let founding = Founding {
        home,
        group,
        fleet_name: &args.fleet_name,
        node_name: &name,
        tenant: "default",
        index: !args.no_index,
        algorithm: args.algorithm.into(),
        bucket: bucket.as_deref(),
        canary: args.canary.then_some(canary.as_path()),
    };
    // Kept as it is: having nobody to ask is an error of usage.
    let mut unanswered = None;
    let mut ask = |custodian: &str| {
        passphrase(&format!("Passphrase for the share of {custodian}"), true).map_err(|e| {
            let why = HomeError::Refused(format!("{e:#}"));
            unanswered = Some(e);
            why
        })
    };
    let founded = seawall_node::found(&founding, &mut ask, &SystemClock, &mut OsRng);
    if let Some(e) = unanswered {
        return Err(e);
    }
    let founded = founded.context("the fleet was not founded")?;
    let fleet = &founded.fleet;
    let threshold = fleet.genesis().groups[0].threshold;
    let value = json!({
        "fleet": fleet.id().to_hex(),
        "fingerprint": fleet.id().fingerprint(),
        "home": home,
        "threshold": threshold,
        "shares": founded.shares,
        "canary": args.canary.then_some(&canary),
    });
    printer.result(&value, &in_words(&founded))?;
    Ok(Outcome::Done)
}

/// What was founded, and what to do now.
fn in_words(founded: &Founded) -> String {
    let fleet = &founded.fleet;
    let group = &fleet.genesis().groups[0];
    let (threshold, members) = (group.threshold, group.custodians.len());
    let shares: Vec<_> = founded.shares.iter().map(|s| s.display().to_string()).collect();
    let shares = if shares.is_empty() {
        format!(
            "any {threshold} of {members} custodians open a snapshot; each now runs: seawall custodian join FLEET-CARD (seawall fleet card writes it)"
        )
    } else {
        format!(
            "any {threshold} of these {} shares open a snapshot; give each to its custodian and keep none here:\n  {}",
            shares.len(),
            shares.join("\n  "),
        )
    };
    format!(
        "founded fleet {}\nfleet id {}\n{shares}\nnow print the recovery sheet (seawall fleet sheet) and put a copy of the root key away (seawall fleet root-key)",
        fleet.genesis().fleet_name,
        fleet.id().to_hex(),
    )
}
/// The directory or bucket that stands in for a region.
fn bucket(args: &InitArgs) -> anyhow::Result<Option<String>> {
    // A relative directory would mean another one wherever the next command is run.
    Ok(match &args.bucket {
        Some(dir) if !dir.contains("://") => {
            let dir = std::path::absolute(dir).with_context(|| format!("cannot use {dir}"))?;
            Some(
                dir.into_os_string()
                    .into_string()
                    .map_err(|dir| Usage(format!("--bucket {} is not UTF-8", dir.display())))?,
            )
        }
        other => other.clone(),
    })
}

/// The group that a ceremony between machines made, computed again from its statements.
fn made_before(path: &Path) -> anyhow::Result<EscrowGroupRecord> {
    let unusable = || format!("cannot found a fleet on {}", path.display());
    let (file, _) = check_group_file(&read_input(path)?).with_context(unusable)?;
    if let Some(fleet) = file.ceremony().opening.fleet {
        anyhow::bail!("{}: the group was made for fleet {}", unusable(), fleet.to_hex());
    }
    // What a ceremony began from can be compared with a fleet's policy only.
    anyhow::ensure!(
        file.ceremony().opening.previous.is_none(),
        "{}: its ceremony changed a group that was there before; a fleet begins with a new one (seawall group begin)",
        unusable()
    );
    Ok(file.record().clone())
}

fn names(args: &InitArgs) -> anyhow::Result<Vec<String>> {
    let n = usize::from(args.custodians);
    if args.threshold > args.custodians {
        let why = format!("a threshold of {} needs as many custodians", args.threshold);
        return Err(Usage(why).into());
    }
    if !args.names.is_empty() {
        if args.names.len() != n {
            let why = format!("{} custodians but {} names", n, args.names.len());
            return Err(Usage(why).into());
        }
        return Ok(args.names.clone());
    }
    if args.profile == Profile::Solo && n == 3 {
        return Ok(["laptop", "paper", "usb"].map(str::to_owned).to_vec());
    }
    Ok((1..=n).map(|i| format!("custodian-{i}")).collect())
}
