//! `pcs runs …`: the runs of the server, how far they are, and what they came to.

use super::bisect::Bisect;
use super::certificate::CertificateArgs;
use super::compare::Compare;
use super::decide::Decide;
use super::exit::{CliError, ExitStatus};
use super::explain::Explain;
use super::output::{Align, Output, excerpt};
use super::page::{PAGE_LEN_MAX, RESULTS_PAGE_LEN_MAX, collect};
use super::regrade::Regrade;
use super::repeats::Repeats;
use super::run::report::{RESULT_COLUMNS, Report, result_row};
use super::target;
use crate::client::Api;
use crate::client::connection::Connection;
use crate::client::run_wire::Run;
use crate::client::runs::ResultFilter;

const NAME_CHARS_MAX: usize = 40;

/// Look at runs, stop and repeat them.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum RunsCommand {
    /// List runs, the newest first
    List(List),
    /// Show what a run came to, or how far it is
    Show(Show),
    /// Stop a run
    Cancel(Cancel),
    /// Run again what a run left undone: its errors, and what was not done when it was cancelled
    Retry(Retry),
    /// List the results of a run
    Results(Results),
    /// Compare a run with another one: is it better or worse, or is that by chance
    Compare(Compare),
    /// Show what the repeats of a run say about its cases: pass@k, pass^k, and which are flaky
    Repeats(Repeats),
    /// Grade the recorded answers of a run once more, by other assertions or the cases' of now; no model is asked
    Regrade(Regrade),
    /// Certify a run that has ended: what it was and came to, signed
    Certificate(CertificateArgs),
    Bisect(Bisect),
    Decide(Decide),
    /// Count the numbers of a run once more, and say which events each is made of
    Explain(Explain),
}

/// `runs list`.
#[derive(Clone, Debug, clap::Args)]
pub struct List {
    /// Only runs of this card: its id or its exact title
    #[arg(long)]
    pub card: Option<String>,
    /// Only runs that are in this state
    #[arg(long, value_parser = ["running", "completed", "cancelled"])]
    pub status: Option<String>,
    /// Most runs to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `runs show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The run's id
    pub run: String,
    /// Show it as it was, at a position of the log or at a time such as 2026-01-31T23:59:59Z
    #[arg(long, value_name = "POSITION|TIME")]
    pub as_of: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `runs cancel`.
#[derive(Clone, Debug, clap::Args)]
pub struct Cancel {
    /// The run's id
    pub run: String,
    /// Why
    #[arg(long, default_value = "")]
    pub reason: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `runs retry`.
#[derive(Clone, Debug, clap::Args)]
pub struct Retry {
    /// The run's id
    pub run: String,
    /// Only its errors, or only what was not done
    #[arg(long, value_parser = ["errors", "unfinished"])]
    pub only: Option<String>,
    /// Only these kinds of errors, such as timeout, and nothing that is unfinished
    #[arg(long)]
    pub class: Vec<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `runs results`.
#[derive(Clone, Debug, clap::Args)]
pub struct Results {
    /// The run's id
    pub run: String,
    /// Only this model, by its name in the run
    #[arg(long)]
    pub model: Option<String>,
    /// Only what passed
    #[arg(long, conflicts_with = "failed")]
    pub passed: bool,
    /// Only what did not pass
    #[arg(long)]
    pub failed: bool,
    /// Only this version of the prompt
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// Only this case, by its id
    #[arg(long = "case", value_name = "ID")]
    pub case_id: Option<String>,
    /// Most results to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl RunsCommand {
    /// Does it against the server that the environment names.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        let api = Api::new(&Connection::discover()?)?;
        self.against(&api, &mut Output::of_process()).await
    }

