//! What is known of a fleet: by a home, by a card, by both.
//!
//! Invariant: whichever has seen more decides. An older card replaces nothing that a home knows, or
//! whoever hands out cards could bring back a member that was revoked. A home that is damaged is
//! none that is absent: what it knew could be newer than any card.

use std::path::Path;

use anyhow::Context as _;
use seawall_base::FleetId;
use seawall_custodian::CustodianHome;
use seawall_node::Home;
use seawall_record::{Fleet, FleetCard};

use crate::output::read_input;

/// The home at a path with the fleet it is of; none where no home is, or one without a fleet yet.
pub(crate) fn home_at(path: &Path) -> anyhow::Result<Option<(Home, Fleet)>> {
    let Some(home) = Home::open_if_any(path)? else { return Ok(None) };
    Ok(home.fleet_if_any()?.map(|fleet| (home, fleet)))
}

/// The fleet that a card shows, by the newest that the card or a home has seen of it; without a
/// card, the home's.
pub(crate) fn newest(card: Option<&Path>, here: Option<Fleet>) -> anyhow::Result<Option<Fleet>> {
    let Some(card) = card else { return Ok(here) };
    let shown = FleetCard::open(&read_input(card)?)
        .with_context(|| format!("{} is not a fleet's card", card.display()))?;
    let newest = match here {
        Some(here) if here.id() == shown.id() => {
            here.newest(shown).with_context(|| format!("{} cannot be believed", card.display()))?
        }
        _ => shown,
    };
    Ok(Some(newest))
}

/// What is known of the fleet that a share is of: by the custodian's home that the share lies in,
/// and by a card.
pub(crate) fn of_share(
    card: Option<&Path>,
    home: Option<&CustodianHome>,
    expected: FleetId,
) -> anyhow::Result<Option<Fleet>> {
    let here = home.map(|home| home.fleet(expected)).transpose()?.flatten();
    let known = newest(card, here)?;
    if let Some((card, fleet)) = card.zip(known.as_ref()) {
        anyhow::ensure!(
            fleet.id() == expected,
            "{} is the card of {}, the share is of {expected}",
            card.display(),
            fleet.id()
        );
    }
    Ok(known)
}
