//! Objects in buckets and behind web servers, as folders of files that are read in parts.

mod client;
mod failure;
mod object;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use futures_util::StreamExt;
use object_store::path::Path as Key;
use object_store::{BackoffConfig, ObjectMeta, ObjectStore, ObjectStoreExt, ObjectStoreScheme, RetryConfig};
use tokio::runtime::Runtime;
use url::Url;

use self::client::{Problem, client};
use self::failure::{meaning, unreachable};
pub(super) use self::object::Object;
use self::object::Version;
use super::block_cache::BlockCache;
use super::{Names, ObjectOptions, What, too_large};
use crate::{Error, ErrorKind, Result};

/// Requests that a loader has under way: enough to hide the tens of milliseconds that each takes.
pub(super) const FETCHES_AT_ONCE: usize = 32;
/// How long the very first request is made again where nobody answers: the address is wrong then, or there is no network.
const FIRST_PATIENCE: Duration = Duration::from_secs(3);
/// The waits between two attempts.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(3);
/// Objects of one listing: more than any set has, and less than fills the memory with names.
const MOST_LISTED: usize = 100_000_000;
/// Images found between two reports.
const TELL_EVERY: usize = 1000;

/// The addresses that are known.
const KNOWN: &str = "s3://BUCKET/…, gs://BUCKET/…, az://CONTAINER/…, http://… or https://…";

/// What lies below one address.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The same with [`FIRST_PATIENCE`], until somebody has answered.
    hasty: Arc<dyn ObjectStore>,
    answered: AtomicBool,
    /// The address that all paths begin with, and its key.
    root: PathBuf,
    root_key: Key,
    scheme: ObjectStoreScheme,
    /// What listings told, by key.
    known: Mutex<HashMap<Key, Version>>,
    cache: Option<Arc<BlockCache>>,
    patience: Duration,
    runtime: Option<Runtime>,
}

