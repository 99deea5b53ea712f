//! A model behind HTTP that answers after a fixed time and counts what it is asked, in a thread of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it was asked.
#[derive(Default)]
pub(crate) struct Asked {
    /// How often each prompt.
    by_prompt: Mutex<HashMap<String, usize>>,
    /// When the first call began and the last one was answered.
    span: Mutex<Option<(Instant, Instant)>>,
    calls: AtomicUsize,
    running: AtomicUsize,
}

impl Asked {
    /// Calls so far.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Calls that are not answered yet.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    /// Seconds from the first call to the last answer.
    pub(crate) fn seconds(&self) -> Option<f64> {
        let span = *self.span.lock().unwrap_or_else(PoisonError::into_inner);
        span.map(|(first, last)| last.duration_since(first).as_secs_f64())
    }

    /// Prompts that were asked at all.
    pub(crate) fn prompts(&self) -> usize {
        self.by_prompt.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn begin(&self, prompt: &str) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_add(1, Ordering::SeqCst);
        *self.by_prompt.lock().unwrap_or_else(PoisonError::into_inner).entry(prompt.to_owned()).or_default() += 1;
        let now = Instant::now();
        self.span.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((now, now));
    }

    fn end(&self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
        if let Some(span) = self.span.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            span.1 = Instant::now();
        }
    }
}

/// Starts one, which lives as long as the process; answers its address, as `base_url`, and its count.
pub(crate) fn start(latency: Duration) -> anyhow::Result<(String, Arc<Asked>)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let asked = Arc::<Asked>::default();
    let counted = Arc::clone(&asked);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, latency, Arc::clone(&counted)));
            }
        });
    });
    Ok((url, asked))
}

/// Answers the requests of a connection; what breaks off is the client's end.
async fn serve(stream: TcpStream, latency: Duration, asked: Arc<Asked>) {
    drop(stream.set_nodelay(true));
    let mut stream = BufReader::new(stream);
    while let Ok((prompt, streamed)) = request(&mut stream).await {
        asked.begin(&prompt);
        tokio::time::sleep(latency).await;
        let answer = if streamed { streamed_answer(&prompt) } else { answer(&prompt) };
        asked.end();
        if stream.get_mut().write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The last message of a chat, and whether the answer is wanted piece by piece.
async fn request(stream: &mut BufReader<TcpStream>) -> anyhow::Result<(String, bool)> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        anyhow::ensure!(stream.read_line(&mut line).await? > 0, "the connection is closed");
        let line = line.trim();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse().with_context(|| format!("{name} is no number"))?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body: serde_json::Value = serde_json::from_slice(&body)?;
    let message = body["messages"].as_array().and_then(|messages| messages.last()).context("no message")?;
    Ok((message["content"].as_str().context("no text")?.to_owned(), body["stream"] == true))
}

fn answer(prompt: &str) -> String {
    let message = serde_json::json!({ "role": "assistant", "content": prompt });
    let body = serde_json::json!({
        "id": "c", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 },
    })
    .to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// The same as one piece and an end mark.
fn streamed_answer(prompt: &str) -> String {
    let piece = |delta: serde_json::Value, ending: Option<&str>| {
        let choice = serde_json::json!({ "index": 0, "delta": delta, "finish_reason": ending });
        serde_json::json!({ "id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": [choice] })
    };
    let text = piece(serde_json::json!({ "role": "assistant", "content": prompt }), None);
    let mut last = piece(serde_json::json!({}), Some("stop"));
    last["usage"] = serde_json::json!({ "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15 });
    let body = format!("data: {text}\n\ndata: {last}\n\ndata: [DONE]\n\n");
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
