//! Tokens behind PKCS#11: the one place that knows of modules, slots, sessions and PINs.
//!
//! A token has one AES-256 key for a custodian's home, made in the token, sensitive and never
//! extractable; both is checked each time the key is used for the first time, since a key that was
//! put into the token from outside, or that can be taken out, protects nothing. It encrypts and
//! decrypts ([`seawall_escrow::WrappingKey`]); the arithmetic of escrow groups is nothing that
//! tokens do, so an unwrapped share is in this process's memory while it answers.
//!
//! **A PIN is never burnt.** Tokens lock after a few wrong PINs, and a service that is started
//! again and again with a wrong one would lock it within a second. A PIN that nobody types is
//! therefore tried only while the token says that none was wrong before.
//!
//! The module is loaded from an absolute path that a person or their service gave, never from a
//! file that was handed over: to load a library is to run it. It stays loaded until the process
//! ends; modules that are unloaded take their threads and exit handlers with them.
//!
//! Rejected: `C_WrapKey` (see [`seawall_escrow::WrappingKey`]), and no PIN in memory: then a token
//! that was pulled out and put back would need a person for every answer.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use seawall_base::Rng as _;
use seawall_escrow::{IV_LEN, KEY_ID_LEN, TokenKey, WrapError, WrappingKey};
use seawall_host::OsRng;
use zeroize::{Zeroize as _, Zeroizing};

/// Modules that were loaded, for as long as the process lives: see above.
static LOADED: Mutex<Vec<Pkcs11>> = Mutex::new(Vec::new());

/// Bits of the tag of AES-GCM.
const TAG_BITS: u64 = 128;

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A path that could mean several files.
    #[error("{0} is no absolute path; name the whole path of the token's PKCS#11 module")]
    RelativeModule(PathBuf),
    /// The module.
    #[error(
        "cannot use {path} as a PKCS#11 module: {why}; name the library of the token's maker \
         (SoftHSM: /usr/lib/softhsm/libsofthsm2.so), and see that its own configuration is found"
    )]
    Module {
        /// Its path.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No token of that name.
    #[error(
        "no token {label:?} is there (there is: {there}); plug it in, or name another; if it is \
         lost, so is what it wrapped: have the share repaired (seawall group repair)"
    )]
    Absent {
        /// The label.
        label: String,
        /// Those that are there.
        there: String,
    },
    /// Another token of the same name.
    #[error(
        "the token {label:?} that is there has the serial number {found:?}; the one with the key \
         has {wanted:?}: plug that one in"
    )]
    OtherToken {
        /// The label.
        label: String,
        /// The serial number of the right one.
        wanted: String,
        /// That of those that are there.
        found: String,
    },
    /// Several tokens of the same name.
    #[error("several tokens are called {label:?} (serial numbers {serials}); leave one plugged in")]
    Several {
        /// The label.
        label: String,
        /// Their serial numbers.
        serials: String,
    },
    /// The token has no AES-GCM.
    #[error("the token {0:?} has no AES-GCM (CKM_AES_GCM); use another token")]
    NoMechanism(String),
    /// No PIN was given.
    #[error("{0}")]
    NoPin(String),
    /// The PIN was wrong.
    #[error("the PIN of the token {label:?} is wrong{hint}")]
    WrongPin {
        /// The label.
        label: String,
        /// How many tries are left, as far as the token says.
        hint: &'static str,
    },
    /// A PIN that nobody typed is not risked.
    #[error(
        "the token {0:?} says that a wrong PIN was entered since it was last used, so the PIN from \
         file or environment is not tried: a few more wrong ones would lock it. Put the PIN right, \
         then enter it once at a terminal: seawall custodian token"
    )]
    NotRisked(String),
    /// Locked.
    #[error(
        "the PIN of the token {0:?} is locked after too many wrong ones; its security officer can \
         set a new one with the tools of the token's maker, and nothing in it is lost"
    )]
    Locked(String),
    /// The key is not there.
    #[error(
        "{0} is not there any more; without a backup of the token, what it wrapped is lost: have \
         the share repaired (seawall group repair)"
    )]
    KeyGone(Box<TokenKey>),
    /// The key protects nothing.
    #[error(
        "{key} {why}: it protects nothing and is not used; find out who put it there, and have the \
         share repaired into a new home (seawall group repair)"
    )]
    WeakKey {
        /// The key.
        key: Box<TokenKey>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What the module answered.
    #[error("the token {label:?} cannot {what}: {source}; unplug it and try again")]
    Failed {
        /// The label.
        label: String,
        /// What was asked of it.
        what: &'static str,
        /// The answer.
        source: Error,
    },
}

