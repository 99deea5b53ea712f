//! A server that says over the wire exactly what a test wrote down, byte for byte, and remembers what it was asked.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// What the server does after it has read a request; afterwards it closes the connection.
#[derive(Clone)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Pause(Duration),
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The first line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Value,
}

pub(crate) struct Fake {
    /// Ends in a slash.
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) fn start(steps: Vec<Step>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (steps, remembered) = (Arc::new(steps), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (steps, remembered) = (Arc::clone(&steps), Arc::clone(&remembered));
                std::thread::spawn(move || serve(stream, &steps, &remembered));
            }
        });
        Self { url, seen }
    }

    /// A server with one answer.
    pub(crate) fn saying(response: Vec<u8>) -> Self {
        Self::start(vec![Step::Send(response)])
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, steps: &[Step], remembered: &Mutex<Vec<Seen>>) {
    let Some(seen) = read_request(&mut stream) else { return };
    remembered.lock().unwrap().push(seen);
    for step in steps {
        match step {
            Step::Send(bytes) => {
                if stream.write_all(bytes).and_then(|()| stream.flush()).is_err() {
                    return;
                }
            }
            Step::Pause(duration) => std::thread::sleep(*duration),
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 64 * 1024];
    loop {
        let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length: usize =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
        if bytes.len() >= end + 4 + length {
            let body = serde_json::from_slice(&bytes[end + 4..]).unwrap_or(Value::Null);
            return Some(Seen { head, body });
        }
    }
}

/// A whole answer with its length.
pub(crate) fn response(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{out}\r\n{body}").into_bytes()
}

const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n";

/// A stream in chunks, each sent as it is, with the end mark of HTTP.
pub(crate) fn stream(pieces: &[String]) -> Vec<u8> {
    let mut out = cut_stream(pieces);
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

/// A stream in chunks whose connection closes before the end mark of HTTP.
pub(crate) fn cut_stream(pieces: &[String]) -> Vec<u8> {
    let mut out = format!("{STREAM_HEAD}transfer-encoding: chunked\r\n\r\n");
    for piece in pieces {
        out.push_str(&format!("{:x}\r\n{piece}\r\n", piece.len()));
    }
    out.into_bytes()
}

/// A stream without a length: it ends, and ends well, when the connection closes.
pub(crate) fn stream_until_close(pieces: &[String]) -> Vec<u8> {
    format!("{STREAM_HEAD}\r\n{}", pieces.concat()).into_bytes()
}

pub(crate) fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}
