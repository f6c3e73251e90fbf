//! As much of HTTP/1.1 as a client of chat completions needs.

use std::io::{self, BufRead, Read as _, Write};

/// Largest line of a head, and largest head, in bytes.
const MAX_HEAD: u64 = 64 << 10;
/// Largest body, in bytes.
const MAX_BODY: u64 = 256 << 20;

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Reads the next request; none where the client is gone. `out` is for the go-ahead that some
/// clients wait for before they send a large body.
pub(super) fn read(stream: &mut impl BufRead, out: &mut impl Write) -> io::Result<Option<Request>> {
    let mut head = stream.take(MAX_HEAD);
    let mut line = String::new();
    if head.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(bad("no request line"));
    };
    let mut headers = Vec::new();
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(bad("the head is too long or has no end"));
        }
        let trimmed = line.trim_end();
        if trimmed.is_empty() {
            break;
        }
        let (name, value) = trimmed.split_once(':').ok_or_else(|| bad("a header has no colon"))?;
        headers.push((name.trim().to_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new() };
    if request.header("transfer-encoding").is_some() {
        return Err(bad("bodies in chunks are not understood"));
    }
    let length = request.header("content-length").unwrap_or("0");
    let length: u64 = length.parse().map_err(|_| bad("`content-length` is no number"))?;
    if length > MAX_BODY {
        return Err(bad("the body is too long"));
    }
    if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
        out.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    stream.take(length).read_to_end(&mut request.body)?;
    if request.body.len() as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(request))
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Reply { status, headers: Vec::new(), body: body.into() }
    }

    /// The head and half of the body, as they go over the wire.
    pub(super) fn first_half(&self) -> Vec<u8> {
        let mut bytes = self.bytes();
        bytes.truncate(bytes.len() - self.body.len() / 2);
        bytes
    }

    /// The reply as it goes over the wire; the connection stays open.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 {} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
            self.status,
            self.body.len()
        );
        for (name, value) in &self.headers {
            bytes.push_str(name);
            bytes.push_str(": ");
            // A line break would begin another header.
            bytes.extend(value.chars().filter(|c| !c.is_control()));
            bytes.push_str("\r\n");
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> (io::Result<Option<Request>>, Vec<u8>) {
        let mut out = Vec::new();
        let request = read(&mut text.as_bytes(), &mut out);
        (request, out)
    }

    #[test]
    fn two_requests_on_one_connection_are_read_one_after_the_other() {
        let text =
            "POST /v1 HTTP/1.1\r\nContent-Length: 2\r\nX-A:  b \r\n\r\nhiGET / HTTP/1.1\r\n\r\n";
        let mut stream = text.as_bytes();
        let first = read(&mut stream, &mut Vec::new()).unwrap().unwrap();
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/v1"));
        assert_eq!((first.header("x-a"), first.body.as_slice()), (Some("b"), &b"hi"[..]));
        assert_eq!(read(&mut stream, &mut Vec::new()).unwrap().unwrap().method, "GET");
        assert!(read(&mut stream, &mut Vec::new()).unwrap().is_none());
    }

    #[test]
    fn a_client_that_waits_for_leave_gets_it() {
        let text = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx";
        let (request, out) = read_text(text);
        assert_eq!(request.unwrap().unwrap().body, b"x");
        assert!(out.starts_with(b"HTTP/1.1 100 "));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let endless = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(70_000));
        for text in [
            "\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nshort",
            &endless,
        ] {
            assert!(read_text(text).0.is_err(), "{}", &text[..20.min(text.len())]);
        }
    }
}
