//! Picks the provider of a model and holds the rules that all of them share: checks, deadline, size, redaction.

use std::sync::Arc;
use std::time::Duration;

use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::limits::OUTPUT_BYTES_MAX;
use pcs_domain::model::ModelSpec;
use pcs_domain::ports::{Clock, System};
use serde_json::Value;

use crate::call::{CallError, ChatRequest, Provider};
use crate::classes::{Classes, ClassifyRequest};
use crate::config::{GatewayConfig, GatewayError};
use crate::echo::Echo;
use crate::embedding::{EmbedRequest, Embeddings};
use crate::huggingface::HuggingFace;
use crate::kind::ProviderKind;
use crate::recorded::Recorded;
use crate::redact::Redactor;
use crate::scripted::Scripted;
use crate::wire::{Network, Wire};

/// The one way to a model. Cheap to share behind an `Arc`; holds the connections and the loaded recordings.
pub struct Gateway {
    providers: Vec<(ProviderKind, Box<dyn Provider>)>,
    redactor: Redactor,
    network: Arc<Network>,
}

impl Gateway {
    /// Makes a gateway; nothing is connected to and no recording is read before it is needed.
    ///
    /// # Errors
    /// [`GatewayError`] where an address in the settings is none, or there can be no HTTP client.
    pub fn new(config: GatewayConfig) -> Result<Self, GatewayError> {
        Self::with_clock(config, Arc::new(System))
    }

    /// Makes a gateway with another source of the time, by which prices and `Retry-After` dates are read.
    ///
    /// # Errors
    /// As [`Gateway::new`].
    pub fn with_clock(config: GatewayConfig, clock: Arc<dyn Clock>) -> Result<Self, GatewayError> {
        let redactor = Redactor::new(config.keys.values());
        let network = Arc::new(Network::new(&config, clock)?);
        let providers = ProviderKind::ALL.map(|kind| (kind, provider(kind, &config, &network))).into();
        Ok(Self { providers, redactor, network })
    }

    /// Asks a model once.
    ///
    /// # Errors
    /// [`CallError`] says why there is no answer; its class says whether another attempt could go better.
    pub async fn call(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError> {
        self.ask(request).await.map_err(|error| self.redactor.clean(error))
    }

    /// Turns texts into vectors.
    ///
    /// # Errors
    /// [`CallError`] says why there are none; its class says whether another attempt could go better.
    pub async fn embed(&self, request: &EmbedRequest<'_>) -> Result<Embeddings, CallError> {
        let vectors = async {
            let provider = self.provider(request.model)?;
            within(request.deadline, request.model, provider.embed(request)).await
        };
        vectors.await.map_err(|error| self.redactor.clean(error))
    }

    /// Sorts a text into classes.
    ///
    /// # Errors
    /// [`CallError`] says why there are none; its class says whether another attempt could go better.
    pub async fn classify(&self, request: &ClassifyRequest<'_>) -> Result<Classes, CallError> {
        let classes = async {
            let provider = self.provider(request.model)?;
            within(request.deadline, request.model, provider.classify(request)).await
        };
        classes.await.map_err(|error| self.redactor.clean(error))
    }

    /// Sends a JSON object to the webhook of an assertion, where the operator allows that address; the text of its
    /// answer, and how long it took in milliseconds. Redirects are not followed, and no key is sent.
    ///
    /// # Errors
    /// [`CallError`] says why there is none; its class says whether another attempt could go better.
    pub async fn webhook(&self, url: &str, body: &Value, deadline: Duration) -> Result<(String, u64), CallError> {
        let posted = self.network.call_webhook(url, body, deadline).await;
        posted.map(|posted| (posted.text, posted.latency_ms)).map_err(|error| self.redactor.clean(error))
    }

    /// Finds what is wrong with a model before it is asked: its provider, address, credential, script, set.
    ///
    /// # Errors
    /// What [`Gateway::call`] would fail with.
    pub fn check(&self, model: &ModelSpec) -> Result<(), CallError> {
        self.provider(model).map(|_| ()).map_err(|error| self.redactor.clean(error))
    }

    async fn ask(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError> {
        let provider = self.provider(request.model)?;
        let answer = within(request.deadline, request.model, provider.call(request)).await?;
        if answer.output.len() > OUTPUT_BYTES_MAX {
            return Err(output_too_large(answer.output.len()));
        }
        Ok(answer)
    }

    fn provider(&self, model: &ModelSpec) -> Result<&dyn Provider, CallError> {
        let named = |(kind, _): &&(ProviderKind, _)| kind.name() == model.provider();
        let Some((kind, provider)) = self.providers.iter().find(named) else {
            let known: Vec<&str> = ProviderKind::ALL.iter().map(|kind| kind.name()).collect();
            let message = format!("there is no provider of \"{}\"; there are {}", model.id, known.join(", "));
            return Err(CallError::new(FailureClass::UnknownModel, message));
        };
        if model.script.is_some() && *kind != ProviderKind::Scripted {
            let message = format!("\"{}\" takes no script: only scripted models do", model.id);
            return Err(CallError::new(FailureClass::BadRequest, message));
        }
        if model.base_url.is_some() && !kind.takes_base_url() {
            let message = format!("\"{}\" takes no base_url: only openai, ollama and huggingface models do", model.id);
            return Err(CallError::new(FailureClass::BadRequest, message));
        }
        provider.check(model)?;
        Ok(provider.as_ref())
    }
}

/// What a call answers before its deadline; the model's own may be earlier.
async fn within<T>(
    deadline: Duration,
    model: &ModelSpec,
    call: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    let own = model.params.timeout_ms.map_or(Duration::MAX, Duration::from_millis);
    let deadline = deadline.min(own);
    tokio::time::timeout(deadline, call).await.unwrap_or_else(|_| {
        let message = format!("no complete answer within {} ms", deadline.as_millis());
        Err(CallError::new(FailureClass::Timeout, message))
    })
}

/// The registry: one arm per kind.
fn provider(kind: ProviderKind, config: &GatewayConfig, network: &Arc<Network>) -> Box<dyn Provider> {
    match kind {
        ProviderKind::Echo => Box::new(Echo),
        ProviderKind::Scripted => Box::new(Scripted),
        ProviderKind::Recorded => Box::new(Recorded::new(config.recordings_dir.clone())),
        ProviderKind::OpenAi | ProviderKind::Anthropic | ProviderKind::Gemini | ProviderKind::Ollama => {
            Box::new(Wire::new(kind, Arc::clone(network)))
        }
        ProviderKind::HuggingFace => Box::new(HuggingFace { network: Arc::clone(network) }),
    }
}

pub(crate) fn output_too_large(bytes: usize) -> CallError {
    let message = format!("the answer has {bytes} bytes or more; at most {OUTPUT_BYTES_MAX} are recorded");
    CallError::new(FailureClass::OutputTooLarge, message)
}
