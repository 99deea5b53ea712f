//! The schemas of what Langfuse's clients read.

use serde_json::Value;
use utoipa::ToSchema;

/// A version of a prompt, as Langfuse's clients read it.
#[derive(ToSchema)]
#[schema(as = LangfusePrompt, rename_all = "camelCase")]
pub(crate) struct LangfusePromptDoc {
    /// The title of its card.
    name: String,
    version: u32,
    r#type: PromptKind,
    /// The template: a text, or the messages of a chat.
    #[schema(value_type = LangfuseContent)]
    prompt: Value,
    /// The card's metadata.
    #[schema(value_type = Object)]
    config: Value,
    /// The labels of this version, sorted; the newest has `latest`.
    labels: Vec<String>,
    tags: Vec<String>,
    /// Why the version was made.
    #[schema(required)]
    commit_message: Option<String>,
    /// Always null: prompts do not refer to each other.
    #[schema(required, value_type = Option<Object>)]
    resolution_graph: Option<Value>,
}

/// Whether a prompt is one text or a list of messages.
#[derive(ToSchema)]
#[schema(as = LangfusePromptType, rename_all = "lowercase")]
pub(crate) enum PromptKind {
    Text,
    Chat,
}

/// A template: a text, or the messages of a chat.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum LangfuseContent {
    Text(String),
    #[schema(value_type = Vec<Object>)]
    Chat(Vec<Value>),
}

/// A page of prompts, as Langfuse's clients read it.
#[derive(ToSchema)]
#[schema(as = LangfusePrompts)]
pub(crate) struct LangfusePromptsDoc {
    data: Vec<LangfusePromptMetaDoc>,
    meta: LangfuseMetaDoc,
}

/// A prompt in the list.
#[derive(ToSchema)]
#[schema(as = LangfusePromptMeta, rename_all = "camelCase")]
pub(crate) struct LangfusePromptMetaDoc {
    name: String,
    r#type: PromptKind,
    versions: Vec<u32>,
    labels: Vec<String>,
    tags: Vec<String>,
    /// When its card last changed.
    #[schema(format = DateTime)]
    last_updated_at: String,
    /// The card's metadata.
    #[schema(value_type = Object)]
    last_config: Value,
}

/// Which page it is, and how many there are.
#[derive(ToSchema)]
#[schema(as = LangfuseMeta, rename_all = "camelCase")]
pub(crate) struct LangfuseMetaDoc {
    page: i64,
    limit: i64,
    total_items: i64,
    total_pages: i64,
}
