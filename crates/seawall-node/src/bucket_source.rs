//! An S3-compatible bucket as the source of a snapshot.
//!
//! Only objects whose tag, size or time is new are asked for. An object is read in one request;
//! where the connection breaks, reading goes on from there, of the same version or not at all
//! (`If-Match`), so what is held is never a mixture of two versions.

mod client;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use http::header;
use http::{HeaderMap, HeaderValue, StatusCode};
use object_store::client::HttpError;
use seawall_backup::entry::Xattr;
use seawall_backup::source::{Bucket, BucketPage, Content, Extent, FoundObject, Reason, listing};
use tokio::runtime::Runtime;

use self::client::Client;
use crate::bucket::BucketError;

/// How often reading an object goes on after a broken connection that yielded nothing.
const RESUMES: u32 = 5;

/// A bucket that is read.
pub(crate) struct S3Source {
    client: Client,
    /// Ends in a slash unless it is empty.
    prefix: Vec<u8>,
    runtime: Runtime,
    /// As given.
    url: String,
}

/// Splits `s3://BUCKET/PREFIX`; `None` if it is a path.
pub(crate) fn parse_url(url: &str) -> Option<(&str, &str)> {
    let rest = url.strip_prefix("s3://")?;
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    Some((name, prefix.trim_matches('/')))
}

impl S3Source {
    /// Opens `s3://BUCKET/PREFIX`, with credentials and endpoint from the usual `AWS_*` variables.
    pub(crate) fn open(url: &str) -> Result<Self, BucketError> {
        let setup = |why: String| BucketError::Setup { url: url.to_owned(), why };
        let (name, prefix) =
            parse_url(url).ok_or_else(|| setup("only s3:// is known".to_owned()))?;
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if name.len() < 2 || !name.bytes().all(is_name) {
            return Err(setup(format!("{name:?} is no name of a bucket")));
        }
        if prefix.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(setup("no object with `.` or `..` in its key can be asked for".to_owned()));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| setup(e.to_string()))?;
        let client = Client::from_env(name).map_err(|e| setup(e.to_string()))?;
        let mut prefix = prefix.as_bytes().to_vec();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        Ok(Self { client, prefix, runtime, url: url.to_owned() })
    }
}

/// A bucket shared by the walk and the objects being read.
#[derive(Debug, Clone)]
pub(crate) struct SharedSource(pub(crate) Arc<S3Source>);

impl fmt::Debug for S3Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3Source").field(&self.url).finish()
    }
}

impl Bucket for SharedSource {
    fn page(&self, token: Option<&[u8]>) -> io::Result<BucketPage> {
        let source = &self.0;
        let xml = source.runtime.block_on(source.client.list(&source.prefix, token))?;
        listing::page(&xml, &source.prefix)
            .map_err(|why| io::Error::other(format!("the server's listing: {why}")))
    }

    fn open(&self, key: &[u8]) -> Result<FoundObject, Reason> {
        let source = &self.0;
        let key = [&source.prefix[..], key].concat();
        let asked = source.runtime.block_on(source.client.object(&key, 0, None));
        let answer = asked.map_err(Reason::Unreadable)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Err(Reason::Vanished),
            _ => return Err(Reason::Unreadable(source.runtime.block_on(client::refused(answer)))),
        }
        let headers = answer.headers().clone();
        let text = |name| client::header(&headers, &name);
        let etag = text(header::ETAG).map_or(Vec::new(), listing::tag);
        let modified = text(header::LAST_MODIFIED).and_then(http_date).unwrap_or((0, 0));
        let size = text(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        let content = ObjectReader {
            source: Arc::clone(source),
            key,
            version: headers.get(header::ETAG).cloned(),
            size,
            at: 0,
            body: Some(client::body(answer)),
            part: Bytes::new(),
            failures: 0,
        };
        let attributes = attributes(&headers);
        Ok(FoundObject { etag, modified, attributes, content: Box::new(content) })
    }
}

fn replaced() -> io::Error {
    io::Error::other("it was replaced while it was read")
}

