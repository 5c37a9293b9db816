//! The peers, as their manuals say.
//!
//! Where a program has a choice that costs it time, it is spared: bupstash neither saves extended
//! attributes nor restores owners unless asked, and it is not asked.

use std::path::Path;

use anyhow::Result;

use super::{Name, PASSPHRASE, Place};
use crate::calls::Call;
use crate::tree;

pub(super) fn start(name: Name, place: &Place) -> Result<Vec<Call>> {
    let call = |what: &str| peer(name, place, what);
    Ok(match name {
        Name::Restic => vec![call("init").with(["init"])],
        Name::Rustic => vec![
            call("init").with(["init"]),
            call("config").with(["config", "--set-compression", "3"]),
        ],
        Name::Borg => vec![call("init").with(["init", "--encryption", "repokey-blake2"])],
        Name::Bupstash => vec![
            call("new-key").with(["new-key", "--output"]).with([place.dir.join("key")]),
            call("init").with(["init"]),
        ],
        Name::Vykar => {
            let settings = format!(
                "repositories:\n  - url: \"{}\"\ncompression:\n  algorithm: \"zstd\"\n  \
                 zstd_level: 3\ncache_dir: \"{}\"\n",
                place.repository().display(),
                place.dir.join("home/cache").display(),
            );
            tree::write(&place.dir.join("vykar.yaml"), settings.as_bytes())?;
            vec![call("init").with(["init"])]
        }
        Name::Seawall => Vec::new(),
    })
}

pub(super) fn backup(name: Name, place: &Place, source: &Path, label: &str) -> Call {
    let call = peer(name, place, "backup");
    match name {
        Name::Borg => {
            call.with(["create", "--compression", "zstd,3", &format!("::{label}")]).with([source])
        }
        Name::Bupstash => call
            .with(["put", "--quiet", "--compression", "zstd:3", &format!("label={label}"), "::"])
            .with([source]),
        _ => call.with(["backup"]).with([source]),
    }
}

pub(super) fn restore(name: Name, place: &Place, to: &Path, label: &str) -> Call {
    let call = peer(name, place, "restore");
    match name {
        Name::Restic => call.with(["restore", "latest", "--target"]).with([to]),
        Name::Borg => call.with(["extract", &format!("::{label}")]).within(to),
        Name::Bupstash => {
            call.with(["restore", "--quiet", "--into"]).with([to]).with([format!("label={label}")])
        }
        _ => call.with(["restore", "latest"]).with([to]),
    }
}

/// A call with repository, passphrase and cache of this place.
fn peer(name: Name, place: &Place, what: &str) -> Call {
    let call = place.call(what);
    let (repository, home) = (place.repository(), place.dir.join("home"));
    match name {
        Name::Restic => call
            .set("RESTIC_REPOSITORY", repository)
            .set("RESTIC_PASSWORD", PASSPHRASE)
            .set("RESTIC_CACHE_DIR", home.join("cache")),
        Name::Rustic => call
            .set("RUSTIC_REPOSITORY", repository)
            .set("RUSTIC_PASSWORD", PASSPHRASE)
            .set("RUSTIC_CACHE_DIR", home.join("cache"))
            .set("RUSTIC_NO_PROGRESS", "true"),
        Name::Borg => call
            .set("BORG_REPO", repository)
            .set("BORG_PASSPHRASE", PASSPHRASE)
            .set("BORG_BASE_DIR", home),
        Name::Bupstash => {
            call.set("BUPSTASH_REPOSITORY", repository).set("BUPSTASH_KEY", place.dir.join("key"))
        }
        Name::Vykar => call
            .set("VYKAR_CONFIG", place.dir.join("vykar.yaml"))
            .set("VYKAR_PASSPHRASE", PASSPHRASE),
        Name::Seawall => call,
    }
}
