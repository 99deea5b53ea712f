//! Publishing tickets and looking after them: every publish is confirmed by the broker before it counts.

use std::collections::HashSet;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream::DirectGetErrorKind;
use bytes::Bytes;
use futures_util::future::join_all;
use pcs_domain::Timestamp;
use pcs_domain::ids::{DispatchId, TestRunId};
use pcs_domain::jobs::JobKind;
use pcs_domain::test_run::Lane;

use crate::{Bus, BusError, subjects, topology};

/// A ticket to be published.
#[derive(Clone, Debug)]
pub struct NewTicket {
    /// The broker drops a second ticket with the same id: the id of the hand-over, never of the job, or a retry would
    /// be dropped too.
    pub dispatch_id: DispatchId,
    /// How important it is.
    pub lane: Lane,
    /// The kind of job.
    pub kind: JobKind,
    /// The run it belongs to.
    pub run_id: TestRunId,
    /// The ticket as JSON.
    pub payload: Bytes,
}

/// What tells a broker that lost its disk from one that did not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamState {
    /// When the stream was created.
    pub created: Timestamp,
    /// The newest sequence that it has given out.
    pub last_sequence: u64,
    /// Tickets that are in it now.
    pub messages: u64,
}

impl Bus {
    /// Publishes tickets, all at once; the answers are in the order of the tickets.
    ///
    /// `Ok` holds the ticket's sequence in the stream. After an error the ticket may be there all the same.
    pub async fn publish_tickets(&self, tickets: Vec<NewTicket>) -> Vec<Result<u64, BusError>> {
        let mut sent = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            let subject = subjects::job(ticket.lane, ticket.kind, ticket.run_id);
            let mut headers = HeaderMap::new();
            headers.insert(NATS_MESSAGE_ID, ticket.dispatch_id.to_string());
            let confirmation = self.jetstream.publish_with_headers(subject.clone(), headers, ticket.payload).await;
            sent.push((subject, confirmation));
        }
        let confirmed = sent.into_iter().map(|(subject, confirmation)| async move {
            let fault = |message: String| BusError::NoAnswer { subject, message };
            match confirmation {
                Ok(confirmation) => match confirmation.await {
                    Ok(ack) => Ok(ack.sequence),
                    Err(error) => Err(fault(error.to_string())),
                },
                Err(error) => Err(fault(error.to_string())),
            }
        });
        join_all(confirmed).await
    }

    /// The state of the stream of tickets.
    ///
    /// # Errors
    /// Where the broker does not answer or has no such stream.
    pub async fn stream_state(&self) -> Result<StreamState, BusError> {
        let fault = |message: String| BusError::NoAnswer { subject: topology::JOBS.to_owned(), message };
        let stream = self.jetstream.get_stream(topology::JOBS).await.map_err(|error| fault(error.to_string()))?;
        let info = stream.cached_info();
        Ok(StreamState {
            created: Timestamp::new(info.created),
            last_sequence: info.state.last_sequence,
            messages: info.state.messages,
        })
    }

    /// The hand-overs whose tickets are in the stream: waiting, or worked on and not yet acknowledged.
    ///
    /// # Errors
    /// Where the broker does not answer, or the stream holds more than `len_max` tickets.
    pub async fn live_dispatches(&self, len_max: usize) -> Result<HashSet<DispatchId>, BusError> {
        let fault = |message: String| BusError::NoAnswer { subject: topology::JOBS.to_owned(), message };
        let stream =
            self.jetstream.get_stream_no_info(topology::JOBS).await.map_err(|error| fault(error.to_string()))?;
        let mut live = HashSet::new();
        let mut sequence = 1;
        // From message to message: the gaps that finished tickets leave may be millions of sequences wide.
        while live.len() < len_max {
            match stream.direct_get_next_for_subject("pcs.job.>", Some(sequence)).await {
                Ok(message) => {
                    let id = message.headers.get(NATS_MESSAGE_ID).and_then(|id| id.as_str().parse().ok());
                    live.extend(id.map(DispatchId));
                    sequence = message.sequence + 1;
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(live),
                Err(error) => return Err(fault(error.to_string())),
            }
        }
        Err(fault(format!("more than {len_max} tickets are in the stream")))
    }

    /// Takes a cancelled run's tickets out of the stream, and tells workers to stop what they do for it.
    ///
    /// # Errors
    /// Where the broker does not answer; the tickets are then refused one by one, when they are redelivered.
    pub async fn cancel_run(&self, run: TestRunId) -> Result<(), BusError> {
        let filter = subjects::jobs_of_run(run);
        let fault = |message: String| BusError::NoAnswer { subject: filter.clone(), message };
        let stream =
            self.jetstream.get_stream_no_info(topology::JOBS).await.map_err(|error| fault(error.to_string()))?;
        stream.purge().filter(filter.clone()).await.map_err(|error| fault(error.to_string()))?;
        let subject = subjects::cancel(run);
        self.client.publish(subject, Bytes::new()).await.map_err(|error| fault(error.to_string()))
    }

    /// Keeps what no worker could read, for people to look at; answers when the broker has it.
    pub(crate) async fn dead_letter(&self, subject: &str, payload: Bytes, why: &str) -> Result<(), BusError> {
        let fault = |message: String| BusError::NoAnswer { subject: topology::DLQ_SUBJECT.to_owned(), message };
        let mut headers = HeaderMap::new();
        headers.insert("Pcs-Dead-Reason", why.replace(['\r', '\n'], " "));
        headers.insert("Pcs-Subject", subject);
        let confirmation = self
            .jetstream
            .publish_with_headers(topology::DLQ_SUBJECT, headers, payload)
            .await
            .map_err(|error| fault(error.to_string()))?;
        confirmation.await.map(drop).map_err(|error| fault(error.to_string()))
    }
}
