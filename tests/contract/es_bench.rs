//! `pcs es bench` on a real server: it measures, leaves nothing behind, and does not disturb a store that is in use.

use std::io::Write;
use std::sync::{Arc, Mutex};

use pcs::commands::es::bench::BenchArgs;
use pcs::commands::es::bench::load::append_one;
use pcs::commands::es::console::{Console, ConsoleArgs};
use pcs::commands::exit::{CliError, ExitStatus};
use pcs::commands::output::Output;
use pcs_tests::database::TestDatabase;
use serde_json::Value;
use sqlx::{Connection, PgConnection};

/// A stream that the test can read.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs the command; answers how it ended, and what it wrote to stdout and stderr.
async fn bench(database: &TestDatabase, beside_events: bool) -> (Result<ExitStatus, CliError>, String, String) {
    let (out, err) = (Captured::default(), Captured::default());
    let output = Output::to(Box::new(out.clone()), Box::new(err.clone()));
    let database_url = Some(database.url.clone());
    let args = ConsoleArgs { database_url, archive: Default::default(), tenant: None, json: true };
    let bench = BenchArgs { callers: vec![1, 4], seconds: 1, events: 500, beside_events };
    let ended = bench.execute(&mut Console::new(args, output)).await;
    (ended, out.text(), err.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_measurement_says_what_it_measured_and_leaves_nothing_behind() {
    let database = TestDatabase::new().await;
    let (ended, out, err) = bench(&database, false).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    let report: Value = serde_json::from_str(&out).unwrap();
    let measured = report["measured"].as_array().unwrap();
    let names: Vec<_> = measured.iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(names, ["append, 1 callers", "append, 4 callers", "read the log"]);
    assert!(measured.iter().all(|it| it["per_second"].as_f64().unwrap() > 0.0));
    assert!(measured[1]["p50_ms"].as_f64().unwrap() <= measured[1]["p99_ms"].as_f64().unwrap());
    // The servers of the tests give up durability, and that makes every number a lie.
    assert!(err.contains("fsync is off"), "{err}");
    let scratch = err.split("the database ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    assert!(scratch.starts_with("pcs_bench_"), "{err}");
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let left: i64 = sqlx::query_scalar("select count(*) from pg_database where datname = $1")
        .bind(scratch)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_of_a_database_with_events_is_measured_only_when_told() {
    let database = TestDatabase::new().await;
    let store = database.store().await;
    append_one(&store).await.unwrap();
    let (ended, out, _) = bench(&database, false).await;
    let refusal = ended.unwrap_err();
    assert_eq!(refusal.exit_status(), ExitStatus::WrongUse);
    assert!(refusal.to_string().contains("--beside-events") && out.is_empty(), "{refusal}");
    let (ended, _, _) = bench(&database, true).await;
    assert_eq!(ended.unwrap(), ExitStatus::Success);
    assert_eq!(store.head().await.unwrap(), 1);
}
