//! One JSON object there and one back, for what is no chat: moderation, classifiers and the webhooks of assertions.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pcs_domain::execution::FailureClass;
use pcs_domain::model::ModelSpec;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Network, malformed};
use crate::call::CallError;
use crate::classes::{Class, Classes, ClassifyRequest};
use crate::config::Secret;
use crate::endpoint::{Target, is_loopback};
use crate::kind::ProviderKind;
use crate::refusal;

/// Most bytes that are read of an answer.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A moderation in the format of `OpenAI`.
#[derive(Deserialize)]
struct Moderation {
    results: Vec<Moderated>,
}

#[derive(Deserialize)]
struct Moderated {
    categories: BTreeMap<String, Option<bool>>,
    category_scores: BTreeMap<String, f64>,
}

/// A classification in the format of Hugging Face, of one text or of a list of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Labels {
    Nested(Vec<Vec<Label>>),
    Flat(Vec<Label>),
}

#[derive(Deserialize)]
struct Label {
    label: String,
    score: f64,
}

/// What was sent back.
pub(crate) struct Posted {
    pub(crate) text: String,
    pub(crate) latency_ms: u64,
}

impl Network {
    /// Sends an object and reads what comes back, up to a bound; anything but a success is an error.
    pub(crate) async fn post(
        &self,
        url: &Url,
        key: Option<&Secret>,
        body: &Value,
        deadline: Duration,
    ) -> Result<Posted, CallError> {
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(CallError::new(FailureClass::Worker, "the worker stops and makes no more calls"));
        };
        let started = Instant::now();
        let client = if is_loopback(url) { &self.loopback_http } else { &self.outward_http };
        let mut request = client.post(url.clone()).timeout(deadline).json(body);
        if let Some(key) = key {
            request = request.bearer_auth(key.expose());
        }
        let target = Target { url: url.clone(), key: None, priced: false };
        let failed = |error: reqwest::Error| super::transport(&error, &target, 0);
        let mut response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(failed)? {
            bytes.extend_from_slice(&piece);
            if bytes.len() > ANSWER_BYTES_MAX {
                return Err(malformed(&format!("the answer has more than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        let text = String::from_utf8(bytes).map_err(|_| malformed("the answer is not UTF-8"))?;
        if !status.is_success() {
            return Err(refusal::of_status(status, &headers, &text, self.clock.now().get()));
        }
        Ok(Posted { text, latency_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX) })
    }

    /// The classes of a text, by a moderation of `OpenAI`'s format or a classifier of Hugging Face's.
    pub(crate) async fn classify(
        &self,
        kind: ProviderKind,
        request: &ClassifyRequest<'_>,
    ) -> Result<Classes, CallError> {
        let target = self.endpoints.target(kind, request.model)?;
        let (path, body) = match kind {
            ProviderKind::HuggingFace => (request.model.model(), json!({ "inputs": request.text })),
            _ => ("moderations", json!({ "model": request.model.model(), "input": request.text })),
        };
        let url = joined(&target.url, path, request.model)?;
        let posted = self.post(&url, target.key.as_ref(), &body, request.deadline).await?;
        let classes = match kind {
            ProviderKind::HuggingFace => labelled(&posted.text)?,
            _ => moderated(&posted.text)?,
        };
        if !classes.iter().all(|class| class.score.is_finite()) {
            return Err(malformed("the scores of the classes are no numbers"));
        }
        Ok(Classes { classes, latency_ms: posted.latency_ms, answer: posted.text })
    }
}

/// A model's name may have slashes, and nothing that leads elsewhere.
fn joined(base: &Url, path: &str, model: &ModelSpec) -> Result<Url, CallError> {
    let url = base.join(path).ok().filter(|url| url.host() == base.host() && url.path().starts_with(base.path()));
    url.ok_or_else(|| CallError::new(FailureClass::UnknownModel, format!("\"{}\" is no model's name", model.id)))
}

fn moderated(text: &str) -> Result<Vec<Class>, CallError> {
    let moderation: Moderation = read(text)?;
    let Some(result) = moderation.results.into_iter().next() else {
        return Err(malformed("the moderation has no result"));
    };
    let scores = result.category_scores;
    let class = |(label, flagged): (String, Option<bool>)| Class {
        score: scores.get(&label).copied().unwrap_or_default(),
        flagged: flagged.unwrap_or_default(),
        label,
    };
    Ok(result.categories.into_iter().map(class).collect())
}

fn labelled(text: &str) -> Result<Vec<Class>, CallError> {
    let labels = match read(text)? {
        Labels::Nested(lists) => lists.into_iter().next().unwrap_or_default(),
        Labels::Flat(labels) => labels,
    };
    if labels.is_empty() {
        return Err(malformed("the classifier names no class"));
    }
    Ok(labels.into_iter().map(|Label { label, score }| Class { label, score, flagged: false }).collect())
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, CallError> {
    serde_json::from_str(text).map_err(|error| malformed(&format!("the answer has another shape: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_read_in_both_formats() {
        let moderation = r#"{"results":[{"flagged":true,"categories":{"hate":true,"illicit":null},"category_scores":{"hate":0.9,"illicit":0.1}}]}"#;
        let class = |label: &str, score, flagged| Class { label: label.to_owned(), score, flagged };
        assert_eq!(moderated(moderation).unwrap(), [class("hate", 0.9, true), class("illicit", 0.1, false)]);
        for labels in [r#"[[{"label":"good","score":0.75}]]"#, r#"[{"label":"good","score":0.75}]"#] {
            assert_eq!(labelled(labels).unwrap(), [class("good", 0.75, false)]);
        }
        for wrong in [r#"{"error":"loading"}"#, "[]", "no JSON"] {
            assert_eq!(labelled(wrong).unwrap_err().class, FailureClass::MalformedResponse, "{wrong}");
            assert_eq!(moderated(wrong).unwrap_err().class, FailureClass::MalformedResponse, "{wrong}");
        }
    }

    #[test]
    fn a_models_name_leads_nowhere_else() {
        let base = Url::parse("https://router.example/models/").unwrap();
        let joined = |path: &str| joined(&base, path, &ModelSpec::of_id(format!("huggingface:{path}")));
        assert_eq!(joined("facebook/bart").unwrap().as_str(), "https://router.example/models/facebook/bart");
        for elsewhere in ["../admin", "//evil.org/x", "https://evil.org/x", "/x"] {
            assert!(joined(elsewhere).is_err(), "{elsewhere}");
        }
    }
}
