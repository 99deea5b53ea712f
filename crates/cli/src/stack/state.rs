//! What the local stack remembers between starts: its ports, its passwords, and who is running on the folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StackError;
use super::settings::{NATS_PORT, POSTGRES_PORT, StackSettings};

const STATE_FILE: &str = "stack.json";
const LOCK_FILE: &str = "lock";
const SECRET_FILE_MODE: u32 = 0o600;
/// Below the range from which systems take ports for outgoing connections (32768 on Linux, 49152 on macOS):
/// a remembered port from that range would now and then be taken by a browser.
const PORT_FIRST: u16 = 20_000;
const PORT_LAST: u16 = 29_999;
/// How many ports are tried before giving up; on a machine this full something else is wrong.
const PORT_TRIES_MAX: u16 = 200;

/// The ports of the last start, so that a second one uses the same.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Ports {
    pub(super) postgres: Option<u16>,
    pub(super) nats: Option<u16>,
    pub(super) nats_monitor: Option<u16>,
}

impl Ports {
    /// A missing or damaged file only means new ports: it holds nothing that cannot be chosen anew.
    pub(super) fn load(folder: &Path) -> Self {
        fs::read_to_string(folder.join(STATE_FILE))
            .ok()
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default()
    }

    pub(super) fn save(&self, folder: &Path) -> Result<(), StackError> {
        let path = folder.join(STATE_FILE);
        let fail = |source| StackError::file("write", &path, source);
        let text = serde_json::to_string_pretty(self).map_err(|error| fail(error.into()))?;
        let draft = folder.join(format!("{STATE_FILE}.new"));
        fs::write(&draft, text + "\n").map_err(fail)?;
        fs::rename(&draft, &path).map_err(fail)
    }

    pub(super) fn choose_postgres(&mut self, settings: &StackSettings) -> Result<u16, StackError> {
        let port = match settings.postgres_port {
            Some(port) => fixed_port(port, "PostgreSQL", POSTGRES_PORT)?,
            None => free_port(self.postgres)?,
        };
        self.postgres = Some(port);
        Ok(port)
    }

    pub(super) fn choose_nats(&mut self, settings: &StackSettings) -> Result<(u16, u16), StackError> {
        let port = match settings.nats_port {
            Some(port) => fixed_port(port, "nats-server", NATS_PORT)?,
            None => free_port(self.nats)?,
        };
        let mut monitor = free_port(self.nats_monitor)?;
        while monitor == port {
            monitor = free_port(None)?;
        }
        (self.nats, self.nats_monitor) = (Some(port), Some(monitor));
        Ok((port, monitor))
    }
}

fn fixed_port(port: u16, server: &'static str, variable: &'static str) -> Result<u16, StackError> {
    if is_free(port) { Ok(port) } else { Err(StackError::PortInUse { server, port, variable }) }
}

fn free_port(remembered: Option<u16>) -> Result<u16, StackError> {
    if let Some(port) = remembered.filter(|port| is_free(*port)) {
        return Ok(port);
    }
    let (low, _) = Uuid::new_v4().as_u64_pair();
    let count = u64::from(PORT_LAST - PORT_FIRST) + 1;
    for step in 0..u64::from(PORT_TRIES_MAX) {
        let offset = u16::try_from((low.wrapping_add(step)) % count).unwrap_or_default();
        if is_free(PORT_FIRST + offset) {
            return Ok(PORT_FIRST + offset);
        }
    }
    Err(StackError::NoFreePort { first: PORT_FIRST, last: PORT_LAST })
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Holds the folder for this process; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    pub(super) fn take(folder: &Path) -> Result<Self, StackError> {
        let path = folder.join(LOCK_FILE);
        let fail = |source| StackError::file("lock", &path, source);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
                let pid = if known { pid.trim().to_owned() } else { "of unknown number".to_owned() };
                return Err(StackError::AlreadyRunning { folder: folder.to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        file.set_len(0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { _file: file })
    }
}

/// Reads the password kept in `path`, or makes one. `data` is what an earlier password already protects, if anything.
pub(super) fn password(path: &Path, data: Option<&Path>) -> Result<String, StackError> {
    let fail = |action: &'static str| move |source| StackError::file(action, path, source);
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fail("read")(error)),
    }
    if let Some(data) = data {
        return Err(StackError::PasswordLost { password: path.to_owned(), data: data.to_owned() });
    }
    // Two random UUIDs: 244 random bits, and nothing in them that a URL or a config file would have to escape.
    let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    write_secret(path, &password)?;
    Ok(password)
}

/// Writes a file only its owner can read, from the first byte on.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), StackError> {
    let fail = |source| StackError::file("write", path, source);
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(SECRET_FILE_MODE).open(path).map_err(fail)?;
    file.write_all(text.as_bytes()).map_err(fail)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder() -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("pcs-state-{}", Uuid::new_v4().simple()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn ports_are_remembered_and_damage_only_means_new_ones() {
        let folder = folder();
        let mut ports = Ports::default();
        let (nats, monitor) = ports.choose_nats(&StackSettings::default()).unwrap();
        assert_ne!(nats, monitor);
        let postgres = ports.choose_postgres(&StackSettings::default()).unwrap();
        ports.save(&folder).unwrap();
        let mut again = Ports::load(&folder);
        assert_eq!(again, ports);
        assert_eq!(again.choose_postgres(&StackSettings::default()).unwrap(), postgres);
        fs::write(folder.join(STATE_FILE), "{ damaged").unwrap();
        assert_eq!(Ports::load(&folder), Ports::default());
        fs::write(folder.join(STATE_FILE), r#"{"postgres": 5432, "of the future": 1}"#).unwrap();
        assert_eq!(Ports::load(&folder), Ports { postgres: Some(5432), nats: None, nats_monitor: None });
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_taken_remembered_port_is_replaced_but_a_chosen_one_is_an_error() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let mut ports = Ports { postgres: Some(port), ..Ports::default() };
        assert_ne!(ports.choose_postgres(&StackSettings::default()).unwrap(), port);
        let settings = StackSettings { postgres_port: Some(port), ..StackSettings::default() };
        let error = ports.choose_postgres(&settings).unwrap_err();
        assert!(matches!(error, StackError::PortInUse { variable: POSTGRES_PORT, .. }));
    }

    #[test]
    fn one_process_at_a_time_holds_a_folder() {
        let folder = folder();
        let held = FolderLock::take(&folder).unwrap();
        let error = FolderLock::take(&folder).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(held);
        FolderLock::take(&folder).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_password_is_made_once_private_and_never_anew_over_existing_data() {
        let folder = folder();
        let path = folder.join("postgres.password");
        let error = password(&path, Some(Path::new("/data"))).unwrap_err();
        assert!(matches!(error, StackError::PasswordLost { .. }));
        let first = password(&path, None).unwrap();
        assert_eq!(first.len(), 64);
        assert_eq!(password(&path, Some(Path::new("/data"))).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET_FILE_MODE);
        fs::remove_dir_all(folder).unwrap();
    }
}
