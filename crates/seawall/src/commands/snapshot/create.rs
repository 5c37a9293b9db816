//! `seawall snapshot create`: what to read, commands around it, and what came of it.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use seawall_backup::snapshot::Progress;
use seawall_backup::source::Problem;
use seawall_backup::source::filter::{Excluded, Exclusions, Patterns};
use seawall_base::{Clock as _, Timestamp};
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    CommandLine, Commands, CreateOptions, Home, Hook, Input, Survey, Trees, Written,
    create_snapshot, on_interruption, survey,
};
use serde_json::{Value, json};

use super::describe;
use crate::cli::{CreateArgs, ExcludeArgs};
use crate::output::{Outcome, Printer, Usage, human, show_path};

pub(super) fn run(home: &Home, args: &CreateArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    let request = Request::of(args)?;
    if args.dry_run {
        return dry_run(&request, printer);
    }
    let hooks = Arc::new(Hooks::of(args));
    let commands = Commands::default();
    let ended = Arc::new(AtomicBool::new(false));
    if !hooks.is_empty() || matches!(request.kind, Kind::Command(_)) {
        clean_up_when_interrupted(&hooks, &commands, &ended, *printer)?;
    }
    let written =
        hooks.pre(&commands).and_then(|()| create(home, &request, args, &commands, printer));
    if ended.swap(true, Ordering::SeqCst) {
        // The process is about to end; what was cut off is not told.
        loop {
            std::thread::park();
        }
    }
    let post_ran = hooks.post(&Ended::of(written.as_ref()), &commands, printer);
    let written = written.context("no snapshot was made")?;
    report(&written, printer)?;
    Ok(if written.problems.is_empty() && post_ran { Outcome::Done } else { Outcome::Partly })
}

/// Has an interruption end the commands, run the post-hooks and end the process: nothing else
/// would unfreeze what a pre-hook froze. After the end of the snapshot, whichever `ended` saw
/// first, post-hooks run already and are let be.
fn clean_up_when_interrupted(
    hooks: &Arc<Hooks>,
    commands: &Commands,
    ended: &Arc<AtomicBool>,
    printer: Printer,
) -> anyhow::Result<()> {
    let (hooks, commands, ended) = (Arc::clone(hooks), commands.clone(), Arc::clone(ended));
    let clean_up = move |signal| {
        if !ended.swap(true, Ordering::SeqCst) {
            commands.end_all();
            let how = Ended { result: "interrupted", ..Ended::default() };
            hooks.post(&how, &commands, &printer);
            #[expect(clippy::disallowed_methods, reason = "a signal drops nothing either")]
            std::process::exit(128 + signal);
        }
    };
    on_interruption(clean_up).context("cannot listen for signals")
}

/// What is asked for, checked.
struct Request<'a> {
    kind: Kind<'a>,
    exclusions: Exclusions,
    name: &'a OsStr,
    devices: bool,
}

