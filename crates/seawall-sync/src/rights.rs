//! Who may do what at a region: the one table, which both ends and the manual are made from.
//!
//! A region lets nothing through that has no row here; a node takes from it which token a request
//! needs. Every row needs a token and a proof of possession. What changes what others can read or
//! may do needs a *statement* besides, signed by those who may decide it: a token carries, it does
//! not decide.

use seawall_base::ObjectId;
use seawall_base::wire::WireError;
use seawall_sign::token::Operation;

use crate::wire::decode_objects;

/// What a token for a call has to be bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The TLS connection the call is made on.
    Session,
    /// The statement the body holds, by its digest.
    Statement,
}

/// What of a body the proof of possession covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covered {
    /// BLAKE3 of all of it.
    Whole,
    /// BLAKE3 of the ids and lengths of its objects. Their bytes are hashed once, when each is
    /// checked against its id, and nothing is kept of one that does not have it.
    Frames,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: &'static str,
    /// The path; one that ends in `/` stands for all that begin with it.
    pub path: &'static str,
    /// What its proof covers.
    pub covered: Covered,
}

/// One row: an operation, who may ask for it, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The operation a token has to name.
    pub operation: Operation,
    /// Its calls. Where there are none, nobody gets such a token.
    pub calls: &'static [Call],
    /// What such a token is bound to.
    pub scope: Scope,
    /// Who gets such a token.
    pub who: &'static str,
    /// What it reaches.
    pub reach: &'static str,
    /// What has to be shown besides, and by whom it is signed.
    pub authority: &'static str,
    /// Whether a region may delegate the issuing to a node.
    pub delegable: bool,
}

const fn call(method: &'static str, path: &'static str) -> Call {
    Call { method, path, covered: Covered::Whole }
}

const MEMBER: &str = "a node that the fleet's root keys enrolled and no policy revoked";

/// Every right there is at a region.
pub const RIGHTS: [Right; 5] = [
    Right {
        operation: Operation::Store,
        calls: &[
            call("POST", "/v1/have"),
            Call { covered: Covered::Frames, ..call("POST", "/v1/objects") },
        ],
        scope: Scope::Session,
        who: MEMBER,
        reach: "objects of its own tenant; each is checked against its id",
        authority: "none: an object nobody's snapshot names is kept for the lease only",
        delegable: true,
    },
    Right {
        operation: Operation::Sync,
        calls: &[
            call("POST", "/v1/log/add-checkpoint"),
            call("POST", "/v1/log/add-entries"),
            call("POST", "/v1/receipt"),
            call("POST", "/v1/log/witnessed"),
        ],
        scope: Scope::Session,
        who: MEMBER,
        reach: "its own log, by appending; receipts for snapshots of its tenant",
        authority: "checkpoint and entries signed by its subkey, which its identity key certified",
        delegable: true,
    },
    Right {
        operation: Operation::Read,
        calls: &[
            call("POST", "/v1/get"),
            call("POST", "/v1/challenge"),
            call("GET", "/v1/logs"),
            call("GET", "/v1/log/"),
        ],
        scope: Scope::Session,
        who: MEMBER,
        reach: "sealed objects and logs of its own tenant; opening them takes the custodians",
        authority: "none",
        delegable: true,
    },
    Right {
        operation: Operation::Delete,
        calls: &[call("POST", "/v1/delete")],
        scope: Scope::Statement,
        who: MEMBER,
        reach: "snapshots that the statement names, of a node of its tenant",
        authority: "custodians of each snapshot, as many as the newest policy says, by the \
                    statement, which stands in the node's mirrored log",
        delegable: false,
    },
    Right {
        operation: Operation::Admin,
        calls: &[call("POST", "/v1/delegation")],
        scope: Scope::Session,
        who: MEMBER,
        reach: "the issuing of store, sync and read tokens within its tenant, for three days",
        authority: "the region signs the delegation as a statement",
        delegable: false,
    },
];

/// Calls that need no token: who the region is, what leads to a token, and policies, of which the
/// root keys' signatures decide.
pub const OPEN: [(&str, &str); 4] =
    [("GET", "/v1/region"), ("POST", "/v1/enrol"), ("POST", "/v1/policies"), ("POST", "/v1/token")];

/// The row and the call of a request; none for whatever is not in the table.
pub fn right_to(method: &str, path: &str) -> Option<(&'static Right, &'static Call)> {
    let is = |call: &Call| {
        call.method == method
            && (call.path == path || (call.path.ends_with('/') && path.starts_with(call.path)))
    };
    RIGHTS.iter().find_map(|right| Some((right, right.calls.iter().find(|call| is(call))?)))
}

