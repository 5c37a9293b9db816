//! `seawall export`.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IsTerminal as _, Write as _};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seawall_backup::browse::{Selection, View, Walked};
use seawall_backup::export::{Exported, Missing, tar};
use seawall_node::{Home, view};
use seawall_record::{Ending, Use};
use serde_json::{Value, json};

use super::restore::{check_paths, note_use, open_one, reach, selection};
use crate::cli::ExportArgs;
use crate::output::{Outcome, Printer, Usage, from_root, human};

/// Bytes gathered before they are written.
const BUFFER: usize = 1 << 20;

pub(crate) fn run(args: &ExportArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let is_stdout = args.out.as_os_str() == "-";
    if is_stdout && std::io::stdout().is_terminal() {
        let why = "a tar archive is nothing for a terminal; name a file with -o, or use a pipe";
        return Err(Usage(why.to_owned()).into());
    }
    if is_stdout && printer.is_json() {
        let why = "the archive goes to standard output, where the JSON would; name a file with -o";
        return Err(Usage(why.to_owned()).into());
    }
    let selection = selection(&args.part)?;
    let home = Home::open(home)?;
    let opened = open_one(&home, &args.request, &args.approvals, printer)?;
    let view = view(&reach(&home, printer)?, &opened)?;
    check_paths(&view, &selection)?;
    let exported = if is_stdout {
        let mut out = BufWriter::with_capacity(BUFFER, std::io::stdout().lock());
        archive(&view, &selection, &mut out, printer)
    } else {
        to_file(&view, &selection, &args.out, printer)
    };
    let ending = match &exported {
        Ok(exported) if exported.lost.is_empty() => Ending::Done,
        Ok(_) => Ending::Partly,
        Err(_) => Ending::Failed,
    };
    note_use(&home, &opened, (Use::Export, ending), None, printer);
    let exported = exported?;
    for missing in &exported.lost {
        printer.warn(&missing_words(missing));
    }
    let walked = exported.walked;
    let words = format!(
        "exported {} files, {} directories, {}; the archive has {}",
        walked.files,
        walked.directories,
        human(walked.bytes),
        human(exported.archive_bytes),
    );
    if is_stdout {
        printer.say(&words);
    } else {
        let value = json!({
            "snapshot": opened.examined.dossier.manifest_digest.to_hex(),
            "file": args.out,
            "files": walked.files,
            "directories": walked.directories,
            "others": walked.others,
            "bytes": walked.bytes,
            "archive_bytes": exported.archive_bytes,
            "lost": exported.lost.iter().map(missing_value).collect::<Vec<_>>(),
        });
        printer.result(&value, &words)?;
    }
    Ok(if exported.lost.is_empty() { Outcome::Done } else { Outcome::Partly })
}

fn archive(
    view: &View,
    selection: &Selection,
    out: &mut dyn std::io::Write,
    printer: &Printer,
) -> anyhow::Result<Exported> {
    let total = selection.is_all().then_some(view.signed().totals.bytes);
    let bar = printer.bytes_bar("exporting", total);
    let exported = tar(view, selection, out, &mut |walked, _| bar.set_position(walked.bytes));
    bar.finish_and_clear();
    let exported = exported.context("the archive is not complete")?;
    anyhow::ensure!(
        exported.walked != Walked::default() || !exported.lost.is_empty() || selection.is_all(),
        "nothing in the snapshot matches; `restore run --dry-run --json` lists what there is"
    );
    Ok(exported)
}

/// Writes the archive under another name until it is complete.
fn to_file(
    view: &View,
    selection: &Selection,
    path: &Path,
    printer: &Printer,
) -> anyhow::Result<Exported> {
    let failed = || format!("cannot write {}", path.display());
    let mut name = path.file_name().with_context(failed)?.to_owned();
    name.push(".part");
    let part = Part(path.with_file_name(name));
    // Something planted there is not written through.
    match std::fs::remove_file(&part.0) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(failed),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&part.0);
    let file = file.with_context(failed)?;
    let mut out = BufWriter::with_capacity(BUFFER, file);
    let exported = archive(view, selection, &mut out, printer)?;
    out.flush().with_context(failed)?;
    let file: File = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all().and_then(|()| std::fs::rename(&part.0, path)).with_context(failed)?;
    Ok(exported)
}

/// An unfinished archive; removed if it stays one.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn ranges(zeros: &[Range<u64>]) -> String {
    let text: Vec<_> = zeros.iter().map(|r| format!("{}-{}", r.start, r.end - 1)).collect();
    text.join(", ")
}

fn missing_words(missing: &Missing) -> String {
    let path = from_root(&missing.path);
    if missing.zeros.is_empty() {
        format!("{path}: not in the archive: {}", missing.why)
    } else {
        format!(
            "{path}: in the archive it is ZEROS at bytes {}: {}",
            ranges(&missing.zeros),
            missing.why
        )
    }
}

fn missing_value(missing: &Missing) -> Value {
    json!({
        "path": from_root(&missing.path),
        "why": missing.why.to_string(),
        "zeros": missing.zeros.iter().map(|r| json!([r.start, r.end])).collect::<Vec<_>>(),
    })
}
