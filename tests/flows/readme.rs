//! The README is true: every `$ pcs …` line of it runs, in its order, and ends as it says.

use std::process::Command;

use pcs_tests::process::{Process, program};
use pcs_tests::{eventually, repository};
use serde_json::Value;

/// The commands of a page's console blocks, with the exit code that each announces.
fn commands(page: &str) -> Vec<(String, i32)> {
    let readme = std::fs::read_to_string(repository().join(page)).expect("there is a page");
    let mut commands = Vec::new();
    let mut in_console = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => in_console = language == "console",
            None if in_console => commands.extend(line.strip_prefix("$ ").map(command)),
            None => (),
        }
    }
    commands
}

/// The commands that the page about CI has in its example.
fn commands_of_ci() -> Vec<(String, i32)> {
    let page = std::fs::read_to_string(repository().join("docs/ci.md")).expect("there is a page");
    let runs = page.lines().filter_map(|line| line.trim().strip_prefix("run: "));
    runs.map(|command| (command.to_owned(), 0)).collect()
}

fn command(line: &str) -> (String, i32) {
    match line.split_once("  # exits with ") {
        Some((command, code)) => (command.to_owned(), code.parse().expect("an exit code")),
        None => (line.to_owned(), 0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_readme_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = folder.path().join("local").display().to_string();
    let log = folder.path().join("up.log");
    let cache = pcs_tests::cache_dir().display().to_string();
    let arguments = ["up", "--listen", "127.0.0.1:0", "--local-dir", &local];
    let mut up = Process::start(&arguments, &[("PCS_CACHE_DIR", &cache)], &log);
    let read_log = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("pcs up has run its demo and is ready", || {
        assert!(up.is_running(), "pcs up ended:\n{}", read_log());
        let ready = read_log().contains("ready at");
        async move { ready.then_some(()) }
    })
    .await;
    let demo = read_log();
    for count in ["286/1319    21.68 %", "515/1319    39.04 %", "458/1319    34.72 %", "742/1319    56.25 %"] {
        assert!(demo.contains(count), "the demo's table has no {count}:\n{demo}");
        let readme = std::fs::read_to_string(repository().join("README.md")).expect("there is a README");
        assert!(readme.contains(count), "the README shows another table");
    }
    let credentials = std::fs::read_to_string(format!("{local}/credentials.json")).expect("they are kept");
    let credentials: Value = serde_json::from_str(&credentials).expect("they are JSON");
    let endpoints = std::fs::read_to_string(format!("{local}/endpoints.json")).expect("they are kept");
    let endpoints: Value = serde_json::from_str(&endpoints).expect("they are JSON");
    let of_readme = commands("README.md");
    assert!(of_readme.len() >= 8, "the console blocks were not found");
    let of_promptfoo = commands("docs/promptfoo.md");
    assert_eq!(of_promptfoo.len(), 2, "the examples were not found");
    let of_ci = commands_of_ci();
    assert_eq!(of_ci.len(), 1, "the example was not found");
    let summary = folder.path().join("summary.md");
    for (line, code) in of_readme.into_iter().chain(of_ci).chain(of_promptfoo) {
        // What is written goes beside the sources' folder.
        let line = line.replace("results.xml", &folder.path().join("results.xml").display().to_string());
        let line = line.replace("certificate.json", &folder.path().join("certificate.json").display().to_string());
        let arguments = line.strip_prefix("pcs ").expect("the README's commands are ours");
        let shell = format!("'{}' {arguments}", program().display());
        let output = Command::new("sh")
            .args(["-c", &shell])
            .current_dir(repository())
            .env("PCS_URL", credentials["url"].as_str().expect("an address"))
            .env("PCS_API_KEY", credentials["api_key"].as_str().expect("a key"))
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("DATABASE_URL", endpoints["database_url"].as_str().expect("an address"))
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}\n{said}");
    }
    let summary = std::fs::read_to_string(summary).expect("it was written");
    assert!(summary.starts_with("### Greeting: completed\n") && summary.contains("cases compared"), "{summary}");
    let junit = std::fs::read_to_string(folder.path().join("results.xml")).expect("it was written");
    assert!(junit.contains("<testsuite name=\"echo (version 3)\" tests=\"2\""), "{junit}");
    up.signal(nix::sys::signal::Signal::SIGINT);
    assert!(up.wait().success(), "{}", read_log());
}
