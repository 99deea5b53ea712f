//! `pcs runs regrade`: the recorded answers of a run, graded once more; shows which of them turned.

use std::path::PathBuf;
use std::time::Duration;

use pcs_domain::assertion::Assertion;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::exit::{CliError, ExitStatus};
use super::output::{Align, Output, excerpt};
use super::target;
use crate::client::Api;
use crate::suite::Suite;

const NAME_CHARS_MAX: usize = 40;
const REASON_CHARS_MAX: usize = 80;
/// Answers that turned and are listed.
const TURNED_MAX: &str = "50";
/// How often it is looked whether the regrade is complete.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);
const NOT_FOUND: u16 = 404;

/// `runs regrade`.
#[derive(Clone, Debug, clap::Args)]
pub struct Regrade {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// Grade by the assertions and the threshold of this suite, instead of the run's
    #[arg(long, value_name = "SUITE")]
    pub suite: Option<PathBuf>,
    /// The score from which a case without a threshold of its own passes
    #[arg(long, value_name = "SHARE")]
    pub threshold: Option<f64>,
    /// Which demands of the cases count: those of the time of the run, or those of now
    #[arg(long, value_parser = ["as_run", "now"], default_value = "as_run")]
    pub cases: String,
    /// How the regrade is called
    #[arg(long, value_name = "NAME", default_value = "")]
    pub name: String,
    /// Exit with 1 when an answer fails that passed before
    #[arg(long)]
    pub fail_on_regressed: bool,
    /// Print JSON: the regrade with the answers that turned
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Deserialize)]
struct Counts {
    answers: u64,
    passed: u64,
    failed: u64,
    turned_to_passed: u64,
    turned_to_failed: u64,
    verdicts: u64,
}

#[derive(Debug, Deserialize)]
struct Turned {
    case_id: String,
    case_name: Option<String>,
    model: String,
    version: u32,
    passed: bool,
    verdicts: Vec<Verdict>,
}

#[derive(Debug, Deserialize)]
struct Verdict {
    passed: bool,
    reason: String,
}

impl Regrade {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        let run = &target::run(api, &self.run).await?;
        let asked = api.act(Method::POST, &["runs", run, "regrades"], &self.body()?).await?;
        let id = asked["id"].as_str().unwrap_or_default();
        let job = asked["job_id"].as_str().unwrap_or_default();
        let regrade = completed(api, id, job).await?;
        let turned = api.show(&["regrades", id, "results"], &[("turned", "true"), ("limit", TURNED_MAX)]).await?;
        let counts: Counts = Deserialize::deserialize(&regrade).map_err(|error| CliError::unreadable(&error))?;
        if self.json {
            output.json(&with_turned(regrade, &turned))?;
        } else {
            show(id, &counts, &turned, output)?;
        }
        if self.fail_on_regressed && counts.turned_to_failed > 0 {
            output.note(&format!("gate failed: {} answers fail now that passed before", counts.turned_to_failed));
            return Ok(ExitStatus::GateFailed);
        }
        Ok(ExitStatus::Success)
    }

    fn body(&self) -> Result<Value, CliError> {
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(self.name));
        body.insert("cases".to_owned(), json!(self.cases));
        if let Some(path) = &self.suite {
            let Suite { assertions, threshold, .. } = Suite::load(path)?;
            body.insert("assertions".to_owned(), assertions_json(&assertions));
            body.extend(threshold.map(|share| ("threshold".to_owned(), json!(share))));
        }
        body.extend(self.threshold.map(|share| ("threshold".to_owned(), json!(share))));
        Ok(Value::Object(body))
    }
}

fn assertions_json(assertions: &[Assertion]) -> Value {
    serde_json::to_value(assertions).unwrap_or_default()
}

