//! What the custodian's people are shown, in notices and in a list in a file: one case, in the same
//! words in both.
//!
//! The list is bounded, and what people can still decide about comes first: first each requester's
//! oldest open case, then each one's second. Who asks often pushes nobody else's off the list.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use seawall_base::{FleetId, GroupId, NodeId, Sha256, Timestamp, write_atomic};
use seawall_record::{SeenAbout, SeenGlass};
use serde::{Deserialize, Serialize};

use super::docket::{Case, Docket, Stand};
use super::{Office, OfficeError};
use crate::message::Standing;

/// One case, for the custodian's people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedCase {
    /// The fleet's name.
    pub fleet_name: String,
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the request.
    pub request: Sha256,
    /// The snapshot.
    pub manifest: Sha256,
    /// Its escrow group.
    pub group: GroupId,
    /// Who asks: the node's id.
    pub requester: String,
    /// Why.
    pub reason: String,
    /// The class of the snapshot.
    pub class: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// When it was first seen.
    pub seen: Timestamp,
    /// Until when it may be answered.
    pub expires: Timestamp,
    /// How it stands.
    pub state: Standing,
    /// What the policy says about it.
    pub decision: String,
    /// Who confirmed it.
    pub confirmed: Vec<String>,
    /// What it was examined to be; absent where an earlier version took it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Box<SeenAbout>>,
    /// When it was answered or refused; absent while it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Timestamp>,
}

impl ListedCase {
    /// Whether too few witnesses vouch, and it is asked for all the same.
    pub fn break_glass(&self) -> Option<SeenGlass> {
        self.about.as_ref().and_then(|about| about.break_glass)
    }

    /// Who asks, and whether that is the node whose snapshot it is.
    pub fn asked_by(&self) -> String {
        match &self.about {
            None => self.requester.clone(),
            Some(about) if about.node.to_string() == self.requester => {
                format!("{} ({}), whose snapshot it is", about.requester_name, self.requester)
            }
            Some(about) => {
                format!("{} ({}), NOT the node that made it", about.requester_name, self.requester)
            }
        }
    }

    /// What somebody who decides about it has to know, in lines.
    pub fn facts(&self) -> String {
        let mut lines = vec![
            format!("request   {}", self.request.to_hex()),
            format!("fleet     {} ({})", self.fleet_name, self.fleet.fingerprint()),
            format!("asked by  {}", self.asked_by()),
            format!("reason    \"{}\"", self.reason),
            format!("snapshot  {}", self.manifest.to_hex()),
        ];
        if let Some(about) = &self.about {
            lines.push(format!("of        {} ({})", about.node_name, about.node));
        }
        lines.extend([
            format!("class     {}", self.class),
            format!("content   {} files, {} bytes", self.files, self.bytes),
        ]);
        if let Some(about) = &self.about {
            lines.push(format!("witnessed {}", about.witnessed));
        }
        lines.extend(self.break_glass().map(|glass| glass.to_string()));
        lines.extend([
            format!("until     {}", self.expires),
            format!("policy    {}", self.decision),
        ]);
        format!("  {}\n", lines.join("\n  "))
    }
}

/// The cases that have not expired, in a file that people's commands read beside the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseList {
    format: String,
    /// The cases, of all fleets: open ones first.
    pub cases: Vec<ListedCase>,
    /// The keys that may confirm and refuse by the policy the machine goes by, and whose they are;
    /// absent in lists of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvers: Option<BTreeMap<String, String>>,
    /// How many more there are for which there was no room.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_off: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Where the list of cases is.
pub const CASES: &str = "custody/cases.json";

/// Longest list of cases in bytes.
pub const MAX_CASES: usize = 4 << 20;

/// What the list says beside the cases: mostly the keys and names of a policy, which is no longer.
const FRAME: usize = 2 * seawall_policy::custodian::MAX_POLICY;

/// Where a case stands in the list: open ones by their number among their requester's, then the
/// rest, the newest first.
type Place = (bool, usize, Reverse<Timestamp>);

/// As many cases as have room, by their places, and how many have none.
fn fitting(mut all: Vec<(Place, ListedCase)>, mut room: usize) -> (Vec<ListedCase>, u64) {
    all.sort_by_key(|(place, case)| (*place, case.request));
    let total = all.len();
    let has_room = |case: &ListedCase| {
        let size = 1 + serde_json::to_vec(case).expect("text and numbers serialise").len();
        let fits = size <= room;
        room = if fits { room - size } else { 0 };
        fits
    };
    let cases: Vec<_> = all.into_iter().map(|(_, case)| case).take_while(has_room).collect();
    let left_off = (total - cases.len()) as u64;
    (cases, left_off)
}

impl Office {
    pub(super) fn pending(&self, now: Timestamp) -> Vec<ListedCase> {
        let of_docket = |docket: &Docket| {
            let digests = docket.pending().into_iter();
            digests.map(|it| self.listed(docket, it, &docket.cases[&it], now)).collect()
        };
        self.dockets.values().flat_map(|docket| -> Vec<ListedCase> { of_docket(docket) }).collect()
    }

