//! `pcs review list`, `show`, `next` and `agreement`: how far reviews are, what is to be scored, and whether people agree.

use reqwest::Method;
use serde_json::{Value, json};

use super::target;
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::{Align, Output, excerpt, plain_line, plain_text};

const NAME_CHARS_MAX: usize = 40;
/// Reviews that are listed.
const LIST_LEN: &str = "50";

/// `review list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Only those that are open
    #[arg(long)]
    pub open: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `review show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// Print JSON: the review with its answers and what was given to them
    #[arg(long)]
    pub json: bool,
}

/// `review next`.
#[derive(Clone, Debug, clap::Args)]
pub struct Next {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// Print JSON: the execution
    #[arg(long)]
    pub json: bool,
}

/// `review agreement`.
#[derive(Clone, Debug, clap::Args)]
pub struct Agreement {
    /// The run's id; `last` is the newest completed one
    pub run: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl List {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let mut query = vec![("limit", LIST_LEN)];
        if self.open {
            query.push(("closed", "false"));
        }
        let page = api.show(&["reviews"], &query).await?;
        if self.json {
            return output.json(&page["items"]);
        }
        let rows = page["items"].as_array().into_iter().flatten().map(row).collect::<Vec<_>>();
        if rows.is_empty() {
            output.note("no reviews");
            return Ok(());
        }
        let columns = [
            ("run", Align::Left),
            ("title", Align::Left),
            ("state", Align::Left),
            ("answers", Align::Right),
            ("done", Align::Right),
        ];
        output.table(&columns, rows)
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn state(review: &Value) -> String {
    if review["closed"] == true { "closed" } else { "open" }.to_owned()
}

fn row(review: &Value) -> Vec<String> {
    let title = excerpt(text(&review["title"]), NAME_CHARS_MAX);
    vec![
        text(&review["run_id"]).to_owned(),
        title,
        state(review),
        review["items"].to_string(),
        review["done"].to_string(),
    ]
}

impl Show {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let run = &target::run(api, &self.run).await?;
        let mut review = api.show(&["runs", run, "review"], &[]).await?;
        if self.json {
            let mut items = Vec::new();
            let mut cursor = None::<String>;
            loop {
                let query: Vec<_> = cursor.iter().map(|cursor| ("cursor", cursor.as_str())).collect();
                let mut page = api.show(&["runs", run, "review", "items"], &query).await?;
                items.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
                cursor = page["next_cursor"].as_str().map(str::to_owned);
                if cursor.is_none() {
                    break;
                }
            }
            review["answers"] = Value::Array(items);
            return output.json(&review);
        }
        let title = text(&review["title"]);
        let title = if title.is_empty() { String::new() } else { format!(", {}", plain_line(title)) };
        output.line(&format!("review of run {run}: {}{title}", state(&review)))?;
        output.line(&format!(
            "{} of {} answers done by {} each: {} scores given, {} to come from who has taken one",
            review["done"], review["items"], review["reviewers_per_item"], review["scored"], review["assigned"]
        ))?;
        for config in review["scores"].as_array().into_iter().flatten() {
            output.line(&format!("  {}: {}", plain_line(text(&config["name"])), wanted(config)))?;
        }
        Ok(())
    }
}

/// Which values a score takes, as they are written on the command line.
fn wanted(config: &Value) -> String {
    let kind = &config["kind"];
    if let Some(numeric) = kind["numeric"].as_object() {
        return format!("from {} to {}", numeric["min"], numeric["max"]);
    }
    match kind["categorical"]["categories"].as_array() {
        Some(words) => words.iter().map(|word| plain_line(text(word))).collect::<Vec<_>>().join(", "),
        None => "yes or no".to_owned(),
    }
}

impl Next {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let run = &target::run(api, &self.run).await?;
        let taken = api.act(Method::POST, &["runs", run, "review", "next"], &json!({})).await?;
        let id = text(&taken["next"]);
        let execution = api.show(&["executions", id], &[]).await?;
        if self.json {
            return output.json(&execution);
        }
        let review = api.show(&["runs", run, "review"], &[]).await?;
        let name = execution["case_name"].as_str().unwrap_or_else(|| text(&execution["case_id"]));
        output.line(&format!("{}, version {}", plain_line(name), execution["version"]))?;
        for (variable, value) in execution["input"].as_object().into_iter().flatten() {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            output.line(&format!("{}: {}", plain_line(variable), plain_text(&shown)))?;
        }
        output.line(&format!("\n{}\n", plain_text(text(&execution["output"]))))?;
        // Who knows the machine's verdict is swayed by it.
        if review["blind"] != true {
            output.line(&format!("recorded: {}", text(&execution["status"])))?;
        }
        let blanks = review["scores"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|config| format!("{}=…", plain_line(text(&config["name"]))));
        output.note(&format!("score it: pcs review score {run} {id} {}", blanks.collect::<Vec<_>>().join(" ")));
        Ok(())
    }
}

impl Agreement {
    pub(super) async fn against(&self, api: &Api, output: &mut Output) -> Result<(), CliError> {
        let run = &target::run(api, &self.run).await?;
        let agreement = api.show(&["runs", run, "review", "agreement"], &[]).await?;
        if self.json {
            return output.json(&agreement);
        }
        let columns = [
            ("score", Align::Left),
            ("who", Align::Left),
            ("with", Align::Left),
            ("answers", Align::Right),
            ("agreed", Align::Right),
            ("agreement", Align::Left),
        ];
        let scores = agreement["scores"].as_array().into_iter().flatten();
        output.table(&columns, scores.flat_map(agreement_rows).collect())
    }
}

fn agreement_rows(score: &Value) -> Vec<Vec<String>> {
    let name = excerpt(text(&score["name"]), NAME_CHARS_MAX);
    let number =
        |name: &str, value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |value| format!("{name} {value:.3}"));
    let all = vec![
        name.clone(),
        "all".to_owned(),
        "each other".to_owned(),
        score["items"].to_string(),
        String::new(),
        number("alpha", &score["alpha"]),
    ];
    let both = |who: &Value, with: String, of: &Value| {
        let kappa = number("kappa", &of["kappa"]);
        vec![name.clone(), text(who).to_owned(), with, of["items"].to_string(), of["agreed"].to_string(), kappa]
    };
    let pairs = score["pairs"].as_array().into_iter().flatten();
    let pairs = pairs.map(|pair| both(&pair["one"], text(&pair["other"]).to_owned(), pair));
    let recorded = score["recorded"].as_array().into_iter().flatten();
    let recorded = recorded.map(|of| both(&of["reviewer"], "recorded verdicts".to_owned(), of));
    std::iter::once(all).chain(pairs).chain(recorded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};
    use crate::commands::output::tests::captured;

    const RUN: &str = "0192aaaa-0000-7000-8000-0000000000f2";

    #[tokio::test]
    async fn the_next_answer_is_shown_without_its_verdict_where_the_review_is_blind() {
        let server = FakeServer::in_order(vec![
            Reply::json(200, json!({ "run_id": RUN, "items": 2, "closed": false, "next": "e1" })),
            Reply::json(
                200,
                json!({ "case_name": "robe", "version": 2, "input": { "q": "how many?" }, "output": "3",
                "status": "failed" }),
            ),
            Reply::json(200, json!({ "blind": true, "scores": [{ "name": "right", "kind": "boolean" }] })),
        ]);
        let (mut output, out, err) = captured();
        let next = Next { run: RUN.to_owned(), json: false };
        next.against(&server.api(), &mut output).await.unwrap();
        assert_eq!(out.text(), "robe, version 2\nq: how many?\n\n3\n\n");
        assert_eq!(err.text(), format!("score it: pcs review score {RUN} e1 right=…\n"));
        assert_eq!(server.lines()[0], format!("POST /api/v1/runs/{RUN}/review/next"));
    }

    #[tokio::test]
    async fn agreement_is_a_table_of_who_agrees_with_whom() {
        let pair = json!({ "one": "a", "other": "b", "items": 3, "agreed": 2, "kappa": 0.4 });
        let recorded = json!({ "reviewer": "a", "items": 4, "agreed": 4, "kappa": null });
        let score = json!({ "name": "right", "items": 3, "alpha": 0.5, "pairs": [pair], "recorded": [recorded] });
        let server = FakeServer::in_order(vec![Reply::json(200, json!({ "run_id": RUN, "scores": [score] }))]);
        let (mut output, out, _) = captured();
        let asked = Agreement { run: RUN.to_owned(), json: false };
        asked.against(&server.api(), &mut output).await.unwrap();
        assert_eq!(
            out.text(),
            "score  who  with               answers  agreed  agreement\n\
             right  all  each other               3          alpha 0.500\n\
             right  a    b                        3       2  kappa 0.400\n\
             right  a    recorded verdicts        4       4  -\n"
        );
    }
}
