//! Demands in one line, as tables of tests hold them: `contains: x`, `not-similar(0.9): y`, `grade: z`, or a text.

use pcs_domain::assertion::Assertion;
use pcs_grading::KNOWN_KINDS;
use serde_json::Value;

use super::files::FILE;
use super::programs;

/// The threshold of `similar`, where a line does not say.
const SIMILAR_DEFAULT: f64 = 0.8;
/// The threshold of other kinds that have one, where a line does not say.
const OTHER_DEFAULT: f64 = 0.75;
/// Kinds whose threshold a line always sets.
const WITH_THRESHOLD: [&str; 8] = [
    "answer-relevance",
    "context-faithfulness",
    "context-recall",
    "context-relevance",
    "cost",
    "latency",
    "levenshtein",
    "rouge-n",
];
/// Kinds whose value is a list with commas.
const LISTS: [&str; 4] = ["contains-any", "contains-all", "icontains-any", "icontains-all"];

/// Reads a line; a text that is no demand is what the output has to be.
pub(crate) fn read(line: &str) -> Assertion {
    let text = line.trim();
    for (prefix, kind) in [
        ("javascript:", "javascript"),
        ("fn:", "javascript"),
        ("eval:", "javascript"),
        ("python:", "python"),
        ("grade:", "llm-rubric"),
        ("llm-rubric:", "llm-rubric"),
    ] {
        if let Some(value) = text.strip_prefix(prefix) {
            return Assertion { value: Some(Value::from(value.trim())), ..Assertion::of_kind(kind) };
        }
    }
    if text.starts_with(FILE) {
        // A program is asked; any other file holds what the output has to be.
        let kind = programs::language(text).unwrap_or("equals");
        return Assertion { value: Some(Value::from(text)), ..Assertion::of_kind(kind) };
    }
    of_grammar(text).unwrap_or_else(|| Assertion { value: Some(Value::from(text)), ..Assertion::of_kind("equals") })
}

/// `not-`? kind, `(number)`?, `: value`?
fn of_grammar(text: &str) -> Option<Assertion> {
    let (head, value) = text.split_once(':').map_or((text, None), |(head, value)| (head, Some(value.trim())));
    // Kinds such as `similar:dot` have a colon of their own.
    let (head, value) = match value {
        Some(rest) if head.trim_end_matches(')').ends_with("similar") => {
            let measure = ["cosine", "dot", "euclidean"].into_iter().find(|measure| rest.starts_with(measure));
            match measure.and_then(|measure| {
                rest.strip_prefix(measure)?.split_once(':').map(|(more, value)| (measure, more, value))
            }) {
                Some((measure, more, value)) => (format!("{head}:{measure}{more}"), Some(value.trim())),
                None => (head.to_owned(), Some(rest)),
            }
        }
        value => (head.to_owned(), value),
    };
    let (kind, threshold) = match head.trim().split_once('(') {
        Some((kind, number)) => (kind.trim(), Some(number.strip_suffix(')')?.trim().parse::<f64>().ok()?)),
        None => (head.trim(), None),
    };
    let base = kind.strip_prefix("not-").unwrap_or(kind);
    if !KNOWN_KINDS.contains(&base) && !is_theirs(base) {
        return None;
    }
    let default = if base.starts_with("similar") {
        Some(SIMILAR_DEFAULT)
    } else {
        WITH_THRESHOLD.contains(&base).then_some(OTHER_DEFAULT)
    };
    let value = value.filter(|value| !value.is_empty()).map(|value| {
        if LISTS.contains(&base) {
            Value::from(value.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>())
        } else {
            Value::from(value)
        }
    });
    // A bound that stands where a value would: `latency: 500`.
    let bound = value.as_ref().and_then(Value::as_str).and_then(|text| text.parse::<f64>().ok());
    if matches!(base, "latency" | "cost") {
        return Some(Assertion { threshold: threshold.or(bound).or(default), ..Assertion::of_kind(kind) });
    }
    Some(Assertion { value, threshold: threshold.or(default), ..Assertion::of_kind(kind) })
}

/// Kinds of promptfoo that are not known here: they are demands all the same, and will be refused as such.
fn is_theirs(base: &str) -> bool {
    const NAMES: [&str; 12] = [
        "ruby",
        "perplexity",
        "perplexity-score",
        "pi",
        "guardrails",
        "select-best",
        "max-score",
        "human",
        "agent-rubric",
        "search-rubric",
        "conversation-relevance",
        "skill-used",
    ];
    NAMES.contains(&base)
        || base.starts_with("is-valid-")
        || base.starts_with("trajectory:")
        || base.starts_with("trace-")
}