/// What a token says about its PIN before it is given one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinState {
    /// None was wrong since it was last used.
    Good,
    /// One was (`CKF_USER_PIN_COUNT_LOW`).
    SomeWrong,
    /// One more wrong PIN locks it (`CKF_USER_PIN_FINAL_TRY`).
    LastTry,
    /// It is locked (`CKF_USER_PIN_LOCKED`).
    Locked,
}

impl PinState {
    const fn of(low: bool, last: bool, locked: bool) -> Self {
        match (locked, last, low) {
            (true, ..) => Self::Locked,
            (_, true, _) => Self::LastTry,
            (.., true) => Self::SomeWrong,
            _ => Self::Good,
        }
    }

    fn of_token(info: &TokenInfo) -> Self {
        let (low, last) = (info.user_pin_count_low(), info.user_pin_final_try());
        Self::of(low, last, info.user_pin_locked())
    }

    /// Whether a PIN may be tried, typed by a person or not.
    fn allows(self, is_typed: bool, label: &str) -> Result<(), TokenError> {
        match self {
            Self::Locked => Err(TokenError::Locked(label.to_owned())),
            Self::SomeWrong | Self::LastTry if !is_typed => {
                Err(TokenError::NotRisked(label.to_owned()))
            }
            _ => Ok(()),
        }
    }

    const fn after_a_wrong_one(self) -> &'static str {
        match self {
            Self::Good => "; enter the right one",
            Self::SomeWrong => "; after a few more wrong ones the token locks itself",
            Self::LastTry => "; ONE MORE WRONG PIN LOCKS THE TOKEN",
            Self::Locked => ", and now it is locked: its security officer can set a new one",
        }
    }
}

/// A token's PIN.
pub struct TokenPin {
    text: AuthPin,
    is_typed: bool,
}

impl TokenPin {
    /// One that a person has just typed.
    pub fn typed(pin: Zeroizing<Vec<u8>>) -> Result<Self, TokenError> {
        Self::new(pin, true)
    }

    /// One from a file or the environment.
    pub fn unattended(pin: Zeroizing<Vec<u8>>) -> Result<Self, TokenError> {
        Self::new(pin, false)
    }

    fn new(mut pin: Zeroizing<Vec<u8>>, is_typed: bool) -> Result<Self, TokenError> {
        let text = String::from_utf8(std::mem::take(&mut *pin)).map_err(|e| {
            e.into_bytes().zeroize();
            TokenError::NoPin("a PIN is UTF-8; this is not".to_owned())
        })?;
        if text.is_empty() {
            return Err(TokenError::NoPin("the PIN is empty".to_owned()));
        }
        Ok(Self { text: AuthPin::from(text), is_typed })
    }
}

/// Asks for the PIN of the token with this label.
pub type AskPin<'a> = dyn FnMut(&str, PinState) -> Result<TokenPin, TokenError> + 'a;

/// A key in a token, its user logged in.
pub struct Token {
    name: TokenKey,
    module: Pkcs11,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Gone once it was wrong: it is not tried again.
    pin: Option<AuthPin>,
    open: Option<(Session, ObjectHandle)>,
}

