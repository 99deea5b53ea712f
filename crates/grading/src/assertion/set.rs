//! `assert-set`: several demands that count as one, all of which have to hold, or as many as make its threshold.

use pcs_domain::assertion::{Assertion, Verdict};
use serde_json::Value;

use super::source::Source;
use super::{AssertionError, Check, Finding, NOT, Reached, Subject};
use crate::excerpt::cut;
use crate::grade::{ROUNDING, weighted_mean};
use crate::judged::{OffSchema, Reply};

/// What a set is called.
pub(super) const KIND: &str = "assert-set";
/// Most demands of one set.
const MEMBERS_MAX: usize = 100;
/// Most members that a reason names.
const NAMED_MAX: usize = 5;
const NEEDS: &str = "a list of assertions that are no sets";

const NO_METRIC: &str = "assertions without a metric of their own: name the metric at the set";

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
        // Before they are compiled: sets in sets in sets would be compiled all the way down.
        if members.iter().any(|member| member.kind.strip_prefix(NOT).unwrap_or(&member.kind) == KIND) {
            return Err(source.wrong_value(NEEDS));
        }
        // A set has one verdict, so a member's metric would be counted nowhere.
        if members.iter().any(|member| member.metric.is_some()) {
            return Err(source.wrong_value(NO_METRIC));
        }
        let members = Check::compile_all(&members)?;
        let threshold = source.assertion.threshold.map(|_| source.threshold()).transpose()?;
        Ok(Self { members, threshold })
    }

    pub(super) fn members(&self) -> &[Check] {
        &self.members
    }

    /// What the next member asks that asks somebody; else the finding, and the weighted mean of the members' scores.
    pub(super) fn reached(&self, subject: &Subject<'_>, replies: &[Reply]) -> Result<Reached, OffSchema> {
        let mut is_known = true;
        let mut left = replies;
        let mut verdicts = Vec::with_capacity(self.members.len());
        for member in &self.members {
            let (taken, reached) = settled(member, subject, left)?;
            let Reached::Found(evaluation, measured) = reached else { return Ok(reached) };
            left = left.get(taken..).unwrap_or_default();
            is_known &= evaluation.is_ok();
            verdicts.push(member.concluded(evaluation, measured));
        }
        let score = weighted_mean(&verdicts);
        let all = verdicts.iter().all(|verdict| verdict.passed || verdict.weight == 0.0);
        let holds = self.threshold.map_or(all, |least| score >= least - ROUNDING);
        let fact = fact(&verdicts);
        // A member that could not look is no evidence that the set does not hold: `not-` must not make a pass of it.
        if holds || is_known {
            Ok(Reached::Found(Ok(Finding { holds, fact }), Some(score)))
        } else {
            Ok(Reached::Found(Err(fact), None))
        }
    }
}

/// How far a member comes, and how many of the replies are its own: no more than it needs.
fn settled(member: &Check, subject: &Subject<'_>, replies: &[Reply]) -> Result<(usize, Reached), OffSchema> {
    for taken in 0..replies.len() {
        if let found @ Reached::Found(..) = member.reached(subject, replies.get(..taken).unwrap_or_default())? {
            return Ok((taken, found));
        }
    }
    Ok((replies.len(), member.reached(subject, replies)?))
}

/// What the members say, of which those that missed are named.
fn fact(verdicts: &[Verdict]) -> String {
    let missed: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.passed).collect();
    if missed.is_empty() {
        return format!("all {} assertions of the set hold", verdicts.len());
    }
    let named = missed.iter().take(NAMED_MAX).map(|verdict| format!("{}: {}", verdict.kind, cut(&verdict.reason)));
    let named = named.collect::<Vec<_>>().join("; ");
    let more = match missed.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{} of {} assertions of the set do not hold: {named}{more}", missed.len(), verdicts.len())
}
