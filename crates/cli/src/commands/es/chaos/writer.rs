//! A writer: a process that appends until it is killed, and tells on stdout what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pcs_domain::DomainEvent;
use pcs_domain::ids::{ActorId, CommandId, TenantId};
use pcs_domain::prompt_card::{Created, PromptCardEvent, Tagged};
use pcs_store::{Append, AppendError, Appended, CommandContext, Expected, Store, StoreConfig};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::STREAMS;
use super::dice::Dice;
use crate::commands::exit::CliError;

/// Commands of one writer that are on their way at once.
const CALLERS: u64 = 8;
/// Commands that a writer sends again when it starts: those that its former self may have left without an answer.
const RESENT: u64 = 64;
/// One of so many commands is sent again although it was acknowledged.
const AGAIN_ONE_IN: u64 = 8;
/// Pause after an answer that is none.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What stands before an event's number in its tag, and how the tag of a command's first event ends.
const EVENT: &str = " event ";
const FIRST: &str = " event 0";

/// A writer's part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writer {
    pub(super) number: u16,
    pub(super) namespace: Uuid,
    /// The first command that its former self may not have sent.
    pub(super) next: u64,
}

/// The streams that all writers write to.
fn stream(namespace: Uuid, number: u64) -> Uuid {
    Uuid::new_v5(&namespace, format!("stream {number}").as_bytes())
}

/// How many events a command writes.
fn events_of(sequence: u64) -> u64 {
    1 + sequence % 3
}

/// The fingerprint of a command's content, from which the number of its events is known again.
pub(super) fn fingerprint(events: u64) -> Uuid {
    Uuid::from_u128(u128::from(events))
}

/// The id of a command, always the same for the same place in the same run.
fn command_id(namespace: Uuid, writer: u16, sequence: u64) -> Uuid {
    Uuid::new_v5(&namespace, format!("command {writer} {sequence}").as_bytes())
}

/// Whether an event is the first of its command.
pub(super) fn is_first(event: &DomainEvent) -> bool {
    let DomainEvent::PromptCard(PromptCardEvent::Tagged(tagged)) = event else { return true };
    tagged.tags.iter().any(|tag| tag.ends_with(FIRST))
}

/// Makes the cards that are written to.
pub(super) async fn prepare(store: &Store, namespace: Uuid) -> Result<(), CliError> {
    for number in 0..STREAMS {
        let created = PromptCardEvent::Created(Created {
            title: format!("Chaos {number}"),
            description: String::new(),
            prompt: "{{question}}".to_owned(),
            model: None,
            category: String::new(),
            tags: Vec::new(),
            metadata: serde_json::Map::new(),
            is_public: false,
            created_by: ActorId(namespace),
        });
        let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(stream(namespace, number))));
        store.write(&mut append, stream(namespace, number), Expected::NoStream, &[created])?;
        store.append(append).await.map_err(|error| CliError::System(error.to_string()))?;
    }
    Ok(())
}

impl Writer {
    /// Writes for ever.
    pub(super) async fn run(self, database_url: &str) -> Result<(), CliError> {
        let store = loop {
            match Store::connect(&StoreConfig::new(database_url, format!("pcs chaos writer {}", self.number))).await {
                Ok(store) => break store,
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        };
        let next = Arc::new(AtomicU64::new(self.next.saturating_sub(RESENT)));
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let (store, next) = (store.clone(), Arc::clone(&next));
            let seed = self.namespace.as_u64_pair().0 ^ (u64::from(self.number) << 32) ^ (caller + 1);
            callers.spawn(async move { self.call(&store, &next, Dice::new(seed)).await });
        }
        // None of them ends but by an error: nobody reads what is acknowledged any more.
        callers.join_next().await.transpose().map_err(|error| CliError::System(error.to_string()))?.unwrap_or(Ok(()))
    }

    async fn call(self, store: &Store, next: &AtomicU64, mut dice: Dice) -> Result<(), CliError> {
        loop {
            let sequence = next.fetch_add(1, Ordering::Relaxed);
            let append = self.append(store, sequence)?;
            self.acknowledged(store, sequence, &append).await?;
            if sequence.is_multiple_of(AGAIN_ONE_IN) {
                let again = self.acknowledged(store, sequence, &append).await?;
                if !again.duplicate {
                    say(&format!("complaint command {sequence} was executed again"))?;
                }
            }
            tokio::time::sleep(dice.millis(0, 4)).await;
        }
    }

    fn append(self, store: &Store, sequence: u64) -> Result<Append, CliError> {
        let id = command_id(self.namespace, self.number, sequence);
        let mut dice = Dice::new(id.as_u64_pair().0);
        let events = events_of(sequence);
        let mut context = CommandContext::derived(TenantId::DEFAULT, CommandId(id));
        context.fingerprint = Some(fingerprint(events));
        let tagged = |nth: u64| {
            let tag = format!("writer {} command {sequence}{EVENT}{nth}", self.number);
            PromptCardEvent::Tagged(Tagged { tags: vec![tag] })
        };
        let mut append = Append::new(context);
        let first = dice.roll(STREAMS);
        if events == 3 {
            // One command over two streams: both or neither.
            let second = (first + 1 + dice.roll(STREAMS - 1)) % STREAMS;
            store.write(&mut append, stream(self.namespace, first), Expected::Exists, &[tagged(0), tagged(1)])?;
            store.write(&mut append, stream(self.namespace, second), Expected::Any, &[tagged(2)])?;
        } else {
            let all: Vec<PromptCardEvent> = (0..events).map(tagged).collect();
            store.write(&mut append, stream(self.namespace, first), Expected::Any, &all)?;
        }
        Ok(append)
    }

    /// Sends a command until it is acknowledged, as a client should.
    async fn acknowledged(self, store: &Store, sequence: u64, append: &Append) -> Result<Appended, CliError> {
        loop {
            match store.append(append.clone()).await {
                Ok(appended) => {
                    let id = command_id(self.namespace, self.number, sequence);
                    let Appended { first_position, last_position, .. } = appended;
                    say(&format!("ack {sequence} {id} {first_position} {last_position}"))?;
                    return Ok(appended);
                }
                Err(error @ (AppendError::Conflict { .. } | AppendError::KeyReused)) => {
                    say(&format!("complaint command {sequence} was refused: {error}"))?;
                    std::future::pending::<()>().await;
                }
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }
}

/// Tells the parent; one write per line, so that a kill cuts none in two.
fn say(line: &str) -> Result<(), CliError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    Ok(out.flush()?)
}
