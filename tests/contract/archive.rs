//! The archive: what is moved out reads back the same, whatever is killed, and damage is found with its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pcs_domain::ids::{CommandId, JobId, TenantId};
use pcs_domain::prompt_card::{PromptCard, PromptCardCommand, PromptCardEvent, Tagged};
use pcs_store::{
    Append, ArchiveConfig, ArchiveError, ArchiveRun, ArchiveState, ArchiveStep, Check, CommandContext, Expected,
    Reader, Recorded, Store, StoreError, Verdict, Verification, execute, set_partition_len,
};
use pcs_tests::database::{TestArchive, TestDatabase};
use pcs_tests::object_server::{ObjectServer, SECRET};
use pcs_worker_maintenance::Maintenance;
use pcs_worker_on_request::{Attempt, Task};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::event_store::create;
use crate::projections::{catch_up, content, history};
use crate::verification::unprotected;

const TENANT: TenantId = TenantId::DEFAULT;
const PARTITION_LEN: i64 = 20;

/// A run that archives everything that is closed, and drops it at once.
pub(crate) fn everything() -> ArchiveRun {
    ArchiveRun { keep: 0, grace: Duration::ZERO, ..ArchiveRun::default() }
}

/// A database with small partitions, its archive, and a store on both.
pub(crate) async fn archived() -> (TestDatabase, TestArchive, Store) {
    let (database, archive) = (TestDatabase::new().await, TestArchive::new());
    let store = database.store_with(archive.config()).await;
    set_partition_len(store.pool(), PARTITION_LEN).await.unwrap();
    (database, archive, store)
}

async fn append(store: &Store, stream: Uuid, expected: Expected, tag: &str) -> i64 {
    // As the relay does: the next partitions are there before the head is.
    sqlx::query("select es.create_partitions()").execute(store.pool()).await.unwrap();
    let mut append = Append::new(CommandContext::derived(TENANT, CommandId(Uuid::new_v4())));
    // Quotes, a line break, letters of four bytes and a number that jsonb would rewrite.
    let tags = vec![tag.to_owned(), "\"\\\n\u{1f600} 1.10".to_owned()];
    store.write(&mut append, stream, expected, &[PromptCardEvent::Tagged(Tagged { tags })]).unwrap();
    store.append(append).await.unwrap().last_position
}

/// Appends to a few streams in turn.
pub(crate) async fn fill(store: &Store, events: i64, streams: &[Uuid]) {
    for (nth, stream) in (0..events).zip(streams.iter().cycle()) {
        append(store, *stream, Expected::Any, &nth.to_string()).await;
    }
}

pub(crate) fn streams(count: u128) -> Vec<Uuid> {
    (1..=count).map(|number| Uuid::from_u128(number * 0x1234_5678_9abc_def0)).collect()
}

/// The whole log, read in pages.
pub(crate) async fn log(store: &Store, page: i64) -> Vec<Recorded> {
    let mut events = Vec::new();
    loop {
        let after = events.last().map_or(0, |event: &Recorded| event.position);
        let next = store.read_after(after, page).await.unwrap();
        if next.is_empty() {
            return events;
        }
        events.extend(next);
    }
}

/// Every stream, read in pages.
async fn by_stream(store: &Store, streams: &[Uuid], page: i64) -> BTreeMap<Uuid, Vec<Recorded>> {
    let mut found = BTreeMap::new();
    for stream in streams {
        let mut events: Vec<Recorded> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.version);
            let next = store.read_stream(TENANT, *stream, after, page).await.unwrap();
            if next.is_empty() {
                break;
            }
            events.extend(next);
        }
        found.insert(*stream, events);
    }
    found
}

pub(crate) async fn run(store: &Store, run: &ArchiveRun) -> Vec<ArchiveStep> {
    let mut steps = Vec::new();
    store.archive_run(run, &mut |step| steps.push(step)).await.unwrap();
    steps
}

async fn tables(store: &Store) -> Vec<String> {
    sqlx::query_scalar(
        "select relname::text from pg_class where relname ~ '^event_p[0-9]+$' and relkind = 'r' order by 1",
    )
    .fetch_all(store.pool())
    .await
    .unwrap()
}

