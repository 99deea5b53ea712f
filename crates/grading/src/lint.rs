//! What a prompt and its test cases say about each other: variables without a value, values without a use, and errors.

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::assertion::Assertion;
use pcs_domain::prompt_card::TestCase;
use serde_json::Value;

use crate::template::{Partials, Template, TemplateError};

/// Most remarks of one kind; more say the same.
const REMARKS_MAX: usize = 50;

/// A look at a prompt, case by case.
#[derive(Debug)]
pub struct Lint {
    template: Result<Template, TemplateError>,
    variables: BTreeSet<String>,
    given: BTreeSet<String>,
    missing: Tally,
    failed: Tally,
    unused: Tally,
    cases: usize,
}

/// Something that the author of a prompt should know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remark {
    /// What it is about.
    pub kind: RemarkKind,
    /// The variable, where it is about one.
    pub variable: Option<String>,
    /// How many of the cases show it.
    pub cases: usize,
    /// The name of the first of them.
    pub example: Option<String>,
    /// What it says, for a person.
    pub message: String,
}

/// What a remark is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RemarkKind {
    /// The template can't be parsed.
    InvalidTemplate,
    /// The template needs a variable that a case does not give: a run would be refused.
    MissingVariable,
    /// The template can't be rendered for a case.
    RenderFailed,
    /// There is nothing to check the template against.
    NoCases,
    /// The template refers to a variable that no case gives: what depends on it is never tried.
    UntestedVariable,
    /// A case gives a variable that neither the template nor its assertions use.
    UnusedVariable,
}

impl RemarkKind {
    /// Whether a run can't work; the others are for thought.
    #[must_use]
    pub fn is_error(self) -> bool {
        match self {
            Self::InvalidTemplate | Self::MissingVariable | Self::RenderFailed => true,
            Self::NoCases | Self::UntestedVariable | Self::UnusedVariable => false,
        }
    }
}

impl Lint {
    /// Begins with the prompt, and what it includes.
    #[must_use]
    pub fn of(prompt: &str, partials: &Partials) -> Self {
        let template = Template::parse_prompt(prompt, partials);
        let variables = template.as_ref().map(Template::variables).unwrap_or_default();
        let (missing, failed, unused) = (Tally::default(), Tally::default(), Tally::default());
        Self { template, variables, given: BTreeSet::new(), missing, failed, unused, cases: 0 }
    }

    /// The variables that the prompt refers to, whether it needs them or not; none where it can't be parsed.
    #[must_use]
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// How many cases were looked at.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.cases
    }

    /// Looks at a case.
    pub fn look_at(&mut self, case: &TestCase) {
        self.cases += 1;
        let Ok(template) = &self.template else { return };
        let missing = template.missing(&case.input);
        if missing.is_empty() {
            if let Err(error) = template.render(&case.input) {
                self.failed.add(error.to_string(), &case.name);
            }
        } else {
            missing.into_iter().for_each(|variable| self.missing.add(variable, &case.name));
        }
        let given = case.input.keys().filter(|name| self.variables.contains(*name));
        self.given.extend(given.cloned());
        if case.input.keys().all(|name| self.variables.contains(name)) {
            return;
        }
        let mut asserted = BTreeSet::new();
        case.assertions.iter().for_each(|assertion| add_variables_of(assertion, &mut asserted));
        for name in case.input.keys().filter(|name| !self.variables.contains(*name) && !asserted.contains(*name)) {
            self.unused.add(name.clone(), &case.name);
        }
    }

    /// All there is to say, errors first.
    #[must_use]
    pub fn remarks(self) -> Vec<Remark> {
        let Self { template, variables, given, missing, failed, unused, cases } = self;
        if let Err(error) = template {
            return vec![remark(RemarkKind::InvalidTemplate, None, error.to_string())];
        }
        if cases == 0 {
            let message = "the card has no case to check the prompt against".to_owned();
            return vec![remark(RemarkKind::NoCases, None, message)];
        }
        let is_known = |name: &&String| given.contains(*name) || missing.0.contains_key(*name);
        let untested = variables.iter().filter(|name| !is_known(name)).take(REMARKS_MAX).map(|name| {
            let message = format!("no case gives {name:?}, so what depends on it is never tried");
            remark(RemarkKind::UntestedVariable, Some(name.clone()), message)
        });
        let untested: Vec<Remark> = untested.collect();
        let mut remarks: Vec<Remark> = missing.remarks(RemarkKind::MissingVariable, cases).collect();
        remarks.extend(failed.remarks(RemarkKind::RenderFailed, cases));
        remarks.extend(untested);
        remarks.extend(unused.remarks(RemarkKind::UnusedVariable, cases));
        remarks
    }
}

