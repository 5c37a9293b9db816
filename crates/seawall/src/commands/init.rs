//! `seawall init`: found a fleet.

use std::path::Path;

use anyhow::Context as _;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{Founding, HomeError};
use serde_json::json;

use crate::cli::{InitArgs, Profile};
use crate::output::{Outcome, Printer, Usage, passphrase};

pub(crate) fn run(args: &InitArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let custodians = names(args)?;
    if args.bucket.is_some() && args.profile != Profile::Solo {
        return Err(Usage("--bucket goes with --profile solo".to_owned()).into());
    }
    // A relative directory would mean another one wherever the next command is run.
    let bucket = match &args.bucket {
        Some(dir) if !dir.contains("://") => {
            let dir = std::path::absolute(dir).with_context(|| format!("cannot use {dir}"))?;
            Some(
                dir.into_os_string()
                    .into_string()
                    .map_err(|dir| Usage(format!("--bucket {} is not UTF-8", dir.display())))?,
            )
        }
        other => other.clone(),
    };
    let name = args.name.clone().unwrap_or_else(super::host_name);
    let founding = Founding {
        home,
        shares_dir: &args.shares_dir,
        fleet_name: &args.fleet_name,
        node_name: &name,
        tenant: "default",
        class: "default",
        custodians,
        threshold: args.threshold,
        index: !args.no_index,
        bucket: bucket.as_deref(),
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
    let value = json!({
        "fleet": fleet.id().to_hex(),
        "fingerprint": fleet.id().fingerprint(),
        "home": home,
        "threshold": args.threshold,
        "shares": founded.shares,
    });
    let shares: Vec<_> = founded.shares.iter().map(|s| s.display().to_string()).collect();
    let shares = shares.join("\n  ");
    let words = format!(
        "founded fleet {}\nfleet id {}\nany {} of these {} shares open a snapshot; give each to its custodian and keep none here:\n  {shares}\nnow print the recovery sheet (seawall fleet sheet) and put a copy of the root key away (seawall fleet root-key)",
        fleet.genesis().fleet_name,
        fleet.id().to_hex(),
        args.threshold,
        founded.shares.len(),
    );
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
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
