//! Workers as processes of their own: killed, frozen, stopped in the middle of their work.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pcs_tests::eventually;
use pcs_tests::process::Process;
use pcs_tests::system::TestSystem;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A system whose workers are processes.
struct Yard {
    system: TestSystem,
    folder: TempDir,
}

impl Yard {
    async fn open() -> Self {
        let system = TestSystem::start_without_worker().await;
        Self { system, folder: tempfile::tempdir().expect("a folder") }
    }

    fn worker(&self, slots: u32, drain_seconds: u32) -> Process {
        self.worker_with(slots, drain_seconds, &[])
    }

    fn worker_with(&self, slots: u32, drain_seconds: u32, more: &[&str]) -> Process {
        let (slots, drain) = (slots.to_string(), drain_seconds.to_string());
        let arguments = [&["work", "--slots", &slots, "--drain-seconds", &drain], more].concat();
        Process::start(&arguments, &[("NATS_URL", &self.system.broker.worker_url())], &self.folder.path().join("log"))
    }

    /// A run of so many executions that take so long.
    async fn run(&self, executions: usize, latency_ms: u64) -> String {
        let cases: Value = (0..executions)
            .map(|i| json!({ "input": { "q": i.to_string() }, "expected_output": i.to_string() }))
            .collect();
        let card = self.system.card("Work", "{{q}}", cases).await;
        let model = json!({ "id": "scripted:m", "script": { "latency_ms": latency_ms } });
        self.system.run(&json!({ "card_id": card, "models": [model] })).await
    }

    /// Waits until a worker of this number of slots has so many jobs in hand.
    async fn in_flight(&self, slots: i64, jobs: i64) {
        eventually("the jobs are begun", || async {
            let fleet = self.system.get("/fleet").await.expect(200).body;
            let workers = fleet["workers"].as_array().cloned().unwrap_or_default();
            workers.iter().any(|w| w["slots"] == slots && w["in_flight"] == jobs).then_some(())
        })
        .await;
    }

    async fn counter(&self, name: &str) -> i64 {
        let head = self.system.store.head().await.expect("the log has an end");
        let shown = self.system.get(&format!("/queues?min_position={head}")).await.expect(200).body;
        shown["counters"][name].as_i64().unwrap_or_default()
    }

    /// Who recorded results, and how often.
    async fn recorded_by(&self, run: &str) -> Vec<(String, i64)> {
        sqlx::query_as(
            "select e.payload::jsonb ->> 'worker', count(*) from es.event e join es.event_type t using (type_id)
             where t.name in ('execution.finished', 'execution.dead_lettered') and e.payload::jsonb ->> 'run_id' = $1
             group by 1",
        )
        .bind(run)
        .fetch_all(self.system.store.pool())
        .await
        .expect("the log can be read")
    }

    async fn close(self) {
        self.system.stop().await;
    }
}

