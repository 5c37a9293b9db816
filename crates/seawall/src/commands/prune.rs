//! `seawall prune`: forget by rules, and give back what nothing refers to any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{Table, presets};
use indicatif::ProgressBar;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Decision, Held, Home, PrunePlan, PruneStep, Pruned, Retention, plan_prune, prune,
};
use seawall_policy::Span;
use seawall_policy::retention::{Count, Period, Reason, Rules, Verdict};
use seawall_store::{ReclaimPlan, ZoneAction};
use serde_json::{Value, json};

use crate::cli::{KeepCounts, KeepWithin, PruneArgs};
use crate::output::{Outcome, Printer, Usage, confirm, human};

pub(crate) fn run(args: &PruneArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let home = Home::open(home)?;
    let retention = retention(args, &home)?;
    if args.save {
        retention.save(&home)?;
        let value = serde_json::to_value(&retention).context("a policy is JSON")?;
        printer.result(&value, &format!("saved: keep {}", retention.rules))?;
        return Ok(Outcome::Done);
    }
    let bar = printer.bytes_bar("planning", None);
    let percent = args.rewrite_below;
    let plan = plan_prune(&home, &retention, percent, &SystemClock, &mut OsRng, &mut |s| {
        show(s, &bar);
    });
    bar.finish_and_clear();
    let plan = plan?;
    warn(&plan.decision, printer);
    if args.plan {
        printer.result(&describe_plan(&plan), &plan_in_words(&plan))?;
        return Ok(Outcome::Done);
    }
    if !args.yes {
        printer.show(&plan_in_words(&plan));
        if !confirm("Forget these snapshots and give back the room?")? {
            anyhow::bail!("not confirmed; nothing was changed");
        }
    }
    let chosen: BTreeSet<_> = plan.decision.to_forget().map(|held| held.digest).collect();
    let bar = printer.bytes_bar("pruning", None);
    let done = prune(&home, &retention, &chosen, percent, &SystemClock, &mut OsRng, &mut |s| {
        show(s, &bar);
    });
    bar.finish_and_clear();
    let done = done?;
    let partly = warn_of_what_is_left(&done, chosen.len(), printer);
    printer.result(&describe(&done), &in_words(&done))?;
    Ok(if partly { Outcome::Partly } else { Outcome::Done })
}

/// The policy of the command line, or else the saved one.
fn retention(args: &PruneArgs, home: &Home) -> anyhow::Result<Retention> {
    let rules = rules(&args.counts, &args.within, &args.tags);
    if rules != Rules::default() {
        rules.check().map_err(|e| Usage(e.to_string()))?;
        return Ok(Retention::new(rules, args.min_age, args.copies));
    }
    let saved = if args.save { None } else { Retention::saved(home)? };
    let mut saved = saved.ok_or_else(|| {
        Usage("no rules: give some, such as --keep-daily 7, or save them with --save".to_owned())
    })?;
    saved.min_age = args.min_age.or(saved.min_age);
    saved.copies = args.copies.or(saved.copies);
    Ok(saved)
}

/// The rules of a command line.
pub(crate) fn rules(number: &KeepCounts, within: &KeepWithin, tags: &[String]) -> Rules {
    let one = |t: &String| t.split(',').filter(|t| !t.is_empty()).map(str::to_owned).collect();
    let tags = tags.iter().map(one).collect();
    Rules { counts: counts(number), within: spans(within), tags }
}

fn counts(it: &KeepCounts) -> BTreeMap<Period, Count> {
    let KeepCounts { last, hourly, daily, weekly, monthly, yearly } = it;
    let all = [last, hourly, daily, weekly, monthly, yearly];
    Period::ALL.into_iter().zip(all).filter_map(|(p, n)| Some((p, (*n)?))).collect()
}

fn spans(it: &KeepWithin) -> BTreeMap<Period, Span> {
    let KeepWithin { last, hourly, daily, weekly, monthly, yearly } = it;
    let all = [last, hourly, daily, weekly, monthly, yearly];
    Period::ALL.into_iter().zip(all).filter_map(|(p, s)| Some((p, (*s)?))).collect()
}

fn show(step: PruneStep, bar: &ProgressBar) {
    match step {
        PruneStep::WaitingForSync => bar.set_message("waiting for a sync to end"),
        PruneStep::WaitingForSnapshots => {
            bar.set_message("waiting for snapshots that began before");
        }
        PruneStep::Marking(objects) => bar.set_message(format!("{objects} objects marked")),
        PruneStep::Sweeping(bytes) => {
            bar.set_message("given back");
            bar.set_position(bytes);
        }
    }
}

/// What makes this prune riskier, or less than was asked for; quiet does not hide it.
fn warn(decision: &Decision, printer: &Printer) {
    let (need, tiers) = (decision.guards.copies, decision.tiers);
    if tiers > 0 && need < 2 {
        printer.warn(&format!(
            "--copies {need}: what is forgotten here may be left in {} other place; the rule is two",
            if need == 0 { "no" } else { "one" }
        ));
    }
    for (tier, why) in &decision.unreached {
        printer.warn(&format!("{tier} could not be asked, so its copies do not count: {why}"));
    }
    let held = |what: fn(&Reason) -> bool| {
        let only = |v: &Verdict| matches!(v, Verdict::Keep(r) if !r.iter().any(Reason::is_rule) && r.iter().any(what));
        decision.snapshots.iter().filter(|s| only(&s.verdict)).count()
    };
    let few = held(|r| matches!(r, Reason::Copies(..) | Reason::Unwitnessed));
    if few > 0 {
        printer.say(&format!(
            "{few} snapshots that no rule wants stay because too few other tiers have signed for them; `seawall sync` first"
        ));
    }
}