enum Kind<'a> {
    Paths(&'a [PathBuf]),
    Bucket(&'a str),
    Stdin,
    Command(CommandLine),
}

impl<'a> Request<'a> {
    fn of(args: &'a CreateArgs) -> anyhow::Result<Self> {
        let exclusions = exclusions(&args.exclude)?;
        let stream = &args.stream;
        let is_bucket = |path: &PathBuf| path.to_str().is_some_and(|p| p.starts_with("s3://"));
        let kind = if stream.stdin {
            Kind::Stdin
        } else if let Some(line) = &stream.from_command {
            Kind::Command(CommandLine::Shell(line.clone()))
        } else if stream.from_exec {
            let words = args.paths.iter().map(|word| word.clone().into_os_string());
            Kind::Command(CommandLine::Words(words.collect()))
        } else if let Some(url) = args.paths.iter().find(|path| is_bucket(path)) {
            let url = url.to_str().expect("a bucket's URL is text");
            if args.paths.len() > 1 {
                return Err(
                    Usage(format!("give {url} alone: a bucket is a snapshot of its own")).into()
                );
            }
            Kind::Bucket(url)
        } else {
            for path in &args.paths {
                // A mistyped path must not become an empty snapshot.
                let found = path.symlink_metadata();
                found.with_context(|| format!("cannot snapshot {}", path.display()))?;
            }
            Kind::Paths(&args.paths)
        };
        let request =
            Self { kind, exclusions, name: &stream.stdin_filename, devices: args.block_devices };
        request.check()?;
        Ok(request)
    }

    /// Refuses options that would do nothing.
    fn check(&self) -> anyhow::Result<()> {
        let Exclusions { patterns, ignore_files, caches, markers, larger_than, one_file_system } =
            &self.exclusions;
        let of_trees =
            !ignore_files.is_empty() || *caches || !markers.is_empty() || *one_file_system;
        let of_keys = !patterns.is_empty() || larger_than.is_some();
        let why = match self.kind {
            Kind::Bucket(_) if of_trees || self.devices => {
                "of a bucket, only --exclude, --iexclude, --exclude-from and --exclude-larger-than can be passed over"
            }
            Kind::Stdin | Kind::Command(_) if of_trees || of_keys || self.devices => {
                "of a stream, nothing can be passed over"
            }
            _ => return Ok(()),
        };
        Err(Usage(why.to_owned()).into())
    }

    fn input(&'a self, commands: &'a Commands) -> Input<'a> {
        match &self.kind {
            Kind::Paths(paths) => Input::Trees(self.trees(paths)),
            Kind::Bucket(url) => Input::Bucket { url, exclusions: self.exclusions.clone() },
            Kind::Stdin => {
                let reader: Box<dyn Read + Send> = Box::new(std::io::stdin());
                Input::Stream { name: self.name, reader }
            }
            Kind::Command(line) => Input::Command { name: self.name, line, commands },
        }
    }

    fn trees(&self, paths: &[PathBuf]) -> Trees {
        let exclusions = self.exclusions.clone();
        Trees { paths: paths.to_vec(), exclusions, devices: self.devices }
    }
}

fn exclusions(args: &ExcludeArgs) -> anyhow::Result<Exclusions> {
    let usage = |e: String| anyhow::Error::from(Usage(e));
    let mut patterns = Patterns::default();
    for file in &args.exclude_from {
        let text = crate::output::read_input(file)?;
        patterns.add_file(&text).map_err(|e| usage(format!("{}: {e}", file.display())))?;
    }
    for (list, fold) in [(&args.exclude, false), (&args.iexclude, true)] {
        for pattern in list {
            let added = patterns.add(pattern.as_encoded_bytes(), fold);
            added.map_err(|e| usage(e.to_string()))?;
        }
    }
    let bytes = |names: &[std::ffi::OsString]| -> anyhow::Result<Vec<Vec<u8>>> {
        let name = |name: &std::ffi::OsString| {
            let bytes = name.as_encoded_bytes().to_vec();
            if seawall_backup::entry::is_component(&bytes) {
                return Ok(bytes);
            }
            Err(usage(format!("{} is no name of a file; give one without /", name.display())))
        };
        names.iter().map(name).collect()
    };
    let mut ignore_files = Vec::new();
    if args.gitignore {
        ignore_files.push(b".gitignore".to_vec());
    }
    ignore_files.extend(bytes(&args.ignore_file)?);
    Ok(Exclusions {
        patterns,
        ignore_files,
        caches: args.exclude_caches,
        markers: bytes(&args.exclude_if_present)?,
        larger_than: args.exclude_larger_than,
        one_file_system: args.one_file_system,
    })
}

fn create(
    home: &Home,
    request: &Request<'_>,
    args: &CreateArgs,
    commands: &Commands,
    printer: &Printer,
) -> anyhow::Result<Written> {
    let bar = printer.bytes_bar("sealing", None);
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let (class, set) = (args.class.as_deref(), args.set.as_deref());
    let options = CreateOptions { class, set, tags: &args.tags, workers };
    let total = Total::default();
    let mut lines = args.progress.is_some().then(Lines::new);
    std::thread::scope(|scope| {
        if let Kind::Paths(paths) = request.kind
            && (!bar.is_hidden() || lines.is_some())
        {
            let (trees, bar, total) = (request.trees(paths), bar.clone(), &total);
            scope.spawn(move || total.count(trees, &bar));
        }
        let input = request.input(commands);
        let written = create_snapshot(home, input, &options, &SystemClock, &mut OsRng, &mut |p| {
            bar.set_position(p.bytes);
            bar.set_message(format!("{} files, {} new", p.files + p.unchanged, human(p.new_bytes)));
            if let Some(lines) = &mut lines {
                lines.tell(p, &total, printer);
            }
        });
        total.stop.store(true, Ordering::Relaxed);
        bar.finish_and_clear();
        Ok(written?)
    })
}

