//! What is checked of a run before anything is written: a run that can't work must not cost a single call.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use pcs_domain::Timestamp;
use pcs_domain::assertion::Assertion;
use pcs_domain::ids::{ActorId, PromptCardId, TestCaseId};
use pcs_domain::limits;
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::{Card, PromptCard, PromptCardRejection, TestCase};
use pcs_domain::test_run::{Budget, Lane, Requested, RunTemplate, Skip, Source, Terms};
use pcs_grading::template::Partials;
use pcs_grading::{Check, Template, Transform};
use serde::Deserialize;
use utoipa::ToSchema;

use super::case_schema;
use super::model_faults::{wrong_with_tool, wrong_with_url};
use super::partials::Included;
use crate::edge::command::CommandBody;
use crate::openapi::{AssertionDoc, ModelSpecDoc};
use crate::problem::{FIELD_ERRORS_MAX, FieldError, Problem};

/// The providers that workers know, and whether their ids need a model after the colon.
const PROVIDERS: [(&str, bool); 8] = [
    ("echo", false),
    ("scripted", false),
    ("recorded", true),
    ("openai", true),
    ("anthropic", true),
    ("gemini", true),
    ("ollama", true),
    ("huggingface", true),
];
/// Longest name of a branch or a commit, in bytes.
const SOURCE_BYTES_MAX: usize = 255;
/// Longest time for all checks: a template with loops over large variables can take long for each of 50,000 cases.
const CHECK_TIME_MAX: Duration = Duration::from_secs(20);

/// A run to start.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRun {
    #[schema(value_type = Uuid)]
    pub(super) card_id: PromptCardId,
    /// How people call it.
    #[serde(default)]
    name: String,
    /// The prompt versions; the newest where neither these nor labels are given.
    #[serde(default)]
    versions: Vec<u32>,
    /// Labels of further versions; `latest` is the newest.
    #[serde(default)]
    labels: Vec<String>,
    /// The models; the one that the versions are written for, where there are none.
    #[serde(default)]
    #[schema(value_type = Vec<ModelSpecDoc>, required = false)]
    models: Vec<ModelSpec>,
    /// The cases; all of the card's where it is absent.
    #[schema(value_type = Option<Vec<Uuid>>)]
    case_ids: Option<Vec<TestCaseId>>,
    /// How often each cell runs.
    #[serde(default = "once")]
    #[schema(minimum = 1, maximum = 1000)]
    repeats: u16,
    /// Demands on every output, beside the case's own.
    #[serde(default)]
    #[schema(value_type = Vec<AssertionDoc>, required = false)]
    assertions: Vec<Assertion>,
    /// The score from which a case without a threshold of its own passes.
    threshold: Option<f64>,
    /// The model that judges where an assertion names none.
    #[schema(value_type = Option<ModelSpecDoc>)]
    grader: Option<ModelSpec>,
    #[serde(default)]
    #[schema(value_type = Option<crate::openapi::answers::Lane>)]
    lane: Lane,
    /// No execution begins before.
    #[schema(value_type = Option<String>, format = DateTime)]
    not_before: Option<Timestamp>,
    /// Executions that did not begin within so many seconds expire.
    #[schema(minimum = 1)]
    start_within_seconds: Option<u32>,
    /// What the run may use; it is stopped when that is used up.
    #[serde(default)]
    #[schema(value_type = Option<crate::openapi::answers::BudgetDoc>)]
    budget: Budget,
    /// Whether an answer that the same question got before may be used again.
    #[serde(default)]
    cache: bool,
    /// Cells that are left out of the matrix.
    #[serde(default)]
    #[schema(value_type = Vec<crate::openapi::answers::SkipDoc>, required = false)]
    skips: Vec<Skip>,
    /// What is checked out where the run is asked from.
    #[schema(value_type = Option<crate::openapi::answers::SourceDoc>)]
    source: Option<Source>,
}

impl CommandBody for NewRun {}

impl NewRun {
    /// Not part of a template: its versions and cases may be others each time.
    pub(crate) fn take_skips(&mut self) -> Vec<Skip> {
        std::mem::take(&mut self.skips)
    }

    /// What is checked out where the run is asked from; not part of what runs, and so not of a template.
    pub(crate) fn take_source(&mut self) -> Result<Option<Source>, Problem> {
        let source = self.source.take();
        let texts = source.iter().flat_map(|source| [("branch", &source.branch), ("commit", &source.commit)]);
        for (field, text) in texts {
            let Some(text) = text else { continue };
            if text.is_empty() || text.len() > SOURCE_BYTES_MAX || text.contains('\0') {
                let message = format!("{field} must have 1 to {SOURCE_BYTES_MAX} bytes and no NUL character");
                return Err(Problem::unprocessable("invalid_text", &message).field(format!("source.{field}"), &message));
            }
        }
        Ok(source)
    }

