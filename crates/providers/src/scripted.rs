//! `scripted`: the model that answers, dawdles and fails as its script says, the same way each time it is asked again.

use std::time::Duration;

use async_trait::async_trait;
use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::model::Script;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::call::{CallError, CallKey, ChatRequest, Provider};
use crate::echo::count_words;

/// Does what the model's script says; without a script it answers the prompt.
pub(crate) struct Scripted;

#[async_trait]
impl Provider for Scripted {
    async fn call(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError> {
        let absent = Script::default();
        let script = request.model.script.as_ref().unwrap_or(&absent);
        let latency = Duration::from_millis(script.latency_ms);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        misfortune(script, draw(request.cell))?;
        let output = match &script.answer {
            Some(template) => render(template, request.variables)?,
            None => request.prompt.to_owned(),
        };
        Ok(Answer {
            latency_ms: script.latency_ms,
            input_tokens: count_words(request.prompt),
            output_tokens: count_words(&output),
            cost_micro_usd: None,
            finish_reason: Some("stop".to_owned()),
            cached: false,
            output,
        })
    }
}

/// A number below 1,000 from the execution and its attempt: whoever draws it, and whenever, draws the same.
fn draw(cell: CallKey) -> u64 {
    let mut hash = Sha256::new();
    hash.update(cell.execution_id.0.as_bytes());
    hash.update(cell.attempt.to_be_bytes());
    if cell.snoozes > 0 {
        hash.update(cell.snoozes.to_be_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest[..8].iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte)) % 1_000
}

fn misfortune(script: &Script, draw: u64) -> Result<(), CallError> {
    let errors = u64::from(script.errors_per_mille);
    let rate_limits = errors + u64::from(script.rate_limits_per_mille);
    let refusals = rate_limits + u64::from(script.refusals_per_mille);
    if draw < errors {
        Err(CallError::new(FailureClass::Overloaded, "the script says: server error"))
    } else if draw < rate_limits {
        let after = Duration::from_millis(script.retry_after_ms);
        let error = CallError::new(FailureClass::RateLimited, "the script says: too many requests");
        Err(error.with_retry_after((!after.is_zero()).then_some(after)))
    } else if draw < refusals {
        Err(CallError::new(FailureClass::ContentFiltered, "the script says: refused"))
    } else {
        Ok(())
    }
}

/// Puts the variables into `{{name}}`, once: what a variable brings along is not looked at again.
fn render(template: &str, variables: &Map<String, Value>) -> Result<String, CallError> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, opened)) = rest.split_once("{{") {
        let Some((name, after)) = opened.split_once("}}") else { break };
        out.push_str(before);
        match variables.get(name.trim()) {
            Some(Value::String(text)) => out.push_str(text),
            Some(other) => out.push_str(&other.to_string()),
            None => {
                let message =
                    format!("the script's answer uses \"{}\", and the case has no such variable", name.trim());
                return Err(CallError::new(FailureClass::BadRequest, message));
            }
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_domain::ids::ExecutionId;
    use serde_json::json;
    use uuid::Uuid;

    fn variables() -> Map<String, Value> {
        json!({ "name": "{{n}}", "n": 3, "list": [1, "a"] }).as_object().unwrap().clone()
    }

    #[test]
    fn variables_are_put_in_once() {
        let rendered = render("{{name}}-{{ n }}-{{list}} {{open", &variables()).unwrap();
        assert_eq!(rendered, "{{n}}-3-[1,\"a\"] {{open");
    }

    #[test]
    fn a_variable_that_is_not_there_is_an_error() {
        let error = render("{{missing}}", &variables()).unwrap_err();
        assert_eq!(error.class, FailureClass::BadRequest);
        assert!(error.message.contains("missing"), "{error}");
    }

    #[test]
    fn draws_are_even_and_another_attempt_draws_anew() {
        let cell =
            |seed: u128, attempt| CallKey { execution_id: ExecutionId(Uuid::from_u128(seed)), attempt, snoozes: 0 };
        let below_half = (0..10_000).filter(|seed| draw(cell(*seed, 1)) < 500).count();
        assert!((4_700..5_300).contains(&below_half), "{below_half}");
        assert_eq!(draw(cell(7, 1)), draw(cell(7, 1)));
        let changed = (0..1_000).filter(|seed| draw(cell(*seed, 1)) != draw(cell(*seed, 2))).count();
        assert!(changed > 980, "{changed}");
    }

    #[test]
    fn the_shares_of_misfortune_do_not_overlap() {
        let script = Script {
            errors_per_mille: 100,
            rate_limits_per_mille: 200,
            refusals_per_mille: 50,
            retry_after_ms: 1_500,
            ..Script::default()
        };
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..1_000 {
            let class = misfortune(&script, number).err().map(|error| format!("{:?}", error.class));
            *counts.entry(class).or_insert(0) += 1;
        }
        let found: Vec<i32> = counts.into_values().collect();
        assert_eq!(found, [650, 50, 100, 200], "none, content filtered, overloaded, rate limited");
        let limited = misfortune(&script, 150).unwrap_err();
        assert_eq!(limited.retry_after, Some(Duration::from_millis(1_500)));
    }
}
