//! The engines that scripts run on, and who may have one. A process of their own where the program has said how one is
//! started: what a script does to its engine, it does to nobody else. Else threads, which can't be ended.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::ScriptError;
use crate::process::{Host, ProcessEngine};
use crate::sandbox::{Sandbox, TIME_MAX};
use crate::thread::ThreadEngine;

/// Most engines, late threads included: they are what scripts take of a machine in the worst case.
const ENGINES_MAX: usize = 8;
/// How much longer than its time a script is waited for: it is stopped between two steps, and is freed.
pub(crate) const GRACE: Duration = Duration::from_millis(1_000);
/// How long a caller waits for a free engine: as long as it takes where each of a worker's 128 slots has a script that
/// takes all its time, because who gives up has a failed verdict that is not their script's fault.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often a job is begun: an engine may have been ended by something else than its script.
const TRIES_MAX: usize = 2;

/// JSON, or why there is none.
pub(crate) type Outcome = Result<String, ScriptError>;

/// What an engine is asked.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    program: String,
    /// Values of JSON by their names; none where the program is to be parsed and not run.
    values: Option<Vec<(String, String)>>,
}

/// What became of a job.
pub(crate) enum Ran {
    Done(Outcome),
    /// The engine is still at it, or was ended for it.
    Late,
    /// The engine ended.
    Lost,
}

enum Engine {
    Thread(ThreadEngine),
    Process(ProcessEngine),
}

#[derive(Default)]
struct Engines {
    idle: Vec<Engine>,
    alive: usize,
}

static ENGINES: Mutex<Engines> = Mutex::new(Engines { idle: Vec::new(), alive: 0 });
static FREED: Condvar = Condvar::new();
static HOST: OnceLock<Host> = OnceLock::new();

/// Says how a process for scripts is started; from then on they run in processes. The first word counts.
pub fn isolate(host: Host) {
    let _ = HOST.set(host);
}

/// Whether the parser takes a program.
pub(crate) fn parse(program: String) -> Result<(), ScriptError> {
    run(Job { program, values: None }).map(drop)
}

/// A program's value as JSON.
pub(crate) fn evaluate(program: String, values: Vec<(String, String)>) -> Outcome {
    run(Job { program, values: Some(values) })
}

impl Job {
    pub(crate) fn done(&self, sandbox: &mut Sandbox) -> Outcome {
        match &self.values {
            None => sandbox.parse(&self.program).map(|()| String::new()),
            Some(values) => sandbox.evaluate(&self.program, values),
        }
    }
}

fn run(job: Job) -> Outcome {
    let job = Arc::new(job);
    for _ in 0..TRIES_MAX {
        let mut engine = free_engine()?;
        let ran = match &mut engine {
            Engine::Thread(thread) => thread.run(&job),
            Engine::Process(process) => process.run(&job),
        };
        match ran {
            Ran::Done(outcome) => {
                engines().idle.push(engine);
                FREED.notify_one();
                return outcome;
            }
            Ran::Late => return Err(ScriptError::timed_out()),
            Ran::Lost => (),
        }
    }
    Err(ScriptError::Crashed)
}

fn engines() -> MutexGuard<'static, Engines> {
    ENGINES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An engine without work: one that waits, a new one, or the next that is done.
fn free_engine() -> Result<Engine, ScriptError> {
    let until = Instant::now() + WAIT_MAX;
    let mut engines = engines();
    loop {
        if let Some(engine) = engines.idle.pop() {
            return Ok(engine);
        }
        if engines.alive < ENGINES_MAX {
            engines.alive += 1;
            drop(engines);
            return started(Alive);
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let why = format!("{ENGINES_MAX} scripts that take too long are under way");
            return Err(ScriptError::NoRoom { why });
        }
        engines = FREED.wait_timeout(engines, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn started(alive: Alive) -> Result<Engine, ScriptError> {
    let engine = match HOST.get() {
        Some(host) => ProcessEngine::start(host, alive).map(Engine::Process),
        None => ThreadEngine::start(alive).map(Engine::Thread),
    };
    engine.map_err(|error| ScriptError::NoRoom { why: error.to_string() })
}

/// Says that an engine is gone, however it ended.
pub(crate) struct Alive;

impl Drop for Alive {
    fn drop(&mut self) {
        engines().alive -= 1;
        FREED.notify_one();
    }
}

impl ScriptError {
    pub(crate) fn timed_out() -> Self {
        Self::TimedOut { millis: u64::try_from(TIME_MAX.as_millis()).unwrap_or(u64::MAX) }
    }
}
