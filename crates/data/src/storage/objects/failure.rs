//! What a failure means to whoever gave the address.

use std::error::Error as StdError;

use object_store::ObjectStoreScheme;
use object_store::client::{HttpError, HttpErrorKind};

use crate::ErrorKind;

/// Where a machine in a cloud asks for credentials of its own: whoever is there has given none.
const METADATA: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];

/// What `error` of a storage of this kind means.
pub(super) fn meaning(scheme: &ObjectStoreScheme, error: &object_store::Error) -> ErrorKind {
    use object_store::Error as E;
    let causes = causes(error);
    let has = |parts: &[&str]| parts.iter().any(|part| causes.contains(part));
    if has(&["performing HEAD"]) && has(&["405 Method Not Allowed", "501 Not Implemented"]) {
        let message = "the server does not answer HEAD requests, which ask how long a file is; use one that does, as nginx or S3";
        return ErrorKind::Storage(message.into());
    }
    if lacks_credentials(&causes) {
        return ErrorKind::Refused(format!("there are no credentials for this; {}", credentials(scheme)));
    }
    match error {
        E::NotFound { .. } => ErrorKind::Missing,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::Refused(refusal(scheme)),
        // Refused listings have no kind of their own.
        E::Generic { .. } if has(&["401 Unauthorized", "403 Forbidden"]) => {
            ErrorKind::Refused(refusal(scheme))
        }
        E::NotSupported { .. } if *scheme == ObjectStoreScheme::Http => {
            let message = "the server sends files only whole: it does not answer requests with a Range, as `python -m http.server` \
                           does not; nginx and S3 do";
            ErrorKind::Storage(message.into())
        }
        _ if cannot_connect(error) => ErrorKind::Storage(format!(
            "nobody answers at this address: {}; check it, and the network",
            deepest(error)
        )),
        _ => ErrorKind::Storage(format!("the object storage cannot be read: {causes}")),
    }
}

/// Whether nobody was there to answer, so that asking again soon is of no use where nothing has answered before.
pub(super) fn unreachable(error: &object_store::Error) -> bool {
    cannot_connect(error) || lacks_credentials(&causes(error))
}

fn lacks_credentials(causes: &str) -> bool {
    METADATA.iter().any(|host| causes.contains(host)) || causes.contains("Account must be specified")
}

fn cannot_connect(error: &object_store::Error) -> bool {
    let http = chain(error).find_map(|cause| cause.downcast_ref::<HttpError>());
    http.is_some_and(|http| match http.kind() {
        HttpErrorKind::Connect => true,
        HttpErrorKind::Timeout => causes(error).contains("(Connect)"),
        _ => false,
    })
}

fn refusal(scheme: &ObjectStoreScheme) -> String {
    if *scheme == ObjectStoreScheme::Http {
        return "the web server refuses this (401 or 403): it must let all read it, for nothing is asked with credentials; check the \
                address"
            .into();
    }
    format!("the object storage refuses this; {}", credentials(scheme))
}

/// Where credentials are taken from.
fn credentials(scheme: &ObjectStoreScheme) -> &'static str {
    match scheme {
        ObjectStoreScheme::GoogleCloudStorage => {
            "set GOOGLE_APPLICATION_CREDENTIALS to the path of a key file of an account that may read it"
        }
        ObjectStoreScheme::MicrosoftAzure => {
            "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY where not all may read it"
        }
        _ => {
            "check the credentials in the environment (as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), or set \
             AWS_SKIP_SIGNATURE=true for a bucket open to all"
        }
    }
}

/// An error and what lies below it.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn deepest(error: &object_store::Error) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}

/// An error and what lies below it, each once.
fn causes(error: &object_store::Error) -> String {
    let mut text = String::new();
    for cause in chain(error).map(|cause| without_counts(&cause.to_string())) {
        if !text.contains(&cause) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{cause}");
        }
    }
    text
}

/// A message of the crate without what it was told of retries: `, after 118 retries, max_retries: …, retry_timeout: 60s  - `.
fn without_counts(text: &str) -> String {
    let counts = text.find(", after ").and_then(|from| {
        let to = from + text[from..].find(" - ")?;
        text[from..to].contains("max_retries").then_some((from, to))
    });
    match counts {
        Some((from, to)) => format!("{}{}", &text[..from], &text[to..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_retries_are_not_told() {
        let text = "Error performing HEAD http://host/a in 60.1s, after 118 retries, max_retries: 18446744073709551615, \
                    retry_timeout: 60s  - Server returned 503";
        assert_eq!(
            without_counts(text),
            "Error performing HEAD http://host/a in 60.1s - Server returned 503"
        );
        for plain in ["it comes, after all, - so", "no such file", ""] {
            assert_eq!(without_counts(plain), plain);
        }
    }

    #[test]
    fn each_provider_names_its_own_credentials() {
        let refused = || object_store::Error::PermissionDenied { path: "a".into(), source: "403".into() };
        let lost = || object_store::Error::Generic {
            store: "x",
            source: "Error performing PUT http://169.254.169.254/latest/api/token".into(),
        };
        for (scheme, name) in [
            (ObjectStoreScheme::AmazonS3, "AWS_ACCESS_KEY_ID"),
            (ObjectStoreScheme::GoogleCloudStorage, "GOOGLE_APPLICATION_CREDENTIALS"),
            (ObjectStoreScheme::MicrosoftAzure, "AZURE_STORAGE_ACCOUNT_KEY"),
        ] {
            for error in [refused(), lost()] {
                let meaning = meaning(&scheme, &error);
                assert!(matches!(meaning, ErrorKind::Refused(_)), "{meaning}");
                assert!(meaning.to_string().contains(name), "{meaning}");
            }
        }
        let web = meaning(&ObjectStoreScheme::Http, &refused()).to_string();
        assert!(web.contains("the web server refuses") && !web.contains("AWS"), "{web}");
    }
}
