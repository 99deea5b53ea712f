//! Runs one server as a child that cannot outlive us, not even when we are killed with SIGKILL.
//!
//! Three processes take part. The *launcher* is a shell that waits for one word on a pipe from us and then becomes
//! the server by `exec`, so the pid we know is the server's. The *watcher* is a shell that reads from another pipe
//! whose only writing end is ours: when we die, however we die, the kernel closes it and the watcher ends the server.
//! The launcher gets its word only after the watcher stands, so there is no moment in which a server is unwatched.
//! (PR_SET_PDEATHSIG would need unsafe code, is Linux only, and is cleared by PostgreSQL's change of user.)

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::account::Account;
use super::error::StackError;
use super::log::{ServerLog, last_lines};

/// How much a Go program's heap grows before it is looked through, in percent; Go itself says 100.
const GO_HEAP_GROWTH_PERCENT: &str = "400";
/// How often a starting server is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(20);
/// How long each signal of the farewell may take before the next, harsher one; the watcher uses the same.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(10);
/// How long the watcher may take to end after it was told to; it has nothing left to do.
const WATCHER_PATIENCE: Duration = Duration::from_secs(2);

const LAUNCH_SCRIPT: &str = r#"read -r word && [ "$word" = go ] && exec "$@" </dev/null"#;
// $1 is the server's pid, $2 what to signal (that pid, or its group as -pid), $3 the tenths of a second each signal
// may take, the rest the signals, gentlest first. Signals meant for us (Ctrl-C, a closed terminal) must not end the
// watcher before its work is done. A zombie still answers `kill -s 0`, and some containers never reap: see its state.
const WATCH_SCRIPT: &str = r#"
trap '' HUP INT TERM
read -r word
[ "$word" = done ] && exit 0
state=
server=$1; target=$2; patience=$3; shift 3
for signal in "$@"; do
  kill -s "$signal" -- "$target" 2>/dev/null || exit 0
  tenths=0
  while [ "$tenths" -lt "$patience" ]; do
    kill -s 0 -- "$target" 2>/dev/null || exit 0
    [ -r "/proc/$server/stat" ] && read -r state < "/proc/$server/stat"
    case $state in *") Z "*) exit 0 ;; esac
    sleep 0.1
    tenths=$((tenths + 1))
  done
done
"#;

/// What to run, and how to name it in errors.
pub(super) struct Launch<'a> {
    pub(super) server: &'static str,
    pub(super) program: &'a Path,
    pub(super) arguments: Vec<OsString>,
    pub(super) account: Option<&'a Account>,
    pub(super) log: &'a Path,
    /// Signals that end the server, gentlest first; the last one should be KILL.
    pub(super) farewell: &'static [Signal],
    pub(super) reach: Reach,
    /// The port it will take and the variable that sets it; none for a program that takes none.
    pub(super) port: Option<(u16, &'static str)>,
}

/// Whom the watcher's signals are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The server alone, which ends its own children in order.
    Server,
    /// The server and its children: initdb would leave a running backend behind.
    Group,
}

/// A running server with its watcher. Dropping it makes the watcher end the server.
#[derive(Debug)]
pub(super) struct Supervised {
    server: &'static str,
    child: Child,
    pid: u32,
    watcher: Child,
    watcher_line: Option<File>,
    log: ServerLog,
    farewell: &'static [Signal],
    port: Option<(u16, &'static str)>,
}

impl Supervised {
    pub(super) fn spawn(launch: &Launch<'_>) -> Result<Self, StackError> {
        let fail = |source| StackError::file("start", launch.program, source);
        let (log, output) = ServerLog::open(launch.log)?;
        let mut command = shell(LAUNCH_SCRIPT);
        command.arg(launch.program).args(&launch.arguments);
        command.stdout(output.try_clone().map_err(fail)?).stderr(output);
        if let Some(account) = launch.account {
            command.uid(account.uid).gid(account.gid);
        }
        let mut child = command.spawn().map_err(fail)?;
        let pid = child.id().unwrap_or_default();
        let mut launch_line = pipe_to(&mut child).map_err(fail)?;
        let mut watcher = watcher_command(pid, launch).spawn().map_err(fail)?;
        let watcher_line = pipe_to(&mut watcher).map_err(fail)?;
        launch_line.write_all(b"go\n").map_err(fail)?;
        Ok(Self {
            server: launch.server,
            child,
            pid,
            watcher,
            watcher_line: Some(watcher_line),
            log,
            farewell: launch.farewell,
            port: launch.port,
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks `check` until it says yes, the server ends, or `deadline` passes.
    pub(super) async fn until_ready(
        &mut self,
        deadline: Duration,
        mut check: impl AsyncFnMut() -> Result<bool, StackError>,
    ) -> Result<(), StackError> {
        let end = Instant::now() + deadline;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(self.explain_exit(&status.to_string()));
            }
            if timeout_at(end, check()).await.unwrap_or(Ok(false))? {
                return Ok(());
            }
            if Instant::now() >= end {
                let (log, text) = (self.log.path.clone(), self.log.tail());
                let late = StackError::NotReady {
                    server: self.server,
                    seconds: deadline.as_secs(),
                    log,
                    tail: last_lines(&text),
                };
                return Err(StackError::full_disk_in(&text, &self.log.path).unwrap_or(late));
            }
            sleep(READY_POLL).await;
        }
    }

    /// Waits for a program that is meant to end; true when it ended well.
    pub(super) async fn finished(&mut self) -> bool {
        self.child.wait().await.is_ok_and(|status| status.success())
    }

    /// Resolves when the server ends, whoever ended it.
    pub(super) async fn exited(&mut self) -> StackError {
        let status = match self.child.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        self.explain_exit(&status)
    }

    /// Ends the server: each signal in turn, with patience; bounded by `farewell.len()` times the patience.
    pub(super) async fn stop(&mut self) {
        for signal in self.farewell {
            self.signal(*signal);
            if timeout(SIGNAL_PATIENCE, self.child.wait()).await.is_ok() {
                break;
            }
            tracing::warn!(server = self.server, pid = self.pid, "does not end on {signal}");
        }
        self.stand_down().await;
    }

    /// Ends the server without any warning, and waits until it is gone.
    pub(super) async fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        // A killed process always ends; the bound is only for one stuck in the kernel on a dead disk.
        if timeout(SIGNAL_PATIENCE, self.child.wait()).await.is_err() {
            tracing::warn!(server = self.server, pid = self.pid, "does not end on SIGKILL");
        }
        self.stand_down().await;
    }

