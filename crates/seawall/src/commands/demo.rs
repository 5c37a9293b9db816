//! `seawall demo`: the whole promise on one machine, with real files, in under a minute.
//!
//! A region and two nodes run in this process, each in a directory of its own, speaking over
//! loopback exactly as they would between machines. Nothing is shown that was not checked: any
//! mismatch ends the demo with exit code 1.

mod change;
mod scene;
mod stage;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use seawall_backup::target::{Options, compare};
use seawall_base::Seconds;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Answer, CreateOptions, Home, Input, RequestOptions, SyncDone, SyncOptions, SyncOutcome, Trees,
    Written, create_snapshot, examine_request, open_request, sync,
};
use serde_json::json;

use self::scene::Scene;
use super::restore::{make_request, vouch, write_tree};
use crate::cli::DemoArgs;
use crate::output::{Outcome, Printer, human};

/// Trees found on any machine, best first.
const DEFAULT_TREES: [&str; 4] = ["/usr/share/doc", "/usr/share", "/usr/lib", "/etc"];

/// Figures for the closing table: what, how much, how long.
#[derive(Default)]
struct Figures(Vec<(String, String, Duration)>);

impl Figures {
    fn add(&mut self, what: &str, how_much: impl Into<String>, since: Instant) {
        self.0.push((what.to_owned(), how_much.into(), since.elapsed()));
    }
}

pub(crate) fn run(args: &DemoArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let source = source(args)?;
    let Some(root) = stage::given() else { return stage::supervise(args, printer) };
    let start = Instant::now();
    let mut figures = Figures::default();
    let scene = Scene::set(root, &source, printer, &mut figures)?;
    let found = play(&scene, printer, &mut figures)?;
    figures.add("everything", "", start);
    let value = json!({
        "identical": true,
        "source": source,
        "damaged_object": found,
        "kept": args.keep.then(|| scene.root()),
        "seconds": start.elapsed().as_secs_f64(),
        "steps": figures.0.iter().map(|(what, how_much, time)| json!({
            "step": what, "figure": how_much, "seconds": time.as_secs_f64(),
        })).collect::<Vec<_>>(),
    });
    printer.result(&value, &format!("{}\nidentical", table(&figures)))?;
    Ok(Outcome::Done)
}

fn source(args: &DemoArgs) -> anyhow::Result<PathBuf> {
    let path = match &args.path {
        Some(path) => path.clone(),
        None => DEFAULT_TREES
            .iter()
            .map(PathBuf::from)
            .find(|p| p.read_dir().is_ok_and(|mut d| d.next().is_some()))
            .context("no tree to seal was found; name one: seawall demo PATH")?,
    };
    let path = path.canonicalize().with_context(|| format!("cannot use {}", path.display()))?;
    anyhow::ensure!(path.is_dir(), "{} is not a directory", path.display());
    Ok(path)
}

/// The acts, in order. Returns the object that `verify` named in the end.
fn play(scene: &Scene, printer: &Printer, figures: &mut Figures) -> anyhow::Result<String> {
    let first = snapshot(scene, "snapshot 1", printer, figures)?;
    push(scene, "sync 1", printer, figures)?;
    let changed = change::change(&scene.data())?;
    printer.say(&format!("changed the tree: {changed}"));
    let second = snapshot(scene, "snapshot 2", printer, figures)?;
    push(scene, "sync 2", printer, figures)?;
    printer.say(&format!(
        "the first snapshot sealed {}, the second {} more",
        human(first.progress.new_bytes),
        human(second.progress.new_bytes)
    ));
    scene.destroy_node_one()?;
    printer.say("node-1's disk is gone: its zones, its log, its keys");
    let restored = restore(scene, &second, printer, figures)?;
    identical(scene, &restored, printer, figures)?;
    flip_and_verify(scene, printer, figures)
}

