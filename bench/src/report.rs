//! Tables: medians, ratios to the best peer, and whether each goal is met.

use anyhow::{Context, Result};

use crate::corpus::Scale;
use crate::measure::Usage;
use crate::results::{Phase, Results, Size, Used};

/// Goals of the issue that are ratios to the best peer.
const FIRST_WALL: f64 = 0.6;
const FIRST_CPU: f64 = 0.75;
const UNCHANGED_WALL: f64 = 0.5;
const CHURN_WALL: f64 = 0.5;
const RESTORE_WALL: f64 = 0.6;
const SIZE: f64 = 1.05;
/// First backup against the sum of primitives on all cores.
const PRIMITIVES: f64 = 1.25;
/// MiB, on the OS tree, which has about 50 000 files.
const PEAK_MIB: f64 = 120.0;
const PEAK_CORPUS: &str = "os-tree";

const BEGIN: &str = "<!-- bench-peers: begin -->";
const END: &str = "<!-- bench-peers: end -->";
const US: &str = "seawall";

/// What a row is held against.
#[derive(Clone, Copy)]
enum Goal {
    None,
    /// Ours divided by the best peer's.
    Ratio(f64),
    /// Ours alone.
    AtMost(f64),
}

/// A row: one figure of every program.
struct Row {
    name: &'static str,
    decimals: usize,
    goal: Goal,
    /// By program, in the order of the columns; none where it failed or does not apply.
    values: Vec<Option<f64>>,
}

/// The whole report.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = head(results);
    for corpus in &results.corpora {
        text += &table(results, corpus);
    }
    text += &durability(results);
    text += &differences(results);
    text += &failures(results);
    text
}

/// The page with the tables in place of those it has.
pub(crate) fn inserted(page: &str, tables: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has no line for the tables")?;
    let (_, after) = rest.split_once(END).context("the page has no end of the tables")?;
    Ok(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim()))
}

fn head(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "`{}`, {}: {}, {} cores, {} MiB of memory, Linux {}, {}. Median of {}; seed {}",
        results.command,
        machine.date,
        machine.processor,
        machine.cores,
        machine.memory_mib,
        machine.kernel,
        machine.file_system,
        results.repetitions,
        results.seed
    );
    if results.scale != Scale::FULL {
        let percent = results.scale.0;
        text += &format!("; **corpora at {percent} % of their size: the goals do not apply**");
    }
    let spreads = spreads(results);
    let own: f64 = results.samples.iter().map(|sample| sample.usage.wall).sum();
    let others: f64 = results.samples.iter().map(|sample| sample.usage.foreign).sum();
    let share = 100.0 * others / (own * machine.cores as f64).max(f64::MIN_POSITIVE);
    text += &format!(
        ". While something was measured, everything else on the machine took {share:.1} % of its \
         processors; runs of one figure differ by {:.0} % of it in the middle, {:.0} % at most.\n\n",
        100.0 * median(&spreads).unwrap_or(0.0),
        100.0 * spreads.last().copied().unwrap_or(0.0)
    );
    text
}

/// For each program, corpus and phase, the largest less the smallest wall clock by the median;
/// sorted.
fn spreads(results: &Results) -> Vec<f64> {
    let mut found = Vec::new();
    for corpus in &results.corpora {
        for tool in &results.tools {
            for phase in [Phase::First, Phase::Unchanged, Phase::Churn, Phase::Restore] {
                let walls = samples(results, &corpus.name, &tool.name, phase, |u| u.wall);
                if let (Some(first), Some(last), Some(middle)) =
                    (walls.first(), walls.last(), median(&walls))
                {
                    found.push((last - first) / middle);
                }
            }
        }
    }
    sorted(found.into_iter())
}

fn table(results: &Results, corpus: &Used) -> String {
    let totals = corpus.totals;
    let mut text = format!(
        "### {}\n\n{} files in {} directories, {} MiB; the change brings {} files and removes {}.",
        corpus.title,
        totals.files,
        totals.directories,
        totals.bytes >> 20,
        corpus.brought,
        corpus.removed
    );
    if let Some(limit) = corpus.limit {
        text += &format!(" Sum of primitives on all cores: {limit:.2} s.");
    }
    text += "\n\n";
    let names: Vec<_> = results.tools.iter().map(|tool| tool.name.as_str()).collect();
    let versions: Vec<_> =
        results.tools.iter().map(|tool| format!("{} {}", tool.name, tool.version)).collect();
    text += &format!("| | {} | seawall ÷ best peer | goal |\n", versions.join(" | "));
    text += &format!("|---|{}---|---|\n", "---:|".repeat(names.len()));
    for row in rows(results, corpus) {
        text += &line(&names, &row, results.scale == Scale::FULL);
    }
    text + "\n"
}

