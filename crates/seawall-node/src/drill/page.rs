//! A report as a page for people: one file, nothing in it but text and a style, so that it prints,
//! travels by mail and cannot run anything. Every word that came from somewhere else is escaped.

use seawall_record::{DrillKind, Verdict};

use seawall_sync::VerifiedReport;

const STYLE: &str = "@page { size: A4; margin: 18mm }\n\
body { font: 11pt/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem }\n\
table { border-collapse: collapse; width: 100%; margin: 1rem 0 }\n\
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ccc }\n\
code { font-size: .85em; overflow-wrap: anywhere }\n\
.PASSED { color: #14632c } .WARNED { color: #7a5200 } .FAILED { color: #a11212; font-weight: bold }\n";

/// Text as it stands in a page.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A page around a body that is already escaped.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n{body}</html>\n",
        escape(title)
    )
}

/// The one word of a verdict.
pub const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "PASSED",
        Verdict::Warned => "WARNED",
        Verdict::Failed => "FAILED",
    }
}

/// What a drill is called.
pub const fn kind_word(kind: DrillKind) -> &'static str {
    match kind {
        DrillKind::Scrub => "scrub",
        DrillKind::Canary => "canary",
        DrillKind::Quorum => "quorum",
    }
}

/// Milliseconds for people.
pub fn duration(millis: u64) -> String {
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    match seconds {
        0..60 => format!("{seconds}.{:01} s", rest / 100),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} days {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

fn row(name: &str, value: &str) -> String {
    format!("<tr><th>{}</th><td>{}</td></tr>\n", escape(name), escape(value))
}

fn code_row(name: &str, value: &str) -> String {
    format!("<tr><th>{}</th><td><code>{}</code></td></tr>\n", escape(name), escape(value))
}

/// The page of a report.
pub fn report_page(report: &VerifiedReport) -> String {
    let it = &report.details;
    let result = word(report.result.result);
    let title = format!("{} drill of {}: {result}", kind_word(it.kind), report.node.name);
    let mut body = format!(
        "<h1>{} drill: <span class=\"{result}\">{result}</span></h1>\n<table>\n",
        kind_word(it.kind)
    );
    body.push_str(&row("Carried out by", &report.node.name));
    body.push_str(&row("Began", &it.began.to_string()));
    body.push_str(&row("Ended", &it.ended.to_string()));
    if let Some(snapshot) = &it.snapshot {
        let whose = format!(
            "{}, number {}, made {}, class {}",
            snapshot.author, snapshot.place.sequence, snapshot.created, snapshot.class
        );
        body.push_str(&row("Snapshot", &whose));
        let totals = snapshot.totals;
        let holds = format!(
            "{} files, {} directories, {} bytes in {} objects",
            totals.files, totals.directories, totals.bytes, snapshot.objects
        );
        body.push_str(&row("It holds", &holds));
    }
    let extent = if it.whole { "all of it" } else { "a sample" };
    let what = if it.snapshot.is_some() { "files restored" } else { "objects read" };
    body.push_str(&row("Tried", &format!("{extent}: {} {what}, {} bytes", it.items, it.bytes)));
    body.push_str(&row("From", &it.tiers.join(", ")));
    if let Some(millis) = it.rto_millis {
        body.push_str(&row("Recovery time (RTO)", &duration(millis)));
    }
    if let Some(seconds) = it.rpo_seconds {
        body.push_str(&row("Recovery point (RPO)", &duration(seconds.saturating_mul(1_000))));
    }
    body.push_str("</table>\n<h2>Checks</h2>\n<table>\n");
    for check in &it.checks {
        let verdict = word(check.verdict);
        body.push_str(&format!(
            "<tr><td class=\"{verdict}\">{verdict}</td><th>{}</th><td>{}</td></tr>\n",
            escape(&check.name),
            escape(&check.said)
        ));
    }
    body.push_str("</table>\n<h2>Phases</h2>\n<table>\n");
    for phase in &it.phases {
        body.push_str(&row(&phase.name, &duration(phase.millis)));
    }
    body.push_str("</table>\n");
    body.push_str(&evidence(report));
    page(&title, &body)
}

fn evidence(report: &VerifiedReport) -> String {
    let fleet = report.fleet.id().to_hex();
    let mut body = String::from("<h2>Evidence</h2>\n<table>\n");
    body.push_str(&code_row("Report", &report.digest.to_hex()));
    body.push_str(&code_row("Fleet", &fleet));
    body.push_str(&code_row("Log", &report.drill.origin));
    let place = format!("{} of {}", report.index, report.log_size);
    body.push_str(&row("Log entry", &place));
    if let Some(snapshot) = &report.drill.snapshot {
        body.push_str(&code_row("Manifest", &snapshot.manifest.to_hex()));
    }
    for approval in &report.details.approvals {
        let name = format!("Approval of custodian {}", approval.custodian);
        body.push_str(&code_row(&name, &approval.approval.to_hex()));
    }
    let witnesses = match &report.witnesses[..] {
        [] => "none of the fleet's witnesses".to_owned(),
        some => some.join(", "),
    };
    body.push_str(&row("Checkpoint cosigned by", &witnesses));
    body.push_str(
        "</table>\n<p>This page proves nothing by itself. The file beside it does:</p>\n",
    );
    body.push_str(&format!(
        "<p><code>seawall report verify FILE --fleet {}</code></p>\n",
        escape(&fleet)
    ));
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_text() {
        let hostile = "<script>alert('x')</script>\"&";
        let text = page(hostile, &row(hostile, hostile));
        assert!(!text.contains("<script") && !text.contains("('x')"), "{text}");
        assert_eq!(text.matches("&lt;script&gt;").count(), 3);
        assert!(text.contains("default-src 'none'"));
    }

    #[test]
    fn times_for_people() {
        let shown = [0, 1_234, 61_000, 3_660_000, 200_000_000].map(duration);
        assert_eq!(shown, ["0.0 s", "1.2 s", "1 min 1 s", "1 h 1 min", "2 days 7 h"]);
    }
}
