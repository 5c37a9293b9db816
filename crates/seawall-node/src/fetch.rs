//! Reading a published file, from a disk or over http and https.
//!
//! Whoever serves it is not believed: what is read is a report, which proves itself. So plain http is
//! as good as https here, and the certificates of https are those the system trusts.

use std::path::Path;

use futures_util::TryStreamExt as _;
use object_store::http::HttpBuilder;
use object_store::{ClientOptions, ObjectStoreExt as _};

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
    let (base, path) = split(place).ok_or_else(|| failed("not the URL of a file".to_owned()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| failed(e.to_string()))?;
    runtime.block_on(get(base, path, limit)).map_err(failed)
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

/// Scheme and host, and the path behind them.
fn split(url: &str) -> Option<(&str, &str)> {
    let host = url.find("://")? + 3;
    let path = host + url[host..].find('/')?;
    let (base, path) = (&url[..path], &url[path + 1..]);
    (!path.is_empty() && !path.contains(['?', '#'])).then_some((base, path))
}

async fn get(base: &str, path: &str, limit: usize) -> Result<Vec<u8>, String> {
    let options = ClientOptions::new().with_allow_http(true).with_timeout(PATIENCE);
    let http = HttpBuilder::new().with_url(base).with_client_options(options).build();
    let http = http.map_err(|e| e.to_string())?;
    let path = object_store::path::Path::from_url_path(path).map_err(|e| e.to_string())?;
    let found = http.get(&path).await.map_err(|e| e.to_string())?;
    let mut bytes = Vec::new();
    let mut stream = found.into_stream();
    while let Some(part) = stream.try_next().await.map_err(|e| e.to_string())? {
        if bytes.len() + part.len() > limit {
            return Err(format!("larger than {limit} bytes"));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_files() {
        let url = "https://example.org:8443/reports/a.json";
        assert_eq!(split(url), Some(("https://example.org:8443", "reports/a.json")));
        for bad in ["https://example.org", "https://example.org/", "http://h/a?b", "http://h/a#b"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

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
