//! `pcs review open`: which answers of a run people review, and what they score them by.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{said, target};
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::Output;

/// `review open`.
#[derive(Clone, Debug, clap::Args)]
pub struct Open {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// What answers are scored by: correct=yes|no, helpful=1..5 or tone=warm|cold|rude
    #[arg(long = "score", required = true, value_name = "NAME=VALUES")]
    pub scores: Vec<String>,
    /// How the review is called
    #[arg(long, default_value = "")]
    pub title: String,
    /// What reviewers are told
    #[arg(long, default_value = "")]
    pub instructions: String,
    /// How many people score each answer
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub reviewers: u8,
    /// Show nobody the scores of others before they gave their own
    #[arg(long)]
    pub blind: bool,
    /// Only answers that came out so
    #[arg(long, value_parser = ["passed", "failed"])]
    pub only: Option<String>,
    /// Only those of this model, by its name in the run
    #[arg(long)]
    pub model: Option<String>,
    /// Only so many of them, drawn by chance
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Only these executions
    #[arg(long = "execution", value_name = "ID")]
    pub executions: Vec<String>,
    /// Add the answers to the review that is open already
    #[arg(long, conflicts_with_all = ["title", "instructions", "blind"])]
    pub add: bool,
}

impl Open {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let scores = self.scores.iter().map(|text| config(text)).collect::<Result<Vec<_>, _>>()?;
        let run = &target::run(api, &self.run).await?;
        let select = self.select();
        let answer = if self.add {
            api.act(Method::POST, &["runs", run, "review", "items"], &json!({ "select": select })).await?
        } else {
            let body = json!({ "title": self.title, "instructions": self.instructions, "scores": scores,
                "reviewers_per_item": self.reviewers, "blind": self.blind, "select": select });
            api.act(Method::POST, &["runs", run, "review"], &body).await?
        };
        said(run, &answer, output)
    }

    fn select(&self) -> Value {
        let mut select = Map::new();
        select.extend(self.only.as_ref().map(|only| ("status".to_owned(), json!(only))));
        select.extend(self.model.as_ref().map(|model| ("model".to_owned(), json!(model))));
        select.extend(self.sample.map(|sample| ("sample".to_owned(), json!(sample))));
        if !self.executions.is_empty() {
            select.insert("execution_ids".to_owned(), json!(self.executions));
        }
        Value::Object(select)
    }
}

/// A score as it is written on the command line.
fn config(text: &str) -> Result<Value, CliError> {
    let wrong = || {
        let hint = "write correct=yes|no, helpful=1..5 or tone=warm|cold|rude";
        CliError::usage(format!("{text:?} is not a score"), hint)
    };
    let (name, values) = text.split_once('=').ok_or_else(wrong)?;
    if let Some((min, max)) = values.split_once("..") {
        let bound = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
        return Ok(json!({ "name": name, "kind": { "numeric": { "min": bound(min)?, "max": bound(max)? } } }));
    }
    let words: Vec<&str> = values.split('|').map(str::trim).collect();
    match words[..] {
        ["yes", "no"] | ["true", "false"] | ["bool" | "boolean"] => Ok(json!({ "name": name, "kind": "boolean" })),
        [_] => Err(wrong()),
        _ => Ok(json!({ "name": name, "kind": { "categorical": { "categories": words } } })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_yes_or_no_numbers_or_words() {
        assert_eq!(config("right=yes|no").unwrap(), json!({ "name": "right", "kind": "boolean" }));
        let numeric = json!({ "name": "helpful", "kind": { "numeric": { "min": 1.0, "max": 5.0 } } });
        assert_eq!(config("helpful=1..5").unwrap(), numeric);
        let words = json!({ "name": "tone", "kind": { "categorical": { "categories": ["warm", "cold"] } } });
        assert_eq!(config("tone=warm | cold").unwrap(), words);
        for text in ["tone", "tone=", "tone=warm", "n=1..x"] {
            assert!(config(text).is_err(), "{text}");
        }
    }
}
