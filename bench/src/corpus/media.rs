//! Photographs and films: 1 GiB of incompressible files of 1 to 40 MiB.

use std::path::Path;

use anyhow::Result;

use super::{Changes, Matter, Scale, one_percent};
use crate::seeded::Seeded;
use crate::tree;

const BYTES: u64 = 1 << 30;
const SMALLEST: u64 = 1 << 20;
const LARGEST: u64 = 40 << 20;

pub(super) fn make(dir: &Path, seed: u64, scale: Scale) -> Result<Changes> {
    let mut seeded = Seeded::new(seed, "media");
    let mut left = scale.of(BYTES, 32 << 20);
    for index in 0_u32.. {
        if left == 0 {
            break;
        }
        let length = (SMALLEST + seeded.below(LARGEST - SMALLEST)).min(left);
        let name = format!("tree/{}/img_{index:04}.raw", 2019 + index % 6);
        tree::write(&dir.join(name), &seeded.noise(length as usize))?;
        left -= length;
    }
    one_percent(dir, seed, Matter::Noise)
}
