//! A server of the program's own, and the smallest client that can talk to it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{checkpoint, start, text};

/// A server that lives as long as this does.
pub(crate) struct Server {
    child: Child,
    address: String,
}

/// Status, head and body.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The objects of a stream, which must close with `[DONE]`.
    pub(super) fn chunks(&self) -> Vec<Value> {
        let data: Vec<&str> =
            self.body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.last(), Some(&"[DONE]"), "{}", self.body);
        data[..data.len() - 1]
            .iter()
            .map(|data| serde_json::from_str(data).expect("JSON"))
            .collect()
    }
}

impl Server {
    /// Starts the program on a free port.
    pub(crate) fn start(arguments: &[&str]) -> Server {
        let (mut child, line) = start(
            &[&["serve", "--checkpoint", text(checkpoint()), "--port", "0"], arguments].concat(),
        );
        let address = line.strip_prefix("http://").and_then(|at| at.strip_suffix("/v1"));
        let Some(address) = address.map(str::to_owned) else {
            let mut stderr = String::new();
            let mut pipe = child.stderr.take().expect("it is piped");
            pipe.read_to_string(&mut stderr).expect("what it said");
            panic!("it does not serve: {stderr}");
        };
        Server { child, address }
    }

    pub(crate) fn port(&self) -> String {
        self.address.rsplit(':').next().expect("a port").to_owned()
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a time");
        stream
    }

    /// One request on a connection of its own.
    pub(super) fn send(&self, line: &str, headers: &[&str], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        let mut lines = vec![format!("{line} HTTP/1.1"), "Connection: close".to_owned()];
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            lines.push(format!("Host: {}", self.address));
        }
        lines.extend(headers.iter().map(|header| (*header).to_owned()));
        lines.push(format!("Content-Length: {}\r\n\r\n", body.len()));
        let head = lines.join("\r\n");
        stream.write_all(head.as_bytes()).expect("the head is sent");
        // A server that refuses a body may close before it has read all of it.
        drop(stream.write_all(body));
        reply(stream)
    }

    /// Sends a request and leaves its connection open.
    pub(super) fn begin(&self, request: &Value) -> TcpStream {
        let body = request.to_string();
        let mut stream = self.connect();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: \
             close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("the head is sent");
        stream.write_all(body.as_bytes()).expect("the body is sent");
        stream
    }

    pub(super) fn post(&self, body: &[u8]) -> Reply {
        self.send("POST /v1/chat/completions", &["Content-Type: application/json"], body)
    }

    pub(super) fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path}"), &[], b"")
    }

    pub(super) fn chat(&self, request: &Value) -> Reply {
        self.post(request.to_string().as_bytes())
    }

    /// True while it answers an ordinary request.
    pub(super) fn lives(&self) -> bool {
        self.chat(&ask("what moves ?", json!({"max_tokens": 1}))).status == 200
    }

    /// Waits until `/health` says so.
    pub(super) fn wait_for(&self, what: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..600 {
            let health = self.get("/health").json();
            if what(&health) {
                return health;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("it did not come to it: {}", self.get("/health").body);
    }

    /// Asks it to stop; its exit code and what it said.
    #[cfg(unix)]
    pub(super) fn interrupt(&mut self) -> (Option<i32>, String) {
        use nix::sys::signal::{Signal, kill};
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, Signal::SIGINT).expect("it is there");
        let mut said = String::new();
        let mut pipe = self.child.stderr.take().expect("it is piped");
        pipe.read_to_string(&mut said).expect("what it said");
        (self.child.wait().expect("it ends").code(), said)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads to the end of the connection.
pub(super) fn reply(mut stream: TcpStream) -> Reply {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    let raw = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = raw.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {raw}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(body) } else { body.to_owned() };
    Reply { status, head: head.to_owned(), body }
}

fn unchunked(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a size");
        body += &tail[..size];
        rest = tail[size..].strip_prefix("\r\n").expect("the chunk's end");
    }
    body
}

/// A greedy question about ClipWorld's clip `test/3`, with more fields.
pub(super) fn ask(question: &str, more: Value) -> Value {
    let mut request = json!({
        "temperature": 0,
        "max_tokens": 6,
        "messages": [{"role": "user", "content": [
            {"type": "video_url", "video_url": {"url": "world:test/3"}},
            {"type": "text", "text": question},
        ]}],
    });
    if let (Some(object), Value::Object(more)) = (request.as_object_mut(), more) {
        object.extend(more);
    }
    request
}
