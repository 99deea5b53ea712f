//! A suite as a promptfoo file; what promptfoo has no place for is said.

use pcs_domain::assertion::Assertion;
use pcs_domain::model::ModelSpec;
use serde_json::{Map, Value, json};

use super::files::FILE;
use crate::suite::Suite;
use crate::suite::cases::SuiteCase;
use crate::suite::derived::DerivedMetric;

/// The kind whose value is a list of assertions.
const SET: &str = "assert-set";

/// A promptfoo file, and what it does not say of the suite.
#[derive(Debug)]
pub struct Exported {
    /// The file.
    pub document: Value,
    /// One sentence for each thing that was left out.
    pub notes: Vec<String>,
}

/// The suite as a promptfoo file.
#[must_use]
pub fn export(suite: &Suite) -> Exported {
    let mut notes = Vec::new();
    let mut all = Map::new();
    all.insert("description".to_owned(), json!(suite.card.title));
    all.insert("prompts".to_owned(), suite.prompts.iter().map(|text| json!(prompt(text))).collect());
    let providers = suite.models.iter().filter_map(|model| provider(suite, model, &mut notes)).collect();
    all.insert("providers".to_owned(), providers);
    let default = default_test(suite, &mut notes);
    if !default.is_empty() {
        all.insert("defaultTest".to_owned(), Value::Object(default));
    }
    if suite.repeats != 1 {
        all.insert("evaluateOptions".to_owned(), json!({ "repeat": suite.repeats }));
    }
    if !suite.derived.is_empty() {
        let metric = |metric: &DerivedMetric| json!({ "name": metric.name, "value": metric.value });
        all.insert("derivedMetrics".to_owned(), suite.derived.iter().map(metric).collect());
    }
    all.insert("tests".to_owned(), suite.cases.iter().map(|case| test(suite, case, &mut notes)).collect());
    notes.sort();
    notes.dedup();
    Exported { document: Value::Object(all), notes }
}

/// A prompt as promptfoo takes it for a text: what looks like a path, and is one line, would be read from a file.
fn prompt(text: &str) -> String {
    let ends_like_a_file = text.len() >= 4 && text.as_bytes()[text.len() - 4..text.len() - 2].contains(&b'.');
    let has_known_end = text.rsplit_once('.').is_some_and(|(_, end)| !end.is_empty() && !end.contains(' '));
    let is_path = !text.contains('\n') && (text.contains(['/', '\\', '*']) || ends_like_a_file || has_known_end);
    if !is_path {
        return text.to_owned();
    }
    match serde_json::from_str::<Value>(text) {
        // Written over several lines it is the same chat.
        Ok(chat @ (Value::Array(_) | Value::Object(_))) => format!("{chat:#}"),
        // A comment says nothing, and takes the break before it away again; one with a break within is not rendered there.
        _ => format!("{text}\n{{#- a text, and no path #}}"),
    }
}

/// promptfoo's id of a model; none where it reaches no such.
fn id(model: &ModelSpec, makes_vectors: bool) -> Option<String> {
    let (kind, name) = model.id.split_once(':').unwrap_or((model.id.as_str(), ""));
    Some(match (kind, makes_vectors) {
        ("echo", _) => "echo".to_owned(),
        ("openai", true) => format!("openai:embedding:{name}"),
        ("openai", false) => format!("openai:chat:{name}"),
        ("anthropic", _) => format!("anthropic:messages:{name}"),
        ("gemini", _) => format!("google:{name}"),
        ("ollama", true) => format!("ollama:embeddings:{name}"),
        ("ollama", false) => format!("ollama:chat:{name}"),
        _ => return None,
    })
}

fn provider(suite: &Suite, model: &ModelSpec, notes: &mut Vec<String>) -> Option<Value> {
    let mut provider = of_model(model, false, notes)?;
    let only = suite.model_only.iter().find(|(name, _)| name == model.name());
    if let Some(prompts) = only.and_then(|(_, only)| only.prompts.as_ref()) {
        provider["prompts"] = named(suite, prompts);
    }
    Some(provider)
}

/// Some of the prompts, which are called as they read.
fn named(suite: &Suite, places: &[usize]) -> Value {
    places.iter().filter_map(|place| suite.prompts.get(*place)).map(|text| json!(prompt(text))).collect()
}

fn of_model(model: &ModelSpec, makes_vectors: bool, notes: &mut Vec<String>) -> Option<Value> {
    let Some(id) = id(model, makes_vectors) else {
        notes.push(format!("the model {:?} is left out: promptfoo reaches no such", model.name()));
        return None;
    };
    let params = &model.params;
    if params.system.is_some() || params.timeout_ms.is_some() {
        notes.push(format!("`system` and `timeout_ms` of the model {:?} are left out", model.name()));
    }
    let mut config = Map::new();
    for (key, value) in [
        ("temperature", json!(params.temperature)),
        ("max_tokens", json!(params.max_tokens)),
        ("top_p", json!(params.top_p)),
        ("seed", json!(params.seed)),
        ("apiBaseUrl", json!(model.base_url)),
    ] {
        if !value.is_null() {
            config.insert(key.to_owned(), value);
        }
    }
    if !params.stop.is_empty() {
        config.insert("stop".to_owned(), json!(params.stop));
    }
    if config.is_empty() && model.label.is_none() && model.transform.is_none() {
        return Some(json!(id));
    }
    let mut all = Map::new();
    all.insert("id".to_owned(), json!(id));
    for (key, value) in [("label", &model.label), ("transform", &model.transform)] {
        if let Some(value) = value {
            all.insert(key.to_owned(), json!(value));
        }
    }
    if !config.is_empty() {
        all.insert("config".to_owned(), Value::Object(config));
    }
    Some(Value::Object(all))
}

