//! Tests and providers that meet some prompts or some models only: by their labels or ids, with `*` at the end.

use super::Reading;
use crate::suite::error::{Place, SuiteError};
use crate::suite::node::{Kind, Node};
use crate::suite::only::Only;

/// What prompts and models are called in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The names of each prompt.
    pub(super) prompts: Vec<Vec<String>>,
    /// The name of each model here, and those in the file.
    pub(super) models: Vec<(String, Vec<String>)>,
}

impl Reading<'_> {
    /// The prompts that are meant, by their places.
    pub(super) fn prompts_meant(&self, node: Node) -> Result<Vec<usize>, SuiteError> {
        let (place, patterns) = self.patterns("prompts", node)?;
        let meant = |names: &Vec<String>| patterns.iter().any(|pattern| names.iter().any(|name| fits(pattern, name)));
        let places = self.known.prompts.iter().enumerate().filter(|(_, names)| meant(names));
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        if places.is_empty() {
            return Err(self.nobody(place, "prompts", &patterns));
        }
        Ok(places)
    }

    /// The models that are meant, by their names here.
    pub(super) fn models_meant(&self, node: Node) -> Result<Vec<String>, SuiteError> {
        let (place, patterns) = self.patterns("providers", node)?;
        let meant = |names: &Vec<String>| patterns.iter().any(|pattern| names.iter().any(|name| fits(pattern, name)));
        let models = self.known.models.iter().filter(|(_, names)| meant(names));
        let models: Vec<String> = models.map(|(name, _)| name.clone()).collect();
        if models.is_empty() {
            return Err(self.nobody(place, "providers", &patterns));
        }
        Ok(models)
    }

    fn patterns(&self, key: &str, node: Node) -> Result<(Place, Vec<String>), SuiteError> {
        let place = node.place;
        let wrong = || {
            self.source.error(place, format!("`{key}` of a test or provider must be a list of names"), "write names")
        };
        let texts = match node.kind {
            Kind::Text(text) => vec![text],
            Kind::List(items) => {
                let text = |item: Node| match item.kind {
                    Kind::Text(text) => Ok(text),
                    Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::List(_) | Kind::Table(_) => Err(wrong()),
                };
                items.into_iter().map(text).collect::<Result<_, _>>()?
            }
            Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Table(_) => return Err(wrong()),
        };
        Ok((place, texts))
    }

    fn nobody(&self, place: Place, key: &str, patterns: &[String]) -> SuiteError {
        let message = format!("none of the {key} is called {}", patterns.join(" or "));
        self.source.error(place, message, "write the label or the id of one, or its beginning with a `*` behind it")
    }
}

/// Whether a name is meant: it is the same, begins with what stands before a `*`, or with the pattern and a colon.
fn fits(pattern: &str, name: &str) -> bool {
    let begins = pattern.strip_suffix('*').is_some_and(|start| name.starts_with(start));
    begins || name == pattern || name.strip_prefix(pattern).is_some_and(|rest| rest.starts_with(':'))
}

/// How often each test is asked: as often as it says itself, and else as the configuration says. Answers the most of all.
pub(super) fn repeats<'o>(tests: impl Iterator<Item = &'o mut Only>, of_all: u16) -> u16 {
    let mut tests: Vec<&mut Only> = tests.collect();
    let most = tests.iter().filter_map(|only| only.repeats).fold(of_all, u16::max);
    for only in &mut tests {
        let own = only.repeats.unwrap_or(of_all);
        only.repeats = (own < most).then_some(own);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_meant_whole_or_by_their_beginning() {
        assert!(fits("a", "a") && fits("a*", "abc") && fits("openai", "openai:gpt-4o"));
        assert!(!fits("a", "abc") && !fits("b*", "abc"));
    }

    #[test]
    fn the_most_repeats_are_those_of_the_run() {
        let mut tests = [Only::default(), Only { repeats: Some(5), ..Only::default() }];
        assert_eq!(repeats(tests.iter_mut(), 2), 5);
        assert_eq!((tests[0].repeats, tests[1].repeats), (Some(2), None));
    }
}
