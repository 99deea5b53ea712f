//! Faults, for real: processes are killed with `kill -9` at random moments of a run, and nothing is lost or doubled.
//!
//! `PCS_CHAOS_SECONDS` says how long the killing goes on (10 in the short form that `make test` runs), and
//! `PCS_CHAOS_SEED` repeats an order of kills.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is its failure")]

mod cluster;
mod es_chaos;

use std::time::Duration;

use pcs_tests::eventually;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Victim};

/// Executions of the run that is tormented.
const EXECUTIONS: u64 = 2_000;

fn seconds() -> u64 {
    std::env::var("PCS_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10)
}

fn seed() -> u64 {
    let given = std::env::var("PCS_CHAOS_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

/// A small generator (xorshift64): the order of kills must be repeatable from its seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn request(card: &str) -> Value {
    json!({
        "card_id": card,
        "models": [
            { "id": "scripted:steady", "script": { "latency_ms": 100 } },
            { "id": "scripted:flaky", "script": { "latency_ms": 60, "errors_per_mille": 100 } },
        ],
        "repeats": 10,
        "assertions": [{ "type": "contains", "value": "{{expected_output}}" }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn random_kills_lose_nothing_and_double_nothing() {
    let seed = seed();
    println!("PCS_CHAOS_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let mut cluster = Cluster::start().await;
    let card = cluster.card(100).await;
    let run = cluster.command("/runs", &request(&card)).await["id"].as_str().expect("an id").to_owned();
    let until = tokio::time::Instant::now() + Duration::from_secs(seconds());
    let mut kills = 0;
    while tokio::time::Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(200 + dice.roll(800))).await;
        let victim = Victim::ALL[usize::try_from(dice.roll(Victim::ALL.len() as u64)).unwrap_or(0)];
        let found = cluster.get(&format!("/runs/{run}")).await;
        let done = found.map_or(serde_json::Value::Null, |run| run["totals"]["executions"].clone());
        println!("kill -9 {victim:?} after {done} results");
        cluster.kill_and_restart(victim).await;
        kills += 1;
    }
    println!("{kills} kills");
    cluster.assert_whole(&run, EXECUTIONS).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_broker_costs_only_time() {
    let mut cluster = Cluster::start().await;
    let card = cluster.card(100).await;
    let run = cluster.command("/runs", &request(&card)).await["id"].as_str().expect("an id").to_owned();
    eventually("the run is on its way", || async {
        let done = cluster.get(&format!("/runs/{run}")).await?["totals"]["executions"].as_u64();
        (done > Some(100)).then_some(())
    })
    .await;
    cluster.wipe_broker().await;
    cluster.assert_whole(&run, EXECUTIONS).await;
    cluster.stop().await;
}
