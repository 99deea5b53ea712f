//! The edge around a few small routes, on real sockets, without a database.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Json;
use axum::routing::{get, post};
use pcs_auth::{Authenticator, Role};
use pcs_domain::ids::{ActorId, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::authenticate::{Caller, Gate, authenticated};
use super::command::{Command, CommandBody};
use super::parameters::{Path, Query};
use super::*;
use crate::serve::Server;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    name: String,
}

impl CommandBody for Body {
    const BYTES_MAX: usize = 1_000;
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    limit: Option<i64>,
    tag: Option<String>,
}

/// Lets everybody pass as the same account: what is behind the gate can be tested without accounts.
async fn anybody(mut request: Request, next: Next) -> Response {
    let principal =
        pcs_auth::Principal { account_id: ActorId(Uuid::nil()), tenant: TenantId::DEFAULT, role: Role::Editor };
    request.extensions_mut().insert(Caller(principal));
    next.run(request).await
}

impl super::command::Blinding for () {
    async fn blind(&self, _: pcs_domain::ids::TenantId, fingerprint: Uuid) -> Result<Uuid, crate::problem::Problem> {
        Ok(fingerprint)
    }
}

fn routes(metrics: &Arc<Metrics>) -> Router {
    let nowhere = sqlx::postgres::PgPoolOptions::new()
        .acquire_timeout(Duration::from_millis(200))
        .connect_lazy("postgres://nobody@127.0.0.1:1/none")
        .unwrap();
    let gate = Gate { authenticator: Authenticator::new(nowhere), metrics: metrics.clone() };
    let gated =
        Router::new().route("/gated", get(|| async { "in" })).route_layer(from_fn_with_state(gate, authenticated));
    let command = |command: Command<Body>| async move {
        Json(json!({ "name": command.body.name, "correlation": command.context.correlation_id,
                     "trace": command.context.traceparent, "keyed": command.context.fingerprint.is_some() }))
    };
    Router::new()
        .route("/panic", get(|| async { panic!("the secret of the handler") as &'static str }))
        .route("/slow", get(|| async { tokio::time::sleep(Duration::from_secs(60)).await }))
        .route(
            "/soon",
            get(|| async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "done"
            }),
        )
        .route("/cards/{id}", get(|Path(id): Path<Uuid>| async move { id.to_string() }))
        .route(
            "/list",
            get(|Query(filter): Query<Filter>| async move { format!("{:?}{:?}", filter.limit, filter.tag) }),
        )
        .route("/command", post(command))
        .route_layer(from_fn(anybody))
        .merge(gated)
}

struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
    metrics: Arc<Metrics>,
}

async fn serve(change: impl FnOnce(&mut ServerConfig)) -> Running {
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into());
    config.header_read_timeout = Duration::from_millis(300);
    config.body_read_timeout = Duration::from_millis(300);
    config.request_timeout = Duration::from_millis(800);
    config.shutdown_grace = Duration::from_millis(900);
    change(&mut config);
    let metrics = Arc::new(Metrics::new());
    let router = around(routes(&metrics), Edge::new(&config, metrics.clone()));
    let server = Server::bind_router(config, router).await.unwrap();
    let (address, stop, tasks) = (server.local_addr(), CancellationToken::new(), TaskTracker::new());
    tasks.spawn(server.run(stop.clone()));
    tasks.close();
    Running { address, stop, tasks, metrics }
}

/// Sends text and reads until the server closes, or for five seconds.
async fn exchange(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection stayed open: {}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

async fn request(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, Value) {
    let len = body.len();
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
    );
    let answer = exchange(address, &text).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), serde_json::from_str(body).unwrap_or(Value::Null))
}

