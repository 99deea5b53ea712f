//! Python packages that a test needs: pinned with their hashes, fetched once, and kept beside the other fetched programs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

use crate::cache_dir;

/// Digits of a lock file's hash in the folder's name.
const HASH_DIGITS: usize = 16;
/// What tells one interpreter's compiled packages from another's.
const INTERPRETER: &str =
    "import sys, sysconfig; print(sys.implementation.cache_tag, sysconfig.get_platform(), sep='-')";

/// The folder with the packages of a lock file, for `PYTHONPATH`.
///
/// # Panics
/// When there is no `python3` with pip, or pip can't install what the lock file names.
#[must_use]
pub fn packages(lock: &Path) -> PathBuf {
    let pinned = fs::read(lock).expect("the lock file can be read");
    let hash = hex::encode(Sha256::digest(&pinned));
    let interpreter = python(Command::new("python3").args(["-c", INTERPRETER]));
    let cache = cache_dir();
    fs::create_dir_all(&cache).expect("the cache can be made");
    let folder = cache.join(format!("python-{}-{}", interpreter.trim(), &hash[..HASH_DIGITS]));
    // One process installs; the others wait for it.
    let guard = File::create(cache.join("python.lock")).expect("a file to lock");
    guard.lock().expect("the cache can be locked");
    if !folder.is_dir() {
        let unfinished = tempfile::tempdir_in(&cache).expect("a folder to unpack in");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "--no-deps"]);
        pip.args(["--only-binary=:all:", "--require-hashes", "--target"]).arg(unfinished.path());
        python(pip.arg("-r").arg(lock));
        fs::rename(unfinished.keep(), &folder).expect("the packages get their place");
    }
    folder
}

/// Runs a Python program; answers what it printed.
///
/// # Panics
/// When it fails, with what it said.
pub fn python(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("python3 is on the PATH");
    let (out, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}:\n{out}\n{said}", output.status);
    out.into_owned()
}
