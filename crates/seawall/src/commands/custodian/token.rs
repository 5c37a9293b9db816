//! `seawall custodian wrap | token`, and reaching a token for every other command.

use std::io::{IsTerminal as _, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use seawall_custodian::{
    AskPassphrase, CustodianHome, CustodyError, PinState, Token, TokenError, TokenPin,
};
use seawall_escrow::{ShareFile, ShareSecret, TokenKey, WrappingKey};
use seawall_host::OsRng;
use serde_json::json;
use zeroize::Zeroizing;

use super::asking;
use crate::cli::{TokenArgs, TokenCommand};
use crate::output::{Outcome, Printer, Usage, passphrase};

/// Far longer than any PIN.
const MAX_PIN: u64 = 256;

pub(super) fn run(
    command: &TokenCommand,
    home: &CustodianHome,
    args: &TokenArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        TokenCommand::Wrap { token_label } => {
            let mut unanswered = None;
            let wrapped = wrap(home, token_label, args, &mut asking(&mut unanswered), printer);
            unanswered.map_or(wrapped, Err)
        }
        TokenCommand::Token => show(home, printer),
    }
}

/// A home whose token is reached when it is needed.
pub(crate) fn open_home(
    path: &Path,
    args: &TokenArgs,
    printer: &Printer,
) -> anyhow::Result<CustodianHome> {
    Ok(reaching(CustodianHome::open(path)?, args, printer))
}

/// The same home, reaching its token when it is needed.
pub(crate) fn reaching(home: CustodianHome, args: &TokenArgs, printer: &Printer) -> CustodianHome {
    let (args, printer) = (args.clone(), *printer);
    home.with_token(Box::new(move |key| open(&args, key, &printer)))
}

/// Opens a key in its token.
fn open(
    args: &TokenArgs,
    key: &TokenKey,
    printer: &Printer,
) -> Result<Arc<dyn WrappingKey>, CustodyError> {
    let module = args.module.as_deref().ok_or_else(|| {
        CustodyError::Refused(format!(
            "this needs {key}: plug it in, and name its PKCS#11 module with --module or SEAWALL_PKCS11_MODULE"
        ))
    })?;
    let mut ask = |label: &str, state| pin(args, label, state, printer);
    Ok(Arc::new(Token::open(module, key, &mut ask)?))
}

/// Opens a share file with the token that wrapped it, or with its passphrase.
pub(crate) fn secret_of(
    file: &ShareFile,
    args: &TokenArgs,
    printer: &Printer,
) -> anyhow::Result<ShareSecret> {
    if let Some(key) = file.token() {
        return Ok(file.unwrap_with(open(args, key, printer)?.as_ref())?);
    }
    let prompt = format!("Passphrase for the share of {}", file.public().custodian);
    Ok(file.open(&passphrase(&prompt, false)?)?)
}

/// The key of `label` that wraps `home`: the one it has there, or a new one.
pub(super) fn key_for(
    home: Option<&CustodianHome>,
    name: &str,
    label: &str,
    args: &TokenArgs,
    printer: &Printer,
) -> anyhow::Result<Arc<dyn WrappingKey>> {
    let there = home.map(CustodianHome::token_key).transpose()?.flatten();
    if let Some(key) = there {
        anyhow::ensure!(
            key.label == label,
            "this home is wrapped by {key} already; to change tokens, have the share repaired into a new home"
        );
        return Ok(open(args, &key, printer)?);
    }
    let module = args.module.as_deref();
    let module = module.ok_or_else(|| {
        Usage(
            "--module names the token's PKCS#11 module, such as /usr/lib/softhsm/libsofthsm2.so"
                .to_owned(),
        )
    })?;
    let mut ask = |label: &str, state| pin(args, label, state, printer);
    Ok(Arc::new(Token::make(module, label, name, &mut ask)?))
}

/// What a token does not take back of what was there before.
pub(super) const OLD_COPIES: &str = "older copies of the share and of its home still open as before: a refresh (seawall group refresh) makes the share in them worthless, but their signing key stays good until the fleet's policy has another, and their post-quantum key for every snapshot sealed until then; if such a copy may be in other hands, have the share repaired into a new home (seawall group repair)";

fn wrap(
    home: &CustodianHome,
    label: &str,
    args: &TokenArgs,
    ask: &mut AskPassphrase<'_>,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let token = key_for(Some(home), home.name(), label, args, printer)?;
    let name = token.name().clone();
    let moved = home.move_into(token, ask, &mut OsRng)?;
    let mut lines = vec![format!("{} is wrapped by {name}", home.name())];
    lines.extend(moved.shares.iter().map(|share| format!("{share} is wrapped now")));
    if moved.keys {
        lines.push(OLD_COPIES.to_owned());
    }
    lines.extend(moved.left.iter().map(|(share, why)| {
        format!("{share} is NOT wrapped ({why}): it opens as before, and holds the signing key of this home; wrap again with its passphrase, or delete it")
    }));
    let left: Vec<_> =
        moved.left.iter().map(|(share, why)| json!({ "file": share, "why": why })).collect();
    let value = json!({
        "token": described(&name), "shares": moved.shares, "keys": moved.keys, "left": left,
    });
    printer.result(&value, &lines.join("\n"))?;
    Ok(if left.is_empty() { Outcome::Done } else { Outcome::Partly })
}

