//! Where a replay goes: each target takes a batch as a whole and in order, or says which event it did not take.

use std::time::Duration;

use clap::ValueEnum;
use pcs_bus::{BusConfig, EventPublisher, ReplayedEvent};
use pcs_store::StoredEvent;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{StatusCode, Url};
use uuid::Uuid;

use crate::commands::es::console::Console;
use crate::commands::es::event_view::EventView;
use crate::commands::exit::CliError;
use crate::roles::NatsArgs;

/// Events that are on their way to the broker at once.
const NATS_BATCH_LEN: usize = 256;
/// Events that are printed before the progress is looked at again.
const STDOUT_BATCH_LEN: usize = 1_000;
/// How often a batch is posted before the replay stops.
const ATTEMPTS_MAX: u32 = 6;
/// The first pause between two attempts; it doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest time for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Characters of an answer that are told.
const ANSWER_CHARS_MAX: usize = 200;
/// The namespace of batches, from which their keys are derived: a batch that is sent again has the same key.
const BATCH_NAMESPACE: Uuid = Uuid::from_u128(0x6f1d_1f3e_8c0b_4b52_9d0e_54a3_1f0c_7a11);

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Kind {
    /// JSON lines on stdout
    Stdout,
    /// A stream of JetStream
    Nats,
    /// A server that takes JSON lines
    Http,
}

/// Where the events go.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct TargetArgs {
    /// Where the events go
    #[arg(long, value_enum, default_value_t = Kind::Stdout)]
    target: Kind,
    #[command(flatten)]
    nats: NatsArgs,
    /// The subject to publish to; a stream of JetStream must have it
    #[arg(long, required_if_eq("target", "nats"))]
    subject: Option<String>,
    /// The address to post to
    #[arg(long, required_if_eq("target", "http"))]
    url: Option<Url>,
    /// A header of every request, as in "Authorization: Bearer ..."; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Events of one request
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written as \"Name: value\"")?;
    let name = name.trim().parse().map_err(|_| "the header's name can't be one")?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| "the header's value can't be one")?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// An opened target.
pub(super) enum Target {
    Stdout,
    Nats(Box<EventPublisher>),
    Http(Box<HttpTarget>),
}

/// A server that takes batches.
pub(super) struct HttpTarget {
    client: reqwest::Client,
    url: Url,
    batch_len: usize,
}

/// What was not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The first event of which it is not known that it arrived.
    pub(super) position: i64,
    pub(super) message: String,
}

impl TargetArgs {
    pub(super) async fn open(self) -> Result<Target, CliError> {
        let missing = |what: &str| CliError::usage(format!("{what} is missing"), format!("give --{what}"));
        match self.target {
            Kind::Stdout => Ok(Target::Stdout),
            Kind::Nats => {
                let url = self.nats.url().map_err(|error| CliError::usage("no broker is known", error.to_string()))?;
                let subject = self.subject.ok_or_else(|| missing("subject"))?;
                let config = BusConfig { url, name: "pcs es replay".to_owned() };
                let publisher = EventPublisher::connect(&config, &subject).await;
                publisher.map(Box::new).map(Target::Nats).map_err(|error| CliError::System(error.to_string()))
            }
            Kind::Http => {
                let url = self.url.ok_or_else(|| missing("url"))?;
                let client = reqwest::Client::builder()
                    .timeout(REQUEST_TIMEOUT)
                    .redirect(reqwest::redirect::Policy::none())
                    .default_headers(self.headers.into_iter().collect::<HeaderMap>())
                    .build()
                    .map_err(|error| CliError::System(error.to_string()))?;
                let batch_len = usize::from(self.batch);
                Ok(Target::Http(Box::new(HttpTarget { client, url, batch_len })))
            }
        }
    }
}

impl Target {
    pub(super) fn batch_len(&self) -> usize {
        match self {
            Self::Stdout => STDOUT_BATCH_LEN,
            Self::Nats(_) => NATS_BATCH_LEN,
            Self::Http(http) => http.batch_len,
        }
    }

    /// Prints a batch where the target is stdout; answers whether it is.
    pub(super) fn print(&self, batch: &[StoredEvent], console: &mut Console) -> Result<bool, CliError> {
        if !matches!(self, Self::Stdout) {
            return Ok(false);
        }
        console.output.text(&lines(batch)?)?;
        Ok(true)
    }

