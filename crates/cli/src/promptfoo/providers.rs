//! The providers of a configuration, as models: by their names, or as the user maps them.

use pcs_domain::model::{ModelParams, ModelSpec};
use pcs_providers::ProviderKind;
use serde_json::{Map, Value};

use super::Reading;
use super::files::{self, FILE};
use crate::suite::error::{Place, SuiteError};
use crate::suite::fields::Fields;
use crate::suite::node::{Kind, Node};
use crate::suite::only::Only;

pub(super) const MEND: &str = "name at least one, such as `providers: [ \"openai:gpt-4o-mini\" ]`";
/// Keys of a provider.
const KEYS: [&str; 9] = ["id", "label", "config", "prompts", "transform", "delay", "env", "inputs", "type"];
/// Settings that are read; the others are named in the report.
const CONFIG: [&str; 12] = [
    "tools",
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "maxOutputTokens",
    "top_p",
    "topP",
    "seed",
    "stop",
    "apiBaseUrl",
    "apiHost",
    "systemPrompt",
];

/// The moderation that promptfoo means where it names none.
const MODERATION: &str = "omni-moderation-latest";

/// Which providers of a configuration are which of ours: pairs of a name, in which `*` stands for anything, and a model.
#[derive(Clone, Debug, Default)]
pub struct ProviderMap(Vec<(String, String)>);

impl ProviderMap {
    /// Adds `FROM=TO`.
    ///
    /// # Errors
    /// Where it is no such pair, or TO is no model of ours.
    pub fn add(&mut self, pair: &str) -> Result<(), String> {
        let (from, to) = pair.split_once('=').ok_or("write FROM=TO, such as anthropic:*=openai:gpt-4o-mini")?;
        let to = ours(to).unwrap_or_else(|| to.to_owned());
        let provider = to.split_once(':').map_or(to.as_str(), |(provider, _)| provider);
        if ProviderKind::parse(provider).is_none() {
            let known = ProviderKind::ALL.map(ProviderKind::name).join(", ");
            return Err(format!("there is no provider {provider:?}; there are {known}"));
        }
        self.0.push((from.to_owned(), to));
        Ok(())
    }

    /// The model that a provider is mapped to.
    pub(super) fn mapped(&self, id: &str) -> Option<&str> {
        let fits = |pattern: &str| match pattern.split_once('*') {
            Some((start, end)) => id.len() >= start.len() + end.len() && id.starts_with(start) && id.ends_with(end),
            None => pattern == id,
        };
        self.0.iter().find(|(from, _)| fits(from)).map(|(_, to)| to.as_str())
    }
}

/// The id that a provider has here; none where there is none.
fn ours(id: &str) -> Option<String> {
    let (provider, rest) = id.split_once(':').unwrap_or((id, ""));
    let after =
        |prefixes: &[&str]| prefixes.iter().find_map(|prefix| rest.strip_prefix(prefix)).unwrap_or(rest).to_owned();
    let named = |kind: &str, model: String| (!model.is_empty()).then(|| format!("{kind}:{model}"));
    match provider {
        "echo" => Some("echo".to_owned()),
        "openai" if rest == "moderation" => named("openai", MODERATION.to_owned()),
        "openai" => {
            let after = after(&["chat:", "responses:", "embedding:", "embeddings:", "moderation:", "completion:"]);
            named("openai", after)
        }
        "huggingface" => {
            let model = after(&["text-classification:"]);
            named("huggingface", model).filter(|_| rest.starts_with("text-classification:") || !rest.contains(':'))
        }
        "anthropic" => named("anthropic", after(&["messages:"])),
        "google" | "vertex" | "gemini" => named("gemini", after(&["chat:"])),
        "ollama" => named("ollama", after(&["chat:", "completion:", "embeddings:"])),
        "scripted" | "recorded" => Some(id.to_owned()),
        _ => None,
    }
}