fn default_test(suite: &Suite, notes: &mut Vec<String>) -> Map<String, Value> {
    let mut all = Map::new();
    if !suite.assertions.is_empty() {
        let owner = "every test";
        let assertions = suite.assertions.iter().filter_map(|each| assertion(each, owner, notes));
        all.insert("assert".to_owned(), assertions.collect());
    }
    if let Some(threshold) = suite.threshold {
        all.insert("threshold".to_owned(), json!(threshold));
    }
    if let Some(grader) = suite.grader.as_ref().and_then(|model| of_model(model, false, notes)) {
        all.insert("options".to_owned(), json!({ "provider": grader }));
    }
    all
}

fn test(suite: &Suite, case: &SuiteCase, notes: &mut Vec<String>) -> Value {
    let (draft, name) = (&case.draft, case.name());
    let mut all = Map::new();
    if !draft.name.is_empty() {
        all.insert("description".to_owned(), json!(draft.name));
    }
    let mut vars = draft.input.clone();
    if let Some(expected) = &draft.expected_output {
        vars.insert("expected_output".to_owned(), json!(expected));
    }
    if vars.values().filter_map(Value::as_str).any(|text| text.starts_with(FILE) || text.contains("{{")) {
        notes.push(format!("a variable of {name} has braces or a path in it, which promptfoo follows"));
    }
    let has_lists = vars.values().any(|value| value.get(0).is_some_and(Value::is_string));
    all.insert("vars".to_owned(), Value::Object(vars));
    if !draft.assertions.is_empty() {
        let assertions = draft.assertions.iter().filter_map(|each| assertion(each, &name, notes));
        all.insert("assert".to_owned(), assertions.collect());
    }
    if let Some(threshold) = draft.threshold {
        all.insert("threshold".to_owned(), json!(threshold));
    }
    if !draft.metadata.is_empty() {
        all.insert("metadata".to_owned(), json!(draft.metadata));
    }
    if !draft.tags.is_empty() {
        notes.push("the tags of cases are left out".to_owned());
    }
    if case.subject.is_some() {
        notes.push("the data subjects of cases are left out".to_owned());
    }
    if let Some(prompts) = &case.only.prompts {
        all.insert("prompts".to_owned(), named(suite, prompts));
    }
    if let Some(models) = &case.only.models {
        all.insert("providers".to_owned(), json!(models));
    }
    let mut options = Map::new();
    if has_lists {
        options.insert("disableVarExpansion".to_owned(), json!(true));
    }
    options.extend(case.only.repeats.map(|repeats| ("repeat".to_owned(), json!(repeats))));
    if !options.is_empty() {
        all.insert("options".to_owned(), Value::Object(options));
    }
    Value::Object(all)
}

fn assertion(assertion: &Assertion, owner: &str, notes: &mut Vec<String>) -> Option<Value> {
    let numeric = numeric(assertion, owner, notes);
    let assertion = numeric.as_ref().unwrap_or(assertion);
    let kind = assertion.kind.as_str();
    let mut all = Map::new();
    all.insert("type".to_owned(), json!(kind));
    if kind == SET {
        let members: Vec<Assertion> =
            assertion.value.clone().and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default();
        let members = members.iter().filter_map(|member| self::assertion(member, owner, notes));
        all.insert("assert".to_owned(), members.collect());
    } else if let Some(value) = &assertion.value {
        all.insert("value".to_owned(), value.clone());
    }
    for (key, value) in [
        ("threshold", json!(assertion.threshold)),
        ("metric", json!(assertion.metric)),
        ("transform", json!(assertion.transform)),
        ("rubricPrompt", json!(assertion.rubric_prompt)),
        ("config", json!(assertion.config)),
    ] {
        if !value.is_null() {
            all.insert(key.to_owned(), value);
        }
    }
    if json!(assertion.weight) != json!(1.0) {
        all.insert("weight".to_owned(), json!(assertion.weight));
    }
    let model = assertion.provider.as_deref();
    if let Some(model) =
        model.and_then(|model| of_model(model, kind.trim_start_matches("not-").starts_with("similar"), notes))
    {
        all.insert("provider".to_owned(), model);
    }
    Some(Value::Object(all))
}

/// `numeric`, which promptfoo lacks, as code that takes the last number of the output; none for other kinds.
fn numeric(assertion: &Assertion, owner: &str, notes: &mut Vec<String>) -> Option<Assertion> {
    let prefix = assertion.kind.strip_suffix("numeric")?;
    notes.push(format!("`numeric` of {owner} is `javascript` there, which reads fewer ways to write a number"));
    let wanted = match assertion.value.as_ref().and_then(Value::as_str).map(str::trim) {
        Some(text) => match text.strip_prefix("{{").and_then(|text| text.strip_suffix("}}")) {
            Some(variable) => format!("context.vars[{}]", json!(variable.trim())),
            None => json!(text).to_string(),
        },
        None => assertion.value.clone().unwrap_or_default().to_string(),
    };
    let code = format!(
        "Math.abs(Number((output.replace(/,/g, '').match(/-?\\d+(\\.\\d+)?/g) || []).pop()) - Number({wanted})) <= {}",
        assertion.tolerance.unwrap_or(0.0)
    );
    let kind = format!("{prefix}javascript");
    Some(Assertion { kind, value: Some(json!(code)), tolerance: None, ..assertion.clone() })
}
