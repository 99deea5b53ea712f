//! The folder with PostgreSQL's data: where it lies, who owns it, which version made it, and how it is created.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use uuid::Uuid;

use super::account::{Account, private_folder, public_folder, shared_place};
use super::child::{Launch, Reach, Supervised};
use super::error::StackError;
use super::postgres::SUPERUSER;
use super::programs::PostgresBinaries;
use super::state::write_secret;

const FOLDER: &str = "postgres";
const DRAFT_PREFIX: &str = "postgres-unfinished-";
const INIT_LOG_FILE: &str = "logs/initdb.log";
/// Says where the data lies when the PostgreSQL user cannot enter the stack's own folder.
const LOCATION_FILE: &str = "postgres-location";
/// initdb takes one to three seconds; ten times that on a slow disk is still alive.
const INIT_DEADLINE: Duration = Duration::from_secs(60);
/// From this version on the locale C.UTF-8 is built in and the same on every system.
const BUILTIN_LOCALE_MAJOR: u32 = 17;
/// How many letters of the sha256 of a path name its folder in a shared place.
const PATH_HASH_LETTERS: usize = 16;

/// Where the data lies and who runs the server on it.
#[derive(Debug, Clone)]
pub(super) struct PostgresFolder {
    pub(super) path: PathBuf,
    pub(super) account: Option<Account>,
    /// The major version that made the data; none while there is no data.
    pub(super) made_by: Option<u32>,
}

impl PostgresFolder {
    /// Finds the data of this stack, or the place for it.
    pub(super) async fn of(stack: &Path) -> Result<Self, StackError> {
        let recorded = fs::read_to_string(stack.join(LOCATION_FILE)).ok().map(|text| PathBuf::from(text.trim()));
        let path = recorded.clone().unwrap_or_else(|| stack.join(FOLDER));
        if let Some(major) = major_version(&path)? {
            let account = Account::for_postgres(Some(&path))?;
            if let Some(account) = &account
                && !account.can_enter(&path).await
            {
                let help = format!(
                    "PostgreSQL runs as {}, which must be able to pass every folder above (chmod o+x)",
                    account.name
                );
                return Err(StackError::Permission { action: "enter".to_owned(), path, help });
            }
            return Ok(Self { path, account, made_by: Some(major) });
        }
        let account = Account::for_postgres(None)?;
        let path = match (&account, recorded) {
            (_, Some(path)) => path,
            (Some(account), None) if !account.can_enter(stack).await => {
                shared_place()?.join(path_hash(stack)).join(FOLDER)
            }
            (Some(_) | None, None) => stack.join(FOLDER),
        };
        Ok(Self { path, account, made_by: None })
    }

    /// Makes the data folder: in a draft first, so that a crash in the middle leaves nothing that looks complete.
    pub(super) async fn create(
        &self,
        stack: &Path,
        binaries: &PostgresBinaries,
        password: &str,
        durable: bool,
    ) -> Result<(), StackError> {
        let parent = self.path.parent().unwrap_or(stack);
        public_folder(parent)?;
        if parent != stack {
            let pointer = stack.join(LOCATION_FILE);
            fs::write(&pointer, format!("{}\n", self.path.display()))
                .map_err(|source| StackError::file("write", &pointer, source))?;
        }
        remove_drafts(parent);
        // Its own name each time: a draft of a killed start may still be written to by an initdb that is ending.
        let draft = parent.join(format!("{DRAFT_PREFIX}{}", Uuid::new_v4().simple()));
        private_folder(&draft)?;
        // Beside the data, not in it: initdb wants an empty folder.
        let (data, password_file) = (draft.join("data"), draft.join("password"));
        private_folder(&data)?;
        write_secret(&password_file, password)?;
        if let Some(account) = &self.account {
            for path in [&draft, &data, &password_file] {
                account.take(path)?;
            }
        }
        let log = stack.join(INIT_LOG_FILE);
        let made = self.run_initdb(binaries, &log, initdb_arguments(binaries, &data, &password_file, durable)).await;
        let moved = made.and_then(|()| {
            fs::rename(&data, &self.path).map_err(|source| StackError::file("create", &self.path, source))
        });
        remove_drafts(parent);
        moved
    }