pub(super) fn described(key: &TokenKey) -> serde_json::Value {
    json!({ "label": key.label, "serial": key.serial, "key": hex::encode(key.key) })
}

fn show(home: &CustodianHome, printer: &Printer) -> anyhow::Result<Outcome> {
    let key = home
        .token_key()?
        .context("no token wraps this home's shares; seawall custodian wrap moves it into one")?;
    let token = home.token(&key)?;
    let mut lines = vec![
        format!("token        {}, serial number {}", key.label, key.serial),
        format!("key          {}, made in the token and not to be taken out", hex::encode(key.key)),
    ];
    let (mut shares, mut all) = (Vec::new(), true);
    for (name, share) in home.shares()? {
        let found = tried(&share, token.as_ref());
        all &= found.is_none();
        let words = found.as_deref().unwrap_or("the token unwraps it");
        lines.push(format!("share        shares/{name}: {words}"));
        shares.push(json!({ "file": name, "opens": found.is_none(), "why": found }));
    }
    let mut aside = Vec::new();
    for path in home.shares_aside()? {
        let found = match home.share_aside(&path)? {
            Ok(share) if share.token().is_none() => Some(
                "sealed under a passphrase, and it holds the signing key of this home: seawall custodian wrap has the token wrap it; or delete it".to_owned(),
            ),
            Ok(share) => tried(&share, token.as_ref()),
            Err(e) => Some(format!("{e}; or delete it")),
        };
        all &= found.is_none();
        let words = found.as_deref().unwrap_or("the token unwraps it");
        lines.push(format!("set aside    {path}: {words}"));
        aside.push(json!({ "file": path, "opens": found.is_none(), "why": found }));
    }
    let keys = home.signing().err().map(|e| e.to_string());
    all &= keys.is_none();
    lines.push(format!("keys         {}", keys.as_deref().unwrap_or("the token unwraps them")));
    let value = json!({
        "token": described(&key), "shares": shares, "aside": aside, "keys": keys.is_none(),
    });
    printer.result(&value, &lines.join("\n"))?;
    Ok(if all { Outcome::Done } else { Outcome::Found })
}

/// Why the token does not unwrap a share; nothing if it does.
fn tried(share: &ShareFile, token: &dyn WrappingKey) -> Option<String> {
    share.unwrap_with(token).err().map(|e| e.to_string())
}

/// The PIN: from a person at the terminal if the token has seen a wrong one, else from file,
/// environment or terminal.
fn pin(
    args: &TokenArgs,
    label: &str,
    state: PinState,
    printer: &Printer,
) -> Result<TokenPin, TokenError> {
    let is_terminal = std::io::stdin().is_terminal();
    match state {
        PinState::Good | PinState::Locked => {}
        PinState::SomeWrong => printer.warn(&format!(
            "a wrong PIN was entered for the token {label:?} since it was last used; after a few more it locks itself"
        )),
        PinState::LastTry => printer.warn(&format!(
            "ONE MORE WRONG PIN LOCKS THE TOKEN {label:?}; if you are not sure of it, stop here"
        )),
    }
    if state == PinState::Good || !is_terminal {
        if let Some(path) = &args.pin_file {
            let read = read_pin(path).map_err(|e| TokenError::NoPin(format!("{e:#}")))?;
            return TokenPin::unattended(read);
        }
        if let Some(value) = std::env::var_os("SEAWALL_TOKEN_PIN") {
            return TokenPin::unattended(Zeroizing::new(value.into_encoded_bytes()));
        }
    }
    if !is_terminal {
        let why = "no terminal to ask for the token's PIN; use --pin-file or SEAWALL_TOKEN_PIN";
        return Err(TokenError::NoPin(why.to_owned()));
    }
    let prompt = format!("PIN of the token {label}");
    let typed = dialoguer::Password::new().with_prompt(prompt).interact();
    let typed = typed.map_err(|e| TokenError::NoPin(format!("reading the PIN: {e}")))?;
    TokenPin::typed(Zeroizing::new(typed.into_bytes()))
}

/// The PIN in a file, all bytes up to a final newline. The file must be nobody else's to read.
fn read_pin(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let failed = || format!("cannot read the PIN from {}", path.display());
    let file = std::fs::File::open(path).with_context(failed)?;
    let mode = file.metadata().with_context(failed)?.mode() & 0o777;
    anyhow::ensure!(
        mode & 0o077 == 0,
        "{} holds a PIN and has mode {mode:04o}: others may read it; chmod 600 {}",
        path.display(),
        path.display()
    );
    let mut pin = Zeroizing::new(Vec::with_capacity(MAX_PIN as usize + 1));
    file.take(MAX_PIN + 1).read_to_end(&mut pin).with_context(failed)?;
    anyhow::ensure!(pin.len() as u64 <= MAX_PIN, "{} is too long for a PIN", path.display());
    if pin.last() == Some(&b'\n') {
        pin.pop();
    }
    Ok(pin)
}
