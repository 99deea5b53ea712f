//! Publishing events of the log to a stream of JetStream: for those who want the history in a broker.

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::{self, context::PublishAckFuture};
use bytes::Bytes;

use crate::connect::{self, PUBLISH_INFLIGHT_MAX, PUBLISH_TIMEOUT};
use crate::{BusConfig, BusError};

/// An event on its way out.
#[derive(Clone, Debug)]
pub struct ReplayedEvent {
    /// Its id: the broker drops a second message with it, within the stream's window for duplicates.
    pub event_id: String,
    /// Its position in the log.
    pub position: i64,
    /// Its wire name and version.
    pub event_type: String,
    /// Its stream's name.
    pub stream: String,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The payload as it was written.
    pub payload: Bytes,
}

/// What the broker did not take, and everything after it was not sent or is not known.
#[derive(Debug, thiserror::Error)]
#[error("the event at position {position} was not taken: {source}")]
pub struct NotTaken {
    /// The position of the first event that has no confirmation.
    pub position: i64,
    /// Why.
    pub source: BusError,
}

/// Publishes to one subject, which must belong to a stream.
pub struct EventPublisher {
    jetstream: jetstream::Context,
    subject: String,
}

impl EventPublisher {
    /// Connects. Unlike the system's own broker this one may have a small largest message.
    ///
    /// # Errors
    /// [`BusError::Connect`] where the connection fails.
    pub async fn connect(config: &BusConfig, subject: &str) -> Result<Self, BusError> {
        let client = connect::client(config).await?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(PUBLISH_TIMEOUT)
            .ack_timeout(PUBLISH_TIMEOUT)
            .max_ack_inflight(PUBLISH_INFLIGHT_MAX)
            .backpressure_on_inflight(true)
            .build(client);
        Ok(Self { jetstream, subject: subject.to_owned() })
    }

    /// Publishes events in their order, all on their way at once; returns when the broker has confirmed each.
    ///
    /// # Errors
    /// [`NotTaken`] with the first event that was not confirmed; those before it are in the stream.
    pub async fn publish(&self, events: Vec<ReplayedEvent>) -> Result<(), NotTaken> {
        let mut sent: Vec<(i64, PublishAckFuture)> = Vec::with_capacity(events.len());
        let mut failed = None;
        for event in events {
            let position = event.position;
            let headers = headers(&event);
            match self.jetstream.publish_with_headers(self.subject.clone(), headers, event.payload).await {
                Ok(confirmation) => sent.push((position, confirmation)),
                Err(error) => {
                    failed = Some(self.fault(position, error.to_string()));
                    break;
                }
            }
        }
        for (position, confirmation) in sent {
            confirmation.await.map_err(|error| self.fault(position, error.to_string()))?;
        }
        failed.map_or(Ok(()), Err)
    }

    fn fault(&self, position: i64, message: String) -> NotTaken {
        NotTaken { position, source: BusError::NoAnswer { subject: self.subject.clone(), message } }
    }
}

fn headers(event: &ReplayedEvent) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, event.event_id.as_str());
    headers.insert("es-position", event.position.to_string());
    headers.insert("es-type", event.event_type.as_str());
    headers.insert("es-stream", event.stream.as_str());
    if let Some(traceparent) = &event.traceparent {
        // A line's end in a header would be read as the next header.
        headers.insert("traceparent", traceparent.replace(['\r', '\n'], " "));
    }
    headers
}
