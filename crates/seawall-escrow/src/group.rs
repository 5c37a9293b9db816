//! An escrow group: its class of data, key, threshold and the custodians' verification shares.
//!
//! A [`Group`] that exists is consistent: every point is canonical and not the identity, and all
//! verification shares lie on one polynomial whose value at zero is the key and whose degree is
//! exactly one below the threshold, so *any* `threshold` custodians open what any other
//! `threshold` would, and fewer do not suffice.
//!
//! The id is a hash of key and class only. Refreshing or re-sharing changes verification shares
//! and perhaps the threshold, and keeps the id; custodians tag partials with a share epoch.

use seawall_base::GroupId;
use serde::{Deserialize, Serialize};

use crate::curve::{Element, Polynomial};
use crate::share::SecretShare;

/// Longest class name, in bytes.
pub const MAX_CLASS: usize = 64;
/// Most custodians in a group.
pub const MAX_MEMBERS: usize = 255;

const ID_CONTEXT: &str = "seawall 2026-11 escrow group v1";

/// Why a group was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A recorded id is not the hash of the recorded key and class.
    #[error("recorded as {recorded}, but its key and class make {derived}: the key was swapped")]
    OtherId {
        /// The id in the record.
        recorded: GroupId,
        /// The id derived.
        derived: GroupId,
    },
    /// The class name is not 1 to 64 of `a-z 0-9 -`.
    #[error("escrow class {found:?} is not 1 to {MAX_CLASS} characters of a-z, 0-9 and -")]
    Class {
        /// The name, cut to a printable length.
        found: String,
    },
    /// No members, or more than a group may have.
    #[error("escrow group has {found} members; 1 to {MAX_MEMBERS} are allowed")]
    Members {
        /// How many.
        found: usize,
    },
    /// The threshold is zero or above the number of members.
    #[error("escrow group of {members} has threshold {threshold}; 1 to {members} are allowed")]
    Threshold {
        /// The threshold.
        threshold: u16,
        /// The number of members.
        members: usize,
    },
    /// Index zero would be the group's secret itself.
    #[error("escrow group has a member with index 0; indices start at 1")]
    ZeroIndex,
    /// Two members share an index.
    #[error("escrow group has two members with index {index}")]
    DuplicateIndex {
        /// The index.
        index: u16,
    },
    /// The key is the identity or not a canonical ristretto255 encoding.
    #[error("escrow group key is the identity or not a canonical ristretto255 point")]
    Key,
    /// A verification share is the identity or not a canonical ristretto255 encoding.
    #[error("verification share {index} is the identity or not a canonical ristretto255 point")]
    Share {
        /// The member's index.
        index: u16,
    },
    /// The first `threshold` verification shares do not interpolate to the key.
    #[error("verification shares do not belong to the escrow group's key")]
    WrongKey,
    /// The shares lie on a polynomial of a lower degree than the threshold asks for.
    #[error("escrow group says it takes {threshold} custodians, but its shares let fewer open it")]
    LowDegree {
        /// The threshold claimed.
        threshold: u16,
    },
    /// A verification share is not on the polynomial of the others.
    #[error("verification share {index} does not belong with the others")]
    OffPolynomial {
        /// The member's index.
        index: u16,
    },
    /// The text form holds something that is not 64 lowercase hex digits.
    #[error("{field} is not 64 lowercase hexadecimal digits")]
    Hex {
        /// Which field.
        field: &'static str,
    },
}

/// A custodian's public part in a group.
#[derive(Clone, Copy)]
pub struct Member {
    index: u16,
    share: Element,
}

impl Member {
    /// The custodian's index, 1 or more.
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// The verification share, a canonical ristretto255 encoding.
    pub const fn verification_share(&self) -> [u8; 32] {
        *self.share.bytes()
    }

    pub(crate) const fn share(&self) -> &Element {
        &self.share
    }
}

