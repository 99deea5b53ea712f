//! `word-count`: how many words the output has.

use serde_json::Value;

use super::source::Source;
use super::{AssertionError, Evaluation, Finding, Subject};

const NEEDS: &str = "a whole number, or an object with min, max or both";
const MIN: &str = "min";
const MAX: &str = "max";

/// Words that the output may have; both ends belong to it.
#[derive(Debug)]
pub(super) struct WordCount {
    least: u64,
    most: Option<u64>,
}

impl WordCount {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let wrong = || source.wrong_value(NEEDS);
        match source.value() {
            Some(Value::Number(number)) => {
                let exact = number.as_u64().ok_or_else(wrong)?;
                Ok(Self { least: exact, most: Some(exact) })
            }
            Some(Value::Object(bounds)) => {
                let bound = |name: &str| bounds.get(name).map(|bound| bound.as_u64().ok_or_else(wrong)).transpose();
                let (least, most) = (bound(MIN)?, bound(MAX)?);
                let is_known = bounds.keys().all(|name| name == MIN || name == MAX);
                let makes_sense = least.unwrap_or(0) <= most.unwrap_or(u64::MAX);
                if bounds.is_empty() || !is_known || !makes_sense {
                    return Err(wrong());
                }
                Ok(Self { least: least.unwrap_or(0), most })
            }
            _ => Err(wrong()),
        }
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        let words = u64::try_from(subject.output.split_whitespace().count()).unwrap_or(u64::MAX);
        let holds = words >= self.least && self.most.is_none_or(|most| words <= most);
        let wanted = match self.most {
            Some(most) if most == self.least => format!("{most}"),
            Some(most) => format!("{} to {most}", self.least),
            None => format!("at least {}", self.least),
        };
        let fact = format!("the output has {words} words; wanted are {wanted}");
        Ok(Finding { holds, fact })
    }
}
