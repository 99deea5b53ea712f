//! Which prompts and models a test meets, and how often, where that is not all of them.

use std::collections::BTreeMap;

use pcs_domain::ids::TestCaseId;
use pcs_domain::test_run::Skip;

use super::Suite;

/// What a test or a model is restricted to; what is absent is not.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Only {
    /// The prompts, by their places in the suite.
    pub prompts: Option<Vec<usize>>,
    /// The models, by their names.
    pub models: Option<Vec<String>>,
    /// How often each cell runs.
    pub repeats: Option<u16>,
}

impl Only {
    /// Whether it restricts nothing.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// The cells that are left out because of it.
    fn skips(&self, suite: &Suite, versions: &[u32], (case_ids, models): (&[TestCaseId], &[String])) -> Vec<Skip> {
        let skip = || Skip { case_ids: case_ids.to_vec(), models: models.to_vec(), ..Skip::default() };
        let mut skips = Vec::new();
        if let Some(prompts) = &self.prompts {
            let others = versions.iter().enumerate().filter(|(place, _)| !prompts.contains(place));
            let others: Vec<u32> = others.map(|(_, version)| *version).collect();
            skips.extend((!others.is_empty()).then(|| Skip { versions: others, ..skip() }));
        }
        if let Some(wanted) = &self.models {
            let others = suite
                .models
                .iter()
                .map(pcs_domain::model::ModelSpec::name)
                .filter(|name| !wanted.iter().any(|one| one == name));
            let others: Vec<String> = others.map(str::to_owned).collect();
            skips.extend((!others.is_empty()).then(|| Skip { models: others, ..skip() }));
        }
        if let Some(repeats) = self.repeats.filter(|repeats| *repeats < suite.repeats) {
            skips.push(Skip { from_repeat: repeats, ..skip() });
        }
        skips
    }
}

/// The cells that a run of the suite leaves out: `versions` are its prompts, `case_ids` its cases, in their orders.
#[must_use]
pub fn skips(suite: &Suite, versions: &[u32], case_ids: &[TestCaseId]) -> Vec<Skip> {
    let mut all = Vec::new();
    for (model, only) in &suite.model_only {
        // A model that the command line has left out needs no rule.
        if suite.models.iter().any(|one| one.name() == model) {
            all.extend(only.skips(suite, versions, (&[], std::slice::from_ref(model))));
        }
    }
    let mut alike: BTreeMap<&Only, Vec<TestCaseId>> = BTreeMap::new();
    for (case, id) in suite.cases.iter().zip(case_ids) {
        if !case.only.is_all() {
            alike.entry(&case.only).or_default().push(*id);
        }
    }
    for (only, ids) in alike {
        all.extend(only.skips(suite, versions, (&ids, &[])));
    }
    all
}
