//! Clients of the providers, with the credentials and endpoints of the options and of the environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::{ClientConfigKey, ObjectStore, ObjectStoreScheme, RetryConfig};
use url::Url;

/// Why there is no client.
pub(super) enum Problem {
    /// A setting has a value that cannot be used; the sentence names it.
    Setting(String),
    /// The crate refuses.
    Refused(object_store::Error),
}

impl From<object_store::Error> for Problem {
    fn from(error: object_store::Error) -> Self {
        Self::Refused(error)
    }
}

/// A client for the storage at `url`; none for other kinds of storage.
pub(super) fn client(
    scheme: &ObjectStoreScheme,
    url: &Url,
    retry: RetryConfig,
    settings: &BTreeMap<String, String>,
) -> Result<Option<Arc<dyn ObjectStore>>, Problem> {
    let prefix = match scheme {
        ObjectStoreScheme::AmazonS3 => "AWS_",
        ObjectStoreScheme::GoogleCloudStorage => "GOOGLE_",
        ObjectStoreScheme::MicrosoftAzure => "AZURE_",
        ObjectStoreScheme::Http => "",
        _ => return Ok(None),
    };
    let environment = from_environment(prefix);
    // Names of the environment may be those of other programs; the options' must be known.
    macro_rules! set {
        ($builder:expr) => {{
            let mut builder = $builder;
            for (name, value) in &environment {
                if let Ok(key) = name.to_ascii_lowercase().parse() {
                    builder = builder.with_config(key, cleaned(name, value)?);
                }
            }
            for (name, value) in settings {
                builder = builder.with_config(name.parse()?, cleaned(name, value)?);
            }
            builder
        }};
    }
    Ok(Some(match scheme {
        ObjectStoreScheme::AmazonS3 => {
            let builder = set!(AmazonS3Builder::from_env().with_url(url.as_str()).with_retry(retry));
            // Whoever names such an endpoint means it.
            let endpoint = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
            let endpoints = [AmazonS3ConfigKey::Endpoint, AmazonS3ConfigKey::S3Endpoint].map(endpoint);
            let plain = endpoints.iter().flatten().any(|endpoint| endpoint.starts_with("http://"));
            Arc::new(if plain { builder.with_allow_http(true) } else { builder }.build()?)
        }
        ObjectStoreScheme::GoogleCloudStorage => {
            let builder = GoogleCloudStorageBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            Arc::new(set!(builder).build()?)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            let builder = MicrosoftAzureBuilder::from_env().with_url(url.as_str()).with_retry(retry);
            Arc::new(set!(builder).build()?)
        }
        _ => {
            let server = &url[..url::Position::BeforePath];
            let builder = set!(HttpBuilder::new().with_url(server).with_retry(retry));
            Arc::new(builder.with_config(ClientConfigKey::AllowHttp, "true").build()?)
        }
    }))
}

/// What the environment has under names that begin as a provider's. Web servers have none.
fn from_environment(prefix: &str) -> Vec<(String, String)> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let all = std::env::vars_os().filter_map(text);
    all.filter(|(name, _)| !prefix.is_empty() && name.starts_with(prefix)).collect()
}

/// The value of the setting `name`, without white space around it, as the end of the line of a file that it was read from. The crate
/// panics at what is no address, or cannot stand in the header of a request: that is told here. Values may be secrets and are not told,
/// but for endpoints.
fn cleaned(name: &str, value: &str) -> Result<String, Problem> {
    let value = value.trim();
    let lower = name.to_ascii_lowercase();
    let is = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    let wrong = |what: String| Err(Problem::Setting(format!("{name} {what}")));
    if is(&["endpoint", "endpoint_url", "endpoint_url_s3", "endpoint_url_sts"]) && !lower.contains("fabric") {
        let url = Url::parse(value).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https")) {
            return wrong(format!("is {value:?}; it must be an address, as http://localhost:9000"));
        }
    }
    if value.chars().any(char::is_control) {
        return wrong("has a line end or another control character in it; set it again without".into());
    }
    if is(&["access_key_id", "token", "region"]) && !value.chars().all(|c| c.is_ascii_graphic()) {
        return wrong("has a space or a character in it that is not ASCII; set it again without".into());
    }
    if is(&["region"]) && value.is_empty() {
        return wrong("is empty; give the bucket's region, as us-east-1, or unset it".into());
    }
    Ok(value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_no_request_can_carry_are_refused_by_name() {
        for (name, value, what) in [
            ("AWS_ENDPOINT_URL", "localhost:9000", "\"localhost:9000\"; it must be an address"),
            ("AWS_ENDPOINT_URL", "", "\"\"; it must be an address"),
            ("AWS_ENDPOINT_URL_S3", "http://", "it must be an address"),
            ("aws_endpoint", "ftp://host", "it must be an address"),
            ("AWS_ACCESS_KEY_ID", "ab\ncd", "has a line end"),
            ("AWS_SECRET_ACCESS_KEY", "ab\rcd", "has a line end"),
            ("AWS_SESSION_TOKEN", "ab cd", "has a space"),
            ("AWS_REGION", "eu-süd-1", "not ASCII"),
            ("AWS_DEFAULT_REGION", " ", "is empty"),
        ] {
            match cleaned(name, value) {
                Err(Problem::Setting(message)) => {
                    assert!(message.starts_with(name) && message.contains(what), "{message}");
                    assert!(!name.contains("KEY") || !message.contains("cd"), "{message}");
                }
                _ => panic!("{name}={value:?} is taken"),
            }
        }
    }

    #[test]
    fn line_ends_around_a_value_are_no_part_of_it() {
        for (name, value, expected) in [
            ("AWS_SECRET_ACCESS_KEY", "se+cr/et=\n", "se+cr/et="),
            ("AWS_ACCESS_KEY_ID", "AKIA\r\n", "AKIA"),
            ("AWS_REGION", "us-east-1\n", "us-east-1"),
            ("AWS_ENDPOINT_URL", "http://localhost:9000\n", "http://localhost:9000"),
            ("AZURE_USE_FABRIC_ENDPOINT", "true", "true"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/my folder/token", "/my folder/token"),
        ] {
            assert!(cleaned(name, value).is_ok_and(|cleaned| cleaned == expected), "{name}");
        }
    }
}
