//! Whose executions are handed out next: the very statement of the scheduler, on desks that are laid by hand.

use std::collections::BTreeMap;

use pcs_tests::database::TestDatabase;
use sqlx::{AssertSqlSafe, FromRow, PgPool};
use uuid::Uuid;

const RELEASE: &str = include_str!("../../crates/relay/queries/release.sql");
// The numbers of the lanes.
const HI: i16 = 0;
const STD: i16 = 1;
const BULK: i16 = 2;

#[derive(Clone, Copy, Debug, FromRow)]
struct Released {
    tenant_id: i32,
    run_id: Uuid,
    lane: i16,
    queue_id: i64,
    place: i64,
}

/// A run with executions that wait.
async fn lay(pool: &PgPool, tenant: i32, run: u128, lane: i16, executions: i32) {
    let add = "insert into jobs.run (run_id, tenant_id, planned, lane) values ($1, $2, $3, $4)";
    let run = Uuid::from_u128(run);
    sqlx::query(add).bind(run).bind(tenant).bind(i64::from(executions)).bind(lane).execute(pool).await.unwrap();
    let add = "insert into jobs.tenant (tenant_id) values ($1) on conflict do nothing";
    sqlx::query(add).bind(tenant).execute(pool).await.unwrap();
    let add = "with queue as (
                   insert into jobs.queue (run_id, tenant_id, kind, model, model_id, provider)
                   values ($2, $1, 'test_execution', 'm', 'm', 'm') returning queue_id)
               insert into jobs.execution (execution_id, tenant_id, run_id, lane, version, case_id, model, repeat, queue_id)
               select gen_random_uuid(), $1, $2, $3, 1, gen_random_uuid(), 'm', 0, queue_id
               from queue, generate_series(1, $4)";
    sqlx::query(add).bind(tenant).bind(run).bind(lane).bind(executions).execute(pool).await.unwrap();
}

/// What is handed out of `limit` places, with none kept for those who wait longest.
async fn release(pool: &PgPool, limit: i64) -> Vec<Released> {
    release_keeping(pool, limit, 0.0).await
}

/// What is handed out of `limit` places, with so many kept for those who wait longest.
async fn release_keeping(pool: &PgPool, limit: i64, kept: f64) -> Vec<Released> {
    release_from(pool, (limit, kept), (&[], &[])).await
}

/// Releases where some queues are said to have nothing before a place.
async fn release_from(pool: &PgPool, (limit, kept): (i64, f64), fronts: (&[i64], &[i64])) -> Vec<Released> {
    let release = sqlx::query_as(AssertSqlSafe(RELEASE)).bind(limit).bind(kept).bind("test_execution");
    release.bind(fronts.0).bind(fronts.1).fetch_all(pool).await.unwrap()
}

fn count<K: Ord>(released: &[Released], key: impl Fn(&Released) -> K) -> BTreeMap<K, usize> {
    released.iter().fold(BTreeMap::new(), |mut counts, released| {
        *counts.entry(key(released)).or_default() += 1;
        counts
    })
}

#[tokio::test]
async fn j41_a_tenant_with_one_job_is_served_in_the_next_round_of_a_full_desk() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    lay(&pool, 1, 1, STD, 20_000).await;
    for tenant in 2..=50 {
        lay(&pool, tenant, 100 + u128::try_from(tenant).unwrap(), STD, 1).await;
    }
    let released = release(&pool, 64).await;
    let by_tenant = count(&released, |released| released.tenant_id);
    assert_eq!(by_tenant.len(), 50, "everybody is served: {by_tenant:?}");
    assert_eq!((released.len(), by_tenant[&1]), (64, 15), "what the others don't use goes to the first");
    assert_eq!(count(&release(&pool, 64).await, |released| released.tenant_id), BTreeMap::from([(1, 64)]));
}

