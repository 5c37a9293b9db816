//! For the fuzz target only: the frames of a cache in the clear, and a cache of whatever frames
//! are wanted, since no mutation guesses a tag.

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
            let place = match index {
                Some(place) => place,
                None => {
                    let plain = file.encode_index(&[]);
                    file.append(FrameKind::Index, &plain, &mut nonces)?
                }
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