impl Token {
    /// Opens a key that is there.
    pub fn open(module: &Path, name: &TokenKey, ask: &mut AskPin<'_>) -> Result<Self, TokenError> {
        let module = load(module)?;
        let (slot, info) = find(&module, &name.label, Some(&name.serial))?;
        let (session, pin) = log_in(&module, slot, &info, false, ask)?;
        let key = find_key(&session, name)?;
        let inner = Inner { pin: Some(pin), open: Some((session, key)) };
        Ok(Self { name: name.clone(), module, inner: Mutex::new(inner) })
    }

    /// Makes a key in the token with this label; `owner` goes into the key's label, for people
    /// who look into the token.
    pub fn make(
        module: &Path,
        label: &str,
        owner: &str,
        ask: &mut AskPin<'_>,
    ) -> Result<Self, TokenError> {
        let module = load(module)?;
        let (slot, info) = find(&module, label, None)?;
        let failed = |what| failed(label, what);
        let mechanisms = module.get_mechanism_list(slot).map_err(failed("list what it can do"))?;
        if !mechanisms.contains(&MechanismType::AES_GCM) {
            return Err(TokenError::NoMechanism(label.to_owned()));
        }
        let (session, pin) = log_in(&module, slot, &info, true, ask)?;
        let mut id = [0; KEY_ID_LEN];
        OsRng.fill(&mut id);
        let serial = info.serial_number().to_owned();
        let name = TokenKey { label: label.to_owned(), serial, key: id };
        let made = session.generate_key(&Mechanism::AesKeyGen, &template(&id, owner));
        made.map_err(failed("make an AES-256 key"))?;
        let key = find_key(&session, &name)?;
        let inner = Inner { pin: Some(pin), open: Some((session, key)) };
        Ok(Self { name, module, inner: Mutex::new(inner) })
    }

    /// Works with the key; opens the session again if it was lost.
    fn with<T>(
        &self,
        what: &'static str,
        work: impl Fn(&Session, ObjectHandle) -> Result<T, Error>,
    ) -> Result<Result<T, Error>, TokenError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_fresh = inner.open.is_none();
        if is_fresh {
            self.open_again(&mut inner)?;
        }
        let done = match &inner.open {
            Some((session, key)) => work(session, *key),
            None => Err(Error::PinNotSet),
        };
        match done {
            Err(e) if is_lost(&e) => inner.open = None,
            done => return Ok(done),
        }
        if is_fresh {
            return Ok(Err(Error::Pkcs11(
                RvError::DeviceError,
                cryptoki::context::Function::Login,
            )));
        }
        self.open_again(&mut inner)?;
        match &inner.open {
            Some((session, key)) => Ok(work(session, *key)),
            None => Err(failed(&self.name.label, what)(Error::PinNotSet)),
        }
    }

    fn open_again(&self, inner: &mut Inner) -> Result<(), TokenError> {
        let label = &self.name.label;
        let (slot, info) = find(&self.module, label, Some(&self.name.serial))?;
        let pin = inner.pin.clone();
        let mut ask = |label: &str, _| {
            let text = pin.clone().ok_or_else(|| TokenError::NotRisked(label.to_owned()))?;
            Ok(TokenPin { text, is_typed: false })
        };
        let session = match log_in(&self.module, slot, &info, false, &mut ask) {
            Ok((session, _)) => session,
            Err(e) => {
                if matches!(e, TokenError::WrongPin { .. } | TokenError::Locked(_)) {
                    inner.pin = None;
                }
                return Err(e);
            }
        };
        let key = find_key(&session, &self.name)?;
        inner.open = Some((session, key));
        Ok(())
    }
}

impl WrappingKey for Token {
    fn name(&self) -> &TokenKey {
        &self.name
    }

