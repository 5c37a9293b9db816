//! The one list of what may break a rule, and why.

use super::Complaint;

/// One allowed breach.
pub(super) struct Exception {
    /// The rule, as the complaint names it in brackets.
    pub(super) rule: &'static str,
    /// The file, relative to the workspace.
    pub(super) path: &'static str,
    /// The function, phrase or name that is allowed there.
    pub(super) item: &'static str,
    /// Why the rule is wrong here.
    pub(super) reason: &'static str,
}

/// Every allowed breach in the workspace.
pub(super) const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: "phrase",
        path: "crates/seawall-store/src/scan.rs",
        item: "unwrap_or_default()",
        reason: "a zone whose header is damaged is reported so and never appended to, \
                 so the chain that stands in for the lost one is never written",
    },
    Exception {
        rule: "phrase",
        path: "crates/seawall-backup/src/target/attributes.rs",
        item: "unwrap_or_default()",
        reason: "an access list too short for an entry grants the group nothing",
    },
    Exception {
        rule: "phrase",
        path: "crates/seawall/src/commands/demo/scene.rs",
        item: "unwrap_or_default()",
        reason: "the name is only printed, and a file found by its extension has one",
    },
    Exception {
        rule: "phrase",
        path: "crates/seawall-link/src/body.rs",
        item: "Instant::now",
        reason: "how long a peer may hold a connection is the socket's time, not the record's",
    },
    Exception {
        rule: "phrase",
        path: "crates/seawall-node/src/region_client/wallet.rs",
        item: "Instant::now",
        reason: "how long a token has been held is this process's time; the issuer's is what counts",
    },
    Exception {
        rule: "phrase",
        path: "crates/seawall-node/src/hooks.rs",
        item: "Instant::now",
        reason: "how long a child process may take is its time, not the record's",
    },
    Exception {
        rule: "phrase",
        path: "crates/seawall-node/src/drill/watch.rs",
        item: "Instant::now",
        reason: "how long a recovery took is measured; no decision rests on it",
    },
    Exception {
        rule: "phrase",
        path: "tests/postgres.rs",
        item: "#[ignore",
        reason: "a suite of its own, which `just postgres` runs: it needs a PostgreSQL server",
    },
];

impl Exception {
    pub(super) fn allows(&self, complaint: &Complaint) -> bool {
        self.rule == complaint.rule && self.path == complaint.path && self.item == complaint.item
    }

    /// The complaint that this exception allows nothing that is there.
    pub(super) fn needless(&self) -> Complaint {
        let what = format!(
            "{} no longer breaks [{}] ({}): take it out of xtask/src/tidy/exceptions.rs",
            self.item, self.rule, self.reason
        );
        let (path, item) = (self.path.into(), self.item.into());
        Complaint { rule: "exception", path, line: 0, item, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exception_has_a_reason() {
        assert!(EXCEPTIONS.iter().all(|e| e.reason.len() > 20));
    }
}