/// X1: archived ranges read back identically through the same calls, by position and by stream, in pages of any size.
#[tokio::test]
async fn x1_archived_ranges_read_back_identically() {
    let (database, archive, store) = archived().await;
    let ids = streams(3);
    fill(&store, 90, &ids).await;
    let (live, of_streams) = (log(&store, 1_000).await, by_stream(&store, &ids, 1_000).await);
    let steps = run(&store, &everything()).await;
    assert_eq!(steps.iter().filter(|step| matches!(step, ArchiveStep::Dropped { .. })).count(), 4);
    assert_eq!(tables(&store).await, ["event_p4", "event_p5", "event_p6"]);
    // A process that knew the log before, one that starts afterwards, and one that remembers nothing yet.
    for reader in [store.clone(), database.store_with(archive.config()).await] {
        for page in [1, 7, 20, 1_000] {
            assert_eq!(log(&reader, page).await, live, "pages of {page}");
            assert_eq!(by_stream(&reader, &ids, page).await, of_streams, "pages of {page}");
        }
    }
    assert_eq!(store.head().await.unwrap(), 90);
    assert_eq!(store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap(), []);
}

/// X1: a reader that was at work before the partition left, and knows of no archive, misses nothing.
#[tokio::test]
async fn x1_a_reader_that_was_not_told_misses_nothing() {
    let (database, archive, store) = archived().await;
    let ids = streams(2);
    fill(&store, 70, &ids).await;
    let reader = database.store_with(archive.config()).await;
    let live = log(&reader, 1_000).await;
    let first = reader.read_after(0, 25).await.unwrap();
    run(&store, &everything()).await;
    let rest = reader.read_after(25, 1_000).await.unwrap();
    assert_eq!(rest[0].position, 26, "the archived ones come first");
    assert_eq!([first, log(&reader, 10).await.split_off(25)].concat(), live);
}

/// X1: a stream goes on while its older events are archived, and folds over the border.
#[tokio::test]
async fn x1_a_stream_that_spans_the_border_goes_on() {
    let (_database, _archive, store) = archived().await;
    let card = Uuid::new_v4();
    let context = || CommandContext::derived(TENANT, CommandId(Uuid::new_v4()));
    let create = create("one");
    let remembered = CommandContext { fingerprint: Some(Uuid::from_u128(1)), ..context() };
    let first = execute::<PromptCard>(&store, &remembered, card, Expected::NoStream, create.clone()).await.unwrap();
    fill(&store, 50, &streams(2)).await;
    append(&store, card, Expected::Exact(1), "live").await;
    let before = store.load::<PromptCard>(TENANT, card).await.unwrap();
    run(&store, &everything()).await;
    let loaded = store.load::<PromptCard>(TENANT, card).await.unwrap();
    assert_eq!((loaded.revision, format!("{:?}", loaded.state)), (2, format!("{:?}", before.state)));
    let archived = store.load_at::<PromptCard>(TENANT, card, 1).await.unwrap();
    assert_eq!((archived.revision, format!("{:?}", archived.state)), (1, format!("{:?}", first.state)));
    // The same command again has its first result, which is in the archive.
    let again = execute::<PromptCard>(&store, &remembered, card, Expected::NoStream, create).await.unwrap();
    assert_eq!((again.duplicate, again.revision, again.position), (true, 1, first.position));
    // Versions and expectations go on.
    let publish = PromptCardCommand::Publish;
    let published = execute::<PromptCard>(&store, &context(), card, Expected::Exact(2), publish).await.unwrap();
    assert_eq!(published.revision, 3);
    let wholly_archived = streams(2)[0];
    append(&store, wholly_archived, Expected::Exact(25), "again").await;
    assert_eq!(store.read_stream(TENANT, wholly_archived, 0, 100).await.unwrap().len(), 26);
}

