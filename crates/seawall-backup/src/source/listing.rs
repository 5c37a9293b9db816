//! What a server answers when asked to list a bucket (`ListObjectsV2`), and its errors.
//!
//! Bytes in, objects out: whoever has the network asks. A listing is believed in nothing that
//! could lead astray: what was not asked for is refused, and so is a page that leads nowhere.

use serde::Deserialize;

use super::{BucketObject, BucketPage};

/// Longest answer that is read, in bytes: a thousand of the longest keys, escaped, fit well.
pub const MAX_LISTING: usize = 16 << 20;
/// Longest key, in bytes; S3 allows 1024.
const MAX_KEY: usize = 4_096;
/// Longest tag or token, in bytes.
const MAX_TAG: usize = 4_096;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListBucketResult {
    #[serde(default)]
    is_truncated: bool,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
    #[serde(default)]
    contents: Vec<Contents>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Contents {
    key: String,
    size: u64,
    #[serde(default, rename = "ETag")]
    etag: String,
    last_modified: Option<String>,
}

/// Reads a page of a listing of what begins with `prefix`; the error says what is wrong with it.
pub fn page(xml: &[u8], prefix: &[u8]) -> Result<BucketPage, String> {
    if xml.len() > MAX_LISTING {
        return Err(format!("it has {} bytes, at most {MAX_LISTING} are read", xml.len()));
    }
    let result: ListBucketResult =
        quick_xml::de::from_reader(xml).map_err(|e| format!("it is no listing: {e}"))?;
    let is_escaped = match result.encoding_type.as_deref() {
        None | Some("") => false,
        Some("url") => true,
        Some(other) => return Err(format!("its keys are in an unknown encoding {other:?}")),
    };
    let mut objects = Vec::with_capacity(result.contents.len());
    for Contents { key, size, etag, last_modified } in result.contents {
        let key = if is_escaped { unescape(&key)? } else { key.into_bytes() };
        if key.len() > MAX_KEY || etag.len() > MAX_TAG {
            return Err("a key or tag in it is too long".to_owned());
        }
        let Some(below) = key.strip_prefix(prefix) else {
            let key = String::from_utf8_lossy(&key);
            return Err(format!("{key:?} is listed, which was not asked for"));
        };
        // The prefix itself, where it is a folder's marker.
        if below.is_empty() {
            continue;
        }
        let modified = last_modified.as_deref().map_or(Ok((0, 0)), time)?;
        objects.push(BucketObject { key: below.to_vec(), size, etag: tag(&etag), modified });
    }
    let next = match result.next_continuation_token {
        Some(token) if result.is_truncated && token.len() <= MAX_TAG => Some(token.into_bytes()),
        _ if result.is_truncated => return Err("it says no way to its next page".to_owned()),
        _ => None,
    };
    Ok(BucketPage { objects, next })
}

fn time(text: &str) -> Result<(i64, u32), String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|_| format!("a time in it is none: {text:?}"))?;
    // Before the epoch, jiff counts nanoseconds backwards.
    let nanoseconds = time.as_nanosecond();
    let (seconds, rest) =
        (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    let seconds = i64::try_from(seconds).map_err(|_| format!("a time in it is none: {text:?}"))?;
    let rest = u32::try_from(rest).expect("a remainder is below a billion");
    Ok((seconds, rest))
}

/// A tag without the quotes some servers leave out.
pub fn tag(text: &str) -> Vec<u8> {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(text).as_bytes().to_vec()
}

/// The bytes that `%XX` and `+` stand for, as forms escape them.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
                let byte = digits
                    .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                    .ok_or_else(|| format!("a key in it is badly escaped: {text:?}"))?;
                out.push(byte);
                rest = &after[2..];
            }
            byte => out.push(*byte),
        }
    }
    Ok(out)
}

/// Bytes of a key or value as a URL has them: everything but letters, digits and `-._~` escaped,
/// and, in a path, but slashes.
pub fn escape(bytes: &[u8], is_path: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for &byte in bytes {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || is_path && byte == b'/' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
}

/// What a refusal says, in one line; empty if it says nothing.
pub fn refusal(xml: &[u8]) -> String {
    let Ok(ErrorBody { code, message }) = quick_xml::de::from_reader(xml) else {
        return String::new();
    };
    let words: Vec<_> = [code, message].into_iter().flatten().collect();
    words.join(": ").chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>vault</Name>
<Prefix>in/</Prefix><KeyCount>3</KeyCount><MaxKeys>3</MaxKeys><EncodingType>url</EncodingType>
<IsTruncated>true</IsTruncated><NextContinuationToken>t/1==</NextContinuationToken>
<Contents><Key>in/</Key><LastModified>2026-11-20T10:00:00.000Z</LastModified><ETag>"d4"</ETag>
<Size>0</Size><StorageClass>STANDARD</StorageClass></Contents>
<Contents><Key>in/a+b%2Fc%FF%00</Key><LastModified>2026-11-20T10:00:00.250Z</LastModified>
<ETag>&quot;ab-2&quot;</ETag><Size>7</Size><Owner><ID>x</ID></Owner></Contents>
<CommonPrefixes><Prefix>in/sub/</Prefix></CommonPrefixes>
<Contents><Key>in/z</Key><LastModified>1969-12-31T23:59:59.5Z</LastModified><Size>1</Size></Contents>
</ListBucketResult>"#;

    #[test]
    fn a_page_as_servers_write_it() {
        let page = page(PAGE.as_bytes(), b"in/").expect("a page");
        assert_eq!(page.next.as_deref(), Some(&b"t/1=="[..]));
        let [first, last] = &page.objects[..] else { panic!("{page:?}") };
        assert_eq!((&first.key[..], first.size), (&b"a b/c\xff\0"[..], 7));
        assert_eq!((&first.etag[..], first.modified), (&b"ab-2"[..], (1_795_168_800, 250_000_000)));
        assert_eq!((&last.key[..], last.modified), (&b"z"[..], (-1, 500_000_000)));
    }

    #[test]
    fn listings_that_cannot_be_trusted_are_refused() {
        let refused = |from: &str, to: &str| {
            page(PAGE.replacen(from, to, 1).as_bytes(), b"in/").expect_err(to)
        };
        assert!(refused("<Key>in/z", "<Key>out/z").contains("not asked for"));
        assert!(refused("%2F", "%G0").contains("badly escaped"));
        assert!(refused("%2F", "%+F").contains("badly escaped"));
        assert!(
            refused("<NextContinuationToken>t/1==</NextContinuationToken>", "").contains("next")
        );
        assert!(refused(">url<", ">rot13<").contains("rot13"));
        assert!(refused("2026-11-20T10:00:00.250Z", "yesterday").contains("time"));
        assert!(refused("<Size>7", "<Size>-7").contains("no listing"));
        assert!(refused("</ListBucketResult>", "").contains("no listing"));
        let long = format!("<Key>in/{}", "x".repeat(5_000));
        assert!(refused("<Key>in/z", &long).contains("too long"));
    }

    #[test]
    fn refusals_are_one_line() {
        let xml = b"<Error><Code>NoSuchKey</Code><Message>not\x07 here</Message></Error>";
        assert_eq!(refusal(xml), "NoSuchKey: not here");
        assert_eq!(refusal(b"<html>"), "");
    }

    #[test]
    fn escaping_is_the_inverse() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all, false)), Ok(all));
        assert_eq!(escape(b"a/b c", true), "a/b%20c");
    }
}
