//! Homes whose shares and keys a token wraps: nothing of them is in clear at any time, in no file
//! that was set aside, and not again because a public file is gone.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_custodian::{Ask, CustodianHome, CustodyError, NO_FLEET};
use seawall_escrow::{KdfCost, ShareFile, SharePublic};
use seawall_sign::Algorithm;
use seawall_sim::SeededRng;
use zeroize::Zeroizing;

use crate::soft_key::SoftKey;
use crate::world::{World, custodian_key};

const NAMED: (&str, &str) = ("custodian-1", "anna");

/// A share file under a passphrase, cheaply.
fn sealed(world: &World, fleet: Option<SharePublic>, passphrase: &str) -> ShareFile {
    let (public, secret) = world.share(0, 1);
    let (cost, rng) = (KdfCost { m_kib: 8, t: 1, p: 1 }, &mut SeededRng::new(4));
    let public = fleet.unwrap_or(public);
    ShareFile::seal(public, &secret, passphrase.as_bytes(), cost, rng).expect("sealed")
}

fn asking(passphrase: &str) -> impl FnMut(Ask, &str) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
    move |_, _| Ok(Zeroizing::new(passphrase.as_bytes().to_vec()))
}

/// Every file below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("readable").path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out
}

fn names(dir: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).map(str::to_owned);
    let mut out: Vec<_> = files(dir).iter().filter_map(name).collect();
    out.sort();
    out
}

#[test]
fn what_a_token_is_to_wrap_was_in_no_file_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, token) = (dir.path().join("home"), Arc::new(SoftKey::new("anna")));
    let mut rng = SeededRng::new(1);
    let mut create = |token: &Arc<SoftKey>| {
        CustodianHome::create_wrapped(&path, NAMED, Algorithm::Ed25519, token.clone(), &mut rng)
    };
    // Cut off in the moment of wrapping: no key is there yet that it would have wrapped.
    token.pull_out(true);
    create(&token).err().expect("it cannot wrap");
    assert_eq!(names(&path), ["token.json", "transport.key", "witness.key"]);
    let plain = CustodianHome::create(&path, NAMED.0, NAMED.1, &mut SeededRng::new(2));
    let why = plain.err().expect("it was begun with a token").to_string();
    assert!(why.contains("--token-label"), "{why}");
    assert_eq!(names(&path), ["token.json", "transport.key", "witness.key"]);
    // Gone on with.
    token.pull_out(false);
    let home = create(&token).expect("made");
    let all = ["custodian.json", "token.json", "transport.key", "witness.key", "wrapped.json"];
    assert_eq!(names(&path), all);
    let signing = home.signing().expect("unwrapped");
    assert_eq!(home.signing_public().expect("public"), signing.public());
    home.card(None).expect("signed");
    assert_eq!(home.recipient().expect("unwrapped").public().as_bytes().len(), 1_216);
    // Keys that an earlier attempt left in clear are not taken over, and go.
    let second = dir.path().join("second");
    CustodianHome::create(&second, NAMED.0, NAMED.1, &mut SeededRng::new(3)).expect("made");
    let recipient = std::fs::read(second.join("keys/recipient.key")).expect("in clear");
    std::fs::remove_file(second.join("custodian.json")).expect("cut off before its last file");
    let before = CustodianHome::create_wrapped(
        &second,
        NAMED,
        Algorithm::Ed25519,
        token,
        &mut SeededRng::new(8),
    );
    let home = before.expect("made");
    assert_eq!(names(&second), all);
    let kept: serde_json::Value = serde_json::from_slice(&recipient).expect("JSON");
    let now = BASE64.encode(home.recipient().expect("unwrapped").to_bytes().as_slice());
    assert_ne!(kept["secret"].as_str().expect("text"), now, "another key");
}

#[test]
fn a_share_brought_to_a_new_home_is_wrapped_before_it_is_there() {
    let (world, dir) = (World::new(), tempfile::tempdir().expect("a directory"));
    let (path, token) = (dir.path().join("home"), Arc::new(SoftKey::new("anna")));
    let file = sealed(&world, None, "words");
    let create = || {
        let (given, rng) = ((&file, &b"words"[..]), &mut SeededRng::new(1));
        CustodianHome::create_from_share(&path, "anna", given, Some(token.clone()), rng)
    };
    token.pull_out(true);
    create().err().expect("it cannot wrap");
    assert!(!path.exists(), "nothing was begun");
    token.pull_out(false);
    let home = create().expect("made");
    let shares = home.shares().expect("listed");
    assert_eq!(shares[0].1.token(), Some(&home.token_key().expect("good").expect("one")));
    let secret = shares[0].1.unwrap_with(token.as_ref()).expect("unwraps");
    assert_eq!(*secret.signing_seed, *custodian_key(0, 1).seed());
    assert_eq!(home.signing_public().expect("public"), custodian_key(0, 1).public());
}