/// X1: a long stream that is archived up to its newest event is loaded from its snapshot, and goes on.
#[tokio::test]
async fn x1_a_snapshot_outlives_the_events_it_was_folded_from() {
    let (_database, _archive, store) = archived().await;
    set_partition_len(store.pool(), 1_000).await.unwrap();
    let card = Uuid::new_v4();
    let context = || CommandContext::derived(TENANT, CommandId(Uuid::new_v4()));
    execute::<PromptCard>(&store, &context(), card, Expected::NoStream, create("long")).await.unwrap();
    let tagged = |nth: i32| PromptCardEvent::Tagged(Tagged { tags: vec![nth.to_string()] });
    let mut append = Append::new(context());
    store.write(&mut append, card, Expected::Exact(1), &(0..900).map(tagged).collect::<Vec<_>>()).unwrap();
    store.append(append).await.unwrap();
    let lived = store.load::<PromptCard>(TENANT, card).await.unwrap();
    store.snapshots_written().await;
    fill(&store, 200, &streams(2)).await;
    run(&store, &everything()).await;
    assert_eq!(tables(&store).await, ["event_p1", "event_p2", "event_p3"]);
    let loaded = store.load::<PromptCard>(TENANT, card).await.unwrap();
    assert_eq!((loaded.revision, loaded.tip), (901, lived.tip));
    let publish = PromptCardCommand::Publish;
    let published = execute::<PromptCard>(&store, &context(), card, Expected::Exact(901), publish).await.unwrap();
    assert_eq!(published.revision, 902);
    assert_eq!(store.read_stream(TENANT, card, 890, 100).await.unwrap().len(), 12);
}

/// R9: the time of an archived event is found as that of a living one.
#[tokio::test]
async fn r9_the_position_at_a_time_is_found_in_the_archive_too() {
    let (_database, _archive, store) = archived().await;
    fill(&store, 70, &streams(2)).await;
    let events = log(&store, 1_000).await;
    run(&store, &everything()).await;
    assert!(store.archived_partitions().await.unwrap().len() > 1);
    for event in &events {
        let greatest = events.iter().filter(|other| other.recorded_at <= event.recorded_at).map(|other| other.position);
        assert_eq!(store.position_at(event.recorded_at).await.unwrap(), greatest.max().unwrap());
    }
    assert_eq!(store.position_at(pcs_domain::Timestamp::EPOCH).await.unwrap(), 0);
}

/// X1: every read model folded from the archive has the rows that it had while it lived.
#[tokio::test]
async fn x1_read_models_rebuilt_from_the_archive_equal_the_living() {
    let (_database, _archive, store) = archived().await;
    sqlx::query("select es.set_partition_len(10)").execute(store.pool()).await.unwrap();
    sqlx::query("select es.make_partition(n), es.attach_partition(n) from generate_series(3, 40) n")
        .execute(store.pool())
        .await
        .unwrap();
    history(&store).await;
    let mut live = Vec::new();
    for projection in pcs_projections::all() {
        catch_up(&store, &*projection, 5_000).await;
        live.push(content(&store, &*projection).await);
    }
    run(&store, &everything()).await;
    let (archived, head) = (store.archived_partitions().await.unwrap(), store.head().await.unwrap());
    assert!(archived.last().unwrap().last_position * 10 > head * 8, "most of the history is archived");
    for (projection, live) in pcs_projections::all().iter().zip(live) {
        for page in [7, 5_000] {
            pcs_projections::reset(store.pool(), &**projection).await.unwrap();
            catch_up(&store, &**projection, page).await;
            assert_eq!(content(&store, &**projection).await, live, "{} in pages of {page}", projection.name());
        }
    }
}

/// X1: appends and a tailing reader go on while partitions leave; nothing is missed and nothing is seen twice.
#[tokio::test]
async fn x1_appends_go_on_during_a_run() {
    let (database, archive, store) = archived().await;
    fill(&store, 100, &streams(3)).await;
    let (writer, reader) = (database.store().await, database.store_with(archive.config()).await);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for nth in 0..100 {
            append(&writer, streams(3)[nth % 3], Expected::Any, "during").await;
        }
    });
    tasks.spawn(async move {
        let mut seen = Vec::new();
        while seen.len() < 200 {
            let page = reader.read_after(seen.last().copied().unwrap_or(0), 3).await.unwrap();
            seen.extend(page.into_iter().map(|event| event.position));
        }
        assert_eq!(seen, (1..=200).collect::<Vec<i64>>());
    });
    while !tasks.is_empty() {
        run(&store, &everything()).await;
        if let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    run(&store, &everything()).await;
    let numbers: Vec<i64> = log(&store, 1_000).await.iter().map(|event| event.position).collect();
    assert_eq!(numbers, (1..=200).collect::<Vec<i64>>());
}

