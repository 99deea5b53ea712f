//! `pcs es archive run` under `kill -9`: the real program, killed at random moments until it comes to its end.

use std::path::Path;
use std::time::Duration;

use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Tagged};
use pcs_store::{Append, ArchiveState, CommandContext, Expected, Store, set_partition_len};
use pcs_tests::console::es;
use pcs_tests::database::{TestArchive, TestDatabase};
use pcs_tests::process::Process;
use uuid::Uuid;

use crate::archive::{everything, run, streams};

const PARTITION_LEN: i64 = 100;
const PARTITIONS: i64 = 12;
/// Most steps that a run may tell before it is killed: a partition has four.
const STEPS_MAX: u64 = 4;
/// Longest time between the last of these steps and the kill, in milliseconds: longer than a step takes.
const DELAY_MS_MAX: u64 = 40;
/// Fewest kills that prove something.
const KILLS_MIN: u32 = 5;

/// A number below this one.
fn random(end: u64) -> u64 {
    Uuid::new_v4().as_u64_pair().1 % end
}

/// Partitions full of events of a few streams, which nobody has to read any more.
async fn full(store: &Store) {
    set_partition_len(store.pool(), PARTITION_LEN).await.unwrap();
    let (ids, mut head) = (streams(7), 0);
    while head < PARTITION_LEN * PARTITIONS {
        sqlx::query("select es.create_partitions()").execute(store.pool()).await.unwrap();
        let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
        let id = ids[usize::try_from(random(7)).unwrap()];
        let count = 1 + random(9);
        let tagged = |nth| PromptCardEvent::Tagged(Tagged { tags: vec![format!("\"{nth}\\\u{1f600}"); 5] });
        store.write(&mut append, id, Expected::Any, &(0..count).map(tagged).collect::<Vec<_>>()).unwrap();
        head = store.append(append).await.unwrap().last_position;
    }
    sqlx::query("update jobs.cursor set position = (select position from es.head)")
        .execute(store.pool())
        .await
        .unwrap();
}

/// The log as an export has it: every event with its hash, its batch's seal and its command, wherever it is.
async fn exported(url: &str, archive: &str) -> String {
    es(url, &["export", "-", "--archive-url", archive]).await.well().out
}

/// Every column of every row that is in the database.
async fn rows(store: &Store) -> Vec<String> {
    let all = "select row_to_json(e)::text from es.event e order by position";
    sqlx::query_scalar(all).fetch_all(store.pool()).await.unwrap()
}

/// Starts a run, and kills it after some of its steps, or some time later; answers how it ended and what it said where it
/// ended before.
async fn killed(url: &str, archive: &str, said: &Path) -> Option<(bool, String)> {
    let text = || std::fs::read_to_string(said).unwrap_or_default();
    let arguments = ["es", "archive", "run", "--keep", "0", "--drop", "--database-url", url, "--archive-url", archive];
    let mut process = Process::start(&arguments, &[], said);
    let (steps, delay) = (random(STEPS_MAX), Duration::from_millis(random(DELAY_MS_MAX)));
    while text().lines().count() < usize::try_from(steps).unwrap() && process.is_running() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(delay).await;
    if process.is_running() {
        process.kill();
        return None;
    }
    Some((process.wait().success(), text()))
}

/// X1: nothing is lost or doubled by runs that are killed anywhere, and the next one ends their work.
#[tokio::test]
async fn x1_archive_runs_that_are_killed_lose_and_double_nothing() {
    let (database, archive) = (TestDatabase::new().await, TestArchive::new());
    let (store, url) = (database.store_with(archive.config()).await, &database.url);
    let address = archive.config().url.unwrap();
    full(&store).await;
    let (rows_before, log_before) = (rows(&store).await, exported(url, &address).await);
    let folder = tempfile::tempdir().unwrap();
    let (mut kills, mut runs) = (0, 0);
    loop {
        runs += 1;
        let ended = killed(url, &address, &folder.path().join(runs.to_string())).await;
        assert!(exported(url, &address).await == log_before, "the log is another one after {kills} kills");
        match ended {
            None => kills += 1,
            // What a killed run was waiting for in the database goes on there for a moment.
            Some((false, said)) if said.contains("another archive run or restore is at work") => (),
            Some((is_well, said)) => {
                assert!(is_well, "the run after {kills} kills failed: {said}");
                break;
            }
        }
    }
    assert!(kills >= KILLS_MIN, "it was killed {kills} times");
    let partitions = store.archived_partitions().await.unwrap();
    assert_eq!(i64::try_from(partitions.len()).unwrap(), PARTITIONS);
    assert!(partitions.iter().all(|partition| partition.state == ArchiveState::Dropped), "{partitions:#?}");
    let verified = es(url, &["archive", "verify", "--archive-url", &address]).await.well();
    assert_eq!(verified.out, format!("{PARTITIONS} partitions are what was archived\n"));
    // All columns, once they are back.
    es(url, &["archive", "restore", "--archive-url", &address]).await.well();
    assert!(rows(&store).await == rows_before, "the restored rows are others");
    assert_eq!(run(&store, &everything()).await, [], "nothing is half done");
}
