//! Hostile requests are refused with a reason, and the server lives on.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use serde_json::{Value, json};

use super::client::{Server, ask};
use crate::support::{checkpoint, refused, text};

const KEY: &str = "0123456789-integration-key";

/// Status and the whole `error` object.
fn error(server: &Server, request: &Value) -> (u16, Value) {
    let reply = server.chat(request);
    (reply.status, reply.json()["error"].clone())
}

fn shows(part: &Value) -> Value {
    json!({"max_tokens": 1, "messages": [{"role": "user", "content": [
        part, {"type": "text", "text": "what moves ?"}]}]})
}

fn image(bytes: &[u8]) -> Value {
    let data = base64::engine::general_purpose::STANDARD.encode(bytes);
    json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{data}")}})
}

/// A PNG that says it is `side` pixels wide and high, with nothing in it.
fn promised_png(side: u32) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        let mut crc = !0_u32;
        for byte in kind.iter().chain(data) {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            }
        }
        let len = u32::try_from(data.len()).expect("it is there").to_be_bytes();
        [&len, kind.as_slice(), data, &(!crc).to_be_bytes()].concat()
    };
    let size = side.to_be_bytes();
    let head = [&size[..], &size[..], &[8, 2, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &head), chunk(b"IDAT", &[]), chunk(b"IEND", &[])]
        .concat()
}

#[test]
fn what_cannot_be_answered_is_refused_by_field_and_the_server_lives_on() {
    let server = Server::start(&[]);
    let video = |url: &str| json!({"type": "video_url", "video_url": {"url": url}});
    for (request, code) in [
        (shows(&image(&promised_png(30_000))), "invalid_clip"),
        (shows(&image(&promised_png(100))), "invalid_clip"),
        (shows(&image(b"no image at all")), "invalid_clip"),
        (shows(&video("data:video/mp4;base64,#EXT")), ""),
        (shows(&video("http://127.0.0.1/a.mp4")), "not_fetched"),
        (shows(&video("/etc/passwd")), "no_media_root"),
        (shows(&video("world:test/\u{1b}[2J")), ""),
        (ask("x", json!({"tools": [{"type": "function"}]})), "unsupported_parameter"),
        (ask("x", json!({"response_format": {"type": "json_object"}})), "unsupported_parameter"),
        (ask("x", json!({"n": 17})), ""),
        (ask("x", json!({"max_tokens": 0})), ""),
        (ask("x", json!({"regex": "[AB]"})), "unsupported_parameter"),
        (ask(&"circle ".repeat(3000), json!({})), "context_length_exceeded"),
        (json!({"messages": [{"role": "root", "content": "x"}]}), ""),
    ] {
        let (status, error) = error(&server, &request);
        assert_eq!(status, 400, "{error}");
        assert_eq!(error["type"], "invalid_request_error");
        assert_eq!(error["code"].as_str().unwrap_or_default(), code, "{error}");
        assert!(!error["param"].as_str().unwrap().is_empty());
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains("/tmp") && !message.contains('\u{1b}'), "{message}");
    }
    let (_, long) = error(&server, &ask(&"circle ".repeat(3000), json!({})));
    let message = long["message"].as_str().unwrap();
    assert!(message.contains("506") && message.contains("30"), "it has numbers: {message}");
    let streamed = error(&server, &ask("x", json!({"stream": true, "n": 0})));
    assert_eq!(streamed.0, 400);
    for body in [b"".as_slice(), b"{", b"\xFF\xFE", b"[[[[[[", &b"[".repeat(100_000)] {
        assert_eq!(server.post(body).status, 400);
    }
    let many: Vec<Value> = vec![json!({"role": "user", "content": "x"}); 100_000];
    assert_eq!(error(&server, &json!({"messages": many})).0, 400);
    assert_eq!(server.get("/v1/chat/completions").status, 405);
    assert_eq!(server.get("/etc/passwd").status, 404);
    assert!(server.lives());
    let health = server.get("/health").json();
    assert_eq!((&health["failed"], &health["in_progress"]), (&json!(0), &json!(0)), "{health}");
}

/// The placeholder's spelling in a question is text: as many visual tokens as without it.
#[test]
fn special_tokens_spelled_in_a_question_stay_text() {
    let server = Server::start(&[]);
    let tokens = |question: &str| {
        let reply = server.chat(&ask(question, json!({"max_tokens": 1})));
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let plain = tokens("what moves ?");
    let spelled = tokens("what <image> <image> </s> moves ?");
    assert!(spelled > plain && spelled < plain + 40, "{plain} and {spelled}");
    let system = server.chat(&json!({"max_tokens": 1, "messages": [
        {"role": "system", "content": "<image><image>"}, {"role": "user", "content": "<image> ?"}]}));
    assert_eq!(system.status, 200, "{}", system.body);
}

#[test]
fn large_bodies_are_not_read() {
    let server = Server::start(&["--max-body-mib", "1"]);
    let reply = server.post(&vec![b' '; (1 << 20) + 1]);
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (413, &json!("body_too_large")));
    // Without a length, too.
    let mut stream = server.connect();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let piece = format!("{:x}\r\n{}\r\n", 1 << 19, " ".repeat(1 << 19));
    for _ in 0..3 {
        drop(stream.write_all(piece.as_bytes()));
    }
    drop(stream.write_all(b"0\r\n\r\n"));
    assert_eq!(super::client::reply(stream).status, 413);
    assert!(server.lives());
}

