//! `rouge-n`, `bleu` and `gleu`: how much of a reference's wording is in the output, as a score.

use std::collections::HashMap;

use serde_json::Value;

use super::source::{Source, resolved};
use super::{AssertionError, Finding, Subject};
use crate::template::Template;

const NEEDS: &str = "a text, or a list of texts";
/// The least score of `rouge-n`, where the assertion does not say.
const ROUGE_DEFAULT: f64 = 0.75;
/// The least score of `bleu` and `gleu`, where the assertion does not say.
const BLEU_DEFAULT: f64 = 0.5;
/// The longest runs of words that `bleu` and `gleu` compare.
const RUN_MAX: usize = 4;
/// What stands for no common run of a length, so that the others still count.
const SMOOTHED: f64 = 1e-7;

/// How the overlap is measured.
#[derive(Clone, Copy, Debug)]
enum Formula {
    /// The harmonic mean of what the output has of the reference's words, and the other way round.
    Rouge,
    /// The geometric mean of the shares of runs of one to four words that are in a reference; short outputs lose.
    Bleu,
    /// Runs of one to four words that both have, of those of the longer one.
    Gleu,
}

#[derive(Debug)]
pub(super) struct Overlap {
    formula: Formula,
    references: Vec<Template>,
    least: f64,
}

/// Runs of words and how often each is there.
type Runs<'t> = HashMap<&'t [String], usize>;

impl Overlap {
    pub(super) fn compile(source: &Source<'_>, base: &str) -> Result<Self, AssertionError> {
        source.no_tolerance()?;
        let (formula, default) = match base {
            "rouge-n" => (Formula::Rouge, ROUGE_DEFAULT),
            "bleu" => (Formula::Bleu, BLEU_DEFAULT),
            _ => (Formula::Gleu, BLEU_DEFAULT),
        };
        let texts = match source.value() {
            Some(Value::Array(texts)) if !texts.is_empty() => texts.as_slice(),
            Some(one @ Value::String(_)) => std::slice::from_ref(one),
            _ => return Err(source.wrong_value(NEEDS)),
        };
        let references = texts.iter().map(|text| source.text(text, NEEDS)).collect::<Result<_, _>>()?;
        let least = source.not_negative("threshold", source.assertion.threshold.unwrap_or(default))?;
        Ok(Self { formula, references, least })
    }

    /// The finding, and the score from 0 to 1.
    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Result<(Finding, f64), String> {
        let output = words(subject.output);
        let mut references = Vec::with_capacity(self.references.len());
        for reference in &self.references {
            let reference = words(&resolved(reference, subject.variables)?);
            if reference.is_empty() {
                return Err("a text of its value has no words".to_owned());
            }
            references.push(reference);
        }
        let score = match self.formula {
            _ if output.is_empty() => 0.0,
            Formula::Rouge => best(&references, |reference| rouge(&output, reference)),
            Formula::Bleu => bleu(&output, &references),
            Formula::Gleu => best(&references, |reference| gleu(&output, reference)),
        };
        let holds = score >= self.least;
        let relation = if holds { "at least" } else { "less than" };
        let fact = format!("the output agrees with the reference by {score:.3}, {relation} {}", self.least);
        Ok((Finding { holds, fact }, score))
    }
}

/// Words in small letters, as white space divides them.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_lowercase).collect()
}

fn best(references: &[Vec<String>], score: impl Fn(&[String]) -> f64) -> f64 {
    references.iter().map(|reference| score(reference)).fold(0.0, f64::max)
}

fn runs(words: &[String], len: usize) -> Runs<'_> {
    let mut runs = Runs::new();
    for run in words.windows(len) {
        *runs.entry(run).or_default() += 1;
    }
    runs
}

/// How many runs both have, each as often as the one that has it less often.
fn common(one: &Runs<'_>, other: &Runs<'_>) -> usize {
    one.iter().map(|(run, count)| other.get(run).map_or(0, |there| *count.min(there))).sum()
}

fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

#[expect(clippy::cast_precision_loss, reason = "no text has 2^53 words")]
fn number(count: usize) -> f64 {
    count as f64
}

fn rouge(output: &[String], reference: &[String]) -> f64 {
    let both = common(&runs(output, 1), &runs(reference, 1));
    let (precision, recall) = (share(both, output.len()), share(both, reference.len()));
    if both == 0 { 0.0 } else { 2.0 * precision * recall / (precision + recall) }
}

fn gleu(output: &[String], reference: &[String]) -> f64 {
    let (mut both, mut of_output, mut of_reference) = (0, 0, 0);
    for len in 1..=RUN_MAX {
        let (ours, theirs) = (runs(output, len), runs(reference, len));
        both += common(&ours, &theirs);
        of_output += ours.values().sum::<usize>();
        of_reference += theirs.values().sum::<usize>();
    }
    share(both, of_output.max(of_reference))
}

fn bleu(output: &[String], references: &[Vec<String>]) -> f64 {
    // Runs that are longer than the output say nothing.
    let lens = 1..=RUN_MAX.min(output.len());
    let logs = lens.clone().map(|len| {
        let ours = runs(output, len);
        let found = references.iter().map(|reference| common(&ours, &runs(reference, len))).max().unwrap_or(0);
        let precision = share(found, ours.values().sum());
        (if found == 0 { SMOOTHED } else { precision }).ln()
    });
    let mean = logs.sum::<f64>() / number(lens.count());
    let nearest = references.iter().map(Vec::len).min_by_key(|len| (len.abs_diff(output.len()), *len)).unwrap_or(0);
    let penalty = if output.len() < nearest { (1.0 - share(nearest, output.len())).exp() } else { 1.0 };
    penalty * mean.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(one: f64, other: f64) -> bool {
        (one - other).abs() < 1e-9
    }

    #[test]
    fn the_same_words_agree_wholly_and_others_not_at_all() {
        let (same, other) = (words("The cat sat on the mat"), words("dogs bark"));
        assert!(near(rouge(&same, &same), 1.0) && near(gleu(&same, &same), 1.0));
        assert!(near(bleu(&same, std::slice::from_ref(&same)), 1.0));
        assert!(near(rouge(&same, &other), 0.0) && near(gleu(&same, &other), 0.0));
        assert!(bleu(&same, std::slice::from_ref(&other)) < 1e-5);
    }

    #[test]
    fn a_word_counts_as_often_as_both_have_it() {
        // Papineni's example: seven times "the" against two.
        let (output, reference) = (words("the the the the the the the"), words("the cat is on the mat"));
        assert!(near(rouge(&output, &reference), 2.0 * (2.0 / 7.0) * (2.0 / 6.0) / (2.0 / 7.0 + 2.0 / 6.0)));
        assert!(near(gleu(&output, &reference), 2.0 / 22.0));
    }

    #[test]
    fn a_short_output_loses_and_its_own_lengths_count() {
        let reference = vec![words("a b c d e f")];
        // Two of six words, in order: runs of one and two are all there.
        assert!(near(bleu(&words("a b"), &reference), (1.0_f64 - 3.0).exp()));
        let two = vec![words("a b c d e f"), words("a b")];
        assert!(near(bleu(&words("a b"), &two), 1.0), "the nearest length counts");
    }
}
