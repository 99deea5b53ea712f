//! `levenshtein`: how many letters the output is away from a text.

use super::source::{Source, resolved};
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::quoted;
use crate::template::Template;

const NEEDS: &str = "a text or a number";
/// Letters that may differ where the assertion does not say; promptfoo's default.
const EDITS_DEFAULT: f64 = 5.0;
/// Largest product of the two lengths, in characters: the time to compare grows with it.
const CELLS_MAX: usize = 100_000_000;

#[derive(Debug)]
pub(super) struct Edits {
    wanted: Template,
    most: f64,
}

impl Edits {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let value = source.value().ok_or_else(|| source.wrong_value(NEEDS))?;
        let most = source.not_negative("threshold", source.assertion.threshold.unwrap_or(EDITS_DEFAULT))?;
        Ok(Self { wanted: source.text(value, NEEDS)?, most })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        let wanted = resolved(&self.wanted, subject.variables)?;
        let cells = wanted.chars().count().saturating_mul(subject.output.chars().count());
        if cells > CELLS_MAX {
            return Err("the output and the value are too long to be compared letter by letter".to_owned());
        }
        let edits = u32::try_from(strsim::levenshtein(subject.output, &wanted)).unwrap_or(u32::MAX);
        let holds = f64::from(edits) <= self.most;
        let relation = if holds { "at most" } else { "more than" };
        Ok(Finding {
            holds,
            fact: format!("the output is {edits} edits from {}, {relation} {}", quoted(&wanted), self.most),
        })
    }
}