    /// Writes the list of cases where it has changed.
    pub(super) fn publish(&mut self, now: Timestamp) -> Result<(), OfficeError> {
        let of_docket = |docket: &Docket| -> Vec<(Place, ListedCase)> {
            let mut cases: Vec<_> = docket.cases.iter().collect();
            cases.sort_by_key(|(digest, case)| (case.seen, **digest));
            let mut open: BTreeMap<NodeId, usize> = BTreeMap::new();
            let place = |case: &Case| {
                let is_open = case.stand == Stand::Pending;
                let count = open.entry(case.requester).or_default();
                *count += usize::from(is_open);
                (!is_open, if is_open { *count } else { 0 }, Reverse(case.seen))
            };
            let places: Vec<_> = cases.iter().map(|(_, case)| *case).map(place).collect();
            let listed =
                cases.iter().map(|(digest, case)| self.listed(docket, **digest, case, now));
            places.into_iter().zip(listed).collect()
        };
        let all = self.dockets.values().flat_map(of_docket).collect();
        let (cases, left_off) = fitting(all, MAX_CASES - FRAME);
        let approvers = Some(self.rules.names());
        let format = "seawall-custodian-cases/1".to_owned();
        let list = CaseList { format, cases, approvers, left_off };
        if self.published.as_ref() != Some(&list) {
            let json = serde_json::to_vec(&list).expect("text and numbers serialise");
            write_atomic(self.disk.as_ref(), CASES, &json).map_err(OfficeError::io(CASES))?;
            self.published = Some(list);
        }
        Ok(())
    }

    pub(super) fn listed(
        &self,
        docket: &Docket,
        request: Sha256,
        case: &Case,
        now: Timestamp,
    ) -> ListedCase {
        let (state, decision) = match &case.stand {
            Stand::Pending => {
                (Standing::Pending, self.decide(docket, request, case, now).to_string())
            }
            Stand::Refused(why) => (Standing::Refused, why.clone()),
            Stand::Answered(_) => (Standing::Answered, "answered".to_owned()),
        };
        ListedCase {
            fleet_name: docket.fleet.genesis().fleet_name.clone(),
            fleet: docket.fleet.id(),
            request,
            manifest: case.manifest,
            group: case.group,
            requester: case.requester.to_string(),
            reason: case.reason.clone(),
            class: case.class.clone(),
            files: case.files,
            bytes: case.bytes,
            seen: case.seen,
            expires: case.expires,
            state,
            decision,
            confirmed: self.confirmed(case).map(str::to_owned).collect(),
            about: case.about.clone(),
            settled: case.settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(requester: u8, n: u8, is_open: bool) -> ListedCase {
        ListedCase {
            fleet_name: "harbour".to_owned(),
            fleet: FleetId([1; 32]),
            request: Sha256::of(&[requester, n]),
            manifest: Sha256([2; 32]),
            group: GroupId([3; 32]),
            requester: NodeId([requester; 32]).to_string(),
            reason: "x".repeat(1_000),
            class: "customers".to_owned(),
            files: 1,
            bytes: 1,
            seen: Timestamp(u64::from(n)),
            expires: Timestamp(1_000),
            state: if is_open { Standing::Pending } else { Standing::Refused },
            decision: "waits".to_owned(),
            confirmed: Vec::new(),
            about: None,
            settled: None,
        }
    }

    #[test]
    fn who_asks_for_anothers_snapshot_is_said_to() {
        let about = |node: u8| SeenAbout {
            requester_name: "newbox".to_owned(),
            node: NodeId([node; 32]),
            node_name: "site-a".to_owned(),
            witnessed: "level 0 (2 needed)".to_owned(),
            break_glass: Some(SeenGlass { vouched: 0, needed: 2 }),
        };
        let shown = |node| ListedCase { about: Some(Box::new(about(node))), ..case(1, 1, true) };
        let own = shown(1).facts();
        assert!(own.contains("whose snapshot it is") && !own.contains("NOT"), "{own}");
        let others = shown(2).facts();
        assert!(
            others.contains("newbox (node:0101") && others.contains("NOT the node"),
            "{others}"
        );
        assert!(others.contains("site-a (node:0202") && others.contains("BREAK-GLASS: 0 of 2"));
        // A list of an earlier version still reads.
        let old = serde_json::to_string(&case(1, 1, true)).expect("JSON");
        assert!(!old.contains("about") && !old.contains("settled"), "{old}");
        let again: ListedCase = serde_json::from_str(&old).expect("reads");
        assert_eq!((again.break_glass(), again.asked_by()), (None, NodeId([1; 32]).to_string()));
    }

    #[test]
    fn what_can_be_decided_comes_first_and_the_rest_fills_the_room() {
        let place = |n: u8, is_open: bool| {
            let count = if is_open { usize::from(n) } else { 0 };
            (!is_open, count, Reverse(Timestamp(n.into())))
        };
        let mut all = Vec::new();
        for n in 1..=16 {
            all.push((place(n, true), case(1, n, true)));
            all.push((place(n, false), case(1, n + 16, false)));
        }
        all.push((place(1, true), case(2, 1, true)));
        let size = 1 + serde_json::to_vec(&all[0].1).expect("JSON").len();
        let (cases, left_off) = fitting(all.clone(), 1 << 20);
        assert_eq!((cases.len(), left_off), (33, 0));
        assert!(cases[..2].iter().all(|case| case.seen == Timestamp(1)), "each one's first");
        let (cases, left_off) = fitting(all, 10 * size + 40);
        assert_eq!((cases.len(), left_off), (10, 23));
        assert!(cases.iter().all(|case| case.state == Standing::Pending));
        assert!(cases.iter().any(|case| case.requester == NodeId([2; 32]).to_string()));
    }
}
