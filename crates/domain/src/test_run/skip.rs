//! Cells that a run leaves out of its matrix, and how many are left.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Requested;
use crate::ids::TestCaseId;

/// Cells that a run leaves out: those that are of one of the cases, the versions and the models.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Skip {
    /// The cases; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub case_ids: Vec<TestCaseId>,
    /// The prompt versions; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<u32>,
    /// The models, by their names in the run; all where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// The first repeat that is left out, from 0.
    #[serde(default)]
    pub from_repeat: u16,
}

impl Skip {
    fn is_of(&self, version: u32, model: &str) -> bool {
        (self.versions.is_empty() || self.versions.contains(&version))
            && (self.models.is_empty() || self.models.iter().any(|name| name == model))
    }
}

/// What a run leaves out, by case.
#[derive(Clone, Debug, Default)]
pub struct Skips {
    all: Vec<Skip>,
    of_every_case: Vec<usize>,
    by_case: HashMap<TestCaseId, Vec<usize>>,
}

impl Skips {
    /// What these leave out.
    #[must_use]
    pub fn of(skips: &[Skip]) -> Self {
        let mut index = Self { all: skips.to_vec(), ..Self::default() };
        for (place, skip) in skips.iter().enumerate() {
            if skip.case_ids.is_empty() {
                index.of_every_case.push(place);
            }
            for case in &skip.case_ids {
                index.by_case.entry(*case).or_default().push(place);
            }
        }
        index
    }

    /// How many of the repeats of a case, a version and a model run.
    #[must_use]
    pub fn repeats(&self, case: Option<TestCaseId>, (version, model): (u32, &str), repeats: u16) -> u16 {
        let of_case = case.and_then(|case| self.by_case.get(&case)).into_iter().flatten();
        let rules = self.of_every_case.iter().chain(of_case).filter_map(|place| self.all.get(*place));
        rules.filter(|skip| skip.is_of(version, model)).map(|skip| skip.from_repeat).fold(repeats, u16::min)
    }

    /// The cells of a run that are left.
    #[must_use]
    pub fn executions(&self, request: &Requested) -> u64 {
        let cells = |case: Option<TestCaseId>| -> u64 {
            let arms = request.versions.iter().flat_map(|version| request.models.iter().map(|model| (*version, model)));
            arms.map(|(version, model)| u64::from(self.repeats(case, (version, model.name()), request.repeats))).sum()
        };
        let named: u64 = self.by_case.keys().map(|case| cells(Some(*case))).sum();
        let others = u64::from(request.cases).saturating_sub(self.by_case.len() as u64);
        named + others * cells(None)
    }

    /// What is named and is not of the run, if anything.
    pub(super) fn stranger(&self, request: &Requested) -> Option<String> {
        let versions = self.all.iter().flat_map(|skip| &skip.versions);
        if let Some(version) = versions.into_iter().find(|version| !request.versions.contains(version)) {
            return Some(format!("version {version}"));
        }
        let known: HashSet<&str> = request.models.iter().map(crate::model::ModelSpec::name).collect();
        let models = self.all.iter().flat_map(|skip| &skip.models);
        if let Some(model) = models.into_iter().find(|model| !known.contains(model.as_str())) {
            return Some(format!("model {model:?}"));
        }
        let cases: Option<HashSet<&TestCaseId>> = request.case_ids.as_ref().map(|ids| ids.iter().collect());
        let stranger = self.by_case.keys().find(|case| cases.as_ref().is_some_and(|cases| !cases.contains(case)));
        stranger.map(|case| format!("case {case}"))
    }
}
