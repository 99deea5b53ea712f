//! An engine in a process of its own, which is told its jobs through its input and answers through its output: what a
//! script does to its engine ends there, and a script that can't be stopped is ended with its process.

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;

use crate::RESULT_BYTES_MAX;
use crate::engines::{Alive, GRACE, Job, Outcome, Ran};
use crate::sandbox::{Sandbox, TIME_MAX};

/// How a host ends whose script did not end.
const EXIT_LATE: i32 = 75;
/// Longest answer of a host, in bytes: a result whose every letter is written as six, and what is around it.
const ANSWER_BYTES_MAX: usize = 6 * RESULT_BYTES_MAX + 1024;

/// How a process for scripts is started: a program that calls [`serve`].
#[derive(Clone, Debug)]
pub struct Host {
    /// The program.
    pub program: PathBuf,
    /// What it is started with.
    pub arguments: Vec<String>,
}

/// A process that does one job after the other.
pub(crate) struct ProcessEngine {
    child: Child,
    jobs: BufWriter<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _alive: Alive,
}

impl ProcessEngine {
    pub(crate) fn start(host: &Host, alive: Alive) -> io::Result<Self> {
        let mut command = Command::new(&host.program);
        // It needs nothing of its surroundings, and whoever got out of the engine should find nothing there.
        command.args(&host.arguments).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // What a terminal tells the worker is not meant for it: it ends with its input.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let gone = || io::Error::other("the process has no input or output");
        let jobs = BufWriter::new(child.stdin.take().ok_or_else(gone)?);
        let answers = BufReader::new(child.stdout.take().ok_or_else(gone)?);
        Ok(Self { child, jobs, answers, _alive: alive })
    }

    pub(crate) fn run(&mut self, job: &Arc<Job>) -> Ran {
        match self.asked(job) {
            Ok(Some(outcome)) => Ran::Done(outcome),
            Ok(None) if self.child.wait().is_ok_and(|status| status.code() == Some(EXIT_LATE)) => Ran::Late,
            Ok(None) | Err(_) => Ran::Lost,
        }
    }

    /// The answer; none where the process has ended. It ends by itself where the script does not.
    fn asked(&mut self, job: &Job) -> io::Result<Option<Outcome>> {
        serde_json::to_writer(&mut self.jobs, job)?;
        self.jobs.write_all(b"\n")?;
        self.jobs.flush()?;
        let mut answer = Vec::new();
        let most = u64::try_from(ANSWER_BYTES_MAX).unwrap_or(u64::MAX);
        (&mut self.answers).take(most).read_until(b'\n', &mut answer)?;
        if answer.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&answer)?)) }
    }
}

impl Drop for ProcessEngine {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Does the jobs of standard input until it ends: what a [`Host`] has to call, and nothing beside.
///
/// # Errors
/// Where input or output fails.
pub fn serve() -> io::Result<()> {
    let watched = watch()?;
    let mut sandbox = Sandbox::default();
    let mut answers = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let _ = watched.send(());
        let outcome = job.done(&mut sandbox);
        let _ = watched.send(());
        let mut answer = serde_json::to_vec(&outcome)?;
        answer.push(b'\n');
        answers.write_all(&answer)?;
        answers.flush()?;
    }
    Ok(())
}

/// Ends the process where a job takes too long; told when one begins, and when it is done.
fn watch() -> io::Result<Sender<()>> {
    let (watched, told) = channel();
    let body = move || {
        while told.recv().is_ok() {
            if told.recv_timeout(TIME_MAX + GRACE) == Err(RecvTimeoutError::Timeout) {
                std::process::exit(EXIT_LATE);
            }
        }
    };
    thread::Builder::new().name("watch".to_owned()).spawn(body)?;
    Ok(watched)
}
