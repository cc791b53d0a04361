//! How object storage is read.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, ErrorKind, Result, cache_folder};

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

    /// What [`ObjectOptions::CACHE_GB`] says, or else the usual number; an error where it says no number.
    pub(super) fn cache_gigabytes() -> Result<f64> {
        let value = std::env::var_os(Self::CACHE_GB);
        gigabytes(value.as_deref()).map_err(|what| Error::new(ErrorKind::Setting(what)))
    }
}

fn gigabytes(value: Option<&OsStr>) -> Result<f64, String> {
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(ObjectOptions::USUAL_CACHE_GB);
    };
    let number = value.to_str().and_then(|text| text.trim().parse().ok());
    number.filter(|gb: &f64| *gb >= 0.0 && gb.is_finite()).ok_or_else(|| {
        format!(
            "{} is {value:?}; it must be a number of gigabytes, as 16, or 0 to keep nothing",
            ObjectOptions::CACHE_GB
        )
    })
}

impl Default for ObjectOptions {
    /// `objects` in [`cache_folder`], 16 GB or as many as [`ObjectOptions::CACHE_GB`] says (0 for none), one minute.
    fn default() -> Self {
        // What is no number is told when an address is opened.
        let gigabytes = Self::cache_gigabytes().unwrap_or(Self::USUAL_CACHE_GB);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_the_cache_is_a_number_or_an_error() {
        let parse = |text: &str| gigabytes(Some(OsStr::new(text)));
        for (text, expected) in [("0", 0.0), ("2.5", 2.5), (" 8\n", 8.0), ("", 16.0)] {
            assert_eq!(parse(text), Ok(expected));
        }
        assert_eq!(gigabytes(None), Ok(16.0));
        for wrong in ["lots", "-1", "nan", "inf", "16GB", "1,5"] {
            let message = parse(wrong).unwrap_err();
            assert!(message.contains("PYROGRAPH_CACHE_GB is") && message.contains(wrong), "{message}");
        }
    }
}