/// X1: a run that is killed after any of its steps loses nothing, and the next one ends its work.
#[tokio::test]
async fn x1_a_run_that_is_killed_anywhere_is_gone_on_with() {
    let (database, archive, store) = archived().await;
    let ids = streams(3);
    fill(&store, 70, &ids).await;
    let (live, of_streams) = (log(&store, 1_000).await, by_stream(&store, &ids, 1_000).await);
    let mut kills = 0;
    // Small objects, so that there are several segments a partition and a kill between them.
    let wanted = ArchiveRun { object_bytes: 4_000, ..everything() };
    loop {
        let victim = database.store_with(archive.config()).await;
        let (sender, mut steps) = tokio::sync::mpsc::unbounded_channel();
        let (victim_run, mut seen) = (wanted.clone(), 0);
        let mut told = move |step| drop(sender.send(step));
        // Dropping the future is what a kill is to the database: the connections break.
        let ended = tokio::select! {
            biased;
            () = async { while seen <= kills % 3 { steps.recv().await; seen += 1; } } => false,
            result = victim.archive_run(&victim_run, &mut told) => match result {
                // The lock goes with the connection, which the server notices in its own time.
                Err(StoreError::Archive(ArchiveError::Busy)) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
                result => { result.unwrap(); true }
            },
        };
        drop(victim);
        assert_eq!(log(&store, 11).await, live, "after {kills} kills");
        assert_eq!(by_stream(&store, &ids, 11).await, of_streams, "after {kills} kills");
        if ended {
            break;
        }
        kills += 1;
    }
    assert!(kills >= 6, "it was killed {kills} times");
    let states: Vec<ArchiveState> =
        store.archived_partitions().await.unwrap().iter().map(|partition| partition.state).collect();
    assert_eq!(states, [ArchiveState::Dropped; 3]);
    assert_eq!(store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap(), []);
}

/// X4: behind what is archived the log is verified as before, and streams that begin in the archive are whole.
#[tokio::test]
async fn x4_what_is_not_archived_is_verified_alone() {
    let (_database, _archive, store) = archived().await;
    let ids = streams(3);
    fill(&store, 90, &ids).await;
    let mut begun = Verification::begin(&store, &Check::ALL, None, None).await.unwrap();
    run(&store, &everything()).await;
    let left = begun.next(&store).await;
    assert!(
        matches!(left, Err(StoreError::Archive(ArchiveError::NotInTheLog { .. }))),
        "what left is not lost: {left:?}"
    );
    assert!(Verification::begin(&store, &Check::ALL, Some(1), None).await.is_err(), "half of the log is not all of it");
    for from in [80, 85, 90] {
        let mut verification = Verification::begin(&store, &Check::ALL, Some(from), None).await.unwrap();
        while let Some(findings) = verification.next(&store).await.unwrap() {
            assert_eq!(findings, [], "from {from}");
        }
    }
}

