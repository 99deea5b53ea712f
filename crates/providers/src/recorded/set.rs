//! One set of recorded answers in memory: every text once, in one block, with an index by case and model.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::Path;

use pcs_domain::canonical::canonical_json;
use pcs_domain::execution::Answer;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A case by the first half of the SHA-256 of its variables' canonical JSON.
type CaseKey = u128;

/// The recorded answers of several models to the same cases.
pub(super) struct RecordedSet {
    texts: String,
    models: Vec<String>,
    answers: HashMap<(CaseKey, u32), Entry>,
}

struct Entry {
    text: Range<usize>,
    latency_ms: u64,
    input_tokens: u64,
    output_tokens: u64,
    finish_reason: Option<Box<str>>,
}

/// Why a set can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("line {line}: {source}")]
    Line { line: usize, source: serde_json::Error },
    #[error("line {line}: a second answer of \"{model}\" to the same variables")]
    Twice { line: usize, model: String },
    #[error("it is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    vars: Map<String, Value>,
    answers: HashMap<String, RecordedAnswer>,
}

/// A text, or a text with what it took when it was recorded.
#[derive(Deserialize)]
#[serde(untagged)]
enum RecordedAnswer {
    Text(String),
    Measured(MeasuredAnswer),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MeasuredAnswer {
    text: String,
    #[serde(default)]
    latency_ms: u64,
    #[serde(default)]
    input_tokens: u64,
    #[serde(default)]
    output_tokens: u64,
    #[serde(default)]
    finish_reason: Option<String>,
}

impl RecordedSet {
    pub(super) fn read(path: &Path, bytes_max: usize) -> Result<Self, LoadError> {
        let file = File::open(path)?;
        if file.metadata()?.len() > bytes_max as u64 {
            return Err(LoadError::TooLarge { bytes_max });
        }
        let mut set = Self { texts: String::new(), models: Vec::new(), answers: HashMap::new() };
        for (index, line) in BufReader::new(file).lines().enumerate() {
            let line = line?;
            if !line.trim().is_empty() {
                set.add(index + 1, &line)?;
            }
        }
        set.texts.shrink_to_fit();
        set.answers.shrink_to_fit();
        Ok(set)
    }

    fn add(&mut self, number: usize, line: &str) -> Result<(), LoadError> {
        let line: Line = serde_json::from_str(line).map_err(|source| LoadError::Line { line: number, source })?;
        let case = case_key(&line.vars);
        for (model, answer) in line.answers {
            let answer = match answer {
                RecordedAnswer::Text(text) => {
                    MeasuredAnswer { text, latency_ms: 0, input_tokens: 0, output_tokens: 0, finish_reason: None }
                }
                RecordedAnswer::Measured(measured) => measured,
            };
            let start = self.texts.len();
            self.texts.push_str(&answer.text);
            let entry = Entry {
                text: start..self.texts.len(),
                latency_ms: answer.latency_ms,
                input_tokens: answer.input_tokens,
                output_tokens: answer.output_tokens,
                finish_reason: answer.finish_reason.map(String::into_boxed_str),
            };
            let key = (case, self.model_or_new(&model));
            if self.answers.insert(key, entry).is_some() {
                return Err(LoadError::Twice { line: number, model });
            }
        }
        Ok(())
    }

    fn model_or_new(&mut self, name: &str) -> u32 {
        let index = self.models.iter().position(|model| model == name).unwrap_or_else(|| {
            self.models.push(name.to_owned());
            self.models.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    pub(super) fn model(&self, name: &str) -> Option<u32> {
        self.models.iter().position(|model| model == name).and_then(|index| u32::try_from(index).ok())
    }

    pub(super) fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(String::as_str)
    }

    /// What was recorded; what was not, such as the tokens, is 0 and never made up.
    pub(super) fn answer(&self, case: CaseKey, model: u32) -> Option<Answer> {
        let entry = self.answers.get(&(case, model))?;
        Some(Answer {
            output: self.texts[entry.text.clone()].to_owned(),
            latency_ms: entry.latency_ms,
            input_tokens: entry.input_tokens,
            output_tokens: entry.output_tokens,
            cost_micro_usd: None,
            finish_reason: entry.finish_reason.as_deref().map(str::to_owned),
            cached: false,
        })
    }

    /// About how much memory the set takes.
    pub(super) fn bytes(&self) -> usize {
        self.texts.capacity() + self.answers.capacity() * size_of::<((CaseKey, u32), Entry)>()
    }
}

pub(super) fn case_key(variables: &Map<String, Value>) -> CaseKey {
    let digest: [u8; 32] = Sha256::digest(canonical_json(&Value::Object(variables.clone()))).into();
    digest[..16].iter().fold(0, |key, byte| key << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    fn read(lines: &str) -> Result<RecordedSet, LoadError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        RecordedSet::read(file.path(), 1_000)
    }

    fn key(vars: Value) -> CaseKey {
        case_key(vars.as_object().unwrap())
    }

    #[test]
    fn an_answer_is_found_whatever_the_order_of_the_variables() {
        let set = read(concat!(
            r#"{"vars":{"a":1,"b":"x"},"answers":{"m":"one","n":{"text":"two","latency_ms":9,"output_tokens":4}}}"#,
            "\n\n",
            r#"{"vars":{"b":"y"},"answers":{"m":""}}"#,
        ))
        .unwrap();
        let case = key(json!({ "b": "x", "a": 1 }));
        assert_eq!(set.answer(case, set.model("m").unwrap()).unwrap().output, "one");
        let measured = set.answer(case, set.model("n").unwrap()).unwrap();
        assert_eq!((measured.output.as_str(), measured.latency_ms, measured.output_tokens), ("two", 9, 4));
        assert_eq!(set.answer(key(json!({ "b": "y" })), set.model("m").unwrap()).unwrap().output, "");
        assert!(set.answer(key(json!({ "a": 1 })), set.model("m").unwrap()).is_none());
    }

    #[test]
    fn a_broken_set_says_where() {
        let error = read("{\"vars\":{},\"answers\":{}}\nnonsense").map(|_| ()).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
        let twice = "{\"vars\":{},\"answers\":{\"m\":\"a\"}}\n".repeat(2);
        let error = read(&twice).map(|_| ()).unwrap_err();
        assert_eq!(error.to_string(), "line 2: a second answer of \"m\" to the same variables");
        assert!(matches!(read(&"x".repeat(1_001)), Err(LoadError::TooLarge { .. })));
    }
}
