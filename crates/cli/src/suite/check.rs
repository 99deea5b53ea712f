//! Asks `pcs-grading` whether the prompt and the assertions mean anything, before anything is sent.

use pcs_domain::assertion::Assertion;
use pcs_grading::template::{Partials, included};
use pcs_grading::{AssertionError, Check, KNOWN_KINDS, Template};

use super::cases::SuiteCase;
use super::error::{Place, SuiteError};
use super::fields::nearest;
use super::source::Source;

/// Most cases that a message about missing variables names.
const CASES_NAMED_MAX: usize = 3;

/// What is wrong with an assertion.
pub(crate) struct AssertionProblem {
    /// Whether its type is unknown, and not its value.
    pub(crate) is_about_type: bool,
    pub(crate) message: String,
    pub(crate) mend: String,
}

/// Whether grading knows what the assertion demands.
pub(crate) fn assertion(assertion: &Assertion) -> Result<Check, AssertionProblem> {
    Check::compile(assertion).map_err(|error| match error {
        AssertionError::UnknownKind { kind, nearest } => AssertionProblem {
            is_about_type: true,
            message: format!("there is no assertion type {kind:?}"),
            mend: nearest.map_or_else(known_kinds, |near| format!("did you mean `{near}`?")),
        },
        other => AssertionProblem {
            is_about_type: false,
            message: other.to_string(),
            mend: "change it so, or take the assertion out".to_owned(),
        },
    })
}

fn known_kinds() -> String {
    format!("known are {}, each also with `not-` in front", KNOWN_KINDS.join(", "))
}

/// Whether the prompt is a template, and each case has a value for each of its variables.
pub(crate) fn prompt(source: &Source, place: Place, prompt: &str, cases: &[SuiteCase]) -> Result<(), SuiteError> {
    if included(prompt).is_ok_and(|names| !names.is_empty()) {
        // The server knows the prompts that it includes, and looks before anything runs.
        return Ok(());
    }
    let template = Template::parse_prompt(prompt, &Partials::new())
        .map_err(|error| source.error(place, format!("the prompt is not a template: {error}"), "mend the template"))?;
    let lacking = |case: &SuiteCase| template.missing(&case.draft.input).into_iter().next();
    let Some((first, variable)) = cases.iter().find_map(|case| lacking(case).map(|variable| (case, variable))) else {
        return Ok(());
    };
    let others: Vec<String> = cases
        .iter()
        .filter(|case| case.number != first.number && template.missing(&case.draft.input).contains(&variable))
        .map(SuiteCase::name)
        .collect();
    let also = match others.len() {
        0 => String::new(),
        count if count <= CASES_NAMED_MAX => format!(" (nor have {})", others.join(", ")),
        count => format!(" (nor have {count} other cases)"),
    };
    let message = format!("{} has no value for the variable `{variable}` of the prompt{also}", first.name());
    let keys: Vec<&str> = first.draft.input.keys().map(String::as_str).collect();
    let mend = match nearest(&variable, &keys) {
        Some(near) => format!("its input has `{near}`: use one spelling in both"),
        None => format!("add `{variable}:` to its input, or take it out of the prompt"),
    };
    Err(SuiteError::of_file(first.file.as_ref(), message, mend).at(first.place))
}
