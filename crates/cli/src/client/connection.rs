//! Finds the server and the key: the environment first, then the nearest `.local/credentials.json`.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;

/// The variable that holds the server's address.
pub const URL_VARIABLE: &str = "PCS_URL";
/// The variable that holds the API key.
pub const KEY_VARIABLE: &str = "PCS_API_KEY";
/// Where `pcs up` leaves its address and key, under the project's folder.
pub const CREDENTIALS_PATH: &str = ".local/credentials.json";

/// Where the server is and what opens it.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The address, without a path.
    pub url: Url,
    /// The key.
    pub api_key: ApiKey,
}

/// An API key; it is never shown.
#[derive(Clone)]
pub struct ApiKey(HeaderValue);

impl ApiKey {
    /// Takes a key that can stand in a header.
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let key = key.trim();
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {key}")).ok()?;
        header.set_sensitive(true);
        Some(Self(header))
    }

    /// The value of the `Authorization` header.
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(hidden)")
    }
}

/// Why there is no server to talk to; exit code 2.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectionError {
    /// Nobody said where the server is.
    #[error(
        "no server is known: neither {URL_VARIABLE} and {KEY_VARIABLE} are set, nor is there a {CREDENTIALS_PATH} here \
         or in a folder above\n  mend: start one with `pcs up` in this folder, or set {URL_VARIABLE} and {KEY_VARIABLE}"
    )]
    Unknown,
    /// An address without a key.
    #[error("{URL_VARIABLE} is set, but {KEY_VARIABLE} is not\n  mend: set {KEY_VARIABLE} to a key of that server")]
    KeyMissing,
    /// A key that can't be one.
    #[error("the API key from {origin} has characters that no key has\n  mend: copy the key again, without spaces")]
    BadKey {
        /// Where it came from.
        origin: String,
    },
    /// An address that can't be one.
    #[error("the address from {origin} can't be used: {reason}\n  mend: write it as http://host:port")]
    BadUrl {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file of credentials can't be read.
    #[error(
        "{path} can't be read: {reason}\n  mend: remove it and start `pcs up` again, or set {URL_VARIABLE} and {KEY_VARIABLE}"
    )]
    BadCredentials {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Credentials {
    url: String,
    api_key: String,
}

impl Connection {
    /// Finds the server as the environment and the current folder say.
    pub fn discover() -> Result<Self, ConnectionError> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
        let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
        Self::find(variable(URL_VARIABLE), variable(KEY_VARIABLE), &here)
    }

    /// Finds the server by these values of the variables, seen from this folder.
    pub fn find(url: Option<String>, key: Option<String>, here: &Path) -> Result<Self, ConnectionError> {
        if let (Some(url), Some(key)) = (&url, &key) {
            return Self::new(url, key, URL_VARIABLE, KEY_VARIABLE);
        }
        // An address of another server must not be tried with this folder's key.
        if url.is_some() {
            return Err(ConnectionError::KeyMissing);
        }
        let (path, credentials) = nearest_credentials(here)?.ok_or(ConnectionError::Unknown)?;
        let key_origin = if key.is_some() { KEY_VARIABLE } else { &path };
        let key = key.unwrap_or(credentials.api_key);
        Self::new(&credentials.url, &key, &path, key_origin)
    }

    fn new(url: &str, key: &str, url_origin: &str, key_origin: &str) -> Result<Self, ConnectionError> {
        let bad = |reason: &str| ConnectionError::BadUrl { origin: url_origin.to_owned(), reason: reason.to_owned() };
        let mut url = Url::parse(url.trim()).map_err(|error| bad(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(bad("it is neither http:// nor https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("it holds a user name or a password"));
        }
        url.set_query(None);
        url.set_fragment(None);
        let api_key = ApiKey::parse(key).ok_or_else(|| ConnectionError::BadKey { origin: key_origin.to_owned() })?;
        Ok(Self { url, api_key })
    }

    /// Whether the server is on this machine, where no proxy can be in between.
    pub(crate) fn is_loopback(&self) -> bool {
        self.url.host_str().is_some_and(|host| {
            let address = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
        })
    }
}

fn nearest_credentials(here: &Path) -> Result<Option<(String, Credentials)>, ConnectionError> {
    for folder in here.ancestors() {
        let path = folder.join(CREDENTIALS_PATH);
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(ConnectionError::BadCredentials { path: name, reason: error.to_string() }),
        };
        // The parser's own words could quote the file, and with it the key: only the place is said.
        let credentials = serde_json::from_str(&text).map_err(|error: serde_json::Error| {
            let reason = format!("line {} is not as `pcs up` writes it", error.line());
            ConnectionError::BadCredentials { path: name.clone(), reason }
        })?;
        return Ok(Some((name, credentials)));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(credentials: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".local")).unwrap();
        std::fs::create_dir_all(folder.path().join("suites/deep")).unwrap();
        std::fs::write(folder.path().join(CREDENTIALS_PATH), credentials).unwrap();
        folder
    }

    #[test]
    fn the_environment_comes_first() {
        let folder = folder_with(r#"{"url": "http://127.0.0.1:1", "api_key": "file", "email": "a@b.c"}"#);
        let url = Some("https://pcs.example:8443".to_owned());
        let found = Connection::find(url, Some("secret".to_owned()), folder.path()).unwrap();
        assert_eq!(found.url.as_str(), "https://pcs.example:8443/");
        assert!(!found.is_loopback());
        assert_eq!(found.api_key.header().to_str().unwrap(), "Bearer secret");
    }

    #[test]
    fn the_nearest_credentials_above_are_used() {
        let folder = folder_with(r#"{"url": "http://127.0.0.1:8080", "api_key": "pcs_abc", "email": "a@b.c"}"#);
        let found = Connection::find(None, None, &folder.path().join("suites/deep")).unwrap();
        assert_eq!(found.url.as_str(), "http://127.0.0.1:8080/");
        assert!(found.is_loopback());
        assert!(!format!("{found:?}").contains("pcs_abc"));
    }

    #[test]
    fn an_address_without_a_key_is_not_tried_with_the_key_of_this_folder() {
        let folder = folder_with(r#"{"url": "http://127.0.0.1:8080", "api_key": "pcs_abc"}"#);
        let url = Some("http://elsewhere".to_owned());
        assert_eq!(Connection::find(url, None, folder.path()).unwrap_err(), ConnectionError::KeyMissing);
    }

    #[test]
    fn without_a_server_the_message_says_how_to_start_one() {
        let folder = tempfile::tempdir().unwrap();
        let error = Connection::find(None, None, folder.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no server is known: neither PCS_URL and PCS_API_KEY are set, nor is there a .local/credentials.json here \
             or in a folder above\n  mend: start one with `pcs up` in this folder, or set PCS_URL and PCS_API_KEY"
        );
    }

    #[test]
    fn broken_credentials_are_named_and_not_quoted() {
        let folder = folder_with("{\"url\": \"http://127.0.0.1:1\",\n \"api_key\": [\"pcs_secret\"]}");
        let error = Connection::find(None, None, folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2 is not as `pcs up` writes it"), "{error}");
        assert!(!error.contains("pcs_secret"));
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for (url, reason) in [
            ("ftp://host", "it is neither http:// nor https://"),
            ("http://user:word@host", "it holds a user name or a password"),
            ("host:8080", "it is neither http:// nor https://"),
            ("nonsense", "relative URL without a base"),
        ] {
            let found = Connection::find(Some(url.to_owned()), Some("k".to_owned()), Path::new("/nowhere"));
            let expected = ConnectionError::BadUrl { origin: URL_VARIABLE.to_owned(), reason: reason.to_owned() };
            assert_eq!(found.unwrap_err(), expected, "{url}");
        }
        let found = Connection::find(Some("http://h".to_owned()), Some("a b".to_owned()), Path::new("/nowhere"));
        assert_eq!(found.unwrap_err(), ConnectionError::BadKey { origin: KEY_VARIABLE.to_owned() });
    }
}
