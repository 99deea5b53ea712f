//! The card commands against a server that plays its part.

use clap::Parser;
use serde_json::json;

use super::CardCommand;
use crate::client::fake_server::{FakeServer, Reply};
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::tests::captured;

const ID: &str = "0192aaaa-0000-7000-8000-0000000000c1";

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: CardCommand,
}

fn card() -> Reply {
    Reply::json(
        200,
        json!({
            "id": ID, "title": "Sums", "prompt": "Add {{a}}\nand \u{1b}[31m{{b}}", "category": "math", "tags": ["x", "y"],
            "version": 2, "revision": 6, "labels": { "production": 1 }, "protected_labels": ["production"], "case_count": 3, "updated_at": "2026-01-02T03:04:05Z",
        }),
    )
}

fn page(items: serde_json::Value) -> Reply {
    Reply::json(200, json!({ "items": items, "next_cursor": null }))
}

async fn ran(server: &FakeServer, line: &[&str]) -> (Result<ExitStatus, CliError>, String) {
    let (mut output, out, _) = captured();
    let parsed = Line::try_parse_from(["card"].iter().chain(line)).unwrap_or_else(|error| panic!("{error}"));
    let ended = parsed.command.against(&server.api(), &mut output).await;
    (ended, out.text())
}

#[tokio::test]
async fn a_card_is_made_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.txt");
    std::fs::write(&file, "Say {{x}}").unwrap();
    let server = FakeServer::in_order(vec![card()]);
    let line =
        ["create", "--title", "Sums", "--prompt-file", file.to_str().unwrap(), "--tag", "a", "--metadata", "{\"k\":1}"];
    let (ended, out) = ran(&server, &line).await;
    ended.unwrap();
    assert_eq!(out, format!("created \"Sums\", version 2 ({ID})\n"));
    let body = server.asked()[0].json();
    assert_eq!(body, json!({ "title": "Sums", "prompt": "Say {{x}}", "tags": ["a"], "metadata": { "k": 1 } }));
    let (ended, _) = ran(&server, &["create", "--title", "Sums"]).await;
    assert!(ended.unwrap_err().to_string().starts_with("the card has no prompt\n"));
}

#[tokio::test]
async fn cards_are_listed_as_a_table_or_as_json() {
    let item = json!({ "id": ID, "title": "Sums", "version": 2, "case_count": 3, "category": "math", "tags": ["x"] });
    let server = FakeServer::in_order(vec![page(json!([item]))]);
    let (_, out) = ran(&server, &["list", "--query", "add", "--visibility", "private"]).await;
    let expected = format!(
        "id                                    title  version  cases  category  tags  public  updated\n\
         {ID}  Sums         2      3  math      x     no\n"
    );
    assert_eq!(out, expected);
    assert_eq!(server.lines()[0], "GET /api/v1/cards?limit=50&archived=false&q=add&visibility=private");
    let (_, out) = ran(&server, &["list", "--json"]).await;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["items"][0]["id"], ID);
}

#[tokio::test]
async fn a_card_is_found_by_its_title_and_shown_without_what_steers_a_terminal() {
    let server = FakeServer::in_order(vec![page(json!([{ "id": ID }])), card()]);
    let (_, out) = ran(&server, &["show", "Sums"]).await;
    assert!(
        out.starts_with(&format!("Sums\n  id           {ID}\n  version      2 (revision 6)\n  category     math\n")),
        "{out}"
    );
    assert!(out.ends_with("\n\nAdd {{a}}\nand \u{fffd}[31m{{b}}\n"), "{out}");
    assert!(out.contains("  labels       production → 1\n  protected    production\n"), "{out}");
    let (_, out) = ran(&server, &["show", ID, "--prompt"]).await;
    assert_eq!(out, "Add {{a}}\nand \u{1b}[31m{{b}}\n");
}

#[tokio::test]
async fn a_card_that_is_not_there_is_named() {
    let server = FakeServer::in_order(vec![page(json!([]))]);
    let (ended, _) = ran(&server, &["show", "Nope"]).await;
    let error = ended.unwrap_err();
    assert_eq!(error.exit_status(), ExitStatus::WrongUse);
    assert!(error.to_string().starts_with("there is no card with the id or the title \"Nope\"\n"), "{error}");
}

#[tokio::test]
async fn a_revision_names_what_it_saw_or_what_the_user_saw() {
    let server = FakeServer::in_order(vec![card()]);
    ran(&server, &["revise", ID, "--prompt", "new", "-m", "why"]).await.0.unwrap();
    ran(&server, &["revise", ID, "--title", "T", "--revision", "3"]).await.0.unwrap();
    let asked = server.asked();
    assert_eq!(
        (asked[1].line.as_str(), asked[1].headers["if-match"].as_str()),
        (&*format!("PATCH /api/v1/cards/{ID}"), "\"6\"")
    );
    assert_eq!(asked[1].json(), json!({ "prompt": "new", "message": "why" }));
    assert_eq!(asked[3].headers["if-match"], "\"3\"");
    let (ended, _) = ran(&server, &["revise", ID, "-m", "nothing"]).await;
    assert!(ended.unwrap_err().to_string().starts_with("nothing is to be changed\n"));
}

