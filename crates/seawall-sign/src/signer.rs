//! Who signs statements: a secret key of any algorithm.

use seawall_base::Rng;
use zeroize::Zeroizing;

use crate::{Algorithm, MlDsaKey, SignError, SigningKey, VerifyingKey};

/// A secret key that signs statements.
pub trait Signer {
    /// The public half.
    fn public(&self) -> VerifyingKey;

    /// Signs a message; [`VerifyingKey::signature_len`] bytes.
    fn sign_statement(&self, message: &[u8]) -> Vec<u8>;
}

impl Signer for SigningKey {
    fn public(&self) -> VerifyingKey {
        self.public()
    }

    fn sign_statement(&self, message: &[u8]) -> Vec<u8> {
        self.sign(message).to_vec()
    }
}

impl Signer for MlDsaKey {
    fn public(&self) -> VerifyingKey {
        self.public()
    }

    fn sign_statement(&self, message: &[u8]) -> Vec<u8> {
        self.sign(message)
    }
}

/// A statement key whose algorithm was chosen when it was made: root keys, identities, custodians'
/// signing keys. Whatever the algorithm, its secret is a 32-byte seed.
#[derive(Debug)]
pub enum StatementKey {
    /// Ed25519.
    Ed25519(Box<SigningKey>),
    /// ML-DSA-44.
    MlDsa44(Box<MlDsaKey>),
}

impl StatementKey {
    /// A fresh key.
    pub fn generate(algorithm: Algorithm, rng: &mut dyn Rng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(&mut *seed);
        Self::from_seed(algorithm, &seed)
    }

    /// The key of a seed.
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Self {
        match algorithm {
            Algorithm::Ed25519 => Self::Ed25519(Box::new(SigningKey::from_seed(seed))),
            Algorithm::MlDsa44 => Self::MlDsa44(Box::new(MlDsaKey::from_seed(seed))),
        }
    }

    /// The key of a seed, whose public half must be `public`: for files that name it beside the
    /// sealed seed.
    pub fn of_public(public: &VerifyingKey, seed: &[u8; 32]) -> Result<Self, SignError> {
        let key = Self::from_seed(public.algorithm(), seed);
        if key.public() == *public {
            Ok(key)
        } else {
            Err(SignError::BadKey("the secret does not belong to the public key beside it"))
        }
    }

    /// The algorithm.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::Ed25519,
            Self::MlDsa44(_) => Algorithm::MlDsa44,
        }
    }

    /// The public half.
    pub fn public(&self) -> VerifyingKey {
        match self {
            Self::Ed25519(key) => key.public(),
            Self::MlDsa44(key) => key.public(),
        }
    }

    /// The seed, for writing the key to its 0600 file.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        match self {
            Self::Ed25519(key) => key.seed(),
            Self::MlDsa44(key) => key.seed(),
        }
    }
}

impl Signer for StatementKey {
    fn public(&self) -> VerifyingKey {
        self.public()
    }

    fn sign_statement(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign_statement(message),
            Self::MlDsa44(key) => key.sign_statement(message),
        }
    }
}

