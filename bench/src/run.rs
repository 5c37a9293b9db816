//! The schedule: every repetition of every corpus with every program.
//!
//! Within a repetition the programs take turns phase by phase, in an order that rotates, so that a
//! slow minute of the machine falls on all of them. Before each measured command everything dirty
//! is written back, and what the command will read has been read once: page cache warm, disk idle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::calls::{Call, checked};
use crate::corpus::{Corpus, Kind};
use crate::durability;
use crate::ground::Ground;
use crate::measure::Usage;
use crate::options::Options;
use crate::results::{Contender, Failure, Machine, Phase, Restored, Results, Sample, Size, Used};
use crate::tools::{Name, Place, Tool, restored};
use crate::tree;

/// Makes the corpora that are not there yet.
pub(crate) fn make(options: &Options) -> Result<()> {
    fs::create_dir_all(&options.scratch)?;
    for kind in &options.corpora {
        let corpus = Corpus::made(&options.scratch, *kind, options.seed, options.scale)?;
        let (totals, (brought, removed)) = (corpus.totals(), corpus.changed());
        println!(
            "{}: {} files, {} MiB; the change brings {brought} and removes {removed}",
            kind.name(),
            totals.files,
            totals.bytes >> 20
        );
    }
    Ok(())
}

/// Runs everything; after each corpus the results so far are handed to `so_far`.
pub(crate) fn all(options: &Options, so_far: impl Fn(&Results) -> Result<()>) -> Result<Results> {
    fs::create_dir_all(&options.scratch)?;
    let options = &Options { scratch: fs::canonicalize(&options.scratch)?, ..options.clone() };
    let tools = tools(options)?;
    let mut run = Run { options, results: empty(options, &tools)? };
    for kind in &options.corpora {
        let corpus = Corpus::made(&options.scratch, *kind, options.seed, options.scale)?;
        enough_space(&options.scratch, &corpus, tools.len())?;
        let (brought, removed) = corpus.changed();
        tree::warm(&corpus.tree())?;
        run.results.corpora.push(Used {
            name: kind.name().into(),
            title: kind.title().into(),
            totals: corpus.totals(),
            brought,
            removed,
            limit: limit(&corpus.tree()),
        });
        for repetition in 0..options.repetitions {
            let result = run.repetition(&corpus, &tools, repetition);
            corpus.change_back()?;
            result?;
        }
        so_far(&run.results)?;
    }
    tree::remove(&options.scratch.join("runs"))?;
    Ok(run.results)
}

fn tools(options: &Options) -> Result<Vec<Tool>> {
    let mut found = Vec::new();
    for name in &options.tools {
        let ours = options.seawall.parent().map(Path::to_owned).into_iter();
        let peers = std::iter::once(options.bench_tools.join("bin"));
        let dirs: Vec<PathBuf> =
            if *name == Name::Seawall { ours.collect() } else { peers.collect() };
        match Tool::found(*name, &dirs)? {
            Some(tool) => {
                eprintln!("{} {}", name.text(), tool.version);
                found.push(tool);
            }
            None => eprintln!("{} is not here: its columns stay out", name.text()),
        }
    }
    ensure!(!found.is_empty(), "no program to measure; `just bench-peers` installs the peers");
    Ok(found)
}

fn empty(options: &Options, tools: &[Tool]) -> Result<Results> {
    let mut contenders = Vec::new();
    for tool in tools {
        let durability = durability::probe(tool, &options.scratch)
            .inspect_err(|error| eprintln!("durability of {}: {error:#}", tool.name.text()))
            .ok();
        contenders.push(Contender {
            name: tool.name.text().into(),
            version: tool.version.clone(),
            durability,
        });
    }
    Ok(Results {
        command: options.command.clone(),
        machine: Machine::here(&options.scratch)?,
        seed: options.seed,
        scale: options.scale,
        repetitions: options.repetitions,
        tools: contenders,
        corpora: Vec::new(),
        samples: Vec::new(),
        sizes: Vec::new(),
        restored: Vec::new(),
        failures: Vec::new(),
    })
}

/// Refuses to start what would fill the disk: a repository for each program, at most as large as
/// the corpus and its change, and one restored tree.
fn enough_space(scratch: &Path, corpus: &Corpus, tools: usize) -> Result<()> {
    let disk = nix::sys::statvfs::statvfs(scratch).context("asking for free space")?;
    let free = disk.blocks_available() * disk.fragment_size();
    let once = corpus.totals().allocated;
    let needed = once * 3 / 2 * tools as u64 + once + (1 << 30);
    ensure!(
        free >= needed,
        "{} has {} MiB free, corpus {} needs {} MiB: give another directory with --dir",
        scratch.display(),
        free >> 20,
        corpus.kind.name(),
        needed >> 20
    );
    Ok(())
}

/// Asks the engine's own benchmark how long the primitives alone would take for a first backup.
fn limit(tree: &Path) -> Option<f64> {
    let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/seawall-backup");
    if !engine.join("examples/primitives.rs").is_file() {
        return None;
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--release", "--example", "primitives", "--", "--json"]);
    let said = checked(cargo.arg(tree).current_dir(engine));
    let said = said.inspect_err(|error| eprintln!("primitives: {error:#}")).ok()?;
    let said: serde_json::Value = serde_json::from_slice(&said.stdout)
        .inspect_err(|error| eprintln!("primitives: {error}"))
        .ok()?;
    said["limit_seconds"].as_f64()
}

struct Run<'a> {
    options: &'a Options,
    results: Results,
}

