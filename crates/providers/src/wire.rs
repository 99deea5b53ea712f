//! The providers behind a network, through `genai`; no other file knows that library, and none of its types leaves.
//!
//! What it does by default is switched off or checked here: it would take keys and addresses from the environment,
//! read an effort out of a model's name, and let a stream end without an end mark pass for an answer. It also logs
//! the bodies of errors at level `error` under the target `genai`, so telemetry has to keep that target off.

mod embed;
mod post;
mod tools;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{
    ChatMessage, ChatOptions, ChatRequest as GenaiRequest, ChatStreamEvent, ReasoningEffort, StopReason, StreamEnd,
    Usage,
};
use genai::resolver::{AuthData, Endpoint};
use genai::webc::StreamTimeout;
use genai::{Client, Headers, ModelIden, ServiceTarget};
use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::limits::OUTPUT_BYTES_MAX;
use pcs_domain::model::{ModelParams, ModelSpec};
use pcs_domain::ports::Clock;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::call::{CallError, ChatRequest, Provider};
use crate::classes::{Classes, ClassifyRequest};
use crate::config::{GatewayConfig, GatewayError};
use crate::embedding::{EmbedRequest, Embeddings};
use crate::endpoint::{Endpoints, Target, is_loopback};
use crate::gateway::output_too_large;
use crate::kind::ProviderKind;
use crate::messages::{Message, Role, messages};
use crate::prices::{Prices, Tokens};
use crate::refusal;

/// `genai` cuts a model's name at its first `::`, and fine-tuned models have one in their names: this one is cut.
const NAME_GUARD: &str = "pcs::";
/// Ends of an answer that are none: the server broke off and said so.
const BROKEN_OFF: [&str; 6] = ["error", "ERROR", "failed", "cancelled", "abort", "OTHER"];

/// What all providers behind a network share.
pub(crate) struct Network {
    /// Keeps to the proxies of the environment.
    outward: Client,
    /// For addresses on this machine, which no proxy can reach.
    loopback: Client,
    /// The same two, for what is no chat.
    outward_http: reqwest::Client,
    loopback_http: reqwest::Client,
    endpoints: Endpoints,
    prices: Prices,
    clock: Arc<dyn Clock>,
    permits: Semaphore,
    first_byte_timeout: Duration,
    idle_timeout: Duration,
}