/// A consistent escrow group. Members are in ascending order of index.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "GroupText", into = "GroupText")]
pub struct Group {
    class: String,
    threshold: u16,
    key: Element,
    members: Vec<Member>,
    id: GroupId,
}

impl Group {
    /// Checks and builds a group from (index, verification share) pairs in any order.
    pub fn new(
        class: &str,
        threshold: u16,
        key: [u8; 32],
        mut members: Vec<(u16, [u8; 32])>,
    ) -> Result<Self, GroupError> {
        check_class(class)?;
        if members.is_empty() || members.len() > MAX_MEMBERS {
            return Err(GroupError::Members { found: members.len() });
        }
        if threshold == 0 || usize::from(threshold) > members.len() {
            return Err(GroupError::Threshold { threshold, members: members.len() });
        }
        members.sort_unstable_by_key(|(index, _)| *index);
        if members[0].0 == 0 {
            return Err(GroupError::ZeroIndex);
        }
        if let Some(pair) = members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(GroupError::DuplicateIndex { index: pair[0].0 });
        }
        let key = Element::decode(key).ok_or(GroupError::Key)?;
        let members = members
            .into_iter()
            .map(|(index, bytes)| {
                let share = Element::decode(bytes).ok_or(GroupError::Share { index })?;
                Ok(Member { index, share })
            })
            .collect::<Result<Vec<_>, _>>()?;
        check_polynomial(threshold, &key, &members)?;
        let id = group_id(&key, class);
        Ok(Self { class: class.to_owned(), threshold, key, members, id })
    }

    /// The group's id: a hash of its key and class.
    pub const fn id(&self) -> GroupId {
        self.id
    }

    /// The class of data the group guards.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// How many custodians it takes.
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// The group's key, a canonical ristretto255 encoding.
    pub const fn key(&self) -> [u8; 32] {
        *self.key.bytes()
    }

    /// The custodians, in ascending order of index.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The custodian with this index.
    pub fn member(&self, index: u16) -> Option<&Member> {
        self.members.binary_search_by_key(&index, Member::index).ok().map(|at| &self.members[at])
    }

    /// Whether `share` is the secret behind this group's verification share of the same index.
    pub fn holds(&self, share: &SecretShare) -> bool {
        self.member(share.index())
            .is_some_and(|member| member.verification_share() == share.verification_share())
    }

    pub(crate) const fn key_element(&self) -> &Element {
        &self.key
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        GroupText::from(self.clone()) == GroupText::from(other.clone())
    }
}

impl Eq for Group {}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("id", &self.id)
            .field("class", &self.class)
            .field("threshold", &self.threshold)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

/// Refuses class names that are not 1 to 64 of `a-z 0-9 -`.
pub(crate) fn check_class(class: &str) -> Result<(), GroupError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if class.is_empty() || class.len() > MAX_CLASS || !class.bytes().all(allowed) {
        return Err(GroupError::Class { found: class.chars().take(80).collect() });
    }
    Ok(())
}

fn check_polynomial(threshold: u16, key: &Element, members: &[Member]) -> Result<(), GroupError> {
    let (basis, rest) = members.split_at(usize::from(threshold));
    let basis: Vec<_> = basis.iter().map(|m| (m.index, *m.share.point())).collect();
    let polynomial = Polynomial::through(&basis);
    if polynomial.at(0) != *key.point() {
        return Err(GroupError::WrongKey);
    }
    // Were the degree lower, any k-1 of the shares would interpolate to the key already.
    if threshold > 1 && Polynomial::through(&basis[1..]).at(0) == *key.point() {
        return Err(GroupError::LowDegree { threshold });
    }
    match rest.iter().find(|m| polynomial.at(m.index) != *m.share.point()) {
        Some(member) => Err(GroupError::OffPolynomial { index: member.index }),
        None => Ok(()),
    }
}

fn group_id(key: &Element, class: &str) -> GroupId {
    let mut w = seawall_base::wire::Writer::new();
    w.raw(key.bytes()).bytes(class.as_bytes());
    GroupId(blake3::derive_key(ID_CONTEXT, w.as_slice()))
}

