//! `pcs review score` and `pcs review override`: what a person makes of an answer.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{said, target};
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::Output;

/// `review score`.
#[derive(Clone, Debug, clap::Args)]
pub struct Score {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// The execution whose answer is scored
    pub execution: String,
    /// What you give it: correct=yes, helpful=4, tone=warm
    #[arg(required = true, value_name = "NAME=VALUE")]
    pub values: Vec<String>,
    /// What else is to be said of it
    #[arg(long, default_value = "")]
    pub comment: String,
}

/// `review override`.
#[derive(Clone, Debug, clap::Args)]
pub struct Override {
    /// The execution whose verdict is overridden
    pub execution: String,
    /// What it shall be
    #[arg(value_parser = ["passed", "failed"], required_unless_present = "withdraw")]
    pub verdict: Option<String>,
    /// Why
    #[arg(long, required_unless_present = "withdraw")]
    pub reason: Option<String>,
    /// Let the recorded verdict count again
    #[arg(long, conflicts_with_all = ["verdict", "reason"])]
    pub withdraw: bool,
}

impl Score {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let run = &target::run(api, &self.run).await?;
        let review = api.show(&["runs", run, "review"], &[]).await?;
        let scores = values(&self.values, &review["scores"])?;
        let body = json!({ "scores": scores, "comment": self.comment });
        let path = ["runs", run, "review", "items", &self.execution, "scores"];
        let answer = api.act(Method::PUT, &path, &body).await?;
        said(run, &answer, output)
    }
}

impl Override {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let path = ["executions", &self.execution, "override"];
        let answer = if self.withdraw {
            api.act(Method::DELETE, &path, &json!({})).await?
        } else {
            let body = json!({ "passed": self.verdict.as_deref() == Some("passed"), "reason": self.reason });
            api.act(Method::PUT, &path, &body).await?
        };
        let word = |passed: &Value| if *passed == true { "passed" } else { "failed" };
        output.line(&format!(
            "execution {} counts as {}; recorded is {}",
            self.execution,
            word(&answer["passed"]),
            word(&answer["recorded"])
        ))
    }
}

/// The values as the review's scores have them.
fn values(written: &[String], configs: &Value) -> Result<Map<String, Value>, CliError> {
    let mut values = Map::new();
    for text in written {
        let hint = "write correct=yes, helpful=4 or tone=warm";
        let wrong = |what: String| CliError::usage(what, hint);
        let (name, value) = text.split_once('=').ok_or_else(|| wrong(format!("{text:?} has no =")))?;
        let config = configs.as_array().into_iter().flatten().find(|config| config["name"] == name);
        let config = config.ok_or_else(|| wrong(format!("the review has no score {name:?}")))?;
        let (is_boolean, is_numeric) = (config["kind"] == "boolean", config["kind"]["numeric"].is_object());
        let value = match value {
            "yes" | "true" if is_boolean => json!(true),
            "no" | "false" if is_boolean => json!(false),
            number if is_numeric => {
                json!(number.parse::<f64>().map_err(|_| wrong(format!("{name}: {number:?} is not a number")))?)
            }
            word => json!(word),
        };
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_their_scores_are() {
        let configs = json!([{ "name": "right", "kind": "boolean" }, { "name": "n", "kind": { "numeric": {} } },
            { "name": "tone", "kind": { "categorical": {} } }]);
        let written = ["right=yes", "n=4", "tone=warm"].map(str::to_owned);
        assert_eq!(
            Value::Object(values(&written, &configs).unwrap()),
            json!({ "right": true, "n": 4.0, "tone": "warm" })
        );
        for text in ["right", "other=1", "n=many"] {
            assert!(values(&[text.to_owned()], &configs).is_err(), "{text}");
        }
    }
}
