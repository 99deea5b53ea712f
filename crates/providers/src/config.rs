//! What an operator decides about model calls; the CLI fills it, nothing here reads the environment.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::kind::ProviderKind;

/// Longest time to open a connection.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time from the request to the first byte of the answer: a long prompt is read before that.
pub(crate) const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence between two pieces of a streamed answer.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// Most calls over the network at a time: each holds a connection and up to an answer of memory.
pub(crate) const NETWORK_CALLS_MAX: usize = 64;

/// Settings of a [`crate::Gateway`].
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The folder with a folder per set of recorded answers; `recorded` models are unknown without it.
    pub recordings_dir: Option<PathBuf>,
    /// Addresses that a model's `base_url` may lead to: scheme, host, port and start of the path have to be equal. A
    /// loopback address without a port stands for all of its ports, every other one for its scheme's port.
    pub allowed_base_urls: Vec<String>,
    /// The operator's keys. They are sent to the provider's own address or to the one in `base_urls`, never elsewhere.
    pub keys: BTreeMap<ProviderKind, Secret>,
    /// Other addresses of the providers, such as a proxy of the organisation.
    pub base_urls: BTreeMap<ProviderKind, String>,
    /// Longest time to open a connection.
    pub connect_timeout: Duration,
    /// Longest time from the request to the first byte of the answer.
    pub first_byte_timeout: Duration,
    /// Longest silence within a streamed answer.
    pub idle_timeout: Duration,
    /// Most calls over the network at a time; the others wait, within their deadline.
    pub network_calls_max: usize,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            recordings_dir: None,
            allowed_base_urls: vec!["http://127.0.0.1".to_owned(), "http://localhost".to_owned()],
            keys: BTreeMap::new(),
            base_urls: BTreeMap::new(),
            connect_timeout: CONNECT_TIMEOUT,
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            network_calls_max: NETWORK_CALLS_MAX,
        }
    }
}

/// A credential; printing it prints no part of it.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(String);

impl Secret {
    /// Takes a credential as it stands in the environment; absent where nothing but white space is there.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The credential itself, for the one place that sends it and the one that blackens it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// An address in the settings is none.
    #[error("the address \"{url}\" in the settings of model providers: {why}")]
    Address {
        /// The address as written.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The HTTP client can't be made.
    #[error("the HTTP client for model providers can't be made: {0}")]
    Client(#[from] reqwest::Error),
    /// The library for the providers' formats can't be set up.
    #[error("the library for the formats of model providers can't be set up")]
    Library,
    /// The price list of this build can't be read.
    #[error("the list of prices can't be read: {0}")]
    Prices(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let keys = [(ProviderKind::OpenAi, Secret::parse(" sk-abc\n").unwrap())].into();
        let config = GatewayConfig { keys, ..GatewayConfig::default() };
        let printed = format!("{config:?} {config:#?}");
        assert!(!printed.contains("sk-abc"), "{printed}");
        assert_eq!(config.keys[&ProviderKind::OpenAi].expose(), "sk-abc");
        assert_eq!(Secret::parse("  "), None);
    }
}