/// Names what was not done; true if there is anything.
fn warn_of_what_is_left(done: &Pruned, chosen: usize, printer: &Printer) -> bool {
    let mut left = Vec::new();
    if done.forgotten.len() < chosen {
        left.push(format!(
            "{} snapshots of the plan stay: they are being read, or newer facts hold them",
            chosen - done.forgotten.len()
        ));
    }
    if done.swept.in_use > 0 {
        let n = done.swept.in_use;
        printer.say(&format!("{n} zones are in use by a snapshot; they are left to a later prune"));
    }
    if !done.swept.damaged.is_empty() {
        left.push(format!(
            "{} zones are damaged and were left alone; run `seawall verify`",
            done.swept.damaged.len()
        ));
    }
    if let Some(why) = &done.swept.stopped {
        left.push(format!("it stopped early: {why}; what was done counts, prune again"));
    }
    for what in &left {
        printer.warn(what);
    }
    !left.is_empty()
}

fn describe_held(held: &Held) -> Value {
    let core = &held.manifest.core;
    let (keep, reasons) = match &held.verdict {
        Verdict::Keep(reasons) => (true, reasons.iter().map(ToString::to_string).collect()),
        Verdict::Forget => (false, Vec::new()),
    };
    json!({
        "id": held.digest.to_hex(),
        "sequence": core.sequence,
        "created": core.created.to_string(),
        "set": core.set,
        "tags": core.tags,
        "keep": keep,
        "reasons": reasons,
    })
}

fn describe_reclaim(plan: &ReclaimPlan) -> Value {
    let zones = plan.zones.iter().filter(|z| z.dead > 0).map(|z| {
        let action = match z.action {
            ZoneAction::Keep => "keep",
            ZoneAction::Rewrite => "rewrite",
            ZoneAction::Remove => "remove",
        };
        json!({
            "zone": format!("{:016x}", z.zone), "live": z.live, "dead": z.dead, "action": action,
        })
    });
    json!({
        "bytes": plan.reclaimable(),
        "to_copy": plan.to_copy(),
        "live_objects": plan.live_objects,
        "dead_objects": plan.dead_records,
        "zones": zones.collect::<Vec<_>>(),
    })
}

fn describe_plan(plan: &PrunePlan) -> Value {
    json!({
        "snapshots": plan.decision.snapshots.iter().map(describe_held).collect::<Vec<_>>(),
        "now": plan.decision.now.to_string(),
        "copies": plan.decision.guards.copies,
        "min_age": plan.decision.guards.min_age,
        "reclaim": describe_reclaim(&plan.reclaim),
    })
}

fn plan_in_words(plan: &PrunePlan) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "CREATED", "SET", "", "WHY"]);
    for held in &plan.decision.snapshots {
        let core = &held.manifest.core;
        let (what, why) = match &held.verdict {
            Verdict::Keep(reasons) => {
                ("keep", reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
            Verdict::Forget => ("FORGET", String::new()),
        };
        table.add_row([
            held.digest.to_hex()[..12].to_owned(),
            core.created.to_string(),
            core.set.clone().unwrap_or_else(String::new),
            what.to_owned(),
            why,
        ]);
    }
    let going = plan.decision.to_forget().count();
    let reclaim = &plan.reclaim;
    let zones = reclaim.zones.iter().filter(|z| z.action != ZoneAction::Keep).count();
    format!(
        "{table}\n{going} of {} snapshots would be forgotten here; {} in {zones} of {} zones could be given back, {} copied for it\nit says nothing of what regions and buckets keep",
        plan.decision.snapshots.len(),
        human(reclaim.reclaimable()),
        reclaim.zones.len(),
        human(reclaim.to_copy()),
    )
}

fn describe(done: &Pruned) -> Value {
    json!({
        "forgotten": done.forgotten.iter().map(describe_held).collect::<Vec<_>>(),
        "kept": done.kept,
        "freed_bytes": done.swept.freed,
        "copied_bytes": done.swept.copied,
        "removed_zones": done.swept.removed,
        "rewritten_zones": done.swept.rewritten,
        "zones_in_use": done.swept.in_use,
        "damaged_zones": done.swept.damaged.len(),
        "stopped": done.swept.stopped,
        "reprieved_objects": done.reprieved,
        "reclaim": describe_reclaim(&done.reclaim),
    })
}

fn in_words(done: &Pruned) -> String {
    let net = done.swept.freed.saturating_sub(done.swept.copied);
    format!(
        "forgot {} snapshots, {} are kept; gave back {} ({} zones removed, {} rewritten)",
        done.forgotten.len(),
        done.kept,
        human(net),
        done.swept.removed,
        done.swept.rewritten,
    )
}
