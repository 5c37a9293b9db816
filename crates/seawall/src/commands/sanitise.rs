//! `seawall sanitise`.

use std::path::Path;

use anyhow::Context as _;
use seawall_backup::sanitise::{Rules, sanitise};
use seawall_host::OsRng;
use serde_json::json;

use crate::output::{Outcome, Printer, read_input};

pub(crate) fn run(
    rules: &Path,
    from: &Path,
    to: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let unusable = || format!("cannot use {}", rules.display());
    let text = String::from_utf8(read_input(rules)?).with_context(unusable)?;
    let rules = Rules::parse(&text).with_context(unusable)?;
    let counts = sanitise(from, to, &rules, &mut OsRng)
        .context("not sanitised; what is in the target is not complete")?;
    let value = json!({
        "to": to,
        "kept": counts.kept,
        "filtered": counts.filtered,
        "dropped": counts.dropped,
        "records": counts.records,
        "dropped_records": counts.dropped_records,
        "masked": counts.masked,
        "dropped_values": counts.dropped_values,
    });
    let words = format!(
        "kept {} files, filtered {}, dropped {}\n{} records kept and {} dropped, {} values masked and {} dropped",
        counts.kept,
        counts.filtered,
        counts.dropped,
        counts.records,
        counts.dropped_records,
        counts.masked,
        counts.dropped_values,
    );
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}
