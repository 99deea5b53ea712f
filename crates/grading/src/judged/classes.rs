//! `moderation` and `classifier`: a model that sorts texts says which classes the output belongs to.

use serde_json::Value;

use super::{Class, Evidence, Next, Obstacle, OffSchema, Progress, Question, Reply};
use crate::assertion::{AssertionError, Finding, Source, resolved};
use crate::template::Template;

/// From how sure a classifier has to be, where the assertion says nothing.
const CLASSIFIER_THRESHOLD: f64 = 1.0;
/// Most classes that a reason names.
const NAMED_MAX: usize = 5;

/// Classes that the output may not belong to, or one that it has to.
#[derive(Debug)]
pub(super) enum Classes {
    /// None of these may be flagged; none at all where the list is empty.
    Moderation(Vec<String>),
    /// This class, or the surest of all, has to reach the threshold.
    Classifier { label: Option<Template>, threshold: f64 },
}

impl Classes {
    pub(super) fn moderation(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_own_words()?;
        source.no_threshold()?;
        let needs = "a list of categories, or nothing";
        let categories = match source.value() {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                let names = items.iter().map(|item| item.as_str().map(str::to_owned));
                names.collect::<Option<Vec<String>>>().ok_or_else(|| source.wrong_value(needs))?
            }
            Some(_) => return Err(source.wrong_value(needs)),
        };
        Ok(Self::Moderation(categories))
    }

    pub(super) fn classifier(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_own_words()?;
        let label = source.value().map(|value| source.text(value, "a class, or nothing")).transpose()?;
        let threshold = source.assertion.threshold.map_or(Ok(CLASSIFIER_THRESHOLD), |_| source.threshold())?;
        Ok(Self::Classifier { label, threshold })
    }

    pub(super) fn next(&self, evidence: Evidence<'_>, replies: &[Reply]) -> Next {
        let Some(reply) = replies.first() else {
            return Ok(Progress::Ask(Question::Classes(evidence.output.to_owned())));
        };
        let Reply::Classes(classes) = reply else {
            return Err(OffSchema("no classes".to_owned()).into());
        };
        match self {
            Self::Moderation(categories) => Ok(moderated(categories, classes)),
            Self::Classifier { label, threshold } => {
                let label = label.as_ref().map(|label| resolved(label, evidence.variables)).transpose();
                let label = label.map_err(Obstacle::Lacking)?;
                classified(label.as_deref(), *threshold, classes)
            }
        }
    }
}

fn moderated(categories: &[String], classes: &[Class]) -> Progress {
    let is_meant = |class: &&Class| categories.is_empty() || categories.contains(&class.label);
    let flagged: Vec<&Class> = classes.iter().filter(|class| class.flagged).filter(is_meant).collect();
    let named = flagged.iter().take(NAMED_MAX).map(|class| format!("{} ({:.3})", class.label, class.score));
    let fact = match named.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => "nothing is flagged".to_owned(),
        named => format!("flagged: {named}"),
    };
    let holds = flagged.is_empty();
    Progress::Known(Finding { holds, fact }, f64::from(u8::from(holds)))
}

fn classified(label: Option<&str>, threshold: f64, classes: &[Class]) -> Next {
    let meant = classes.iter().filter(|class| label.is_none_or(|label| class.label == label));
    let Some(best) = meant.max_by(|one, other| one.score.total_cmp(&other.score)) else {
        let known = classes.iter().map(|class| class.label.as_str()).take(NAMED_MAX).collect::<Vec<_>>().join(", ");
        let label = label.unwrap_or_default();
        return Err(Obstacle::Lacking(format!("the classifier knows no class {label:?}; it knows {known}")));
    };
    let fact = format!("{:?} has a score of {:.4}, and the threshold is {threshold}", best.label, best.score);
    Ok(Progress::Known(Finding { holds: best.score >= threshold, fact }, best.score.clamp(0.0, 1.0)))
}
