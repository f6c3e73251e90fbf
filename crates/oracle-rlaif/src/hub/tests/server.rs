//! A hub on the loopback: the listing of a repository, its files, and another host for large ones.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) range: Option<u64>,
    /// Whether it went to the host of large files.
    pub(super) elsewhere: bool,
}

/// What the repository `org/name` is like.
#[derive(Clone, Default)]
pub(super) struct Served {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Names that are listed and not served.
    pub(super) listed: Vec<String>,
    /// Files that redirect to the other host, as large ones do.
    pub(super) large: Vec<String>,
    /// Status of every answer of the hub.
    pub(super) status: Option<u16>,
    /// The commit in place of [`COMMIT`].
    pub(super) commit: Option<String>,
    /// The ETag of every file, in place of the digest of its content.
    pub(super) etag: Option<String>,
    /// Bytes of a file that come before the connection breaks, for so many answers.
    pub(super) cut: BTreeMap<String, (usize, usize)>,
    /// Whether a range is answered with the whole file.
    pub(super) rangeless: bool,
    /// A token that answers repeat in their headers and their bodies.
    pub(super) echo: Option<String>,
}

/// The two hosts; they end with the test.
pub(super) struct Server {
    pub(super) address: String,
    state: Arc<Mutex<(Served, Vec<Request>)>>,
}

impl Server {
    pub(super) fn start(served: Served) -> Server {
        let state = Arc::new(Mutex::new((served, Vec::new())));
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a port");
        let (hub, other) = (listen(), listen());
        let url = |listener: &TcpListener| {
            format!("http://{}", listener.local_addr().expect("it is bound"))
        };
        let (address, elsewhere) = (url(&hub), url(&other));
        for (listener, is_other) in [(hub, false), (other, true)] {
            let (state, elsewhere) = (state.clone(), elsewhere.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    // A client that went away is no failure of the server.
                    let _ = answer(stream, &state, &elsewhere, is_other);
                }
            });
        }
        Server { address, state }
    }

    /// The requests so far.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("no test panicked in it").1.clone()
    }

    /// Changes what is served.
    pub(super) fn change(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.state.lock().expect("no test panicked in it").0);
    }
}

/// Lower-case hexadecimal SHA-256, the ETag of a large file.
pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn answer(
    mut stream: TcpStream,
    state: &Mutex<(Served, Vec<Request>)>,
    elsewhere: &str,
    is_other: bool,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut words = first.split_whitespace().map(str::to_owned);
    let mut request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        token: None,
        range: None,
        elsewhere: is_other,
    };
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_lowercase().as_str() {
            "authorization" => request.token = Some(value.trim().to_owned()),
            "range" => {
                let from = value.trim().trim_start_matches("bytes=").trim_end_matches('-');
                request.range = from.parse().ok();
            }
            _ => {}
        }
    }
    let mut state = state.lock().expect("no test panicked in it");
    state.1.push(request.clone());
    let served = &mut state.0;
    let mut headers = String::new();
    if let Some(token) = &served.echo {
        let _ = write!(headers, "X-Error-Message: {token}\r\n");
    }
    let (mut status, mut body, mut cut) = (200, Vec::new(), None);
    let file = request.path.rsplit('/').next().unwrap_or_default().to_owned();
    if let Some(refusal) = served.status.filter(|_| !is_other) {
        status = refusal;
        body = served.echo.clone().unwrap_or_default().into_bytes();
    } else if request.path.contains("old/name/") {
        status = 307;
        let to = request.path.replace("old/name", "org/name");
        let _ = write!(headers, "Location: {to}\r\n");
    } else if request.path.starts_with("/api/models/org/name/revision/") {
        let names = served.files.keys().chain(&served.listed);
        let siblings: Vec<_> = names.map(|name| json!({ "rfilename": name })).collect();
        let commit = served.commit.clone().unwrap_or_else(|| COMMIT.to_owned());
        body = json!({ "sha": commit, "siblings": siblings }).to_string().into_bytes();
    } else if let Some(content) = served.files.get(&file) {
        let etag = served.etag.clone().unwrap_or_else(|| sha256(content));
        if served.large.contains(&file) && !is_other {
            status = 302;
            let size = content.len();
            let _ = write!(
                headers,
                "Location: {elsewhere}/large/{file}\r\nX-Linked-Etag: \"{etag}\"\r\n\
                 X-Linked-Size: {size}\r\n"
            );
        } else {
            let _ = write!(headers, "ETag: \"{etag}\"\r\n");
            body.clone_from(content);
            if let Some(from) = request.range.filter(|_| !served.rangeless) {
                status = 206;
                body.drain(..usize::try_from(from).unwrap_or_default().min(content.len()));
            }
            if request.method == "GET"
                && let Some((bytes, times)) = served.cut.get_mut(&file)
                && *times > 0
            {
                *times -= 1;
                cut = Some(*bytes);
            }
        }
    } else {
        status = 404;
    }
    drop(state);
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    if request.method != "HEAD" {
        stream.write_all(&body[..cut.unwrap_or(body.len()).min(body.len())])?;
    }
    stream.flush()
}
