//! `seawall drill schedule`: timers for systemd, or lines for a crontab.
//!
//! A machine that was off must drill when it is on again. systemd's `Persistent=true` does that; cron
//! cannot, so its lines run every day and `--if-due` makes all but one of them end at once.

use std::path::Path;

use serde_json::json;

use crate::output::{Outcome, Printer};

/// A drill by its name, when it runs, how long one that passed is good for, and its arguments.
const DRILLS: [(&str, &str, &str, &str); 3] = [
    ("scrub", "weekly", "6d", "Read and hash what is sealed here"),
    ("canary", "monthly", "27d", "Restore the canary"),
    ("quorum", "*-01,04,07,10-01 06:00:00", "85d", "Ask custodians for a drill"),
];

pub(super) fn run(
    home: &Path,
    cron: bool,
    requests: &Path,
    arguments: &[String],
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let home = std::path::absolute(home)?;
    let program = std::env::current_exe()?;
    let drills = DRILLS.map(|(name, calendar, within, what)| {
        let command = command(name, within, (&program, &home), requests, arguments);
        (name, calendar, what, command)
    });
    if cron {
        let line = |(n, (.., command)): (usize, &(_, _, _, Vec<String>))| {
            format!("{} {} * * * {}", 15 + 10 * n, 3, cron_words(command))
        };
        let lines: Vec<_> = drills.iter().enumerate().map(line).collect();
        printer.result(&json!({ "crontab": lines }), &lines.join("\n"))?;
        return Ok(Outcome::Done);
    }
    let mut value = serde_json::Map::new();
    let mut words = String::new();
    for (name, calendar, what, command) in &drills {
        for (extension, unit) in
            [("service", service(what, &systemd_words(command))), ("timer", timer(what, calendar))]
        {
            let file = format!("seawall-drill-{name}.{extension}");
            words.push_str(&format!("# /etc/systemd/system/{file}\n{unit}\n"));
            value.insert(file, json!(unit));
        }
    }
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}

fn command(
    name: &str,
    within: &str,
    (program, home): (&Path, &Path),
    requests: &Path,
    arguments: &[String],
) -> Vec<String> {
    let mut words: Vec<String> = vec![program.display().to_string(), "--home".to_owned()];
    words.extend([home.display().to_string(), "drill".to_owned(), name.to_owned()]);
    if name == "quorum" {
        let out = requests.join("drill-request.json").display().to_string();
        words.extend(["begin".to_owned(), "--out".to_owned(), out]);
    }
    words.extend(["--if-due".to_owned(), within.to_owned()]);
    if name == "canary" {
        words.extend(arguments.iter().cloned());
    }
    words
}

fn service(what: &str, command: &str) -> String {
    format!(
        "[Unit]\nDescription=Seawall drill: {what}\n\n[Service]\nType=oneshot\nExecStart={command}\nNice=10\nIOSchedulingClass=idle\nPrivateTmp=yes\n"
    )
}

fn timer(what: &str, calendar: &str) -> String {
    format!(
        "[Unit]\nDescription=Seawall drill: {what}\n\n[Timer]\nOnCalendar={calendar}\nRandomizedDelaySec=1h\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n"
    )
}

/// Words as `ExecStart=` takes them apart (systemd.service(5)).
fn systemd_words(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let escaped = word
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
            .replace('%', "%%")
            .replace('$', "$$");
        if plain(word) { word.clone() } else { format!("\"{escaped}\"") }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Words as cron's shell takes them apart. An unescaped `%` would be a new line (crontab(5)).
fn cron_words(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let escaped = word.replace('\'', "'\\''").replace('%', "\\%");
        if plain(word) { word.clone() } else { format!("'{escaped}'") }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn plain(word: &str) -> bool {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/._-=:,@+".contains(c);
    !word.is_empty() && word.chars().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_one_word_each() {
        let words = ["a b".to_owned(), "100%".to_owned(), "it's \"$x\" \\".to_owned()];
        assert_eq!(systemd_words(&words), r#""a b" "100%%" "it's \"$$x\" \\""#);
        assert_eq!(cron_words(&words), r#"'a b' '100\%' 'it'\''s "$x" \'"#);
    }
}