#[tokio::test]
async fn j42_tenants_share_alike_and_one_alone_gets_everything() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    // A tenant with three runs gets no more than one with a single run; its runs share among themselves.
    for run in 1..=3 {
        lay(&pool, 1, run, STD, 500).await;
    }
    lay(&pool, 2, 4, STD, 500).await;
    let mut all = Vec::new();
    for _ in 0..20 {
        all.extend(release(&pool, 30).await);
    }
    let by_run = count(&all, |released| (released.tenant_id, released.run_id.as_u128()));
    assert_eq!(by_run, BTreeMap::from([((1, 1), 100), ((1, 2), 100), ((1, 3), 100), ((2, 4), 300)]));
    let left = release(&pool, 2_000).await;
    assert_eq!(left.len(), 1_400, "each is handed out once");
}

#[tokio::test]
async fn j42_weights_of_three_to_one_are_kept_over_a_thousand_starts_however_few_at_once() {
    for places in [1, 7, 64] {
        let database = TestDatabase::new().await;
        let pool = database.store().await.pool().clone();
        lay(&pool, 1, 1, STD, 1_200).await;
        lay(&pool, 2, 2, STD, 1_200).await;
        sqlx::query("update jobs.tenant set weight = 3 where tenant_id = 1").execute(&pool).await.unwrap();
        let mut all = Vec::new();
        while all.len() < 1_000 {
            all.extend(release(&pool, places).await);
        }
        let first = count(&all[..1_000], |released| released.tenant_id)[&1];
        assert!((713..=787).contains(&first), "{first} of 1,000 starts, {places} at once");
    }
}

#[tokio::test]
async fn j52_what_is_held_is_left_out_and_goes_on_in_its_order() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    lay(&pool, 1, 1, BULK, 40).await;
    lay(&pool, 1, 2, STD, 10).await;
    lay(&pool, 2, 3, BULK, 10).await;
    let hold = "insert into jobs.hold (tenant_id, source, scope, value, until, reason, since)
                values (1, 'policy', 'lane', 'bulk', 'infinity', '', now())";
    sqlx::query(hold).execute(&pool).await.unwrap();
    let released = release(&pool, 100).await;
    let by_run = count(&released, |released| released.run_id.as_u128());
    assert_eq!(by_run, BTreeMap::from([(2, 10), (3, 10)]), "another tenant's lane is not held");
    sqlx::query("delete from jobs.hold").execute(&pool).await.unwrap();
    assert_eq!(release(&pool, 100).await.len(), 40);
}

#[tokio::test]
async fn j44_no_more_is_out_than_a_limit_lets_begin_soon() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    lay(&pool, 1, 1, STD, 500).await;
    lay(&pool, 2, 2, STD, 500).await;
    let limit = "insert into jobs.rate_limit (tenant_id, key, concurrency) values (1, 'm', 8)";
    sqlx::query(limit).execute(&pool).await.unwrap();
    let by_tenant = count(&release(&pool, 200).await, |released| released.tenant_id);
    assert_eq!(by_tenant, BTreeMap::from([(1, 11), (2, 189)]));
    assert_eq!(count(&release(&pool, 50).await, |released| released.tenant_id), BTreeMap::from([(2, 50)]));
}

/// With fewer places than runs, each has its turn before any has a second one.
#[tokio::test]
async fn runs_take_turns_where_the_places_are_fewer_than_they() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    for run in 1..=12 {
        lay(&pool, 1, run, STD, 5).await;
    }
    for round in 1..=5 {
        let mut served = Vec::new();
        for _ in 0..4 {
            served.extend(release(&pool, 3).await);
        }
        let by_run = count(&served, |released| released.run_id);
        assert!(by_run.len() == 12 && by_run.values().all(|served| *served == 1), "round {round}: {by_run:?}");
    }
}