/// Counts what there is to read, for the bar's sake, while it is read.
#[derive(Default)]
struct Total {
    stop: AtomicBool,
    /// 0 until it is known.
    bytes: AtomicU64,
}

/// Progress for programs: a line of JSON each second.
struct Lines {
    began: Timestamp,
    last: Timestamp,
}

impl Lines {
    fn new() -> Self {
        let now = SystemClock.now();
        Self { began: now, last: now }
    }

    fn tell(&mut self, progress: &Progress, total: &Total, printer: &Printer) {
        let now = SystemClock.now();
        if now == self.last {
            return;
        }
        self.last = now;
        let total = total.bytes.load(Ordering::Relaxed);
        let line = json!({ "progress": {
            "seconds": now.0.saturating_sub(self.began.0),
            "files": progress.files + progress.unchanged,
            "unchanged": progress.unchanged,
            "bytes": progress.bytes,
            "total_bytes": (total > 0).then_some(total),
            "new_bytes": progress.new_bytes,
        }});
        printer.show(&line.to_string());
    }
}

impl Total {
    fn count(&self, trees: Trees, bar: &ProgressBar) {
        let go_on = &mut |_: &Survey| !self.stop.load(Ordering::Relaxed);
        // What is wrong with the tree, the snapshot itself will say.
        if let Ok(found) = survey(Input::Trees(trees), &SystemClock, go_on)
            && !self.stop.load(Ordering::Relaxed)
        {
            self.bytes.store(found.bytes, Ordering::Relaxed);
            crate::output::show_total(bar, found.bytes);
        }
    }
}

fn report(written: &Written, printer: &Printer) -> anyhow::Result<()> {
    let mut value = describe(&written.listed);
    value["unchanged"] = written.progress.unchanged.into();
    value["new_bytes"] = written.progress.new_bytes.into();
    value["new_objects"] = written.progress.new_objects.into();
    value["problems"] = problems(&written.problems);
    value["excluded"] = excluded(&written.excluded);
    for problem in &written.problems {
        printer.warn(&problem.to_string());
    }
    unused(&written.excluded, printer);
    let totals = &written.listed.manifest.core.totals;
    let words = format!(
        "{}\nsnapshot {} of {}: {} files, {} directories, {}; {} new in {} objects{}",
        written.listed.digest.to_hex(),
        written.listed.manifest.core.sequence,
        written.listed.node,
        totals.files,
        totals.directories,
        human(totals.bytes),
        human(written.progress.new_bytes),
        written.progress.new_objects,
        in_words(&written.excluded),
    );
    printer.result(&value, &words)
}

fn dry_run(request: &Request<'_>, printer: &Printer) -> anyhow::Result<Outcome> {
    if matches!(request.kind, Kind::Stdin | Kind::Command(_)) {
        return Err(
            Usage("--dry-run: what a stream brings is known by reading it".to_owned()).into()
        );
    }
    let bar = printer.bytes_bar("counting", None);
    let commands = Commands::default();
    let found = survey(request.input(&commands), &SystemClock, &mut |so_far| {
        bar.set_position(so_far.bytes);
        true
    });
    bar.finish_and_clear();
    let found = found?;
    for problem in &found.problems {
        printer.warn(&problem.to_string());
    }
    unused(&found.excluded, printer);
    let value = json!({
        "dry_run": true,
        "files": found.files,
        "directories": found.directories,
        "others": found.others,
        "bytes": found.bytes,
        "problems": problems(&found.problems),
        "excluded": excluded(&found.excluded),
    });
    let words = format!(
        "would read {} files, {} directories, {}{}; nothing was sealed",
        found.files,
        found.directories,
        human(found.bytes),
        in_words(&found.excluded),
    );
    printer.result(&value, &words)?;
    Ok(if found.problems.is_empty() { Outcome::Done } else { Outcome::Partly })
}

fn problems(problems: &[Problem]) -> Value {
    let problem =
        |p: &Problem| json!({ "path": show_path(&p.path), "reason": p.reason.to_string() });
    problems.iter().map(problem).collect()
}

