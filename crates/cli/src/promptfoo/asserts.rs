//! The assertions of a configuration, as ours: other names of the same fields, and judges where they are said.

use std::path::Path;
use std::sync::Arc;

use pcs_domain::assertion::Assertion;
use pcs_domain::model::ModelSpec;
use pcs_scripting::Script;
use serde_json::{Map, Value};

use super::files::{self, FILE};
use super::{Reading, expectation, programs};
use crate::suite::check;
use crate::suite::error::{Place, SuiteError};
use crate::suite::fields::Fields;
use crate::suite::node::{Kind, Node};
use crate::suite::source::{CASES_BYTES_MAX, Source};

/// The judge where a configuration names none; promptfoo has its own, which changes with its versions.
pub(super) const GRADER_DEFAULT: &str = "openai:gpt-4o-mini";
/// What makes vectors of texts where a configuration does not say; as promptfoo.
const EMBEDDER_DEFAULT: &str = "openai:text-embedding-3-large";
const KEYS: [&str; 11] = [
    "type",
    "value",
    "threshold",
    "weight",
    "metric",
    "provider",
    "rubricPrompt",
    "transform",
    "contextTransform",
    "config",
    "assert",
];
const MEND: &str = "write a table with `type:` and `value:`";

/// What a test says about how its outputs are graded; what it does not say, the default test says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Manner {
    /// JavaScript in front of each assertion's own.
    pub(super) transform: Option<String>,
    /// Who judges.
    pub(super) judge: Option<ModelSpec>,
    /// Who makes vectors.
    pub(super) embedder: Option<ModelSpec>,
    /// What judges are told instead of their kinds' own words.
    pub(super) rubric_prompt: Option<String>,
}

impl Manner {
    /// This one, and what it leaves open as the default says.
    pub(super) fn over(self, default: &Self) -> Self {
        Self {
            transform: self.transform.or_else(|| default.transform.clone()),
            judge: self.judge.or_else(|| default.judge.clone()),
            embedder: self.embedder.or_else(|| default.embedder.clone()),
            rubric_prompt: self.rubric_prompt.or_else(|| default.rubric_prompt.clone()),
        }
    }
}

/// Who judges in runs of the configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Judges {
    /// The judge that the default test names.
    pub(super) default: Option<ModelSpec>,
    /// Whether an assertion needs a judge and names none.
    pub(super) is_needed: bool,
}

/// An assertion as a file says it, before the options of its test are looked at.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    file: Arc<str>,
    place: Place,
    assertion: Assertion,
    /// Of a set.
    members: Vec<Draft>,
}

impl Draft {
    fn error(&self, message: impl Into<String>, mend: impl Into<String>) -> SuiteError {
        SuiteError::of_file(self.file.as_ref(), message, mend).at(self.place)
    }

    fn base(&self) -> &str {
        self.assertion.kind.strip_prefix("not-").unwrap_or(&self.assertion.kind)
    }
}

