//! What providers allow, across two workers that are processes: seen by the provider that is called.

use std::time::{Duration, Instant};

use pcs_tests::eventually;
use pcs_tests::model_server::{Call, Manner, ModelServer};
use pcs_tests::process::Process;
use pcs_tests::system::TestSystem;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How much later than its time a call may come on a busy machine: those that come late come beside later ones.
const LATE_MAX: Duration = Duration::from_secs(1);
/// From the first call until the first answers have said how many tokens they took: places are given 2 s ahead.
const WARM_UP: Duration = Duration::from_secs(2);

/// A system with two workers of many slots each, and the provider that they call.
struct Ground {
    system: TestSystem,
    provider: ModelServer,
    _workers: [Process; 2],
    _folder: TempDir,
}

impl Ground {
    /// Calls take so long, and so many tokens of prompt and answer.
    async fn open(latency_ms: u64, tokens: (u64, u64)) -> Self {
        let system = TestSystem::start_without_worker().await;
        let provider = ModelServer::start(Duration::from_millis(latency_ms), tokens).await;
        let folder = tempfile::tempdir().expect("a folder");
        let environment = [("NATS_URL", system.broker.worker_url()), ("OPENAI_API_KEY", String::new())];
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        let arguments = ["work", "--slots", "48", "--drain-seconds", "1"];
        let workers = [(); 2].map(|()| Process::start(&arguments, &environment, &folder.path().join("log")));
        eventually("both workers are there", || async {
            let fleet = system.get("/fleet").await.expect(200).body;
            let of_tests = |w: &&serde_json::Value| w["kind"] == "test_execution";
            (fleet["workers"].as_array().map(|all| all.iter().filter(of_tests).count()) == Some(2)).then_some(())
        })
        .await;
        Self { system, provider, _workers: workers, _folder: folder }
    }

    async fn limit(&self, limits: &Value) {
        let put = self.system.request(Method::PUT, "/api/v1/limits/openai").json(limits);
        drop(TestSystem::send(put).await.expect(200));
        let head = self.system.store.head().await.expect("the log has an end");
        drop(self.system.get(&format!("/queues?min_position={head}")).await.expect(200));
    }

    /// A card with so many cases, whose prompts have 60 bytes.
    async fn card(&self, cases: usize) -> String {
        let case = |i: usize| json!({ "input": { "q": format!("{i:060}") }, "expected_output": format!("{i:060}") });
        self.system.card("Limited", "{{q}}", (0..cases).map(case).collect()).await
    }

    /// A run of so many cases.
    async fn run(&self, cases: usize, model: Value) -> String {
        let card = self.card(cases).await;
        self.system.run(&json!({ "card_id": card, "models": [model] })).await
    }

    /// Waits for the end of a run, all of which has passed.
    async fn passed(&self, run: &str, executions: usize) {
        let ended = self.system.ended(run).await;
        assert_eq!(ended["totals"]["passed"], executions, "{ended:#}");
    }

    /// Who did how much.
    async fn shares(&self) -> Vec<i64> {
        sqlx::query_scalar(
            "select count(*) from es.event e join es.event_type t using (type_id) where t.name = 'execution.finished'
             group by e.payload::jsonb ->> 'worker'",
        )
        .fetch_all(self.system.store.pool())
        .await
        .expect("the log can be read")
    }

    /// The law of a rate: no span of time has more calls than it allows, and more than nine tenths of it are used.
    async fn kept_and_used(&self, calls_per_second: f64) {
        let calls = self.provider.calls();
        for (earlier, first) in calls.iter().enumerate() {
            for (later, last) in calls.iter().enumerate().skip(earlier) {
                let span = last.at.duration_since(first.at) + LATE_MAX;
                let allowed = span.as_secs_f64() * calls_per_second + 1.0;
                let made = later - earlier + 1;
                assert!((made as f64) <= allowed, "{made} calls in {span:?}, and {allowed:.1} are allowed");
            }
        }
        let begun = calls[0].at + WARM_UP;
        let end = begun + Duration::from_secs(5);
        let made = calls.iter().filter(|call| (begun..end).contains(&call.at)).count();
        let used = made as f64 / (5.0 * calls_per_second);
        assert!(used > 0.9, "{made} calls within 5 s: {used:.2} of the limit");
        let shares = self.shares().await;
        assert!(shares.len() == 2 && shares.iter().all(|share| *share > 2), "both workers made them: {shares:?}");
    }

    async fn close(self) {
        self.system.stop().await;
    }
}

fn between(calls: &[Call], from: Instant, until: Instant) -> usize {
    calls.iter().filter(|call| call.at > from && call.at < until).count()
}

#[tokio::test]
async fn j44_a_limit_of_requests_is_kept_and_used_by_two_workers() {
    let ground = Ground::open(50, (15, 5)).await;
    // 20 a second.
    ground.limit(&json!({ "requests_per_minute": 1_200 })).await;
    let run = ground.run(180, ground.provider.model("m")).await;
    ground.passed(&run, 180).await;
    ground.kept_and_used(20.0).await;
    ground.close().await;
}

