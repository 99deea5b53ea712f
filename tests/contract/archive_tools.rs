//! `pcs es archive`, and what `verify` and `export` do with a log that is archived in part.

use pcs::commands::exit::ExitStatus;
use pcs_store::Store;
use pcs_tests::console::{Ran, es};
use pcs_tests::database::{TestArchive, TestDatabase};
use serde_json::{Value, json};

use crate::archive::{archived, everything, fill, objects, run, streams};
use crate::projections::catch_up;
use crate::transfer;

/// Runs a command that knows the archive.
async fn with(archive: &TestArchive, url: &str, call: &[&str]) -> Ran {
    let address = archive.config().url.unwrap();
    es(url, &[call, &["--archive-url", &address]].concat()).await
}

/// Everybody who follows the log has read all of it.
async fn all_have_read(store: &Store) {
    for projection in pcs_projections::all() {
        catch_up(store, &*projection, 1_000).await;
    }
    sqlx::query("update jobs.cursor set position = (select position from es.head)")
        .execute(store.pool())
        .await
        .unwrap();
}

fn column(rows: &Value, field: &str) -> Vec<Value> {
    rows.as_array().unwrap().iter().map(|row| row[field].clone()).collect()
}

#[tokio::test]
async fn partitions_are_planned_archived_listed_verified_and_restored() {
    let (database, archive, store) = archived().await;
    let url = &database.url;
    fill(&store, 50, &streams(3)).await;
    let run_all = ["archive", "run", "--keep", "0", "--drop", "--json"];
    let held = with(&archive, url, &["archive", "plan", "--keep", "0", "--json"]).await.well().json();
    assert_eq!(column(&held, "verdict")[0], "stays: the relay has read to 0");
    assert_eq!(with(&archive, url, &run_all).await.well().json(), json!({ "detached": 0, "dropped": 0 }));
    all_have_read(&store).await;
    let planned = with(&archive, url, &["archive", "plan", "--keep", "1"]).await.well().out;
    let lines: Vec<&str> = planned.lines().collect();
    assert_eq!(lines[0], "partition  first  last  what happens");
    assert_eq!(lines[1], "        0      1    19  is archived by the next run");
    assert!(lines[2].ends_with("stays: it is among the newest closed ones (--keep)"), "{planned}");
    assert!(lines[3].ends_with("stays: it is still written to"), "{planned}");

    let ran = with(&archive, url, &run_all).await.well();
    assert_eq!(ran.json(), json!({ "detached": 2, "dropped": 2 }));
    for step in ["partition 0: read back", "partition 1: detached", "partition 1: dropped"] {
        assert!(ran.err.contains(step), "{}", ran.err);
    }
    assert_eq!(with(&archive, url, &run_all).await.well().json(), json!({ "detached": 0, "dropped": 0 }));
    let listed = es(url, &["archive", "ls", "--json"]).await.well().json();
    assert_eq!(column(&listed, "events"), [19, 20]);
    assert_eq!(column(&listed, "state"), ["dropped", "dropped"]);
    let table = es(url, &["archive", "ls"]).await.well().out;
    assert!(table.starts_with("partition  first  last  events  bytes  state    merkle root\n"), "{table}");

    let whole = with(&archive, url, &["archive", "verify"]).await.well();
    assert_eq!(whole.out, "2 partitions are what was archived\n");
    let second = with(&archive, url, &["archive", "verify", "--from", "25", "--to", "30"]).await.well();
    assert_eq!(second.out, "1 partitions are what was archived\n");
    let object = &objects(archive.folder())[0];
    let intact = std::fs::read(object).unwrap();
    std::fs::write(object, &intact[..intact.len() - 1]).unwrap();
    let broken = with(&archive, url, &["archive", "verify", "--json"]).await;
    assert_eq!(broken.status, ExitStatus::GateFailed);
    // The other partition is as it was, and goes on with streams whose former events can't be read.
    let (partitions, what) = (column(&broken.json(), "partition"), column(&broken.json(), "what"));
    let of_second: Vec<_> = partitions.iter().zip(&what).filter(|(partition, _)| **partition == 1).collect();
    assert!(partitions.contains(&json!(0)) && of_second.len() == 1, "{}", broken.out);
    assert!(of_second[0].1.as_str().unwrap().contains("of its stream can't be read: "), "{}", broken.out);
    let told = with(&archive, url, &["archive", "verify"]).await;
    assert!(told.out.starts_with("partition  finding\n") && told.out.contains("partition-0000000000"), "{}", told.out);
    std::fs::write(object, intact).unwrap();

    let call = ["archive", "restore", "--from", "1", "--to", "5", "--json"];
    let restored = with(&archive, url, &call).await.well();
    assert_eq!(restored.json(), json!({ "restored": 1 }));
    assert!(restored.err.contains("partition 0: attached"), "{}", restored.err);
    let listed = es(url, &["archive", "ls", "--json"]).await.well().json();
    assert_eq!(column(&listed, "state"), ["restored", "dropped"]);
    let planned = es(url, &["archive", "plan", "--keep", "0", "--json"]).await.well().json();
    assert_eq!(column(&planned, "verdict")[0], "was restored; stays until a run with --restored");
    let again = with(&archive, url, &[&run_all[..], &["--restored"]].concat()).await.well();
    assert_eq!(again.json(), json!({ "detached": 1, "dropped": 1 }));
}

