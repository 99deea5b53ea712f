//! `pcs es …`: looking into the event store, repairing what is folded from it, and carrying it elsewhere.
//!
//! One file per subject, with its arguments and its `execute(self, &mut Console)`. To add one: the file, its `mod`, a
//! variant of [`EsCommand`] and its arm in [`EsArgs::execute`].

pub mod address;
pub mod bench;
pub mod archive;
pub mod chaos;
pub mod console;
pub mod doctor;
pub mod event;
pub mod epoch;
pub mod event_view;
pub mod export;
pub mod folded;
pub mod import;
pub mod park;
pub mod progress;
pub mod projection;
pub mod replay;
pub mod selection;
pub mod schema;
pub mod stream;
pub mod subscription;
pub mod verify;
pub mod subjects;

use self::console::{Console, ConsoleArgs};
use super::exit::{CliError, ExitStatus};
use super::output::Output;

/// `pcs es`.
#[derive(Clone, Debug, clap::Args)]
pub struct EsArgs {
    #[command(flatten)]
    console: ConsoleArgs,
    #[command(subcommand)]
    command: EsCommand,
}

/// What can be done with the event store.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum EsCommand {
    /// Tell this log from its copies
    #[command(subcommand)]
    Epoch(epoch::EpochCommand),
    /// Look at streams: their heads, events and states; close and open them
    #[command(subcommand)]
    Stream(stream::StreamCommand),
    /// Look at single events: by position, by id, by what is in them
    #[command(subcommand)]
    Event(event::EventCommand),
    /// Send a part of the log again: to stdout, into a stream of JetStream, or to an HTTP server
    Replay(replay::Replay),
    /// Write the log into a file that another database can import
    Export(export::ExportArgs),
    /// Read an exported log into an empty database, or behind the log that it goes on
    Import(import::ImportArgs),
    /// Verify that the log is whole; exits with 1 and says where it is not
    Verify(verify::Verify),
    /// Prove on this machine, with kills and cuts, that nothing is lost or doubled; exits with 1 where something is
    Chaos(chaos::Chaos),
    #[command(hide = true)]
    ChaosPart(chaos::Part),
    /// Examine the database under the log; exits with 1 where something is bad
    Doctor(doctor::Doctor),
    /// Measure appends and reads on this hardware, in a database that is made for it and dropped
    Bench(bench::BenchArgs),
    /// Look at read models, stop them, and build them anew
    #[command(subcommand)]
    Projection(projection::ProjectionCommand),
    /// Look at events that a read model could not apply, and try or drop them
    #[command(subcommand)]
    Park(park::ParkCommand),
    /// Look at durable subscriptions: how far they are, and who works on them
    #[command(subcommand)]
    Subscription(subscription::SubscriptionCommand),
    /// List the data subjects of whom something is or was kept
    Subjects(subjects::Subjects),
    /// Make a data subject's data unreadable, in every copy of it
    Shred(subjects::Shred),
    /// Look at, add and change the master keys of personal data
    #[command(subcommand)]
    Keys(subjects::KeysCommand),
    /// Move closed partitions of the log into object storage, verify them there, take them back
    #[command(subcommand)]
    Archive(archive::ArchiveCommand),
    /// Check, compare and write the schemas of events
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
}

impl EsArgs {
    /// Does it against the database that is given or found.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        self.with(Output::of_process()).await
    }

    /// Does it, and writes to these streams.
    ///
    /// # Errors
    /// Why there is no result.
    pub async fn with(self, output: Output) -> Result<ExitStatus, CliError> {
        let mut console = Console::new(self.console, output);
        match self.command {
            EsCommand::Epoch(command) => command.execute(&mut console).await,
            EsCommand::Stream(command) => command.execute(&mut console).await,
            EsCommand::Event(command) => command.execute(&mut console).await,
            EsCommand::Replay(replay) => replay.execute(&mut console).await,
            EsCommand::Export(export) => export.execute(&mut console).await,
            EsCommand::Import(import) => import.execute(&mut console).await,
            EsCommand::Verify(verify) => verify.execute(&mut console).await,
            EsCommand::Chaos(chaos) => chaos.execute(&mut console).await,
            EsCommand::ChaosPart(part) => part.execute(&mut console).await,
            EsCommand::Doctor(doctor) => doctor.execute(&mut console).await,
            EsCommand::Bench(bench) => bench.execute(&mut console).await,
            EsCommand::Projection(command) => command.execute(&mut console).await,
            EsCommand::Park(command) => command.execute(&mut console).await,
            EsCommand::Subscription(command) => command.execute(&mut console).await,
            EsCommand::Subjects(subjects) => subjects.execute(&mut console).await,
            EsCommand::Shred(shred) => shred.execute(&mut console).await,
            EsCommand::Keys(command) => command.execute(&mut console).await,
            EsCommand::Archive(command) => command.execute(&mut console).await,
            EsCommand::Schema(command) => command.execute(&mut console).await,
        }
    }
}
