//! A plain PostgreSQL dump (`pg_dump --format=plain`): statements, and rows between `COPY … FROM
//! stdin;` and `\.`.
//!
//! Of statements only those pass that make the schema, by the kind of what they make. Whatever else
//! there is may carry data or secrets: rows as `INSERT`, large objects as `SELECT`, comments,
//! passwords in roles, user mappings, foreign servers and subscriptions. Those are not even held, so
//! one of any length costs nothing. Rows of a table that no rule names are dropped, and so are columns. Values are
//! compared and hashed as they are escaped in the dump; `\N` is no value and stays.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};

use super::rules::{Action, Columns};
use super::{Counts, MAX_RECORD, Masker, Stop, read_line};

/// First words of statements that make the schema, whatever it is they name.
const PASSES: [&str; 4] = ["SET", "GRANT", "REVOKE", "REFRESH"];
/// What may stand between `CREATE` or `ALTER` and the kind of a thing.
const BETWEEN: [&str; 12] = [
    "OR",
    "REPLACE",
    "UNLOGGED",
    "UNIQUE",
    "RECURSIVE",
    "TRUSTED",
    "PROCEDURAL",
    "CONSTRAINT",
    "DEFAULT",
    "MATERIALIZED",
    "EVENT",
    "TEXT",
];
/// Kinds of things that are the schema and hold no secret. `CREATE TABLE … AS SELECT` would run a
/// query, and no dump has one.
const KINDS: [&str; 26] = [
    "ACCESS",
    "AGGREGATE",
    "CAST",
    "COLLATION",
    "CONVERSION",
    "DOMAIN",
    "EXTENSION",
    "FUNCTION",
    "INDEX",
    "LANGUAGE",
    "OPERATOR",
    "POLICY",
    "PRIVILEGES",
    "PROCEDURE",
    "PUBLICATION",
    "ROUTINE",
    "RULE",
    "SCHEMA",
    "SEARCH",
    "SEQUENCE",
    "STATISTICS",
    "TABLE",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "VIEW",
];
/// Functions that a dump calls to make the schema.
const CALLS: [&str; 2] = ["pg_catalog.set_config(", "pg_catalog.setval("];
/// Commands of psql that carry no data.
const COMMANDS: [&str; 4] = ["\\restrict ", "\\unrestrict ", "\\connect ", "\\encoding "];

/// An identifier as it is written and as it is called.
type Identifier = (Vec<u8>, String);
type Tables = BTreeMap<String, Option<Columns>>;

pub(super) fn filter(
    tables: &Tables,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    masker: &Masker,
    counts: &mut Counts,
) -> Result<(), Stop> {
    let mut run = Run { tables, out, masker, counts, number: 0, statement: Statement::default() };
    let mut line = Vec::new();
    while run.next(input, &mut line)? {
        if run.number == 1 && line.starts_with(b"PGDMP") {
            let why = "a dump in custom format; make a plain one of it with pg_restore --file";
            return Err(Stop::Content(1, why.to_owned()));
        }
        if run.statement.is_empty() && line.starts_with(b"\\") {
            let passes = COMMANDS.iter().any(|command| line.starts_with(command.as_bytes()));
            run.pass_or_drop(&line, passes)?;
            continue;
        }
        line.push(b'\n');
        run.statements(input, &line)?;
    }
    if run.statement.is_empty() {
        return Ok(());
    }
    Err(Stop::Content(run.number, "the last statement has no end".to_owned()))
}

struct Run<'a> {
    tables: &'a Tables,
    out: &'a mut dyn Write,
    masker: &'a Masker,
    counts: &'a mut Counts,
    number: u64,
    statement: Statement,
}

/// Where in a statement the reader is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Within {
    #[default]
    Plain,
    /// `'…'`; with a backslash as an escape where it began with `E'`.
    Text(bool),
    /// `"…"`.
    Name,
    /// `$tag$…$tag$`.
    Dollars(Vec<u8>),
    /// `/* … */`, so deep.
    Comment(u32),
}

/// A statement as far as it was read, without its comments.
#[derive(Debug, Default)]
struct Statement {
    text: Vec<u8>,
    within: Within,
    /// It will not pass, and is not held any more.
    is_dropped: bool,
    /// The body of a function that is no text: other statements, to `END` at the start of a line.
    is_atomic: bool,
    /// The byte read last.
    last: u8,
}

impl Statement {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.is_dropped && self.within == Within::Plain
    }

    fn push(&mut self, bytes: &[u8]) -> bool {
        if self.text.is_empty() && bytes.iter().all(u8::is_ascii_whitespace) {
            return true;
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
        if !self.is_dropped {
            self.text.extend_from_slice(bytes);
            // Decided early, so that what is dropped is not held.
            self.is_dropped = self.text.len() > 64 && !passes(&self.text) && !is_copy(&self.text);
            if self.is_dropped {
                self.text.truncate(64);
            }
        }
        self.text.len() <= MAX_RECORD
    }
}

