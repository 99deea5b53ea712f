//! Suite files: one file that says which card, models, cases and assertions make a run.
//!
//! A suite is read whole and checked whole before anything is sent: [`Suite::load`] gives a suite that the server
//! has no reason to refuse, or one [`SuiteError`] with its place and its mend.

pub mod error;
pub mod card;
pub mod cases;
pub mod derived;
pub mod only;
pub mod mapping;
mod models;
mod assertion;
pub(crate) mod check;
pub(crate) mod fields;
pub(crate) mod node;
pub(crate) mod json;
mod yaml;
pub(crate) mod source;
#[cfg(test)]
mod tests;

use std::path::Path;

use pcs_domain::assertion::Assertion;
use pcs_domain::limits;
use pcs_domain::model::ModelSpec;
use pcs_domain::test_run::Lane;

use self::card::SuiteCard;
use self::cases::SuiteCase;
use self::derived::DerivedMetric;
use self::error::{Place, SuiteError};
use self::fields::Fields;
use self::node::{Kind, Node};
use self::only::Only;
use self::source::{Format, SUITE_BYTES_MAX, Source};

pub(crate) use self::fields::nearest;

const KEYS: [&str; 10] =
    ["name", "card", "models", "cases", "assertions", "threshold", "derived_metrics", "grader", "repeats", "lane"];
const LANES: [&str; 3] = ["hi", "std", "bulk"];

/// A suite that is whole and makes sense.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The file as the user named it.
    pub file: String,
    /// How people call it; the name of its runs.
    pub name: String,
    /// The card that it tests.
    pub card: SuiteCard,
    /// The prompts, the first of which is the card's; each further one is a version of it too.
    pub prompts: Vec<String>,
    /// The models, with different names.
    pub models: Vec<ModelSpec>,
    /// The cases, no two of them the same.
    pub cases: Vec<SuiteCase>,
    /// Demands on every output.
    pub assertions: Vec<Assertion>,
    /// The score from which a case without a threshold of its own passes.
    pub threshold: Option<f64>,
    /// Metrics that are made of the named metrics of its assertions.
    pub derived: Vec<DerivedMetric>,
    /// The model that judges where an assertion names none.
    pub grader: Option<ModelSpec>,
    /// What models are restricted to, by their names.
    pub model_only: Vec<(String, Only)>,
    /// How often each cell runs.
    pub repeats: u16,
    /// How important its runs are.
    pub lane: Lane,
}

impl Suite {
    /// Reads and checks a suite and the files it names.
    pub fn load(path: &Path) -> Result<Self, SuiteError> {
        let source = Source::read(path, SUITE_BYTES_MAX)?;
        let format = match Format::of(path) {
            Some(format @ (Format::Yaml | Format::Json)) => format,
            Some(Format::JsonLines | Format::Csv) | None => {
                let mend = "give it the extension of what it holds";
                return Err(SuiteError::of_file(source.name, "a suite is a .yaml or .json file", mend));
            }
        };
        let document = source.document(format)?;
        if matches!(document.kind, Kind::Null) {
            let mend = "a suite has at least `name`, `card`, `models` and `cases`";
            return Err(SuiteError::of_file(source.name, "the suite is empty", mend));
        }
        Self::read(&source, document, path.parent().unwrap_or(Path::new("")))
    }

    fn read(source: &Source, document: Node, folder: &Path) -> Result<Self, SuiteError> {
        let mut fields = Fields::open(source, document, "the suite", &KEYS)?;
        let name_node = fields.require("name", "give it one: its runs are called so")?;
        let name_place = name_node.place;
        let name = fields.as_text("name", name_node)?;
        check_name(source, name_place, &name)?;
        let card = fields.require("card", "write `card:` with a `title` and a `prompt`")?;
        let written = card::read(source, card, folder)?;
        let models = fields.require("models", "name at least one model: `models: [ \"echo\" ]`")?;
        let models = models::list(source, models.place, list_of(source, "models", models)?)?;
        let assertions = fields.list("assertions", "a list of assertions")?.unwrap_or_default();
        let assertions = assertion::list(source, assertions, "the suite")?;
        let threshold = assertion::threshold(source, &mut fields, "the suite")?;
        let derived = derived::list(source, fields.list("derived_metrics", "a list of metrics")?.unwrap_or_default())?;
        let grader = fields.take("grader").map(|node| models::one(source, node, "the grader")).transpose()?;
        let repeats = repeats(source, &mut fields)?;
        let lane = lane(source, &mut fields)?;
        let cases = fields.require("cases", "give the path of a file, or a list of cases")?;
        let cases_place = cases.place;
        let cases = cases::read(source, cases, folder)?;
        check::prompt(&written.prompt_source, written.prompt_place, &written.card.prompt, &cases)?;
        let suite = Self {
            file: source.name.clone(),
            name,
            prompts: vec![written.card.prompt.clone()],
            card: written.card,
            models,
            cases,
            assertions,
            threshold,
            derived,
            grader,
            model_only: Vec::new(),
            repeats,
            lane,
        };
        let too_many = suite.executions() > limits::RUN_EXECUTIONS_MAX;
        if too_many { Err(suite.too_many(source, cases_place)) } else { Ok(suite) }
    }