    fn wrap(&self, iv: &[u8; IV_LEN], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, WrapError> {
        let what = "wrap";
        let done = self.with(what, |session, key| {
            let mut iv = *iv;
            session.encrypt(&gcm(&mut iv, aad)?, key, plain)
        });
        let done = done.and_then(|done| done.map_err(failed(&self.name.label, what)));
        done.map_err(|e| WrapError::Token(e.to_string()))
    }

    fn unwrap(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let what = "unwrap";
        let trouble = |e: TokenError| WrapError::Token(e.to_string());
        let unwrap = || {
            self.with(what, |session, key| {
                let mut iv = *iv;
                session.decrypt(&gcm(&mut iv, aad)?, key, sealed).map(Zeroizing::new)
            })
        };
        let works = || matches!(self.with(what, self_test), Ok(Ok(())));
        match judged(unwrap, works).map_err(trouble)? {
            Judged::Plain(plain) => Ok(plain),
            Judged::Mismatch => Err(WrapError::Mismatch(Box::new(self.name.clone()))),
            Judged::Trouble(e) => Err(trouble(failed(&self.name.label, what)(e))),
        }
    }
}

/// What unwrapping came to.
#[derive(Debug)]
enum Judged<T> {
    /// It opens.
    Plain(T),
    /// The key works, and this does not open with it.
    Mismatch,
    /// The token did not do its work.
    Trouble(Error),
}

/// Unwraps, and tells a mismatch, which is final, from a token's passing trouble.
///
/// Modules do not agree on how they say "the tag is wrong", and some say only that it failed, as
/// they do of any hiccup. So the key must work, and what failed must fail once more after that.
fn judged<T>(
    mut unwrap: impl FnMut() -> Result<Result<T, Error>, TokenError>,
    works: impl FnOnce() -> bool,
) -> Result<Judged<T>, TokenError> {
    let first = match unwrap()? {
        Ok(plain) => return Ok(Judged::Plain(plain)),
        Err(e) => e,
    };
    if !may_mean_mismatch(&first) || !works() {
        return Ok(Judged::Trouble(first));
    }
    Ok(match unwrap()? {
        Ok(plain) => Judged::Plain(plain),
        Err(e) if may_mean_mismatch(&e) => Judged::Mismatch,
        Err(e) => Judged::Trouble(e),
    })
}

fn failed(label: &str, what: &'static str) -> impl FnOnce(Error) -> TokenError + Copy {
    move |source| TokenError::Failed { label: label.to_owned(), what, source }
}

fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    if !path.is_absolute() {
        return Err(TokenError::RelativeModule(path.to_owned()));
    }
    let unusable = |e: &Error| TokenError::Module { path: path.to_owned(), why: e.to_string() };
    let module = Pkcs11::new(path).map_err(|e| unusable(&e))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(e) => return Err(unusable(&e)),
    }
    LOADED.lock().unwrap_or_else(PoisonError::into_inner).push(module.clone());
    Ok(module)
}

fn find(
    module: &Pkcs11,
    label: &str,
    serial: Option<&str>,
) -> Result<(Slot, TokenInfo), TokenError> {
    let failed = |what| failed(label, what);
    let slots = module.get_slots_with_initialized_token().map_err(failed("be looked for"))?;
    let mut found = Vec::new();
    let mut there = Vec::new();
    for slot in slots {
        // One that was pulled out meanwhile is not there.
        let Ok(info) = module.get_token_info(slot) else { continue };
        there.push(format!("{:?} with serial number {:?}", info.label(), info.serial_number()));
        if info.label() == label {
            found.push((slot, info));
        }
    }
    if found.is_empty() {
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        return Err(TokenError::Absent { label: label.to_owned(), there });
    }
    let serials: Vec<_> = found.iter().map(|(_, i)| i.serial_number().to_owned()).collect();
    let serials = serials.join(", ");
    if let Some(wanted) = serial {
        let right = found.into_iter().find(|(_, info)| info.serial_number() == wanted);
        let (label, wanted) = (label.to_owned(), wanted.to_owned());
        return right.ok_or(TokenError::OtherToken { label, wanted, found: serials });
    }
    match <[_; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(_) => Err(TokenError::Several { label: label.to_owned(), serials }),
    }
}

