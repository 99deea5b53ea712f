//! `assert-set`: several demands that count as one, all of which have to hold, or as many as make its threshold.

use pcs_domain::assertion::Assertion;
use serde_json::Value;

use super::source::Source;
use super::{AssertionError, Check, Finding, Rule, Subject};
use crate::grade::weighted_mean;

/// Most demands of one set.
const MEMBERS_MAX: usize = 100;
const NEEDS: &str = "a list of assertions that are no sets and ask no model";

#[derive(Debug)]
pub(super) struct Set {
    members: Vec<Check>,
    threshold: Option<f64>,
}

impl Set {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let Some(value @ Value::Array(items)) = source.value() else { return Err(source.wrong_value(NEEDS)) };
        if items.is_empty() || items.len() > MEMBERS_MAX {
            return Err(source.wrong_value(NEEDS));
        }
        let members: Vec<Assertion> = serde_json::from_value(value.clone())
            .map_err(|error| AssertionError::Member { kind: source.assertion.kind.clone(), why: error.to_string() })?;
        let members = Check::compile_all(&members)?;
        if members.iter().any(|member| matches!(member.rule, Rule::Set(_) | Rule::Judged(_))) {
            return Err(source.wrong_value(NEEDS));
        }
        let threshold = source.assertion.threshold.map(|_| source.threshold()).transpose()?;
        Ok(Self { members, threshold })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> (Finding, f64) {
        let verdicts: Vec<_> = self.members.iter().map(|member| member.verdict(subject)).collect();
        let score = weighted_mean(&verdicts);
        let all = verdicts.iter().all(|verdict| verdict.passed || verdict.weight == 0.0);
        let holds = self.threshold.map_or(all, |least| score >= least);
        let missed: Vec<String> = verdicts
            .iter()
            .filter(|verdict| !verdict.passed)
            .map(|verdict| format!("{}: {}", verdict.kind, verdict.reason))
            .collect();
        let fact = if missed.is_empty() {
            format!("all {} assertions of the set hold", verdicts.len())
        } else {
            format!("{} of {} assertions of the set do not hold: {}", missed.len(), verdicts.len(), missed.join("; "))
        };
        (Finding { holds, fact }, score)
    }
}