#[tokio::test]
async fn an_archive_that_is_not_named_or_wrong_is_told_as_wrong_use() {
    let (database, archive, store) = archived().await;
    let url = &database.url;
    let empty = es(url, &["archive", "ls"]).await.well();
    assert_eq!((empty.out.as_str(), empty.err.as_str()), ("", "nothing was found\n"));
    for command in ["run", "verify", "restore"] {
        let refused = es(url, &["archive", command]).await;
        assert_eq!(refused.status, ExitStatus::WrongUse);
        assert!(
            refused.err.ends_with("set PCS_ARCHIVE_URL to file:///folder or s3://bucket/prefix"),
            "{}",
            refused.err
        );
    }
    for address in ["ftp://somewhere", "nothing", "s3://"] {
        let refused = es(url, &["archive", "verify", "--archive-url", address]).await;
        assert_eq!(refused.status, ExitStatus::WrongUse);
        assert!(refused.err.contains(address), "{}", refused.err);
    }
    for command in ["verify", "restore"] {
        let refused = with(&archive, url, &["archive", command, "--from", "30", "--to", "10"]).await;
        let expected = "there are no positions from 30 to 10\n  mend: give the smaller one as --from";
        assert_eq!((refused.status, refused.err.as_str()), (ExitStatus::WrongUse, expected));
    }
    fill(&store, 50, &streams(3)).await;
    run(&store, &everything()).await;
    let lost = es(url, &["event", "get", "7"]).await;
    assert_eq!(lost.status, ExitStatus::WrongUse);
    assert!(lost.err.contains("events 1 to 19 are archived") && lost.err.contains("set PCS_ARCHIVE_URL"), "{lost:?}");
    let found = with(&archive, url, &["event", "get", "7", "--json"]).await.well().json();
    assert_eq!(found["position"], 7);
}

/// X2: a log that is archived in part is exported as it was before, byte for byte.
#[tokio::test]
async fn x2_an_export_reads_what_is_archived_too() {
    let (database, archive, store) = archived().await;
    let url = &database.url;
    transfer::history(&store).await;
    fill(&store, 60, &streams(3)).await;
    let ranges: [&[&str]; 3] = [&[], &["--from", "15", "--to", "45"], &["--from", "21", "--to", "30"]];
    let mut before = Vec::new();
    for range in ranges {
        before.push(es(url, &[&["export", "-"], range].concat()).await.well().out);
    }
    let kept = transfer::content(&store).await;
    run(&store, &everything()).await;
    let archived_to = store.archived_to().await.unwrap();
    assert!(archived_to >= 39, "{archived_to}");
    for (range, before) in ranges.iter().zip(&before) {
        let after = with(&archive, url, &[&["export", "-"], *range].concat()).await.well();
        assert_eq!(after.out, *before, "{range:?}");
    }
    let there = TestDatabase::new().await.store().await;
    transfer::import(&there, before[0].as_bytes()).await.unwrap();
    assert_eq!(transfer::content(&there).await, kept);

    // Without the archive there is no file, nor half of one.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.ndjson").display().to_string();
    let refused = es(url, &["export", &path]).await;
    assert_eq!(refused.status, ExitStatus::WrongUse);
    assert!(refused.err.contains("events 1 to 19 are archived"), "{}", refused.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// X4: what is not archived is verified by default, and where the rest is verified is said.
#[tokio::test]
async fn x4_verify_begins_behind_what_is_archived_and_says_so() {
    let (database, archive, store) = archived().await;
    let url = &database.url;
    fill(&store, 50, &streams(3)).await;
    all_have_read(&store).await;
    run(&store, &everything()).await;
    let whole = with(&archive, url, &["verify"]).await.well();
    assert!(whole.out.starts_with("11 events are whole: "), "{}", whole.out);
    let note = "events 1 to 39 are left out: `pcs es archive verify` verifies what is archived\n";
    assert_eq!(whole.err, note);
    let report = with(&archive, url, &["verify", "chain", "--json"]).await.well().json();
    assert_eq!((&report["from"], &report["positions"]), (&json!(40), &json!(11)));
    let part = with(&archive, url, &["verify", "chain", "--from", "45", "--to", "48"]).await.well();
    assert_eq!((part.out.as_str(), part.err.as_str()), ("4 events are whole: chain\n", ""));
    for range in [&["--from", "1"][..], &["--from", "39"], &["--to", "30"]] {
        let refused = with(&archive, url, &[&["verify", "positions"], range].concat()).await;
        assert_eq!(refused.status, ExitStatus::WrongUse, "{range:?}");
        assert!(refused.err.contains("pcs es archive verify"), "{}", refused.err);
    }
    // The head is compared all the same.
    sqlx::query("update es.head set seal = set_byte(seal, 3, get_byte(seal, 3) # 1)")
        .execute(store.pool())
        .await
        .unwrap();
    let broken = with(&archive, url, &["verify", "chain"]).await;
    assert_eq!(broken.status, ExitStatus::GateFailed);
    assert!(broken.out.contains("is not that of the head at 50"), "{}", broken.out);
}