fn passes(statement: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&statement[..statement.len().min(64)]);
    let mut words = text.split_ascii_whitespace();
    match words.next() {
        Some("SELECT") => {
            words.next().is_some_and(|call| CALLS.iter().any(|known| call.starts_with(known)))
        }
        Some("CREATE" | "ALTER") => {
            words.find(|word| !BETWEEN.contains(word)).is_some_and(|kind| KINDS.contains(&kind))
        }
        // Large objects and foreign servers go with the statements that would make them.
        Some("GRANT" | "REVOKE")
            if text.contains(" LARGE OBJECT ") || text.contains(" FOREIGN ") =>
        {
            false
        }
        Some(first) => PASSES.contains(&first.trim_end_matches(';')),
        None => false,
    }
}

fn is_copy(statement: &[u8]) -> bool {
    statement.starts_with(b"COPY ")
}

impl Run<'_> {
    fn next(&mut self, input: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, Stop> {
        self.number += 1;
        read_line(input, line, self.number)
    }

    fn pass_or_drop(&mut self, text: &[u8], passes: bool) -> Result<(), Stop> {
        if passes {
            self.out.write_all(text)?;
            self.out.write_all(b"\n")?;
        } else {
            self.counts.dropped_records += 1;
        }
        Ok(())
    }

    /// Takes a line, with its end, that is part of statements.
    fn statements(&mut self, input: &mut dyn BufRead, line: &[u8]) -> Result<(), Stop> {
        let mut at = 0;
        while at < line.len() {
            let (step, ended) = self.step(&line[at..]);
            let (step, is_short) = step;
            if !is_short {
                let why = format!("a statement of more than {MAX_RECORD} bytes");
                return Err(Stop::Content(self.number, why));
            }
            at += step;
            if ended {
                let statement = std::mem::take(&mut self.statement);
                if is_copy(&statement.text) {
                    self.copy(input, &statement.text)?;
                } else {
                    self.pass_or_drop(
                        &statement.text,
                        !statement.is_dropped && passes(&statement.text),
                    )?;
                }
            }
        }
        Ok(())
    }

    /// Takes the next bytes: how many, whether they still fit, and whether a statement ended.
    fn step(&mut self, rest: &[u8]) -> ((usize, bool), bool) {
        let it = &mut self.statement;
        let take = |it: &mut Statement, n: usize| (n, it.push(&rest[..n]));
        match &mut it.within {
            Within::Plain => match rest {
                [b'-', b'-', ..] => ((rest.len(), it.push(b"\n")), false),
                [b'/', b'*', ..] => {
                    it.within = Within::Comment(1);
                    ((2, true), false)
                }
                [b'\'', ..] => {
                    let escapes = matches!(it.last, b'E' | b'e');
                    it.within = Within::Text(escapes);
                    (take(it, 1), false)
                }
                [b'"', ..] => {
                    it.within = Within::Name;
                    (take(it, 1), false)
                }
                [b'$', ..] => {
                    let tag = dollar_tag(rest);
                    let n = tag.map_or(1, <[u8]>::len);
                    if let Some(tag) = tag {
                        it.within = Within::Dollars(tag.to_vec());
                    }
                    (take(it, n), false)
                }
                [b';', ..] => (take(it, 1), !it.is_atomic || it.text.ends_with(b"\nEND;")),
                _ => {
                    it.is_atomic |= rest[0] == b'\n' && it.text.ends_with(b"\nBEGIN ATOMIC");
                    (take(it, 1), false)
                }
            },
            Within::Text(escapes) => {
                let n = if *escapes && rest[0] == b'\\' && rest.len() > 1 { 2 } else { 1 };
                if n == 1 && rest[0] == b'\'' {
                    // A doubled quote ends one text and begins the next, which comes to the same.
                    it.within = Within::Plain;
                }
                (take(it, n), false)
            }
            Within::Name => {
                if rest[0] == b'"' {
                    it.within = Within::Plain;
                }
                (take(it, 1), false)
            }
            Within::Dollars(tag) => {
                let n = if rest.starts_with(tag) { tag.len() } else { 1 };
                if n > 1 {
                    it.within = Within::Plain;
                }
                (take(it, n), false)
            }
            Within::Comment(depth) => match rest {
                [b'*', b'/', ..] => {
                    it.within =
                        if *depth == 1 { Within::Plain } else { Within::Comment(*depth - 1) };
                    ((2, it.push(b" ")), false)
                }
                [b'/', b'*', ..] => {
                    it.within = Within::Comment(depth.saturating_add(1));
                    ((2, true), false)
                }
                _ => ((1, true), false),
            },
        }
    }

    /// Goes through the rows of one table.
    fn copy(&mut self, input: &mut dyn BufRead, statement: &[u8]) -> Result<(), Stop> {
        let not_understood =
            || Stop::Content(self.number, "a COPY statement that is not understood".to_owned());
        let (table, names) = parse_copy(statement).ok_or_else(not_understood)?;
        let rule = self.tables.get(&table);
        let actions: Vec<&Action> = match rule {
            None => vec![&Action::Drop; names.len()],
            Some(None) => vec![&Action::Keep; names.len()],
            Some(Some(columns)) => {
                names.iter().map(|(_, n)| columns.get(n).unwrap_or(&Action::Drop)).collect()
            }
        };
        let dropped = actions.iter().filter(|a| ***a == Action::Drop).count();
        let is_kept = dropped < actions.len();
        if is_kept {
            self.copy_head(statement, &names, &actions)?;
        }
        let mut line = Vec::new();
        loop {
            if !self.next(input, &mut line)? {
                return Err(Stop::Content(self.number, "the rows have no end".to_owned()));
            }
            if line == b"\\." {
                break;
            }
            if !is_kept {
                self.counts.dropped_records += 1;
                continue;
            }
            let fields: Vec<&[u8]> = line.split(|b| *b == b'\t').collect();
            if fields.len() != actions.len() {
                let why = format!("{} fields for {} columns", fields.len(), actions.len());
                return Err(Stop::Content(self.number, why));
            }
            self.row(&fields, &actions)?;
            self.counts.dropped_values += dropped as u64;
        }
        if is_kept {
            self.out.write_all(b"\\.\n")?;
        }
        Ok(())
    }

    /// The statement again, with the columns that are left.
    fn copy_head(
        &mut self,
        statement: &[u8],
        names: &[Identifier],
        actions: &[&Action],
    ) -> Result<(), Stop> {
        let open = statement.iter().position(|b| *b == b'(').unwrap_or(statement.len());
        self.out.write_all(&statement[..open])?;
        self.out.write_all(b"(")?;
        let kept = names.iter().zip(actions).filter(|(_, action)| ***action != Action::Drop);
        for (i, ((written, _), _)) in kept.enumerate() {
            if i > 0 {
                self.out.write_all(b", ")?;
            }
            self.out.write_all(written)?;
        }
        self.out.write_all(b") FROM stdin;\n")?;
        Ok(())
    }

    fn row(&mut self, fields: &[&[u8]], actions: &[&Action]) -> Result<(), Stop> {
        let mut is_first = true;
        for (value, action) in fields.iter().zip(actions) {
            if **action == Action::Drop {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.out.write_all(b"\t")?;
            }
            match action {
                Action::Hash if *value != b"\\N" => {
                    self.counts.masked += 1;
                    self.out.write_all(self.masker.hash(value).as_bytes())?;
                }
                Action::Fixed(text) => {
                    self.counts.masked += 1;
                    self.out.write_all(&escape(text))?;
                }
                _ => self.out.write_all(value)?,
            }
        }
        self.counts.records += 1;
        self.out.write_all(b"\n")?;
        Ok(())
    }
}

