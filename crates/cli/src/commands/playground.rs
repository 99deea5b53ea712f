//! `pcs playground`: a draft of a prompt, tried out on some cases and models before it is saved.

use std::path::PathBuf;
use std::time::Duration;

use pcs_domain::assertion::Assertion;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::exit::{CliError, ExitStatus};
use super::output::{Align, Output, excerpt};
use super::page::PAGE_LEN_MAX;
use super::target;
use crate::client::Api;
use crate::client::connection::Connection;
use crate::client::wire::{Card, CardChange, Case, NewCase, NewCases};
use crate::promptfoo::expectation;

/// How often it is looked whether the models have answered.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Longest piece of an answer in the table, in characters.
const ANSWER_CHARS_MAX: usize = 60;
/// Longest piece of a reason, in characters.
const REASON_CHARS_MAX: usize = 200;

/// Try a prompt out on some cases and models, without saving it
#[derive(Clone, Debug, clap::Args)]
pub struct PlaygroundArgs {
    /// The card whose cases are used, by its id or title; its newest prompt is tried where none is given
    card: Option<String>,
    /// The prompt
    #[arg(long, conflicts_with = "prompt_file")]
    prompt: Option<String>,
    /// The file with the prompt
    #[arg(long, value_name = "FILE")]
    prompt_file: Option<PathBuf>,
    /// A model to ask, such as openai:gpt-4o-mini; may be repeated
    #[arg(long = "model", value_name = "ID", required = true)]
    models: Vec<String>,
    /// A case of the card, by its id or name; may be repeated
    #[arg(long = "case", value_name = "CASE", requires = "card")]
    cases: Vec<String>,
    /// A variable of a case that no card has; all of them make one case
    #[arg(long = "input", value_name = "NAME=VALUE")]
    inputs: Vec<String>,
    /// The right answer of that case
    #[arg(long, value_name = "TEXT", requires = "inputs")]
    expected: Option<String>,
    /// A demand on every answer, such as 'icontains: hello'; may be repeated
    #[arg(long = "expect", value_name = "DEMAND")]
    expectations: Vec<String>,
    /// The model that judges
    #[arg(long, value_name = "ID")]
    grader: Option<String>,
    /// Save the prompt as a new version of the card, with this message, where every case passed
    #[arg(long, value_name = "MESSAGE", requires = "card")]
    save_version: Option<String>,
    /// Save the case of --input, with what is expected, as a case of the card
    #[arg(long, requires = "card", requires = "inputs")]
    save_case: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One model's answer to one case, when its job is over.
struct Tried {
    case: String,
    model: String,
    job: Value,
}

impl PlaygroundArgs {
    /// Does it against the server that the environment names.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        let api = Api::new(&Connection::discover()?)?;
        self.against(&api, &mut Output::of_process()).await
    }

    async fn against(self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        let card = match &self.card {
            Some(named) => Some(target::card(api, named).await?),
            None => None,
        };
        let prompt = self.prompt(card.as_ref())?;
        let cases = match &card {
            Some(card) => self.cases(api, card).await?,
            None => Vec::new(),
        };
        let own = self.own_case()?;
        let body = self.body(&prompt, card.as_ref(), &cases, own.as_ref());
        let asked = api.act(Method::POST, &["playground"], &body).await?;
        let mut tried = Vec::new();
        for cell in asked["cells"].as_array().into_iter().flatten() {
            let case = cell["case_id"].as_str().and_then(|id| cases.iter().find(|case| case.id == id));
            let case = case.map_or_else(|| "input".to_owned(), |case| case.name.clone());
            let job = ended(api, cell["job_id"].as_str().unwrap_or_default()).await?;
            tried.push(Tried { case, model: cell["model"].as_str().unwrap_or_default().to_owned(), job });
        }
        let passed = tried.iter().all(|cell| cell.job["output"]["passed"] == true);
        if self.json {
            let cells = tried.iter().map(|cell| json!({ "case": cell.case, "model": cell.model, "job": cell.job }));
            output.json(&json!({ "passed": passed, "cells": cells.collect::<Vec<_>>() }))?;
        } else {
            show(&tried, output)?;
        }
        if let Some(card) = &card {
            if let (true, Some(input)) = (self.save_case, &own) {
                self.keep_case(api, card, input, output).await?;
            }
            match &self.save_version {
                Some(message) if passed => keep_prompt(api, card, (&prompt, message), output).await?,
                Some(_) => output.note("the prompt is not saved: not every case passed"),
                None => (),
            }
        }
        Ok(if passed { ExitStatus::Success } else { ExitStatus::GateFailed })
    }

    fn prompt(&self, card: Option<&Card>) -> Result<String, CliError> {
        match (&self.prompt, &self.prompt_file, card) {
            (Some(prompt), _, _) => Ok(prompt.clone()),
            (None, Some(path), _) => std::fs::read_to_string(path).map_err(|error| {
                CliError::usage(format!("{} can't be read: {error}", path.display()), "name a file with the prompt")
            }),
            (None, None, Some(card)) => Ok(card.prompt.clone()),
            (None, None, None) => Err(CliError::usage(
                "there is no prompt",
                "give one: --prompt TEXT or --prompt-file FILE, or name a card",
            )),
        }
    }

