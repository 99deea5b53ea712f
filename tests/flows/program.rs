//! The program, run against a system that a test has started.

use std::process::Command;

use pcs_tests::process::program;
use pcs_tests::repository;
use pcs_tests::system::TestSystem;

/// Runs it with these arguments: its code, what it printed, and what it said beside that.
pub(crate) async fn ran(system: &TestSystem, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(program());
    command.args(arguments).current_dir(repository()).env("PCS_URL", &system.url).env("PCS_API_KEY", &system.api_key);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("it is run").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().expect("a code"), text(&output.stdout), text(&output.stderr))
}
