//! Reads of the past: as of a position, everything is answered as it was answered when that was the newest position.

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::Timestamp;
use pcs_domain::ids::{CommandId, TenantId};
use pcs_store::{Append, CommandContext, Expected, Store};
use pcs_tests::database::TestDatabase;
use pcs_tests::eventually;
use pcs_tests::system::{Answer, TestSystem};
use serde_json::{Value, json};
use uuid::Uuid;

/// Changes of the random history; every answer is asked for again as of each of their positions.
const STEPS: usize = 20;

/// A generator of its own, so that a history can be had again by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// Changes of cards and runs, one after the other.
struct History<'s> {
    system: &'s TestSystem,
    chance: Chance,
    cards: Vec<String>,
    runs: Vec<String>,
}

impl History<'_> {
    async fn step(&mut self, nth: usize) {
        if self.cards.is_empty() || self.chance.below(6) == 0 {
            let body = json!({ "title": format!("card {nth}"), "prompt": "Say {{q}}", "tags": ["x"],
                               "metadata": { "n": 1e2, "z": nth, "a": [0.1, null] } });
            self.cards.push(self.system.post("/cards", &body).await.expect(201).id());
            return;
        }
        let card = self.cards[self.chance.below(self.cards.len())].clone();
        let answer = match self.chance.below(9) {
            0 | 1 => {
                // Sorted by their questions, and each asked once: an import refuses doubles.
                let questions: BTreeSet<_> = (0..=self.chance.below(3)).map(|_| self.chance.below(9)).collect();
                let case = |n: usize| json!({ "input": { "q": n }, "expected_output": n.to_string() });
                let cases: Vec<Value> = questions.into_iter().map(case).collect();
                let body = json!({ "cases": cases, "on_duplicate": "change" });
                self.system.post(&format!("/cards/{card}/cases"), &body).await
            }
            2 => self.on_a_case(&card, nth).await,
            3 => self.revise(&card, json!({ "prompt": format!("{nth}: {{{{q}}}}"), "message": "more" })).await,
            4 => self.revise(&card, json!({ "title": format!("renamed {nth}"), "tags": ["y", "x"] })).await,
            5 => self.system.post(&format!("/cards/{card}/publish"), &json!({})).await,
            6 => self.system.post(&format!("/cards/{card}/archive"), &json!({ "reason": "old" })).await,
            7 => self.system.post(&format!("/cards/{card}/restore"), &json!({})).await,
            _ => return self.run(&card).await,
        };
        assert!(answer.status.as_u16() < 500, "{:#}", answer.body);
    }

    async fn on_a_case(&mut self, card: &str, nth: usize) -> Answer {
        let cases = self.system.read(&format!("/cards/{card}/cases")).await.expect(200).body;
        let cases = cases["items"].as_array().unwrap().clone();
        if cases.is_empty() {
            return self.system.get("/cards").await;
        }
        let case = &cases[self.chance.below(cases.len())]["id"];
        let path = format!("/api/v1/cards/{card}/cases/{}", case.as_str().unwrap());
        let request = match self.chance.below(2) {
            0 => self.system.request(reqwest::Method::DELETE, &path),
            _ => self.system.request(reqwest::Method::PATCH, &path).json(&json!({ "name": format!("name {nth}") })),
        };
        TestSystem::send(request).await
    }

    async fn revise(&self, card: &str, body: Value) -> Answer {
        let seen = self.system.read(&format!("/cards/{card}")).await.expect(200);
        let request = self.system.request(reqwest::Method::PATCH, &format!("/api/v1/cards/{card}"));
        TestSystem::send(request.header("if-match", seen.header("etag")).json(&body)).await
    }

    /// A run to its end: its executions are the positions between which nothing else is recorded.
    async fn run(&mut self, card: &str) {
        let fixed = json!({ "id": "scripted:fixed", "label": "fixed", "script": { "answer": "4" } });
        let models = json!([{ "id": "echo" }, fixed]);
        let asked = self.system.post("/runs", &json!({ "card_id": card, "models": models, "repeats": 2 })).await;
        if asked.status == 202 {
            let run = asked.id();
            self.runs.push(run.clone());
            self.system.ended(&run).await;
        }
    }

    /// Everything that can be read now.
    fn paths(&self) -> Vec<String> {
        let mut paths = ["/cards?", "/cards?q=renamed&", "/cards?archived=true&", "/cards?limit=2&", "/cards?tag=y&"]
            .map(str::to_owned)
            .to_vec();
        paths.extend(["/runs?", "/runs?status=completed&", "/runs?limit=1&"].map(str::to_owned));
        for card in &self.cards {
            paths.extend(
                ["?", "/versions?", "/versions/1?", "/cases?", "/cases?limit=2&", "/diff?from=1&to=2&"]
                    .map(|of| format!("/cards/{card}{of}")),
            );
        }
        for run in &self.runs {
            paths.extend(["?", "/results?", "/results?limit=3&success=false&"].map(|of| format!("/runs/{run}{of}")));
        }
        paths
    }
}