fn remark(kind: RemarkKind, variable: Option<String>, message: String) -> Remark {
    Remark { kind, variable, cases: 0, example: None, message }
}

/// How many cases show something, and which was the first.
#[derive(Debug, Default)]
struct Tally(BTreeMap<String, (usize, String)>);

impl Tally {
    fn add(&mut self, what: String, case: &str) {
        // Beyond the limit, only what is known is counted on: inputs may have any number of names.
        if self.0.len() < REMARKS_MAX || self.0.contains_key(&what) {
            self.0.entry(what).or_insert_with(|| (0, case.to_owned())).0 += 1;
        }
    }

    fn remarks(self, kind: RemarkKind, all: usize) -> impl Iterator<Item = Remark> {
        self.0.into_iter().map(move |(what, (cases, example))| {
            let (who, s) = match cases {
                1 => (format!("case {example:?}"), "s"),
                _ => (format!("{cases} of {all} cases, such as {example:?},"), ""),
            };
            let message = match kind {
                RemarkKind::RenderFailed => format!("{who} can't be rendered: {what}"),
                RemarkKind::UnusedVariable => {
                    format!("{who} give{s} {what:?}, which neither the prompt nor an assertion uses")
                }
                _ => format!("{who} lack{s} the variable {what:?}"),
            };
            let variable = (kind != RemarkKind::RenderFailed).then_some(what);
            Remark { kind, variable, cases, example: Some(example), message }
        })
    }
}

