//! A process of the interpreter: one job in, one answer out, and an end to it in any case.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::RESULT_BYTES_MAX;
use crate::error::ScriptError;

/// Longest time of one evaluation, with the start of its process.
pub(super) const PYTHON_TIME_MAX: Duration = Duration::from_secs(10);
/// Most memory of one evaluation, in bytes of addresses.
pub(super) const MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Most time of a processor for one evaluation, in seconds.
const CPU_SECONDS_MAX: u64 = 10;
/// Most files that one evaluation has open.
const FILES_MAX: u64 = 64;
/// Most processes at once.
const PROCESSES_MAX: usize = 4;
/// How long a caller waits for its turn: as long as it takes where many slots of a worker have slow code.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// What reads the job, limits itself, evaluates and answers.
const HARNESS: &str = include_str!("harness.py");

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// The answer of the harness to a job.
pub(super) fn run(interpreter: &Path, job: &Value) -> Result<Vec<u8>, ScriptError> {
    let _turn = Turn::take()?;
    let job = serde_json::to_vec(job).map_err(|error| ScriptError::NoRoom { why: error.to_string() })?;
    let mut running = Running(start(interpreter)?);
    let (Some(mut input), Some(output)) = (running.0.stdin.take(), running.0.stdout.take()) else {
        return Err(ScriptError::Crashed);
    };
    let (done, answered) = channel();
    let reader = move || {
        // One that does not read its job ends without an answer, which is what is told.
        drop(input.write_all(&job));
        drop(input);
        let mut answer = Vec::new();
        let most = u64::try_from(2 * RESULT_BYTES_MAX).unwrap_or(u64::MAX);
        let read = output.take(most).read_to_end(&mut answer);
        drop(done.send(read.map(|_| answer)));
    };
    thread::Builder::new().name("python".to_owned()).spawn(reader).map_err(|error| no_room(&error))?;
    match answered.recv_timeout(PYTHON_TIME_MAX) {
        Ok(Ok(answer)) if !answer.is_empty() => Ok(answer),
        Ok(_) | Err(RecvTimeoutError::Disconnected) => Err(ScriptError::Crashed),
        Err(RecvTimeoutError::Timeout) => Err(timed_out()),
    }
}

fn start(interpreter: &Path) -> Result<Child, ScriptError> {
    let limits = json!({ "memory_bytes": MEMORY_BYTES_MAX, "cpu_seconds": CPU_SECONDS_MAX, "files": FILES_MAX });
    let mut command = Command::new(interpreter);
    // Isolated: neither the folder it is in nor the user's packages; those of the interpreter's own environment are there.
    command.args(["-I", "-B", "-c", HARNESS]).arg(limits.to_string()).env_clear().current_dir("/");
    // Libraries that count processors would start threads, which are not allowed.
    command.envs([("OPENBLAS_NUM_THREADS", "1"), ("OMP_NUM_THREADS", "1"), ("PYTHONUTF8", "1")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(|error| no_room(&error))
}

fn no_room(error: &std::io::Error) -> ScriptError {
    ScriptError::NoRoom { why: format!("the Python interpreter can't be started: {error}") }
}

fn timed_out() -> ScriptError {
    ScriptError::TimedOut { millis: u64::try_from(PYTHON_TIME_MAX.as_millis()).unwrap_or(u64::MAX) }
}

/// A process that does not outlive its answer.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Root is not held by the limit on processes: what it has started goes with it.
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.0.id()) {
            // Nobody may be left to be told.
            let _ = nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL);
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// One of the places for a process.
struct Turn;

impl Turn {
    fn take() -> Result<Self, ScriptError> {
        let until = Instant::now() + WAIT_MAX;
        let mut running = places();
        while *running >= PROCESSES_MAX {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = format!("{PROCESSES_MAX} Python scripts that take long are under way");
                return Err(ScriptError::NoRoom { why });
            }
            running = ENDED.wait_timeout(running, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *running += 1;
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *places() -= 1;
        ENDED.notify_one();
    }
}

fn places() -> MutexGuard<'static, usize> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
