//! Streams and consumers as `nats/` declares them, created or updated on the broker.

use std::time::Duration;

use async_nats::jetstream::{consumer, stream};
use pcs_domain::jobs::JobKind;
use serde::de::DeserializeOwned;

use crate::{Bus, BusError};

/// The stream of tickets.
pub(crate) const JOBS: &str = "PCS_JOBS";
/// Where unreadable tickets go.
pub(crate) const DLQ_SUBJECT: &str = "pcs.dlq.unreadable";
/// How often a declaration is tried. Where two relays declare the same thing at once, a cluster may leave one of them without an answer.
const DECLARE_TRIES: u32 = 3;
/// How often it is looked whether the relay has declared a consumer.
const CONSUMER_LOOK_INTERVAL: Duration = Duration::from_millis(100);

const STREAMS: [(&str, &str); 2] = [
    (JOBS, include_str!("../../../nats/streams/PCS_JOBS.json")),
    ("PCS_DLQ", include_str!("../../../nats/streams/PCS_DLQ.json")),
];

const CONSUMERS: [(&str, &str); 3] = [
    ("test_execution", include_str!("../../../nats/consumers/test_execution.json")),
    ("swarm_agent", include_str!("../../../nats/consumers/swarm_agent.json")),
    ("maintenance", include_str!("../../../nats/consumers/maintenance.json")),
];

impl Bus {
    /// Creates what is missing and updates what differs; run by the relay, never by workers.
    ///
    /// # Errors
    /// Where the broker does not answer or refuses a declaration.
    pub async fn ensure_topology(&self) -> Result<(), BusError> {
        for _ in 1..DECLARE_TRIES {
            match self.declare().await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(%error, "the broker's streams are declared once more"),
            }
        }
        self.declare().await
    }

    async fn declare(&self) -> Result<(), BusError> {
        for (name, declaration) in STREAMS {
            let mut config: stream::Config = parse(name, declaration)?;
            // Never fewer than there are: a relay that was started without the setting must not make a cluster forgetful.
            let kept =
                self.jetstream.get_stream(name).await.map_or(1, |stream| stream.cached_info().config.num_replicas);
            config.num_replicas = self.replicas.max(kept);
            self.jetstream
                .create_or_update_stream(config)
                .await
                .map_err(|error| BusError::Topology { name: name.to_owned(), message: error.to_string() })?;
        }
        for (name, declaration) in CONSUMERS {
            // As many replicas as its stream has, which is what 0 means.
            let config: consumer::pull::Config = parse(name, declaration)?;
            self.jetstream
                .create_consumer_on_stream(config, JOBS)
                .await
                .map_err(|error| BusError::Topology { name: name.to_owned(), message: error.to_string() })?;
        }
        Ok(())
    }

    /// Whether a kind of job has its consumer.
    pub async fn has_consumer(&self, kind: JobKind) -> bool {
        self.consumer(kind).await.is_ok()
    }

    /// Waits until a kind of job has its consumer.
    pub async fn wait_for_consumer(&self, kind: JobKind) {
        while !self.has_consumer(kind).await {
            tokio::time::sleep(CONSUMER_LOOK_INTERVAL).await;
        }
    }

    /// The consumer of a kind of job.
    pub(crate) async fn consumer(&self, kind: JobKind) -> Result<consumer::PullConsumer, BusError> {
        self.jetstream
            .get_consumer_from_stream(kind.name, JOBS)
            .await
            .map_err(|error| BusError::Topology { name: kind.name.to_owned(), message: error.to_string() })
    }
}

fn parse<T: DeserializeOwned>(name: &str, declaration: &str) -> Result<T, BusError> {
    serde_json::from_str(declaration)
        .map_err(|error| BusError::Topology { name: name.to_owned(), message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_domain::jobs::KINDS;

    #[test]
    fn every_declaration_can_be_read_and_is_called_like_its_file() {
        for (name, declaration) in STREAMS {
            assert_eq!(parse::<stream::Config>(name, declaration).unwrap().name, name);
        }
        for (name, declaration) in CONSUMERS {
            let config: consumer::pull::Config = parse(name, declaration).unwrap();
            assert_eq!(config.durable_name.as_deref(), Some(name));
        }
    }

    #[test]
    fn every_kind_of_job_has_a_consumer_on_its_subjects() {
        for kind in KINDS {
            let (_, declaration) = CONSUMERS.iter().find(|(name, _)| *name == kind.name).unwrap();
            let config: consumer::pull::Config = parse(kind.name, declaration).unwrap();
            assert_eq!(config.filter_subject, format!("pcs.job.*.{}.{}.>", kind.pool, kind.name));
        }
    }
}
