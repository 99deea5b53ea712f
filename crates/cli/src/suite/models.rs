//! The models of a suite: each a `provider:model`, or a table with its label, address, parameters and script.

use std::collections::BTreeMap;

use pcs_domain::limits;
use pcs_domain::model::{ModelParams, ModelSpec, Script};
use pcs_providers::ProviderKind;
use serde_json::{Map, Value};

use super::error::{Place, SuiteError};
use super::fields::{Fields, spelling};
use super::node::{Kind, Node};
use super::source::Source;

const KEYS: [&str; 6] = ["id", "label", "base_url", "params", "transform", "script"];
const PARAM_KEYS: [&str; 8] = ["temperature", "max_tokens", "top_p", "seed", "stop", "system", "tools", "timeout_ms"];
const SCRIPT_KEYS: [&str; 6] =
    ["answer", "latency_ms", "errors_per_mille", "rate_limits_per_mille", "retry_after_ms", "refusals_per_mille"];
const PER_MILLE_MAX: u64 = 1_000;
const ID_MEND: &str = "write `provider:model`, such as `openai:gpt-4o-mini`, or a table with `id:`";

/// Reads the models; their names must differ, for results are kept under them.
pub(crate) fn list(source: &Source, place: Place, nodes: Vec<Node>) -> Result<Vec<ModelSpec>, SuiteError> {
    if nodes.is_empty() {
        return Err(source.error(place, "the suite has no models: the matrix is empty", "name at least one model"));
    }
    if nodes.len() > limits::RUN_MODELS_MAX {
        let message =
            format!("the suite has {} models, and at most {} are allowed", nodes.len(), limits::RUN_MODELS_MAX);
        return Err(source.error(place, message, "split the suite"));
    }
    let mut names = BTreeMap::new();
    let mut models = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.into_iter().enumerate() {
        let place = node.place;
        let model = one(source, node, &format!("model {}", index + 1))?;
        if let Some(first) = names.insert(model.name().to_owned(), index + 1) {
            let message = format!("models {first} and {} are both called {:?}", index + 1, model.name());
            return Err(source.error(place, message, "give each its own `label`"));
        }
        models.push(model);
    }
    Ok(models)
}

/// Reads one model.
pub(crate) fn one(source: &Source, node: Node, owner: &str) -> Result<ModelSpec, SuiteError> {
    if let Kind::Text(id) = node.kind {
        check_id(source, node.place, &id, owner)?;
        return Ok(ModelSpec::of_id(id));
    }
    if !matches!(node.kind, Kind::Table(_)) {
        let message = format!("{owner} must be a text or a table, and this is {}", node.what());
        return Err(source.error(node.place, message, ID_MEND));
    }
    let mut fields = Fields::open(source, node, owner, &KEYS)?;
    let id_node = fields.require("id", ID_MEND)?;
    let id_place = id_node.place;
    let id = fields.as_text("id", id_node)?;
    check_id(source, id_place, &id, owner)?;
    let label = fields.text("label")?;
    if label.as_deref().is_some_and(|label| label.trim().is_empty()) {
        return Err(source.error(
            fields.place(),
            format!("the `label` of {owner} is empty"),
            "take it out, or fill it",
        ));
    }
    let base_url = fields.text("base_url")?;
    let params = fields.take("params").map(|node| params(source, node, owner)).transpose()?.unwrap_or_default();
    let transform = fields.text("transform")?;
    let script = fields.take("script").map(|node| script(source, node, owner)).transpose()?;
    Ok(ModelSpec { transform, id, label, base_url, params, script })
}

fn check_id(source: &Source, place: Place, id: &str, owner: &str) -> Result<(), SuiteError> {
    let (provider, model) = id.split_once(':').unwrap_or((id, "model"));
    if provider.trim().is_empty() || model.trim().is_empty() || id.trim() != id {
        return Err(source.error(place, format!("{owner} has the id {id:?}, which is not `provider:model`"), ID_MEND));
    }
    if ProviderKind::parse(provider).is_none() {
        let message = format!("{owner} has the id {id:?}, and there is no provider {provider:?}");
        return Err(source.error(place, message, spelling(provider, &ProviderKind::ALL.map(ProviderKind::name))));
    }
    Ok(())
}

fn params(source: &Source, node: Node, owner: &str) -> Result<ModelParams, SuiteError> {
    let mut fields = Fields::open(source, node, &format!("`params` of {owner}"), &PARAM_KEYS)?;
    Ok(ModelParams {
        temperature: fields.number("temperature")?,
        max_tokens: fields.whole("max_tokens", u64::from(u32::MAX))?.and_then(|count| u32::try_from(count).ok()),
        top_p: fields.number("top_p")?,
        seed: fields.whole("seed", u64::MAX)?,
        stop: fields.texts("stop")?.unwrap_or_default(),
        system: fields.text("system")?,
        tools: tools(source, &mut fields, owner)?,
        timeout_ms: fields.whole("timeout_ms", u64::MAX)?,
    })
}

fn tools(source: &Source, fields: &mut Fields<'_>, owner: &str) -> Result<Vec<Map<String, Value>>, SuiteError> {
    let Some(items) = fields.list("tools", "a list of tools")? else { return Ok(Vec::new()) };
    let tool = |node: Node| {
        let place = node.place;
        let mend = "write `{ type: function, function: { name: …, description: …, parameters: {…} } }`";
        let Value::Object(tool) = node.into_json() else {
            return Err(source.error(place, format!("a tool of {owner} is no table"), mend));
        };
        Ok(tool)
    };
    items.into_iter().map(tool).collect()
}

fn script(source: &Source, node: Node, owner: &str) -> Result<Script, SuiteError> {
    let mut fields = Fields::open(source, node, &format!("`script` of {owner}"), &SCRIPT_KEYS)?;
    Ok(Script {
        answer: fields.text("answer")?,
        latency_ms: fields.whole("latency_ms", u64::MAX)?.unwrap_or_default(),
        errors_per_mille: per_mille(&mut fields, "errors_per_mille")?,
        rate_limits_per_mille: per_mille(&mut fields, "rate_limits_per_mille")?,
        retry_after_ms: fields.whole("retry_after_ms", u64::MAX)?.unwrap_or_default(),
        refusals_per_mille: per_mille(&mut fields, "refusals_per_mille")?,
    })
}

fn per_mille(fields: &mut Fields<'_>, key: &str) -> Result<u16, SuiteError> {
    let value = fields.whole(key, PER_MILLE_MAX)?.unwrap_or_default();
    Ok(u16::try_from(value).unwrap_or_default())
}
