//! What this node knows its bucket to hold: a note in the home.
//!
//! A bucket answers nothing, so a share that is not mounted is an empty directory, and filling that
//! would put the second copy on the disk it is to protect from. The note says that there was
//! something. It decides nothing else: what the bucket holds is read from the bucket.

use serde::{Deserialize, Serialize};

use super::BucketError;
use crate::home::{Home, HomeError};

const PATH: &str = "bucket.json";
const FORMAT: &str = "seawall-bucket-note/1";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filled {
    format: String,
    /// The directory or URL.
    url: String,
    /// Entries of this node's log that were brought there.
    entries: u64,
}

impl Filled {
    /// The note about the bucket that this home has, if it was ever seen with something in it. A
    /// damaged note is one: there was something.
    pub(super) fn of(home: &Home) -> Result<Option<Self>, HomeError> {
        let Some(url) = home.bucket() else { return Ok(None) };
        let note = match home.read_json::<Self>(PATH) {
            Ok(note) if note.format == FORMAT => note,
            Err(HomeError::Missing(_)) => return Ok(None),
            Ok(_) | Err(HomeError::Damaged { .. }) => Self::new(url, 0),
            Err(e) => return Err(e),
        };
        Ok(Some(note).filter(|note| note.url == url))
    }

    fn new(url: &str, entries: u64) -> Self {
        Self { format: FORMAT.to_owned(), url: url.to_owned(), entries }
    }

    pub(super) fn missing(self) -> BucketError {
        let of = match self.entries {
            0 => String::new(),
            n => format!(" ({n} entries of this node's log)"),
        };
        BucketError::Emptied { url: self.url, of }
    }
}

/// Notes that the bucket of a home holds so many entries of its log.
pub(crate) fn note_filled(home: &Home, entries: u64) -> Result<(), HomeError> {
    let Some(url) = home.bucket() else { return Ok(()) };
    home.write_json(PATH, &Filled::new(url, entries))
}
