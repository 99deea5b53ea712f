//! What the command line changes about a suite: models, cases, repeats, name and lane.

use std::collections::HashSet;

use pcs_domain::ids::TestCaseId;
use pcs_domain::limits;
use pcs_domain::model::ModelSpec;
use pcs_domain::test_run::Lane;
use pcs_providers::ProviderKind;

use super::RunArgs;
use crate::commands::exit::CliError;
use crate::suite::cases::SuiteCase;
use crate::suite::{Suite, nearest};

/// Providers whose name is a whole id, without a `:`.
const BARE_PROVIDERS: [ProviderKind; 2] = [ProviderKind::Echo, ProviderKind::Scripted];

/// The suite as the command line wants it.
pub(super) fn apply(mut suite: Suite, args: &RunArgs) -> Result<Suite, CliError> {
    if !args.models.is_empty() {
        suite.models = models(&suite.models, &args.models)?;
    }
    if let Some(glob) = &args.case {
        let all = suite.cases.len();
        suite.cases.retain(|case| matches(glob, &case.name()));
        if suite.cases.is_empty() {
            let message = format!("none of the {all} cases has a name like {glob:?}: the matrix is empty");
            return Err(CliError::usage(
                message,
                "`*` stands for any characters; cases without a name are `case 1`, …",
            ));
        }
    }
    if !args.tags.is_empty() {
        let all = suite.cases.len();
        suite.cases.retain(|case| args.tags.iter().all(|tag| case.draft.tags.contains(tag)));
        if suite.cases.is_empty() {
            let message =
                format!("none of the {all} cases has the tag {}: the matrix is empty", args.tags.join(" and "));
            return Err(CliError::usage(message, "give cases `tags: [\"…\"]`, or leave --tag out"));
        }
    }
    if let Some(count) = args.sample {
        sample(&mut suite.cases, count as usize, args.sample_seed);
    }
    suite.repeats = args.repeat.unwrap_or(suite.repeats);
    if let Some(name) = &args.name {
        suite.name.clone_from(name);
    }
    if let Some(lane) = args.lane.as_deref().and_then(Lane::parse) {
        suite.lane = lane;
    }
    let executions = suite.executions();
    if executions > limits::RUN_EXECUTIONS_MAX {
        let message = format!(
            "the run would have {executions} executions, and at most {} are allowed",
            limits::RUN_EXECUTIONS_MAX
        );
        return Err(CliError::usage(message, "lower --repeat, or choose fewer models or cases"));
    }
    Ok(suite)
}

/// Keeps so many cases, in their order: those with the smallest hashes of their content, which is a fair draw that another
/// case more or less hardly changes.
fn sample(cases: &mut Vec<SuiteCase>, count: usize, seed: u64) {
    let mut drawn: Vec<(String, usize)> = Vec::with_capacity(cases.len());
    for (index, case) in cases.iter().enumerate() {
        let content = TestCaseId::content(&case.draft.input, case.draft.expected_output.as_deref());
        drawn.push((pcs_domain::certificate::sha256(&format!("{seed}/{content}")), index));
    }
    drawn.sort_unstable();
    let kept: HashSet<usize> = drawn.into_iter().take(count).map(|(_, index)| index).collect();
    let mut index = 0;
    cases.retain(|_| {
        index += 1;
        kept.contains(&(index - 1))
    });
}

fn models(known: &[ModelSpec], asked: &[String]) -> Result<Vec<ModelSpec>, CliError> {
    let mut chosen: Vec<ModelSpec> = Vec::with_capacity(asked.len());
    for name in asked {
        for model in chosen_by(known, name)? {
            // Asked for twice, by its label and by its id, it is still one column of the matrix.
            if !chosen.iter().any(|other| other.name() == model.name()) {
                chosen.push(model);
            }
        }
    }
    Ok(chosen)
}