/// The variables of all texts of an assertion's value, which may be templates: a name too many hides a remark, a name
/// too few would be a wrong one.
fn add_variables_of(assertion: &Assertion, found: &mut BTreeSet<String>) {
    fn add(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::String(text) => found.extend(Template::parse(text).map(|it| it.variables()).unwrap_or_default()),
            Value::Array(items) => items.iter().for_each(|item| add(item, found)),
            Value::Object(fields) => fields.values().for_each(|field| add(field, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => (),
        }
    }
    if let Some(value) = &assertion.value {
        add(value, found);
    }
}

#[cfg(test)]
mod tests {
    use pcs_domain::ids::TestCaseId;
    use serde_json::json;

    use super::*;

    fn case(name: &str, input: Value, assertions: Value) -> TestCase {
        TestCase {
            metadata: serde_json::Map::new(),
            tags: Vec::new(),
            id: "00000000-0000-0000-0000-000000000001".parse::<TestCaseId>().unwrap(),
            name: name.to_owned(),
            subject: None,
            input: input.as_object().unwrap().clone(),
            expected_output: None,
            assertions: serde_json::from_value(assertions).unwrap(),
            threshold: None,
        }
    }

    fn remarks(prompt: &str, cases: &[TestCase]) -> Vec<(RemarkKind, Option<String>, usize, String)> {
        let mut lint = Lint::of(prompt, &Partials::new());
        cases.iter().for_each(|case| lint.look_at(case));
        assert_eq!(lint.cases(), cases.len());
        let said = lint.remarks().into_iter();
        said.map(|remark| (remark.kind, remark.variable, remark.cases, remark.message)).collect()
    }

    fn about(kind: RemarkKind, name: &str, cases: usize, message: &str) -> (RemarkKind, Option<String>, usize, String) {
        (kind, Some(name.to_owned()), cases, message.to_owned())
    }

    #[test]
    fn a_prompt_whose_cases_give_what_it_needs_and_no_more_is_fine() {
        let cases = [case("one", json!({ "a": 1, "b": 2 }), json!([]))];
        assert_eq!(remarks("{{a}} and {{ b }}", &cases), []);
        assert_eq!(Lint::of("{{b}} {{a}}", &Partials::new()).variables().iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn what_a_case_lacks_and_what_no_case_gives_are_told_apart() {
        let prompt = "{{a}}{% if tone %} in {{tone}}{% endif %} for {{reader | default('all')}}";
        let cases = [
            case("one", json!({ "a": 1, "reader": "us" }), json!([])),
            case("two", json!({}), json!([])),
            case("three", json!({ "tone": "x" }), json!([])),
        ];
        let lacking =
            about(RemarkKind::MissingVariable, "a", 2, "2 of 3 cases, such as \"two\", lack the variable \"a\"");
        assert_eq!(remarks(prompt, &cases), [lacking]);
        let untested = about(
            RemarkKind::UntestedVariable,
            "tone",
            0,
            "no case gives \"tone\", so what depends on it is never tried",
        );
        let lacking = about(RemarkKind::MissingVariable, "a", 1, "case \"two\" lacks the variable \"a\"");
        assert_eq!(remarks(prompt, &cases[..2]), [lacking, untested]);
    }

    #[test]
    fn a_value_without_a_use_is_told_unless_an_assertion_of_its_case_uses_it() {
        let assertions = json!([{ "type": "contains-all", "value": ["x", "{{ answer }}"] }]);
        let cases = [
            case("one", json!({ "a": 1, "answer": 2, "old": 3 }), assertions),
            case("two", json!({ "a": 1, "answer": 2 }), json!([{ "type": "is-json" }])),
        ];
        let unused = |name: &str, case: &str| {
            let message = format!("case {case:?} gives {name:?}, which neither the prompt nor an assertion uses");
            about(RemarkKind::UnusedVariable, name, 1, &message)
        };
        assert_eq!(remarks("{{a}}", &cases), [unused("answer", "two"), unused("old", "one")]);
    }

    #[test]
    fn errors_of_the_template_are_told_once() {
        let cases = [case("one", json!({ "a": 1 }), json!([])), case("two", json!({ "a": 1 }), json!([]))];
        let found = remarks("{{ a | nope }}", &cases);
        assert_eq!((found.len(), found[0].0, found[0].2), (1, RemarkKind::InvalidTemplate, 0));
        assert!(found[0].3.contains("there is no filter \"nope\""), "{found:?}");
        let found = remarks("{% for x in a %}{{x}}{% endfor %}", &cases);
        assert_eq!((found.len(), found[0].0, found[0].2), (1, RemarkKind::RenderFailed, 2));
        assert!(found[0].3.starts_with("2 of 2 cases, such as \"one\", can't be rendered: line 1"), "{found:?}");
    }

    #[test]
    fn a_card_without_cases_says_just_that() {
        let found = remarks("{{a}}", &[]);
        assert_eq!((found.len(), found[0].0, found[0].0.is_error()), (1, RemarkKind::NoCases, false));
    }

    #[test]
    fn remarks_have_a_limit_and_are_counted_on() {
        let input: serde_json::Map<String, Value> = (0..200).map(|nth| (format!("x{nth}"), json!(1))).collect();
        let cases = [case("one", input.clone().into(), json!([])), case("two", input.into(), json!([]))];
        let found = remarks("text", &cases);
        assert_eq!(found.len(), REMARKS_MAX);
        assert!(found.iter().all(|(_, _, cases, _)| *cases == 2));
    }
}
