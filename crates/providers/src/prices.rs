//! What a call costs at list price; where no price is known the cost is unknown, and never 0.

use pcs_domain::timestamp::Timestamp;
use serde::Deserialize;

use crate::kind::ProviderKind;

/// The list in `prices.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prices {
    #[serde(rename = "comment")]
    _comment: String,
    prices: Vec<Price>,
}

/// One line of the list. A US dollar per million tokens is a millionth of a dollar per token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    provider: String,
    /// Names of models; a `*` at the end stands for any rest.
    models: Vec<String>,
    input_usd_per_mtok: f64,
    /// For tokens that the provider had cached; the price of all input where it is absent.
    #[serde(default)]
    cached_input_usd_per_mtok: Option<f64>,
    output_usd_per_mtok: f64,
    /// The first day of the price, as 2025-01-31. Of several prices that hold, the one with the latest day does.
    valid_from: String,
    /// Longest prompt that the price holds for, in tokens.
    #[serde(default)]
    input_tokens_max: Option<u64>,
}

/// Tokens of one call, as the provider counted them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) input: u64,
    /// Those of `input` that were cached.
    pub(crate) cached: u64,
    pub(crate) output: u64,
}

impl Prices {
    pub(crate) fn load() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("prices.json"))
    }

    /// The cost in millionths of a US dollar, rounded; absent where no price is known.
    #[expect(clippy::cast_precision_loss, reason = "no call has 2^53 tokens")]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cost is small and never negative")]
    pub(crate) fn cost_micro_usd(&self, kind: ProviderKind, model: &str, tokens: Tokens, at: Timestamp) -> Option<u64> {
        let today = at.to_string();
        let holds = |price: &&Price| {
            price.provider == kind.name()
                && price.models.iter().any(|pattern| matches(pattern, model))
                && price.valid_from.as_str() <= today.as_str()
                && price.input_tokens_max.is_none_or(|max| tokens.input <= max)
        };
        let price = self.prices.iter().filter(holds).max_by(|a, b| a.valid_from.cmp(&b.valid_from))?;
        let cached = tokens.cached.min(tokens.input);
        let cost = (tokens.input - cached) as f64 * price.input_usd_per_mtok
            + cached as f64 * price.cached_input_usd_per_mtok.unwrap_or(price.input_usd_per_mtok)
            + tokens.output as f64 * price.output_usd_per_mtok;
        Some(cost.round() as u64)
    }
}

fn matches(pattern: &str, model: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => model.starts_with(start),
        None => model == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        serde_json::from_value(text.into()).unwrap()
    }

    fn cost(kind: ProviderKind, model: &str, tokens: Tokens) -> Option<u64> {
        Prices::load().unwrap().cost_micro_usd(kind, model, tokens, at("2026-11-01T00:00:00Z"))
    }

    const TOKENS: Tokens = Tokens { input: 100_000, cached: 0, output: 100_000 };

    #[test]
    fn the_list_can_be_read_and_names_real_providers_and_days() {
        let prices = Prices::load().unwrap().prices;
        assert!(prices.len() > 5);
        for price in prices {
            assert!(ProviderKind::parse(&price.provider).is_some(), "{}", price.provider);
            let _: Timestamp = at(&format!("{}T00:00:00Z", price.valid_from));
            assert!(price.input_usd_per_mtok > 0.0 && price.output_usd_per_mtok >= price.input_usd_per_mtok);
        }
    }

    #[test]
    fn known_models_cost_their_list_price() {
        assert_eq!(cost(ProviderKind::OpenAi, "gpt-4o-mini", TOKENS), Some(75_000));
        assert_eq!(cost(ProviderKind::OpenAi, "gpt-4o-mini-2024-07-18", TOKENS), Some(75_000));
        assert_eq!(cost(ProviderKind::Anthropic, "claude-sonnet-4-5-20250929", TOKENS), Some(1_800_000));
        let cached = Tokens { input: 1_000_000, cached: 1_000_000, output: 0 };
        assert_eq!(cost(ProviderKind::OpenAi, "gpt-4o-mini", cached), Some(75_000));
    }

    #[test]
    fn an_unknown_price_is_unknown() {
        assert_eq!(cost(ProviderKind::OpenAi, "gpt-4o-mini-audio-preview", TOKENS), None);
        assert_eq!(cost(ProviderKind::OpenAi, "smollm2-135m", TOKENS), None);
        assert_eq!(cost(ProviderKind::Ollama, "gpt-4o-mini", TOKENS), None);
        let prices = Prices::load().unwrap();
        let before = at("2020-01-01T00:00:00Z");
        assert_eq!(prices.cost_micro_usd(ProviderKind::OpenAi, "gpt-4o-mini", TOKENS, before), None);
        let long = Tokens { input: 200_001, cached: 0, output: 1 };
        assert_eq!(cost(ProviderKind::Gemini, "gemini-2.5-pro", long), None);
    }
}
