//! `seawall region init | card | run`.

use std::path::Path;

use seawall_host::{OsRng, SystemClock};
use seawall_record::FleetCard;

use crate::cli::RegionCommand;
use crate::output::{Outcome, Printer, read_input};

pub(crate) fn run(
    command: &RegionCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        RegionCommand::Init { fleets, name, listen, out } => {
            let fleets = fleets
                .iter()
                .map(|path| Ok(FleetCard::open(&read_input(path)?)?))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let card = seawall_region::init(home, listen, name, &fleets, &mut OsRng, &SystemClock)?;
            printer.document(out, &card.to_json())?;
            printer.say(&format!(
                "region {name} is set up in {}; give its card to the operator of each fleet",
                home.display()
            ));
        }
        RegionCommand::Card { out } => {
            let region = seawall_region::Region::open(home)?;
            printer.document(out, &region.card().to_json())?;
        }
        RegionCommand::Run => seawall_region::run_until_signal(home, |address| {
            printer.say(&format!("listening on {address}"));
        })?,
    }
    Ok(Outcome::Done)
}