    /// The card's cases that are named.
    async fn cases(&self, api: &Api, card: &Card) -> Result<Vec<Case>, CliError> {
        if self.cases.is_empty() {
            return Ok(Vec::new());
        }
        let mut left: Vec<&String> = self.cases.iter().collect();
        let (mut found, mut cursor) = (Vec::new(), None);
        while !left.is_empty() {
            let page = api.card_cases(&card.id, PAGE_LEN_MAX, cursor.as_deref()).await?;
            for case in page.items {
                let before = left.len();
                left.retain(|named| **named != case.id && **named != case.name);
                if left.len() < before {
                    found.push(case);
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        match left.first() {
            None => Ok(found),
            Some(named) => Err(CliError::usage(
                format!("the card {:?} has no case {named:?}", card.title),
                format!("`pcs card cases {:?}` shows its cases", card.title),
            )),
        }
    }

    /// The case that the command line makes; none where it names no variable.
    fn own_case(&self) -> Result<Option<Map<String, Value>>, CliError> {
        let mut input = Map::new();
        for pair in &self.inputs {
            let Some((name, value)) = pair.split_once('=') else {
                let message = format!("--input {pair:?} is not NAME=VALUE");
                return Err(CliError::usage(message, "write --input name=Ada"));
            };
            input.insert(name.to_owned(), Value::from(value));
        }
        Ok((!input.is_empty()).then_some(input))
    }

    fn demands(&self) -> Vec<Assertion> {
        self.expectations.iter().map(|line| expectation::read(line)).collect()
    }

    fn body(&self, prompt: &str, card: Option<&Card>, cases: &[Case], own: Option<&Map<String, Value>>) -> Value {
        let models: Vec<Value> = self.models.iter().map(|id| json!({ "id": id })).collect();
        let inputs: Vec<Value> =
            own.into_iter().map(|input| json!({ "input": input, "expected_output": self.expected })).collect();
        let mut body = json!({ "prompt": prompt, "models": models, "inputs": inputs, "assertions": self.demands() });
        if let (Some(card), false) = (card, cases.is_empty()) {
            body["card_id"] = json!(card.id);
            body["case_ids"] = cases.iter().map(|case| case.id.as_str()).collect();
        }
        if let Some(grader) = &self.grader {
            body["grader"] = json!({ "id": grader });
        }
        body
    }

    async fn keep_case(
        &self,
        api: &Api,
        card: &Card,
        input: &Map<String, Value>,
        output: &mut Output,
    ) -> Result<(), CliError> {
        let assertions = self.demands();
        let case = NewCase {
            name: "",
            subject: None,
            input,
            expected_output: self.expected.as_deref(),
            assertions: &assertions,
            threshold: None,
            tags: &[],
            metadata: &Map::new(),
        };
        let added = api.add_cases(&card.id, &NewCases { cases: vec![case], on_duplicate: "change" }).await?;
        output.note(&format!("cases of {:?}: {} added, {} changed", card.title, added.added, added.changed));
        Ok(())
    }
}

async fn keep_prompt(
    api: &Api,
    card: &Card,
    (prompt, message): (&str, &str),
    output: &mut Output,
) -> Result<(), CliError> {
    let change =
        CardChange { prompt: Some(prompt.to_owned()), message: Some(message.to_owned()), ..CardChange::default() };
    // The card may have got a case just now.
    let revision = api.card(&card.id).await?.revision;
    let changed = api.change_card(&card.id, revision, &change).await?;
    output.note(&format!("saved as version {} of {:?}", changed.version, changed.title));
    Ok(())
}

/// The job, when it is over.
async fn ended(api: &Api, id: &str) -> Result<Value, CliError> {
    loop {
        match api.show(&["jobs", id], &[]).await {
            // The read model may not have it yet.
            Err(error) if error.status() == 404 => (),
            job => {
                let job = job?;
                if job["status"] != "waiting" {
                    return Ok(job);
                }
            }
        }
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}

fn show(tried: &[Tried], output: &mut Output) -> Result<(), CliError> {
    let columns = [
        ("case", Align::Left),
        ("model", Align::Left),
        ("passed", Align::Left),
        ("score", Align::Right),
        ("ms", Align::Right),
        ("tokens in/out", Align::Right),
        ("answer", Align::Left),
    ];
    let row = |cell: &Tried| {
        let (job, said) = (&cell.job, &cell.job["output"]);
        let (passed, answer) = match job["status"].as_str() {
            Some("finished") => {
                let passed = if said["passed"] == true { "yes" } else { "no" };
                (passed, said["output"].as_str().unwrap_or_default())
            }
            _ => ("-", job["error"].as_str().unwrap_or("no answer")),
        };
        let score = said["score"].as_f64().map_or_else(|| "-".to_owned(), |score| format!("{score:.2}"));
        let number = |field: &str| said[field].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        let tokens = format!("{}/{}", number("input_tokens"), number("output_tokens"));
        let answer = excerpt(answer, ANSWER_CHARS_MAX);
        vec![cell.case.clone(), cell.model.clone(), passed.to_owned(), score, number("latency_ms"), tokens, answer]
    };
    output.table(&columns, tried.iter().map(row).collect())?;
    for cell in tried {
        for verdict in cell.job["output"]["verdicts"].as_array().into_iter().flatten() {
            if verdict["passed"] != true {
                let (kind, reason) = (verdict["type"].as_str(), verdict["reason"].as_str());
                let (kind, reason) = (kind.unwrap_or_default(), reason.unwrap_or_default());
                output.line(&format!(
                    "{} with {}: {kind}: {}",
                    cell.case,
                    cell.model,
                    excerpt(reason, REASON_CHARS_MAX)
                ))?;
            }
        }
    }
    Ok(())
}
