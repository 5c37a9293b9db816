//! How commands speak: JSON or words on stdout, progress on stderr, one exit code.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use seawall_base::Seconds;
use serde::Serialize;
use zeroize::Zeroizing;

/// How a command that did not fail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// A check found something wrong.
    Found,
    /// Done, with some files skipped; each has been named.
    Partly,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Found => 1,
            Outcome::Partly => 3,
        })
    }
}

/// An error of usage: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Where results and words go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
}

impl Printer {
    pub(crate) const fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet }
    }

    /// Prints a result: its JSON, or the words for people.
    pub(crate) fn result<T: Serialize>(self, value: &T, words: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, value).context("writing to stdout")?;
            writeln!(out).context("writing to stdout")
        } else {
            writeln!(out, "{}", printable(words.trim_end())).context("writing to stdout")
        }
    }

    /// Hands over a document: on stdout it is the result; of a file, JSON says where it is.
    pub(crate) fn document(self, out: &std::path::Path, document: &[u8]) -> anyhow::Result<()> {
        write_output(out, document)?;
        if self.json && out.as_os_str() != "-" {
            self.result(&serde_json::json!({ "file": out }), "")?;
        }
        Ok(())
    }

    /// As [`Printer::document`], and says what it is; in JSON one value, with the `file` it is in.
    /// Where the document itself goes to stdout, it is all that is printed.
    pub(crate) fn described(
        self,
        out: &std::path::Path,
        document: &[u8],
        (mut value, words): (serde_json::Value, &str),
    ) -> anyhow::Result<()> {
        write_output(out, document)?;
        if out.as_os_str() == "-" {
            return Ok(());
        }
        value["file"] = serde_json::json!(out);
        self.result(&value, words)
    }

    /// Whether results are JSON.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Says something on the side.
    pub(crate) fn say(self, words: &str) {
        if !self.quiet {
            to_stderr(words);
        }
    }

    /// Shows what somebody has to decide on; nothing hides it.
    #[expect(clippy::unused_self, reason = "as `warn`")]
    pub(crate) fn show(self, words: &str) {
        to_stderr(words);
    }

    /// Names something that went wrong without ending the command; quiet does not hide it.
    #[expect(clippy::unused_self, reason = "whoever warns has a printer; quiet is not asked")]
    pub(crate) fn warn(self, words: &str) {
        to_stderr(&format!("warning: {words}"));
    }

    #[expect(clippy::unused_self, reason = "whoever fails has a printer; quiet is not asked")]
    pub(crate) fn error(self, e: &anyhow::Error) {
        let mut text = format!("error: {e}");
        for cause in e.chain().skip(1) {
            // Transparent errors repeat their source's words.
            if !text.contains(&cause.to_string()) {
                let _ = write!(text, ": {cause}");
            }
        }
        to_stderr(&text);
    }

    /// A count that goes up, its end unknown; hidden when nobody watches.
    pub(crate) fn count_bar(self, what: &str) -> ProgressBar {
        let bar = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        let template = "{prefix:>10} {spinner} {human_pos} {per_sec} {elapsed}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is constant"));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    /// A progress bar over bytes; hidden when nobody watches.
    pub(crate) fn bytes_bar(self, what: &str, total: Option<u64>) -> ProgressBar {
        let template = match total {
            Some(_) => KNOWN_TOTAL,
            None => "{prefix:>10} {spinner} {bytes} {bytes_per_sec} {elapsed} {msg}",
        };
        let bar = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            total.map_or_else(ProgressBar::new_spinner, ProgressBar::new)
        };
        let style = ProgressStyle::with_template(template).expect("the template is constant");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

const KNOWN_TOTAL: &str =
    "{prefix:>10} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}";

/// Gives a bar the total it began without.
pub(crate) fn show_total(bar: &ProgressBar, bytes: u64) {
    let style = ProgressStyle::with_template(KNOWN_TOTAL).expect("the template is constant");
    bar.set_style(style.progress_chars("=> "));
    bar.set_length(bytes);
}

fn to_stderr(words: &str) {
    // A closed stderr is no reason to fail a backup.
    let _ = writeln!(std::io::stderr(), "{}", printable(words));
}

/// Words that may quote files, regions, custodians and requests: what they contain must not be
/// able to move the cursor, hide or turn round text or rename the terminal. Line ends and tabs of
/// ours stay; a single line of somebody else's is checked where it comes in.
fn printable(words: &str) -> String {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let escape = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c);
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        if escape(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// `RUST_LOG`-style filtering on stderr; warnings unless asked for more.
pub(crate) fn start_logging(verbose: u8) {
    let level = ["warn", "info", "debug", "trace"][usize::from(verbose.min(3))];
    // Warns that what somebody else unmounted cannot be unmounted.
    // So does cryptoki's, which calls every mechanism of a token that it does not know an error.
    let quiet = if verbose == 0 { "fuser=error,cryptoki=off" } else { level };
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEAWALL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("{level},{quiet}")));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
}

/// `$XDG_DATA_HOME/seawall` or `~/.local/share/seawall`.
pub(crate) fn default_home() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("seawall"))
        .ok_or_else(|| Usage("neither --home, SEAWALL_HOME nor HOME is set".to_owned()).into())
}

