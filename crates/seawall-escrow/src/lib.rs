//! Escrow groups, TDH2 capsules, share files, and the cryptography of requests and approvals.
//!
//! A snapshot is one reference; a [`Capsule`] seals that reference under a fresh key `K_s`, and
//! `K_s` goes to an escrow [`Group`]: only `threshold` of its custodians together can open it.
//! The scheme is TDH2 (Shoup and Gennaro 2002) over ristretto255 and not plain `ElGamal`, because a
//! re-randomised `ElGamal` capsule would let an approval for one snapshot open another.
//!
//! Order is enforced by types: a [`Capsule`] is only bytes someone sent; [`Capsule::check`] makes
//! a [`CheckedCapsule`], and nothing else can be answered with a [`Partial`]; only
//! [`Partial::verify`] makes a [`VerifiedPartial`], and only those reach [`open`].
//!
//! In suites 2 and 3 the key needs a second secret as well, dealt to the custodians' ML-KEM keys
//! (see [`Dealing`]): who breaks discrete logarithms one day has nothing yet.
//!
//! Pure: randomness is passed in. It must not know what a statement or a log is; the label is all
//! it sees of them, and [`LabelFields::of_manifest`] the one place that looks. No code path assembles a group's secret.
//!
//! The construction and this code are **unaudited**.

mod aead;
mod binding;
mod capsule;
pub mod ceremony;
mod curve;
mod dealing;
mod demand;
mod group;
mod half;
mod hand_over;
mod kem;
mod label;
mod onetime;
mod open;
#[cfg(test)]
mod outside;
mod partial;
mod randomness;
mod root_key_file;
mod share;
mod share_file;
#[cfg(test)]
mod testkit;
#[cfg(test)]
mod vectors;
mod wrapping;

pub use binding::{CLASSICAL_GRACE, unsound_group};
pub use capsule::{
    Capsule, CapsuleError, CheckedCapsule, MAX_CAPSULE, MAX_PAYLOAD, SUITE, SUITE_BOUND, SUITE_PQ,
};
pub use ceremony::CeremonyError;
pub use dealing::{Dealing, DealingError, MAX_RECIPIENTS, PqShare, Recipients};
pub use demand::Demand;
pub use group::{Group, GroupError, MAX_CLASS, MAX_MEMBERS, Member};
pub use hand_over::{CheckedHandOver, HandOver};
pub use kem::{KEM_PUBLIC_LEN, KemError, KemPublic, KemSecret};
pub use label::{Label, LabelError, LabelFields, MAX_ORIGIN};
pub use onetime::{MAX_SEALED_PLAINTEXT, OneTimeError, OneTimePublic, OneTimeSecret};
pub use open::{Dealer, Misdealt, OpenError, Opened, open};
pub use partial::{MAX_PQ_SHARES, PARTIAL_LEN, Partial, PartialError, VerifiedPartial};
pub use root_key_file::RootKeyFile;
pub use share::{SecretShare, ShareError};
pub use share_file::{
    KdfCost, MAX_SHARE_FILE, ShareFile, ShareFileError, SharePublic, ShareSecret,
};
pub use wrapping::{IV_LEN, KEY_ID_LEN, TokenKey, WrapError, WrappedSecret, WrappingKey};