    pub(crate) fn into_template(self) -> RunTemplate {
        let Self { start_within_seconds, budget, not_before, cache, .. } = self;
        RunTemplate {
            grader: self.grader,
            card_id: self.card_id,
            name: self.name,
            versions: self.versions,
            labels: self.labels,
            models: self.models,
            case_ids: self.case_ids,
            repeats: self.repeats,
            assertions: self.assertions,
            threshold: self.threshold,
            lane: self.lane,
            terms: Terms { not_before, start_within_seconds, budget, cache },
        }
    }
}

/// A run's templates travel to the workers in one message.
fn check_prompts_size(card: &Card, versions: &[u32], partials: &Partials) -> Result<(), Problem> {
    let prompts = versions.iter().filter_map(|version| card.prompts.get(version));
    let bytes: usize = prompts.chain(partials.values()).map(String::len).sum();
    if bytes <= limits::RUN_PROMPTS_BYTES_MAX {
        return Ok(());
    }
    let max = limits::RUN_PROMPTS_BYTES_MAX;
    let detail = format!("the prompts of the run have {bytes} bytes together, and at most {max} are allowed");
    Err(Problem::unprocessable("field_too_long", detail))
}

fn once() -> u16 {
    1
}

/// The run that a template asks for now, checked against the card as it is at this revision.
pub(crate) fn check(
    template: &RunTemplate,
    card: &PromptCard,
    card_revision: i64,
    requested_by: ActorId,
    included: Included,
) -> Result<Requested, Problem> {
    let card = match card {
        PromptCard::Absent => return Err(PromptCardRejection::NotFound.into()),
        PromptCard::Archived(_) => return Err(PromptCardRejection::IsArchived.into()),
        PromptCard::Active(card) => card,
    };
    check_name(&template.name)?;
    check_threshold(template.threshold)?;
    check_models("models", &template.models)?;
    check_models("grader", template.grader.as_slice())?;
    let mut requested =
        template.resolve(card, card_revision, requested_by).map_err(|rejection| unresolved(template, rejection))?;
    check_prompts_size(card, &requested.versions, &included.texts)?;
    let cases: Vec<&TestCase> = match &requested.case_ids {
        Some(ids) => ids.iter().filter_map(|id| card.cases.get(id)).collect(),
        None => card.cases_in_order().collect(),
    };
    check_subjects(&cases)?;
    case_schema::check_cases(card, &cases)?;
    check_assertions(&requested, &cases)?;
    check_variables(card, &requested.versions, &included.texts, &cases)?;
    requested.partials = included.pinned;
    Ok(requested)
}

