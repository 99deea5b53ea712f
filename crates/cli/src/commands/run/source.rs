//! What is checked out where a run is asked from: as a CI system says it, or git.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::run_wire::Source;

/// Variables in which CI systems say the branch: GitHub (of a pull request, else of a push), GitLab, Buildkite, CircleCI.
const BRANCH: [&str; 5] =
    ["GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BUILDKITE_BRANCH", "CIRCLE_BRANCH"];
/// The same of the commit.
const COMMIT: [&str; 4] = ["GITHUB_SHA", "CI_COMMIT_SHA", "BUILDKITE_COMMIT", "CIRCLE_SHA1"];
/// What git calls the branch where none is checked out.
const DETACHED: &str = "HEAD";

/// The branch that is named, or what is found; none where there is no version control.
pub(super) fn of(suite: &Path, branch: Option<&str>) -> Option<Source> {
    let folder = suite.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let said =
        |names: &[&str]| names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let branch = branch.map(str::to_owned).or_else(|| said(&BRANCH));
    let branch = branch.or_else(|| git(folder, &["rev-parse", "--abbrev-ref", "HEAD"]).filter(|name| name != DETACHED));
    let commit = said(&COMMIT).or_else(|| git(folder, &["rev-parse", "HEAD"]));
    (branch.is_some() || commit.is_some()).then_some(Source { branch, commit })
}

/// What git says; nothing where it is not there, or knows nothing.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(folder).args(arguments).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
