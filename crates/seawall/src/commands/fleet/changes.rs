//! What one version of a fleet's policy says otherwise than another, field by field.
//!
//! Invariant: whatever differs is named. Two policies are compared as the values they are written
//! as, so that a field nobody thought of here is shown by its name in the format. Left out is what
//! differs between any two: version, predecessor and date; and the custodians' word for a change of
//! their group, which is checked and whose change is shown.
//!
//! Rejected: to compare the lines in which people are shown a policy. What those lines leave out
//! could then be changed unseen.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::{Seconds, Sha256, Timestamp};
use seawall_record::{FleetPolicy, fingerprint};
use serde_json::{Map, Value, json};

use crate::output::{show_path, span};

const IN_EVERY_VERSION: [&str; 4] = ["version", "previous", "created", "changes"];
/// Keys up to this many characters are shown whole: those of Ed25519.
const SHORT_KEY: usize = 64;

/// One thing that differs.
#[derive(Debug, PartialEq)]
pub(super) struct Change {
    /// Where in the policy's JSON, with list elements by what they are known by.
    path: String,
    /// The same for people.
    what: String,
    /// The field's name in the format.
    field: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// Whatever `next` says otherwise.
pub(super) fn changes(before: &FleetPolicy, next: &FleetPolicy) -> Vec<Change> {
    let tree = |policy: &FleetPolicy| {
        let mut tree = serde_json::to_value(policy).expect("a policy serialises");
        let fields = tree.as_object_mut().expect("a policy is an object");
        fields.retain(|name, _| !IN_EVERY_VERSION.contains(&name.as_str()));
        tree
    };
    let mut out = Vec::new();
    compare(&Place::default(), (Some(&tree(before)), Some(&tree(next))), &mut out);
    out
}

impl Change {
    pub(super) fn as_json(&self) -> Value {
        json!({
            "path": self.path,
            "what": self.what,
            "before": self.before,
            "after": self.after,
        })
    }

    /// A line with what it is, and lines with what is gone (`-`) and what comes (`+`).
    pub(super) fn in_words(&self) -> String {
        let mut words = format!("  {}", self.what);
        for (sign, value) in [('-', &self.before), ('+', &self.after)] {
            let Some(value) = value else { continue };
            for line in lines(&self.field, value) {
                words.push_str(&format!("\n    {sign} {line}"));
            }
        }
        words
    }
}

/// A place in a policy.
#[derive(Debug, Default, Clone)]
struct Place {
    path: String,
    what: String,
    field: String,
}

impl Place {
    fn field(&self, name: &str) -> Self {
        let join = |of: &str, with: &str, more: &str| {
            if of.is_empty() { more.to_owned() } else { format!("{of}{with}{more}") }
        };
        Self {
            path: join(&self.path, ".", name),
            what: join(&self.what, ", ", label(name)),
            field: name.to_owned(),
        }
    }

    /// An element of the list that this place is.
    fn element(&self, id: &str, element: &Value) -> Self {
        let of = self.what.strip_suffix(label(&self.field)).unwrap_or(&self.what);
        Self {
            path: format!("{}[{id}]", self.path),
            what: format!("{of}{}", named(&self.field, id, element)),
            field: self.field.clone(),
        }
    }