#[test]
fn shares_that_were_set_aside_are_wrapped_or_named() {
    let (world, dir) = (World::new(), tempfile::tempdir().expect("a directory"));
    let (path, token) = (dir.path().join("home"), Arc::new(SoftKey::new("anna")));
    let file = sealed(&world, None, "words");
    let given = (&file, &b"words"[..]);
    let home = CustodianHome::create_from_share(&path, "anna", given, None, &mut SeededRng::new(1));
    let home = home.expect("made");
    let aside = |end: &str| path.join(format!("shares/x-0.json.{end}"));
    std::fs::write(aside("left"), file.to_json()).expect("written");
    let other = sealed(&world, None, "forgotten").to_json();
    std::fs::write(aside("abandoned"), &other).expect("written");
    let wrap = |passphrase: &str| {
        home.move_into(token.clone(), &mut asking(passphrase), &mut SeededRng::new(2))
    };
    let moved = wrap("words").expect("moved");
    assert_eq!((moved.shares.len(), moved.keys), (2, true));
    assert_eq!(moved.shares[1], "shares/x-0.json.left");
    let [(left, why)] = &moved.left[..] else { panic!("{moved:?}") };
    assert!(left.ends_with(".abandoned") && why.contains("wrong passphrase"), "{left}: {why}");
    assert_eq!(std::fs::read_to_string(aside("abandoned")).expect("as it was"), other);
    // No file but that one opens with a passphrase, and none has a key in clear.
    let open = files(&path).into_iter().filter(|file| {
        let text = std::fs::read_to_string(file).expect("text");
        text.contains("argon2id")
    });
    assert_eq!(open.collect::<Vec<_>>(), [aside("abandoned")]);
    // Somebody remembers it; and a damaged one is named, too.
    let moved = wrap("forgotten").expect("moved");
    assert_eq!((moved.shares, moved.left), (vec![left.clone()], Vec::new()));
    for end in ["left", "abandoned"] {
        let path = format!("shares/x-0.json.{end}");
        let share = home.share_aside(&path).expect("there").expect("whole");
        share.unwrap_with(token.as_ref()).expect("unwraps");
    }
    std::fs::write(aside("left"), "{}").expect("written");
    let moved = wrap("words").expect("moved");
    assert!(moved.shares.is_empty() && moved.left[0].1.contains("damaged"), "{moved:?}");
}

#[test]
fn a_home_that_lost_the_name_of_its_token_seals_nothing_under_a_passphrase() {
    let (world, dir) = (World::new(), tempfile::tempdir().expect("a directory"));
    let token = Arc::new(SoftKey::new("anna"));
    let (public, secret) = world.share(0, 1);
    let unbound = SharePublic { fleet: NO_FLEET, ..public.clone() };
    let file = sealed(&world, Some(unbound), "words");
    let create = |path: &Path, token| {
        let (given, rng) = ((&file, &b"words"[..]), &mut SeededRng::new(1));
        CustodianHome::create_from_share(path, "anna", given, token, rng).expect("made")
    };
    let path = dir.path().join("home");
    let home = create(&path, Some(token.clone()));
    std::fs::remove_file(path.join("token.json")).expect("deleted");
    let missing = |why: CustodyError| {
        let why = why.to_string();
        assert!(why.contains("token.json is damaged: it is missing"), "{why}");
    };
    missing(home.token_key().expect_err("damaged"));
    let rng = &mut SeededRng::new(3);
    let sealed = home.seal_share(public, &secret, (&mut asking("theirs"), Ask::New), rng);
    missing(sealed.expect_err("not under a passphrase"));
    missing(home.move_into(token.clone(), &mut asking("words"), rng).expect_err("damaged"));
    missing(home.join_confirmed(world.fleet.clone(), &mut asking("theirs"), rng).expect_err("no"));
    let wrapped = home.shares().expect("listed")[0].1.clone();
    assert!(wrapped.token().is_some());
    // Nor where there are keys in clear as well.
    let plain = create(&dir.path().join("plain"), None).with_token(Box::new({
        let token = token.clone();
        move |_| Ok(token.clone())
    }));
    plain.keep_share(&wrapped).expect("kept");
    let joined = plain.join_confirmed(world.fleet.clone(), &mut asking("theirs"), rng);
    missing(joined.expect_err("not under a passphrase"));
    assert!(plain.shares().expect("listed")[0].1.token().is_some(), "as it was");
}
