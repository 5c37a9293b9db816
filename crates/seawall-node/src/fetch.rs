//! Reading a published file, from a disk or over http and https.
//!
//! Whoever serves it is not believed: what is read is a report, which proves itself. So plain http is
//! as good as https here, and the certificates of https are those the system trusts.

use std::path::Path;

/// How long a server may take to answer.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {place}: {why}")]
pub struct FetchFileError {
    /// The path or URL.
    pub place: String,
    /// What is wrong.
    pub why: String,
}

/// Reads a file of at most `limit` bytes from a path or a URL.
pub fn fetch_file(place: &str, limit: usize) -> Result<Vec<u8>, FetchFileError> {
    let failed = |why: String| FetchFileError { place: place.to_owned(), why };
    if !(place.starts_with("http://") || place.starts_with("https://")) {
        return read(Path::new(place), limit).map_err(|e| failed(e.to_string()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed(e.to_string()))?;
    runtime.block_on(get(place, limit)).map_err(failed)
}

fn read(path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(std::io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

async fn get(url: &str, limit: usize) -> Result<Vec<u8>, String> {
    let read = async {
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        let mut answer = client.get(url).send().await?.error_for_status()?;
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await? {
            bytes.extend_from_slice(&part);
            if bytes.len() > limit {
                break;
            }
        }
        Ok(bytes)
    };
    let bytes = read.await.map_err(|e: reqwest::Error| whole(&e))?;
    if bytes.len() > limit {
        return Err(format!("larger than {limit} bytes"));
    }
    Ok(bytes)
}

/// An error with what caused it.
fn whole(e: &reqwest::Error) -> String {
    let mut causes = vec![e.to_string()];
    let mut next = std::error::Error::source(e);
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_above_the_limit_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        std::fs::write(&path, [0; 11]).expect("written");
        let path = path.to_str().expect("UTF-8");
        assert!(fetch_file(path, 10).expect_err("refused").to_string().contains("10 bytes"));
        assert_eq!(fetch_file(path, 11).expect("read").len(), 11);
    }
}
