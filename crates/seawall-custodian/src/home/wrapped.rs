//! What of a home a token protects: its shares, and the keys that could stand in for them.
//!
//! ```text
//! token.json          which key of which token; every share made from now on is wrapped by it
//! keys/wrapped.json   signing, recipient and KEM key, wrapped, instead of their three files
//! ```
//!
//! Those three go with the shares: whoever has the recipient key and a ceremony's folder has the
//! share that came out of a repair or a re-sharing, and the KEM key opens this custodian's part of
//! the post-quantum half. Witness and transport keys stay files: a machine has to be able to start
//! its network, and neither opens anything.
//!
//! Every step can be cut off and done again: the token is named first, each file is replaced
//! whole, and what is left of the old keys goes last. In a home made with its token the keys never
//! are in a file in clear: what a disk once had can be found in free blocks after it was deleted.
//!
//! A home without `token.json` that has wrapped keys is damaged, not one without a token: whoever
//! can delete one public file must not be able to have shares sealed under a passphrase again.

use std::sync::Arc;

use seawall_base::wire::Writer;
use seawall_base::{Disk as _, Rng, write_atomic};
use seawall_escrow::{
    KEM_PUBLIC_LEN, KemSecret, OneTimeSecret, ShareFile, SharePublic, ShareSecret, TokenKey,
    WrappedSecret, WrappingKey,
};
use seawall_record::Base64;
use seawall_sign::key_file::Purpose;
use seawall_sign::{StatementKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Ask, AskPassphrase, CustodianHome, CustodyError, KEM, MAX_CONFIG, RECIPIENT, SIGNING};

const TOKEN: &str = "token.json";
const TOKEN_FORMAT: &str = "seawall-custodian-token/1";
const WRAPPED: &str = "keys/wrapped.json";
const WRAPPED_FORMAT: &str = "seawall-custodian-keys/1";
const MAX_WRAPPED: usize = 16 << 10;

/// Reaches a token when it is needed for the first time.
pub type OpenToken = dyn Fn(&TokenKey) -> Result<Arc<dyn WrappingKey>, CustodyError> + Send + Sync;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    format: String,
    label: String,
    serial: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrappedFile {
    format: String,
    signing: VerifyingKey,
    recipient: Base64,
    kem: Base64,
    secret: WrappedSecret,
}

/// The public halves of the keys that a token may have wrapped.
pub(super) struct Publics {
    pub(super) signing: VerifyingKey,
    pub(super) recipient: Vec<u8>,
    pub(super) kem: Vec<u8>,
}

impl Publics {
    fn context(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.bytes(WRAPPED_FORMAT.as_bytes())
            .bytes(self.signing.to_string().as_bytes())
            .bytes(&self.recipient)
            .bytes(&self.kem);
        w.into_vec()
    }
}

/// Where each of the three keys lies in what is wrapped.
const PLACES: [(&str, Purpose); 3] =
    [(SIGNING, Purpose::Custodian), (RECIPIENT, Purpose::Recipient), (KEM, Purpose::Kem)];

/// What moving a home into a token did.
#[derive(Debug)]
pub struct Moved {
    /// Shares that are wrapped now, also those that were set aside.
    pub shares: Vec<String>,
    /// Shares set aside that could not be wrapped, and why: they open as before.
    pub left: Vec<(String, String)>,
    /// Whether the home's keys are wrapped now and were not before.
    pub keys: bool,
}

impl CustodianHome {
    /// The same home; `open` is called when its token is needed for the first time.
    #[must_use]
    pub fn with_token(mut self, open: Box<OpenToken>) -> Self {
        self.open_token = Some(open);
        self
    }

