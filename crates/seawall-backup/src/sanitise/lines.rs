//! A JSON object on each line; columns are its keys. What is within a value is the value's.

use std::io::{BufRead, Write};

use serde_json::{Map, Value};

use super::rules::{Action, Columns};
use super::{Counts, Masker, Stop, read_line};

pub(super) fn filter(
    columns: &Columns,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    masker: &Masker,
    counts: &mut Counts,
) -> Result<(), Stop> {
    let (mut line, mut number) = (Vec::new(), 1);
    while read_line(input, &mut line, number)? {
        if line.iter().all(u8::is_ascii_whitespace) {
            number += 1;
            continue;
        }
        // The error of the parser would quote what it did not understand.
        let object: Map<String, Value> = serde_json::from_slice(&line)
            .map_err(|_| Stop::Content(number, "not a JSON object".to_owned()))?;
        let mut kept = Map::new();
        for (name, value) in object {
            let value = match (columns.get(&name).unwrap_or(&Action::Drop), value) {
                (Action::Drop, _) => {
                    counts.dropped_values += 1;
                    continue;
                }
                (Action::Keep, value) => value,
                (Action::Fixed(text), _) => {
                    counts.masked += 1;
                    Value::String(text.clone())
                }
                (Action::Hash, Value::Null) => Value::Null,
                (Action::Hash, value) => {
                    counts.masked += 1;
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    Value::String(masker.hash(text.as_bytes()))
                }
            };
            kept.insert(name, value);
        }
        serde_json::to_writer(&mut *out, &kept).map_err(|e| Stop::Io(e.into()))?;
        out.write_all(b"\n")?;
        counts.records += 1;
        number += 1;
    }
    Ok(())
}