    /// The end of what the present run wrote to its log.
    pub(super) fn log_tail(&self) -> String {
        self.log.tail()
    }

    fn signal(&self, signal: Signal) {
        // `id()` is none once the child is reaped: its number may by then belong to a stranger.
        let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) else {
            return;
        };
        if let Err(error) = kill(Pid::from_raw(pid), signal) {
            tracing::debug!(server = self.server, pid, %error, "could not send {signal}");
        }
    }

    async fn stand_down(&mut self) {
        self.dismiss_watcher();
        if timeout(WATCHER_PATIENCE, self.watcher.wait()).await.is_err() {
            tracing::debug!(server = self.server, "the watcher is still there");
        }
    }

    fn dismiss_watcher(&mut self) {
        let Some(mut line) = self.watcher_line.take() else {
            return;
        };
        if let Err(error) = line.write_all(b"done\n") {
            tracing::debug!(server = self.server, %error, "the watcher is already gone");
        }
    }

    fn explain_exit(&self, status: &str) -> StackError {
        let text = self.log.tail();
        if let Some(full) = StackError::full_disk_in(&text, &self.log.path) {
            return full;
        }
        if let Some((port, variable)) = self.port
            && text.to_lowercase().contains("address already in use")
        {
            return StackError::PortInUse { server: self.server, port, variable };
        }
        let (log, tail) = (self.log.path.clone(), last_lines(&text));
        StackError::Exited { server: self.server, status: status.to_owned(), log, tail }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // A server that is gone needs no watcher, and its pid must not be signalled; otherwise the closing of
        // the line, which follows this, makes the watcher end the server.
        if !matches!(self.child.try_wait(), Ok(None)) {
            self.dismiss_watcher();
        }
    }
}

/// A shell with nothing of our environment but what finds programs and libraries: it holds provider keys.
fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]);
    bare_environment(&mut command);
    // Its own process group: Ctrl-C in the terminal must reach only us, who stop the servers in order.
    command.process_group(0).current_dir("/").stdin(Stdio::piped());
    command
}

/// Clears the environment of a child down to what it needs to find programs and libraries, with English messages.
pub(super) fn bare_environment(command: &mut Command) {
    // nats-server is a Go program with a small heap: it need not be looked through as often as Go does unasked.
    command.env_clear().env("LC_ALL", "C").env("GOGC", GO_HEAP_GROWTH_PERCENT);
    for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}

fn watcher_command(pid: u32, launch: &Launch<'_>) -> Command {
    let target = match launch.reach {
        Reach::Server => pid.to_string(),
        Reach::Group => format!("-{pid}"),
    };
    let mut command = shell(WATCH_SCRIPT);
    command.arg(pid.to_string()).arg(target).arg((SIGNAL_PATIENCE.as_millis() / 100).to_string());
    command.args(launch.farewell.iter().map(|signal| signal.as_str().trim_start_matches("SIG")));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn pipe_to(child: &mut Child) -> std::io::Result<File> {
    let line = child.stdin.take().ok_or_else(|| std::io::Error::other("the child has no stdin"))?;
    Ok(File::from(line.into_owned_fd()?))
}
