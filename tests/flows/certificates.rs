//! Certificates of runs, made by the server and checked by the program without it.

use std::fs;
use std::process::Command;

use pcs_tests::process::program;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};

/// What `pcs verify-certificate` says, and its exit code.
fn verified(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(program()).arg("verify-certificate").args(arguments).output().expect("pcs runs");
    (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_holds_for_its_results_and_for_no_others() {
    let system = TestSystem::start().await;
    let cases = json!([
        { "input": { "q": "one" }, "assertions": [{ "type": "equals", "value": "one" }] },
        { "input": { "q": "two" }, "assertions": [{ "type": "equals", "value": "one" }] },
        { "input": { "q": "the data of customer 7" }, "subject": "customer 7" },
    ]);
    let card = system.card("Certified", "{{q}}", cases).await;
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }] })).await;
    drop(system.ended(&run).await);
    let signed = system.get(&format!("/runs/{run}/certificate")).await.expect(200).body;
    let key = system.get("/certificate-key").await.expect(200).body["public_key"].as_str().expect("a key").to_owned();
    assert_eq!(signed["certificate"]["totals"], json!({ "executions": 3, "passed": 2, "failed": 1, "errors": 0 }));
    // Asked again, it is the same.
    assert_eq!(system.get(&format!("/runs/{run}/certificate")).await.expect(200).body, signed);
    let results = system.results(&run).await;
    system.stop().await;

    // From here on there is no server.
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, lines) = (path("certificate.json"), path("results.jsonl"));
    let written = |name: &str, value: &Value| fs::write(path(name), value.to_string()).expect("a file");
    let as_lines = |results: &[Value]| results.iter().map(|result| format!("{result}\n")).collect::<String>();
    written("certificate.json", &signed);
    fs::write(&lines, as_lines(&results)).expect("a file");
    fs::write(path("prompt.txt"), "{{q}}").expect("a file");
    let whole = [certificate.as_str(), "--key", &key, "--results", &lines, "--prompt", &path("prompt.txt")];
    let (code, said) = verified(&whole);
    assert!(code == 0 && said.contains("2 passed, 1 failed, 0 errors"), "{said}");

    let mut changed = results.clone();
    changed[0]["output"] = json!("another answer");
    fs::write(&lines, as_lines(&changed)).expect("a file");
    assert_eq!(verified(&whole).0, 1);
    fs::write(&lines, as_lines(&results[1..])).expect("a file");
    assert!(verified(&whole).1.contains("has 2 results, and it certifies 3"));

    let mut forged = signed.clone();
    forged["certificate"]["totals"]["passed"] = json!(3);
    written("forged.json", &forged);
    let (code, said) = verified(&[&path("forged.json")]);
    assert!(code == 1 && said.contains("its signature is not of this content"), "{said}");
    assert!(verified(&[&certificate, "--key", &"0".repeat(64)]).1.contains("another key"));
    assert_eq!(verified(&[&path("prompt.txt")]).0, 2, "it is no certificate");
}