/// The row of an operation.
pub fn right(operation: Operation) -> &'static Right {
    RIGHTS.iter().find(|r| r.operation == operation).expect("every operation has a row")
}

impl Covered {
    /// The digest of a body that its proof has to be made over.
    pub fn digest(self, body: &[u8]) -> Result<[u8; 32], WireError> {
        let bytes = match self {
            Self::Whole => return Ok(ObjectId::of(body).0),
            Self::Frames => decode_objects(body)?,
        };
        let mut hasher = blake3::Hasher::new();
        for (id, object) in bytes {
            let length = u32::try_from(object.len()).expect("an object is at most 16 MiB");
            hasher.update(id.as_bytes()).update(&length.to_le_bytes());
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// The table as the manual shows it.
pub fn markdown() -> String {
    let mut out = String::from(
        "| operation | calls | who gets a token | bound to | reaches | what decides |\n\
         |---|---|---|---|---|---|\n",
    );
    for right in &RIGHTS {
        let calls: Vec<_> =
            right.calls.iter().map(|c| format!("`{} {}`", c.method, c.path)).collect();
        let calls = if calls.is_empty() { "none".to_owned() } else { calls.join("<br>") };
        let scope = match right.scope {
            Scope::Session => "this TLS connection",
            Scope::Statement => "the statement's digest",
        };
        out += &format!(
            "| `{}` | {} | {} | {scope} | {} | {} |\n",
            right.operation, calls, right.who, right.reach, right.authority
        );
    }
    let open: Vec<_> = OPEN.iter().map(|(method, path)| format!("`{method} {path}`")).collect();
    out += &format!(
        "| none | {} | anyone | | who the region is; becoming a member; the fleet's policies; a member's tokens | the root keys |\n",
        open.join("<br>")
    );
    out += "| anything else | every other method and path | nobody | | nothing | |\n";
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::push_object;

    #[test]
    fn each_operation_has_one_row_and_one_scope_and_no_call_is_in_two() {
        for operation in Operation::ALL {
            assert_eq!(right(operation).operation, operation);
        }
        let mut calls: Vec<_> =
            RIGHTS.iter().flat_map(|r| r.calls).map(|c| (c.method, c.path)).chain(OPEN).collect();
        let count = calls.len();
        calls.sort_unstable();
        calls.dedup();
        assert_eq!(calls.len(), count);
        for right in &RIGHTS {
            let decides = matches!(right.operation, Operation::Delete | Operation::Admin);
            assert_eq!(right.delegable, !decides, "{}", right.operation);
        }
    }

    #[test]
    fn what_has_no_row_is_nobodys() {
        let operation = |method, path| right_to(method, path).map(|(r, _)| r.operation);
        assert_eq!(operation("POST", "/v1/objects"), Some(Operation::Store));
        assert_eq!(operation("GET", "/v1/log/00/checkpoint"), Some(Operation::Read));
        assert_eq!(operation("POST", "/v1/log/add-entries"), Some(Operation::Sync));
        for (method, path) in [
            ("GET", "/v1/objects"),
            ("DELETE", "/v1/objects"),
            ("POST", "/v1/objects/"),
            ("POST", "/v1/objects/x"),
            ("post", "/v1/objects"),
            ("POST", "/v1/OBJECTS"),
            ("GET", "/v1/log"),
            ("POST", "/v1/log/"),
            ("POST", "/v1/token"),
            ("GET", ""),
            ("", ""),
        ] {
            assert_eq!(operation(method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn frames_cover_ids_and_lengths_and_refuse_what_is_not_frames() {
        let body = |parts: &[&[u8]]| {
            let mut body = Vec::new();
            for part in parts {
                push_object(&mut body, ObjectId::of(part), part);
            }
            body
        };
        let digest = |body: &[u8]| Covered::Frames.digest(body);
        let one = digest(&body(&[b"a", b"bc"])).expect("frames");
        assert_ne!(digest(&body(&[b"bc", b"a"])), Ok(one));
        assert_ne!(digest(&body(&[b"a"])), Ok(one));
        let mut torn = body(&[b"a", b"bc"]);
        torn.pop();
        assert!(digest(&torn).is_err());
        assert_eq!(Covered::Whole.digest(b"x"), Ok(ObjectId::of(b"x").0));
    }

    /// The manual's table is this table.
    #[test]
    fn the_manual_shows_this_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/manual/tokens.md");
        let page = std::fs::read_to_string(page).expect("the page is there");
        assert!(
            page.contains(&markdown()),
            "docs/manual/tokens.md needs this table:\n{}",
            markdown()
        );
    }
}