#[tokio::test]
async fn j44_a_limit_of_tokens_of_prompts_is_kept_and_used_by_two_workers() {
    let ground = Ground::open(50, (15, 5)).await;
    // 20 prompts of 15 tokens a second; before they are asked, they are taken for 20 tokens.
    ground.limit(&json!({ "input_tokens_per_minute": 18_000 })).await;
    let run = ground.run(180, ground.provider.model("m")).await;
    ground.passed(&run, 180).await;
    ground.kept_and_used(20.0).await;
    ground.close().await;
}

#[tokio::test]
async fn j44_a_limit_of_tokens_of_answers_is_kept_and_used_by_two_workers() {
    let ground = Ground::open(50, (15, 100)).await;
    // 20 answers of 100 tokens a second; before they are there, they are taken for 133 tokens.
    ground.limit(&json!({ "output_tokens_per_minute": 120_000 })).await;
    let mut model = ground.provider.model("m");
    model["params"] = json!({ "max_tokens": 133 });
    let run = ground.run(180, model).await;
    ground.passed(&run, 180).await;
    ground.kept_and_used(20.0).await;
    ground.close().await;
}

#[tokio::test]
async fn j44_answers_of_unknown_length_use_a_small_limit_up() {
    let ground = Ground::open(50, (15, 150)).await;
    // 8 answers of 150 tokens in 3 s; before one is there, it is taken for more than two seconds of the limit.
    ground.limit(&json!({ "output_tokens_per_minute": 24_000 })).await;
    let run = ground.run(24, ground.provider.model("m")).await;
    ground.passed(&run, 24).await;
    ground.kept_and_used(8.0 / 3.0).await;
    ground.close().await;
}

#[tokio::test]
async fn j47_no_more_calls_than_a_limit_run_at_once_on_two_workers() {
    let ground = Ground::open(150, (15, 5)).await;
    ground.limit(&json!({ "concurrency": 3 })).await;
    let run = ground.run(45, ground.provider.model("m")).await;
    ground.passed(&run, 45).await;
    assert_eq!(ground.provider.most_at_once(), 3);
    assert_eq!(ground.shares().await.len(), 2, "both workers made calls");
    ground.close().await;
}

#[tokio::test]
async fn j45_a_model_without_room_is_left_alone_by_all_workers() {
    let ground = Ground::open(20, (15, 5)).await;
    // Places are given up to two seconds ahead: those who have one when the answer comes do not use it.
    ground.limit(&json!({ "requests_per_minute": 1_200 })).await;
    ground.provider.behave(Manner::Full(Duration::from_secs(4)));
    let run = ground.run(60, ground.provider.model("m")).await;
    ground.passed(&run, 60).await;
    let calls = ground.provider.calls();
    let first = calls[0].at;
    let meanwhile = between(&calls, first + Duration::from_secs(1), first + Duration::from_millis(3_950));
    assert_eq!(meanwhile, 0, "calls of a model that was to be left alone for 4 s");
    assert!(ground.system.results(&run).await.iter().all(|result| result["attempt"] == 1), "no attempt was used up");
    ground.close().await;
}

#[tokio::test]
async fn a_provider_that_is_down_is_left_alone_until_one_call_finds_it_up_again() {
    let ground = Ground::open(20, (15, 5)).await;
    ground.provider.behave(Manner::Down);
    let run = ground.run(30, ground.provider.model("m")).await;
    let first = eventually("it is called", || async { ground.provider.calls().first().map(|call| call.at) }).await;
    let open = eventually("its circuit is open", || async {
        let shown = ground.system.get("/queues").await.expect(200).body;
        shown["holds"].as_array().into_iter().flatten().find(|hold| hold["source"] == "circuit").cloned()
    })
    .await;
    assert_eq!((open["scope"].clone(), open["value"].clone()), (json!("provider"), json!("openai")));
    let left = open["for_seconds"].as_f64().unwrap_or_default();
    assert!(left <= 5.0, "the first time it is open for 5 s, and not for {left}");
    ground.provider.behave(Manner::Answers);
    ground.passed(&run, 30).await;
    let calls = ground.provider.calls();
    let meanwhile = between(&calls, first + Duration::from_secs(1), first + Duration::from_millis(4_900));
    assert_eq!(meanwhile, 0, "calls while the circuit was open");
    ground.close().await;
}

#[tokio::test]
async fn the_same_question_of_two_runs_at_once_is_asked_once() {
    let ground = Ground::open(300, (15, 5)).await;
    let card = ground.card(20).await;
    let request = json!({ "card_id": card, "models": [ground.provider.model("m")], "cache": true });
    let (one, other) = tokio::join!(ground.system.run(&request), ground.system.run(&request));
    ground.passed(&one, 20).await;
    ground.passed(&other, 20).await;
    assert_eq!(ground.provider.calls().len(), 20);
    ground.close().await;
}