impl Objects {
    /// Prepares for the files below `address`. Nothing is asked yet.
    pub(super) fn connect(address: &Path, options: &ObjectOptions) -> Result<Self> {
        let wrong = |what: String| Error::at(address, ErrorKind::Setting(what));
        let text = address.to_str().unwrap_or_default();
        let url = Url::parse(text).map_err(|e| wrong(format!("this is no address: {e}")))?;
        // What is in it would be shown and kept wherever the address is.
        if url.password().is_some() || !(url.username().is_empty() || url.scheme().starts_with("abfs")) {
            let message = format!(
                "an address with a user or a password in it is not read (host {}); give one without",
                url.host_str().unwrap_or_default()
            );
            return Err(Error::new(ErrorKind::Setting(message)));
        }
        let unknown = || wrong(format!("this kind of address is not known; it must be {KNOWN}"));
        let (scheme, mut root_key) =
            ObjectStoreScheme::parse(&url).map_err(|_| match Key::from_url_path(url.path()) {
                Ok(_) => unknown(),
                Err(e) => wrong(format!("this cannot be the name of an object: {e}")),
            })?;
        if url.query().is_some() {
            return Err(wrong("an address with a query (`?…`) is not read; give one without".into()));
        }
        // A shard alone: its index lies beside it. A Parquet file: so do others.
        let mut root = address;
        if is_file(address)
            && let Some(parent) = address.parent()
        {
            root = parent;
            let parts: Vec<_> = root_key.parts().collect();
            root_key = parts[..parts.len().saturating_sub(1)].iter().cloned().collect();
        }
        let store = |patience: Duration| {
            let retry = RetryConfig {
                backoff: BackoffConfig { init_backoff: FIRST_WAIT, max_backoff: LONGEST_WAIT, base: 2.0 },
                max_retries: usize::MAX,
                retry_timeout: patience,
            };
            let store = client(&scheme, &url, retry, &options.settings).map_err(|problem| match problem {
                Problem::Setting(message) => wrong(message),
                Problem::Refused(e) => Error::at(address, meaning(&scheme, &e)),
            })?;
            store.ok_or_else(unknown)
        };
        let (store, hasty) = (store(options.patience)?, store(options.patience.min(FIRST_PATIENCE))?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-store")
            .enable_all()
            .build()
            .map_err(|e| Error::at(address, e))?;
        let cache = options.cache.as_deref().map(|folder| BlockCache::shared(folder, options.cache_bytes));
        Ok(Self {
            store,
            hasty,
            answered: AtomicBool::new(false),
            root: root.to_owned(),
            root_key,
            scheme,
            known: Mutex::default(),
            cache,
            patience: options.patience,
            runtime: Some(runtime),
        })
    }

    /// Runs `work` on the runtime and waits for it, on a thread that may itself belong to one.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, ErrorKind> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.spawn(async move {
            let _ = answer.send(work.await);
        });
        let lost = "the thread that asks the object storage has stopped";
        answered.recv().map_err(|_| ErrorKind::Worker(lost.into()))
    }

    /// What the storage answers to `request`.
    fn ask<T: Send + 'static, F: Future<Output = object_store::Result<T>> + Send + 'static>(
        &self,
        request: impl Fn(Arc<dyn ObjectStore>) -> F,
    ) -> Result<T, ErrorKind> {
        if !self.answered.load(Ordering::Relaxed) {
            let answer = self.wait(request(self.hasty.clone()))?;
            if !answer.as_ref().is_err_and(unreachable) {
                self.answered.store(true, Ordering::Relaxed);
            }
            match answer {
                // It may go better later.
                Err(e @ object_store::Error::Generic { .. }) if !unreachable(&e) => {}
                answer => return answer.map_err(|e| self.meaning(&e)),
            }
        }
        self.wait(request(self.store.clone()))?.map_err(|e| self.meaning(&e))
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(work);
        }
    }

    /// The key of the file at `path`.
    fn key(&self, path: &Path) -> Result<Key, ErrorKind> {
        let below = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
        let outside = || ErrorKind::Setting(format!("this is not below {}", self.root.display()));
        let below = below.ok_or_else(outside)?.replace('\\', "/");
        let below = Key::parse(&below)
            .map_err(|e| ErrorKind::Setting(format!("this is no name of an object: {e}")))?;
        Ok(self.root_key.parts().chain(below.parts()).collect())
    }

    fn remember(&self, meta: &ObjectMeta) -> Version {
        let version = Version::of(meta);
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(meta.location.clone(), version);
        version
    }

    /// What is at `key`: as a listing told, or else asked for now.
    fn version(&self, key: &Key) -> Result<Version, ErrorKind> {
        if let Some(known) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key) {
            return Ok(*known);
        }
        let meta = self.ask(|store| {
            let wanted = key.clone();
            async move { store.head(&wanted).await }
        })?;
        Ok(self.remember(&ObjectMeta { location: key.clone(), ..meta }))
    }

    /// Only shards and Parquet files are files; all else is a folder, which may turn out to be empty.
    pub(super) fn look(&self, path: &Path) -> Result<What> {
        if !is_file(path) {
            return Ok(What::Folder);
        }
        let found = self.key(path).and_then(|key| self.version(&key));
        found.map(|_| What::File).map_err(|kind| Error::at(path, kind))
    }

    /// Whether folders can be listed: web servers have no common way to ask.
    pub(super) fn lists(&self) -> bool {
        self.scheme != ObjectStoreScheme::Http
    }

    fn meaning(&self, error: &object_store::Error) -> ErrorKind {
        meaning(&self.scheme, error)
    }

    fn check_lists(&self) -> Result<(), ErrorKind> {
        let message = "a web server cannot be asked what it has; give the address of a list (.csv, .tsv, .jsonl), of a Parquet file \
                       (.parquet), of a shard (.tar), or of a folder with the manifest.json that `pyrograph pack` writes, in it or in its \
                       train/, val/ and test/";
        if self.lists() { Ok(()) } else { Err(ErrorKind::NotADataSet(message.into())) }
    }

    pub(super) fn list(&self, folder: &Path) -> Result<Names> {
        let listed = || -> Result<Names, ErrorKind> {
            self.check_lists()?;
            let key = self.key(folder)?;
            let found = self.ask(|store| {
                let key = key.clone();
                async move { store.list_with_delimiter(Some(&key)).await }
            })?;
            let mut names = Names::default();
            let name = |key: &Key| key.filename().filter(|name| !name.starts_with('.')).map(str::to_owned);
            for object in &found.objects {
                self.remember(object);
                names.files.extend(name(&object.location));
            }
            names.folders.extend(found.common_prefixes.iter().filter_map(name));
            Ok(names)
        };
        let mut names = listed().map_err(|kind| Error::at(folder, kind))?;
        if names == Names::default() {
            let message = "there is nothing at this address; check it, and the bucket's region";
            return Err(Error::at(folder, ErrorKind::NotADataSet(message.into())));
        }
        names.files.sort_unstable();
        names.folders.sort_unstable();
        Ok(names)
    }

    pub(super) fn list_below(&self, folder: &Path, progress: &mut dyn FnMut(usize)) -> Result<Vec<String>> {
        let mut listed = || -> Result<Vec<String>, ErrorKind> {
            self.check_lists()?;
            let (store, prefix) = (self.store.clone(), self.key(folder)?);
            let above = prefix.parts().count();
            // Objects are told as they come.
            let (tell, told) = mpsc::channel();
            self.spawn(async move {
                let mut objects = store.list(Some(&prefix));
                while let Some(object) = objects.next().await {
                    if tell.send(object).is_err() {
                        return;
                    }
                }
            });
            let mut names = Vec::new();
            for object in told {
                let object = object.map_err(|e| self.meaning(&e))?;
                self.remember(&object);
                let below: Vec<_> =
                    object.location.parts().skip(above).map(|part| part.as_ref().to_owned()).collect();
                names.push(below.join("/"));
                if names.len() > MOST_LISTED {
                    let message =
                        format!("there are more than {MOST_LISTED} objects here; pack them into shards");
                    return Err(ErrorKind::TooLarge(message));
                }
                if names.len().is_multiple_of(TELL_EVERY) {
                    progress(names.len());
                }
            }
            Ok(names)
        };
        listed().map_err(|kind| Error::at(folder, kind))
    }

    pub(super) fn open(self: &Arc<Self>, path: &Path) -> Result<Object> {
        self.object(path).map_err(|kind| Error::at(path, kind))
    }

    fn object(self: &Arc<Self>, path: &Path) -> Result<Object, ErrorKind> {
        let key = self.key(path)?;
        let version = self.version(&key)?;
        Ok(Object::new(self.clone(), key, version))
    }

    pub(super) fn read(
        self: &Arc<Self>,
        path: &Path,
        limit: u64,
        buffer: &mut Vec<u8>,
    ) -> Result<(), ErrorKind> {
        let object = self.object(path)?;
        if object.len() > limit {
            return Err(too_large(limit));
        }
        buffer.resize(object.len() as usize, 0);
        object.read_exact_at(buffer, 0).map_err(ErrorKind::from)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Waiting for it is not allowed on a thread of another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Objects({})", self.root.display())
    }
}

/// Told by the name, which costs no request: folders are none of the storage's own.
fn is_file(path: &Path) -> bool {
    let is = |kind: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(kind));
    ["tar", "parquet", "csv", "tsv", "jsonl", "ndjson"].into_iter().any(is)
}