fn log_in(
    module: &Pkcs11,
    slot: Slot,
    info: &TokenInfo,
    for_writing: bool,
    ask: &mut AskPin<'_>,
) -> Result<(Session, AuthPin), TokenError> {
    let label = info.label();
    let failed = |what| failed(label, what);
    let session =
        if for_writing { module.open_rw_session(slot) } else { module.open_ro_session(slot) };
    let session = session.map_err(failed("open a session"))?;
    let state = PinState::of_token(info);
    state.allows(true, label)?;
    let pin = ask(label, state)?;
    state.allows(pin.is_typed, label)?;
    match session.login(UserType::User, Some(&pin.text)) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok((session, pin.text)),
        Err(Error::Pkcs11(RvError::PinLocked, _)) => Err(TokenError::Locked(label.to_owned())),
        Err(Error::Pkcs11(
            RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
            _,
        )) => {
            let now = module.get_token_info(slot);
            let state = now.map_or(PinState::SomeWrong, |info| PinState::of_token(&info));
            Err(TokenError::WrongPin { label: label.to_owned(), hint: state.after_a_wrong_one() })
        }
        Err(e) => Err(failed("take the PIN")(e)),
    }
}

fn template(id: &[u8], owner: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::ValueLen(32.into()),
        Attribute::Id(id.to_vec()),
        Attribute::Label(format!("seawall {owner}").into_bytes()),
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
    ]
}

/// The key, if it is what [`Token::make`] makes.
fn find_key(session: &Session, name: &TokenKey) -> Result<ObjectHandle, TokenError> {
    let failed = |what| failed(&name.label, what);
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Id(name.key.to_vec()),
    ];
    let found = session.find_objects(&template).map_err(failed("be searched for the key"))?;
    let key = match found[..] {
        [] => return Err(TokenError::KeyGone(Box::new(name.clone()))),
        [key] => key,
        _ => {
            return Err(TokenError::WeakKey {
                key: Box::new(name.clone()),
                why: "is there several times",
            });
        }
    };
    let wanted = [
        (AttributeType::Local, true, "was not made in the token"),
        (AttributeType::Sensitive, true, "can be read out"),
        (AttributeType::AlwaysSensitive, true, "could be read out before"),
        (AttributeType::Extractable, false, "can be taken out"),
        (AttributeType::NeverExtractable, true, "could be taken out before"),
    ];
    let types: Vec<_> = wanted.iter().map(|(kind, ..)| *kind).collect();
    let found = session.get_attributes(key, &types).map_err(failed("describe the key"))?;
    for (kind, value, why) in wanted {
        let is = found.iter().find(|it| it.attribute_type() == kind).and_then(truth);
        if is != Some(value) {
            return Err(TokenError::WeakKey { key: Box::new(name.clone()), why });
        }
    }
    Ok(key)
}

const fn truth(attribute: &Attribute) -> Option<bool> {
    match attribute {
        Attribute::Local(is)
        | Attribute::Sensitive(is)
        | Attribute::AlwaysSensitive(is)
        | Attribute::Extractable(is)
        | Attribute::NeverExtractable(is) => Some(*is),
        _ => None,
    }
}

fn gcm<'a>(iv: &'a mut [u8], aad: &'a [u8]) -> Result<Mechanism<'a>, Error> {
    Ok(Mechanism::AesGcm(GcmParams::new(iv, aad, TAG_BITS.into())?))
}

fn self_test(session: &Session, key: ObjectHandle) -> Result<(), Error> {
    let mut iv = [0; IV_LEN];
    OsRng.fill(&mut iv);
    let sealed = session.encrypt(&gcm(&mut iv.clone(), b"")?, key, &[0; 16])?;
    session.decrypt(&gcm(&mut iv, b"")?, key, &sealed).map(|_| ())
}

