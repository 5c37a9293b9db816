//! The recovery sheet: what a person needs on paper when every machine is gone.

use seawall_record::{Enrolment, Fleet};

/// The sheet as plain text, 80 columns.
pub fn sheet_text(fleet: &Fleet, regions: &[(String, Enrolment)]) -> String {
    let genesis = fleet.genesis();
    let mut out = format!(
        "SEAWALL RECOVERY SHEET\n\nFleet        {}\nFounded      {}\nFleet id     {}\nFingerprint  {}\n",
        genesis.fleet_name,
        genesis.created,
        fleet.id().to_hex(),
        fleet.id().fingerprint()
    );
    for group in fleet.groups() {
        out.push_str(&format!(
            "\nEscrow group {} (class \"{}\"{}): {} of {} custodians open a snapshot\n",
            &group.id.to_hex()[..16],
            group.class,
            if group.retired { ", retired" } else { "" },
            group.threshold,
            group.custodians.len()
        ));
        for c in &group.custodians {
            out.push_str(&format!("  {:>2}  {:<24} {}\n", c.index, c.name, c.signing_key));
        }
    }
    let (threshold, keys) = (fleet.root_threshold(), fleet.root_keys().len());
    out.push_str(&format!("\nRoot keys ({threshold} of {keys} sign for the fleet)\n"));
    for key in fleet.root_keys() {
        out.push_str(&format!("  {key}\n"));
    }
    out.push_str("\nRegions\n");
    for (address, region) in regions {
        out.push_str(&format!("  {} at {address}\n    {}\n", region.name, region.identity));
    }
    out.push_str(STEPS);
    out
}

const STEPS: &str = "
To restore on a new machine
  1. seawall node keys --name NAME --out card.json
  2. where a root key is: seawall fleet bundle card.json --out bundle.json
     (each other that has to sign: seawall fleet sign bundle.json; if no machine
     is left: seawall fleet recover on the new one)
  3. seawall node enroll bundle.json --fleet-id (the fleet id above)
  4. seawall snapshot list --all, then seawall restore request ID --reason TEXT --out req
  5. each custodian: seawall restore approve req --share FILE --out approval
  6. seawall restore run req --approval A --approval B --to DIR

Keep this sheet apart from the share files. It holds no secret, but whoever
changes it can lead you to another fleet: compare the fleet id.
";

/// The sheet as a printable page.
pub fn sheet_html(fleet: &Fleet, regions: &[(String, Enrolment)]) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Seawall recovery sheet: {}</title>\n<style>\n@page {{ size: A4; margin: 20mm }}\nbody {{ font: 10pt/1.5 monospace; max-width: 60em; margin: auto }}\npre {{ white-space: pre-wrap; overflow-wrap: anywhere }}\n</style>\n<pre>{}</pre>\n</html>\n",
        escape(&fleet.genesis().fleet_name),
        escape(&sheet_text(fleet, regions))
    )
}