fn rows(results: &Results, corpus: &Used) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |name, decimals, goal, value: &dyn Fn(&str) -> Option<f64>| {
        let values = results.tools.iter().map(|tool| value(&tool.name)).collect();
        rows.push(Row { name, decimals, goal, values });
    };
    let at = |tool: &str, phase, figure: fn(&Usage) -> f64| {
        median(&samples(results, &corpus.name, tool, phase, figure))
    };
    let size = |tool: &str, after, bytes: fn(&Size) -> u64| {
        let of = results
            .sizes
            .iter()
            .filter(|size| size.corpus == corpus.name && size.tool == tool && size.after == after);
        median(&sorted(of.map(|size| mebibytes(bytes(size)))))
    };
    let peak = |tool: &str, phases: &[Phase]| {
        phases.iter().filter_map(|phase| at(tool, *phase, |u| mebibytes(u.peak))).reduce(f64::max)
    };
    let memory = if corpus.name == PEAK_CORPUS { Goal::AtMost(PEAK_MIB) } else { Goal::None };
    add("first, s", 2, Goal::Ratio(FIRST_WALL), &|t| at(t, Phase::First, |u| u.wall));
    add("first, CPU s", 2, Goal::Ratio(FIRST_CPU), &|t| at(t, Phase::First, |u| u.cpu));
    if let Some(limit) = corpus.limit {
        add("first ÷ primitives", 2, Goal::AtMost(PRIMITIVES), &|t| {
            at(t, Phase::First, |u| u.wall).filter(|_| t == US).map(|wall| wall / limit)
        });
    }
    add("unchanged, s", 2, Goal::Ratio(UNCHANGED_WALL), &|t| at(t, Phase::Unchanged, |u| u.wall));
    add("unchanged, CPU s", 2, Goal::None, &|t| at(t, Phase::Unchanged, |u| u.cpu));
    add("changed, s", 2, Goal::Ratio(CHURN_WALL), &|t| at(t, Phase::Churn, |u| u.wall));
    add("changed, CPU s", 2, Goal::None, &|t| at(t, Phase::Churn, |u| u.cpu));
    add("restore, s", 2, Goal::Ratio(RESTORE_WALL), &|t| at(t, Phase::Restore, |u| u.wall));
    add("restore, CPU s", 2, Goal::None, &|t| at(t, Phase::Restore, |u| u.cpu));
    add("request, approvals and restore, s", 2, Goal::None, &|t| {
        Some(at(t, Phase::Asking, |u| u.wall)? + at(t, Phase::Restore, |u| u.wall)?)
    });
    add("repository after first, MiB", 0, Goal::Ratio(SIZE), &|t| {
        size(t, Phase::First, |s| s.bytes)
    });
    add("repository after change, MiB", 0, Goal::Ratio(SIZE), &|t| {
        size(t, Phase::Churn, |s| s.bytes)
    });
    add("caches beside it, MiB", 0, Goal::None, &|t| size(t, Phase::Churn, |s| s.caches));
    add("peak memory of backups, MiB", 0, memory, &|t| {
        peak(t, &[Phase::First, Phase::Unchanged, Phase::Churn])
    });
    add("peak memory of restore, MiB", 0, memory, &|t| peak(t, &[Phase::Restore]));
    rows
}

/// One line; `judged` says whether the goals apply.
fn line(names: &[&str], row: &Row, judged: bool) -> String {
    let shown = |value: &Option<f64>| match value {
        Some(value) => format!("{value:.*}", row.decimals),
        None => "–".to_owned(),
    };
    let cells: Vec<_> = row.values.iter().map(shown).collect();
    let pairs = || names.iter().zip(&row.values);
    let ours = pairs().find(|(name, _)| **name == US).and_then(|(_, value)| *value);
    let best = pairs()
        .filter(|(name, _)| **name != US)
        .filter_map(|(name, value)| Some((*name, (*value)?)))
        .min_by(|a, b| a.1.total_cmp(&b.1));
    let ratio = ours.zip(best).map(|(ours, (name, best))| (ours / best, name));
    let compared = ratio.map_or_else(String::new, |(ratio, name)| format!("{ratio:.2} ({name})"));
    let goal = match row.goal {
        Goal::None => String::new(),
        Goal::Ratio(limit) | Goal::AtMost(limit) if !judged => format!("≤ {limit}"),
        Goal::Ratio(limit) => verdict(ratio.map(|(ratio, _)| ratio), limit),
        Goal::AtMost(limit) => verdict(ours, limit),
    };
    format!("| {} | {} | {compared} | {goal} |\n", row.name, cells.join(" | "))
}

