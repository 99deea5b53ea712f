//! Traces: from the request over the ticket to the call of the model, each from a process of its own.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use pcs_tests::collector::{Collected, Collector};
use pcs_tests::database::MASTER_KEYS;
use pcs_tests::process::Process;
use pcs_tests::system::TestSystem;
use pcs_tests::{eventually, free_port};
use serde_json::{Value, json};

/// The trace of whoever sends the request, and their span in it.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// Stands in prompts, cases and answers, and in no span.
const CONTENT: &str = "not-for-the-collector";
/// Longest time for a process to end that can't export its last spans, the end of everything else included.
const STOP_MAX: Duration = Duration::from_secs(20);

fn cases(executions: usize) -> Value {
    (0..executions).map(|i| json!({ "input": { "q": format!("{CONTENT} {i}") } })).collect()
}

async fn stopped(process: &mut Process) {
    process.signal(Signal::SIGTERM);
    eventually("the process ends", || {
        let ended = !process.is_running();
        async move { ended.then_some(()) }
    })
    .await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The spans of the trace with this name, of which there have to be so many; each must be of this service and kind.
fn named(spans: &[Collected], name: &str, len: usize, (service, kind): (&str, SpanKind)) -> Vec<Collected> {
    let found: Vec<Collected> = spans.iter().filter(|collected| collected.span.name == name).cloned().collect();
    assert_eq!(found.len(), len, "{name}: {found:#?}");
    for Collected { service: by, span } in &found {
        assert_eq!((by.as_str(), span.kind(), hex(&span.trace_id).as_str()), (service, kind, TRACE), "{name}");
    }
    found
}

fn of_parent<'a>(spans: &'a [Collected], parent: &Collected) -> &'a Collected {
    let mut children = spans.iter().filter(|child| child.span.parent_span_id == parent.span.span_id);
    let child = children.next().expect("it has a child");
    assert!(children.next().is_none(), "it has one child of this name");
    child
}

/// Requests a run at a server, as part of a trace; answers its id.
async fn request(system: &TestSystem, server: &str, body: &Value) -> String {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    eventually("the server is alive", || async {
        client.get(format!("{server}/healthz")).send().await.ok().filter(|answer| answer.status() == 200).map(drop)
    })
    .await;
    let request = client.post(format!("{server}/api/v1/runs")).bearer_auth(&system.api_key).json(body);
    TestSystem::send(request.header("traceparent", format!("00-{TRACE}-{CALLER}-01"))).await.expect(202).id()
}

