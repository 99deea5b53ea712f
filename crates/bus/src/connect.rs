//! One connection to NATS per process.

use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr, jetstream};

use crate::BusError;

/// How to reach NATS.
#[derive(Clone, Debug)]
pub struct BusConfig {
    /// `nats://user:password@host:port`; several servers of a cluster are separated by commas.
    pub url: String,
    /// What the server shows as the client's name.
    pub name: String,
}

/// How often the server is asked whether it is there: the client's default would notice a frozen one after minutes.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait for the first connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer to a request; a commit may have to wait for its batch.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest pause between two attempts to reconnect.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);
/// Longest wait for the broker's word that it has a ticket.
pub(crate) const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// Tickets that may be on their way to the broker without its word.
pub(crate) const PUBLISH_INFLIGHT_MAX: usize = 4_096;
/// What a message must be able to hold, in bytes: a run's templates, or a result with the largest output.
const PAYLOAD_BYTES_MIN: usize = 8_000_000;
/// Messages that a subscription may hold back.
const SUBSCRIPTION_LEN_MAX: usize = 65_536;

/// A handle on the broker; clones share one connection.
#[derive(Clone)]
pub struct Bus {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) replicas: usize,
    url: String,
}

impl Bus {
    /// Connects; from then on the client reconnects by itself, for ever.
    ///
    /// # Errors
    /// [`BusError::Connect`] where the first connection fails.
    pub async fn connect(config: &BusConfig) -> Result<Self, BusError> {
        let client = client(config).await?;
        let url = without_credentials(&config.url);
        let payload_bytes = client.server_info().max_payload;
        if payload_bytes < PAYLOAD_BYTES_MIN {
            let message = format!("its max_payload is {payload_bytes} bytes and must be at least {PAYLOAD_BYTES_MIN}");
            return Err(BusError::Connect { url, message });
        }
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(PUBLISH_TIMEOUT)
            .ack_timeout(PUBLISH_TIMEOUT)
            .max_ack_inflight(PUBLISH_INFLIGHT_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        Ok(Self { client, jetstream, replicas: 1, url })
    }

    /// The same connection, with streams declared on so many nodes of a cluster.
    #[must_use]
    pub fn with_replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// Whether the connection is up. While it is not, the client keeps what is published and sends it all later.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Whether the broker answers, for readiness.
    ///
    /// # Errors
    /// [`BusError::Connect`] where it does not.
    pub async fn check(&self) -> Result<(), BusError> {
        let fault = |message: String| BusError::Connect { url: self.url.clone(), message };
        self.jetstream.query_account().await.map(drop).map_err(|error| fault(error.to_string()))
    }
}

/// A connection, whatever the server allows.
pub(crate) async fn client(config: &BusConfig) -> Result<async_nats::Client, BusError> {
    let url = without_credentials(&config.url);
    let name = config.name.clone();
    let fault = |error: String| BusError::Connect { url: url.clone(), message: error };
    let servers = config.url.split(',').map(str::parse::<ServerAddr>).collect::<Result<Vec<_>, _>>();
    let servers = servers.map_err(|error| fault(error.to_string()))?;
    credentials(&servers)
        .name(&config.name)
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .subscription_capacity(SUBSCRIPTION_LEN_MAX)
        .reconnect_delay_callback(|attempts| {
            let millis = u64::try_from(attempts).unwrap_or(u64::MAX).saturating_mul(50);
            Duration::from_millis(millis).min(RECONNECT_DELAY_MAX)
        })
        .event_callback(move |event| {
            let name = name.clone();
            async move { tracing::info!(client = %name, %event, "nats connection") }
        })
        .connect(servers.as_slice())
        .await
        .map_err(|error| fault(error.to_string()))
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("url", &self.url).finish_non_exhaustive()
    }
}

/// The user and password of the first address: the client does not read them from there by itself.
fn credentials(servers: &[ServerAddr]) -> ConnectOptions {
    let first = servers.first();
    match (first.and_then(ServerAddr::username), first.and_then(ServerAddr::password)) {
        // Answers come to an inbox that is called after the user: what a user may listen to can then be granted by name.
        (Some(user), Some(password)) => {
            let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
            let is_token = user.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
            if is_token { options.custom_inbox_prefix(format!("_INBOX_{user}")) } else { options }
        }
        (Some(token), None) => ConnectOptions::with_token(token.to_owned()),
        (None, _) => ConnectOptions::new(),
    }
}

/// The address without user and password, for messages.
fn without_credentials(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn credentials_do_not_get_into_messages() {
        assert_eq!(without_credentials("nats://pcs:se@cret@127.0.0.1:4222"), "nats://127.0.0.1:4222");
        assert_eq!(without_credentials("nats://127.0.0.1:4222"), "nats://127.0.0.1:4222");
    }
}
