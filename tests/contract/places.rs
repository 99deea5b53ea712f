//! Places for calls: the very function that relays ask, on a database of its own.

use pcs_tests::database::TestDatabase;
use sqlx::PgPool;
use uuid::Uuid;

async fn ground() -> PgPool {
    TestDatabase::new().await.store().await.pool().clone()
}

async fn limit(pool: &PgPool, columns: &str, values: &str) {
    let set = format!("insert into jobs.rate_limit (tenant_id, key, {columns}) values (1, 'p', {values})");
    sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(pool).await.unwrap();
}

/// Milliseconds until the call may begin; below zero where it may not be made now.
async fn reserve(pool: &PgPool, dispatch: u128, content: Option<&str>, tokens: (i64, i64)) -> i64 {
    let ask = "select jobs.reserve(1, gen_random_uuid(), 'p', 'p:m', 'std', 'test_execution', $1, 'w', $2, $3, $4, 60000, 2000, 5)";
    sqlx::query_scalar(ask)
        .bind(Uuid::from_u128(dispatch))
        .bind(content)
        .bind(tokens.0)
        .bind(tokens.1)
        .fetch_one(pool)
        .await
        .unwrap()
}

async fn settle(pool: &PgPool, dispatch: u128, tokens: (i64, i64)) {
    sqlx::query("select jobs.settle($1, $2, $3)")
        .bind(Uuid::from_u128(dispatch))
        .bind(tokens.0)
        .bind(tokens.1)
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn tokens_are_reserved_before_a_call_and_put_right_after_it() {
    let pool = ground().await;
    // 1,000 tokens of prompts a second.
    limit(&pool, "input_tokens_per_minute", "60000").await;
    assert_eq!(reserve(&pool, 1, None, (1_500, 0)).await, 0);
    let wait = reserve(&pool, 2, None, (1_500, 0)).await;
    assert!((1_200..=1_500).contains(&wait), "the first one has used 1.5 s of the limit: {wait}");
    // What the first ones do not use comes back, and nobody knows when.
    assert_eq!(reserve(&pool, 3, None, (1, 0)).await, -250, "3 s ahead is too far; it asks again soon");
    // The first one took a hundred, and the second nothing.
    settle(&pool, 1, (100, 0)).await;
    settle(&pool, 2, (0, 0)).await;
    let wait = reserve(&pool, 3, None, (1, 0)).await;
    assert!((0..=100).contains(&wait), "what was not used is there again: {wait}");
}

#[tokio::test]
async fn answers_that_are_longer_than_was_thought_make_the_next_call_wait() {
    let pool = ground().await;
    limit(&pool, "output_tokens_per_minute", "6000").await;
    assert_eq!(reserve(&pool, 1, None, (0, 10)).await, 0);
    settle(&pool, 1, (0, 160)).await;
    let wait = reserve(&pool, 2, None, (0, 10)).await;
    assert!((1_300..=1_600).contains(&wait), "160 tokens at 100 a second: {wait}");
}

#[tokio::test]
async fn a_circuit_that_was_open_lets_one_call_through() {
    let pool = ground().await;
    sqlx::query("insert into jobs.endpoint (tenant_id, provider, failures) values (1, 'p', 5)")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(reserve(&pool, 1, None, (0, 0)).await, 0);
    assert!(reserve(&pool, 2, None, (0, 0)).await < 0, "the first one has not come back");
    settle(&pool, 1, (0, 0)).await;
    assert_eq!(reserve(&pool, 2, None, (0, 0)).await, 0);
    let open = "insert into jobs.hold (tenant_id, source, scope, value, until, reason, since)
                values (1, 'circuit', 'provider', 'p', clock_timestamp() + interval '5 s', '', now())";
    sqlx::query(open).execute(&pool).await.unwrap();
    assert_eq!(reserve(&pool, 3, None, (0, 0)).await, -1, "back to the desk, which holds it");
}

#[tokio::test]
async fn a_place_that_was_waited_for_is_given_back_where_something_is_held_by_then() {
    let pool = ground().await;
    limit(&pool, "input_tokens_per_minute, concurrency", "60000, 1").await;
    assert_eq!(reserve(&pool, 1, None, (1_000, 0)).await, 0);
    let park = "insert into jobs.hold (tenant_id, source, scope, value, until, reason, since)
                values (1, 'parked', 'model', 'p:m', clock_timestamp() + interval '5 s', '', now())";
    sqlx::query(park).execute(&pool).await.unwrap();
    assert_eq!(reserve(&pool, 1, None, (1_000, 0)).await, -1);
    sqlx::query("delete from jobs.hold").execute(&pool).await.unwrap();
    let wait = reserve(&pool, 2, None, (1_000, 0)).await;
    assert!((0..=100).contains(&wait), "neither place nor tokens are used: {wait}");
}

#[tokio::test]
async fn a_question_that_is_being_asked_is_not_asked_again_meanwhile() {
    let pool = ground().await;
    assert_eq!(reserve(&pool, 1, Some("same"), (0, 0)).await, 0);
    assert!(reserve(&pool, 2, Some("same"), (0, 0)).await < 0);
    assert_eq!(reserve(&pool, 3, Some("another"), (0, 0)).await, 0);
    settle(&pool, 1, (0, 0)).await;
    assert_eq!(reserve(&pool, 2, Some("same"), (0, 0)).await, 0);
}

/// Many at once ask for few places: there are never more than there may be.
#[tokio::test(flavor = "multi_thread")]
async fn places_are_counted_right_however_many_ask_at_once() {
    let pool = ground().await;
    limit(&pool, "concurrency", "7").await;
    let asked = (1..=60_u128).map(|dispatch| {
        let pool = pool.clone();
        async move { reserve(&pool, dispatch, None, (0, 0)).await }
    });
    let given = futures_util::future::join_all(asked).await.into_iter().filter(|wait| *wait >= 0).count();
    assert_eq!(given, 7);
}