#[tokio::test]
async fn j43_an_important_run_goes_first_and_an_eighth_goes_to_who_waits_longest() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    lay(&pool, 1, 1, BULK, 1_000).await;
    lay(&pool, 2, 2, STD, 1_000).await;
    lay(&pool, 1, 3, HI, 40).await;
    let next = release_keeping(&pool, 64, 8.0).await;
    assert_eq!(count(&next, |released| released.lane), BTreeMap::from([(HI, 40), (STD, 16), (BULK, 8)]));
}

/// A busy fleet frees its places one by one: the important run still goes first, and the others are not forgotten.
#[tokio::test]
async fn j43_places_that_come_free_one_by_one_are_shared_as_many_at_once_are() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    lay(&pool, 1, 1, BULK, 400).await;
    lay(&pool, 1, 2, HI, 400).await;
    let mut all = Vec::new();
    for _ in 0..300 {
        all.extend(release_keeping(&pool, 1, 1.0 / 8.0).await);
    }
    let by_lane = count(&all, |released| released.lane);
    // 37.5 of 300 on average, and the standard deviation is 5.7.
    assert!(all.len() == 300 && (5..=80).contains(&by_lane[&BULK]), "{by_lane:?}");
}

/// Two schedulers at once, such as a former leader that has not noticed: nothing is handed out twice.
#[tokio::test]
async fn no_execution_is_handed_out_twice() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    for run in 1..=4 {
        lay(&pool, 1, run, STD, 250).await;
    }
    let (mut handed_out, mut rounds) = (0, 0);
    while handed_out < 1_000 && rounds < 200 {
        let (one, other) = tokio::join!(release(&pool, 64), release(&pool, 64));
        handed_out += one.len() + other.len();
        rounds += 1;
    }
    let ids: i64 = sqlx::query_scalar("select count(distinct dispatch_id) from jobs.execution where state = 1")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!((handed_out, ids), (1_000, 1_000));
}

/// The leader remembers where waiting begins in each queue, and looks at nothing before it: that is right only where what
/// is handed out of a queue is always what waits first in it.
#[tokio::test]
async fn what_is_handed_out_of_a_queue_is_what_waits_first_in_it() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    for run in 1..=9 {
        lay(&pool, i32::try_from(run % 3).unwrap(), run, i16::try_from(run % 2).unwrap(), 60).await;
    }
    let mut fronts: BTreeMap<i64, i64> = BTreeMap::new();
    for limit in [1, 7, 20, 33, 64, 100, 128, 200] {
        let (queues, places): (Vec<i64>, Vec<i64>) = fronts.iter().unzip();
        for released in release_from(&pool, (limit, 1.0), (&queues, &places)).await {
            let front = fronts.entry(released.queue_id).or_default();
            *front = (*front).max(released.place + 1);
        }
        for (queue, front) in &fronts {
            let before = "select count(*) from jobs.execution where queue_id = $1 and state = 0 and place < $2";
            let before: i64 = sqlx::query_scalar(before).bind(queue).bind(front).fetch_one(&pool).await.unwrap();
            assert_eq!(before, 0, "of queue {queue} before {front}");
        }
    }
    assert_eq!(fronts.len(), 9, "every queue was served");
    let left: i64 =
        sqlx::query_scalar("select count(*) from jobs.execution where state = 0").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0, "fronts hide nothing that waits");
}

/// What was put back before a front waits until the front is forgotten.
#[tokio::test]
async fn what_waits_before_a_front_is_not_looked_at() {
    let database = TestDatabase::new().await;
    let pool = database.store().await.pool().clone();
    lay(&pool, 1, 1, STD, 10).await;
    let first = release(&pool, 4).await;
    sqlx::query("update jobs.execution set state = 0 where state = 1").execute(&pool).await.unwrap();
    let front = first.iter().map(|released| released.place + 1).max().unwrap();
    let queue = first[0].queue_id;
    assert_eq!(release_from(&pool, (100, 0.0), (&[queue], &[front])).await.len(), 6);
    assert_eq!(release(&pool, 100).await.len(), 4);
}
