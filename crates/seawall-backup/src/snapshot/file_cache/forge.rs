//! For the fuzz target only: the frames of a cache in the clear, and a cache of whatever frames
//! are wanted, since no mutation guesses a tag. The test keeps it in step with the format.

use std::io;

use seawall_base::{Disk, OpenMode};

use super::{FileCache, FrameKind, Frames, Nonces};

/// Kind and plaintext.
type Frame = (u8, Vec<u8>);

impl FileCache {
    /// The frames of the finished cache `stem`, its index last.
    pub fn frames(disk: &dyn Disk, stem: &str) -> io::Result<Vec<Frame>> {
        let (path, key) = (format!("{stem}.cache"), format!("{stem}.secret"));
        let opened = Frames::open(disk, &path, &key, OpenMode::Read)?;
        let mut frames = opened.ok_or(io::ErrorKind::InvalidData)?;
        let len = frames.file.len()?;
        let mut out = Vec::new();
        while let Some((kind, plain, end)) = frames.read_at(frames.end, len) {
            out.push((kind as u8, plain.to_vec()));
            frames.end = end;
        }
        Ok(out)
    }

    /// Makes a cache of any frames, as a run leaves it that was interrupted or, with the right index
    /// or the one among the frames, came to its end.
    pub fn forge(
        disk: &dyn Disk,
        stem: &str,
        frames: &[Frame],
        is_finished: bool,
    ) -> io::Result<()> {
        if let Some((dir, _)) = stem.rsplit_once('/') {
            disk.create_dir_all(dir)?;
        }
        let mut file = Frames::begin(disk, stem, &[7; 32])?;
        let mut nonces = Nonces { prefix: [0; 8], count: 0 };
        let mut index = None;
        for (kind, plain) in frames {
            let key = plain.first_chunk::<16>().copied().unwrap_or([0; 16]);
            match kind {
                1 => file.add(&key, FrameKind::Directory, plain, &mut nonces)?,
                2 => file.add(&key, FrameKind::Part, plain, &mut nonces)?,
                _ => index = Some(file.append(FrameKind::Index, plain, &mut nonces)?),
            }
        }
        if is_finished {
            let place = if let Some(place) = index {
                place
            } else {
                let plain = file.encode_index(&[]);
                file.append(FrameKind::Index, &plain, &mut nonces)?
            };
            file.unwritten.extend_from_slice(&place.offset.to_le_bytes());
            file.end += 8;
        }
        file.write_out()?;
        if is_finished {
            disk.rename(&format!("{stem}.next.secret"), &format!("{stem}.secret"))?;
            disk.rename(&format!("{stem}.next"), &format!("{stem}.cache"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use seawall_base::Timestamp;
    use seawall_sim::{SeededRng, SimDisk};

    use super::super::{FrameWriter, ROOT_KEY, child_key};
    use super::*;

    fn open(disk: &SimDisk) -> FileCache {
        let mut rng = SeededRng::new(1);
        let disk = Arc::new(disk.clone());
        FileCache::open(disk, "cache/f", Timestamp(9), &mut rng).expect("a healthy disk")
    }

    #[test]
    fn a_forged_cache_is_a_cache() {
        let other = child_key(&ROOT_KEY, b"other");
        let frame = |key| FrameWriter::part(key).finish().to_vec();
        let frames = [(1, frame(&ROOT_KEY)), (2, frame(&other))];
        let (finished, interrupted) = (SimDisk::new(), SimDisk::new());
        FileCache::forge(&finished, "cache/f", &frames, true).expect("a healthy disk");
        FileCache::forge(&interrupted, "cache/f", &frames, false).expect("a healthy disk");
        for disk in [&finished, &interrupted] {
            let cache = open(disk);
            assert!(cache.directory(&ROOT_KEY).is_some() && cache.directory(&other).is_some());
            assert!(cache.directory(&child_key(&other, b"x")).is_none());
        }
        let read = FileCache::frames(&finished, "cache/f").expect("whole");
        assert_eq!(read[..2], frames);
        assert_eq!((read.len(), read[2].0), (3, FrameKind::Index as u8));
        // The index may be anything, too.
        FileCache::forge(&finished, "cache/f", &read[2..], true).expect("a healthy disk");
        assert!(open(&finished).directory(&ROOT_KEY).is_none());
    }
}
