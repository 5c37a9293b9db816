//! Flags of `seawall find`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::ffi::OsString;

use clap::{Args, ValueEnum};

use super::size;

pub(super) const HELP: &str = "A pattern without a slash is looked for in names, one with a slash in paths.\nExample: seawall find passwd\n  seawall find --prefix /etc/ssh/\n  seawall find --glob '*.ods' --since 30d --min-size 1M\nExit codes: 0 something was found, 1 nothing was found (or it failed), 3 some snapshots could not be searched.";

/// What to look for, and where.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// What the name, or the path if there is a slash in it, contains
    pub(crate) pattern: OsString,
    #[command(flatten)]
    pub(crate) how: FindHow,
    /// Upper and lower case are the same
    #[arg(short, long)]
    pub(crate) ignore_case: bool,
    /// Only in this snapshot: its id, or the beginning of it
    #[arg(long, value_name = "ID", help_heading = "Snapshots")]
    pub(crate) snapshot: Option<String>,
    /// Only in snapshots made since: 2026-11-01, 2026-11-01T12:30 (UTC), or back from now: 7d, 36h
    #[arg(long, value_name = "TIME", value_parser = when, help_heading = "Snapshots")]
    pub(crate) since: Option<jiff::Timestamp>,
    /// Only in snapshots of this node
    #[arg(long, value_name = "NAME", help_heading = "Snapshots")]
    pub(crate) node: Option<String>,
    /// Only what is of this kind; repeat, or separate by commas
    #[arg(long = "type", value_name = "KIND", value_delimiter = ',', help_heading = "Filters")]
    pub(crate) kinds: Vec<FindKind>,
    /// Only files of at least this size, such as 500K or 2G
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Filters")]
    pub(crate) min_size: Option<u64>,
    /// Only files of at most this size
    #[arg(long, value_name = "SIZE", value_parser = size, help_heading = "Filters")]
    pub(crate) max_size: Option<u64>,
    /// Only what was modified at this time or later, as for --since
    #[arg(long, value_name = "TIME", value_parser = when, help_heading = "Filters")]
    pub(crate) modified_since: Option<jiff::Timestamp>,
    /// Only what was modified before this time
    #[arg(long, value_name = "TIME", value_parser = when, help_heading = "Filters")]
    pub(crate) modified_before: Option<jiff::Timestamp>,
    /// Show at most so many versions of paths; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub(crate) limit: usize,
    /// Ask no region and no bucket: search what is known here
    #[arg(long)]
    pub(crate) offline: bool,
    /// Throw the cache away and read every path index again
    #[arg(long)]
    pub(crate) rebuild: bool,
}

/// How a pattern is meant; without any of these, it is found anywhere.
#[derive(Debug, Args)]
#[group(multiple = false)]
#[expect(clippy::struct_excessive_bools, reason = "one flag each, of which one may be given")]
pub(crate) struct FindHow {
    /// The pattern is the whole name, or path
    #[arg(short, long)]
    pub(crate) exact: bool,
    /// It is the beginning of the name, or of the path with all below
    #[arg(short, long)]
    pub(crate) prefix: bool,
    /// `*` and `?` stand for anything in a name, `**` also for slashes, [a-z] for one of these
    #[arg(short, long)]
    pub(crate) glob: bool,
    /// It is a regular expression
    #[arg(short, long)]
    pub(crate) regex: bool,
}

/// Kinds to choose from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FindKind {
    /// Regular files, under any of their names
    #[value(alias = "f")]
    File,
    /// Directories
    #[value(alias = "d")]
    Directory,
    /// Symbolic links
    #[value(alias = "l")]
    Symlink,
    /// Named pipes and devices
    Other,
}

/// A time of UTC, or a span back from now.
pub(super) fn when(text: &str) -> Result<jiff::Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time);
    }
    let utc = jiff::tz::TimeZone::UTC;
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>() {
        return civil.to_zoned(utc).map(|z| z.timestamp()).map_err(|e| e.to_string());
    }
    let wrong = || "give a time such as 2026-11-01 or 2026-11-01T12:30, or a span such as 7d";
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let now = jiff::Timestamp::now().to_zoned(utc);
    now.checked_sub(span).map(|z| z.timestamp()).map_err(|_| wrong().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let midnight = when("2026-11-01").expect("a date");
        assert_eq!(midnight.to_string(), "2026-11-01T00:00:00Z");
        assert_eq!(when("2026-11-01T02:00+02:00"), Ok(midnight));
        assert_eq!(when("2026-11-01T00:00"), Ok(midnight));
        let (week, hours) = (when("7d").expect("a span"), when("168h").expect("a span"));
        assert!((hours.as_second() - week.as_second()).abs() <= 1);
        for bad in ["", "yesterday", "2026-13-01", "7", "99999999d"] {
            assert!(when(bad).is_err(), "{bad}");
        }
    }
}