/// X1: what was restored is part of the log again, row for row, and can be archived once more.
#[tokio::test]
async fn x1_what_is_restored_is_in_the_log_again() {
    let (_database, archive, store) = archived().await;
    let ids = streams(3);
    fill(&store, 90, &ids).await;
    let live = log(&store, 1_000).await;
    let rows = || async {
        let rows: Vec<String> =
            sqlx::query_scalar("select row_to_json(e)::text from es.event e where position < 40 order by position")
                .fetch_all(store.pool())
                .await
                .unwrap();
        rows
    };
    let before = rows().await;
    run(&store, &everything()).await;
    assert!(rows().await.is_empty());
    // The one in the middle stays in the archive.
    assert_eq!(store.archive_restore(1, 19, &mut |_| ()).await.unwrap(), 1);
    assert_eq!(store.archive_restore(60, 79, &mut |_| ()).await.unwrap(), 1);
    assert_eq!(rows().await, before[..19]);
    for page in [3, 1_000] {
        assert_eq!(log(&store, page).await, live);
        let events: usize = by_stream(&store, &ids, page).await.values().map(Vec::len).sum();
        assert_eq!(events, 90);
    }
    assert!(sqlx::query("update es.event_p0 set version = 9").execute(store.pool()).await.is_err());
    sqlx::query("select es.create_partitions()").execute(store.pool()).await.unwrap();
    assert_eq!(tables(&store).await, ["event_p0", "event_p3", "event_p4", "event_p5", "event_p6"]);
    // A run leaves it where it is, until it is told otherwise.
    assert_eq!(run(&store, &everything()).await, []);
    run(&store, &ArchiveRun { restored_too: true, ..everything() }).await;
    assert_eq!(tables(&store).await, ["event_p4", "event_p5", "event_p6"]);
    assert_eq!(log(&store, 1_000).await, live);
    drop(archive);
}

/// What a partition is kept for is said: still open, kept on purpose, or not read to its end by somebody.
#[tokio::test]
async fn x1_a_partition_stays_until_it_is_closed_and_read() {
    let (_database, _archive, store) = archived().await;
    fill(&store, 70, &streams(3)).await;
    let reader = |name: &str, position| Reader { name: name.to_owned(), position };
    let plan = |keep, readers: Vec<Reader>| {
        let store = store.clone();
        async move {
            let plan = store.archive_plan(keep, &readers).await.unwrap();
            plan.into_iter().map(|candidate| candidate.verdict).collect::<Vec<_>>()
        }
    };
    let open = [Verdict::Open, Verdict::Open, Verdict::Open];
    let slow = Verdict::HeldBy(reader("slow", 38));
    let expected = [&[Verdict::Ready, slow.clone(), slow][..], &open].concat();
    assert_eq!(plan(0, vec![reader("fast", 70), reader("slow", 38)]).await, expected);
    let expected = [&[Verdict::Ready, Verdict::Kept, Verdict::Kept][..], &open].concat();
    assert_eq!(plan(2, vec![reader("fast", 70)]).await, expected);
    let held = ArchiveRun { readers: vec![reader("slow", 38)], ..everything() };
    run(&store, &held).await;
    assert_eq!(store.archived_partitions().await.unwrap().len(), 1);
    assert!(set_partition_len(store.pool(), 50).await.is_err(), "the log has events");
}

/// A table that was detached is kept for a grace, and can be attached again without the archive's bytes.
#[tokio::test]
async fn x1_a_detached_table_is_dropped_after_its_grace() {
    let (_database, _archive, store) = archived().await;
    fill(&store, 50, &streams(3)).await;
    let live = log(&store, 1_000).await;
    run(&store, &ArchiveRun { grace: Duration::from_secs(3_600), ..everything() }).await;
    assert_eq!(tables(&store).await, ["event_p0", "event_p1", "event_p2", "event_p3", "event_p4"]);
    assert_eq!(log(&store, 1_000).await, live);
    assert_eq!(store.archive_restore(1, 5, &mut |_| ()).await.unwrap(), 1);
    assert_eq!(log(&store, 1_000).await, live);
    run(&store, &everything()).await;
    assert_eq!(tables(&store).await, ["event_p0", "event_p2", "event_p3", "event_p4"]);
    assert_eq!(log(&store, 1_000).await, live);
}