/// Says which field names what the card lacks.
fn unresolved(template: &RunTemplate, rejection: PromptCardRejection) -> Problem {
    let message = rejection.to_string();
    match &rejection {
        PromptCardRejection::NoSuchLabel { .. } => {
            Problem::unprocessable("label_not_found", &message).field("labels", &message)
        }
        PromptCardRejection::NoSuchCase { case_id } => {
            let nth = template.case_ids.iter().flatten().position(|id| id == case_id).unwrap_or_default();
            Problem::unprocessable("case_not_found", &message).field(format!("case_ids[{nth}]"), &message)
        }
        PromptCardRejection::NoModel { .. } | PromptCardRejection::OtherModel { .. } => {
            Problem::unprocessable("no_model", &message).field("models", &message)
        }
        _ => rejection.into(),
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let (len, max) = (name.chars().count(), limits::NAME_CHARS_MAX);
    if len <= max {
        return Ok(());
    }
    let message = format!("name has {len} characters, and at most {max} are allowed");
    Err(Problem::unprocessable("field_too_long", &message).field("name", &message))
}

fn check_threshold(threshold: Option<f64>) -> Result<(), Problem> {
    if threshold.is_none_or(|share| (0.0..=1.0).contains(&share)) {
        return Ok(());
    }
    let message = "threshold must be a number from 0 to 1";
    Err(Problem::unprocessable("out_of_range", message).field("threshold", message))
}

pub(super) fn check_models(field: &str, models: &[ModelSpec]) -> Result<(), Problem> {
    // A longer list is refused by the domain; its models need not be read.
    let checked = models.iter().take(limits::RUN_MODELS_MAX).enumerate();
    let errors: Vec<FieldError> = checked
        .filter_map(|(nth, model)| {
            let message = wrong_with(model)?;
            Some(FieldError {
                field: if field == "models" { format!("models[{nth}]") } else { field.to_owned() },
                message,
            })
        })
        .take(FIELD_ERRORS_MAX)
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(Problem::unprocessable("invalid_model", "a model can't be asked as it is described").with_errors(errors))
}

fn wrong_with(model: &ModelSpec) -> Option<String> {
    let Some((provider, needs_model)) = PROVIDERS.iter().find(|(name, _)| *name == model.provider()) else {
        let known = PROVIDERS.map(|(name, _)| name).join(", ");
        return Some(format!("{:?} is no provider; there are {known}", model.provider()));
    };
    if *needs_model && model.model().trim().is_empty() {
        return Some(format!("the id names no model: write {provider}:<model>"));
    }
    if model.script.is_some() && *provider != "scripted" {
        return Some(format!("only scripted models have a script, and this is {provider}"));
    }
    if let Some(message) = model.params.tools.iter().find_map(wrong_with_tool) {
        return Some(message);
    }
    if let Some(Err(error)) = model.transform.as_deref().map(Transform::compile) {
        return Some(format!("its transform can't be used: {error}"));
    }
    let name = model.name();
    if name.trim().is_empty() || name.chars().count() > limits::NAME_CHARS_MAX {
        return Some(format!("the label must have 1 to {} characters", limits::NAME_CHARS_MAX));
    }
    model.base_url.as_deref().and_then(wrong_with_url)
}

/// Nothing can be asked about a case whose data subject was shredded.
fn check_subjects(cases: &[&TestCase]) -> Result<(), Problem> {
    let gone = |case: &&&TestCase| case.subject.as_ref().is_some_and(|subject| subject.guard.is_shredded());
    match cases.iter().find(gone) {
        Some(case) => Err(PromptCardRejection::Shredded { case_id: case.id }.into()),
        None => Ok(()),
    }
}

fn check_assertions(requested: &Requested, cases: &[&TestCase]) -> Result<(), Problem> {
    let of_run = &requested.assertions;
    if of_run.len() > limits::ASSERTIONS_MAX {
        let message =
            format!("there are {} assertions, and at most {} are allowed", of_run.len(), limits::ASSERTIONS_MAX);
        return Err(Problem::unprocessable("too_many_items", &message).field("assertions", &message));
    }
    let mut errors = Vec::new();
    // Thousands of cases mostly have the same few assertions, and compiling one may mean a regular expression.
    let mut good = HashSet::new();
    let of_run = of_run.iter().enumerate().map(|(nth, assertion)| (None, nth, assertion));
    let of_cases = cases.iter().flat_map(|case| {
        case.assertions.iter().enumerate().map(|(nth, assertion)| (Some(case.name.as_str()), nth, assertion))
    });
    for (case, nth, assertion) in of_run.chain(of_cases) {
        let text = serde_json::to_string(assertion).unwrap_or_default();
        if good.contains(&text) {
            continue;
        }
        if let Err(error) = wrong_with_assertion(assertion, requested.grader.is_some()) {
            let owner = case.map_or_else(String::new, |name| format!("case {name:?}: "));
            errors.push(FieldError { field: format!("assertions[{nth}]"), message: format!("{owner}{error}") });
            if errors.len() == FIELD_ERRORS_MAX {
                break;
            }
        } else {
            good.insert(text);
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(Problem::unprocessable("invalid_assertion", "an assertion can't be checked").with_errors(errors))
}

pub(super) fn wrong_with_assertion(assertion: &Assertion, has_grader: bool) -> Result<(), String> {
    let check = Check::compile(assertion).map_err(|error| error.to_string())?;
    if check.needs_grader() && !has_grader {
        return Err(format!("{} asks a judge: give the run a grader, or the assertion a provider", assertion.kind));
    }
    match check.models().into_iter().find_map(wrong_with) {
        Some(message) => Err(format!("its provider can't be asked: {message}")),
        None => Ok(()),
    }
}

/// Every variable of every version has a value in every case.
fn check_variables(card: &Card, versions: &[u32], partials: &Partials, cases: &[&TestCase]) -> Result<(), Problem> {
    let mut templates = Vec::with_capacity(versions.len());
    for version in versions.iter().take(limits::RUN_VERSIONS_MAX) {
        let prompt = card.prompts.get(version).map_or("", String::as_str);
        let template = Template::parse_prompt(prompt, partials).map_err(|error| {
            let message = format!("version {version}: {error}");
            Problem::unprocessable("invalid_template", &message).field("versions", &message)
        })?;
        templates.push((version, template));
    }
    let started = Instant::now();
    let mut errors = Vec::new();
    for (version, template) in &templates {
        for case in cases {
            if started.elapsed() > CHECK_TIME_MAX {
                return Err(too_slow());
            }
            for variable in template.missing(&case.input) {
                let message =
                    format!("version {version}, case {:?}: the variable {variable:?} has no value", case.name);
                errors.push(FieldError { field: variable, message });
                if errors.len() == FIELD_ERRORS_MAX {
                    return Err(missing(errors));
                }
            }
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(missing(errors)) }
}

pub(super) fn missing(errors: Vec<FieldError>) -> Problem {
    let detail = "a variable of a prompt has no value in a case";
    Problem::unprocessable("missing_variable", detail).with_errors(errors)
}

fn too_slow() -> Problem {
    let detail = format!(
        "the templates are too slow to check against all cases within {} s; use simpler ones, or fewer cases",
        CHECK_TIME_MAX.as_secs()
    );
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "template_too_slow", detail)
}

#[cfg(test)]
#[path = "run_request_tests.rs"]
mod tests;