    async fn run_initdb(
        &self,
        binaries: &PostgresBinaries,
        log: &Path,
        arguments: Vec<OsString>,
    ) -> Result<(), StackError> {
        let mut process = Supervised::spawn(&Launch {
            server: "initdb",
            program: &binaries.folder.join("initdb"),
            arguments,
            account: self.account.as_ref(),
            log,
            farewell: &[Signal::SIGKILL],
            reach: Reach::Group,
            port: None,
        })?;
        let failed = |reason: String| StackError::InitFailed { folder: self.path.clone(), reason };
        match timeout(INIT_DEADLINE, process.finished()).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                let text = process.log_tail();
                Err(StackError::full_disk_in(&text, &self.path).unwrap_or_else(|| failed(reason_in(&text))))
            }
            Err(_) => Err(failed(format!("no end within {} s", INIT_DEADLINE.as_secs()))),
        }
    }
}

fn initdb_arguments(binaries: &PostgresBinaries, data: &Path, password_file: &Path, durable: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["-D".into(), data.into(), "--pwfile".into(), password_file.into()];
    let fixed = ["--username", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8", "--data-checksums"];
    arguments.extend(fixed.map(OsString::from));
    arguments.extend(locale_arguments(binaries.version.major).iter().map(OsString::from));
    arguments.push("--no-instructions".into());
    if !durable {
        arguments.push("--no-sync".into());
    }
    arguments
}

/// Removes what this or an earlier start left half made. What cannot be removed is only in the way of nobody.
fn remove_drafts(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(DRAFT_PREFIX)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(folder = %entry.path().display(), %error, "could not remove the draft");
        }
    }
}

fn locale_arguments(major: u32) -> &'static [&'static str] {
    if major >= BUILTIN_LOCALE_MAJOR {
        &["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    } else {
        &["--locale=C.UTF-8"]
    }
}

/// initdb's own complaints, in one line.
fn reason_in(text: &str) -> String {
    let complaint = |line: &&str| line.contains("error:") || line.contains("FATAL:");
    let found: Vec<&str> = text.lines().filter(complaint).map(str::trim).collect();
    if found.is_empty() { text.trim().replace('\n', "; ") } else { found.join("; ") }
}

fn major_version(folder: &Path) -> Result<Option<u32>, StackError> {
    let path = folder.join("PG_VERSION");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let odd = || StackError::file("understand", &path, ErrorKind::InvalidData.into());
            text.trim().parse().map(Some).map_err(|_| odd())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let help = "it belongs to another user; start as that user or as root, or use another data folder";
            Err(StackError::Permission { action: "read".to_owned(), path: folder.to_owned(), help: help.to_owned() })
        }
        Err(error) => Err(StackError::file("read", &path, error)),
    }
}

fn path_hash(path: &Path) -> String {
    let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
    let letters: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    letters[..PATH_HASH_LETTERS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initdb_complaints_become_one_line() {
        let text = "creating directory\ninitdb: error: directory \"/x\" is not empty\ninitdb: hint: remove it\n";
        assert_eq!(reason_in(text), "initdb: error: directory \"/x\" is not empty");
        assert_eq!(reason_in("odd\nthing\n"), "odd; thing");
    }

    #[test]
    fn a_folder_without_data_has_no_version() {
        assert_eq!(major_version(Path::new("/nonexistent")).unwrap(), None);
    }

    #[test]
    fn the_hash_of_a_path_is_short_and_steady() {
        assert_eq!(path_hash(Path::new("/srv/project/.local")), path_hash(Path::new("/srv/project/.local")));
        assert_eq!(path_hash(Path::new("/")).len(), PATH_HASH_LETTERS);
    }
}