/// Where the archive is missing, what needs it says so with the range, and everything else works.
#[tokio::test]
async fn x1_without_its_archive_the_rest_of_the_log_still_reads() {
    let (database, archive, store) = archived().await;
    let ids = streams(2);
    fill(&store, 50, &ids).await;
    let fresh = Uuid::new_v4();
    append(&store, fresh, Expected::NoStream, "fresh").await;
    run(&store, &everything()).await;
    let without = database.store().await;
    match without.read_after(0, 10).await {
        Err(StoreError::Archive(ArchiveError::NotConfigured { first: 1, last: 19 })) => (),
        other => panic!("{other:?}"),
    }
    assert!(matches!(without.read_stream(TENANT, ids[0], 0, 9).await, Err(StoreError::Archive(_))));
    let live = without.read_after(39, 100).await.unwrap();
    assert_eq!(live.iter().map(|event| event.position).collect::<Vec<_>>(), (40..=51).collect::<Vec<_>>());
    assert_eq!(without.read_stream(TENANT, fresh, 0, 9).await.unwrap().len(), 1);
    append(&without, ids[0], Expected::Exact(25), "goes on").await;
    // Another folder has no such objects: the error names the one that is missing.
    let empty = TestArchive::new();
    let lost = database.store_with(empty.config()).await;
    let error = lost.read_after(0, 10).await.unwrap_err().to_string();
    assert!(error.contains("partition-0000000000") && error.contains("PCS_ARCHIVE_URL"), "{error}");
    for url in ["ftp://somewhere", "nothing", "s3://"] {
        let config = ArchiveConfig { url: Some(url.to_owned()), options: Vec::new() };
        let config = pcs_store::StoreConfig { archive: config, ..pcs_store::StoreConfig::new(&database.url, "test") };
        assert!(
            matches!(Store::connect(&config).await, Err(StoreError::Archive(ArchiveError::Address { .. }))),
            "{url}"
        );
    }
    drop(archive);
}

/// X1: an archive in a bucket is the same as one in a folder, also where the store fails now and then.
#[tokio::test]
async fn x1_an_archive_in_a_bucket_reads_back_identically() {
    let (database, server) = (TestDatabase::new().await, ObjectServer::start().await);
    let store = database.store_with(server.config()).await;
    set_partition_len(store.pool(), PARTITION_LEN).await.unwrap();
    let ids = streams(3);
    fill(&store, 50, &ids).await;
    let (live, of_streams) = (log(&store, 1_000).await, by_stream(&store, &ids, 1_000).await);
    server.fail(2);
    run(&store, &everything()).await;
    assert_eq!(server.names().len(), 6);
    assert!(server.names().iter().all(|name| name.starts_with("history/log/one/partition-")), "{:?}", server.names());
    server.fail(1);
    let reader = database.store_with(server.config()).await;
    assert_eq!(log(&reader, 7).await, live);
    assert_eq!(by_stream(&reader, &ids, 7).await, of_streams);
    assert_eq!(store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap(), []);
    assert_eq!(store.archive_restore(0, i64::MAX, &mut |_| ()).await.unwrap(), 2);
    assert_eq!(log(&store, 1_000).await, live);
    assert!(!format!("{:?}", server.config()).contains(SECRET), "settings are shown without their values");
}

