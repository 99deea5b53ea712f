//! The program `pcs`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
use pcs::{commands, roles, scripts};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The system failed: a server, a database or a broker.
const EXIT_SYSTEM: u8 = 3;

/// Prompt cards: versioned prompt templates with test cases, run on a fleet of workers, recorded as events.
#[derive(Parser)]
#[command(name = "pcs", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start PostgreSQL, NATS and every role on this machine
    Up(roles::up::Up),
    /// Run a suite of test cases and wait for its results
    Run(commands::run::RunArgs),
    /// Look at suite files
    #[command(subcommand)]
    Suite(commands::suite::SuiteCommand),
    /// Make, change and look at cards
    #[command(subcommand)]
    Card(commands::card::CardCommand),
    Prompt(commands::prompt::PromptArgs),
    Playground(commands::playground::PlaygroundArgs),
    /// Look at runs, cancel and repeat them
    #[command(subcommand)]
    Runs(commands::runs::RunsCommand),
    /// Check a run's certificate, without a server
    VerifyCertificate(commands::certificate::VerifyCertificate),
    /// Look at the job system and steer it
    #[command(subcommand)]
    Jobs(commands::jobs::JobsCommand),
    /// Look at schedules, make and end them
    #[command(subcommand)]
    Schedules(commands::schedules::SchedulesCommand),
    #[command(subcommand)]
    Review(commands::review::ReviewCommand),
    /// Look into the event store, verify it, and carry it elsewhere
    Es(commands::es::EsArgs),
    /// Serve the HTTP API
    Serve(roles::Serve),
    /// Schedule jobs and record results
    Relay(roles::Relay),
    /// Keep the read models up to date
    Project(roles::Project),
    /// Do jobs
    Work(roles::Work),
    /// Bring the database schema up to date
    Migrate(roles::Migrate),
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == scripts::HOST) {
        return scripts::serve();
    }
    scripts::isolate();
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    runtime.block_on(execute(cli.command))
}

async fn execute(command: Command) -> ExitCode {
    let result = match command {
        Command::Run(args) => return commands::finish(args.execute().await),
        Command::Suite(suite) => return commands::finish(suite.execute()),
        Command::Card(card) => return commands::finish(card.execute().await),
        Command::Prompt(prompt) => return commands::finish(prompt.execute().await),
        Command::Playground(draft) => return commands::finish(draft.execute().await),
        Command::Runs(runs) => return commands::finish(runs.execute().await),
        Command::VerifyCertificate(verify) => return commands::finish(verify.execute()),
        Command::Jobs(jobs) => return commands::finish(jobs.execute().await),
        Command::Schedules(schedules) => return commands::finish(schedules.execute().await),
        Command::Review(review) => return commands::finish(review.execute().await),
        Command::Es(es) => return commands::finish(es.execute().await),
        Command::Up(up) => up.execute().await,
        Command::Serve(serve) => serve.execute().await,
        Command::Relay(relay) => relay.execute().await,
        Command::Project(project) => project.execute().await,
        Command::Work(work) => work.execute().await,
        Command::Migrate(migrate) => migrate.execute().await,
    };
    result.map_or_else(|error| fail(&error), |()| ExitCode::SUCCESS)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("pcs: {error:#}");
    ExitCode::from(EXIT_SYSTEM)
}
