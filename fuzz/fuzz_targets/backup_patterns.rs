//! Ignore files come from the trees that are read: none makes the filter panic or run for long.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_backup::source::filter::{Filter, Patterns};

fuzz_target!(|data: &[u8]| {
    let (names, text) = data.split_at(data.iter().position(|b| *b == 0).unwrap_or(0));
    let mut given = Patterns::default();
    let _ = given.add(text, true);
    let mut filter = Filter::new(given);
    filter.enter(b"", vec![Patterns::of_file(text), Patterns::of_file(names)]);
    for name in names.split(|b| *b == b'/').filter(|name| !name.is_empty()) {
        let _ = filter.excludes(name, false);
        let _ = filter.excludes(name, true);
        filter.enter(name, Vec::new());
    }
});