pub(crate) fn objects(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(objects(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// X4, in the archive: a flipped byte in any object is found, with the object and the events that it hit.
#[tokio::test]
async fn x4_a_flipped_byte_in_the_archive_is_found_with_its_place() {
    let (database, archive, store) = archived().await;
    fill(&store, 50, &streams(3)).await;
    run(&store, &everything()).await;
    let objects = objects(archive.folder());
    assert_eq!(objects.len(), 6, "two partitions of events, streams and a manifest: {objects:?}");
    for object in objects {
        let intact = std::fs::read(&object).unwrap();
        for at in (0..intact.len()).step_by(intact.len() / 7) {
            let mut bytes = intact.clone();
            bytes[at] ^= 1;
            std::fs::write(&object, &bytes).unwrap();
            let findings = store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap();
            let name = object.file_name().unwrap().to_str().unwrap();
            assert!(findings.iter().all(|finding| finding.object.contains("partition-")), "{findings:?}");
            assert!(findings.iter().any(|finding| finding.object.ends_with(name)), "{name}, byte {at}: {findings:?}");
            if name.starts_with("events") {
                let is_second = object.to_str().unwrap().contains("partition-0000000001");
                let range = if is_second { (20, 39) } else { (1, 19) };
                let placed = findings.iter().any(|finding| finding.positions == Some(range));
                assert!(placed, "{name}, byte {at}: {findings:?}");
                // A reader is told too, and gets no event that was not archived.
                let reader = database.store_with(archive.config()).await;
                let read = reader.read_after(range.0 - 1, 10).await;
                assert!(matches!(read, Err(StoreError::Archive(ArchiveError::Damaged { .. }))), "{read:?}");
            }
        }
        std::fs::remove_file(&object).unwrap();
        let findings = store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap();
        assert!(findings.iter().any(|finding| finding.what.contains("missing")), "{findings:?}");
        std::fs::write(&object, &intact).unwrap();
        assert_eq!(store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap(), []);
    }
}

/// X4, beside the archive: a seal that is not of its events is found, also of a batch that two partitions share.
#[tokio::test]
async fn x4_the_seals_of_archived_batches_are_verified() {
    let (database, _archive, store) = archived().await;
    let stream = streams(1)[0];
    fill(&store, 17, &[stream]).await;
    let tagged = PromptCardEvent::Tagged(Tagged { tags: vec!["a".to_owned()] });
    let mut shared = Append::new(CommandContext::derived(TENANT, CommandId(Uuid::new_v4())));
    store.write(&mut shared, stream, Expected::Any, &vec![tagged; 5]).unwrap();
    assert_eq!(store.append(shared).await.unwrap().last_position, 22, "the second partition begins with 20");
    fill(&store, 30, &[stream]).await;
    run(&store, &everything()).await;
    assert_eq!(store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap(), []);
    let mut connection = unprotected(&database).await;
    for (first, last) in [(10, 10), (18, 22)] {
        let forge = "update es.seal set seal = $2 where last_position = $1";
        let read = "select seal from es.seal where last_position = $1";
        let seal: Vec<u8> = sqlx::query_scalar(read).bind(last).fetch_one(&mut connection).await.unwrap();
        sqlx::query(forge).bind(last).bind([7_u8; 32].as_slice()).execute(&mut connection).await.unwrap();
        let findings = store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap();
        // The batch itself, and the one that was sealed behind it.
        let at: Vec<_> = findings.iter().map(|finding| finding.positions).collect();
        assert_eq!(at, [Some((first, first)), Some((last + 1, last + 1))], "{findings:?}");
        assert!(findings.iter().all(|finding| finding.what.contains("not as it was sealed")), "{findings:?}");
        sqlx::query(forge).bind(last).bind(seal).execute(&mut connection).await.unwrap();
    }
    sqlx::query("delete from es.seal where last_position = 10").execute(&mut connection).await.unwrap();
    let findings = store.archive_verify(0, i64::MAX, &mut |_| ()).await.unwrap();
    let missing = findings.iter().find(|finding| finding.what.contains("not sealed"));
    assert_eq!(missing.and_then(|finding| finding.positions), Some((10, 10)), "{findings:?}");
}

/// The day's maintenance does what `pcs es archive run` does.
#[tokio::test]
async fn an_archive_that_is_asked_for_as_a_job_moves_what_is_closed_and_read() {
    let (_database, _archive, store) = archived().await;
    fill(&store, 3 * PARTITION_LEN, &streams(3)).await;
    let before = log(&store, 100).await;
    for projection in pcs_projections::all() {
        catch_up(&store, &*projection, 100).await;
    }
    sqlx::query("update jobs.cursor set position = $1")
        .bind(store.head().await.unwrap())
        .execute(store.pool())
        .await
        .unwrap();
    let input = serde_json::json!({ "task": "archive", "keep": 1, "grace_hours": 0 });
    let attempt =
        Attempt { tenant: TENANT, job_id: JobId(Uuid::nil()), attempt: 1, input: input.as_object().cloned().unwrap() };
    let maintenance = Maintenance::new(store.clone());
    let output = maintenance.attempt(attempt.clone()).await.unwrap();
    let moved = output["detached"].as_u64().unwrap();
    assert!(moved >= 1 && output["dropped"].as_u64() == Some(moved), "{output:?}");
    assert_eq!(log(&store, 100).await, before, "it reads as before");
    // Made again after its worker was lost, it finds nothing left to do.
    let again = maintenance.attempt(attempt).await.unwrap();
    assert_eq!(again["detached"], 0, "{again:?}");
}