    /// How many calls of a model one run makes.
    #[must_use]
    pub fn executions(&self) -> u64 {
        executions(self.models.len(), self.cases.len(), self.repeats).saturating_mul(self.prompts.len() as u64)
    }

    /// Whether some tests or models meet only a part of the others.
    #[must_use]
    pub fn is_restricted(&self) -> bool {
        !self.model_only.is_empty() || self.cases.iter().any(|case| !case.only.is_all())
    }

    /// Whether any assertion has a metric's name.
    #[must_use]
    pub fn has_metrics(&self) -> bool {
        let of_cases = self.cases.iter().flat_map(|case| &case.draft.assertions);
        !self.derived.is_empty() || self.assertions.iter().chain(of_cases).any(|assertion| assertion.metric.is_some())
    }

    fn too_many(&self, source: &Source, place: Place) -> SuiteError {
        let (models, cases, repeats) = (self.models.len(), self.cases.len(), self.repeats);
        let (executions, max) = (self.executions(), limits::RUN_EXECUTIONS_MAX);
        let message = format!(
            "{models} models x {cases} cases x {repeats} repeats are {executions} executions, and at most {max} are allowed"
        );
        source.error(place, message, "split the suite, or lower `repeats`")
    }
}

/// Models x cases x repeats, as far as a number goes.
#[must_use]
pub fn executions(models: usize, cases: usize, repeats: u16) -> u64 {
    let wide = |number| u64::try_from(number).unwrap_or(u64::MAX);
    wide(models).saturating_mul(wide(cases)).saturating_mul(u64::from(repeats))
}

fn check_name(source: &Source, place: Place, name: &str) -> Result<(), SuiteError> {
    let (chars, max) = (name.chars().count(), limits::NAME_CHARS_MAX);
    if name.trim().is_empty() {
        return Err(source.error(place, "the name of the suite is empty", "give it one: its runs are called so"));
    }
    if chars > max {
        let message = format!("the name of the suite has {chars} characters, and at most {max} are allowed");
        return Err(source.error(place, message, "make it shorter"));
    }
    Ok(())
}

fn list_of(source: &Source, key: &str, node: Node) -> Result<Vec<Node>, SuiteError> {
    match node.kind {
        Kind::List(nodes) => Ok(nodes),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Text(_) | Kind::Table(_) => {
            let message = format!("`{key}` of the suite must be a list, and this is {}", node.what());
            Err(source.error(node.place, message, format!("write `{key}: [ … ]`, or one `- …` per line")))
        }
    }
}

fn repeats(source: &Source, fields: &mut Fields<'_>) -> Result<u16, SuiteError> {
    let Some(node) = fields.take("repeats") else { return Ok(1) };
    if let Kind::Number(number) = &node.kind
        && let Some(repeats) = number.as_u64().and_then(|repeats| u16::try_from(repeats).ok())
        && (1..=limits::RUN_REPEATS_MAX).contains(&repeats)
    {
        return Ok(repeats);
    }
    let max = limits::RUN_REPEATS_MAX;
    let message = format!("`repeats` must be a whole number from 1 to {max}, and this is {}", node.what());
    Err(source.error(node.place, message, "write 1 to ask once"))
}

fn lane(source: &Source, fields: &mut Fields<'_>) -> Result<Lane, SuiteError> {
    let Some(node) = fields.take("lane") else { return Ok(Lane::default()) };
    let place = node.place;
    let name = fields.as_text("lane", node)?;
    Lane::parse(&name)
        .ok_or_else(|| source.error(place, format!("there is no lane {name:?}"), fields::spelling(&name, &LANES)))
}
