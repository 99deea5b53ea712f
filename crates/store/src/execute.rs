//! Load, decide, append: the one place where a command becomes events.

use pcs_domain::Aggregate;
use pcs_domain::ports::{Clock, System};
use uuid::Uuid;

use crate::append::{Append, CommandContext, Expected};
use crate::error::{AppendError, ExecuteError};
use crate::log::EventLog;
use crate::read::Loaded;
use crate::{Appended, Store};

/// How often a command that expects nothing is decided anew after somebody else was faster.
const CONFLICTS_MAX: u8 = 20;

/// What a command did.
#[derive(Clone, Debug)]
pub struct Executed<A> {
    /// The state after the command.
    pub state: A,
    /// The stream's version after it.
    pub revision: i64,
    /// The position of its last event; none where nothing had to change.
    pub position: Option<i64>,
    /// Whether the same command had been executed before.
    pub duplicate: bool,
}

/// Executes a command on an aggregate and answers when its events are durable.
///
/// # Errors
/// [`ExecuteError::Rejected`] and [`ExecuteError::Conflict`] changed nothing; after a store failure the same command,
/// with the same id and fingerprint, may be sent again.
pub async fn execute<A: Aggregate>(
    store: &Store,
    context: &CommandContext,
    stream_id: Uuid,
    expected: Expected,
    command: A::Command,
) -> Result<Executed<A>, ExecuteError<A::Rejection>>
where
    A::Command: Clone,
{
    execute_on(store, context, stream_id, expected, command).await
}

/// Executes a command on a stream that most likely does not exist yet: saves the load where that is so.
///
/// # Errors
/// As [`execute`].
pub async fn execute_new<A: Aggregate>(
    store: &Store,
    context: &CommandContext,
    stream_id: Uuid,
    command: A::Command,
) -> Result<Executed<A>, ExecuteError<A::Rejection>>
where
    A::Command: Clone,
{
    match attempt(store, context, stream_id, Loaded::default(), command.clone()).await {
        Err(ExecuteError::Conflict { .. }) => execute(store, context, stream_id, Expected::Any, command).await,
        result => result,
    }
}

/// Executes a command on a state that its caller has kept since its last command: a long stream is not folded anew.
///
/// # Errors
/// As [`execute`]; a conflict where somebody else was faster, and what is kept is of no use any more.
pub async fn execute_kept<A: Aggregate>(
    store: &Store,
    context: &CommandContext,
    stream_id: Uuid,
    (state, revision): (A, i64),
    command: A::Command,
) -> Result<Executed<A>, ExecuteError<A::Rejection>> {
    attempt(store, context, stream_id, Loaded { state, revision, tip: None }, command).await
}

/// As [`execute`], on any log.
///
/// # Errors
/// As [`execute`].
pub async fn execute_on<A: Aggregate, L: EventLog>(
    log: &L,
    context: &CommandContext,
    stream_id: Uuid,
    expected: Expected,
    command: A::Command,
) -> Result<Executed<A>, ExecuteError<A::Rejection>>
where
    A::Command: Clone,
{
    let mut conflicts = 0;
    loop {
        let mut loaded = log.load_at::<A>(context.tenant, stream_id, i64::MAX).await?;
        log.reveal_state(context.tenant, &mut loaded.state).await?;
        if !expected.is_met_by(loaded.revision) {
            let actual = loaded.revision;
            let conflict = ExecuteError::Conflict { expected, actual };
            return known_or(log, context, stream_id, conflict).await;
        }
        match attempt(log, context, stream_id, loaded, command.clone()).await {
            // Somebody else was faster: decide again on what is there now.
            Err(ExecuteError::Conflict { .. }) if conflicts < CONFLICTS_MAX => conflicts += 1,
            Err(rejected @ ExecuteError::Rejected(_)) => return known_or(log, context, stream_id, rejected).await,
            // Nothing left to change: perhaps because this very command has changed it.
            Ok(idle) if idle.position.is_none() => {
                return Ok(known(log, context, stream_id).await?.unwrap_or(idle));
            }
            result => return result,
        }
    }
}

async fn attempt<A: Aggregate, L: EventLog>(
    log: &L,
    context: &CommandContext,
    stream_id: Uuid,
    loaded: Loaded<A>,
    command: A::Command,
) -> Result<Executed<A>, ExecuteError<A::Rejection>> {
    let Loaded { mut state, revision, tip } = loaded;
    let events = state.decide(command, System.now()).map_err(ExecuteError::Rejected)?;
    if events.is_empty() {
        return Ok(Executed { state, revision, position: None, duplicate: false });
    }
    let mut append = Append::new(context.clone());
    if tip.is_some() || revision == 0 {
        log.write_behind(&mut append, stream_id, tip, &events)?;
    } else {
        // Loaded without its newest event at hand: the appender looks the end of the stream up.
        log.write(&mut append, stream_id, Expected::Exact(revision), &events)?;
    }
    let Appended { last_position, version, duplicate, .. } = log.append(append).await?;
    if duplicate {
        return again(log, context, stream_id, last_position).await;
    }
    for event in events {
        state.evolve(event);
    }
    Ok(Executed { state, revision: version, position: Some(last_position), duplicate: false })
}

/// The first result of a command that was executed before, else the refusal.
async fn known_or<A: Aggregate, L: EventLog>(
    log: &L,
    context: &CommandContext,
    stream_id: Uuid,
    refusal: ExecuteError<A::Rejection>,
) -> Result<Executed<A>, ExecuteError<A::Rejection>> {
    known(log, context, stream_id).await?.ok_or(refusal)
}

/// The first result of a command that was executed before.
async fn known<A: Aggregate, L: EventLog>(
    log: &L,
    context: &CommandContext,
    stream_id: Uuid,
) -> Result<Option<Executed<A>>, ExecuteError<A::Rejection>> {
    let Some(fingerprint) = context.fingerprint else { return Ok(None) };
    match log.remembered(context.tenant, context.command_id).await? {
        None => Ok(None),
        Some(first) if first.fingerprint != Some(fingerprint) => Err(AppendError::KeyReused.into()),
        Some(first) => again(log, context, stream_id, first.last_position).await.map(Some),
    }
}

/// The state as the command left it the first time, whatever has happened since.
async fn again<A: Aggregate, L: EventLog>(
    log: &L,
    context: &CommandContext,
    stream_id: Uuid,
    position: i64,
) -> Result<Executed<A>, ExecuteError<A::Rejection>> {
    let version = log.version_at(context.tenant, stream_id, position).await?;
    let Loaded { state, revision, .. } = log.load_at::<A>(context.tenant, stream_id, version).await?;
    Ok(Executed { state, revision, position: Some(position), duplicate: true })
}