fn verdict(figure: Option<f64>, limit: f64) -> String {
    match figure {
        None => format!("≤ {limit}: not measured"),
        Some(figure) if figure <= limit => format!("≤ {limit}: met"),
        Some(_) => format!("≤ {limit}: **missed**"),
    }
}

fn durability(results: &Results) -> String {
    let mut text = "### On the disk when the command returns\n\n\
                    Of what a first backup of 20 MiB wrote into the repository, synced before it \
                    returned:\n\n"
        .to_owned();
    for tool in &results.tools {
        let found = tool.durability.as_ref().map_or_else(
            || "not found out; `strace` did not run".to_owned(),
            crate::durability::Durability::text,
        );
        text += &format!("- {}: {found}\n", tool.name);
    }
    text + "\n"
}

fn differences(results: &Results) -> String {
    let mut text = String::new();
    for restored in &results.restored {
        let found = &restored.differences;
        if found.content + found.mode + found.owner + found.mtime == 0 {
            continue;
        }
        text += &format!(
            "- {} on {}: {} entries differ in content, {} in mode, {} in owner, {} in time\n",
            restored.tool, restored.corpus, found.content, found.mode, found.owner, found.mtime
        );
    }
    let all = results.restored.len();
    format!(
        "### Restored trees beside their sources\n\n{all} restored trees were compared with their \
         sources, every byte; those not named here are equal.\n\n{text}\n"
    )
}

fn failures(results: &Results) -> String {
    if results.failures.is_empty() {
        return String::new();
    }
    let mut text = "### Failures\n\n".to_owned();
    for failure in &results.failures {
        text += &format!(
            "- {} on {}, {}, repetition {}: {}\n",
            failure.tool,
            failure.corpus,
            failure.phase.text(),
            failure.repetition + 1,
            failure.message
        );
    }
    text + "\n"
}

fn samples(
    results: &Results,
    corpus: &str,
    tool: &str,
    phase: Phase,
    figure: impl Fn(&Usage) -> f64,
) -> Vec<f64> {
    let these = results
        .samples
        .iter()
        .filter(|sample| sample.corpus == corpus && sample.tool == tool && sample.phase == phase);
    sorted(these.map(|sample| figure(&sample.usage)))
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<_> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// The middle of sorted figures; of an even number, the mean of the two in the middle.
fn median(figures: &[f64]) -> Option<f64> {
    let middle = figures.len() / 2;
    let upper = *figures.get(middle)?;
    Some(if figures.len() % 2 == 1 { upper } else { f64::midpoint(figures[middle - 1], upper) })
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal, values: &[Option<f64>]) -> String {
        let row = Row { name: "row", decimals: 1, goal, values: values.to_vec() };
        line(&["seawall", "restic", "borg"], &row, true)
    }

    #[test]
    fn a_row_names_the_best_peer_and_the_verdict() {
        let values = [Some(2.0), Some(5.0), Some(4.0)];
        assert_eq!(
            row(Goal::Ratio(0.5), &values),
            "| row | 2.0 | 5.0 | 4.0 | 0.50 (borg) | ≤ 0.5: met |\n"
        );
        assert!(row(Goal::Ratio(0.4), &values).contains("≤ 0.4: **missed**"));
        assert!(row(Goal::AtMost(1.9), &values).contains("≤ 1.9: **missed**"));
    }

    #[test]
    fn what_failed_meets_no_goal() {
        let text = row(Goal::Ratio(0.5), &[None, Some(1.0), None]);
        assert!(text.contains("–") && text.contains("not measured"), "{text}");
        let text = row(Goal::Ratio(0.5), &[Some(1.0), None, None]);
        assert!(text.contains("not measured"), "{text}");
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
    }

    #[test]
    fn tables_replace_the_old_ones() {
        let page = format!("head\n{BEGIN}\nold\n{END}\ntail\n");
        let once = inserted(&page, "new\n").expect("inserted");
        assert_eq!(once, format!("head\n{BEGIN}\n\nnew\n\n{END}\ntail\n"));
        assert_eq!(inserted(&once, "new").expect("inserted"), once);
        assert!(inserted("no marks", "new").is_err());
    }
}