    fn change(&self, (before, after): (Option<&Value>, Option<&Value>)) -> Change {
        let Self { path, what, field } = self.clone();
        let state = match (before, after) {
            (None, _) => " (new)",
            (_, None) => " (gone)",
            _ => "",
        };
        let (before, after) = (before.cloned(), after.cloned());
        Change { path, what: format!("{what}{state}"), field, before, after }
    }
}

fn compare(at: &Place, both: (Option<&Value>, Option<&Value>), out: &mut Vec<Change>) {
    match both {
        (before, after) if before == after => {}
        (Some(Value::Object(before)), Some(Value::Object(after))) => {
            let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
            for name in names {
                compare(&at.field(name), (before.get(name), after.get(name)), out);
            }
        }
        (Some(Value::Array(before)), Some(Value::Array(after))) => {
            match (known_by(&at.field, before), known_by(&at.field, after)) {
                (Some(old), Some(new)) => compare_lists(at, (before, &old), (after, &new), out),
                _ => out.push(at.change(both)),
            }
        }
        // An empty list is not written at all.
        (None, Some(Value::Array(after))) if known_by(&at.field, after).is_some() => {
            compare(at, (Some(&json!([])), Some(&json!(after))), out);
        }
        (Some(Value::Array(before)), None) if known_by(&at.field, before).is_some() => {
            compare(at, (Some(&json!(before)), Some(&json!([]))), out);
        }
        _ => out.push(at.change(both)),
    }
}

type List<'a> = (&'a [Value], &'a [String]);

fn compare_lists(
    at: &Place,
    (before, old): List<'_>,
    (after, new): List<'_>,
    out: &mut Vec<Change>,
) {
    for (id, element) in old.iter().zip(before) {
        let then = new.iter().position(|other| other == id).map(|index| &after[index]);
        compare(&at.element(id, then.unwrap_or(element)), (Some(element), then), out);
    }
    for (id, element) in new.iter().zip(after).filter(|(id, _)| !old.contains(id)) {
        compare(&at.element(id, element), (None, Some(element)), out);
    }
    // The oldest group takes unnamed sets, so order is a choice, too.
    let stay = old.iter().filter(|id| new.contains(id));
    let expected: Vec<_> = stay.chain(new.iter().filter(|id| !old.contains(id))).collect();
    if expected != new.iter().collect::<Vec<_>>() {
        let Place { path, what, field } = at.clone();
        let (path, what) = (format!("{path}.order"), format!("{what}: their order"));
        let order = Place { path, what, field };
        out.push(order.change((Some(&json!(old)), Some(&json!(new)))));
    }
}

/// What the elements of a list are known by; none where that could be two of them.
fn known_by(list: &str, elements: &[Value]) -> Option<Vec<String>> {
    let id = |element: &Value| {
        let id = match list {
            "root_keys" | "carried" => element,
            "groups" => &element["id"],
            "custodians" => &element["index"],
            "witnesses" => &element["name"],
            "revoked" => &element["member"],
            "earlier" => &element["epoch"],
            _ => return None,
        };
        id.as_str().map(str::to_owned).or_else(|| id.as_u64().map(|n| n.to_string()))
    };
    let ids = elements.iter().map(id).collect::<Option<Vec<_>>>()?;
    let distinct: BTreeSet<_> = ids.iter().collect();
    (distinct.len() == ids.len()).then_some(ids)
}

/// An element of a list for people.
fn named(list: &str, id: &str, element: &Value) -> String {
    let name = |field: &str| element[field].as_str().map(|it| show_path(it.as_bytes()));
    let name = |field: &str| name(field).unwrap_or_else(|| "without a name".to_owned());
    let id = show_path(id.as_bytes());
    match list {
        "root_keys" => "root key".to_owned(),
        "carried" => "statement carried over from earlier root keys".to_owned(),
        "groups" => format!("class {}, {}", name("class"), id.get(..18).unwrap_or(&id)),
        "custodians" => format!("custodian {id} {}", name("name")),
        "witnesses" => format!("witness {id}"),
        "revoked" => format!("revocation of {id}"),
        "earlier" => format!("its log of epoch {id}"),
        _ => id,
    }
}

/// A field's name for people; the name in the format where there is none.
fn label(field: &str) -> &str {
    match field {
        "root_keys" => "root keys",
        "root_threshold" => "root keys that have to sign",
        "groups" => "escrow groups",
        "class_number" => "number of the class",
        "threshold" => "custodians it takes to open",
        "share_epoch" => "share epoch",
        "suite" => "suite of its capsules",
        "signing_key" => "signing key",
        "share" => "verification share",
        "kem" => "post-quantum key",
        "endpoint" => "where it is reached",
        "transport" => "transport key",
        "witness_quorum" => "witness quorum",
        "quorum" => "operators that must cosign",
        "faulty" => "operators that may lie",
        "deletion" => "deletion by regions",
        "min_age" => "minimum age",
        "carried" => "statements carried over",
        "revoked" => "revocations",
        "earlier" => "logs of earlier epochs",
        "log_size" => "entries that are believed",
        other => other,
    }
}

/// A value for people, in as many lines as it has parts.
fn lines(field: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => parts(fields),
        Value::Array(elements) => elements.iter().flat_map(|it| lines(field, it)).collect(),
        Value::String(text) => vec![text_in_words(field, text)],
        Value::Number(n) => vec![match (field, n.as_u64()) {
            ("min_age", Some(seconds)) => span(Seconds(seconds)),
            ("since", Some(seconds)) => Timestamp(seconds).to_string(),
            _ => n.to_string(),
        }],
        Value::Bool(true) => vec!["yes".to_owned()],
        Value::Bool(false) => vec!["no".to_owned()],
        Value::Null => vec!["none".to_owned()],
    }
}