/// The JSON form of a group: points as 64 lowercase hex digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    class: String,
    threshold: u16,
    key: String,
    members: Vec<MemberText>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberText {
    index: u16,
    share: String,
}

impl From<Group> for GroupText {
    fn from(group: Group) -> Self {
        let members = group
            .members
            .iter()
            .map(|m| MemberText { index: m.index, share: hex::encode(m.share.bytes()) });
        Self {
            key: hex::encode(group.key.bytes()),
            members: members.collect(),
            class: group.class,
            threshold: group.threshold,
        }
    }
}

impl TryFrom<GroupText> for Group {
    type Error = GroupError;

    fn try_from(text: GroupText) -> Result<Self, GroupError> {
        if text.members.len() > MAX_MEMBERS {
            return Err(GroupError::Members { found: text.members.len() });
        }
        let key = parse_hex("group key", &text.key)?;
        let members = text
            .members
            .iter()
            .map(|m| Ok((m.index, parse_hex("verification share", &m.share)?)))
            .collect::<Result<Vec<_>, GroupError>>()?;
        Self::new(&text.class, text.threshold, key, members)
    }
}

fn parse_hex(field: &'static str, text: &str) -> Result<[u8; 32], GroupError> {
    let mut out = [0; 32];
    let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
    if !lower || hex::decode_to_slice(text, &mut out).is_err() {
        return Err(GroupError::Hex { field });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use curve25519_dalek::ristretto::RistrettoPoint;
    use curve25519_dalek::scalar::Scalar;

    use super::*;
    use crate::testkit::{BAD_ENCODINGS, hex32, three_of_five};

    type Pairs = Vec<(u16, [u8; 32])>;

    fn parts(group: &Group) -> ([u8; 32], Pairs) {
        (group.key(), group.members().iter().map(|m| (m.index, *m.share.bytes())).collect())
    }

    fn rebuilt(threshold: u16, key: [u8; 32], members: Pairs) -> Result<Group, GroupError> {
        Group::new("customer-data", threshold, key, members)
    }

    #[test]
    fn members_may_come_in_any_order_and_the_id_ignores_them() {
        let (group, _) = three_of_five("group");
        let (key, mut members) = parts(&group);
        members.reverse();
        assert_eq!(rebuilt(3, key, members.clone()), Ok(group.clone()));
        members.truncate(4);
        let smaller = rebuilt(3, key, members.clone()).expect("four on one polynomial");
        assert_eq!(smaller.id(), group.id(), "re-sharing keeps the id");
        let renamed = Group::new("web-root", 3, key, members).expect("another class");
        assert_ne!(renamed.id(), group.id(), "the class is part of the id");
        assert_eq!(group.member(3).map(Member::index), Some(3));
        assert!(group.member(6).is_none() && group.member(0).is_none());
    }

    #[test]
    fn impossible_counts_and_indices_are_refused() {
        let (group, _) = three_of_five("group");
        let (key, members) = parts(&group);
        assert_eq!(rebuilt(3, key, vec![]), Err(GroupError::Members { found: 0 }));
        let many = (1..=256).map(|i| (i, key)).collect();
        assert_eq!(rebuilt(1, key, many), Err(GroupError::Members { found: 256 }));
        for threshold in [0, 6] {
            let expected = GroupError::Threshold { threshold, members: 5 };
            assert_eq!(rebuilt(threshold, key, members.clone()), Err(expected));
        }
        let mut zero = members.clone();
        zero[2].0 = 0;
        assert_eq!(rebuilt(3, key, zero), Err(GroupError::ZeroIndex));
        let mut twice = members;
        twice[2].0 = 5;
        assert_eq!(rebuilt(3, key, twice), Err(GroupError::DuplicateIndex { index: 5 }));
    }

    #[test]
    fn identity_and_non_canonical_points_are_refused() {
        let (group, _) = three_of_five("group");
        let (key, members) = parts(&group);
        for bad in BAD_ENCODINGS.into_iter().map(hex32).chain([[0; 32]]) {
            assert_eq!(rebuilt(3, bad, members.clone()), Err(GroupError::Key));
            let mut members = members.clone();
            members[4].1 = bad;
            assert_eq!(rebuilt(3, key, members), Err(GroupError::Share { index: 5 }));
        }
    }

    #[test]
    fn shares_that_are_not_on_the_keys_polynomial_are_refused() {
        let (group, _) = three_of_five("group");
        let (key, members) = parts(&group);
        let (other, _) = three_of_five("another group");
        for at in 0..5 {
            let mut members = members.clone();
            members[at].1 = other.members()[at].verification_share();
            let index = at as u16 + 1;
            let expected =
                if at < 3 { GroupError::WrongKey } else { GroupError::OffPolynomial { index } };
            assert_eq!(rebuilt(3, key, members), Err(expected));
        }
        assert_eq!(rebuilt(3, other.key(), members.clone()), Err(GroupError::WrongKey));
        assert_eq!(rebuilt(2, key, members.clone()), Err(GroupError::WrongKey));
        assert_eq!(rebuilt(4, key, members.clone()), Err(GroupError::LowDegree { threshold: 4 }));
        assert_eq!(rebuilt(5, key, members), Err(GroupError::LowDegree { threshold: 5 }));
    }

    #[test]
    fn the_largest_group_is_checked_in_full() {
        let coefficients: Vec<_> = (1..=128_u64).map(Scalar::from).collect();
        let at = |x: u16| {
            let x = Scalar::from(x);
            let value = coefficients.iter().rev().fold(Scalar::ZERO, |sum, c| sum * x + c);
            RistrettoPoint::mul_base(&value).compress().to_bytes()
        };
        let mut members: Pairs = (1..=255).map(|i| (i, at(i))).collect();
        Group::new("a", 128, at(0), members.clone()).expect("consistent");
        members[254].1 = at(254);
        assert_eq!(
            Group::new("a", 128, at(0), members),
            Err(GroupError::OffPolynomial { index: 255 })
        );
    }

    #[test]
    fn class_names_are_bounded() {
        let (key, members) = parts(&three_of_five("group").0);
        let long = "a".repeat(64);
        for good in ["a", "customer-data-2", long.as_str()] {
            Group::new(good, 3, key, members.clone()).expect("allowed");
        }
        let too_long = "a".repeat(65);
        for bad in ["", "A", "a b", "ä", "a_b", "a\n", too_long.as_str()] {
            let err = Group::new(bad, 3, key, members.clone()).expect_err("refused");
            assert!(matches!(err, GroupError::Class { .. }), "{bad:?}");
        }
    }

    #[test]
    fn the_json_form_round_trips_and_is_checked_like_any_other() {
        let (group, shares) = three_of_five("group");
        let json = serde_json::to_string(&group).expect("serialises");
        assert_eq!(serde_json::from_str::<Group>(&json).expect("parses"), group);
        let refused =
            |json: &str| serde_json::from_str::<Group>(json).expect_err("refused").to_string();
        let key = hex::encode(group.key());
        assert!(refused(&json.replace(&key, &key.to_uppercase())).contains("group key"));
        assert!(refused(&json.replace(&key, &key[2..])).contains("group key"));
        assert!(refused(&json.replacen('{', "{\"extra\":1,", 1)).contains("extra"));
        assert!(refused(&json.replace("\"threshold\":3", "\"threshold\":2")).contains("key"));
        let member = format!("{{\"index\":1,\"share\":\"{key}\"}},").repeat(256);
        let many = json.replacen("\"members\":[", &format!("\"members\":[{member}"), 1);
        assert!(refused(&many).contains("261 members"));
        let debug = format!("{group:?}");
        assert!(debug.contains("threshold: 3") && !debug.contains(&key));
        assert!(group.holds(&shares[0]) && !three_of_five("b").0.holds(&shares[0]));
    }
}
