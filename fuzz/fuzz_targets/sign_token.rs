//! Tokens, proofs and shown delegations: one spelling each, and nothing panics. Claims are also
//! signed here first, so that what lies behind the signature is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::{FleetId, NodeId, Timestamp};
use seawall_sign::SigningKey;
use seawall_sign::paseto::{self, Paseto};
use seawall_sign::possession::{Call, Proof};
use seawall_sign::token::{About, Expected, Operation, Token};
use seawall_sync::message::{DelegationRequest, ShownDelegation, TokenAnswer, TokenRequest};

const IMPLICIT: &[u8] = b"seawall 2026-11 token v1";

fuzz_target!(|data: &[u8]| {
    let key = SigningKey::from_seed(&[7; 32]);
    let expected = Expected {
        fleet: FleetId([1; 32]),
        issuer: NodeId([2; 32]),
        operation: Operation::Store,
        node: NodeId([3; 32]),
        about: About::session(&[4; 32]),
        caller: key.public(),
        now: Timestamp(1_795_000_000),
    };
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(parsed) = Paseto::parse(text) {
            assert!(parsed.verify(&key.public(), b"other").is_err());
        }
        if let Ok(token) = Token::parse(text) {
            let _ = token.verify(&key.public(), &expected);
        }
        if let Ok(proof) = Proof::parse(text) {
            assert_eq!(proof.to_text(), text);
            let call =
                Call { method: "", path: text, body: &[0; 32], binding: &[0; 32], token: text };
            let _ = proof.verify(&key.public(), &call);
        }
        if let Ok((region, delegation)) = ShownDelegation::parse(text) {
            let again = ShownDelegation::new(&region, &delegation).to_header();
            assert_eq!(ShownDelegation::parse(&again), Ok((region, delegation)));
        }
    }
    let _ = serde_json::from_slice::<TokenRequest>(data);
    let _ = serde_json::from_slice::<TokenAnswer>(data);
    let _ = serde_json::from_slice::<DelegationRequest>(data);
    let footer = format!("{{\"kid\":\"{}\"}}", key.public());
    let signed = paseto::sign(&key, data, footer.as_bytes(), IMPLICIT);
    if let Ok(token) = Token::parse(&signed) {
        assert_eq!(token.unverified().mint(&key), signed, "one spelling");
        if let Ok(claims) = token.verify(&key.public(), &expected) {
            assert!(claims.expires > expected.now && claims.operation == Operation::Store);
        }
    }
});