/// Waits for the end of a process that was told to stop; not by its wait, which would stop the system in this process.
async fn stopped(process: &mut Process) {
    let deadline = Instant::now() + Duration::from_secs(40);
    while process.is_running() {
        assert!(Instant::now() < deadline, "it does not stop");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(process.wait().success(), "it ends well");
}

#[tokio::test]
async fn j18_what_a_killed_worker_had_is_done_by_another_one() {
    let yard = Yard::open().await;
    let mut first = yard.worker(3, 5);
    let run = yard.run(6, 1_500).await;
    yard.in_flight(3, 3).await;
    first.kill();
    let killed = Instant::now();
    let _second = yard.worker(8, 5);
    let ended = yard.system.ended(&run).await;
    assert_eq!(ended["totals"]["passed"], 6);
    // The lease of 15 s, and the work.
    assert!(killed.elapsed() < Duration::from_secs(40), "it took {:?}", killed.elapsed());
    assert_eq!(yard.recorded_by(&run).await.iter().map(|(_, count)| count).sum::<i64>(), 6);
    yard.close().await;
}

#[tokio::test]
async fn j19_a_frozen_workers_result_is_refused_and_counted() {
    let yard = Yard::open().await;
    let first = yard.worker(1, 5);
    // Half of the run is held back: the run is not over when the first worker comes back, or it would drop what it has.
    let held = json!({ "model": "scripted:held", "reason": "later" });
    drop(yard.system.post("/queues/pause", &held).await.expect(200));
    let card = yard.system.card("Work", "{{q}}", json!([{ "input": { "q": "1" }, "expected_output": "1" }])).await;
    let slow = json!({ "id": "scripted:m", "script": { "latency_ms": 2_000 } });
    let models = json!([slow, { "id": "scripted:held" }]);
    let run = yard.system.run(&json!({ "card_id": card, "models": models })).await;
    yard.in_flight(1, 1).await;
    first.signal(Signal::SIGSTOP);
    let _second = yard.worker(2, 5);
    eventually("another worker has done it", || async {
        let run = yard.system.read(&format!("/runs/{run}")).await.expect(200).body;
        (run["totals"]["passed"] == 1).then_some(())
    })
    .await;
    assert_eq!(yard.counter("results_refused").await, 0);
    first.signal(Signal::SIGCONT);
    eventually("what it brings is refused", || async { (yard.counter("results_refused").await == 1).then_some(()) })
        .await;
    assert_eq!(yard.recorded_by(&run).await.iter().map(|(_, results)| results).sum::<i64>(), 1, "one result stands");
    drop(yard.system.post("/queues/resume", &json!({ "model": "scripted:held" })).await.expect(200));
    assert_eq!(yard.system.ended(&run).await["totals"]["passed"], 2);
    yard.close().await;
}

#[tokio::test]
async fn j21_a_job_over_which_three_workers_are_lost_is_given_up() {
    let yard = Yard::open().await;
    // Longer than the test: what ends it is its class.
    let run = yard.run(1, 300_000).await;
    for slots in 1..=3 {
        let mut worker = yard.worker(slots, 5);
        yard.in_flight(i64::from(slots), 1).await;
        // A worker that has it has asked for it; then it is lost.
        tokio::time::sleep(Duration::from_secs(1)).await;
        worker.kill();
    }
    let _last = yard.worker(4, 5);
    let ended = yard.system.ended(&run).await;
    assert_eq!(ended["totals"]["errors"], 1, "{ended:#}");
    let results = yard.system.results(&run).await;
    assert_eq!(results[0]["error"]["class"], "worker_lost");
    yard.close().await;
}

#[tokio::test]
async fn j53_a_worker_that_is_stopped_finishes_what_it_has_and_takes_no_more() {
    let yard = Yard::open().await;
    let mut first = yard.worker(3, 20);
    let run = yard.run(12, 1_500).await;
    yard.in_flight(3, 3).await;
    first.signal(Signal::SIGTERM);
    let _second = yard.worker(8, 5);
    stopped(&mut first).await;
    assert_eq!(yard.system.ended(&run).await["totals"]["passed"], 12);
    assert_eq!(yard.recorded_by(&run).await.iter().map(|(_, count)| count).sum::<i64>(), 12);
    assert_eq!(yard.counter("results_refused").await, 0, "nobody took away what it had");
    yard.close().await;
}

#[tokio::test]
async fn j54_what_a_stopped_worker_can_not_finish_is_handed_back_at_once_and_costs_nothing() {
    let yard = Yard::open().await;
    let mut first = yard.worker(2, 1);
    let run = yard.run(2, 4_000).await;
    yard.in_flight(2, 2).await;
    let _second = yard.worker(8, 5);
    first.signal(Signal::SIGTERM);
    stopped(&mut first).await;
    let handed_back = Instant::now();
    yard.in_flight(8, 2).await;
    // Heartbeats, by which the test sees it, come every 2 s; without the hand-back it would be the lease of 15 s.
    assert!(handed_back.elapsed() < Duration::from_secs(9), "begun after {:?}", handed_back.elapsed());
    assert_eq!(yard.system.ended(&run).await["totals"]["passed"], 2);
    assert!(yard.system.results(&run).await.iter().all(|result| result["attempt"] == 1));
    yard.close().await;
}

#[tokio::test]
async fn j46_the_place_of_a_worker_that_died_with_it_comes_back() {
    let yard = Yard::open().await;
    let system = &yard.system;
    let put = system.request(reqwest::Method::PUT, "/api/v1/limits/scripted:m").json(&json!({ "concurrency": 1 }));
    drop(TestSystem::send(put).await.expect(200));
    let mut first = yard.worker(1, 5);
    let run = yard.run(3, 1_000).await;
    eventually("it has the one place", || async {
        let limits = system.get("/limits").await.expect(200).body;
        (limits["items"][0]["in_flight"] == 1).then_some(())
    })
    .await;
    first.kill();
    let _second = yard.worker(2, 5);
    let killed = Instant::now();
    assert_eq!(system.ended(&run).await["totals"]["passed"], 3);
    assert!(killed.elapsed() < Duration::from_secs(40), "it took {:?}", killed.elapsed());
    yard.close().await;
}

#[tokio::test]
async fn a_worker_shows_how_long_its_jobs_took() {
    let yard = Yard::open().await;
    let address = format!("127.0.0.1:{}", pcs_tests::free_port());
    let _worker = yard.worker_with(4, 5, &["--metrics-listen", &address]);
    let run = yard.run(12, 5).await;
    assert_eq!(yard.system.ended(&run).await["totals"]["passed"], 12);
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    // A job is measured after its report, and the run ends with its report.
    eventually("all jobs are measured", || async {
        let answer = client.get(format!("http://{address}/metrics")).send().await.ok()?;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.ok()?;
        let count = text.lines().find_map(|line| {
            line.strip_prefix("job_duration_seconds_count{kind=\"test_execution\"} ")?.parse::<u32>().ok()
        });
        let in_hand = text.lines().any(|line| line == "job_in_hand{kind=\"test_execution\"} 0");
        (count? >= 12 && in_hand).then_some(())
    })
    .await;
    yard.close().await;
}