#[tokio::test]
async fn one_trace_leads_from_the_request_to_the_call_of_the_model() {
    let (system, collector) = (TestSystem::start_without_relay().await, Collector::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let start = |arguments: &[&str], more: &[(&str, &str)]| {
        let shared = [
            ("DATABASE_URL", system.database_url.as_str()),
            ("NATS_URL", system.broker.url()),
            ("PCS_KEYS", MASTER_KEYS),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
            ("NO_PROXY", "127.0.0.1"),
        ];
        Process::start(arguments, &[&shared, more].concat(), &folder.path().join("log"))
    };
    let listen = format!("127.0.0.1:{}", free_port());
    let _server = start(&["serve", "--listen", &listen], &[]);
    let _relay = start(&["relay"], &[("OTEL_SERVICE_NAME", "our-relay")]);
    // The worker would export in an hour: its spans come because it ends.
    let worker_url = system.broker.worker_url();
    let mut worker = start(&["work"], &[("NATS_URL", &worker_url), ("OTEL_BSP_SCHEDULE_DELAY", "3600000")]);
    let card = system.card("Traced", &format!("{CONTENT} {{{{q}}}}"), cases(2)).await;
    let script = json!({ "answer": CONTENT, "latency_ms": 5 });
    let refusing = json!({ "answer": CONTENT, "refusals_per_mille": 1000 });
    let models = json!([{ "id": "scripted:fine", "script": script }, { "id": "scripted:bad", "script": refusing }]);
    let run = request(&system, &format!("http://{listen}"), &json!({ "card_id": card, "models": models })).await;
    assert_eq!(system.ended(&run).await["totals"]["executions"], 4);
    stopped(&mut worker).await;

    let spans = eventually("all spans come", || async {
        let spans = collector.spans();
        (spans.iter().filter(|collected| collected.span.name != "record result").count() >= 9
            && spans.iter().filter(|collected| collected.span.name == "record result").count() >= 4)
            .then_some(spans)
    })
    .await;
    let requests = named(&spans, "POST /api/v1/runs", 1, ("pcs-serve", SpanKind::Server));
    assert_eq!(hex(&requests[0].span.parent_span_id), CALLER);
    assert_eq!(requests[0].attribute("http.request.method"), "POST");
    assert_eq!(requests[0].attribute("http.route"), "/api/v1/runs");
    assert_eq!(requests[0].attribute("http.response.status_code"), "202");
    let jobs = named(&spans, "process test_execution", 4, ("pcs-work", SpanKind::Consumer));
    let mut calls = named(&spans, "chat fine", 2, ("pcs-work", SpanKind::Client));
    calls.extend(named(&spans, "chat bad", 2, ("pcs-work", SpanKind::Client)));
    let recordings = named(&spans, "record result", 4, ("our-relay", SpanKind::Server));
    for job in &jobs {
        assert_eq!(job.span.parent_span_id, requests[0].span.span_id);
        assert_eq!((job.attribute("run.id"), job.attribute("attempt")), (run.clone(), "1".to_owned()));
        let (call, recording) = (of_parent(&calls, job), of_parent(&recordings, job));
        assert_eq!(recording.attribute("execution.id"), job.attribute("execution.id"));
        assert_eq!(recording.attribute("receipt"), "recorded");
        assert_eq!(call.attribute("gen_ai.provider.name"), "scripted");
        let is_error = call.span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
        if call.attribute("gen_ai.request.model") == "fine" {
            assert!(!is_error, "{call:#?}");
            assert!(call.attribute("gen_ai.usage.input_tokens").parse::<u64>().expect("a number") > 0);
            assert!(call.attribute("gen_ai.usage.output_tokens").parse::<u64>().expect("a number") > 0);
        } else {
            assert!(is_error && call.attribute("error.type") == job.attribute("error.type"), "{call:#?}");
            assert!(!call.attribute("error.type").is_empty());
        }
    }
    for body in collector.bodies() {
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(!body.contains(CONTENT) && !body.contains(&system.api_key), "{body}");
        assert!(!body.contains("/healthz"), "probes begin no trace");
    }
    system.stop().await;
}

#[tokio::test]
async fn a_collector_that_is_away_costs_one_warning() {
    let system = TestSystem::start_without_worker().await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let worker_url = system.broker.worker_url();
    let environment = [
        ("NATS_URL", worker_url.as_str()),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &nowhere),
        ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ("NO_PROXY", "127.0.0.1"),
    ];
    let mut worker = Process::start(&["work"], &environment, &log);
    let card = system.card("Untraced", "{{q}}", cases(20)).await;
    let warnings = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter(|line| line.contains("traces can't be exported")).count()
    };
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }] })).await;
    assert_eq!(system.ended(&run).await["totals"]["executions"], 20);
    eventually("it is told", || async { (warnings() > 0).then_some(()) }).await;
    let run = system.run(&json!({ "card_id": card, "models": [{ "id": "echo" }], "repeats": 2 })).await;
    assert_eq!(system.ended(&run).await["totals"]["executions"], 40);
    let told = Instant::now();
    stopped(&mut worker).await;
    assert!(told.elapsed() < STOP_MAX, "it took {:?}", told.elapsed());
    assert_eq!(warnings(), 1);
    system.stop().await;
}