/// Whether the token, the session or the login went away under the key.
const fn is_lost(e: &Error) -> bool {
    matches!(
        e,
        Error::Pkcs11(
            RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::DeviceRemoved
                | RvError::TokenNotPresent
                | RvError::UserNotLoggedIn
                | RvError::KeyHandleInvalid
                | RvError::ObjectHandleInvalid,
            _
        )
    )
}

/// `CKR_AEAD_DECRYPT_FAILED` of PKCS#11 v3.0.
const AEAD_DECRYPT_FAILED: u64 = 0x35;

fn may_mean_mismatch(e: &Error) -> bool {
    match e {
        Error::Pkcs11(RvError::UnknownErrorCode(code), _) => *code == AEAD_DECRYPT_FAILED,
        Error::Pkcs11(e, _) => matches!(
            e,
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::GeneralError
                | RvError::FunctionFailed
                | RvError::DataInvalid
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_that_nobody_types_is_never_the_one_that_locks_a_token() {
        let states = [
            (PinState::of(false, false, false), PinState::Good, true, true),
            (PinState::of(true, false, false), PinState::SomeWrong, true, false),
            (PinState::of(true, true, false), PinState::LastTry, true, false),
            (PinState::of(true, true, true), PinState::Locked, false, false),
        ];
        for (found, expected, typed, unattended) in states {
            assert_eq!(found, expected);
            assert_eq!(found.allows(true, "t").is_ok(), typed, "{found:?}");
            assert_eq!(found.allows(false, "t").is_ok(), unattended, "{found:?}");
        }
        let locked = PinState::Locked.allows(true, "t").expect_err("locked").to_string();
        assert!(locked.contains("security officer"), "{locked}");
        assert!(PinState::LastTry.after_a_wrong_one().contains("ONE MORE"));
    }

    #[test]
    fn a_tokens_passing_trouble_is_no_mismatch() {
        let error = |code| Error::Pkcs11(code, cryptoki::context::Function::Decrypt);
        let hiccup = || Err(error(RvError::FunctionFailed));
        let tag = || Err(error(RvError::EncryptedDataInvalid));
        let gone = || Err(error(RvError::DeviceRemoved));
        let judge = |answers: Vec<Result<u8, Error>>, works: bool| {
            let mut answers = answers.into_iter();
            let judged = judged(|| Ok(answers.next().expect("asked too often")), || works);
            (judged.expect("reached"), answers.count())
        };
        assert!(matches!(judge(vec![Ok(7)], false), (Judged::Plain(7), 0)));
        // It has passed by the time the key is tried: what it was given opens.
        assert!(matches!(judge(vec![hiccup(), Ok(7)], true), (Judged::Plain(7), 0)));
        for (first, second) in [(tag(), tag()), (hiccup(), hiccup()), (hiccup(), tag())] {
            assert!(matches!(judge(vec![first, second], true), (Judged::Mismatch, 0)));
        }
        assert!(matches!(judge(vec![tag(), gone()], true), (Judged::Trouble(_), 0)));
        assert!(matches!(judge(vec![tag(), tag()], false), (Judged::Trouble(_), 1)));
        assert!(matches!(judge(vec![gone(), Ok(7)], true), (Judged::Trouble(_), 1)));
    }

    #[test]
    fn a_module_is_named_whole_and_is_one() {
        let load = |path: &str| load(Path::new(path)).expect_err("refused").to_string();
        assert!(load("libsofthsm2.so").contains("absolute"));
        assert!(load("/nowhere/module.so").contains("cannot use /nowhere/module.so"));
        let own = std::env::current_exe().expect("a path");
        assert!(load(own.to_str().expect("UTF-8")).contains("PKCS#11 module"));
    }

    #[test]
    fn pins_are_text() {
        let pin = |bytes: &[u8]| TokenPin::unattended(Zeroizing::new(bytes.to_vec())).is_ok();
        assert!(pin(b"1234") && !pin(b"") && !pin(b"\xff"));
    }
}
