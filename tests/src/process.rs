//! The real program as a child process, for tests that kill it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The program under test: it stands beside the test's own.
///
/// # Panics
/// When it has not been built; `make test` builds it first.
#[must_use]
pub fn program() -> PathBuf {
    let mut path = std::env::current_exe().expect("a test has a path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    let program = path.join("pcs");
    assert!(program.exists(), "{} is not built: run `cargo build -p pcs`", program.display());
    program
}

/// The command lines of all processes that name this text.
#[must_use]
pub fn processes_naming(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(text)).collect()
}

/// A running `pcs`; dropping it kills it.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `pcs` with arguments and environment, in the root of the repository, its log in a file.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(arguments: &[&str], environment: &[(&str, &str)], log: &std::path::Path) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new(program());
        command.args(arguments).current_dir(crate::repository()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the same file")).stderr(log);
        for (name, value) in environment {
            command.env(name, value);
        }
        Self { child: command.spawn().expect("the program starts") }
    }

    /// `kill -9`, and the wait for its end.
    pub fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("the process is there");
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it can't be waited for.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