fn parts(fields: &Map<String, Value>) -> Vec<String> {
    let one = |(name, value): (&String, &Value)| match value {
        Value::Array(elements) => listed(name, elements),
        _ => prefixed(label(name), &lines(name, value)),
    };
    fields.iter().flat_map(one).collect()
}

/// The elements of a list within something that is new or gone, each under its name.
fn listed(list: &str, elements: &[Value]) -> Vec<String> {
    let ids = known_by(list, elements);
    let name = |index: usize, element: &Value| match ids.as_ref().and_then(|it| it.get(index)) {
        Some(id) => named(list, id, element),
        None => label(list).to_owned(),
    };
    let one = |(index, it): (usize, &Value)| prefixed(&name(index, it), &lines(list, it));
    elements.iter().enumerate().flat_map(one).collect()
}

fn prefixed(name: &str, lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| format!("{name}: {line}")).collect()
}

fn text_in_words(field: &str, text: &str) -> String {
    let is_key = matches!(field, "key" | "root_keys" | "signing_key" | "transport" | "kem");
    if is_key && text.len() > SHORT_KEY { key_in_words(text) } else { show_path(text.as_bytes()) }
}

/// A key as people compare it: whole if it is short, else by the fingerprint of its bytes.
pub(super) fn key_in_words(text: &str) -> String {
    if text.len() <= SHORT_KEY {
        return show_path(text.as_bytes());
    }
    let (algorithm, bytes) = text.rsplit_once(':').unwrap_or(("key", text));
    let bytes = BASE64.decode(bytes).unwrap_or_else(|_| text.as_bytes().to_vec());
    let algorithm = show_path(algorithm.as_bytes());
    format!("{algorithm} with fingerprint {}", fingerprint(Sha256::of(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Value {
        let custodian = |n: u16| {
            json!({
                "index": n, "name": format!("c{n}"), "signing_key": format!("ed25519:s{n}"),
                "share": format!("{n:064}"), "kem": BASE64.encode([9; 1_184]),
                "endpoint": { "address": "c:1", "transport": format!("ed25519:t{n}") },
            })
        };
        let group = |id: &str| {
            json!({
                "id": format!("group:{id}"), "class": "default", "class_number": 1,
                "threshold": 2, "key": id, "ceremony": "local", "share_epoch": 1, "suite": 2,
                "retired": true, "custodians": [custodian(1), custodian(2)],
            })
        };
        let witness = |name: &str| json!({ "operator": "o", "name": name, "key": name });
        json!({
            "root_keys": ["ed25519:a", "ed25519:b"], "root_threshold": 1, "carried": ["d1", "d2"],
            "groups": [group(&"ab".repeat(32)), group(&"cd".repeat(32))],
            "witnesses": [witness("w-1"), witness("w-2")],
            "witness_quorum": { "quorum": 2, "faulty": 1 },
            "deletion": { "min_age": 86_400, "custodians": 2 },
            "revoked": [{
                "member": "node:1", "epoch": 2, "log_size": 9, "reason": "lost", "since": 1,
                "earlier": [{ "epoch": 1, "log_size": 4 }],
            }],
            "of a later version": { "any": [{ "thing": true }] },
        })
    }

    fn compared(before: &Value, after: &Value) -> Vec<Change> {
        let mut out = Vec::new();
        compare(&Place::default(), (Some(before), Some(after)), &mut out);
        out
    }

    /// Every value within another, by a pointer.
    fn pointers(at: &str, value: &Value, out: &mut Vec<String>) {
        out.push(at.to_owned());
        match value {
            Value::Object(fields) => {
                fields.iter().for_each(|(name, it)| pointers(&format!("{at}/{name}"), it, out));
            }
            Value::Array(all) => {
                all.iter().enumerate().for_each(|(n, it)| pointers(&format!("{at}/{n}"), it, out));
            }
            _ => {}
        }
    }

    #[test]
    fn whatever_differs_is_named() {
        let before = policy();
        assert_eq!(compared(&before, &before), []);
        let mut all = Vec::new();
        pointers("", &before, &mut all);
        assert!(all.len() > 90, "{}", all.len());
        for pointer in all.iter().filter(|it| !it.is_empty()) {
            let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
            let mut changed = vec![before.clone(), before.clone()];
            let at = changed[0].pointer_mut(pointer).expect("there");
            *at = match at {
                Value::Number(n) => json!(n.as_u64().expect("whole") + 1),
                Value::Bool(it) => json!(!*it),
                Value::String(text) => json!(format!("{text}x")),
                _ => Value::Null,
            };
            match changed[1].pointer_mut(parent).expect("there") {
                Value::Object(fields) => drop(fields.remove(name)),
                Value::Array(all) => drop(all.remove(name.parse().expect("an index"))),
                _ => unreachable!("only those have parts"),
            }
            for after in &changed {
                for (a, b) in [(&before, after), (after, &before)] {
                    let found = compared(a, b);
                    assert!(!found.is_empty(), "{pointer}");
                    let words: Vec<_> = found.iter().map(Change::in_words).collect();
                    let differ = found
                        .iter()
                        .zip(&words)
                        .all(|(it, words)| it.before != it.after && words.contains("\n    "));
                    assert!(differ, "{pointer}: {words:?}");
                }
            }
        }
    }

    #[test]
    fn order_and_doubles_are_changes() {
        let before = policy();
        for list in ["root_keys", "carried", "groups", "witnesses"] {
            let mut after = before.clone();
            after[list].as_array_mut().expect("a list").reverse();
            let found = compared(&before, &after);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].path, format!("{list}.order"));
            // Two of one name are told apart by nothing: the whole list is shown.
            let mut twice = before.clone();
            let first = twice[list][0].clone();
            twice[list].as_array_mut().expect("a list").push(first);
            let found = compared(&before, &twice);
            assert_eq!(found.iter().map(|it| it.path.as_str()).collect::<Vec<_>>(), [list]);
        }
    }

    #[test]
    fn people_read_names_keys_and_spans() {
        let before = policy();
        let mut after = before.clone();
        after["groups"][1]["custodians"][1]["endpoint"]["transport"] = json!("ed25519:z");
        after["deletion"]["min_age"] = json!(86_400 - 3_600);
        after["groups"][0]["custodians"][0]["kem"] = json!(BASE64.encode([8; 1_184]));
        after["revoked"][0]["reason"] = json!("lost\n  nothing changes");
        let words: Vec<_> = compared(&before, &after).iter().map(Change::in_words).collect();
        let kem = |byte: u8| fingerprint(Sha256::of(&[byte; 1_184]));
        assert_eq!(
            words,
            [
                "  deletion by regions, minimum age\n    - 1 d\n    + 23 h".to_owned(),
                format!(
                    "  class default, group:abababababab, custodian 1 c1, post-quantum key\n    - key with fingerprint {}\n    + key with fingerprint {}",
                    kem(9),
                    kem(8)
                ),
                "  class default, group:cdcdcdcdcdcd, custodian 2 c2, where it is reached, transport key\n    - ed25519:t2\n    + ed25519:z".to_owned(),
                "  revocation of node:1, reason\n    - lost\n    + lost\\n  nothing changes".to_owned(),
            ]
        );
    }
}
