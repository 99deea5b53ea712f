//! The folder `.local`: what `pcs up` leaves there for the other commands of the same machine.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pcs_domain::ports::{IdSource, System};
use pcs_sealing::{Key, KeyRing};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The folder's usual name.
pub const LOCAL_DIR: &str = ".local";

/// How to reach the server, and the first account.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Credentials {
    /// The server's address.
    pub url: String,
    /// The administrator's key.
    pub api_key: String,
    /// The administrator's account.
    pub email: String,
}

/// How to reach the stack, for roles that run beside `pcs up`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Endpoints {
    /// PostgreSQL, with the password.
    pub database_url: String,
    /// NATS, with the password, for the relay and for operators.
    pub nats_url: String,
    /// NATS for workers; where there is none, that of the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_nats_url: Option<String>,
    /// NATS for servers and projections; where there is none, that of the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_nats_url: Option<String>,
}

impl Credentials {
    /// Where they are kept.
    #[must_use]
    pub fn path(local_dir: &Path) -> PathBuf {
        local_dir.join("credentials.json")
    }
}

impl Endpoints {
    /// Where they are kept.
    #[must_use]
    pub fn path(local_dir: &Path) -> PathBuf {
        local_dir.join("endpoints.json")
    }

    /// Those of the nearest `.local`, from the current folder upwards.
    #[must_use]
    pub fn nearest() -> Option<Self> {
        let here = std::env::current_dir().ok()?;
        here.ancestors().find_map(|folder| read(&Self::path(&folder.join(LOCAL_DIR))).ok().flatten())
    }
}

/// The file of the master keys of personal data.
const KEY_FILE: &str = "master.keys";

/// The key file of the nearest `.local`, from the current folder upwards.
#[must_use]
pub fn nearest_key_file() -> Option<PathBuf> {
    let here = std::env::current_dir().ok()?;
    here.ancestors().map(|folder| folder.join(LOCAL_DIR).join(KEY_FILE)).find(|path| path.is_file())
}

/// The key file of a folder; made with one key where there is none.
///
/// # Errors
/// Where it can't be written.
pub fn key_file_or_new(local_dir: &Path) -> anyhow::Result<PathBuf> {
    let path = local_dir.join(KEY_FILE);
    if !path.exists() {
        add_key(&path, "local")?;
    }
    Ok(path)
}

/// Puts a fresh master key in front of those of a file, which is made where it does not exist; answers its name.
///
/// # Errors
/// Where the file can't be read or written.
pub fn add_key(path: &Path, prefix: &str) -> anyhow::Result<String> {
    let kept = match std::fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => zeroize::Zeroizing::default(),
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", path.display())),
    };
    let random = System.next().simple().to_string();
    // Named anew each time: a key of the same name that is another key would only fail to open.
    let name = format!("{prefix}-{}", &random[random.len() - 8..]);
    let line = KeyRing::line(&name, &Key::random()?);
    let text = zeroize::Zeroizing::new(format!("{}\n{}", *line, *kept));
    write_text(path, &text)?;
    Ok(name)
}

/// Reads a file of the folder; none where it does not exist.
///
/// # Errors
/// Where it can't be read or is not of its format.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", path.display())),
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is damaged; delete it", path.display()))
}

/// Writes a file of the folder that only its owner can read; it is there whole or not at all.
///
/// # Errors
/// Where it can't be written.
pub fn write<T: Serialize>(path: &Path, content: &T) -> anyhow::Result<()> {
    write_text(path, &serde_json::to_string_pretty(content)?)
}

fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    let draft = path.with_extension("draft");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&draft, path)
    };
    write().with_context(|| format!("{} can't be written", path.display()))
}