#[tokio::test]
async fn the_other_commands_ask_for_what_they_say() {
    let diff = Reply::json(200, json!({ "from": 1, "to": 2, "unified": "-a\n+b\n", "lines": [] }));
    let server = FakeServer::start(Box::new(move |asked| match asked.line.split_once("/diff") {
        Some(_) => diff.clone(),
        None if asked.line.contains("/versions") || asked.line.contains("/cases") => page(json!([])),
        None => card(),
    }));
    for line in [
        vec!["archive", ID, "--reason", "old"],
        vec!["restore", ID],
        vec!["publish", ID],
        vec!["unpublish", ID],
        vec!["label", ID, "production", "2"],
        vec!["unlabel", ID, "production"],
        vec!["protect", ID, "production"],
        vec!["unprotect", ID, "production"],
        vec!["versions", ID],
        vec!["cases", ID],
    ] {
        ran(&server, &line).await.0.unwrap();
    }
    let (_, out) = ran(&server, &["diff", ID, "1", "2"]).await;
    assert_eq!(out, "-a\n+b\n");
    let lines: Vec<String> =
        server.lines().into_iter().filter(|line| *line != format!("GET /api/v1/cards/{ID}")).collect();
    let short: Vec<String> = lines.iter().map(|line| line.replace(&format!("/api/v1/cards/{ID}/"), "")).collect();
    assert_eq!(
        short,
        [
            "POST archive",
            "POST restore",
            "POST publish",
            "POST unpublish",
            "PUT labels/production",
            "DELETE labels/production",
            "PUT labels/production/protection",
            "DELETE labels/production/protection",
            "GET versions?limit=200",
            "GET cases?limit=50",
            "GET diff?from=1&to=2",
        ]
    );
}

#[tokio::test]
async fn errors_of_a_prompt_fail_and_warnings_only_where_they_shall() {
    let remark = |severity: &str, message: &str| json!({ "severity": severity, "kind": "k", "message": message });
    let found = |has_errors: bool, remarks: serde_json::Value| {
        let (cases, checked) = (3, if has_errors { 3 } else { 2 });
        let found = json!({
            "version": 2, "variables": ["a", "b"], "cases": cases, "cases_checked": checked, "has_errors": has_errors,
            "remarks": remarks,
        });
        Reply::json(200, found)
    };
    let warning = remark("warning", "no case gives \u{1b}b");
    let errors = found(true, json!([remark("error", "case \"x\" lacks the variable \"a\""), warning]));
    let server = FakeServer::in_order(vec![card(), errors]);
    let (ended, out) = ran(&server, &["lint", ID]).await;
    assert_eq!(ended.unwrap(), ExitStatus::GateFailed);
    assert_eq!(out, "error: case \"x\" lacks the variable \"a\"\nwarning: no case gives \u{fffd}b\n");
    assert_eq!(server.lines()[1], format!("GET /api/v1/cards/{ID}/versions/2/lint"));
    for (line, status) in [
        (vec!["lint", ID, "--version", "1"], ExitStatus::Success),
        (vec!["lint", ID, "--strict", "--json"], ExitStatus::GateFailed),
    ] {
        let server = FakeServer::in_order(vec![card(), found(false, json!([warning]))]);
        assert_eq!(ran(&server, &line).await.0.unwrap(), status, "{line:?}");
    }
}

#[tokio::test]
async fn what_uses_a_card_is_shown_with_the_labels_of_its_versions() {
    let used = json!({
        "versions": [{ "version": 1, "runs": 12, "running": 1, "last_run_id": "r1", "last_requested_at": "t" }],
        "schedules": [{ "id": "s1", "name": "nightly", "paused": true, "last_run_id": "r1", "versions": [1, 2] }],
    });
    let server = FakeServer::in_order(vec![card(), Reply::json(200, used)]);
    let (_, out) = ran(&server, &["usage", ID]).await;
    let expected = "version  labels      runs  running  last run  requested\n\
                    \u{20}     1  production    12        1  r1        t\n\
                    \n\
                    schedule  name     paused  last run  versions\n\
                    s1        nightly  yes     r1        1, 2\n";
    assert_eq!(out, expected);
    assert_eq!(server.lines()[1], format!("GET /api/v1/cards/{ID}/usage"));
    let server = FakeServer::in_order(vec![card(), Reply::json(200, json!({ "versions": [], "schedules": [] }))]);
    assert_eq!(ran(&server, &["usage", ID]).await.1, "");
}

#[tokio::test]
async fn cases_are_imported_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("c.jsonl");
    std::fs::write(&file, "{\"input\": {\"a\": 1}}\n").unwrap();
    let added =
        Reply::json(200, json!({ "added": 1, "changed": 0, "unchanged": 0, "case_ids": ["i"], "case_count": 4 }));
    let server = FakeServer::in_order(vec![card(), added]);
    let (_, out) = ran(&server, &["cases", ID, "--import", file.to_str().unwrap()]).await;
    assert_eq!(out, "1 added, 0 changed, 0 unchanged; the card Sums has 4 cases\n");
}