/// Waits for the end; a job that died says why there will be none.
async fn completed(api: &Api, id: &str, job: &str) -> Result<Value, CliError> {
    loop {
        let regrade = there(api.show(&["regrades", id], &[]).await)?;
        if regrade["status"] == "completed" {
            return Ok(regrade);
        }
        let job = there(api.show(&["jobs", job], &[]).await)?;
        if job["status"] == "dead" || job["status"] == "cancelled" {
            let why = job["error"].as_str().unwrap_or("it was cancelled");
            return Err(CliError::System(format!("the regrade {id} ended without its grades: {why}")));
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

/// What is shown; nothing while the read model does not have it yet.
fn there(shown: Result<Value, crate::client::error::ApiError>) -> Result<Value, CliError> {
    match shown {
        Err(error) if error.status() == NOT_FOUND => Ok(Value::Null),
        shown => Ok(shown?),
    }
}

fn with_turned(mut regrade: Value, turned: &Value) -> Value {
    regrade["turned"] = turned["items"].clone();
    regrade
}

fn show(id: &str, counts: &Counts, turned: &Value, output: &mut Output) -> Result<(), CliError> {
    let items: Vec<Turned> =
        Deserialize::deserialize(&turned["items"]).map_err(|error| CliError::unreadable(&error))?;
    if !items.is_empty() {
        let columns = [
            ("case", Align::Left),
            ("version", Align::Right),
            ("model", Align::Left),
            ("now", Align::Left),
            ("why", Align::Left),
        ];
        output.table(&columns, items.iter().map(row).collect())?;
        output.line("")?;
    }
    let Counts { answers, passed, failed, turned_to_passed, turned_to_failed, verdicts } = counts;
    output.line(&format!(
        "regrade {id}: {answers} answers, {verdicts} verdicts, no model asked\n{passed} passed ({turned_to_passed} did \
         not before), {failed} failed ({turned_to_failed} passed before)"
    ))
}

fn row(turned: &Turned) -> Vec<String> {
    let name = turned.case_name.as_deref().unwrap_or(&turned.case_id);
    let why = turned.verdicts.iter().find(|verdict| verdict.passed == turned.passed);
    vec![
        excerpt(name, NAME_CHARS_MAX),
        turned.version.to_string(),
        excerpt(&turned.model, NAME_CHARS_MAX),
        if turned.passed { "passed" } else { "failed" }.to_owned(),
        excerpt(why.map_or("", |verdict| &verdict.reason), REASON_CHARS_MAX),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};
    use crate::commands::output::tests::captured;

    const RUN: &str = "0192aaaa-0000-7000-8000-0000000000f2";

    fn regrade(fail_on_regressed: bool) -> Regrade {
        Regrade {
            run: RUN.to_owned(),
            suite: None,
            threshold: Some(0.5),
            cases: "now".to_owned(),
            name: String::new(),
            fail_on_regressed,
            json: false,
        }
    }

    fn server() -> FakeServer {
        let counts = json!({ "id": "g1", "status": "completed", "answers": 3, "passed": 1, "failed": 2,
            "turned_to_passed": 0, "turned_to_failed": 1, "verdicts": 6 });
        let verdicts = json!([{ "passed": true, "reason": "fine" }, { "passed": false, "reason": "no digit" }]);
        let turned = json!({ "items": [{ "case_id": "c1", "case_name": "robe", "model": "m", "version": 2,
            "passed": false, "verdicts": verdicts }] });
        FakeServer::in_order(vec![
            Reply::json(202, json!({ "id": "g1", "job_id": "j1" })),
            Reply::problem(
                404,
                json!({ "code": "regrade_not_found", "detail": "there is no such regrade", "status": 404 }),
            ),
            Reply::json(200, json!({ "status": "waiting" })),
            Reply::json(200, counts),
            Reply::json(200, turned),
        ])
    }

    #[tokio::test]
    async fn it_waits_and_shows_what_turned_and_why() {
        let server = server();
        let (mut output, out, _) = captured();
        assert_eq!(regrade(false).against(&server.api(), &mut output).await.unwrap(), ExitStatus::Success);
        assert_eq!(
            out.text(),
            "case  version  model  now     why\n\
             robe        2  m      failed  no digit\n\
             \n\
             regrade g1: 3 answers, 6 verdicts, no model asked\n\
             1 passed (0 did not before), 2 failed (1 passed before)\n"
        );
        let lines = server.lines();
        assert_eq!(lines[0], format!("POST /api/v1/runs/{RUN}/regrades"));
        assert_eq!(lines[4], "GET /api/v1/regrades/g1/results?turned=true&limit=50");
    }

    #[tokio::test]
    async fn a_gate_fails_where_an_answer_got_worse() {
        let server = server();
        let (mut output, _, _) = captured();
        assert_eq!(regrade(true).against(&server.api(), &mut output).await.unwrap(), ExitStatus::GateFailed);
    }
}