impl Reading<'_> {
    /// The grader of the runs; the usual one where one is needed and none is named.
    pub(super) fn grader(&mut self, judges: Judges, place: Place) -> Option<ModelSpec> {
        if judges.default.is_some() || !judges.is_needed {
            return judges.default;
        }
        let usual = self.mapped(super::usual_grader());
        let note = format!("no judge is named: {} judges here", usual.id);
        self.report.approximate(place, "defaultTest.options.provider", note);
        Some(usual)
    }

    /// Reads the assertions of a test.
    pub(super) fn assertions(&mut self, node: Node) -> Result<Vec<Draft>, SuiteError> {
        let place = node.place;
        let Kind::List(items) = node.kind else {
            return Err(self.source.error(place, "`assert` must be a list of assertions", MEND));
        };
        items.into_iter().map(|item| self.assertion(item)).collect()
    }

    fn assertion(&mut self, node: Node) -> Result<Draft, SuiteError> {
        let place = node.place;
        match node.kind {
            Kind::Text(text) => self.draft(place, expectation::read(&text), Vec::new()),
            Kind::Table(_) => self.assertion_table(node),
            _ => Err(self.source.error(place, "an assertion must be a table", MEND)),
        }
    }

    /// An assertion with the code that its value may name.
    pub(super) fn draft(
        &mut self,
        place: Place,
        mut assertion: Assertion,
        members: Vec<Draft>,
    ) -> Result<Draft, SuiteError> {
        if let Some(Value::String(text)) = &assertion.value
            && let Some(path) = text.strip_prefix(FILE)
        {
            let is_code = matches!(assertion.kind.trim_start_matches("not-"), "javascript" | "python");
            assertion.value = Some(match is_code {
                true => Value::from(self.code(place, text.clone())?),
                false => self.content(place, path)?,
            });
        }
        if let Some(transform) = assertion.transform.take() {
            assertion.transform = Some(self.code(place, transform)?);
        }
        Ok(Draft { file: self.source.name.as_str().into(), place, assertion, members })
    }

    /// An assertion as its test means it, which grading knows.
    pub(super) fn finished(
        &mut self,
        draft: &Draft,
        manner: &Manner,
        judges: &mut Judges,
    ) -> Result<Assertion, SuiteError> {
        let base = draft.base();
        let mut assertion = draft.assertion.clone();
        if draft.members.is_empty() {
            self.by_others(&mut assertion, base, manner);
            let (outer, own) = (manner.transform.as_deref(), assertion.transform.take());
            let composed = composed(outer, own);
            assertion.transform = composed.map_err(|why| draft.error(why, "mend the code of the transform"))?;
        } else {
            let members: Vec<Assertion> =
                draft.members.iter().map(|member| self.member(member, manner, judges)).collect::<Result<_, _>>()?;
            assertion.value = Some(serde_json::to_value(members).unwrap_or_default());
        }
        let check = |assertion: &Assertion| {
            check::assertion(assertion).map_err(|problem| {
                let message = format!("the assertion `{}`: {}", assertion.kind, problem.message);
                draft.error(message, problem.mend)
            })
        };
        let checked = check(&assertion)?;
        if draft.members.is_empty() && checked.needs_grader() {
            match &manner.judge {
                // The run's grader is the default test's judge.
                Some(judge) if judges.default.as_ref() != Some(judge) => {
                    assertion.provider = Some(Box::new(judge.clone()));
                    drop(check(&assertion)?);
                }
                Some(_) | None => judges.is_needed = true,
            }
        }
        self.remarks(draft, base);
        Ok(assertion)
    }

    fn member(&mut self, draft: &Draft, manner: &Manner, judges: &mut Judges) -> Result<Assertion, SuiteError> {
        let member = self.finished(draft, manner, judges)?;
        if member.metric.is_some() {
            let note = "a set has one verdict: a metric of one of its members is not counted, name it at the set";
            self.report.approximate_in(&draft.file, draft.place, "assert-set: metric", note);
        }
        Ok(Assertion { metric: None, ..member })
    }

    /// Who makes vectors for it, and what its judge is told.
    fn by_others(&mut self, assertion: &mut Assertion, base: &str, manner: &Manner) {
        let embedder = || {
            let usual = || self.mapped(ModelSpec::of_id(EMBEDDER_DEFAULT));
            manner.embedder.clone().unwrap_or_else(usual)
        };
        if base.starts_with("similar") && assertion.provider.is_none() {
            assertion.provider = Some(Box::new(embedder()));
        }
        if base == "answer-relevance" && assertion.config.is_none() {
            let embedder = serde_json::to_value(embedder()).unwrap_or_default();
            assertion.config = Some(serde_json::Map::from_iter([("embedder".to_owned(), embedder)]));
        }
        let takes_words = matches!(
            base,
            "llm-rubric" | "g-eval" | "factuality" | "model-graded-factuality" | "model-graded-closedqa"
        );
        if takes_words && assertion.rubric_prompt.is_none() {
            assertion.rubric_prompt.clone_from(&manner.rubric_prompt);
        }
    }

    /// What is different about kinds that are not quite the same here.
    fn remarks(&mut self, draft: &Draft, base: &str) {
        let note = match base {
            "llm-rubric"
            | "g-eval"
            | "factuality"
            | "model-graded-factuality"
            | "model-graded-closedqa"
            | "answer-relevance"
            | "context-faithfulness"
            | "context-recall"
            | "context-relevance" => {
                "judges are asked in our words and read strictly: an answer off its form is an error, not a pass"
            }
            "javascript" => {
                "`context` has `vars`, `config`, `metric` and `providerResponse`; there is no `require`, `process` or timer"
            }
            "python" => "it runs where an operator allows it (PCS_PYTHON); `context` has what that of `javascript` has",
            "webhook" => {
                "its address has to be among those that the operator of the workers allows; `context` has `vars`"
            }
            "meteor" => "words are compared by their stems, without synonyms",
            "is-sql" | "contains-sql" => "SQL is read by another parser",
            "rouge-n" | "is-refusal" => "words and phrases are told apart a little differently",
            _ => return,
        };
        self.report.approximate_in(&draft.file, draft.place, &format!("assert: {base}"), note);
    }

    fn assertion_table(&mut self, node: Node) -> Result<Draft, SuiteError> {
        let mut fields = Fields::open(self.source, node, "an assertion", &KEYS)?;
        let place = fields.place();
        let kind_node = fields.require("type", "say what it checks: type: contains")?;
        let kind = fields.as_text("type", kind_node)?;
        let context = match fields.take("contextTransform") {
            None => None,
            Some(node) => {
                let (place, code) = (node.place, fields.as_text("contextTransform", node)?);
                self.report.approximate(place, "contextTransform", "it is given what the model's own transform made");
                Some(self.code(place, code)?)
            }
        };
        let members = fields.list("assert", "a list of assertions")?.unwrap_or_default();
        let members = members.into_iter().map(|item| self.assertion(item)).collect::<Result<Vec<_>, _>>()?;
        let value = fields.take("value").map(Node::into_json);
        let provider = fields.take("provider").map(|node| self.judge(node)).transpose()?.map(Box::new);
        let rubric_prompt = fields.take("rubricPrompt").map(|node| self.words(node)).transpose()?;
        let assertion = Assertion {
            kind,
            value,
            threshold: fields.number("threshold")?,
            tolerance: None,
            weight: fields.number("weight")?.unwrap_or(1.0),
            metric: fields.text("metric")?,
            transform: fields.text("transform")?,
            provider,
            rubric_prompt,
            config: with_context(fields.object("config")?, context),
        };
        self.draft(place, assertion, members)
    }

    /// Who judges. One that can't be asked is an error: an assertion without it would say something else.
    pub(super) fn judge(&mut self, node: Node) -> Result<ModelSpec, SuiteError> {
        let place = node.place;
        let said = self.report.items.len();
        let judge = self.provider(node)?;
        judge.ok_or_else(|| {
            let why = self.report.items.get(said).map(|item| format!("{}: {}", item.item, item.note));
            let message = format!("the judge can't be asked here ({})", why.unwrap_or_default());
            self.source.error(place, message, "name another one, or say with --provider-map which model is meant")
        })
    }

    /// A value, or what the file holds that it names.
    fn value(&self, node: Node) -> Result<Value, SuiteError> {
        let place = node.place;
        let value = node.into_json();
        match value.as_str().and_then(|text| text.strip_prefix(FILE)) {
            Some(path) => self.content(place, path),
            None => Ok(value),
        }
    }

    fn content(&self, place: Place, path: &str) -> Result<Value, SuiteError> {
        if programs::is_program(path) {
            let message = format!("{path} is a program that makes the value, which is not run here");
            return Err(self.source.error(place, message, "write the value itself"));
        }
        match files::extension(path).as_str() {
            "json" | "yaml" | "yml" => {
                let file = self.one_file(place, path)?;
                Ok(files::document(&file)?.1.into_json())
            }
            _ => Ok(Value::from(Source::read(&self.one_file(place, path)?, CASES_BYTES_MAX)?.text)),
        }
    }

    /// Words for a judge: a text, a chat, or the file that holds one.
    pub(super) fn words(&self, node: Node) -> Result<String, SuiteError> {
        let value = self.value(node)?;
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn mapped(&self, model: ModelSpec) -> ModelSpec {
        match self.options.providers.mapped(&model.id) {
            Some(to) => ModelSpec::of_id(to),
            None => model,
        }
    }

    fn one_file(&self, place: Place, path: &str) -> Result<std::path::PathBuf, SuiteError> {
        let mut found = files::matching(self.source, place, Path::new(self.folder), path)?;
        Ok(found.remove(0))
    }
}

/// The settings of an assertion, with the code that takes its context out of the output.
fn with_context(config: Option<Map<String, Value>>, code: Option<String>) -> Option<Map<String, Value>> {
    let Some(code) = code else { return config };
    let mut config = config.unwrap_or_default();
    config.insert("context_transform".to_owned(), Value::from(code));
    Some(config)
}

/// What a test's transform makes of the output is what the assertion's own is given.
fn composed(outer: Option<&str>, own: Option<String>) -> Result<Option<String>, String> {
    let (outer, own) = match (outer, own) {
        (None, own) => return Ok(own),
        (Some(outer), None) => return Ok(Some(outer.to_owned())),
        (Some(outer), Some(own)) => (outer, own),
    };
    let compiled = |code: &str| Script::compile(code).map_err(|error| format!("the transform can't be used: {error}"));
    Ok(Some(compiled(outer)?.then(&compiled(&own)?)))
}