/// A place that has not failed in this repetition.
struct Racer {
    place: Place,
    out: bool,
}

impl Run<'_> {
    fn repetition(&mut self, corpus: &Corpus, tools: &[Tool], repetition: u32) -> Result<()> {
        eprintln!("{}, repetition {}", corpus.kind.name(), repetition + 1);
        let mut racers = Vec::new();
        for tool in tools {
            racers.push(Racer { place: tool.start(&self.options.scratch)?, out: false });
        }
        racers.rotate_left(repetition as usize % tools.len());
        let source = corpus.tree();
        tree::warm(&source)?;
        self.backups(corpus, &mut racers, Phase::First, repetition)?;
        self.backups(corpus, &mut racers, Phase::Unchanged, repetition)?;
        corpus.change()?;
        tree::warm(&source)?;
        self.backups(corpus, &mut racers, Phase::Churn, repetition)?;
        for racer in racers.iter_mut().filter(|racer| !racer.out) {
            let restored = self.restore(corpus, &racer.place, repetition);
            self.note(corpus.kind, racer, Phase::Restore, repetition, restored);
        }
        for racer in &racers {
            tree::remove(racer.place.dir())?;
        }
        Ok(())
    }

    fn backups(
        &mut self,
        corpus: &Corpus,
        racers: &mut [Racer],
        phase: Phase,
        repetition: u32,
    ) -> Result<()> {
        for racer in racers.iter_mut().filter(|racer| !racer.out) {
            let call = racer.place.backup(&corpus.tree(), phase.text());
            let measured = quiet(&call)
                .map(|usage| self.push(corpus.kind, &racer.place, phase, repetition, usage));
            self.note(corpus.kind, racer, phase, repetition, measured);
            if !racer.out && phase != Phase::Unchanged {
                self.size(corpus.kind, &racer.place, phase, repetition)?;
            }
        }
        Ok(())
    }

    fn restore(&mut self, corpus: &Corpus, place: &Place, repetition: u32) -> Result<()> {
        let totals = corpus.totals();
        let ground = Ground::fresh(&self.options.scratch, totals.bytes, totals.files)?;
        let to = ground.path();
        tree::warm(&place.repository())?;
        let restore = place.restore(to, Phase::Churn.text())?;
        let kind = corpus.kind;
        if !restore.asking.is_empty() {
            let mut sum = Usage::default();
            for call in &restore.asking {
                let usage = quiet(call)?;
                sum.wall += usage.wall;
                sum.cpu += usage.cpu;
                sum.foreign += usage.foreign;
                sum.peak = sum.peak.max(usage.peak);
            }
            self.push(kind, place, Phase::Asking, repetition, sum);
        }
        let usage = quiet(&restore.run)?;
        self.push(kind, place, Phase::Restore, repetition, usage);
        if repetition == 0 {
            let differences = tree::differences(&corpus.tree(), &restored(to, &corpus.tree()))?;
            let wrong = differences.first.clone();
            self.results.restored.push(Restored {
                corpus: kind.name().into(),
                tool: place.tool.name.text().into(),
                differences,
            });
            ensure!(
                wrong.is_none(),
                "the restored tree differs: {}",
                wrong.unwrap_or_else(String::new)
            );
        }
        Ok(())
    }

    fn size(&mut self, kind: Kind, place: &Place, after: Phase, repetition: u32) -> Result<()> {
        let whole = tree::totals(&place.repository())?;
        let mut size = Size {
            corpus: kind.name().into(),
            tool: place.tool.name.text().into(),
            after,
            repetition,
            bytes: whole.bytes,
            allocated: whole.allocated,
            files: whole.files,
            caches: 0,
        };
        for cache in place.caches() {
            let part = tree::totals(&cache)?;
            size.caches += part.bytes;
            if cache.starts_with(place.repository()) {
                size.bytes -= part.bytes;
                size.allocated -= part.allocated;
                size.files -= part.files;
            }
        }
        self.results.sizes.push(size);
        Ok(())
    }

    fn push(&mut self, kind: Kind, place: &Place, phase: Phase, repetition: u32, usage: Usage) {
        let tool = place.tool.name.text();
        eprintln!(
            "  {tool:<9} {:<10} {:8.2} s  {:8.2} CPU s  {:6} MiB",
            phase.text(),
            usage.wall,
            usage.cpu,
            usage.peak >> 20
        );
        let corpus = kind.name().into();
        self.results.samples.push(Sample { corpus, tool: tool.into(), phase, repetition, usage });
    }

    /// Keeps a failure; the program takes no further part in this repetition.
    fn note(
        &mut self,
        kind: Kind,
        racer: &mut Racer,
        phase: Phase,
        repetition: u32,
        result: Result<()>,
    ) {
        let Err(error) = result else { return };
        racer.out = true;
        let tool = racer.place.tool.name.text();
        let message = format!("{error:#}");
        eprintln!("  {tool:<9} {:<10} failed: {message}", phase.text());
        self.results.failures.push(Failure {
            corpus: kind.name().into(),
            tool: tool.into(),
            phase,
            repetition,
            message,
        });
    }
}

/// Measures a command on an idle disk.
fn quiet(call: &Call) -> Result<Usage> {
    nix::unistd::sync();
    call.measured()
}
