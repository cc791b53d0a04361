//! One object, read in parts.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{Attribute, GetOptions, GetRange, GetResult, ObjectMeta};
use sha2::{Digest, Sha256};

use super::{FIRST_WAIT, LONGEST_WAIT, Objects};
use crate::storage::block_cache::{BlockCache, BlockId};

/// What tells an object from another one under the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    len: u64,
    /// The hash of the entity tag, where one is told: listings may lack it.
    tag: Option<u64>,
    /// When it changed last, in seconds; 0 where that is not told.
    modified: i64,
}

/// One object, to be read in parts by many threads.
pub(in crate::storage) struct Object {
    objects: Arc<Objects>,
    key: Key,
    version: Version,
    /// Which object this is, to the cache.
    id: u128,
}

impl Version {
    pub(super) fn of(meta: &ObjectMeta) -> Self {
        let hash = |tag: &String| {
            let mut hasher = DefaultHasher::new();
            tag.hash(&mut hasher);
            hasher.finish()
        };
        Self { len: meta.size, tag: meta.e_tag.as_ref().map(hash), modified: meta.last_modified.timestamp() }
    }

    /// What tells this version of the object at `key` of `store` from all others.
    fn id(self, store: &str, key: &Key) -> u128 {
        let mut hash = Sha256::new();
        hash.update(store);
        hash.update([0]);
        hash.update(key.as_ref());
        hash.update([0]);
        hash.update(self.tag.unwrap_or(self.modified as u64).to_le_bytes());
        hash.update(self.len.to_le_bytes());
        let digest = hash.finalize();
        u128::from_le_bytes(std::array::from_fn(|n| digest[n]))
    }

    /// Whether another version would be told from this one. If not, pieces of it are not kept: later runs would take them for the new
    /// one's.
    fn is_marked(self) -> bool {
        self.tag.is_some() || self.modified != 0
    }

    /// Whether both can be of one object.
    fn is(self, other: Self) -> bool {
        let same = match (self.tag, other.tag) {
            (Some(tag), Some(other)) => tag == other,
            _ => self.modified == other.modified,
        };
        same && self.len == other.len
    }
}

impl Object {
    /// The object at `key` of `objects`, of which this is known.
    pub(super) fn new(objects: Arc<Objects>, key: Key, version: Version) -> Self {
        let id = version.id(&objects.store.to_string(), &key);
        Self { objects, key, version, id }
    }

    pub(in crate::storage) fn len(&self) -> u64 {
        self.version.len
    }

    /// Fills `buffer` with the bytes from `offset` on: from the cache, through it while it has room, or else exactly these.
    pub(in crate::storage) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len());
        let range = offset..end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if range.is_empty() {
            return Ok(());
        }
        if let Some(cache) = self.objects.cache.as_ref().filter(|_| self.version.is_marked()) {
            let blocks = range.start / BlockCache::BLOCK..(range.end - 1) / BlockCache::BLOCK + 1;
            for block in blocks {
                let whole = block * BlockCache::BLOCK..((block + 1) * BlockCache::BLOCK).min(self.len());
                let fetch = || self.fetch(whole.clone());
                let wanted = range.start.max(whole.start)..range.end.min(whole.end);
                let into = &mut buffer[(wanted.start - offset) as usize..(wanted.end - offset) as usize];
                let within = wanted.start - whole.start..wanted.end - whole.start;
                match cache.get(BlockId { object: self.id, block }, whole.end - whole.start, within, fetch)? {
                    Some(bytes) => into.copy_from_slice(&bytes),
                    // The rest of the range in one request: what could be had from the cache of it is little.
                    None => {
                        let rest = wanted.start..range.end;
                        buffer[(rest.start - offset) as usize..].copy_from_slice(&self.fetch(rest)?);
                        return Ok(());
                    }
                }
            }
            return Ok(());
        }
        buffer.copy_from_slice(&self.fetch(range)?);
        Ok(())
    }

    /// Asks for these bytes, again while an answer breaks off.
    fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let (store, key, version) = (self.objects.store.clone(), self.key.clone(), self.version);
        let until = Instant::now() + self.objects.patience;
        let work = async move {
            let mut wait = FIRST_WAIT;
            loop {
                let options =
                    GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                let answer = store.get_opts(&key, options).await?;
                if !version.is(Version::of(&answer.meta)) {
                    return Ok(Err(
                        "it has changed since it was first looked at; it must not change while it is used"
                            .to_owned(),
                    ));
                }
                let encoding =
                    answer.attributes.get(&Attribute::ContentEncoding).map(|value| value.to_string());
                match (collected(answer, range.end - range.start).await, encoding) {
                    (Ok(Body::Whole(bytes)), _) => return Ok(Ok(bytes)),
                    (Ok(_), Some(encoding)) => {
                        return Ok(Err(format!(
                            "the server compresses what it sends (Content-Encoding: {encoding}); it must send files as they are"
                        )));
                    }
                    (Ok(Body::Longer), _) => {
                        return Ok(Err("the server sends more bytes than it was asked for".into()));
                    }
                    (Ok(Body::Shorter), _) if Instant::now() > until => {
                        return Ok(Err("the server sends fewer bytes than it was asked for".into()));
                    }
                    (Err(e), _) if Instant::now() > until => return Err(e),
                    (Ok(Body::Shorter) | Err(_), _) => tokio::time::sleep(wait).await,
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        };
        match self.objects.wait(work) {
            Ok(Ok(Ok(bytes))) => Ok(bytes),
            Ok(Ok(Err(what))) => Err(io::Error::other(what)),
            Ok(Err(e)) => Err(io::Error::other(self.objects.meaning(&e).to_string())),
            Err(kind) => Err(io::Error::other(kind.to_string())),
        }
    }
}

/// The bytes of an answer, against those that were asked for.
enum Body {
    Whole(Bytes),
    Shorter,
    Longer,
}

/// Takes `len` bytes of an answer, and none beyond them: it may never end.
async fn collected(answer: GetResult, len: u64) -> object_store::Result<Body> {
    let mut pieces = answer.into_stream();
    let mut bytes = BytesMut::with_capacity(len as usize);
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if (bytes.len() + piece.len()) as u64 > len {
            return Ok(Body::Longer);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(if bytes.len() as u64 == len { Body::Whole(bytes.freeze()) } else { Body::Shorter })
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Object({}, {} bytes)", self.key, self.version.len)
    }
}
