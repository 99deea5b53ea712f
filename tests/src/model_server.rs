//! A model behind the network: it answers in the format of `OpenAI`, and remembers when it was asked what.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub enum Manner {
    /// It answers the prompt.
    Answers,
    /// It says 503.
    Down,
    /// It says 429 and for how long, until so much time has passed since the first call.
    Full(Duration),
}

/// A call that it got.
#[derive(Clone, Debug)]
pub struct Call {
    /// When.
    pub at: Instant,
    /// Which model was asked.
    pub model: String,
    /// What it said.
    pub status: StatusCode,
}

/// The server; dropping it ends it.
pub struct ModelServer {
    url: String,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

struct Shared {
    /// Tokens of each prompt and each answer.
    tokens: (u64, u64),
    latency: Duration,
    manner: Mutex<Manner>,
    calls: Mutex<Vec<Call>>,
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A call that is being answered.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl ModelServer {
    /// Starts one on a free port, whose calls take so long and so many tokens of prompt and answer.
    ///
    /// # Panics
    /// When there is no port to be had.
    pub async fn start(latency: Duration, tokens: (u64, u64)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/v1/", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            tokens,
            latency,
            manner: Mutex::new(Manner::Answers),
            calls: Mutex::default(),
            now: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/v1/chat/completions", post(answer))
            .route("/v1/embeddings", post(embed))
            .route("/v1/moderations", post(moderate))
            .route("/v1/sentiment", post(classify))
            .route("/v1/hook", post(hook))
            .with_state(Arc::clone(&shared));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url, shared, _serving: serving }
    }

    /// A model of this name on it.
    #[must_use]
    pub fn model(&self, name: &str) -> Value {
        json!({ "id": format!("openai:{name}"), "base_url": self.url })
    }

    /// A classifier on it.
    #[must_use]
    pub fn classifier(&self) -> Value {
        json!({ "id": "huggingface:sentiment", "base_url": self.url })
    }

    /// The address of a webhook on it, which passes outputs that name the case's variable `q`.
    #[must_use]
    pub fn webhook(&self) -> String {
        format!("{}hook", self.url)
    }

    /// Changes how it behaves.
    pub fn behave(&self, manner: Manner) {
        *locked(&self.shared.manner) = manner;
    }

    /// The calls until now.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        locked(&self.shared.calls).clone()
    }

    /// Most calls at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.shared.most.load(Ordering::SeqCst)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(State(shared): State<Arc<Shared>>, Json(asked): Json<Value>) -> Response {
    let at = Instant::now();
    shared.most.fetch_max(shared.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    let _running = Running(&shared.now);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let model = text(&asked["model"]);
    let manner = *locked(&shared.manner);
    let since = locked(&shared.calls).first().map_or(Duration::ZERO, |first| at.duration_since(first.at));
    let (status, after) = match manner {
        Manner::Down => (StatusCode::SERVICE_UNAVAILABLE, 0),
        Manner::Full(time) if since < time => (StatusCode::TOO_MANY_REQUESTS, time.as_secs()),
        Manner::Answers | Manner::Full(_) => (StatusCode::OK, 0),
    };
    locked(&shared.calls).push(Call { at, model, status });
    if status != StatusCode::OK {
        let body = r#"{"error":{"message":"not now"}}"#;
        return (status, [(header::RETRY_AFTER, after.to_string())], body).into_response();
    }
    tokio::time::sleep(shared.latency).await;
    let (input, output) = shared.tokens;
    let events = [
        json!({ "choices": [{ "index": 0, "delta": { "content": text(&asked["messages"][0]["content"]) } }] }),
        json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "stop" }] }),
        json!({ "choices": [], "usage": { "prompt_tokens": input, "completion_tokens": output } }),
    ];
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    ([(header::CONTENT_TYPE, "text/event-stream")], format!("{events}data: [DONE]\n\n")).into_response()
}

/// Vectors that count the letters of each text: texts of the same letters are near to each other.
async fn embed(State(shared): State<Arc<Shared>>, Json(asked): Json<Value>) -> Response {
    remember(&shared, &asked["model"]);
    let texts = asked["input"].as_array().cloned().unwrap_or_default();
    let data = texts.iter().enumerate().map(|(index, text)| {
        let text = text.as_str().unwrap_or_default().to_lowercase();
        let letters = ('a'..='z').map(|letter| text.matches(letter).count()).collect::<Vec<_>>();
        json!({ "object": "embedding", "index": index, "embedding": letters })
    });
    let data: Vec<Value> = data.rev().collect();
    Json(json!({ "object": "list", "model": asked["model"], "data": data, "usage": { "prompt_tokens": 5, "total_tokens": 5 } }))
        .into_response()
}

/// A moderation that flags what has "kill" in it.
async fn moderate(State(shared): State<Arc<Shared>>, Json(asked): Json<Value>) -> Response {
    remember(&shared, &asked["model"]);
    let flagged = asked["input"].as_str().unwrap_or_default().contains("kill");
    let score = if flagged { 0.9 } else { 0.1 };
    let result = json!({ "flagged": flagged, "categories": { "violence": flagged, "hate": false },
                         "category_scores": { "violence": score, "hate": 0.01 } });
    Json(json!({ "id": "m", "model": asked["model"], "results": [result] })).into_response()
}

/// A classifier to which what has "love" in it is positive.
async fn classify(State(shared): State<Arc<Shared>>, Json(asked): Json<Value>) -> Response {
    remember(&shared, &json!("sentiment"));
    let positive = if asked["inputs"].as_str().unwrap_or_default().contains("love") { 0.97 } else { 0.03 };
    Json(json!([[{ "label": "POSITIVE", "score": positive }, { "label": "NEGATIVE", "score": 1.0 - positive }]]))
        .into_response()
}

async fn hook(State(shared): State<Arc<Shared>>, Json(asked): Json<Value>) -> Response {
    remember(&shared, &json!("hook"));
    let (output, q) = (asked["output"].as_str().unwrap_or_default(), asked["context"]["vars"]["q"].as_str());
    let pass = q.is_some_and(|q| output.contains(q));
    Json(json!({ "pass": pass, "reason": format!("seen by the hook: {output}") })).into_response()
}

fn remember(shared: &Shared, model: &Value) {
    let model = model.as_str().unwrap_or_default().to_owned();
    locked(&shared.calls).push(Call { at: Instant::now(), model, status: StatusCode::OK });
}