    async fn against(self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        match self {
            Self::List(args) => list(api, &args, output).await,
            Self::Show(args) => show(api, &args, output).await,
            Self::Cancel(args) => cancel(api, &args, output).await,
            Self::Retry(args) => retry(api, &args, output).await,
            Self::Results(args) => results(api, args, output).await,
            Self::Repeats(args) => args.against(api, output).await,
            Self::Certificate(args) => args.against(api, output).await,
            Self::Compare(args) => return args.against(api, output).await,
            Self::Regrade(args) => return args.against(api, output).await,
            Self::Decide(args) => return args.against(api, output).await,
            Self::Bisect(args) => return args.against(api, output).await,
            Self::Explain(args) => return args.against(api, output).await,
        }?;
        Ok(ExitStatus::Success)
    }
}

async fn list(api: &Api, list: &List, output: &mut Output) -> Result<(), CliError> {
    let card_id = match &list.card {
        Some(named) => Some(target::card(api, named).await?.id),
        None => None,
    };
    let (card_id, status) = (card_id.as_deref(), list.status.as_deref());
    let page = collect(list.limit, PAGE_LEN_MAX, async |limit, cursor| api.runs(card_id, status, limit, cursor).await);
    let page = page.await?;
    if list.json {
        return output.json(&page);
    }
    if page.items.is_empty() {
        output.note("no runs");
        return Ok(());
    }
    let columns = [
        ("id", Align::Left),
        ("name", Align::Left),
        ("status", Align::Left),
        ("done", Align::Right),
        ("passed", Align::Right),
        ("failed", Align::Right),
        ("errors", Align::Right),
        ("requested", Align::Left),
    ];
    output.table(&columns, page.items.iter().map(run_row).collect())?;
    page.tell_of_more(output);
    Ok(())
}

fn run_row(run: &Run) -> Vec<String> {
    let totals = &run.totals;
    vec![
        run.id.clone(),
        excerpt(&run.name, NAME_CHARS_MAX),
        run.status.clone(),
        format!("{}/{}", totals.executions, totals.planned),
        totals.passed.to_string(),
        totals.failed.to_string(),
        totals.errors.to_string(),
        run.requested_at.clone(),
    ]
}

async fn show(api: &Api, show: &Show, output: &mut Output) -> Result<(), CliError> {
    let id = target::run_id(&show.run)?;
    let run = match &show.as_of {
        Some(as_of) => api.run_as_of(id, as_of).await?,
        None => api.run(id).await?,
    };
    if show.json {
        return output.json(&run);
    }
    Report::new(&run, None).print(&run.name, None, output)
}

async fn cancel(api: &Api, cancel: &Cancel, output: &mut Output) -> Result<(), CliError> {
    let run = api.cancel_run(target::run_id(&cancel.run)?, &cancel.reason).await?;
    if cancel.json {
        return output.json(&run);
    }
    output.line(&format!("{} {}", run.status, run.id))
}

async fn retry(api: &Api, args: &Retry, output: &mut Output) -> Result<(), CliError> {
    let only = args.only.as_deref();
    if only == Some("unfinished") && !args.class.is_empty() {
        let mend = "take out --class, or ask for --only errors";
        return Err(CliError::usage("what is unfinished has no kind of error", mend));
    }
    let body = serde_json::json!({
        "errors": only != Some("unfinished"),
        "unfinished": only != Some("errors") && args.class.is_empty(),
        "classes": args.class,
    });
    let run = api.act(reqwest::Method::POST, &["runs", target::run_id(&args.run)?, "retry"], &body).await?;
    if args.json {
        return output.json(&run);
    }
    let planned = &run["totals"]["planned"];
    output.line(&format!("requested {} with {planned} executions", run["id"].as_str().unwrap_or_default()))
}

async fn results(api: &Api, args: Results, output: &mut Output) -> Result<(), CliError> {
    let run = target::run_id(&args.run)?;
    let success = if args.passed { Some(true) } else { args.failed.then_some(false) };
    let filter = ResultFilter { model: args.model, success, version: args.version, case_id: args.case_id };
    let page =
        collect(args.limit, RESULTS_PAGE_LEN_MAX, async |limit, cursor| api.results(run, &filter, limit, cursor).await);
    let page = page.await?;
    if args.json {
        return output.json(&page);
    }
    if page.items.is_empty() {
        output.note("no results");
        return Ok(());
    }
    output.table(&RESULT_COLUMNS, page.items.iter().map(result_row).collect())?;
    page.tell_of_more(output);
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};
    use crate::commands::output::tests::captured;

    const ID: &str = "0192aaaa-0000-7000-8000-0000000000f1";

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        command: RunsCommand,
    }

    async fn ran(server: &FakeServer, line: &[&str]) -> (Result<ExitStatus, CliError>, String) {
        let (mut output, out, _) = captured();
        let parsed = Line::try_parse_from(["runs"].iter().chain(line)).unwrap_or_else(|error| panic!("{error}"));
        let ended = parsed.command.against(&server.api(), &mut output).await;
        (ended, out.text())
    }

    fn run() -> serde_json::Value {
        let totals = json!({ "planned": 8, "executions": 5, "passed": 3, "failed": 1, "errors": 1 });
        let by_model = json!([{ "model": "echo", "executions": 5, "passed": 3, "failed": 1, "errors": 1 }]);
        json!({ "id": ID, "name": "n", "status": "running", "totals": totals, "by_model": by_model, "models": [1] })
    }

    #[tokio::test]
    async fn runs_are_listed_and_shown() {
        let server = FakeServer::start(Box::new(|asked| match asked.line.contains(ID) {
            true => Reply::json(200, run()),
            false => Reply::json(200, json!({ "items": [run()], "next_cursor": null })),
        }));
        let (_, out) = ran(&server, &["list", "--status", "running"]).await;
        let row = format!("{ID}  n     running   5/8       3       1       1\n");
        assert!(out.ends_with(&row), "{out}");
        let (_, out) = ran(&server, &["show", ID]).await;
        assert!(
            out.starts_with(&format!("n: run {ID} running\n\nmodel  passed  pass rate  failed  errors  p50  p95")),
            "{out}"
        );
        assert!(out.contains("\necho      3/5    60.00 %       1       1    -    -            0/0     -\n"), "{out}");
        let (_, out) = ran(&server, &["show", ID, "--json"]).await;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["models"], json!([1]));
        assert_eq!(ran(&server, &["show", "x"]).await.0.unwrap_err().exit_status(), ExitStatus::WrongUse);
    }

    #[tokio::test]
    async fn results_are_read_page_by_page_and_say_why() {
        let missed = json!({ "case_name": "case 1", "model": "echo", "status": "failed", "score": 0.5,
            "verdicts": [{ "type": "contains", "passed": false, "score": 0.0, "reason": "no \"a\" in it" }] });
        let broken = json!({ "case_name": null, "case_id": "c9", "model": "echo", "status": "error", "score": null,
            "error": { "class": "timeout", "message": "no answer" } });
        let server = FakeServer::in_order(vec![
            Reply::json(200, json!({ "items": [missed], "next_cursor": "p2" })),
            Reply::json(200, json!({ "items": [broken], "next_cursor": null })),
        ]);
        let (_, out) = ran(&server, &["results", ID, "--failed", "--model", "echo"]).await;
        assert_eq!(
            out,
            "case    model  status  score  reason\n\
             case 1  echo   failed   0.50  contains: no \"a\" in it\n\
             c9      echo   error       -  timeout: no answer\n"
        );
        let asked = format!("GET /api/v1/runs/{ID}/results?");
        let lines = server.lines();
        assert_eq!(lines[0], format!("{asked}limit=50&model=echo&success=false"));
        assert_eq!(lines[1], format!("{asked}limit=49&model=echo&success=false&cursor=p2"));
    }
}
