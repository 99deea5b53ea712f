//! Chooses the user that runs PostgreSQL, which refuses root, and the places that user can reach.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::unistd::{Uid, User};
use tokio::process::Command;

use super::error::StackError;

const ROOT_UID: u32 = 0;
/// Tried in this order; `postgres` owns nothing on most machines but its own data.
const ACCOUNT_NAMES: [&str; 2] = ["postgres", "nobody"];
/// Where root keeps what another user must reach when the project folder is closed to that user (as /root is).
const SHARED_PLACES: [&str; 2] = ["/var/lib/pcs", "/var/tmp/pcs-root"];
const PUBLIC_FOLDER_MODE: u32 = 0o755;
pub(super) const PRIVATE_FOLDER_MODE: u32 = 0o700;

/// A user to drop to; there is none when we are not root and run as ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    /// The user to run PostgreSQL as: nobody else unless we are root; then the owner of existing data, else a known one.
    pub(super) fn for_postgres(existing_data: Option<&Path>) -> Result<Option<Self>, StackError> {
        if Uid::effective().as_raw() != ROOT_UID {
            return Ok(None);
        }
        if let Some(owner) =
            existing_data.and_then(|data| fs::metadata(data).ok()).filter(|data| data.uid() != ROOT_UID)
        {
            let name = format!("uid {}", owner.uid());
            return Ok(Some(Self { name, uid: owner.uid(), gid: owner.gid() }));
        }
        for name in ACCOUNT_NAMES {
            if let Ok(Some(user)) = User::from_name(name) {
                return Ok(Some(Self { name: name.to_owned(), uid: user.uid.as_raw(), gid: user.gid.as_raw() }));
            }
        }
        Err(StackError::NoAccount)
    }

    /// Whether this user can enter the folder. Asked of the system itself, which also knows ACLs and mounts.
    pub(super) async fn can_enter(&self, folder: &Path) -> bool {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "cd \"$1\"", "sh"]).arg(folder).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.uid(self.uid).gid(self.gid).status().await.is_ok_and(|status| status.success())
    }

    pub(super) fn take(&self, path: &Path) -> Result<(), StackError> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
            .map_err(|source| StackError::file("change the owner of", path, source))
    }
}

/// Creates a folder others may enter, whatever our umask is; leaves an existing one as it is.
pub(super) fn public_folder(path: &Path) -> Result<PathBuf, StackError> {
    let fail = |source| StackError::file("create the folder", path, source);
    if !path.is_dir() {
        fs::create_dir_all(path).map_err(fail)?;
        fs::set_permissions(path, fs::Permissions::from_mode(PUBLIC_FOLDER_MODE)).map_err(fail)?;
    }
    // The servers run with another working directory, so every path given to them must be absolute.
    fs::canonicalize(path).map_err(fail)
}

/// Creates a folder only its owner may enter.
pub(super) fn private_folder(path: &Path) -> Result<(), StackError> {
    let fail = |source| StackError::file("create the folder", path, source);
    DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER_MODE).create(path).map_err(fail)
}

/// A folder every user can enter and only root can write.
pub(super) fn shared_place() -> Result<PathBuf, StackError> {
    let mut last = StackError::NoAccount;
    for place in SHARED_PLACES.map(Path::new) {
        match public_folder(place) {
            Ok(_) if owned_by_root(place) => return Ok(place.to_owned()),
            Ok(_) => {
                let help = "it exists and does not belong to root; remove it".to_owned();
                last = StackError::Permission { action: "use".to_owned(), path: place.to_owned(), help };
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Anyone may create names in /var/tmp: a folder or link that somebody else put there must not be trusted.
fn owned_by_root(place: &Path) -> bool {
    fs::symlink_metadata(place)
        .is_ok_and(|found| found.is_dir() && found.uid() == ROOT_UID && found.mode() & 0o022 == 0)
}