fn chosen_by(known: &[ModelSpec], name: &str) -> Result<Vec<ModelSpec>, CliError> {
    if let Some(model) = known.iter().find(|model| model.label.as_deref() == Some(name)) {
        return Ok(vec![model.clone()]);
    }
    let same_id: Vec<ModelSpec> = known.iter().filter(|model| model.id == name).cloned().collect();
    if !same_id.is_empty() {
        return Ok(same_id);
    }
    let kind = ProviderKind::parse(name.split_once(':').map_or(name, |(provider, _)| provider));
    let has_model = name.split_once(':').is_some_and(|(_, model)| !model.trim().is_empty());
    if kind.is_some_and(|kind| has_model || BARE_PROVIDERS.contains(&kind)) {
        return Ok(vec![ModelSpec::of_id(name)]);
    }
    let names: Vec<&str> = known.iter().map(ModelSpec::name).collect();
    let mend = match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`? The suite has {}", names.join(", ")),
        None => {
            let kinds = ProviderKind::ALL.map(ProviderKind::name).join(", ");
            format!("the suite has {}; others are `provider:model`, the provider one of {kinds}", names.join(", "))
        }
    };
    Err(CliError::usage(format!("the suite has no model {name:?}"), mend))
}

/// Whether a whole name is like a pattern of `*` and `?`.
fn matches(glob: &str, name: &str) -> bool {
    let (glob, name): (Vec<char>, Vec<char>) = (glob.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    // Where to go on when what follows the last star turns out not to fit.
    let mut star: Option<(usize, usize)> = None;
    while of < name.len() {
        match glob.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(c) if *c == '?' || *c == name[of] => {
                at += 1;
                of += 1;
            }
            Some(_) | None => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                (at, of) = (star_at + 1, taken + 1);
            }
        }
    }
    glob[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, label: Option<&str>) -> ModelSpec {
        let label = label.map(str::to_owned);
        ModelSpec { label, ..ModelSpec::of_id(id) }
    }

    fn chosen(asked: &[&str]) -> Result<Vec<String>, String> {
        let known = [model("openai:a", Some("small")), model("openai:b", None), model("openai:a", Some("warm"))];
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        let chosen = models(&known, &asked).map_err(|error| error.to_string())?;
        Ok(chosen.iter().map(|model| model.name().to_owned()).collect())
    }

    #[test]
    fn models_are_chosen_by_label_or_id_or_added_by_id() {
        assert_eq!(chosen(&["small"]).unwrap(), ["small"]);
        assert_eq!(chosen(&["openai:b", "small"]).unwrap(), ["openai:b", "small"]);
        assert_eq!(chosen(&["openai:a", "warm"]).unwrap(), ["small", "warm"]);
        assert_eq!(chosen(&["ollama:x", "echo"]).unwrap(), ["ollama:x", "echo"]);
    }

    #[test]
    fn a_sample_is_the_same_each_time_and_hardly_minds_other_cases() {
        let case = |n: usize| {
            let mut draft = pcs_domain::prompt_card::CaseDraft::default();
            draft.input.insert("n".to_owned(), n.into());
            SuiteCase {
                draft,
                subject: None,
                number: n,
                file: "c".into(),
                place: crate::suite::error::Place::default(),
                only: crate::suite::only::Only::default(),
            }
        };
        let drawn = |cases: std::ops::Range<usize>, count: usize, seed: u64| {
            let mut cases: Vec<SuiteCase> = cases.map(case).collect();
            sample(&mut cases, count, seed);
            cases.into_iter().map(|case| case.number).collect::<Vec<_>>()
        };
        let first = drawn(0..1_000, 100, 0);
        assert!(first.len() == 100 && first.is_sorted());
        assert_eq!(first, drawn(0..1_000, 100, 0));
        assert_ne!(first, drawn(0..1_000, 100, 1));
        let kept = drawn(0..1_010, 100, 0).into_iter().filter(|n| first.contains(n)).count();
        assert!(kept >= 90, "{kept}");
        assert_eq!(drawn(0..5, 10, 0).len(), 5);
    }

    #[test]
    fn a_misspelt_model_is_not_sent_to_the_server() {
        assert_eq!(
            chosen(&["smal"]).unwrap_err(),
            "the suite has no model \"smal\"\n  mend: did you mean `small`? The suite has small, openai:b, warm"
        );
        assert_eq!(
            chosen(&["xyz"]).unwrap_err(),
            "the suite has no model \"xyz\"\n  mend: the suite has small, openai:b, warm; others are `provider:model`, the \
             provider one of echo, scripted, recorded, openai, anthropic, gemini, ollama, \
             huggingface"
        );
    }

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("case 1", "case 1", true),
            ("case 1", "case 10", false),
            ("case 1*", "case 10", true),
            ("*0", "case 100", true),
            ("c?se*1?", "case 010", true),
            ("", "a", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
    }
}