fn excluded(excluded: &Excluded) -> Value {
    json!({
        "files": excluded.files,
        "directories": excluded.directories,
        "too_large": excluded.too_large,
        "too_large_bytes": excluded.too_large_bytes,
        "caches": excluded.caches,
        "marked": excluded.marked,
        "mount_points": excluded.mount_points,
        "unused_patterns": excluded.unused.iter().map(|p| show_path(p)).collect::<Vec<_>>(),
    })
}

/// What was passed over, as the end of a sentence; nothing if nothing was.
fn in_words(excluded: &Excluded) -> String {
    let counts = [
        (excluded.files, "files by pattern"),
        (excluded.directories, "directories by pattern"),
        (excluded.too_large, "files too large"),
        (excluded.caches, "caches"),
        (excluded.marked, "marked directories"),
        (excluded.mount_points, "mount points"),
    ];
    let some = counts.iter().filter(|(n, _)| *n > 0);
    let words: Vec<_> = some.map(|(n, what)| format!("{n} {what}")).collect();
    if words.is_empty() { String::new() } else { format!("; passed over {}", words.join(", ")) }
}

/// A pattern that matched nothing may be a mistake that keeps too much.
fn unused(excluded: &Excluded, printer: &Printer) {
    for pattern in &excluded.unused {
        let pattern = show_path(pattern);
        printer.say(&format!(
            "note: the pattern {pattern} matched nothing; patterns are relative to each given path"
        ));
    }
}

/// Commands around a snapshot.
struct Hooks {
    pre: Vec<std::ffi::OsString>,
    post: Vec<std::ffi::OsString>,
    /// Only when no snapshot was made.
    fail: Vec<std::ffi::OsString>,
    limit: Duration,
}

/// How it ended, for post-hooks.
#[derive(Default)]
struct Ended {
    result: &'static str,
    snapshot: String,
    error: String,
    files: u64,
    bytes: u64,
    problems: usize,
}

impl Ended {
    fn of(written: Result<&Written, &anyhow::Error>) -> Self {
        match written {
            Ok(written) => Self {
                result: if written.problems.is_empty() { "done" } else { "partly" },
                snapshot: written.listed.digest.to_hex(),
                error: String::new(),
                files: written.listed.manifest.core.totals.files,
                bytes: written.listed.manifest.core.totals.bytes,
                problems: written.problems.len(),
            },
            Err(e) => Self { result: "failed", error: format!("{e:#}"), ..Self::default() },
        }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SEAWALL_RESULT", self.result.to_owned()),
            ("SEAWALL_SNAPSHOT", self.snapshot.clone()),
            ("SEAWALL_ERROR", self.error.clone()),
            ("SEAWALL_FILES", self.files.to_string()),
            ("SEAWALL_BYTES", self.bytes.to_string()),
            ("SEAWALL_PROBLEMS", self.problems.to_string()),
        ]
    }
}

impl Hooks {
    fn of(args: &CreateArgs) -> Self {
        Self {
            pre: args.pre_hook.clone(),
            post: args.post_hook.clone(),
            fail: args.fail_hook.clone(),
            limit: Duration::from_secs(args.hook_timeout),
        }
    }

    fn is_empty(&self) -> bool {
        self.pre.is_empty() && self.post.is_empty() && self.fail.is_empty()
    }

    fn pre(&self, commands: &Commands) -> anyhow::Result<()> {
        for command in &self.pre {
            let (what, limit) = ("pre-hook", self.limit);
            Hook { what, command, environment: &[], limit }.run(commands)?;
        }
        Ok(())
    }

    /// Runs all that are for this end; whether all went well. What did not is named.
    fn post(&self, ended: &Ended, commands: &Commands, printer: &Printer) -> bool {
        let environment = ended.environment();
        let fail = if ended.snapshot.is_empty() { &self.fail[..] } else { &[] };
        let fail = fail.iter().map(|command| ("fail-hook", command));
        let post = self.post.iter().map(|command| ("post-hook", command));
        let mut all = true;
        for (what, command) in fail.chain(post) {
            let hook = Hook { what, command, environment: &environment, limit: self.limit };
            if let Err(e) = hook.run(commands) {
                printer.warn(&e.to_string());
                all = false;
            }
        }
        all
    }
}
