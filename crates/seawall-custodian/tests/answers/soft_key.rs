//! A wrapping key in memory: AES-256-GCM as a token does it, and a token that can be pulled out.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use seawall_escrow::{IV_LEN, TokenKey, WrapError, WrappingKey};
use zeroize::Zeroizing;

pub(crate) struct SoftKey {
    name: TokenKey,
    key: LessSafeKey,
    is_away: AtomicBool,
}

impl SoftKey {
    pub(crate) fn new(label: &str) -> Self {
        let serial = "0123456789abcdef".to_owned();
        let name = TokenKey { label: label.to_owned(), serial, key: [0x5a; 16] };
        let key = UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("the cipher's length");
        Self { name, key: LessSafeKey::new(key), is_away: AtomicBool::new(false) }
    }

    pub(crate) fn pull_out(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn reach(&self) -> Result<&LessSafeKey, WrapError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(WrapError::Token("it was pulled out".to_owned()));
        }
        Ok(&self.key)
    }
}

impl WrappingKey for SoftKey {
    fn name(&self) -> &TokenKey {
        &self.name
    }

    fn wrap(&self, iv: &[u8; IV_LEN], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, WrapError> {
        let (nonce, mut out) = (Nonce::assume_unique_for_key(*iv), plain.to_vec());
        let done = self.reach()?.seal_in_place_append_tag(nonce, Aad::from(aad), &mut out);
        done.expect("within the cipher's limits");
        Ok(out)
    }

    fn unwrap(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let (nonce, mut out) = (Nonce::assume_unique_for_key(*iv), sealed.to_vec());
        let plain = self.reach()?.open_in_place(nonce, Aad::from(aad), &mut out);
        let plain = plain.map_err(|_| WrapError::Mismatch(Box::new(self.name.clone())))?;
        Ok(Zeroizing::new(plain.to_vec()))
    }
}
