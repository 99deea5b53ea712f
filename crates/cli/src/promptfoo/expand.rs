//! Tests become cases: defaults merged in, lists of values multiplied out, and the same variables only once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pcs_domain::assertion::Assertion;
use pcs_domain::canonical::canonical_json;
use pcs_domain::limits;
use pcs_domain::prompt_card::CaseDraft;
use pcs_grading::Template;
use pcs_grading::template::Partials;
use serde_json::{Map, Value, json};

use super::Reading;
use super::cases::{AROUND, Test};
use crate::suite::cases::SuiteCase;
use crate::suite::error::SuiteError;
use crate::suite::only::Only;

/// How often variables inside of variables are rendered, as in promptfoo.
const PASSES_MAX: usize = 5;

impl Reading<'_> {
    /// A case for each combination of the lists' values.
    pub(super) fn multiplied(
        &mut self,
        mut test: Test,
        assertions: Vec<Assertion>,
        has_own_around: bool,
        cases: &mut Vec<SuiteCase>,
    ) -> Result<(), SuiteError> {
        self.with_made(&mut test)?;
        if has_own_around {
            for (name, text) in [(AROUND.0, &test.prefix), (AROUND.1, &test.suffix)] {
                test.vars.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        let mut rows = vec![Map::new()];
        for (name, value) in &test.vars {
            let is_list =
                |items: &Vec<Value>| !test.keeps_lists && !items.is_empty() && items.iter().all(Value::is_string);
            let values = match value {
                Value::Array(items) if is_list(items) => items.clone(),
                other => vec![other.clone()],
            };
            let with = |row: &Map<String, Value>, value: &Value| {
                let mut row = row.clone();
                row.insert(name.clone(), value.clone());
                row
            };
            rows = rows.iter().flat_map(|row| values.iter().map(|value| with(row, value))).collect();
            if cases.len() + rows.len() > limits::CASES_MAX {
                let message = format!("there are more than {} cases, the most that a card may have", limits::CASES_MAX);
                return Err(self.source.error(test.place, message, "split the tests over several configurations"));
            }
        }
        let lists = rows.iter().flatten().find(|(_, value)| value.is_array());
        if let Some((name, _)) = lists {
            let note = format!("`{name}` is a list: printed whole it is JSON here, and its items with commas there");
            self.report.approximate_in(&test.file, test.place, "vars", note);
        }
        for vars in rows {
            let draft = CaseDraft {
                name: test.description.clone().unwrap_or_default(),
                input: rendered(vars),
                assertions: assertions.clone(),
                threshold: test.threshold,
                metadata: test.metadata.clone(),
                ..CaseDraft::default()
            };
            let (file, number) = (Arc::clone(&test.file), cases.len() + 1);
            cases.push(SuiteCase { draft, subject: None, number, file, place: test.place, only: test.only.clone() });
        }
        Ok(())
    }

    /// Tests with the same variables are one case: the model is asked once, and has to meet all demands.
    pub(super) fn distinct(&mut self, cases: Vec<SuiteCase>) -> Result<Vec<SuiteCase>, SuiteError> {
        let mut kept: Vec<SuiteCase> = Vec::new();
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for case in cases {
            let content = canonical_json(&json!(case.draft.input));
            let Some(index) = places.get(&content).copied() else {
                places.insert(content, kept.len());
                kept.push(case);
                continue;
            };
            let first = &mut kept[index];
            if first.draft.threshold.is_some() || case.draft.threshold.is_some() {
                let message = format!(
                    "it has the same variables as the test of line {}, and one has a threshold",
                    first.place.line
                );
                let mend = "make one test of the two, or tell them apart by a variable";
                return Err(SuiteError::of_file(case.file.as_ref(), message, mend).at(case.place));
            }
            let note = format!("it has the same variables as the test of line {}: they are one case", first.place.line);
            self.report.approximate(case.place, "tests", note);
            for assertion in case.draft.assertions {
                if !first.draft.assertions.contains(&assertion) {
                    first.draft.assertions.push(assertion);
                }
            }
        }
        Ok(kept)
    }
}

/// A test with the defaults that it does not say itself.
pub(super) fn merged(default: &Test, test: Test) -> Test {
    let over = |below: &Map<String, Value>, above: Map<String, Value>| {
        let mut map = below.clone();
        map.extend(above);
        map
    };
    Test {
        vars: over(&default.vars, test.vars),
        metadata: over(&default.metadata, test.metadata),
        threshold: test.threshold.or(default.threshold),
        description: test.description.or_else(|| default.description.clone()),
        prefix: if test.prefix.is_empty() { default.prefix.clone() } else { test.prefix },
        suffix: if test.suffix.is_empty() { default.suffix.clone() } else { test.suffix },
        only: Only {
            prompts: test.only.prompts.or_else(|| default.only.prompts.clone()),
            models: test.only.models.or_else(|| default.only.models.clone()),
            repeats: test.only.repeats.or(default.only.repeats),
        },
        keeps_lists: test.keeps_lists || default.keeps_lists,
        manner: test.manner.over(&default.manner),
        transform_vars: test.transform_vars.or_else(|| default.transform_vars.clone()),
        ..test
    }
}

/// Variables inside of variables, put in.
fn rendered(mut vars: Map<String, Value>) -> Map<String, Value> {
    for _ in 0..PASSES_MAX {
        let mut changed = Vec::new();
        for (name, value) in &vars {
            let Some(text) = value.as_str().filter(|text| text.contains("{{")) else { continue };
            let text = Template::parse(text).and_then(|template| template.render(&vars));
            // Braces that are no template are a text.
            changed.extend(text.ok().map(|text| (name.clone(), Value::from(text))));
        }
        let is_done = changed.iter().all(|(name, value)| vars.get(name) == Some(value));
        vars.extend(changed);
        if is_done {
            break;
        }
    }
    // promptfoo takes the line's end at the end of a text away.
    for value in vars.values_mut() {
        if let Value::String(text) = value
            && let Some(shorter) = text.strip_suffix('\n')
        {
            *value = Value::from(shorter);
        }
    }
    vars
}

/// Gives variables that prompts use and cases lack the empty text that promptfoo gives them; answers which.
pub(super) fn fill(prompts: &[String], cases: &mut [SuiteCase]) -> Result<BTreeSet<String>, SuiteError> {
    let templates = prompts.iter().filter_map(|prompt| Template::parse_prompt(prompt, &Partials::new()).ok());
    let templates: Vec<Template> = templates.collect();
    let mut filled = BTreeSet::new();
    for case in cases {
        for template in &templates {
            for variable in template.missing(&case.draft.input) {
                if variable.contains(['.', '[', '(']) {
                    let message = format!("{} has no value for `{variable}` of a prompt", case.name());
                    return Err(SuiteError::of_file(case.file.as_ref(), message, "add it to its `vars`").at(case.place));
                }
                case.draft.input.insert(variable.clone(), Value::from(""));
                filled.insert(variable);
            }
        }
    }
    Ok(filled)
}