fn snapshot(
    scene: &Scene,
    name: &str,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<Written> {
    let start = Instant::now();
    let home = Home::open(&scene.node_one())?;
    let bar = printer.bytes_bar(name, Some(scene.bytes()));
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let input = Input::Trees(Trees { paths: vec![scene.data()], ..Trees::default() });
    let options = CreateOptions { class: None, set: None, tags: &[], workers };
    let written = create_snapshot(&home, input, &options, &SystemClock, &mut OsRng, &mut |p| {
        bar.set_position(p.bytes);
    });
    bar.finish_and_clear();
    let written = written?;
    for problem in &written.problems {
        printer.warn(&problem.to_string());
    }
    let totals = written.listed.manifest.core.totals;
    let figure = format!(
        "{} files, {}: {} new",
        totals.files,
        human(totals.bytes),
        human(written.progress.new_bytes)
    );
    figures.add(name, figure, start);
    Ok(written)
}

fn push(scene: &Scene, name: &str, printer: &Printer, figures: &mut Figures) -> anyhow::Result<()> {
    let start = Instant::now();
    let home = Home::open(&scene.node_one())?;
    let bar = printer.bytes_bar(name, Some(0));
    let outcomes = sync(&home, SyncOptions::default(), &SystemClock, &mut OsRng, &mut |_, p| {
        bar.set_length(p.total_bytes);
        bar.set_position(p.bytes);
    });
    bar.finish_and_clear();
    for SyncOutcome { region, result } in outcomes? {
        let done = result.with_context(|| format!("syncing to {region}"))?;
        let SyncDone::Region(pushed) = done else { continue };
        anyhow::ensure!(pushed.receipts > 0, "{region} gave no receipt");
        let figure = format!("{} sent, {} receipt", human(pushed.sent_bytes), pushed.receipts);
        figures.add(name, figure, start);
    }
    Ok(())
}

fn answer(name: &str, bytes: Vec<u8>) -> Answer {
    Answer { name: format!("the {name} approval"), bytes }
}

/// One approval must fail, two must do; on the other node, from the region alone.
fn restore(
    scene: &Scene,
    snapshot: &Written,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<PathBuf> {
    let home = Home::open(&scene.node_two())?;
    let options = RequestOptions {
        break_glass: false,
        id: &snapshot.listed.digest.to_hex(),
        reason: "demo: node-1's disk died",
        valid: Seconds::hours(1),
        drill: false,
    };
    let start = Instant::now();
    let request = make_request(&home, &options, printer)?;
    let request = request.dossier.as_bytes();
    printer.say("node-2 asks for the snapshot it found in the region");
    let first = answer("first", scene.approve(request, 0)?);
    let examine = || examine_request(&home, request);
    match open_request(&home, examine()?, std::slice::from_ref(&first)) {
        Ok(_) => anyhow::bail!("one approval opened a snapshot that needs two"),
        Err(e) => printer.say(&format!("one approval: refused, as it should be ({e})")),
    }
    let second = answer("second", scene.approve(request, 1)?);
    let examined = examine()?;
    vouch(&home, &examined, printer)?;
    let opened = open_request(&home, examined, &[first, second])?;
    printer.say("two approvals: opened");
    figures.add("quorum", "1 of 3 refused, 2 of 3 opened", start);
    let start = Instant::now();
    let to = scene.root().join("restored");
    let privileged = rustix::process::geteuid().is_root();
    let target = Options { privileged, ..Options::default() };
    let done = write_tree(&home, &opened, &to, target, printer)?;
    anyhow::ensure!(done.outcome == Outcome::Done, "the restore was not complete");
    figures.add("restore", format!("{} files, {}", done.files, human(done.bytes)), start);
    Ok(to)
}

fn identical(
    scene: &Scene,
    restored: &Path,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let data = scene.data();
    let copy = restored.join(data.strip_prefix("/").context("the data path is absolute")?);
    let bar = printer.bytes_bar("comparing", Some(scene.bytes()));
    let differences = compare(&data, &copy, true, &mut |n| bar.inc(n));
    bar.finish_and_clear();
    let differences = differences?;
    for difference in differences.iter().take(20) {
        printer.warn(&difference.to_string());
    }
    anyhow::ensure!(differences.is_empty(), "{} differences", differences.len());
    figures.add("compare", "every byte and attribute equal", start);
    Ok(())
}

fn flip_and_verify(
    scene: &Scene,
    printer: &Printer,
    figures: &mut Figures,
) -> anyhow::Result<String> {
    let start = Instant::now();
    let clean = scene.verify_region(printer)?;
    anyhow::ensure!(clean.is_clean(), "the region is not clean: {:?}", clean.findings);
    let place = scene.flip_a_bit()?;
    let found = scene.verify_region(printer)?;
    let finding = found.findings.first().context("a flipped bit went unnoticed")?;
    printer.say(&format!("flipped one bit in {place}; verify says: {}", finding.what));
    figures.add("verify, twice", format!("{} objects, 1 damaged", clean.objects), start);
    Ok(finding.what.clone())
}

fn table(figures: &Figures) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["STEP", "FIGURE", "SECONDS"]);
    for (what, how_much, time) in &figures.0 {
        table.add_row([what.clone(), how_much.clone(), format!("{:.2}", time.as_secs_f64())]);
    }
    if let Some(column) = table.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
