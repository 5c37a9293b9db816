//! Keys of a bucket as paths.
//!
//! A key is any string; a path has components that a file system can hold, and one name is one
//! thing. Where the two differ, the component gets another name that no ordinary component can
//! have, so that two keys never share a path. The rejected alternative, leaving such objects out,
//! loses data because of its name.

use std::borrow::Cow;

use crate::entry::{MAX_NAME, is_component};

const OBJECT: &[u8] = b"%key:";
const DIRECTORY: &[u8] = b"%dir:";
const LONG_OBJECT: &[u8] = b"%longkey:";
const LONG_DIRECTORY: &[u8] = b"%longdir:";
/// How much of a component that is too long stays readable.
const READABLE: usize = 128;

/// The name of a component: itself, or `%key:` or `%dir:` and itself with `%` as `%25` and NUL as
/// `%00`; where that is too long, `%longkey:` or `%longdir:`, its beginning, `~`, and 128 bits of
/// its BLAKE3 hash. `is_taken`: the name stands for something else in this directory.
pub(super) fn name(component: &[u8], is_directory: bool, is_taken: bool) -> Cow<'_, [u8]> {
    let ours = [OBJECT, DIRECTORY, LONG_OBJECT, LONG_DIRECTORY];
    let is_ours = ours.iter().any(|prefix| component.starts_with(prefix));
    if is_component(component) && !is_ours && !is_taken {
        return Cow::Borrowed(component);
    }
    let (short, long) =
        if is_directory { (DIRECTORY, LONG_DIRECTORY) } else { (OBJECT, LONG_OBJECT) };
    let mut escaped = Vec::with_capacity(component.len());
    for byte in component {
        match byte {
            b'%' => escaped.extend_from_slice(b"%25"),
            0 => escaped.extend_from_slice(b"%00"),
            byte => escaped.push(*byte),
        }
    }
    if short.len() + escaped.len() <= MAX_NAME {
        return Cow::Owned([short, &escaped].concat());
    }
    // Not inside a character: the name is easier to type.
    let mut end = READABLE;
    while end > 0 && escaped[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    let hash = blake3::hash(component).to_hex();
    Cow::Owned([long, &escaped[..end], b"~", hash[..32].as_bytes()].concat())
}

/// Splits a key into its directories and its last component. `None` if a component is `.` or
/// `..`: no client can ask for such a key, for addresses are resolved before they are sent.
pub(super) fn split(key: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut components: Vec<_> = key.split(|byte| *byte == b'/').collect();
    if components.iter().any(|c| matches!(*c, b"." | b"..")) {
        return None;
    }
    let last = components.pop().expect("a split has at least one part");
    Some((components, last))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_file_system_holds_gets_another_name() {
        let object = |component: &[u8]| name(component, false, false).into_owned();
        assert_eq!(object(b"a b\xff"), b"a b\xff");
        assert_eq!(object(b""), b"%key:");
        assert_eq!(object(b"a\0%"), b"%key:a%00%25");
        assert_eq!(object(b"%key:a"), b"%key:%25key:a");
        assert_eq!(name(b"a", true, true).as_ref(), b"%dir:a");
        let long = object(&[b'x'; 300]);
        assert!(long.starts_with(b"%longkey:xxx") && is_component(&long), "{long:?}");
        assert!(is_component(&object(&[&b"\xc3\xa4".repeat(200)[..], b"x"].concat())));
        assert!(is_component(&object(&[0x80; 300])), "no character at all");
    }

    #[test]
    fn dots_are_refused() {
        assert!(split(b"a/../b").is_none() && split(b".").is_none());
        assert_eq!(split(b"/a//b"), Some((vec![&b""[..], b"a", b""], &b"b"[..])));
        assert_eq!(split(b"a/"), Some((vec![&b"a"[..]], &b""[..])));
    }

    proptest! {
        #[test]
        fn two_components_never_share_a_name(
            components in prop::collection::hash_set(
                prop_oneof![
                    "(%key:|%dir:|%longkey:|%longdir:|%|%25|~|a){0,6}",
                    "[a-b]{254,257}",
                    "%{80,90}",
                ],
                2..30,
            ),
        ) {
            let mut names: HashMap<Vec<u8>, (String, bool, bool)> = HashMap::new();
            for component in components {
                // A directory may be taken; an object comes before the directory of its name.
                for (is_directory, is_taken) in [(false, false), (true, true)] {
                    let name = name(component.as_bytes(), is_directory, is_taken).into_owned();
                    prop_assert!(is_component(&name));
                    let before = names.insert(name, (component.clone(), is_directory, is_taken));
                    prop_assert!(before.is_none(), "{before:?} and {component:?}");
                }
            }
        }
    }
}