impl From<SigningKey> for StatementKey {
    fn from(key: SigningKey) -> Self {
        Self::Ed25519(Box::new(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Envelope;
    use crate::envelope::MAX_ENVELOPE;

    const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::MlDsa44];

    #[test]
    fn keys_of_both_algorithms_sign_and_come_back_from_their_seeds() {
        for algorithm in BOTH {
            let key = StatementKey::from_seed(algorithm, &[5; 32]);
            let public = key.public();
            let text = public.to_string();
            assert!(text.starts_with(&format!("{algorithm}:")), "{text}");
            assert_eq!(text.parse(), Ok(public));
            let signature = key.sign_statement(b"m");
            assert_eq!(signature.len(), public.signature_len());
            assert_eq!(public.verify_statement(b"m", &signature), Ok(()));
            assert_eq!(public.verify_statement(b"n", &signature), Err(SignError::BadSignature));
            let again = StatementKey::of_public(&public, &key.seed()).expect("its own seed");
            assert_eq!(again.public(), public);
            assert!(StatementKey::of_public(&public, &[6; 32]).is_err());
            assert!(!format!("{key:?}").contains("5, 5"), "{key:?}");
        }
    }

    #[test]
    fn no_byte_of_a_post_quantum_signature_may_change() {
        let key = MlDsaKey::from_seed(&[5; 32]);
        let good = key.sign_statement(b"m");
        for at in (0..good.len()).step_by(61).chain(good.len() - 84..good.len()) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(key.public().verify_statement(b"m", &bad).is_err(), "byte {at}");
        }
        for bad in [&good[1..], &good[..good.len() - 1], &good[..64], &[]] {
            assert_eq!(key.public().verify_statement(b"m", bad), Err(SignError::BadSignature));
        }
        let stranger = MlDsaKey::from_seed(&[6; 32]).sign_statement(b"m");
        let why = key.public().verify_statement(b"m", &stranger).expect_err("another key");
        assert!(why.to_string().contains("not the recorded one"), "{why}");
    }

    #[test]
    fn neither_algorithm_passes_for_the_other() {
        let seed = [5; 32];
        let (classical, quantum) = (SigningKey::from_seed(&seed), MlDsaKey::from_seed(&seed));
        assert_ne!(classical.public().node_id(), quantum.public().node_id());
        let signature = classical.sign(b"m");
        assert!(quantum.public().verify(b"m", &signature).is_err());
        assert!(quantum.public().require_ed25519().is_err());
        assert!(quantum.public().verify_statement(b"m", &signature).is_err());
        let long = quantum.sign_statement(b"m");
        assert!(classical.public().verify_statement(b"m", &long).is_err());
        // The same 32 bytes under the other tag are another key, and verify nothing.
        let relabelled: VerifyingKey = classical
            .public()
            .to_string()
            .replace("ed25519", "ml-dsa-44")
            .parse()
            .expect("any 32 bytes may be a SHA-256");
        assert_ne!(relabelled, classical.public());
        assert!(relabelled.verify_statement(b"m", &signature).is_err());
    }

    #[test]
    fn an_envelope_holds_a_dozen_post_quantum_signatures() {
        let keys: Vec<_> = (1..=13).map(|n| MlDsaKey::from_seed(&[n; 32])).collect();
        let sign = |keys: &[MlDsaKey]| {
            let signers: Vec<&dyn Signer> = keys.iter().map(|k| k as &dyn Signer).collect();
            Envelope::sign("t", vec![b'x'; 1_000], &signers)
        };
        let envelope = sign(&keys[..12]);
        let json = envelope.to_json();
        assert!(json.len() <= MAX_ENVELOPE, "{} bytes", json.len());
        let parsed = Envelope::parse(&json).expect("parses");
        let trusted: Vec<_> = keys.iter().map(MlDsaKey::public).collect();
        assert!(parsed.verify(&trusted, 12).is_ok());
        assert!(sign(&keys).to_json().len() > MAX_ENVELOPE, "thirteen do not fit");
    }

    #[test]
    fn an_envelope_of_both_counts_each_key_and_refuses_a_downgrade() {
        let (classical, quantum) = (SigningKey::from_seed(&[1; 32]), MlDsaKey::from_seed(&[2; 32]));
        let trusted = [classical.public(), quantum.public()];
        let both = Envelope::sign("t", b"p".to_vec(), &[&classical, &quantum]);
        let both = Envelope::parse(&both.to_json()).expect("parses");
        assert_eq!(both.verify(&trusted, 2), Ok(&b"p"[..]));
        // The post-quantum signer's statement, signed by an Ed25519 key of the same seed instead.
        let downgraded = SigningKey::from_seed(&[2; 32]);
        let envelope = Envelope::sign("t", b"p".to_vec(), &[&classical, &downgraded]);
        assert_eq!(
            envelope.verify(&trusted, 2),
            Err(SignError::BelowThreshold { have: 1, need: 2 })
        );
        // Its own key id over a short signature.
        let json = String::from_utf8(envelope.to_json()).expect("JSON");
        let renamed = json.replace(&downgraded.public().to_string(), &quantum.public().to_string());
        assert!(matches!(Envelope::parse(renamed.as_bytes()), Err(SignError::Malformed(_))));
        let twice = Envelope::sign("t", b"p".to_vec(), &[&quantum, &quantum]).to_json();
        assert_eq!(Envelope::parse(&twice), Err(SignError::DuplicateSigner(quantum.public())));
    }
}
