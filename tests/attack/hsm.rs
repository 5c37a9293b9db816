//! A custodian's disk is stolen, and its token is not.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::wire::Writer;
use serde_json::{Value, json};

use super::stopped;
use crate::harness::{arg, copy, run, said};
use crate::hsm::{Guarded, Hsm};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

/// Writes a share file with the checksum that its fields have, as a thief would.
fn forge(path: &Path, file: &mut Value) {
    let text = |name: &str| file[name].as_str().expect("text").to_owned();
    let number = |name: &str| file[name].as_u64().expect("a number") as u32;
    let id = |name: &str| hex::decode(text(name).split_once(':').expect("an id").1).expect("hex");
    let token = &file["token"];
    let of_token = |name: &str| token[name].as_str().expect("text");
    let mut w = Writer::new();
    w.bytes(text("format").as_bytes()).raw(&id("fleet")).raw(&id("group"));
    w.bytes(text("class").as_bytes());
    for name in ["index", "threshold", "members"] {
        w.u16(number(name) as u16);
    }
    w.u32(number("share_epoch"));
    w.bytes(text("custodian").as_bytes()).bytes(text("signing_key").as_bytes());
    for name in ["mechanism", "label", "serial"] {
        w.bytes(of_token(name).as_bytes());
    }
    w.raw(&hex::decode(of_token("key")).expect("hex"));
    w.raw(&BASE64.decode(of_token("iv")).expect("base64"));
    w.raw(&BASE64.decode(text("sealed")).expect("base64"));
    let sum = blake3::derive_key("seawall 2026-11 share file checksum v1", &w.into_vec());
    file["checksum"] = json!(hex::encode(sum));
    std::fs::write(path, file.to_string()).expect("written");
}

#[test]
fn a_custodians_disk_without_its_token() {
    let it = Guarded::new();
    let request = it.request();
    let stolen = it.fleet.path("stolen");
    copy(&it.home(), &stolen);
    // No file of the home is a key that signs, receives or opens; what is left serves TLS and
    // cosignatures.
    let mut keys: Vec<_> = std::fs::read_dir(stolen.join("keys"))
        .expect("keys")
        .map(|e| e.expect("readable").file_name().into_string().expect("UTF-8"))
        .collect();
    keys.sort();
    assert_eq!(keys, ["transport.key", "witness.key", "wrapped.json"]);
    let share = stolen.join("shares").join(it.share().file_name().expect("a name"));
    let approve = it.approve(&request, &share);
    // The thief has the passphrase that was, and SoftHSM without the token.
    let said_no = run(&stolen, &approve).code(1);
    stopped(&said_no.says(&["this needs key"]).stderr);
    let thief = Hsm::new(it.fleet.path("thief"));
    let args: Vec<_> = approve.iter().map(String::as_str).collect();
    let said_no = thief.run(&stolen, &args).code(1);
    said_no.says(&["no token \"anna\""]);
    // Nor can it take part in a ceremony, which would give it the share again.
    let (mine, eves) = (it.fleet.path("anna.json"), it.fleet.path("eve.json"));
    let card = ["custodian", "card", "--out", arg(&mine)];
    run(&stolen, &card).code(1).says(&["this needs key"]);
    it.hsm.run(&it.home(), &card).ok();
    let init = ["custodian", "init", "--name", "eve", "--out", arg(&eves)];
    run(&it.fleet.path("eve"), &init).ok();
    let folder = it.fleet.path("folder");
    let begin = ["group", "begin", arg(&folder), "--threshold", "2", "--reason", "x"];
    let begin = [&begin[..], &["--card", arg(&mine), "--card", arg(&eves)]].concat();
    run(&it.fleet.path("eve"), &begin).ok();
    let said_no = run(&stolen, &["group", "step", arg(&folder), "--yes"]).code(1);
    stopped(&said_no.stderr);
    said_no.says(&["this needs key", "\"anna\""]);
}

#[test]
fn another_token_of_the_same_name_and_pin() {
    let it = Guarded::new();
    let (request, share) = (it.request(), it.share());
    let twin = Hsm::new(it.fleet.path("twin"));
    twin.token("anna");
    let approve = it.approve(&request, &share);
    let args: Vec<_> = approve.iter().map(String::as_str).collect();
    let said_no = twin.run(&it.home(), &args).code(1);
    stopped(&said_no.stderr);
    said_no.says(&["serial number"]);
    // The file is made to name the twin, and a key that is there.
    let made = ["custodian", "init", "--name", "eve", "--token-label", "anna"];
    let eve = it.fleet.path("eve");
    twin.run(&eve, &made).ok();
    let key = read(&eve.join("token.json"));
    let mut file = read(&share);
    for name in ["serial", "key"] {
        file["token"][name] = key[name].clone();
    }
    forge(&share, &mut file);
    let said_no = twin.run(&it.home(), &args).code(1);
    stopped(&said_no.stderr);
    said_no.says(&["works, and what it was given does not open"]);
}

#[test]
fn a_wrapped_shares_public_fields_are_changed() {
    let it = Guarded::new();
    let (request, share) = (it.request(), it.share());
    let approve = it.approve(&request, &share);
    let args: Vec<_> = approve.iter().map(String::as_str).collect();
    let good = read(&share);
    let changes: [(&str, Value); 4] = [
        ("index", json!(2)),
        ("share_epoch", json!(1)),
        ("custodian", json!("somebody else")),
        ("threshold", json!(1)),
    ];
    for (field, value) in changes {
        // By accident: the checksum finds it. On purpose, with a new checksum: the token does.
        let mut file = good.clone();
        file[field] = value;
        std::fs::write(&share, file.to_string()).expect("written");
        it.hsm.run(&it.home(), &args).code(1).says(&["checksum does not match"]);
        forge(&share, &mut file);
        let said_no = it.hsm.run(&it.home(), &args).code(1);
        stopped(&said_no.stderr);
        said_no.says(&["works, and what it was given does not open"]);
    }
    // To name a module in the file is no way to have it loaded.
    let mut file = good.clone();
    file["token"]["module"] = json!("/tmp/evil.so");
    std::fs::write(&share, file.to_string()).expect("written");
    let said_no = it.hsm.run(&it.home(), &args).code(1);
    stopped(&said_no.stderr);
    std::fs::write(&share, good.to_string()).expect("written");
    said(it.hsm.seawall(&it.home()).args(&args)).ok();
}
