//! How object storage is read.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::cache_folder;

/// How object storage is read.
#[derive(Clone, PartialEq, Eq)]
pub struct ObjectOptions {
    /// Where pieces of objects are kept from one run to the next; nowhere without a folder.
    pub cache: Option<PathBuf>,
    /// The most bytes that are kept there.
    pub cache_bytes: u64,
    /// How long a request that fails is made again, at growing intervals, before that is an error. Keep it below
    /// [`LoaderConfig::patience`](crate::LoaderConfig::patience), which ends a pass where nothing arrives.
    pub patience: Duration,
    /// Settings of the kind of storage, by the names of crate `object_store`: `aws_access_key_id`, `google_service_account`,
    /// `azure_storage_account_name`, … They come before the environment's.
    pub settings: BTreeMap<String, String>,
}

impl ObjectOptions {
    /// The variable that says how many gigabytes (10^9 bytes) are kept.
    pub const CACHE_GB: &str = "PYROGRAPH_CACHE_GB";
    const USUAL_CACHE_GB: f64 = 16.0;
}

impl Default for ObjectOptions {
    /// `objects` in [`cache_folder`], 16 GB or as many as [`ObjectOptions::CACHE_GB`] says (0 for none), one minute.
    fn default() -> Self {
        let wanted = std::env::var(Self::CACHE_GB).ok().and_then(|text| text.parse().ok());
        let gigabytes: f64 = wanted.filter(|gb| *gb >= 0.0).unwrap_or(Self::USUAL_CACHE_GB);
        let cache_bytes = (gigabytes * 1e9) as u64;
        let cache = cache_folder().filter(|_| cache_bytes > 0).map(|folder| folder.join("objects"));
        Self { cache, cache_bytes, patience: Duration::from_secs(60), settings: BTreeMap::new() }
    }
}

impl fmt::Debug for ObjectOptions {
    /// Without the values of the settings, which may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, cache_bytes, patience, settings } = self;
        f.debug_struct("ObjectOptions")
            .field("cache", cache)
            .field("cache_bytes", cache_bytes)
            .field("patience", patience)
            .field("settings", &settings.keys())
            .finish()
    }
}
