//! Comma-separated values as in RFC 4180: a header, quotes doubled within quotes, line ends within
//! quotes allowed. A record with another number of fields than the header is refused, because nobody
//! can say which column is which.

use std::io::{BufRead, Write};

use super::rules::{Action, Columns};
use super::{Counts, MAX_RECORD, Masker, Stop, read_line};

pub(super) fn filter(
    columns: &Columns,
    separator: u8,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    masker: &Masker,
    counts: &mut Counts,
) -> Result<(), Stop> {
    let mut reader = Reader { input, separator, line: 0, buffer: Vec::new() };
    let Some(header) = reader.record()? else { return Ok(()) };
    let mut actions = Vec::new();
    for name in &header {
        // A name that stands twice would have two columns follow the one rule.
        let once = header.iter().filter(|other| *other == name).count() == 1;
        // No rule can name what is not UTF-8.
        let rule = std::str::from_utf8(name).ok().and_then(|text| columns.get(text));
        actions.push(rule.filter(|_| once).unwrap_or(&Action::Drop));
    }
    let kept = |fields: Vec<Vec<u8>>| {
        let both = fields.into_iter().zip(&actions);
        both.filter(|(_, action)| ***action != Action::Drop)
    };
    let names: Vec<_> = kept(header.clone()).map(|(name, _)| name).collect();
    if names.is_empty() {
        return Err(Stop::Content(1, "none of its columns is kept".to_owned()));
    }
    write(&names, separator, out)?;
    let dropped = (header.len() - names.len()) as u64;
    while let Some(record) = reader.record()? {
        if record.len() != header.len() {
            let why = format!("{} fields under a header of {}", record.len(), header.len());
            return Err(Stop::Content(reader.line, why));
        }
        let mut values = Vec::with_capacity(names.len());
        for (value, action) in kept(record) {
            let other = match action {
                Action::Fixed(text) => Some(text.clone().into_bytes()),
                Action::Hash if !value.is_empty() => Some(masker.hash(&value).into_bytes()),
                _ => None,
            };
            counts.masked += u64::from(other.is_some());
            values.push(other.unwrap_or(value));
        }
        write(&values, separator, out)?;
        counts.records += 1;
        counts.dropped_values += dropped;
    }
    Ok(())
}

struct Reader<'a> {
    input: &'a mut dyn BufRead,
    separator: u8,
    line: u64,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    /// The fields of the next record; none at the end.
    fn record(&mut self) -> Result<Option<Vec<Vec<u8>>>, Stop> {
        let (mut whole, mut is_quoted) = (Vec::new(), false);
        loop {
            self.line += 1;
            if !read_line(self.input, &mut self.buffer, self.line)? {
                if whole.is_empty() {
                    return Ok(None);
                }
                return Err(Stop::Content(self.line, "a quote is not closed".to_owned()));
            }
            whole.extend_from_slice(&self.buffer);
            if whole.len() > MAX_RECORD {
                let why = format!("a record of more than {MAX_RECORD} bytes");
                return Err(Stop::Content(self.line, why));
            }
            // Quotes come in pairs, doubled ones included.
            is_quoted ^= memchr::memchr_iter(b'"', &self.buffer).count() % 2 == 1;
            if !is_quoted {
                break;
            }
            whole.push(b'\n');
        }
        if whole.last() == Some(&b'\r') {
            whole.pop();
        }
        let fields = split(&whole, self.separator);
        fields.map(Some).map_err(|why| Stop::Content(self.line, why.to_owned()))
    }
}

fn split(record: &[u8], separator: u8) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let mut field = Vec::new();
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            rest = quoted;
            loop {
                let end = rest.iter().position(|b| *b == b'"').ok_or("a quote is not closed")?;
                field.extend_from_slice(&rest[..end]);
                rest = &rest[end + 1..];
                match rest.strip_prefix(b"\"") {
                    Some(after) => {
                        field.push(b'"');
                        rest = after;
                    }
                    None => break,
                }
            }
        } else {
            let end = rest.iter().position(|b| *b == separator).unwrap_or(rest.len());
            field.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
            if field.contains(&b'"') {
                return Err("a quote within a field that is not quoted");
            }
        }
        fields.push(field);
        match rest.split_first() {
            None => return Ok(fields),
            Some((first, after)) if *first == separator => rest = after,
            Some(_) => return Err("something behind a closing quote"),
        }
    }
}

fn write(fields: &[Vec<u8>], separator: u8, out: &mut dyn Write) -> std::io::Result<()> {
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.write_all(&[separator])?;
        }
        let plain = |b: &u8| *b != separator && !b"\"\r\n".contains(b);
        if field.iter().all(plain) && !(field.is_empty() && fields.len() == 1) {
            out.write_all(field)?;
            continue;
        }
        out.write_all(b"\"")?;
        for part in field.split_inclusive(|b| *b == b'"') {
            out.write_all(part)?;
            if part.last() == Some(&b'"') {
                out.write_all(b"\"")?;
            }
        }
        out.write_all(b"\"")?;
    }
    out.write_all(b"\n")
}
