//! The policy's file: TOML in, rules out. Every field but `break_glass` is required; what is
//! unknown is refused.

use regex_automata::meta::{Config, Regex};
use seawall_base::{FleetId, NodeId, Seconds};
use serde::Deserialize;

use super::hours::Hours;
use super::{Approver, CustodianPolicy, Glass, Large, Pattern, Requesters, Rule};

/// Largest policy file in bytes.
pub const MAX_POLICY: usize = 64 << 10;

const FORMAT: &str = "seawall-custodian-policy/1";
const MAX_RULES: usize = 256;
const MAX_APPROVERS: usize = 64;
const MAX_REQUESTERS: usize = 1_024;
const MAX_TEXT: usize = 256;

/// Memory a compiled pattern may take, in bytes.
const MAX_COMPILED: usize = 1 << 20;

/// As long as a request can stay open.
const MAX_COOLING_OFF: Seconds = Seconds::days(30);

/// Why a policy was refused. Nothing is answered under a refused policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Longer than any policy.
    #[error("the policy is larger than {MAX_POLICY} bytes")]
    TooLong,
    /// Not TOML, or not these fields.
    #[error("the policy cannot be read: {0}")]
    Syntax(String),
    /// Of another format.
    #[error("the policy has format {0:?}, this version knows {FORMAT:?}")]
    Format(String),
    /// A value that means nothing.
    #[error("the policy's {place}: {why}")]
    Value {
        /// Which rule or approver.
        place: String,
        /// What is wrong with it.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    approvers: Vec<RawApprover>,
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApprover {
    name: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    fleet: String,
    class: String,
    requesters: Vec<String>,
    reason: String,
    cooling_off: String,
    time_zone: String,
    hours: Vec<String>,
    per_day: u32,
    persons: u16,
    large: RawLarge,
    #[serde(default)]
    break_glass: RawGlass,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum RawGlass {
    #[default]
    Deny,
    Persons,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLarge {
    files: u64,
    bytes: String,
    persons: u16,
}

impl CustodianPolicy {
    /// Reads a policy file.
    pub fn parse(toml: &[u8]) -> Result<Self, PolicyError> {
        if toml.len() > MAX_POLICY {
            return Err(PolicyError::TooLong);
        }
        let text = str::from_utf8(toml).map_err(|e| PolicyError::Syntax(e.to_string()))?;
        let file: File = toml::from_str(text).map_err(|e| {
            // The whole error quotes the file over several lines.
            PolicyError::Syntax(e.message().to_owned())
        })?;
        if file.format != FORMAT {
            return Err(PolicyError::Format(file.format.chars().take(64).collect()));
        }
        let approvers = approvers(&file.approvers)?;
        if file.rules.len() > MAX_RULES {
            return value("rules", format!("more than {MAX_RULES}"));
        }
        let mut rules: Vec<Rule> = Vec::with_capacity(file.rules.len());
        for (n, raw) in file.rules.iter().enumerate() {
            let place = format!("rule {}", n + 1);
            let rule = rule(raw, approvers.len())
                .map_err(|why| PolicyError::Value { place: place.clone(), why })?;
            if rules.iter().any(|r| r.fleet == rule.fleet && r.class == rule.class) {
                return value(&place, "another rule is for the same fleet and class".to_owned());
            }
            rules.push(rule);
        }
        Ok(Self { rules, approvers })
    }
}

fn value<T>(place: &str, why: String) -> Result<T, PolicyError> {
    Err(PolicyError::Value { place: place.to_owned(), why })
}

fn approvers(raw: &[RawApprover]) -> Result<Vec<Approver>, PolicyError> {
    if raw.len() > MAX_APPROVERS {
        return value("approvers", format!("more than {MAX_APPROVERS}"));
    }
    let mut approvers: Vec<Approver> = Vec::with_capacity(raw.len());
    for (n, it) in raw.iter().enumerate() {
        let place = format!("approver {}", n + 1);
        let good = |text: &str| {
            !text.is_empty() && text.len() <= MAX_TEXT && !text.contains(char::is_control)
        };
        if !good(&it.name) || !good(&it.key) {
            let why = format!("name and key have 1 to {MAX_TEXT} bytes and no control characters");
            return value(&place, why);
        }
        if approvers.iter().any(|a| a.name == it.name || a.key == it.key) {
            return value(&place, "another approver has this name or key".to_owned());
        }
        approvers.push(Approver { name: it.name.clone(), key: it.key.clone() });
    }
    Ok(approvers)
}

fn rule(raw: &RawRule, approvers: usize) -> Result<Rule, String> {
    let fleet: FleetId =
        raw.fleet.parse().map_err(|_| format!("fleet {:?} is no fleet id", short(&raw.fleet)))?;
    let class = &raw.class;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if class.is_empty() || class.len() > 64 || !class.chars().all(is_name) {
        return Err(format!("class {:?} is no class; `any` is all others", short(class)));
    }
    let large = Large {
        files: raw.large.files,
        bytes: parse_bytes(&raw.large.bytes)?,
        persons: raw.large.persons,
    };
    for persons in [raw.persons, large.persons] {
        if usize::from(persons) > approvers {
            return Err(format!(
                "{persons} persons are needed, but there are {approvers} approvers"
            ));
        }
    }
    let break_glass = match raw.break_glass {
        RawGlass::Deny => Glass::Deny,
        RawGlass::Persons if approvers == 0 => {
            return Err("break_glass needs a person, but there are 0 approvers".to_owned());
        }
        RawGlass::Persons => Glass::Persons,
    };
    if raw.time_zone.is_empty() || raw.time_zone.len() > 64 {
        return Err("the time zone has 1 to 64 bytes, such as Europe/Vienna".to_owned());
    }
    Ok(Rule {
        fleet,
        class: (class != "any").then(|| class.clone()),
        requesters: parse_requesters(&raw.requesters)?,
        reason: parse_reason(&raw.reason)?,
        cooling_off: parse_span(&raw.cooling_off)?,
        time_zone: raw.time_zone.clone(),
        hours: Hours::parse(&raw.hours)?,
        per_day: raw.per_day,
        persons: raw.persons,
        large,
        break_glass,
    })
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Node ids, or `any` alone. An empty list is nobody.
fn parse_requesters(raw: &[String]) -> Result<Requesters, String> {
    if raw == ["any"] {
        return Ok(Requesters::Any);
    }
    if raw.len() > MAX_REQUESTERS {
        return Err(format!("more than {MAX_REQUESTERS} requesters"));
    }
    let node = |text: &String| {
        text.parse::<NodeId>()
            .map_err(|_| format!("requester {:?} is no node id, nor `any` alone", short(text)))
    };
    raw.iter().map(node).collect::<Result<_, _>>().map(Requesters::Only)
}

fn parse_reason(text: &str) -> Result<Pattern, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("the reason's pattern has more than {MAX_TEXT} bytes"));
    }
    let config = Config::new()
        .nfa_size_limit(Some(MAX_COMPILED))
        .onepass_size_limit(Some(MAX_COMPILED))
        .hybrid_cache_capacity(MAX_COMPILED);
    let compiled = Regex::builder()
        .configure(config)
        .build(text)
        .map_err(|_| format!("the reason's pattern {text:?} is no regular expression"))?;
    Ok(Pattern { text: text.to_owned(), compiled })
}

/// The number in front of `text` and what follows its letters.
fn number(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(digits);
    let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (unit, rest) = rest.split_at(letters);
    Some((number.parse().ok()?, unit, rest))
}

/// `0s`, `90s`, `15min`, `4h`, `1d12h`.
fn parse_span(text: &str) -> Result<Seconds, String> {
    let bad = || {
        format!(
            "{:?} is no cooling-off: write numbers with d, h, min or s, like 4h or 1d12h, at most \
             30 days in all",
            short(text)
        )
    };
    let (mut seconds, mut rest) = (0u64, text);
    let mut units = ["d", "h", "min", "s"].iter().zip([86_400, 3_600, 60, 1]);
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let (count, unit, after) = number(rest).ok_or_else(bad)?;
        // Each unit at most once, the largest first: `units` only moves on.
        let (_, size) = units.find(|(name, _)| **name == unit).ok_or_else(bad)?;
        let part = count.checked_mul(size).ok_or_else(bad)?;
        seconds = seconds.checked_add(part).ok_or_else(bad)?;
        rest = after;
    }
    Some(Seconds(seconds)).filter(|s| *s <= MAX_COOLING_OFF).ok_or_else(bad)
}

/// `0`, `512MiB`, `10GiB`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("{:?} is no size: write a number with KiB, MiB, GiB or TiB", short(text));
    let (count, unit, rest) = number(text).ok_or_else(bad)?;
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(bad()),
    };
    let bytes = count.checked_mul(1 << shift).filter(|_| rest.is_empty());
    bytes.ok_or_else(bad)
}