    /// The key that wraps this home's shares, if a token does.
    pub fn token_key(&self) -> Result<Option<TokenKey>, CustodyError> {
        let damaged = |why: &str| CustodyError::damaged(TOKEN, why);
        let Some(bytes) = self.read(TOKEN, MAX_CONFIG)? else {
            return match self.wrapped_keys()? {
                Some(_) => Err(damaged("it is missing, and a token wrapped this home's keys")),
                None => Ok(None),
            };
        };
        let file: TokenFile =
            serde_json::from_slice(&bytes).map_err(|e| damaged(&e.to_string()))?;
        let mut key = [0; 16];
        let id = hex::decode_to_slice(&file.key, &mut key);
        if file.format != TOKEN_FORMAT || id.is_err() {
            return Err(damaged("it names no token's key"));
        }
        Ok(Some(TokenKey { label: file.label, serial: file.serial, key }))
    }

    /// The token, reached if it has not been before.
    pub fn token(&self, key: &TokenKey) -> Result<Arc<dyn WrappingKey>, CustodyError> {
        let mut open = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(token) = open.as_ref().filter(|token| token.name() == key) {
            return Ok(token.clone());
        }
        let needed = || {
            CustodyError::refused(format!(
                "this needs {key}: plug it in, and name its PKCS#11 module with --module or SEAWALL_PKCS11_MODULE"
            ))
        };
        let token = self.open_token.as_ref().ok_or_else(needed)?(key)?;
        *open = Some(token.clone());
        Ok(token)
    }

    /// Opens a share: with its token if one wrapped it, else with a passphrase.
    pub fn open_share(
        &self,
        file: &ShareFile,
        ask: &mut AskPassphrase<'_>,
    ) -> Result<ShareSecret, CustodyError> {
        match file.token() {
            Some(key) => Ok(file.unwrap_with(self.token(key)?.as_ref())?),
            None => Ok(file.open(&ask(Ask::Existing, self.name())?)?),
        }
    }

