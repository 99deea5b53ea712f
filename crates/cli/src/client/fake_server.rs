//! A server for tests: it answers what it is told, in order or by path, and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::Api;
use super::connection::Connection;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// What is answered to a request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The connection ends without an answer.
    pub(crate) drop: bool,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string(), drop: false }
    }

    pub(crate) fn problem(status: u16, body: Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/problem+json".to_owned())];
        Self { status, headers, body: body.to_string(), drop: false }
    }

    pub(crate) fn dropped() -> Self {
        Self { status: 0, headers: Vec::new(), body: String::new(), drop: true }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Answer = Box<dyn FnMut(&Asked) -> Reply + Send>;

/// The server; it lives as long as the test's process.
pub(crate) struct FakeServer {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeServer {
    /// Answers with these replies in order, and then with the last one for ever.
    pub(crate) fn in_order(replies: Vec<Reply>) -> Self {
        let mut replies = VecDeque::from(replies);
        Self::start(Box::new(move |_| {
            if replies.len() > 1 { replies.pop_front().unwrap() } else { replies.front().unwrap().clone() }
        }))
    }

    /// Answers as the function says.
    pub(crate) fn start(mut answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &log, &mut answer);
            }
        });
        Self { port, asked }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn api(&self) -> Api {
        let nowhere = std::path::Path::new("/nowhere");
        Api::new(&Connection::find(Some(self.url()), Some("pcs_key".to_owned()), nowhere).unwrap()).unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The first lines of all requests.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// Answers one request per connection, so that requests never overlap.
fn serve(stream: TcpStream, log: &Mutex<Vec<Asked>>, answer: &mut Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or(0, |value| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let asked = Asked { line, headers, body: String::from_utf8(body).unwrap() };
    log.lock().unwrap().push(asked.clone());
    let reply = answer(&asked);
    if reply.drop {
        return;
    }
    let mut head =
        format!("HTTP/1.1 {} x\r\nconnection: close\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = stream;
    // The client may be gone already, as after Ctrl-C.
    let _ = stream.write_all(format!("{head}\r\n{}", reply.body).as_bytes());
}
