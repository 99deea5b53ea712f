//! Scripts of users run in processes of their own, which are this program once more.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pcs_scripting::Host;

/// What the program is called with to run scripts; nobody else has to.
pub const HOST: &str = "script-host";
/// The program as it was started, also where its file was replaced meanwhile.
const ITSELF: &str = "/proc/self/exe";

/// Has scripts run in processes; none is started before there is a script.
pub fn isolate() {
    let itself = Path::new(ITSELF);
    let program = if itself.exists() { Some(PathBuf::from(itself)) } else { std::env::current_exe().ok() };
    if let Some(program) = program {
        pcs_scripting::isolate(Host { program, arguments: vec![HOST.to_owned()] });
    }
}

/// Runs scripts until nobody has one any more.
#[must_use]
pub fn serve() -> ExitCode {
    // Whoever has asked is told by the end of the output.
    pcs_scripting::serve().map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