impl Reading<'_> {
    /// Reads the providers; their names differ, for results are kept under them.
    pub(super) fn providers(&mut self, node: Node) -> Result<Vec<ModelSpec>, SuiteError> {
        let place = node.place;
        let items = match node.kind {
            Kind::List(items) => items,
            Kind::Text(_) | Kind::Table(_) => vec![node],
            _ => return Err(self.source.error(place, "`providers` must be a list of providers", MEND)),
        };
        let mut models: Vec<ModelSpec> = Vec::new();
        for item in items {
            let place = item.place;
            (self.written, self.asked_only) = (Vec::new(), None);
            let Some(mut model) = self.provider(item)? else { continue };
            let taken = |name: &str| models.iter().any(|other| other.name() == name);
            if taken(model.name()) {
                let free = (2..).map(|n: usize| format!("{} ({n})", model.name())).find(|name| !taken(name));
                self.report.approximate(
                    place,
                    "providers",
                    format!("{} is there twice: results need names", model.name()),
                );
                model.label = free;
            }
            let mut names = std::mem::take(&mut self.written);
            names.extend([model.name().to_owned(), model.id.clone()]);
            self.known.models.push((model.name().to_owned(), names));
            if let Some(prompts) = self.asked_only.take() {
                self.model_only.push((model.name().to_owned(), Only { prompts: Some(prompts), ..Only::default() }));
            }
            models.push(model);
        }
        if models.is_empty() && self.report.items.is_empty() {
            return Err(self.source.error(place, "the configuration has no providers", MEND));
        }
        Ok(models)
    }

    /// One provider; none where there is nothing like it here, which the report says.
    pub(super) fn provider(&mut self, node: Node) -> Result<Option<ModelSpec>, SuiteError> {
        let place = node.place;
        match node.kind {
            Kind::Text(id) => self.provider_id(place, &id),
            Kind::Table(mut entries) if entries.len() == 1 && !KEYS.contains(&entries[0].key.as_str()) => {
                // The short form: the id is the key.
                let entry = entries.remove(0);
                let Some(model) = self.provider_id(entry.place, &entry.key)? else { return Ok(None) };
                self.provider_table(entry.value, Some(model))
            }
            Kind::Table(_) => self.provider_table(node, None),
            _ => Err(self.source.error(place, "a provider must be a text or a table with `id:`", MEND)),
        }
    }

    fn provider_id(&mut self, place: Place, id: &str) -> Result<Option<ModelSpec>, SuiteError> {
        self.written.push(id.to_owned());
        if let Some(to) = self.options.providers.mapped(id) {
            return Ok(Some(ModelSpec { label: Some(id.to_owned()), ..ModelSpec::of_id(to) }));
        }
        let is_program = ["exec:", "python:", "golang:", "ruby:", "webhook:", "http", "ws", "mcp", FILE];
        if is_program.iter().any(|prefix| id.starts_with(prefix)) {
            self.report.refused(place, &format!("providers: {id}"), "it runs a program or fetches an address");
            return Ok(None);
        }
        let model =
            ours(id).map(|ours| ModelSpec { label: (ours != id).then(|| id.to_owned()), ..ModelSpec::of_id(ours) });
        if model.is_none() {
            let mend =
                format!("there is no such provider here; --provider-map '{id}=openai:…' says which one is meant");
            self.report.unsupported(place, &format!("providers: {id}"), mend);
        }
        Ok(model)
    }

    fn provider_table(&mut self, node: Node, known: Option<ModelSpec>) -> Result<Option<ModelSpec>, SuiteError> {
        let mut fields = Fields::open(self.source, node, "a provider", &KEYS)?;
        let place = fields.place();
        let model = match (known, fields.text("id")?) {
            (Some(model), _) => Some(model),
            (None, Some(id)) => self.provider_id(place, &id)?,
            (None, None) => return Err(self.source.error(place, "a provider has no `id`", MEND)),
        };
        let Some(mut model) = model else { return Ok(None) };
        model.label = fields.text("label")?.or(model.label);
        model.transform = fields.text("transform")?;
        if let Some(node) = fields.take("prompts") {
            self.asked_only = Some(self.prompts_meant(node)?);
        }
        for key in ["env", "inputs"] {
            if let Some(node) = fields.take(key) {
                self.report.unsupported(node.place, &format!("providers[].{key}"), "the fleet has one environment");
            }
        }
        if let Some(node) = fields.take("delay") {
            self.report.approximate(node.place, "providers[].delay", "the pace is the server's limits of the provider");
        }
        if let Some(config) = fields.take("config") {
            self.config_of(config, &mut model)?;
        }
        Ok(Some(model))
    }

    /// Tools, or what the file holds that is named.
    fn tools(&self, node: Node) -> Result<Vec<Map<String, Value>>, SuiteError> {
        let place = node.place;
        let value = match node.into_json() {
            Value::String(text) => match text.strip_prefix(FILE) {
                Some(path) => {
                    files::document(&files::matching(self.source, place, self.folder, path)?.remove(0))?.1.into_json()
                }
                None => Value::from(text),
            },
            value => value,
        };
        let mend = "write a list of `{ type: function, function: { name: …, parameters: {…} } }`, or file:// with one";
        serde_json::from_value(value).map_err(|_| self.source.error(place, "`tools` must be a list of tools", mend))
    }

    fn config_of(&mut self, node: Node, model: &mut ModelSpec) -> Result<(), SuiteError> {
        let place = node.place;
        let Kind::Table(entries) = node.kind else { return Ok(()) };
        let (read, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| CONFIG.contains(&entry.key.as_str()));
        for entry in others {
            let note = "the setting is not handed to the model";
            self.report.unsupported(entry.place, &format!("providers[].config.{}", entry.key), note);
        }
        let table = Node { place, kind: Kind::Table(read) };
        let mut fields = Fields::open(self.source, table, "`config` of a provider", &CONFIG)?;
        let whole = u64::from(u32::MAX);
        let mut tokens = None;
        for key in ["max_tokens", "max_completion_tokens", "maxOutputTokens"] {
            tokens = fields.whole(key, whole)?.or(tokens);
        }
        let stop = match fields.take("stop") {
            Some(Node { kind: Kind::Text(text), .. }) => vec![text],
            Some(Node { kind: Kind::List(items), .. }) => {
                items.into_iter().filter_map(|item| item.into_json().as_str().map(str::to_owned)).collect()
            }
            Some(_) | None => Vec::new(),
        };
        model.params = ModelParams {
            temperature: fields.number("temperature")?,
            max_tokens: tokens.and_then(|tokens| u32::try_from(tokens).ok()),
            top_p: fields.number("top_p")?.or(fields.number("topP")?),
            seed: fields.whole("seed", u64::MAX)?,
            stop,
            system: fields.text("systemPrompt")?,
            tools: fields.take("tools").map(|node| self.tools(node)).transpose()?.unwrap_or_default(),
            timeout_ms: None,
        };
        let host = fields.text("apiHost")?.map(|host| format!("https://{host}/v1/"));
        model.base_url = host.or(fields.text("apiBaseUrl")?);
        Ok(())
    }
}
