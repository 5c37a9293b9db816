//! Which share a custodian answers with: the one that was named, or the one of its home that the
//! snapshot needs.
//!
//! A home may hold several shares: of several groups, and of a group's old sharing beside its new
//! one until the fleet's policy has the new. What is read here only chooses a file; everything is
//! checked afterwards against the share that was chosen.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seawall_base::{FleetId, GroupId};
use seawall_custodian::CustodianHome;
use seawall_record::{DeletionFile, Dossier, Fleet, Manifest, Pin, RecordError, Request};
use seawall_sign::Statement;

use crate::output::Usage;

/// The share that was named, or the home it is taken from.
pub(crate) struct OwnShare<'s> {
    /// `--share`.
    pub(crate) given: Option<&'s Path>,
    /// The home of this command.
    pub(crate) home: &'s dyn Fn() -> anyhow::Result<PathBuf>,
}

impl OwnShare<'_> {
    /// The share for a request.
    pub(crate) fn for_request(&self, request: &[u8]) -> anyhow::Result<PathBuf> {
        if let Some(given) = self.given {
            return Ok(given.to_owned());
        }
        let parts = Dossier::parse(request)?;
        let asked = Statement::<Request>::read_unverified(&parts.request)?.predicate;
        let manifest = Statement::<Manifest>::read_unverified(&parts.manifest)?.predicate;
        let (home, fleet) = self.home_in(asked.fleet)?;
        let newest = Fleet::open_chain(parts.genesis, parts.policies, Pin::Known(&fleet))?;
        of_group(&home, &newest, &[manifest.core.group])
    }

    /// The share for a proposal of a deletion.
    pub(crate) fn for_deletion(&self, proposal: &[u8]) -> anyhow::Result<PathBuf> {
        if let Some(given) = self.given {
            return Ok(given.to_owned());
        }
        let home = self.open()?;
        let file = of_a_fleet(&home, proposal)?;
        let groups: Vec<_> = file.signed()?.iter().map(|it| it.group).collect();
        of_group(&home, file.fleet(), &groups)
    }

    fn open(&self) -> anyhow::Result<CustodianHome> {
        let path = (self.home)()?;
        if !path.join("custodian.json").is_file() {
            let why = format!(
                "--share names the share file; without it, --home or SEAWALL_HOME names a custodian's home, and {} is none",
                path.display()
            );
            return Err(Usage(why).into());
        }
        Ok(CustodianHome::open(&path)?)
    }

    fn home_in(&self, fleet: FleetId) -> anyhow::Result<(CustodianHome, Fleet)> {
        let home = self.open()?;
        let known = home.fleet(fleet)?.with_context(|| {
            format!("this home does not know {fleet}: seawall custodian join CARD")
        })?;
        Ok((home, known))
    }
}

/// A proposal against what a home knows of the fleet it is of.
fn of_a_fleet(home: &CustodianHome, proposal: &[u8]) -> anyhow::Result<DeletionFile> {
    for fleet in home.fleets()? {
        match DeletionFile::parse(proposal, Pin::Known(&fleet)) {
            Err(RecordError::OtherFleet { .. }) => {}
            // Of this fleet, or of none: then it reads no better beside another.
            read => return read.context("the proposal cannot be used"),
        }
    }
    anyhow::bail!(
        "the proposal is of no fleet that this home knows: seawall custodian join CARD, or name the share with --share"
    )
}

/// The home's share of one of these groups, of the epoch that the fleet's policy has.
fn of_group(home: &CustodianHome, fleet: &Fleet, groups: &[GroupId]) -> anyhow::Result<PathBuf> {
    let (mut fitting, mut other) = (Vec::new(), Vec::new());
    for (name, share) in home.shares()? {
        let public = share.public();
        if !groups.contains(&public.group) {
            continue;
        }
        let epoch = fleet.group(public.group).map(|group| group.share_epoch);
        if epoch == Some(public.share_epoch) { fitting.push(name) } else { other.push(name) }
    }
    match &fitting[..] {
        [name] => Ok(home.path().join("shares").join(name)),
        [] if other.is_empty() => {
            anyhow::bail!("{} holds no share of the snapshot's group", home.path().display())
        }
        [] => anyhow::bail!(
            "{} holds only shares of another epoch than the fleet's policy has: seawall custodian join with the fleet's newest card",
            home.path().display()
        ),
        several => anyhow::bail!(
            "several shares of {} are for this ({}): name one with --share",
            home.path().display(),
            several.join(", ")
        ),
    }
}
