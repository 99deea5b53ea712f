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
            { "id": "scripted:flaky", "script": { "latency_ms": 60, "errors_per_mille": 100,
                                                  "rate_limits_per_mille": 20, "retry_after_ms": 200 } },
        ],
        "repeats": 10,
        "assertions": [{ "type": "contains", "value": "{{expected_output}}" }],
    })
}

/// What happens to the system.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(Victim),
    Freeze(Victim, Duration),
    Wipe,
}

impl Fault {
    /// Mostly kills; now and then a process is frozen, beyond the lease of 15 s where there is time for it, or the broker
    /// loses its disk.
    fn drawn(dice: &mut Dice, patient: bool) -> Self {
        let victim = Victim::ALL[usize::try_from(dice.roll(Victim::ALL.len() as u64)).unwrap_or(0)];
        match dice.roll(10) {
            0 | 1 => {
                let millis = if patient { 500 + dice.roll(19_500) } else { 200 + dice.roll(1_500) };
                Self::Freeze(victim, Duration::from_millis(millis))
            }
            2 if dice.roll(4) == 0 => Self::Wipe,
            _ => Self::Kill(victim),
        }
    }

    async fn strike(self, cluster: &mut Cluster) {
        match self {
            Self::Kill(victim) => cluster.kill_and_restart(victim).await,
            Self::Freeze(victim, time) => cluster.freeze(victim, time).await,
            Self::Wipe => cluster.wipe_broker().await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j61_random_faults_lose_nothing_double_nothing_and_leak_nothing() {
    let (seed, time) = (seed(), Duration::from_secs(seconds()));
    println!("PCS_CHAOS_SEED={seed} PCS_CHAOS_SECONDS={}", time.as_secs());
    let mut dice = Dice(seed | 1);
    let mut cluster = Cluster::start().await;
    let card = cluster.card(100).await;
    let limit = json!({ "concurrency": 12 });
    cluster.put("/limits/scripted:flaky", &limit).await;
    let mut runs = Vec::new();
    let mut faults = std::collections::BTreeMap::<String, u32>::new();
    let began = tokio::time::Instant::now();
    while began.elapsed() < time {
        // There is always a run on its way.
        let is_over = match runs.last() {
            None => true,
            Some(run) => cluster.get(&format!("/runs/{run}")).await.is_some_and(|run| run["status"] != "running"),
        };
        if is_over {
            let run = cluster.command("/runs", &request(&card)).await;
            runs.push(run["id"].as_str().expect("an id").to_owned());
        }
        tokio::time::sleep(Duration::from_millis(200 + dice.roll(800))).await;
        let fault = Fault::drawn(&mut dice, time > Duration::from_secs(60));
        println!("{:>6.1} s  {fault:?}", began.elapsed().as_secs_f64());
        fault.strike(&mut cluster).await;
        let name = match fault {
            Fault::Kill(victim) => format!("kill {victim:?}"),
            Fault::Freeze(victim, _) => format!("freeze {victim:?}"),
            Fault::Wipe => "wipe the broker".to_owned(),
        };
        *faults.entry(name).or_default() += 1;
    }
    for run in &runs {
        cluster.assert_whole(run, EXECUTIONS).await;
    }
    cluster.assert_empty().await;
    let all: u32 = faults.values().sum();
    println!("\n{all} faults: {faults:#?}");
    println!("{} runs of {EXECUTIONS} executions: each has one result, and nothing is left on the desk", runs.len());
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
