//! What people score answers by: its kind, and which values it takes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits;

/// What a reviewer gave, by the scores' names.
pub type Scores = BTreeMap<String, ScoreValue>;

/// One thing that each answer is scored by.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct ScoreConfig {
    /// Its name, such as `helpful`.
    pub name: String,
    /// What it means; may be empty.
    #[serde(default)]
    pub description: String,
    /// Which values it takes.
    pub kind: ScoreKind,
}

/// Which values a score takes.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreKind {
    /// Yes or no.
    Boolean,
    /// A number within bounds.
    Numeric(Bounds),
    /// One of some words.
    Categorical(Categories),
}

/// Between which numbers a score is, both included.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Bounds {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// The words that a score may be.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct Categories {
    /// The words.
    pub categories: Vec<String>,
}

/// A value of a score.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ScoreValue {
    /// Yes or no.
    Boolean(bool),
    /// A number.
    Numeric(f64),
    /// A word.
    Category(String),
}

impl ScoreConfig {
    /// Whether it takes the value.
    #[must_use]
    pub fn takes(&self, value: &ScoreValue) -> bool {
        match (&self.kind, value) {
            (ScoreKind::Boolean, ScoreValue::Boolean(_)) => true,
            (ScoreKind::Numeric(Bounds { min, max }), ScoreValue::Numeric(number)) => (min..=max).contains(&number),
            (ScoreKind::Categorical(Categories { categories }), ScoreValue::Category(word)) => {
                categories.contains(word)
            }
            _ => false,
        }
    }

    /// Which values it takes, for a person.
    #[must_use]
    pub fn wanted(&self) -> String {
        match &self.kind {
            ScoreKind::Boolean => "true or false".to_owned(),
            ScoreKind::Numeric(Bounds { min, max }) => format!("a number from {min} to {max}"),
            ScoreKind::Categorical(Categories { categories }) => format!("one of {}", categories.join(", ")),
        }
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let named = !self.name.trim().is_empty() && !self.name.contains('\0');
        if !named || self.name.chars().count() > limits::NAME_CHARS_MAX {
            return Some(format!("a score's name has 1 to {} characters", limits::NAME_CHARS_MAX));
        }
        if self.description.len() > limits::MESSAGE_BYTES_MAX || self.description.contains('\0') {
            return Some(format!("its description has at most {} bytes", limits::MESSAGE_BYTES_MAX));
        }
        match &self.kind {
            ScoreKind::Boolean => None,
            ScoreKind::Numeric(Bounds { min, max }) => {
                let sound = min.is_finite() && max.is_finite() && min < max;
                (!sound).then(|| "min must be a number below max".to_owned())
            }
            ScoreKind::Categorical(Categories { categories }) => categories_fault(categories),
        }
    }
}

fn categories_fault(categories: &[String]) -> Option<String> {
    let max = limits::SCORE_CATEGORIES_MAX;
    if !(2..=max).contains(&categories.len()) {
        return Some(format!("there must be 2 to {max} categories"));
    }
    let sound = |word: &String| {
        !word.trim().is_empty() && word.chars().count() <= limits::NAME_CHARS_MAX && !word.contains('\0')
    };
    if !categories.iter().all(sound) {
        return Some(format!("a category has 1 to {} characters", limits::NAME_CHARS_MAX));
    }
    let distinct: std::collections::BTreeSet<_> = categories.iter().collect();
    (distinct.len() < categories.len()).then(|| "a category is there twice".to_owned())
}