    /// Seals a share with its signing key beside it: by the home's token if it has one, else under
    /// a passphrase.
    pub fn seal_share(
        &self,
        public: SharePublic,
        secret: &ShareSecret,
        (ask, how): (&mut AskPassphrase<'_>, Ask),
        rng: &mut dyn Rng,
    ) -> Result<ShareFile, CustodyError> {
        if let Some(key) = self.token_key()? {
            return Ok(ShareFile::wrap(public, secret, self.token(&key)?.as_ref(), rng)?);
        }
        let passphrase = ask(how, self.name())?;
        Ok(ShareFile::seal(public, secret, &passphrase, self.cost, rng)?)
    }

    /// Seals a share anew with other public fields, as it was sealed: by the home's token if it
    /// has one, else under the same passphrase.
    pub(super) fn seal_again(
        &self,
        file: &ShareFile,
        public: SharePublic,
        ask: &mut AskPassphrase<'_>,
        rng: &mut dyn Rng,
    ) -> Result<ShareFile, CustodyError> {
        if file.token().is_some() && self.token_key()?.is_none() {
            return Err(CustodyError::damaged(
                TOKEN,
                "it is missing, and a token wrapped the share",
            ));
        }
        let mut given = None;
        let mut ask = |how: Ask, name: &str| -> Result<Zeroizing<Vec<u8>>, CustodyError> {
            let passphrase = match given.take() {
                Some(passphrase) => passphrase,
                None => ask(how, name)?,
            };
            given = Some(passphrase.clone());
            Ok(passphrase)
        };
        let secret = self.open_share(file, &mut ask)?;
        self.seal_share(public, &secret, (&mut ask, Ask::Existing), rng)
    }

    /// Has `token` wrap everything here that is not wrapped yet, and all shares to come.
    pub fn move_into(
        &self,
        token: Arc<dyn WrappingKey>,
        ask: &mut AskPassphrase<'_>,
        rng: &mut dyn Rng,
    ) -> Result<Moved, CustodyError> {
        let _lock = self.lock()?;
        let name = token.name().clone();
        if let Some(other) = self.token_key()?.filter(|other| *other != name) {
            return Err(CustodyError::refused(format!("this home is wrapped by {other} already")));
        }
        self.take_token(token)?;
        let mut shares = Vec::new();
        for (_, share) in self.shares()? {
            if share.token().is_none() {
                let secret = share.open(&ask(Ask::Existing, self.name())?)?;
                shares.push(self.keep_share(&self.wrapped(&share, &secret, &name, rng)?)?);
            }
        }
        let keys = self.wrap_keys(&name, rng)?;
        let mut left = Vec::new();
        for path in self.shares_aside()? {
            match self.wrap_aside(&path, &name, ask, rng)? {
                Ok(true) => shares.push(path),
                Ok(false) => {}
                Err(why) => left.push((path, why)),
            }
        }
        Ok(Moved { shares, left, keys })
    }

    /// Names the token that wraps this home from now on.
    fn take_token(&self, token: Arc<dyn WrappingKey>) -> Result<(), CustodyError> {
        let name = token.name();
        let file = TokenFile {
            format: TOKEN_FORMAT.to_owned(),
            label: name.label.clone(),
            serial: name.serial.clone(),
            key: hex::encode(name.key),
        };
        self.write_json(TOKEN, &file)?;
        *self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(token);
        Ok(())
    }

    fn wrapped(
        &self,
        share: &ShareFile,
        secret: &ShareSecret,
        name: &TokenKey,
        rng: &mut dyn Rng,
    ) -> Result<ShareFile, CustodyError> {
        let public = share.public().clone();
        Ok(ShareFile::wrap(public, secret, self.token(name)?.as_ref(), rng)?)
    }

    /// Wraps a share that was set aside; whether it was not before. Its passphrase may be forgotten
    /// and its file damaged: that stops nothing else.
    fn wrap_aside(
        &self,
        path: &str,
        name: &TokenKey,
        ask: &mut AskPassphrase<'_>,
        rng: &mut dyn Rng,
    ) -> Result<Result<bool, String>, CustodyError> {
        let share = match self.share_aside(path)? {
            Ok(share) if share.token().is_some() => return Ok(Ok(false)),
            Ok(share) => share,
            Err(e) => return Ok(Err(e.to_string())),
        };
        let asked = ask(Ask::Existing, &format!("{} in {path}", self.name()))?;
        let secret = match share.open(&asked) {
            Ok(secret) => secret,
            Err(e) => return Ok(Err(e.to_string())),
        };
        let wrapped = self.wrapped(&share, &secret, name, rng)?;
        write_atomic(self.disk.as_ref(), path, wrapped.to_json().as_bytes())
            .map_err(CustodyError::io(path))?;
        Ok(Ok(true))
    }

    /// Keeps the signing, recipient and KEM key of a new home as `token` wraps them, and in no file
    /// in clear.
    pub(super) fn wrap_new(
        &self,
        token: Arc<dyn WrappingKey>,
        keys: [&[u8; 32]; 3],
        rng: &mut dyn Rng,
    ) -> Result<(), CustodyError> {
        let name = token.name().clone();
        self.take_token(token)?;
        self.write_wrapped(&name, keys, rng)?;
        self.forget_keys()
    }

    fn wrap_keys(&self, name: &TokenKey, rng: &mut dyn Rng) -> Result<bool, CustodyError> {
        let is_new = self.wrapped_keys()?.is_none();
        if is_new {
            let seed = |(path, purpose)| self.key_in_file(path, purpose);
            let keys = [seed(PLACES[0])?, seed(PLACES[1])?, seed(PLACES[2])?];
            self.write_wrapped(name, [&keys[0], &keys[1], &keys[2]], rng)?;
        }
        self.forget_keys()?;
        Ok(is_new)
    }

    fn write_wrapped(
        &self,
        name: &TokenKey,
        keys: [&[u8; 32]; 3],
        rng: &mut dyn Rng,
    ) -> Result<(), CustodyError> {
        let mut plain = Zeroizing::new([0; 96]);
        for (key, place) in keys.iter().zip(plain.chunks_exact_mut(32)) {
            place.copy_from_slice(key.as_slice());
        }
        let publics = self.publics_of(keys);
        let token = self.token(name)?;
        let secret = WrappedSecret::make(token.as_ref(), &publics.context(), plain.as_slice(), rng);
        let file = WrappedFile {
            format: WRAPPED_FORMAT.to_owned(),
            signing: publics.signing,
            recipient: Base64(publics.recipient),
            kem: Base64(publics.kem),
            secret: secret.map_err(|e| CustodyError::refused(e.to_string()))?,
        };
        self.write_json(WRAPPED, &file)
    }

    /// Deletes what is in clear of keys that are wrapped.
    fn forget_keys(&self) -> Result<(), CustodyError> {
        for (path, _) in PLACES {
            if self.read(path, MAX_CONFIG)?.is_some() {
                self.disk.remove(path).map_err(CustodyError::io(path))?;
            }
        }
        self.disk.sync_dir("keys").map_err(CustodyError::io("keys"))
    }

    /// Whether there is anything here that a token wrapped, or is to wrap.
    pub(super) fn is_of_a_token(&self) -> Result<bool, CustodyError> {
        Ok(self.read(TOKEN, MAX_CONFIG)?.is_some() || self.read(WRAPPED, MAX_WRAPPED)?.is_some())
    }

    fn wrapped_keys(&self) -> Result<Option<WrappedFile>, CustodyError> {
        let Some(bytes) = self.read(WRAPPED, MAX_WRAPPED)? else { return Ok(None) };
        let damaged = |why: String| CustodyError::damaged(WRAPPED, why);
        let file: WrappedFile =
            serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if file.format != WRAPPED_FORMAT || file.kem.0.len() != KEM_PUBLIC_LEN {
            return Err(damaged("it is of another format".to_owned()));
        }
        Ok(Some(file))
    }

    /// The public halves, without the token.
    pub(super) fn publics(&self) -> Result<Publics, CustodyError> {
        if let Some(file) = self.wrapped_keys()? {
            let (signing, recipient, kem) = (file.signing, file.recipient.0, file.kem.0);
            return Ok(Publics { signing, recipient, kem });
        }
        let seed = |(path, purpose)| self.key_in_file(path, purpose);
        let keys = [seed(PLACES[0])?, seed(PLACES[1])?, seed(PLACES[2])?];
        Ok(self.publics_of([&keys[0], &keys[1], &keys[2]]))
    }

    /// The public halves of signing, recipient and KEM key.
    fn publics_of(&self, [signing, recipient, kem]: [&[u8; 32]; 3]) -> Publics {
        Publics {
            signing: StatementKey::from_seed(self.algorithm, signing).public(),
            recipient: OneTimeSecret::from_bytes(recipient).public().as_bytes().to_vec(),
            kem: KemSecret::from_bytes(kem).public().as_bytes().to_vec(),
        }
    }

    /// A secret key of this home, from the token if that wrapped it.
    pub(super) fn key(
        &self,
        path: &str,
        purpose: Purpose,
    ) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        let place = PLACES.iter().position(|(wrapped, _)| *wrapped == path);
        let Some((place, file)) = place.zip(self.wrapped_keys()?) else {
            return self.key_in_file(path, purpose);
        };
        let key = self.token_key()?.ok_or_else(|| CustodyError::damaged(TOKEN, "it is missing"))?;
        let token = self.token(&key)?;
        let publics = self.publics()?;
        let plain = file.secret.open(token.as_ref(), &publics.context());
        let plain = plain.map_err(|e| CustodyError::refused(format!("{WRAPPED}: {e}")))?;
        let mut out = Zeroizing::new([0; 32]);
        let part = plain.get(place * 32..place * 32 + 32).filter(|_| plain.len() == 96);
        let part = part.ok_or_else(|| CustodyError::damaged(WRAPPED, "it holds no three keys"))?;
        out.copy_from_slice(part);
        Ok(out)
    }
}
