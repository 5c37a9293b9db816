//! A mail spool or a cache: 200 000 files of 100 bytes to 4 KiB in nested directories, a hundred
//! files in each; every fourth is incompressible.

use std::path::Path;

use anyhow::Result;

use super::{Changes, Matter, Scale, one_percent};
use crate::seeded::Seeded;
use crate::tree;

const FILES: u64 = 200_000;

pub(super) fn make(dir: &Path, seed: u64, scale: Scale) -> Result<Changes> {
    let mut seeded = Seeded::new(seed, "tiny");
    for index in 0..scale.of(FILES, 1000) {
        let leaf = index / 100;
        let name = format!("tree/{:02}/{:02}/{:02}/{index}", leaf % 13, leaf / 13 % 13, leaf / 169);
        let length = 100 + seeded.below(4096 - 100 + 1);
        let matter = if index % 4 == 0 { Matter::Noise } else { Matter::Text };
        tree::write(&dir.join(name), &matter.bytes(&mut seeded, length as usize))?;
    }
    one_percent(dir, seed, Matter::Text)
}