fn assert_problem((status, head, body): &(u16, String, Value), expected: u16, code: &str) {
    assert_eq!((*status, &body["code"]), (expected, &json!(code)), "{head}\n{body}");
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert!(head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-store"), "{head}");
    let request_id = body["request_id"].as_str().unwrap();
    assert!(head.contains(&format!("x-request-id: {request_id}")), "{head}");
    assert_eq!(body["status"], expected);
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn every_error_is_a_problem() {
    let server = serve(|_| ()).await;
    let get = async |path: &str| request(server.address, "GET", path, "", "").await;
    let post = async |headers: &str, body: &str| request(server.address, "POST", "/command", headers, body).await;
    assert_problem(&get("/nowhere").await, 404, "no_such_route");
    assert_problem(&get("/panic").await, 500, "internal_error");
    assert!(!get("/panic").await.2.to_string().contains("secret"));
    let not_allowed = request(server.address, "PUT", "/list", "", "").await;
    assert_problem(&not_allowed, 405, "method_not_allowed");
    assert!(not_allowed.1.contains("allow: get,head"), "{}", not_allowed.1);
    assert_problem(&get("/slow").await, 503, "request_timeout");
    assert_problem(&get("/cards/x").await, 422, "invalid_path");
    assert_problem(&get("/cards/%00..%2f").await, 422, "invalid_path");
    assert_problem(&post("", "{}").await, 415, "unsupported_media_type");
    assert_problem(&post("Content-Type: text/plain\r\n", "{}").await, 415, "unsupported_media_type");
    assert_problem(
        &post(&format!("{JSON}Content-Encoding: gzip\r\n"), "{}").await,
        415,
        "unsupported_content_encoding",
    );
    assert_problem(&post(JSON, "").await, 400, "malformed_json");
    assert_problem(&post(JSON, "{}").await, 422, "invalid_body");
    assert_problem(&post(JSON, &format!("{{\"name\":\"{}\"}}", "x".repeat(1_000))).await, 413, "body_too_large");
    assert_problem(&post(&format!("{JSON}Idempotency-Key: a b\r\n"), "{}").await, 400, "invalid_idempotency_key");
    assert_problem(&post(&format!("{JSON}If-Match: 7\r\n"), "{}").await, 400, "invalid_if_match");
}

#[tokio::test]
async fn a_chunked_body_has_the_same_limit() {
    let server = serve(|_| ()).await;
    let head =
        format!("POST /command HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{JSON}\r\n");
    let answer = exchange(server.address, &format!("{head}800\r\n{}\r\n0\r\n\r\n", "x".repeat(0x800))).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn an_unknown_query_key_is_refused_with_the_known_ones() {
    let server = serve(|_| ()).await;
    let unknown = request(server.address, "GET", "/list?tga=x", "", "").await;
    assert_problem(&unknown, 422, "invalid_query");
    assert!(unknown.2["errors"][0]["message"].as_str().unwrap().contains("`limit`"), "{}", unknown.2);
    let number = request(server.address, "GET", "/list?limit=x", "", "").await;
    assert_problem(&number, 422, "invalid_query");
    assert_eq!(number.2["errors"][0]["field"], "limit");
    assert_problem(&request(server.address, "GET", "/list?tag=a&tag=b", "", "").await, 422, "invalid_query");
    assert_problem(&request(server.address, "GET", "/list?tag=a%00", "", "").await, 422, "nul_character");
    assert_eq!(request(server.address, "GET", "/list?tag=a&limit=5", "", "").await.0, 200);
}

#[tokio::test]
async fn a_command_carries_the_request_and_the_trace() {
    let server = serve(|_| ()).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = format!("{JSON}X-Request-Id: my-request\r\nTraceparent: {trace}\r\nIdempotency-Key: k\r\n");
    let (status, head, body) = request(server.address, "POST", "/command", &headers, r#"{"name":"a"}"#).await;
    assert_eq!(status, 200, "{body}");
    assert!(head.contains("x-request-id: my-request"), "{head}");
    assert_eq!((&body["trace"], &body["keyed"]), (&json!(trace), &json!(true)));
    assert!(body["correlation"].is_string());
}

#[tokio::test]
async fn wrong_keys_have_one_answer_and_cost_no_look_up() {
    let server = serve(|_| ()).await;
    let mut bodies = Vec::new();
    for headers in [
        "",
        "Authorization: x\r\n",
        "Authorization: Bearer x\r\n",
        "Authorization: Basic x\r\n",
        "Authorization: Bearer pcs_\r\nAuthorization: Bearer pcs_\r\n",
    ] {
        let mut refused = request(server.address, "GET", "/gated", headers, "").await;
        assert_problem(&refused, 401, "unauthenticated");
        assert!(refused.1.contains("www-authenticate: bearer"));
        refused.2["request_id"] = Value::Null;
        bodies.push(refused.2);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let server = serve(|_| ()).await;
    assert_eq!(exchange(server.address, "").await, "", "an idle connection");
    assert_eq!(exchange(server.address, "GET /list HTTP/1.1\r\nHos").await, "", "half a head");
    let half = format!("POST /command HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100\r\n{JSON}\r\n{{");
    let answer = exchange(server.address, &half).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "half a body: {answer}");
    let kept = exchange(server.address, "GET /list HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(kept.starts_with("HTTP/1.1 200"), "idle after a request: {kept}");
}

#[tokio::test]
async fn heads_have_a_limit() {
    let server = serve(|_| ()).await;
    let many: String = (0..200).map(|nth| format!("X-{nth}: y\r\n")).collect();
    assert_eq!(request(server.address, "GET", "/list", &many, "").await.0, 431);
    let text = format!("GET /list HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(200_000));
    let answer = exchange(server.address, &text).await;
    // The connection is reset while most of the head is unread, which may take the answer with it.
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn more_connections_than_places_wait() {
    let server = serve(|config| config.connections_max = 1).await;
    let holder = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = std::time::Instant::now();
    // The holder sends nothing and loses its place to the time-out of its head.
    assert_eq!(request(server.address, "GET", "/list", "", "").await.0, 200);
    assert!(started.elapsed() > Duration::from_millis(150), "{:?}", started.elapsed());
    drop(holder);
}

#[tokio::test]
async fn stopping_finishes_what_is_under_way() {
    let server = serve(|config| config.request_timeout = Duration::from_secs(30)).await;
    let idle = TcpStream::connect(server.address).await.unwrap();
    let soon = exchange(server.address, "GET /soon HTTP/1.1\r\nHost: x\r\n\r\n");
    let never = exchange(server.address, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.stop.cancel();
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(server.address).await.is_err(), "it still accepts");
        server.tasks.wait().await;
    };
    let ended = tokio::time::timeout(Duration::from_secs(4), async { tokio::join!(soon, never, stop) }).await.unwrap();
    assert!(ended.0.contains("done"), "{}", ended.0);
    assert_eq!(ended.1, "", "what outlives the grace is cut off");
    drop(idle);
}

#[tokio::test]
async fn routes_are_counted_by_their_template() {
    let server = serve(|_| ()).await;
    let id = Uuid::new_v4();
    request(server.address, "GET", &format!("/cards/{id}"), "", "").await;
    request(server.address, "GET", "/nowhere/at/all", "", "").await;
    request(server.address, "BREW", "/list", "", "").await;
    let text = server.metrics.encode().unwrap();
    assert!(text.contains("method=\"GET\",route=\"/cards/{id}\",status_code=\"200\""), "{text}");
    assert!(text.contains("route=\"none\",status_code=\"404\""), "{text}");
    assert!(text.contains("method=\"OTHER\""), "{text}");
    assert!(!text.contains(&id.to_string()) && !text.contains("nowhere"), "{text}");
}
