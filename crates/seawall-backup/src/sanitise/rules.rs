//! What is kept. The first rule whose pattern a path matches decides; no rule, no file.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;

const FORMAT: &str = "seawall-sanitise/1";
/// Most rules, and most columns or tables of one.
pub const MAX_RULES: usize = 1_024;
/// Largest rules file in bytes.
const MAX_FILE: usize = 1 << 20;

/// Why rules mean nothing.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// Not TOML, or not of this form.
    #[error("not a {FORMAT} file: {0}")]
    Form(String),
    /// A rule.
    #[error("rule {number} ({pattern:?}): {why}")]
    Rule {
        /// Which, from 1.
        number: usize,
        /// Its pattern.
        pattern: String,
        /// What is wrong.
        why: String,
    },
}

/// What becomes of the values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// They stay.
    Keep,
    /// The column goes.
    Drop,
    /// Each becomes a keyed hash of itself.
    Hash,
    /// Each becomes this text.
    Fixed(String),
}

/// Columns by name; those that are not named are dropped.
pub type Columns = BTreeMap<String, Action>;

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Treatment {
    /// It stays as it is.
    Keep,
    /// Comma-separated values with a header, and what separates them.
    Csv(Columns, u8),
    /// A JSON object on each line.
    JsonLines(Columns),
    /// A plain PostgreSQL dump: tables by schema and name, those that are not named lose their rows.
    Dump(BTreeMap<String, Option<Columns>>),
}

/// Rules in their order.
#[derive(Debug)]
pub struct Rules(Vec<(GlobMatcher, Treatment)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    format: String,
    #[serde(default)]
    rule: Vec<RuleFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    path: String,
    keep: Option<bool>,
    csv: Option<BTreeMap<String, ActionFile>>,
    separator: Option<String>,
    jsonl: Option<BTreeMap<String, ActionFile>>,
    dump: Option<BTreeMap<String, TableFile>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ActionFile {
    Word(String),
    Fixed(FixedFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FixedFile {
    fixed: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TableFile {
    Word(String),
    Columns(BTreeMap<String, ActionFile>),
}

impl Rules {
    /// Parses rules.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        if text.len() > MAX_FILE {
            return Err(RulesError::Form(format!("larger than {MAX_FILE} bytes")));
        }
        let file: RulesFile =
            toml::from_str(text).map_err(|e| RulesError::Form(e.message().to_owned()))?;
        if file.format != FORMAT {
            return Err(RulesError::Form(format!("its format is {:?}", file.format)));
        }
        if file.rule.is_empty() || file.rule.len() > MAX_RULES {
            return Err(RulesError::Form(format!("it has no rule, or more than {MAX_RULES}")));
        }
        let mut rules = Vec::new();
        for (i, rule) in file.rule.into_iter().enumerate() {
            let pattern = rule.path.clone();
            let one = matcher(&rule.path).and_then(|m| Ok((m, treatment(rule)?)));
            rules.push(one.map_err(|why| RulesError::Rule { number: i + 1, pattern, why })?);
        }
        Ok(Self(rules))
    }

    /// What becomes of the file at this path below the tree's top; none if it is dropped.
    pub(crate) fn of(&self, path: &[u8]) -> Option<&Treatment> {
        use std::os::unix::ffi::OsStrExt as _;
        let path = std::ffi::OsStr::from_bytes(path);
        self.0.iter().find(|(pattern, _)| pattern.is_match(path)).map(|(_, rule)| rule)
    }
}

fn matcher(pattern: &str) -> Result<GlobMatcher, String> {
    if pattern.is_empty() || pattern.starts_with('/') {
        return Err("a pattern begins at the top of the tree, without a slash".to_owned());
    }
    let mut builder = GlobBuilder::new(pattern);
    let glob = builder.literal_separator(true).backslash_escape(true).build();
    Ok(glob.map_err(|e| e.kind().to_string())?.compile_matcher())
}

fn treatment(rule: RuleFile) -> Result<Treatment, String> {
    let RuleFile { keep, csv, separator, jsonl, dump, .. } = rule;
    if separator.is_some() && csv.is_none() {
        return Err("a separator goes with csv".to_owned());
    }
    match (keep, csv, jsonl, dump) {
        (Some(true), None, None, None) => Ok(Treatment::Keep),
        (None, Some(it), None, None) => {
            Ok(Treatment::Csv(columns(it)?, one_byte(separator.as_deref())?))
        }
        (None, None, Some(it), None) => Ok(Treatment::JsonLines(columns(it)?)),
        (None, None, None, Some(it)) => Ok(Treatment::Dump(tables(it)?)),
        _ => Err("exactly one of keep = true, csv, jsonl and dump".to_owned()),
    }
}

fn one_byte(separator: Option<&str>) -> Result<u8, String> {
    match separator.map_or(b",".as_slice(), str::as_bytes) {
        [one] if one.is_ascii() && !b"\"\r\n".contains(one) => Ok(*one),
        other => Err(format!(
            "separator {:?} is not one ASCII character",
            String::from_utf8_lossy(other)
        )),
    }
}

fn columns(file: BTreeMap<String, ActionFile>) -> Result<Columns, String> {
    if file.is_empty() || file.len() > MAX_RULES {
        return Err(format!("it keeps no column, or names more than {MAX_RULES}"));
    }
    let one = |(name, action)| {
        let action = match action {
            ActionFile::Fixed(FixedFile { fixed }) => Action::Fixed(fixed),
            ActionFile::Word(word) => match word.as_str() {
                "keep" => Action::Keep,
                "drop" => Action::Drop,
                "hash" => Action::Hash,
                other => {
                    return Err(format!(
                        "column {name:?}: {other:?} is none of keep, drop, hash, {{ fixed = \"...\" }}"
                    ));
                }
            },
        };
        Ok((name, action))
    };
    file.into_iter().map(one).collect()
}

fn tables(file: BTreeMap<String, TableFile>) -> Result<BTreeMap<String, Option<Columns>>, String> {
    if file.len() > MAX_RULES {
        return Err(format!("more than {MAX_RULES} tables"));
    }
    let one = |(name, table)| {
        Ok(match table {
            TableFile::Word(word) if word == "keep" => (name, None),
            TableFile::Word(word) => {
                return Err(format!("table {name:?}: {word:?} is neither \"keep\" nor columns"));
            }
            TableFile::Columns(it) => (name, Some(columns(it)?)),
        })
    };
    file.into_iter().map(one).collect()
}
