//! The assertions of a configuration, as ours: other names of the same fields, and judges where they are said.

use std::path::Path;

use pcs_domain::assertion::Assertion;
use pcs_domain::model::ModelSpec;
use serde_json::Value;

use super::files::{self, FILE};
use super::{Reading, expectation};
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

/// What tests say about who judges.
#[derive(Clone, Debug, Default)]
pub(super) struct Judges {
    /// The judge of all tests that name none.
    pub(super) default: Option<ModelSpec>,
    /// What makes vectors for all tests that name nothing.
    pub(super) embedder: Option<ModelSpec>,
    /// What all judges are told instead of their kinds' own words.
    pub(super) rubric_prompt: Option<String>,
    /// Whether an assertion needs a judge and names none.
    pub(super) is_needed: bool,
}

impl Judges {
    /// The grader of the runs; the usual one where one is needed.
    pub(super) fn grader(&self) -> Option<ModelSpec> {
        self.default.clone().or_else(|| self.is_needed.then(super::usual_grader))
    }
}

/// What a test says about how its output is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// JavaScript in front of each assertion's own.
    pub(super) transform: Option<String>,
}

impl Reading<'_> {
    /// Says which judge is taken where none is named.
    pub(super) fn graders(&mut self, judges: &Judges, place: Place) {
        if judges.is_needed && judges.default.is_none() {
            let note = format!("no judge is named: {GRADER_DEFAULT} judges here");
            self.report.approximate(place, "defaultTest.options.provider", note);
        }
    }

    /// Reads the assertions of a test.
    pub(super) fn assertions(
        &mut self,
        node: Node,
        look: &Look,
        judges: &mut Judges,
    ) -> Result<Vec<Assertion>, SuiteError> {
        let place = node.place;
        let Kind::List(items) = node.kind else {
            return Err(self.source.error(place, "`assert` must be a list of assertions", MEND));
        };
        items.into_iter().map(|item| self.assertion(item, look, judges)).collect()
    }

    /// Reads one assertion, and asks grading whether it means anything.
    pub(super) fn assertion(&mut self, node: Node, look: &Look, judges: &mut Judges) -> Result<Assertion, SuiteError> {
        let place = node.place;
        let assertion = match node.kind {
            Kind::Text(text) => expectation::read(&text),
            Kind::Table(_) => self.assertion_table(node, look, judges)?,
            _ => return Err(self.source.error(place, "an assertion must be a table", MEND)),
        };
        self.finished(place, assertion, look, judges)
    }

    /// An assertion with the judges and transforms that its test has for it, checked.
    pub(super) fn finished(
        &mut self,
        place: Place,
        mut assertion: Assertion,
        look: &Look,
        judges: &mut Judges,
    ) -> Result<Assertion, SuiteError> {
        let base = assertion.kind.strip_prefix("not-").unwrap_or(&assertion.kind).to_owned();
        if base.starts_with("similar") && assertion.provider.is_none() {
            let embedder = judges.embedder.clone().unwrap_or_else(|| ModelSpec::of_id(EMBEDDER_DEFAULT));
            assertion.provider = Some(Box::new(self.mapped(embedder)));
        }
        if base == "answer-relevance" && assertion.config.is_none() {
            let embedder = judges.embedder.clone().unwrap_or_else(|| ModelSpec::of_id(EMBEDDER_DEFAULT));
            let embedder = serde_json::to_value(self.mapped(embedder)).unwrap_or_default();
            assertion.config = Some(serde_json::Map::from_iter([("embedder".to_owned(), embedder)]));
        }
        let takes_words = matches!(
            base.as_str(),
            "llm-rubric" | "g-eval" | "factuality" | "model-graded-factuality" | "model-graded-closedqa"
        );
        if takes_words && assertion.rubric_prompt.is_none() {
            assertion.rubric_prompt.clone_from(&judges.rubric_prompt);
        }
        if base != "assert-set" {
            assertion.transform = composed(look.transform.as_deref(), assertion.transform.take());
        }
        check::assertion(&assertion).map_err(|problem| {
            let message = format!("the assertion `{}`: {}", assertion.kind, problem.message);
            self.source.error(place, message, problem.mend)
        })?;
        judges.is_needed |= pcs_grading::Check::compile(&assertion).is_ok_and(|check| check.needs_grader());
        self.remarks(place, &base);
        Ok(assertion)
    }

    /// What is different about kinds that are not quite the same here.
    fn remarks(&mut self, place: Place, base: &str) {
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
            "meteor" => "words are compared by their stems, without synonyms",
            "is-sql" | "contains-sql" => "SQL is read by another parser",
            "rouge-n" | "is-refusal" => "words and phrases are told apart a little differently",
            _ => return,
        };
        self.report.approximate(place, &format!("assert: {base}"), note);
    }

    fn mapped(&self, model: ModelSpec) -> ModelSpec {
        match self.options.providers.mapped(&model.id) {
            Some(to) => ModelSpec::of_id(to),
            None => model,
        }
    }

    fn assertion_table(&mut self, node: Node, look: &Look, judges: &mut Judges) -> Result<Assertion, SuiteError> {
        let mut fields = Fields::open(self.source, node, "an assertion", &KEYS)?;
        let kind_node = fields.require("type", "say what it checks: type: contains")?;
        let kind = fields.as_text("type", kind_node)?;
        if let Some(node) = fields.take("contextTransform") {
            self.report.unsupported(
                node.place,
                "assert[].contextTransform",
                "put the context into the variable `context`",
            );
        }
        let members = match fields.list("assert", "a list of assertions")? {
            None => None,
            Some(items) => {
                let members: Vec<Assertion> =
                    items.into_iter().map(|item| self.assertion(item, look, judges)).collect::<Result<_, _>>()?;
                Some(serde_json::to_value(members).unwrap_or_default())
            }
        };
        let value = fields.take("value").map(|node| self.value(node)).transpose()?;
        let provider = match fields.take("provider") {
            None => None,
            Some(node) => self.provider(node)?.map(Box::new),
        };
        let rubric_prompt = match fields.take("rubricPrompt") {
            None => None,
            Some(node) => Some(self.words(node)?),
        };
        Ok(Assertion {
            kind,
            value: members.or(value),
            threshold: fields.number("threshold")?,
            tolerance: None,
            weight: fields.number("weight")?.unwrap_or(1.0),
            metric: fields.text("metric")?,
            transform: fields.text("transform")?,
            provider,
            rubric_prompt,
            config: fields.object("config")?,
        })
    }

    /// A value, or what the file holds that it names.
    fn value(&mut self, node: Node) -> Result<Value, SuiteError> {
        let place = node.place;
        let value = node.into_json();
        let Some(path) = value.as_str().and_then(|text| text.strip_prefix(FILE)) else { return Ok(value) };
        let end = files::extension(path);
        match end.as_str() {
            "json" | "yaml" | "yml" => {
                let file = self.one_file(place, path)?;
                Ok(files::document(&file)?.1.into_json())
            }
            "js" | "mjs" | "cjs" | "ts" | "py" | "rb" => {
                let message =
                    format!("the assertion's code is in {path}, a program with modules, which is not run here");
                Err(self.source.error(place, message, "write the expression itself as the value of `javascript`"))
            }
            _ => Ok(Value::from(Source::read(&self.one_file(place, path)?, CASES_BYTES_MAX)?.text)),
        }
    }

    /// Words for a judge: a text, a chat, or the file that holds one.
    pub(super) fn words(&mut self, node: Node) -> Result<String, SuiteError> {
        let value = self.value(node)?;
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn one_file(&self, place: Place, path: &str) -> Result<std::path::PathBuf, SuiteError> {
        let mut found = files::matching(self.source, place, Path::new(self.folder), path)?;
        Ok(found.remove(0))
    }
}

/// What a test's transform makes of the output is what the assertion's own is given.
fn composed(outer: Option<&str>, own: Option<String>) -> Option<String> {
    match (outer, own) {
        (None, own) => own,
        (Some(outer), None) => Some(outer.to_owned()),
        (Some(outer), Some(own)) => Some(format!(
            "const first = ((output, context) => ({outer}))(output, context);\n\
             return ((output, context) => ({own}))(first, context);"
        )),
    }
}
