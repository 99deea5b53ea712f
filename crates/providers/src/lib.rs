//! Asks models: one [`Gateway`] in front of every provider, with one kind of answer and one kind of error.
//!
//! Read in this order: [`ChatRequest`] and [`CallError`] are what goes in and what comes out, [`ProviderKind`] is the
//! list of providers, [`Gateway`] picks one and holds the rules that all of them share. The gateway never tries again:
//! a retry is an event of the execution, decided by the domain. `genai` is used in `wire.rs` and its folder, and nowhere else.

mod call;
mod embedding;
mod classes;
mod messages;
mod kind;
mod config;
mod gateway;
mod echo;
mod scripted;
mod recorded;
mod wire;
mod huggingface;
mod endpoint;
mod refusal;
mod retry_after;
mod prices;
mod redact;
mod estimate;

pub use call::{CallError, CallKey, ChatRequest, Provider};
pub use classes::{Class, Classes, ClassifyRequest};
pub use config::{GatewayConfig, GatewayError, Secret};
pub use embedding::{EmbedRequest, Embeddings};
pub use estimate::{call_deadline, call_tokens};
pub use gateway::Gateway;
pub use kind::ProviderKind;
