//! Ends a server that an earlier, crashed `pcs up` left running on our folder.
//!
//! The watcher of that server is most likely ending it already; this makes sure of it before a new one starts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::error::StackError;

const GONE_POLL: Duration = Duration::from_millis(20);
/// How long each signal may take to end the stale server.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(10);

/// Ends the process named in `pid_file` if it is a server on `folder`, and removes a pid file that names a stranger.
pub(super) async fn end_server(pid_file: &Path, folder: &Path, farewell: &[Signal]) -> Result<(), StackError> {
    let Some(pid) = read_pid(pid_file) else {
        return Ok(());
    };
    match command_line(pid).await {
        None => return Ok(()),
        Some(line) if line.contains(&*folder.to_string_lossy()) => {}
        // The number was given to somebody else, after a reboot say: PostgreSQL would take it for a living server.
        Some(_) => {
            return fs::remove_file(pid_file).map_err(|source| StackError::file("remove", pid_file, source));
        }
    }
    tracing::info!(pid, folder = %folder.display(), "ending a server of an earlier start");
    for signal in farewell {
        match kill(Pid::from_raw(pid), *signal) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Ok(()),
            Err(_) => break,
        }
        let end = Instant::now() + SIGNAL_PATIENCE;
        while Instant::now() < end {
            if command_line(pid).await.is_none() {
                return Ok(());
            }
            sleep(GONE_POLL).await;
        }
    }
    Err(StackError::StaleServer { folder: folder.to_owned(), pid })
}

/// The first line of a pid file, as both PostgreSQL and nats-server write it.
fn read_pid(pid_file: &Path) -> Option<i32> {
    parse_pid(&fs::read_to_string(pid_file).ok()?)
}

fn parse_pid(text: &str) -> Option<i32> {
    // A number of 0 or below would mean whole process groups to `kill`.
    text.lines().next()?.trim().parse().ok().filter(|pid| *pid > 1)
}

/// What a process was started with; none when there is no such process (a zombie counts as none).
async fn command_line(pid: i32) -> Option<String> {
    let line = if Path::new("/proc/self/cmdline").exists() {
        let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    } else {
        let output = Command::new("ps").args(["-o", "args=", "-p", &pid.to_string()]).output().await.ok()?;
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    Some(line).filter(|line| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_number_is_taken_from_a_pid_file() {
        assert_eq!(parse_pid("4711\n/data\n"), Some(4711));
        for bad in ["", "0", "1", "-5", "x"] {
            assert_eq!(parse_pid(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_living_process_has_a_command_line_and_a_missing_one_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(command_line(own).await.is_some());
        assert!(command_line(i32::MAX).await.is_none());
    }
}