/// A text as `COPY` has it.
fn escape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'\\' => out.extend(b"\\\\"),
            b'\t' => out.extend(b"\\t"),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b => out.push(b),
        }
    }
    out
}

/// `$tag$` at the beginning of `rest`.
fn dollar_tag(rest: &[u8]) -> Option<&[u8]> {
    let end = rest.iter().skip(1).position(|b| *b == b'$')? + 2;
    let tag = &rest[1..end - 1];
    let letter = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii();
    let good = tag.iter().all(letter) && !tag.first().is_some_and(u8::is_ascii_digit);
    good.then(|| &rest[..end])
}

/// Table, and columns as they are written and as they are called, of `COPY t (a, "B") FROM stdin;`.
fn parse_copy(statement: &[u8]) -> Option<(String, Vec<Identifier>)> {
    let rest = statement.strip_prefix(b"COPY ")?;
    let (table, mut rest) = identifier(rest)?;
    let mut name = table.1;
    if let Some(after) = rest.strip_prefix(b".") {
        let (second, after) = identifier(after)?;
        name = format!("{name}.{}", second.1);
        rest = after;
    }
    rest = rest.strip_prefix(b" (")?;
    let mut columns = Vec::new();
    loop {
        let (column, after) = identifier(rest)?;
        columns.push(column);
        rest = match after.strip_prefix(b", ") {
            Some(after) => after,
            None => break (after == b") FROM stdin;").then_some((name, columns)),
        };
    }
}

/// An identifier as it is written and as it is called, and what follows.
fn identifier(text: &[u8]) -> Option<(Identifier, &[u8])> {
    let mut called = Vec::new();
    let mut at = 0;
    if text.first() == Some(&b'"') {
        at = 1;
        loop {
            match text.get(at..)? {
                [b'"', b'"', ..] => {
                    called.push(b'"');
                    at += 2;
                }
                [b'"', ..] => {
                    at += 1;
                    break;
                }
                [b, ..] => {
                    called.push(*b);
                    at += 1;
                }
                [] => return None,
            }
        }
    } else {
        let letter = |b: &&u8| b.is_ascii_alphanumeric() || b"_$".contains(b) || !b.is_ascii();
        at += text.iter().take_while(letter).count();
        called.extend_from_slice(&text[..at]);
    }
    let called = String::from_utf8(called).ok().filter(|name| !name.is_empty())?;
    Some(((text[..at].to_vec(), called), &text[at..]))
}