impl Network {
    pub(crate) fn new(config: &GatewayConfig, clock: Arc<dyn Clock>) -> Result<Self, GatewayError> {
        let http = |builder: reqwest::ClientBuilder| {
            builder
                .connect_timeout(config.connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .user_agent(concat!("pcs/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        let client = |http: &reqwest::Client| {
            Client::builder().with_reqwest(http.clone()).build().map_err(|_| GatewayError::Library)
        };
        let outward_http = http(reqwest::Client::builder())?;
        let loopback_http = http(reqwest::Client::builder().no_proxy())?;
        Ok(Self {
            outward: client(&outward_http)?,
            loopback: client(&loopback_http)?,
            outward_http,
            loopback_http,
            endpoints: Endpoints::new(config)?,
            prices: Prices::load()?,
            clock,
            permits: Semaphore::new(config.network_calls_max.max(1)),
            first_byte_timeout: config.first_byte_timeout,
            idle_timeout: config.idle_timeout,
        })
    }
}

impl Network {
    /// Finds what is wrong with a model's address or key before it is asked.
    pub(crate) fn check(&self, kind: ProviderKind, model: &ModelSpec) -> Result<(), CallError> {
        self.endpoints.target(kind, model).map(|_| ())
    }

    /// Sends an object to the webhook of an assertion.
    pub(crate) async fn call_webhook(
        &self,
        url: &str,
        body: &Value,
        deadline: Duration,
    ) -> Result<post::Posted, CallError> {
        let url = self.endpoints.webhook(url)?;
        self.post(&url, None, body, deadline).await
    }
}

/// One provider behind a network.
pub(crate) struct Wire {
    kind: ProviderKind,
    network: Arc<Network>,
}

#[async_trait]
impl Provider for Wire {
    fn check(&self, model: &ModelSpec) -> Result<(), CallError> {
        self.network.check(self.kind, model)
    }

    async fn call(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError> {
        let target = self.network.endpoints.target(self.kind, request.model)?;
        let Ok(_permit) = self.network.permits.acquire().await else {
            return Err(CallError::new(FailureClass::Worker, "the worker stops and makes no more calls"));
        };
        let started = Instant::now();
        let (text, end) = self.converse(request, &target).await?;
        let output = tools::with_calls(text, &end);
        let finish_reason = finish(end.captured_stop_reason, output.len())?;
        let tokens = end.captured_usage.as_ref().map(tokens);
        let cost = |tokens| {
            self.network.prices.cost_micro_usd(self.kind, request.model.model(), tokens, self.network.clock.now())
        };
        Ok(Answer {
            output,
            latency_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            input_tokens: tokens.map_or(0, |tokens| tokens.input),
            output_tokens: tokens.map_or(0, |tokens| tokens.output),
            cost_micro_usd: tokens.filter(|_| target.priced).and_then(cost),
            finish_reason: Some(finish_reason),
            cached: false,
        })
    }

    async fn embed(&self, request: &EmbedRequest<'_>) -> Result<Embeddings, CallError> {
        self.vectors(request).await
    }

    async fn classify(&self, request: &ClassifyRequest<'_>) -> Result<Classes, CallError> {
        if self.kind != ProviderKind::OpenAi {
            let message = format!("{} sorts no texts; openai (moderation) and huggingface do", self.kind);
            return Err(CallError::new(FailureClass::UnknownModel, message));
        }
        self.network.classify(self.kind, request).await
    }
}

impl Wire {
    pub(crate) fn new(kind: ProviderKind, network: Arc<Network>) -> Self {
        Self { kind, network }
    }

    /// Asks and collects the stream up to its end mark; a stream that ends without one is no answer.
    async fn converse(&self, request: &ChatRequest<'_>, target: &Target) -> Result<(String, StreamEnd), CallError> {
        let client = if is_loopback(&target.url) { &self.network.loopback } else { &self.network.outward };
        let params = &request.model.params;
        let mut question = GenaiRequest::new(messages(request.prompt)?.into_iter().map(chat_message).collect());
        if !params.tools.is_empty() {
            question = question.with_tools(tools::tools(&params.tools)?);
        }
        if let Some(system) = &params.system {
            question = question.with_system(system.as_str());
        }
        // A whole target leaves nothing to be looked up: neither address nor key can come from the environment.
        let service = service_target(self.kind, target, request.model.model(), "chat/completions");
        let options = self.options(params);
        let opened = client.exec_chat_stream(service, question, Some(&options)).await;
        let mut stream = opened.map_err(|error| self.explain(error, target, 0))?.stream;
        let mut output = String::new();
        while let Some(event) = stream.next().await {
            match event.map_err(|error| self.explain(error, target, output.len()))? {
                ChatStreamEvent::Chunk(chunk) => {
                    output.push_str(&chunk.content);
                    if output.len() > OUTPUT_BYTES_MAX {
                        return Err(output_too_large(output.len()));
                    }
                }
                ChatStreamEvent::End(end) => return Ok((output, end)),
                ChatStreamEvent::Start
                | ChatStreamEvent::ReasoningChunk(_)
                | ChatStreamEvent::ThoughtSignatureChunk(_)
                | ChatStreamEvent::ToolCallChunk(_)
                | ChatStreamEvent::Heartbeat => {}
            }
        }
        Err(truncated("without an end mark", output.len()))
    }

    fn options(&self, params: &ModelParams) -> ChatOptions {
        let mut options = ChatOptions::default()
            .with_capture_usage(true)
            .with_stream_header_timeout(self.network.first_byte_timeout)
            .with_stream_read_timeout(self.network.idle_timeout);
        options.temperature = params.temperature;
        options.max_tokens = params.max_tokens;
        options.top_p = params.top_p;
        options.seed = params.seed;
        options.stop_sequences.clone_from(&params.stop);
        options.capture_tool_calls = (!params.tools.is_empty()).then_some(true);
        if self.kind == ProviderKind::OpenAi {
            // A budget is never sent in this format, but with one the name stays whole: "mistral-medium" would
            // otherwise be sent as "mistral" with a medium effort.
            options.reasoning_effort = Some(ReasoningEffort::Budget(0));
        }
        options
    }

    /// The library's errors as ours. Their own text is not used: it may hold the whole request and its answer.
    fn explain(&self, error: genai::Error, target: &Target, received: usize) -> CallError {
        let now = self.network.clock.now().get();
        match error {
            genai::Error::WebStream { error, .. } => match error.downcast::<genai::Error>() {
                Ok(inner) => self.explain(*inner, target, received),
                Err(other) => transport(other.as_ref(), target, received),
            },
            genai::Error::HttpError { status, headers, body, .. } => refusal::of_status(status, &headers, &body, now),
            genai::Error::ChatResponse { body, .. } if is_no_candidate(&body) => {
                let message = "the provider answered without a candidate: it blocked the prompt";
                CallError::new(FailureClass::ContentFiltered, message)
            }
            genai::Error::ChatResponse { body, .. } => refusal::in_stream(&body),
            genai::Error::StreamParse { serde_error, .. } if serde_error.is_eof() => {
                truncated("within a piece of the stream", received)
            }
            genai::Error::StreamParse { serde_error, .. } => {
                malformed(&format!("a piece of the stream is no JSON: {serde_error}"))
            }
            genai::Error::JsonValueExt(_)
            | genai::Error::SerdeJson(_)
            | genai::Error::InvalidJsonResponseElement { .. } => {
                malformed("a piece of the stream has another shape than the provider's format")
            }
            _ => CallError::new(FailureClass::BadRequest, format!("{} can't be asked like this", self.kind)),
        }
    }
}

fn chat_message(message: Message) -> ChatMessage {
    match message.role {
        Role::System => ChatMessage::system(message.text),
        Role::User => ChatMessage::user(message.text),
        Role::Assistant => ChatMessage::assistant(message.text),
    }
}

fn service_target(kind: ProviderKind, target: &Target, model: &str, path: &str) -> ServiceTarget {
    let adapter = match kind {
        ProviderKind::Anthropic => AdapterKind::Anthropic,
        ProviderKind::Gemini => AdapterKind::Gemini,
        ProviderKind::Ollama => AdapterKind::Ollama,
        ProviderKind::OpenAi
        | ProviderKind::Echo
        | ProviderKind::Scripted
        | ProviderKind::Recorded
        | ProviderKind::HuggingFace => AdapterKind::OpenAI,
    };
    let auth = match &target.key {
        Some(key) => AuthData::from_single(key.expose()),
        None if kind == ProviderKind::Ollama => AuthData::None,
        // Without a key there is no header for one, rather than one with a made-up key.
        None => AuthData::RequestOverride { url: format!("{}{path}", target.url), headers: Headers::default() },
    };
    ServiceTarget {
        endpoint: Endpoint::from_owned(target.url.as_str()),
        auth,
        model: ModelIden::new(adapter, format!("{NAME_GUARD}{model}")),
    }
}

/// The reason why the answer ended, which is what makes it an answer.
fn finish(reason: Option<StopReason>, received: usize) -> Result<String, CallError> {
    match reason {
        Some(StopReason::ContentFilter(reason)) => {
            let message = format!("the provider filtered the answer ({reason})");
            Err(CallError::new(FailureClass::ContentFiltered, message))
        }
        Some(reason) if BROKEN_OFF.contains(&reason.raw()) => Err(truncated(&format!("with \"{reason}\""), received)),
        Some(reason) if !reason.raw().is_empty() => Ok(reason.raw().to_owned()),
        Some(_) | None => Err(truncated("without a finish reason", received)),
    }
}

fn tokens(usage: &Usage) -> Tokens {
    let count = |tokens: Option<i32>| tokens.and_then(|tokens| u64::try_from(tokens).ok()).unwrap_or(0);
    Tokens {
        input: count(usage.prompt_tokens),
        cached: count(usage.prompt_tokens_details.as_ref().and_then(|details| details.cached_tokens)),
        output: count(usage.completion_tokens),
    }
}

fn transport(error: &(dyn StdError + Send + Sync + 'static), target: &Target, received: usize) -> CallError {
    let server = target.url.host_str().unwrap_or("the provider");
    if let Some(timeout) = error.downcast_ref::<StreamTimeout>() {
        let message = match timeout {
            StreamTimeout::Headers => format!("{server} took the request and did not begin to answer in time"),
            StreamTimeout::Read => format!("{server} fell silent within its answer, after {received} bytes of text"),
        };
        return CallError::new(FailureClass::Timeout, message);
    }
    let Some(http) = error.downcast_ref::<reqwest::Error>() else {
        return malformed("the answer is not UTF-8");
    };
    if http.is_connect() {
        CallError::new(FailureClass::Connection, format!("no connection to {}: {}", target.url, root_cause(http)))
    } else if http.is_timeout() {
        CallError::new(FailureClass::Timeout, format!("{server} did not answer in time"))
    } else if http.is_body() || http.is_decode() {
        truncated("by a cut connection", received)
    } else if http.is_builder() {
        CallError::new(FailureClass::BadRequest, format!("the request to {server} can't be made: {}", root_cause(http)))
    } else {
        let message = format!("the connection to {server} broke before the answer: {}", root_cause(http));
        CallError::new(FailureClass::Connection, message)
    }
}

/// The innermost reason: the outer ones only repeat the address.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// How `genai` passes on that Gemini blocked a prompt: it drops Gemini's own words and leaves this.
fn is_no_candidate(body: &Value) -> bool {
    body.get("finishReason").is_some() && body.get("error").is_none()
}

fn truncated(how: &str, received: usize) -> CallError {
    let message = format!("the answer ended {how}, after {received} bytes of text");
    CallError::new(FailureClass::Truncated, message)
}

fn malformed(how: &str) -> CallError {
    CallError::new(FailureClass::MalformedResponse, how)
}
