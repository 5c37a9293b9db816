//! What a home keeps of a ceremony: what it said, and the secrets of steps under way.
//!
//! `ceremonies/<id>/` holds one file for each statement made (`commit.json`, `deal.json`, …, the
//! very bytes that went into the folder), `share` with the path of the share that came out, and
//! `commit.secret`, `deal.secret` (0600) until the result is accepted; `abandoned` once it was
//! given up.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::{Disk as _, GroupId, write_atomic};
use seawall_record::{Ceremony, CeremonyStep, MAX_CEREMONY_FILE, MessageFile};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::home::{CustodianHome, CustodyError};

const FORMAT: &str = "seawall-ceremony-secret/1";
const CHECK_CONTEXT: &str = "seawall 2026-11 ceremony secret check v1";
const ABANDONED: &str = "abandoned";
const MAX_SECRET: usize = 16 << 10;

pub(super) struct Journal<'a> {
    home: &'a CustodianHome,
    dir: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    format: String,
    step: CeremonyStep,
    secret: String,
    check: String,
}

/// Eight bytes that a damaged secret does not have.
fn check(secret: &[u8]) -> String {
    hex::encode(&blake3::derive_key(CHECK_CONTEXT, secret)[..8])
}

impl<'a> Journal<'a> {
    pub(super) fn of(home: &'a CustodianHome, ceremony: &Ceremony) -> Self {
        Self { home, dir: format!("ceremonies/{}", ceremony.id().to_hex()) }
    }

    /// The ceremony whose id begins with these digits.
    pub(super) fn of_number(home: &'a CustodianHome, number: &str) -> Result<Self, CustodyError> {
        let digits: String = number.chars().filter(|c| !c.is_whitespace()).collect();
        let all = home.disk().list("ceremonies").map_err(CustodyError::io("ceremonies"))?;
        let mut found = all.iter().filter(|id| !digits.is_empty() && id.starts_with(&digits));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(Self { home, dir: format!("ceremonies/{id}") }),
            (None, _) => {
                Err(CustodyError::refused(format!("this home took part in no ceremony {number}")))
            }
            (Some(_), Some(_)) => {
                Err(CustodyError::refused(format!("several ceremonies begin with {number}")))
            }
        }
    }

    /// The ceremony's id, in hexadecimal.
    pub(super) fn id(&self) -> &str {
        self.dir.trim_start_matches("ceremonies/")
    }

    /// Whether this home has given the ceremony up.
    pub(super) fn is_abandoned(&self) -> Result<bool, CustodyError> {
        Ok(self.home.read(&self.path(ABANDONED), 512)?.is_some())
    }

    /// Gives the ceremony up.
    pub(super) fn abandon(&self) -> Result<(), CustodyError> {
        self.write(ABANDONED, b"")?;
        self.forget_secrets()
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), CustodyError> {
        let disk = self.home.disk();
        disk.create_dir_all(&self.dir).map_err(CustodyError::io(&self.dir))?;
        disk.sync_dir("ceremonies").map_err(CustodyError::io("ceremonies"))?;
        let path = self.path(name);
        write_atomic(disk.as_ref(), &path, bytes).map_err(CustodyError::io(&path))
    }

    /// Whether anything was done in this ceremony.
    pub(super) fn begun(&self) -> Result<bool, CustodyError> {
        let names = self.home.disk().list(&self.dir).map_err(CustodyError::io(&self.dir))?;
        Ok(!names.is_empty())
    }

    /// What this home said in a step.
    pub(super) fn said(&self, step: CeremonyStep) -> Result<Option<MessageFile>, CustodyError> {
        let path = self.path(&format!("{}.json", step.word()));
        let Some(bytes) = self.home.read(&path, MAX_CEREMONY_FILE)? else { return Ok(None) };
        let file =
            MessageFile::parse(&bytes).map_err(|e| CustodyError::damaged(&path, e.to_string()))?;
        Ok(Some(file))
    }

    /// Keeps what this home is about to say.
    pub(super) fn say(&self, step: CeremonyStep, file: &MessageFile) -> Result<(), CustodyError> {
        self.write(&format!("{}.json", step.word()), &file.to_json())
    }

    /// Keeps a secret for the next step.
    pub(super) fn keep_secret(
        &self,
        step: CeremonyStep,
        secret: &[u8],
    ) -> Result<(), CustodyError> {
        let mut file = SecretFile {
            format: FORMAT.to_owned(),
            step,
            secret: BASE64.encode(secret),
            check: check(secret),
        };
        let json = serde_json::to_vec_pretty(&file).map(Zeroizing::new);
        file.secret.zeroize();
        let json = json.expect("text always serialises");
        self.write(&format!("{}.secret", step.word()), &json)
    }

    /// The secret kept in a step.
    pub(super) fn secret(&self, step: CeremonyStep) -> Result<Zeroizing<Vec<u8>>, CustodyError> {
        let path = self.path(&format!("{}.secret", step.word()));
        let damaged = |why: &str| CustodyError::Damaged {
            file: path.clone(),
            why: format!("{why}; the ceremony cannot be finished, begin another"),
        };
        let bytes = self.home.read(&path, MAX_SECRET)?.ok_or_else(|| damaged("it is missing"))?;
        let bytes = Zeroizing::new(bytes);
        let mut file: SecretFile =
            serde_json::from_slice(&bytes).map_err(|_| damaged("not a ceremony's secret"))?;
        let secret = BASE64.decode(&file.secret).map(Zeroizing::new);
        file.secret.zeroize();
        match secret {
            Ok(secret)
                if file.format == FORMAT && file.step == step && file.check == check(&secret) =>
            {
                Ok(secret)
            }
            _ => Err(damaged("its check does not match")),
        }
    }

    /// Notes where the share lies.
    pub(super) fn keep_share(&self, path: &str) -> Result<(), CustodyError> {
        self.write("share", path.as_bytes())
    }

    /// Where the share of this ceremony lies below the home.
    pub(super) fn share(&self) -> Result<Option<String>, CustodyError> {
        let path = self.path("share");
        let Some(bytes) = self.home.read(&path, 512)? else { return Ok(None) };
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| CustodyError::damaged(&path, "not a path"))
    }

    /// Deletes what must not outlive the ceremony.
    pub(super) fn forget_secrets(&self) -> Result<(), CustodyError> {
        let disk = self.home.disk();
        for name in disk.list(&self.dir).map_err(CustodyError::io(&self.dir))? {
            if name.ends_with(".secret") || name.ends_with(".secret.tmp") {
                let path = self.path(&name);
                disk.remove(&path).map_err(CustodyError::io(&path))?;
            }
        }
        disk.sync_dir(&self.dir).map_err(CustodyError::io(&self.dir))
    }
}

/// The number of the ceremony a share is from, if it is from one.
pub(super) fn origin_of_share(
    home: &CustodianHome,
    group: GroupId,
    epoch: u32,
) -> Result<Option<String>, CustodyError> {
    let path = crate::home::share_path(group, epoch);
    for id in home.disk().list("ceremonies").map_err(CustodyError::io("ceremonies"))? {
        let journal = Journal { home, dir: format!("ceremonies/{id}") };
        if journal.share()?.as_ref() == Some(&path) && !journal.is_abandoned()? {
            return Ok(Some(id.chars().take(16).collect()));
        }
    }
    Ok(None)
}