/// The first byte of a part, such as `bytes 5-9/10`.
fn range_start(text: &str) -> Option<u64> {
    text.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

/// Seconds since the epoch of a date in a header.
fn http_date(text: &str) -> Option<(i64, u32)> {
    let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some((time.as_second(), 0))
}

/// What the server keeps beside the content, as extended attributes.
fn attributes(headers: &HeaderMap) -> Vec<Xattr> {
    let kept = [
        header::CACHE_CONTROL,
        header::CONTENT_DISPOSITION,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
        header::CONTENT_TYPE,
    ];
    let mut out = Vec::new();
    for (name, value) in headers {
        let name = if kept.contains(name) {
            name.as_str()
        } else if let Some(own) = name.as_str().strip_prefix("x-amz-meta-") {
            &format!("meta.{own}")
        } else {
            continue;
        };
        let name = format!("user.s3.{name}").into_bytes();
        out.push(Xattr { name, value: value.as_bytes().to_vec() });
    }
    out
}

/// An object being read.
struct ObjectReader {
    source: Arc<S3Source>,
    key: Vec<u8>,
    /// The tag of what is read, as the server wrote it.
    version: Option<HeaderValue>,
    size: Option<u64>,
    at: u64,
    body: Option<BoxStream<'static, Result<Bytes, HttpError>>>,
    part: Bytes,
    /// Broken connections since the last byte.
    failures: u32,
}

impl ObjectReader {
    /// Makes `part` hold something; false at the end.
    fn fetch(&mut self) -> io::Result<bool> {
        loop {
            if !self.part.is_empty() {
                return Ok(true);
            }
            if self.size == Some(self.at) {
                return Ok(false);
            }
            let Some(body) = &mut self.body else {
                self.resume()?;
                continue;
            };
            let source = Arc::clone(&self.source);
            match source.runtime.block_on(body.next()) {
                Some(Ok(part)) => {
                    self.failures = 0;
                    self.part = part;
                }
                None if self.size.is_none() => return Ok(false),
                // Cut off, or an end too early.
                ended => {
                    self.body = None;
                    self.failures += 1;
                    if self.failures > RESUMES {
                        let why = match ended {
                            Some(Err(e)) => e.to_string(),
                            _ => "the server ends it early".to_owned(),
                        };
                        return Err(io::Error::other(why));
                    }
                }
            }
        }
    }

    /// Asks for the rest.
    fn resume(&mut self) -> io::Result<()> {
        let Some(version) = &self.version else {
            return Err(io::Error::other("the connection broke, and it has no tag to go on with"));
        };
        let source = Arc::clone(&self.source);
        let asked = source.client.object(&self.key, self.at, Some(version));
        let answer = source.runtime.block_on(asked)?;
        let skip = match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                let range = client::header(answer.headers(), &header::CONTENT_RANGE);
                match range.map(range_start) {
                    Some(start) if start == Some(self.at) => 0,
                    Some(_) => return Err(io::Error::other("the server sends another part of it")),
                    // Servers without ranges begin again.
                    None => self.at,
                }
            }
            StatusCode::PRECONDITION_FAILED | StatusCode::NOT_FOUND => return Err(replaced()),
            _ => return Err(source.runtime.block_on(client::refused(answer))),
        };
        // `If-Match` is ignored by some.
        if answer.headers().get(header::ETAG).is_some_and(|tag| tag != version) {
            return Err(replaced());
        }
        let mut body = client::body(answer);
        let mut left = skip;
        while left > 0 {
            match source.runtime.block_on(body.next()) {
                Some(Ok(mut part)) => {
                    let n = left.min(part.len() as u64);
                    part.advance(n as usize);
                    left -= n;
                    self.part = part;
                }
                Some(Err(e)) => return Err(io::Error::other(e.to_string())),
                None => return Err(io::Error::other("the server ends it early")),
            }
        }
        self.body = Some(body);
        Ok(())
    }
}

impl Content for ObjectReader {
    fn size(&self) -> Option<u64> {
        self.size
    }

    fn data_after(&mut self, offset: u64) -> io::Result<Option<Extent>> {
        let end = self.size.unwrap_or(u64::MAX);
        Ok((offset < end).then(|| Extent { offset, len: end - offset }))
    }

    fn read_at(&mut self, offset: u64, mut buf: &mut [u8]) -> io::Result<usize> {
        assert!(offset == self.at, "an object is read front to back");
        let wanted = buf.len();
        while !buf.is_empty() && self.fetch()? {
            let n = buf.len().min(self.part.len());
            self.part.copy_to_slice(&mut buf[..n]);
            self.at += n as u64;
            buf = &mut buf[n..];
        }
        Ok(wanted - buf.len())
    }

    fn changed(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_buckets() {
        assert_eq!(parse_url("s3://vault"), Some(("vault", "")));
        assert_eq!(parse_url("s3://vault/a/b/"), Some(("vault", "a/b")));
        assert_eq!(parse_url("/srv/s3://x"), None);
        for bad in ["s3://", "s3:///a", "s3://a b/c", "s3://\u{e4}\u{e4}", "s3://vault/a/../b"] {
            assert!(S3Source::open(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_and_ranges_of_headers() {
        assert_eq!(http_date("Fri, 20 Nov 2026 10:00:00 GMT"), Some((1_795_168_800, 0)));
        assert_eq!(http_date("soon"), None);
        assert_eq!(range_start("bytes 5-9/10"), Some(5));
        assert_eq!(range_start("bytes */10"), None);
    }
}