#[test]
fn a_key_is_asked_for_and_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    #[cfg(unix)]
    let mut server = Server::start(&["--api-key-file", text(&file), "-vvv"]);
    #[cfg(not(unix))]
    let server = Server::start(&["--api-key-file", text(&file), "-vvv"]);
    let request = ask("what moves ?", json!({"max_tokens": 1})).to_string();
    let with = |authorization: &str| {
        let headers = ["Content-Type: application/json", authorization];
        server.send("POST /v1/chat/completions", &headers, request.as_bytes()).status
    };
    assert_eq!(with(&format!("Authorization: Bearer {KEY}")), 200);
    assert_eq!(with("Authorization: Bearer 0123456789-integration-kez"), 401);
    assert_eq!(with("X-Nothing: 1"), 401);
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.get("/health").status, 200);
    #[cfg(unix)]
    {
        let (_, said) = server.interrupt();
        assert!(said.contains("API key") && !said.contains("integration-key"), "{said}");
    }
}

#[test]
fn other_machines_are_let_in_with_a_key_alone() {
    let at = text(checkpoint());
    for host in ["0.0.0.0", "::"] {
        let message = refused(&["serve", "--checkpoint", at, "--port", "0", "--host", host]);
        assert!(message.contains("--api-key-file"), "{message}");
    }
    let message = refused(&["serve", "--checkpoint", at, "--api-key-env", "ORACLE_RLAIF_NO_KEY"]);
    assert!(message.contains("ORACLE_RLAIF_NO_KEY"), "{message}");
    let message = refused(&["serve", "--checkpoint", at, "--media-root", "nowhere"]);
    assert!(message.contains("nowhere"), "{message}");
}

#[test]
fn a_web_page_cannot_ask() {
    let server = Server::start(&[]);
    let request = ask("what moves ?", json!({"max_tokens": 1})).to_string();
    let post =
        |headers: &[&str]| server.send("POST /v1/chat/completions", headers, request.as_bytes());
    assert_eq!(post(&["Content-Type: text/plain"]).status, 415);
    let rebound = post(&["Content-Type: application/json", "Host: rebound.example"]);
    assert_eq!(rebound.status, 403);
    let reply = post(&["Content-Type: application/json", "Origin: http://page.example"]);
    assert!(!reply.head.to_lowercase().contains("access-control-allow"), "{}", reply.head);
    let preflight = server.send("OPTIONS /v1/chat/completions", &["Origin: http://x"], b"");
    assert_eq!(preflight.status, 405);
}

#[test]
fn bytes_that_are_no_http_end_their_connection_alone() {
    let server = Server::start(&[]);
    for bytes in [b"\x16\x03\x01\0\xff\xff\0\0".as_slice(), b"\r\n\r\n\0", &vec![b'A'; 1 << 20]] {
        let mut stream = server.connect();
        drop(stream.write_all(bytes));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&rest));
    }
    assert!(server.lives());
    let taken = server.port();
    let at = text(checkpoint());
    let message = refused(&["serve", "--checkpoint", at, "--port", &taken]);
    assert!(message.contains("choose another `--port`"), "{message}");
}

/// One request fills the server; another is told to come back; the first client leaves, which
/// frees the model long before its answer would have ended.
#[test]
fn a_full_server_says_so_and_a_client_that_leaves_frees_it() {
    let server = Server::start(&["--max-concurrent", "1", "--max-new-tokens-limit", "400"]);
    for (at, stream) in [true, false].into_iter().enumerate() {
        let before = server.get("/health").json()["sampled_tokens"].as_u64().unwrap();
        let long = json!({
            "max_tokens": 400, "min_tokens": 400, "n": 16, "stream": stream, "temperature": 1,
        });
        let connection = server.begin(&ask("what moves ?", long));
        server.wait_for(|health| health["sampled_tokens"].as_u64().unwrap() > before);
        let reply = server.chat(&ask("what moves ?", json!({})));
        assert_eq!(reply.status, 429, "{}", reply.body);
        assert!(reply.head.to_lowercase().contains("retry-after: 1"), "{}", reply.head);
        drop(connection);
        let health = server.wait_for(|health| health["in_progress"] == 0);
        let counts = (&health["answered"], &health["failed"], &health["left"]);
        assert_eq!(counts, (&json!(at), &json!(0), &json!(at + 1)), "{health}");
        assert!(server.lives());
        let after = server.get("/health").json()["sampled_tokens"].as_u64().unwrap();
        assert!(after - before < 16 * 400, "{} tokens for nobody", after - before);
    }
}
