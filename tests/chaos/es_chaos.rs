//! The store's claims as anybody can prove them: `pcs es chaos` on a private server, which is killed as well.

use std::process::Command;

use pcs_tests::cache_dir;
use pcs_tests::process::{processes_naming, program};
use serde_json::Value;
use uuid::Uuid;

/// How long the faults go on where nobody says it.
const SECONDS: &str = "30";

#[test]
fn pcs_es_chaos_finds_no_violation() {
    let seconds = std::env::var("PCS_CHAOS_SECONDS").unwrap_or_else(|_| SECONDS.to_owned());
    let seed = crate::seed();
    println!("PCS_CHAOS_SEED={seed}");
    let output = Command::new(program())
        .args(["es", "chaos", "--json", "--seconds", &seconds, "--seed", &seed.to_string()])
        .env("PCS_CACHE_DIR", cache_dir())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{said}"));
    assert!(output.status.success(), "{report:#}\n{said}");
    assert!(report["acknowledged"].as_u64() > Some(100), "it wrote: {report:#}");
    let faults = &report["faults"];
    assert!(faults["writers_killed"].as_u64() > Some(0), "it killed: {faults}");
    assert_eq!(report["checks"].as_array().map(Vec::len), Some(7), "every claim was judged: {report:#}");
    let namespace = Uuid::new_v5(&Uuid::NAMESPACE_OID, &seed.to_be_bytes());
    assert_eq!(processes_naming(&namespace.to_string()), Vec::<String>::new(), "nothing of it is left");
}