    pub(super) async fn send(&self, batch: &[StoredEvent]) -> Result<(), Refusal> {
        match self {
            Self::Stdout => Ok(()),
            Self::Nats(publisher) => {
                let events = batch.iter().map(message).collect();
                publisher
                    .publish(events)
                    .await
                    .map_err(|error| Refusal { position: error.position, message: error.to_string() })
            }
            Self::Http(http) => http.post(batch).await,
        }
    }
}

fn lines(batch: &[StoredEvent]) -> Result<String, CliError> {
    let mut text = String::new();
    for event in batch {
        text.push_str(&serde_json::to_string(&EventView::from(event)).map_err(std::io::Error::other)?);
        text.push('\n');
    }
    Ok(text)
}

fn message(event: &StoredEvent) -> ReplayedEvent {
    ReplayedEvent {
        event_id: event.event_id.to_string(),
        position: event.position,
        event_type: format!("{}.v{}", event.type_name, event.schema_version),
        stream: event.stream_name(),
        traceparent: event.trace.clone(),
        payload: event.payload.clone().into_bytes().into(),
    }
}

impl HttpTarget {
    async fn post(&self, batch: &[StoredEvent]) -> Result<(), Refusal> {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
        let refusal = |message: String| Refusal { position: first.position, message };
        let body = lines(batch).map_err(|error| refusal(error.to_string()))?;
        let name = format!("{}:{}..{}:{}", first.event_id, first.position, last.position, batch.len());
        let key = Uuid::new_v5(&BATCH_NAMESPACE, name.as_bytes()).to_string();
        let mut pause = RETRY_PAUSE;
        for attempt in 1.. {
            let request = self.client.post(self.url.clone()).header("Idempotency-Key", &key);
            let request = request.header(CONTENT_TYPE, "application/x-ndjson").body(body.clone());
            let (message, may_retry) = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    let text: String = answer.text().await.unwrap_or_default();
                    let text: String = text.chars().take(ANSWER_CHARS_MAX).collect();
                    (format!("the server answered {status}: {text}"), is_passing(status))
                }
                Err(error) => (format!("the server did not answer: {}", error.without_url()), true),
            };
            if !may_retry || attempt == ATTEMPTS_MAX {
                return Err(refusal(message));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }
}

/// Whether the same request may have a better answer later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

#[cfg(test)]
mod tests {
    use pcs_domain::Timestamp;
    use pcs_domain::ids::TenantId;
    use serde_json::json;

    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};

    fn event(position: i64) -> StoredEvent {
        StoredEvent {
            position,
            tenant: TenantId(1),
            stream_id: Uuid::from_u128(1),
            version: position,
            event_id: Uuid::from_u128(u128::try_from(position).unwrap()),
            category: 1,
            type_name: "prompt_card.tagged".to_owned(),
            schema_version: 1,
            recorded_at: Timestamp::EPOCH,
            command_id: Uuid::nil(),
            correlation_id: None,
            causation_id: None,
            actor_id: None,
            trace: None,
            payload: "{\"tags\":[]}".to_owned(),
            stream_no: 1,
            hash: Vec::new(),
        }
    }

    fn target(server: &FakeServer) -> HttpTarget {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        HttpTarget { client, url: server.url().parse().unwrap(), batch_len: 2 }
    }

    #[tokio::test]
    async fn a_batch_is_posted_with_the_same_key_until_it_is_taken() {
        let server = FakeServer::in_order(vec![
            Reply::json(503, json!({})),
            Reply::dropped(),
            Reply::json(429, json!({})),
            Reply::json(204, json!(null)),
        ]);
        assert!(target(&server).post(&[event(7), event(9)]).await.is_ok());
        let asked = server.asked();
        assert_eq!(asked.len(), 4);
        let key = &asked[0].headers["idempotency-key"];
        assert!(asked.iter().all(|asked| asked.headers["idempotency-key"] == *key));
        assert_eq!(asked[0].headers["content-type"], "application/x-ndjson");
        let positions: Vec<i64> = asked[3]
            .body
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["position"].as_i64().unwrap())
            .collect();
        assert_eq!(positions, [7, 9]);
    }

    #[tokio::test]
    async fn a_refusal_is_not_tried_again_and_says_where() {
        let server = FakeServer::in_order(vec![Reply::json(422, json!({ "detail": "no" }))]);
        let refusal = target(&server).post(&[event(7), event(9)]).await.unwrap_err();
        assert_eq!((refusal.position, server.asked().len()), (7, 1));
        assert!(refusal.message.contains("422"), "{}", refusal.message);
    }
}