/// Waits until every read model has come to the head.
async fn settled(store: &Store) -> i64 {
    eventually("the read models come to the head", || async {
        let head = store.head().await.unwrap();
        for projection in pcs_projections::all() {
            if pcs_projections::position(store.pool(), projection.name()).await.unwrap() < head {
                return None;
            }
        }
        Some(head)
    })
    .await
}

/// What an answer says, without the id that every request has of its own.
fn said(answer: Answer) -> (u16, String, Value) {
    let etag = answer.header("etag").to_owned();
    let mut body = answer.body;
    if let Some(problem) = body.as_object_mut() {
        problem.remove("request_id");
    }
    (answer.status.as_u16(), etag, body)
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_as_of_a_position_every_answer_is_the_one_that_was_given_then() {
    let system = TestSystem::start().await;
    let mut history = History { system: &system, chance: Chance(0x9e37_79b9), cards: Vec::new(), runs: Vec::new() };
    let mut then: BTreeMap<i64, BTreeMap<String, (u16, String, Value)>> = BTreeMap::new();
    for nth in 0..STEPS {
        history.step(nth).await;
        let head = settled(&system.store).await;
        let mut answers = BTreeMap::new();
        for path in history.paths() {
            let answer = system.get(path.trim_end_matches(['?', '&'])).await;
            answers.insert(path, said(answer));
        }
        assert_eq!(system.store.head().await.unwrap(), head, "nothing happens while everything is read");
        then.insert(head, answers);
    }
    assert!(!history.runs.is_empty() && then.len() > STEPS / 2, "the history is not worth its name");
    let everything = history.paths();
    for (position, answers) in &then {
        for path in &everything {
            let now = system.get(&format!("{path}as_of={position}")).await;
            assert!(now.status != 200 || now.header("pcs-position") == position.to_string());
            let (status, etag, body) = said(now);
            match answers.get(path) {
                Some(expected) => assert_eq!((status, etag, body), *expected, "{path}as_of={position}"),
                None => assert_eq!(status, 404, "{path}as_of={position} was not there yet: {body:#}"),
            }
        }
    }
    executions_as_of(&system, &history.runs[0]).await;
    system.stop().await;
}

/// An execution is not there before its result, and has its whole story from then on.
async fn executions_as_of(system: &TestSystem, run: &str) {
    for result in system.results(run).await {
        let path = format!("/executions/{}", result["execution_id"].as_str().unwrap());
        let story = system.get(&path).await.expect(200).body;
        let last = story["events"].as_array().unwrap().last().unwrap()["position"].as_i64().unwrap();
        let before = system.get(&format!("{path}?as_of={}", last - 1)).await;
        assert_eq!((before.status.as_u16(), before.code()), (404, "execution_not_found"));
        let mut at = system.get(&format!("{path}?as_of={last}")).await.expect(200).body;
        // The case may have another name since.
        at["case_name"] = story["case_name"].clone();
        assert_eq!(at, story);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_between_two_results_a_run_is_what_had_been_recorded() {
    let system = TestSystem::start().await;
    let cases: Vec<_> = (0..6).map(|n| json!({ "input": { "q": n }, "expected_output": n.to_string() })).collect();
    let card = system.card("sums", "Say {{q}}", json!(cases)).await;
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "repeats": 2 })).await;
    system.ended(&run).await;
    let head = settled(&system.store).await;
    let mut executions = 0;
    let requested = system.store.read_stream(TenantId::DEFAULT, run.parse().unwrap(), 0, 1).await.unwrap()[0].position;
    for position in 0..=head {
        let answer = system.get(&format!("/runs/{run}?as_of={position}")).await;
        if position < requested {
            assert_eq!((answer.status.as_u16(), answer.code()), (404, "run_not_found"));
            continue;
        }
        let body = answer.expect(200).body;
        let results = system.get(&format!("/runs/{run}/results?limit=100&as_of={position}")).await.expect(200).body;
        let results = results["items"].as_array().unwrap().clone();
        assert_eq!(body["totals"]["executions"], results.len());
        assert_eq!(body["status"] == "completed", position == head, "its end is the newest event");
        let passed = results.iter().filter(|result| result["success"] == true).count();
        assert_eq!(body["totals"]["passed"], passed);
        assert!(results.len() >= executions, "results never go away");
        executions = results.len();
    }
    assert_eq!(executions, 12);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r8_what_can_not_be_answered_is_refused_by_name() {
    let system = TestSystem::start().await;
    let created = system.post("/cards", &json!({ "title": "one", "prompt": "{{q}}" })).await.expect(201);
    let card = created.id();
    for (query, says) in [
        ("as_of=99999", "is in the future"),
        ("as_of=9223372036854775808", "is in the future"),
        ("as_of=1&min_position=1", "min_position"),
        ("as_of=yesterday", "a position of the log"),
        ("as_of=-1", "a position of the log"),
    ] {
        for path in ["/cards", "/runs", &format!("/cards/{card}")] {
            let answer = system.get(&format!("{path}?{query}")).await.expect(422);
            assert_eq!(answer.code(), "invalid_query", "{path}?{query}");
            assert_eq!(answer.body["errors"][0]["field"], "as_of", "{path}?{query}");
            assert!(answer.body["errors"][0]["message"].as_str().unwrap().contains(says), "{:#}", answer.body);
        }
    }
    let before = system.get(&format!("/cards/{card}?as_of=0")).await;
    assert_eq!((before.status.as_u16(), before.code()), (404, "card_not_found"));
    let none = system.get("/cards?as_of=0").await.expect(200);
    assert_eq!((none.header("pcs-position"), &none.body), ("0", &json!({ "items": [], "next_cursor": null })));
    // A time before the first event is a defined answer too; one in the future is now.
    let first = system.get("/cards?as_of=1970-01-01T00:00:00Z").await.expect(200);
    assert_eq!((first.header("pcs-position"), first.body["items"].as_array().unwrap().len()), ("0", 0));
    let future = system.get("/cards?as_of=2999-01-01T00:00:00%2B01:00").await.expect(200);
    assert_eq!(future.header("pcs-position"), created.header("pcs-position"));
    assert_eq!(future.body["items"][0]["id"], card.as_str());
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn r9_the_position_at_a_time_is_the_greatest_that_was_recorded_by_then() {
    let store = TestDatabase::new().await.store().await;
    let time = |text: &str| serde_json::from_value::<Timestamp>(json!(text)).unwrap();
    assert_eq!(store.position_at(time("2999-01-01T00:00:00Z")).await.unwrap(), 0, "an empty log");
    for event in pcs_tests::samples::all().into_iter().cycle().take(60) {
        let pcs_domain::DomainEvent::PromptCard(event) = event else { continue };
        let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
        store.write(&mut append, Uuid::new_v4(), Expected::NoStream, &[event.clone(), event]).unwrap();
        store.append(append).await.unwrap();
    }
    let log: Vec<(i64, Timestamp)> =
        store.read_after(0, 1_000).await.unwrap().iter().map(|event| (event.position, event.recorded_at)).collect();
    let head = store.head().await.unwrap();
    assert_eq!(store.position_at(time("1970-01-01T00:00:00Z")).await.unwrap(), 0);
    assert_eq!(store.position_at(time("2999-01-01T00:00:00Z")).await.unwrap(), head);
    for (position, at) in &log {
        let greatest = log.iter().filter(|(_, other)| other <= at).map(|(position, _)| *position).max().unwrap();
        assert_eq!(store.position_at(*at).await.unwrap(), greatest);
        let just_before = Timestamp::new(at.get() - std::time::Duration::from_micros(1));
        let earlier = log.iter().filter(|(_, other)| *other < *at).map(|(position, _)| *position).max();
        assert_eq!(store.position_at(just_before).await.unwrap(), earlier.unwrap_or(0), "before position {position}");
    }
}