/// `SEAWALL_SHARE_PASSPHRASE`, or an answer at the terminal.
pub(crate) fn passphrase(prompt: &str, new: bool) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    if let Some(value) = std::env::var_os("SEAWALL_SHARE_PASSPHRASE") {
        return Ok(Zeroizing::new(value.into_encoded_bytes()));
    }
    if !std::io::stdin().is_terminal() {
        let why = "no terminal to ask for a passphrase; set SEAWALL_SHARE_PASSPHRASE";
        return Err(Usage(why.to_owned()).into());
    }
    let mut ask = dialoguer::Password::new().with_prompt(prompt);
    if new {
        ask = ask.with_confirmation("Repeat it", "The two differ, try again");
    }
    Ok(Zeroizing::new(ask.interact().context("reading the passphrase")?.into_bytes()))
}

/// Asks yes or no at the terminal; without one, only `--yes` is a yes.
pub(crate) fn confirm(prompt: &str) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let why = "no terminal to ask for a confirmation; read the above and pass --yes";
        return Err(Usage(why.to_owned()).into());
    }
    let ask = dialoguer::Confirm::new().with_prompt(prompt).default(false);
    ask.interact().context("reading the answer")
}

/// Reads a file of at most 4 MiB that somebody handed over; `-` is standard input.
pub(crate) fn read_input(path: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    read_up_to(path, 4)
}

/// As [`read_input`], with a limit in MiB.
pub(crate) fn read_up_to(path: &std::path::Path, mib: u64) -> anyhow::Result<Vec<u8>> {
    use std::io::Read as _;
    let limit = mib << 20;
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(limit + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|f| f.take(limit + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(bytes.len() as u64 <= limit, "{} is larger than {mib} MiB", path.display());
    Ok(bytes)
}

/// Writes a file that is handed on, whole or not at all, durable before this returns.
pub(crate) fn write_output(path: &std::path::Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = || format!("cannot write {}", path.display());
    if path.as_os_str() == "-" {
        return std::io::stdout().write_all(bytes).with_context(failed);
    }
    let mut name = path.file_name().with_context(failed)?.to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    // A leftover of ours, or something planted: neither is written through.
    match std::fs::remove_file(&temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).with_context(failed),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(&temporary);
    let written = file.and_then(|mut f| {
        f.write_all(bytes)?;
        f.sync_all()
    });
    let written = written.and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // What is half written helps nobody, and the disk may be full.
        let _ = std::fs::remove_file(&temporary);
    }
    written.with_context(failed)
}

/// A span for people, to the second: what is signed is not rounded.
pub(crate) fn span(span: Seconds) -> String {
    let mut rest = span.0;
    let mut parts = Vec::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)] {
        if rest >= seconds {
            parts.push(format!("{} {unit}", rest / seconds));
            rest %= seconds;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

/// Bytes for people, in binary units.
pub(crate) fn human(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A path as text: bytes that are not UTF-8 or would upset a terminal are escaped.
pub(crate) fn show_path(path: &[u8]) -> String {
    let mut out = String::new();
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' { out.extend(c.escape_default()) } else { out.push(c) }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A path from a snapshot's root, without its leading slash, as [`show_path`] shows it with one.
pub(crate) fn from_root(path: &[u8]) -> String {
    format!("/{}", show_path(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_cannot_write_to_the_terminal() {
        assert_eq!(show_path(b"/a\x1b[2J\n\xff\\"), "/a\\u{1b}[2J\\n\\xff\\\\");
        assert_eq!(show_path("/srv/müll".as_bytes()), "/srv/müll");
    }

    #[test]
    fn words_of_others_cannot_write_to_the_terminal() {
        let said = "anna: pending, \u{1b}[2J\u{1b}]0;x\u{7}\r\u{202e}\u{9b}1m\n\tbob: m\u{fc}de";
        let shown =
            "anna: pending, \\u{1b}[2J\\u{1b}]0;x\\u{7}\\r\\u{202e}\\u{9b}1m\n\tbob: m\u{fc}de";
        assert_eq!(printable(said), shown);
    }

    #[test]
    fn spans_are_exact() {
        for (seconds, shown) in [
            (0, "0 s"),
            (86_399, "23 h 59 min 59 s"),
            (30 * 86_400, "30 d"),
            (30 * 86_400 + 1, "30 d 1 s"),
            (2 * 86_400 - 3_600, "1 d 23 h"),
        ] {
            assert_eq!(span(Seconds(seconds)), shown);
        }
    }

    #[test]
    fn outputs_replace_whole_files() {
        let dir = std::env::temp_dir().join(format!("seawall-output-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("f");
        write_output(&path, b"one").expect("written");
        write_output(&path, b"two").expect("replaced");
        assert_eq!(read_input(&path).expect("read"), b"two");
        assert!(write_output(&dir.join("no/f"), b"x").is_err());
        std::fs::create_dir(dir.join("d")).expect("a directory");
        assert!(write_output(&dir.join("d"), b"x").is_err());
        assert!(!dir.join("d.tmp").exists(), "nothing is left behind");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
