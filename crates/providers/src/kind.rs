//! The list of providers: what stands before the colon of a model's id.

use std::fmt;

/// A provider. To add one, add a variant, its lines below, and its arm in `gateway.rs`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum ProviderKind {
    /// Answers the prompt.
    Echo,
    /// Does what the model's script says: for tests and load.
    Scripted,
    /// Answers what was recorded earlier: for demonstrations and regression without a network.
    Recorded,
    /// `OpenAI`, and every server that speaks its chat format.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google Gemini.
    Gemini,
    /// Ollama, by its own format.
    Ollama,
    /// Hugging Face: classifiers only.
    HuggingFace,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Echo,
        Self::Scripted,
        Self::Recorded,
        Self::OpenAi,
        Self::Anthropic,
        Self::Gemini,
        Self::Ollama,
        Self::HuggingFace,
    ];

    /// The provider's name in a model's id.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Scripted => "scripted",
            Self::Recorded => "recorded",
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
            Self::HuggingFace => "huggingface",
        }
    }

    /// The provider of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The environment variable from which the operator's key is read; absent where none is needed.
    #[must_use]
    pub fn key_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("OPENAI_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Gemini => Some("GEMINI_API_KEY"),
            Self::HuggingFace => Some("HF_TOKEN"),
            Self::Echo | Self::Scripted | Self::Recorded | Self::Ollama => None,
        }
    }

    /// The environment variable with which an operator moves the provider's address; absent where there is none.
    #[must_use]
    pub fn base_url_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("OPENAI_BASE_URL"),
            Self::Anthropic => Some("ANTHROPIC_BASE_URL"),
            Self::Gemini => Some("GEMINI_BASE_URL"),
            Self::Ollama => Some("OLLAMA_BASE_URL"),
            Self::HuggingFace => Some("HF_INFERENCE_URL"),
            Self::Echo | Self::Scripted | Self::Recorded => None,
        }
    }

    /// The provider's own address; absent where it needs no network.
    pub(crate) fn public_base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("https://api.openai.com/v1/"),
            Self::Anthropic => Some("https://api.anthropic.com/v1/"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta/"),
            Self::Ollama => Some("http://127.0.0.1:11434/"),
            Self::HuggingFace => Some("https://router.huggingface.co/hf-inference/models/"),
            Self::Echo | Self::Scripted | Self::Recorded => None,
        }
    }

    /// Whether a model may name another address of the same format.
    pub(crate) fn takes_base_url(self) -> bool {
        match self {
            Self::OpenAi | Self::Ollama | Self::HuggingFace => true,
            Self::Echo | Self::Scripted | Self::Recorded | Self::Anthropic | Self::Gemini => false,
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_provider_is_found_by_its_name_and_only_by_it() {
        for kind in ProviderKind::ALL {
            assert_eq!(ProviderKind::parse(kind.name()), Some(kind));
            assert_eq!(kind.base_url_variable().is_some(), kind.public_base_url().is_some());
        }
        assert_eq!(ProviderKind::parse("OpenAI"), None);
        assert_eq!(ProviderKind::parse(""), None);
    }
}
