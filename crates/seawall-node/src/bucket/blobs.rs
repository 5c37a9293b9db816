//! Keys and bytes: a directory, or a bucket of any S3-compatible server.

use std::sync::{Arc, Mutex};

use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as Key;
use object_store::{ObjectStore as _, ObjectStoreExt as _};
use seawall_base::{Disk, OpenMode, read_file, write_atomic};
use seawall_host::FsDisk;
use tokio::runtime::Runtime;

use super::BucketError;

/// Largest blob read whole: a pack and its last object.
const MAX_BLOB: usize = 64 << 20;

/// A flat space of keys. What is put is durable when `put` returns.
pub(super) trait Blobs: Send + Sync {
    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), BucketError>;
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError>;
    fn get_range(&self, key: &str, offset: u32, len: u32) -> Result<Vec<u8>, BucketError>;
    /// Every key that begins with `prefix`, which ends in a slash.
    fn list(&self, prefix: &str) -> Result<Vec<String>, BucketError>;
}

/// Opens a directory or `s3://BUCKET/PREFIX`.
pub(super) fn open(url: &str) -> Result<Box<dyn Blobs>, BucketError> {
    let setup = |why: String| BucketError::Setup { url: url.to_owned(), why };
    if !url.contains("://") {
        return Ok(Box::new(Directory { disk: FsDisk::at(url) }));
    }
    let Some(rest) = url.strip_prefix("s3://") else {
        return Err(setup("only directories and s3:// are known".to_owned()));
    };
    let (name, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(name)
        .build()
        .map_err(|e| setup(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| setup(e.to_string()))?;
    let prefix = prefix.trim_matches('/').to_owned();
    Ok(Box::new(S3 { store: Arc::new(store), prefix, runtime, last: Mutex::new(None) }))
}

fn io(action: &'static str, key: &str) -> impl FnOnce(std::io::Error) -> BucketError {
    let key = key.to_owned();
    move |e| BucketError::Io { action, key, why: e.to_string() }
}

struct Directory {
    disk: FsDisk,
}

impl Blobs for Directory {
    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), BucketError> {
        FsDisk::create(self.disk.root()).map_err(io("creating", ""))?;
        if let Some((dir, _)) = key.rsplit_once('/') {
            self.disk.create_dir_all(dir).map_err(io("creating", dir))?;
        }
        write_atomic(&self.disk, key, &bytes).map_err(io("writing", key))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError> {
        read_file(&self.disk, key, MAX_BLOB).map_err(io("reading", key))
    }

    fn get_range(&self, key: &str, offset: u32, len: u32) -> Result<Vec<u8>, BucketError> {
        let mut bytes = vec![0; len as usize];
        self.disk
            .open(key, OpenMode::Read)
            .and_then(|file| file.read_exact_at(u64::from(offset), &mut bytes))
            .map_err(io("reading", key))?;
        Ok(bytes)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, BucketError> {
        let mut out = Vec::new();
        let mut dirs = vec![prefix.trim_end_matches('/').to_owned()];
        while let Some(dir) = dirs.pop() {
            for name in self.disk.list(&dir).map_err(io("listing", &dir))? {
                let key = format!("{dir}/{name}");
                let path = self.disk.root().join(&key);
                // Links are not followed: they would lead outside, or around in circles.
                if path.symlink_metadata().is_ok_and(|m| m.is_dir()) {
                    dirs.push(key);
                } else if !name.ends_with(".tmp") {
                    out.push(key);
                }
            }
        }
        out.sort_unstable();
        Ok(out)
    }
}

struct S3 {
    store: Arc<AmazonS3>,
    prefix: String,
    runtime: Runtime,
    /// The object last read whole, for servers without ranges.
    last: Mutex<Option<(String, Vec<u8>)>>,
}

impl S3 {
    fn key(&self, key: &str) -> Key {
        Key::from(format!("{}/{key}", self.prefix))
    }

    fn failed(action: &'static str, key: &str) -> impl FnOnce(object_store::Error) -> BucketError {
        let key = key.to_owned();
        move |e| BucketError::Io { action, key, why: e.to_string() }
    }
}

impl Blobs for S3 {
    fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), BucketError> {
        let path = self.key(key);
        let put = self.store.put(&path, bytes.into());
        self.runtime.block_on(put).map(|_| ()).map_err(Self::failed("writing", key))
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError> {
        self.runtime.block_on(async {
            match self.store.get(&self.key(key)).await {
                Ok(found) if found.meta.size > MAX_BLOB as u64 => Err(BucketError::Damaged {
                    key: key.to_owned(),
                    why: format!("it has {} bytes", found.meta.size),
                }),
                Ok(found) => {
                    let bytes = found.bytes().await.map_err(Self::failed("reading", key))?;
                    Ok(Some(bytes.to_vec()))
                }
                Err(object_store::Error::NotFound { .. }) => Ok(None),
                Err(e) => Err(Self::failed("reading", key)(e)),
            }
        })
    }

    fn get_range(&self, key: &str, offset: u32, len: u32) -> Result<Vec<u8>, BucketError> {
        let range = u64::from(offset)..u64::from(offset) + u64::from(len);
        let path = self.key(key);
        if let Ok(bytes) = self.runtime.block_on(self.store.get_range(&path, range.clone())) {
            return Ok(bytes.to_vec());
        }
        // Some servers answer a range with the whole object, which the client rightly refuses.
        // The last one is kept: neighbours are usually asked for next.
        let mut last = self.last.lock().expect("no holder of this lock panics");
        if last.as_ref().is_none_or(|(k, _)| k != key) {
            let whole = self.get(key)?.ok_or_else(|| BucketError::Io {
                action: "reading",
                key: key.to_owned(),
                why: "it is not there".to_owned(),
            })?;
            *last = Some((key.to_owned(), whole));
        }
        let whole = last.as_ref().map_or(&[][..], |(_, bytes)| bytes);
        let slice = whole.get(range.start as usize..range.end as usize);
        slice.map(<[u8]>::to_vec).ok_or_else(|| BucketError::Damaged {
            key: key.to_owned(),
            why: "it is shorter than its index says".to_owned(),
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, BucketError> {
        let path = self.key(prefix.trim_end_matches('/'));
        let found: Vec<_> = self
            .runtime
            .block_on(self.store.list(Some(&path)).try_collect())
            .map_err(Self::failed("listing", prefix))?;
        let strip = self.key("").to_string();
        let mut out: Vec<String> = found
            .iter()
            .map(|meta| meta.location.to_string())
            .map(|key| key.strip_prefix(&strip).unwrap_or(&key).trim_matches('/').to_owned())
            .collect();
        out.sort_unstable();
        Ok(out)
    }
}
