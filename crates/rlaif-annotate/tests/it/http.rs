//! The server without a browser.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rlaif_annotate::{Server, ServerOptions};
use rlaif_data::{Example, VideoRef};
use serde_json::{Value, json};
use ureq::http::{Request, Response};

use crate::support::{desk, example, said, serve, texts};

/// An answer, whatever its status: status, the headers of the response and its text.
fn send(request: Request<String>) -> (u16, Response<()>, String) {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .new_agent();
    let response = agent.run(request).unwrap();
    let (parts, mut body) = response.into_parts();
    let text = String::from_utf8_lossy(&body.read_to_vec().unwrap()).into_owned();
    (parts.status.as_u16(), Response::from_parts(parts, ()), text)
}

fn get(url: &str, headers: &[(&str, &str)]) -> (u16, Response<()>, String) {
    let mut request = Request::get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request.body(String::new()).unwrap())
}

fn post(server: &Server, path: &str, body: &Value) -> (u16, Value) {
    let origin = format!("http://{}", server.address());
    let request = Request::post(format!("{origin}{path}"))
        .header("origin", &origin)
        .header("content-type", "application/json")
        .body(body.to_string())
        .unwrap();
    let (status, _, text) = send(request);
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[test]
fn every_response_forbids_scripts_from_elsewhere_and_guessing_of_types() {
    let server = serve(&desk());
    for path in ["", "annotate.js", "api/stats", "no/such/page", "api/task"] {
        let (_, response, _) = get(&format!("{}{path}", server.url()), &[]);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-security-policy").starts_with("default-src 'self';"), "{path}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("x-frame-options"), "DENY");
    }
}

#[test]
fn other_names_and_other_sites_get_nothing() {
    let desk = desk();
    let task = desk.file(&example("1", "?"), &texts(&["a", "b"]), 1).unwrap();
    let server = serve(&desk);
    let (status, _, text) = get(&server.url(), &[("host", "rebound.example")]);
    assert_eq!((status, text.contains("<html")), (403, false));

    let body = json!({"annotator": "x", "task": task, "skip": "", "seconds": 1}).to_string();
    for headers in [
        vec![("content-type", "application/json")],
        vec![("content-type", "application/json"), ("origin", "http://evil.example")],
        vec![("content-type", "application/json"), ("origin", "null")],
    ] {
        let mut request = Request::post(format!("{}api/verdicts", server.url()));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        assert_eq!(send(request.body(body.clone()).unwrap()).0, 403);
    }
    // A form of another site has no such type; browsers send it without asking first.
    let origin = format!("http://{}", server.address());
    let form = Request::post(format!("{}api/verdicts", server.url()))
        .header("origin", &origin)
        .header("content-type", "text/plain")
        .body(body)
        .unwrap();
    assert_eq!(send(form).0, 415);
    assert_eq!(said(&desk, &task), []);
}

#[test]
fn a_verdict_is_checked_stored_once_and_taken_back() {
    let desk = desk();
    let task = desk.file(&example("1", "?"), &texts(&["a", "b", "c"]), 1).unwrap();
    let server = serve(&desk);
    let verdict = |extra: Value| {
        let mut body = json!({"annotator": "ann", "task": task, "seconds": 2.0});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        post(&server, "/api/verdicts", &body)
    };
    for (wrong, why) in [
        (json!({"blocks": [[0], [1]]}), "leaves out"),
        (json!({"blocks": [[0], [1], [2, 0]]}), "more than once"),
        (json!({"blocks": [[0], [1], [2, 9]]}), "not there"),
        (json!({"annotator": "a\u{1b}b", "skip": ""}), "name has 1 to 60"),
        (json!({"task": "../../etc/passwd", "skip": ""}), "no such task"),
    ] {
        let (status, answer) = verdict(wrong);
        assert!(status == 422 || status == 404, "{status} {answer}");
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    let large = "x".repeat(100_000);
    assert_eq!(verdict(json!({"skip": large})).0, 413);
    assert_eq!(said(&desk, &task), []);

    let (status, answer) = verdict(json!({"blocks": [[2], [0, 1]]}));
    assert_eq!((status, &answer["stored"]), (200, &json!(true)));
    assert_eq!(answer["progress"], json!({"done": 1, "left": 0, "wanting": 0}));
    let (status, answer) = verdict(json!({"blocks": [[0], [1, 2]]}));
    assert_eq!((status, &answer["stored"]), (200, &json!(false)));
    assert_eq!(said(&desk, &task).len(), 1);

    let (_, undone) = post(&server, "/api/undo", &json!({"annotator": "ann"}));
    assert_eq!((&undone["undo"], &undone["blocks"]), (&json!("done"), &json!([[2], [0, 1]])));
    assert_eq!(undone["task"]["id"], json!(task));
    let (_, undone) = post(&server, "/api/undo", &json!({"annotator": "ann"}));
    assert_eq!(undone["undo"], json!("nothing"));
    // What a run has taken stays.
    verdict(json!({"blocks": [[2], [0, 1]]}));
    assert!(desk.decide(&task, 1, 0.0).unwrap().is_some());
    let (_, undone) = post(&server, "/api/undo", &json!({"annotator": "ann"}));
    assert_eq!(undone["undo"], json!("taken"));
}

#[test]
fn a_clip_is_named_by_its_task_alone_and_files_that_are_no_videos_stay() {
    let desk = desk();
    let world = desk.file(&example("1", "?"), &texts(&["a", "b"]), 1).unwrap();
    let row = Example { video: VideoRef::File("/etc/passwd".into()), ..example("2", "?") };
    let secret = desk.file(&row, &texts(&["a", "b"]), 1).unwrap();
    let server = serve(&desk);
    let url = |path: &str| format!("{}{path}", server.url());

    let (_, _, text) = get(&url(&format!("api/clip/{world}")), &[]);
    let clip: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&clip["kind"], &clip["seconds"][7]), (&json!("frames"), &json!(1.75)));
    let (status, response, _) = get(&url(&format!("media/{world}/frames/7")), &[]);
    assert_eq!((status, response.headers()["content-type"].to_str().unwrap()), (200, "image/png"));
    assert_eq!(get(&url(&format!("media/{world}/frames/8")), &[]).0, 404);
    assert_eq!(get(&url(&format!("media/{world}/video")), &[]).0, 404);

    for path in [
        format!("media/{secret}/video"),
        format!("media/{secret}/frames/0"),
        format!("api/clip/{secret}"),
        "media/..%2f..%2f..%2fetc%2fpasswd/video".to_owned(),
        "media/%2fetc%2fpasswd/frames/0".to_owned(),
    ] {
        let (_, _, text) = get(&url(&path), &[]);
        assert!(!text.contains("root:") && !text.contains("/etc/passwd"), "{path}: {text}");
    }
}

#[test]
fn parts_of_a_video_file_are_sent_as_players_ask_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clip.mp4");
    let mut bytes = b"\0\0\0\x20ftypisom".to_vec();
    bytes.extend((0..100_000_u32).map(|i| u8::try_from(i % 251).unwrap()));
    std::fs::write(&path, &bytes).unwrap();
    let desk = desk();
    let row = Example { video: VideoRef::File(path), ..example("1", "?") };
    let task = desk.file(&row, &texts(&["a", "b"]), 1).unwrap();
    let server = serve(&desk);
    let url = format!("{}media/{task}/video", server.url());

    let (status, response, _) = get(&url, &[("range", "bytes=50000-50009")]);
    assert_eq!(status, 206);
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(header("content-range"), "bytes 50000-50009/100012");
    assert_eq!((header("content-type"), header("content-length")), ("video/mp4", "10"));
    assert_eq!(get(&url, &[("range", "bytes=200000-")]).0, 416);
    let (status, response, _) = get(&url, &[]);
    assert_eq!((status, response.headers()["content-length"].to_str().unwrap()), (200, "100012"));
}

#[test]
fn beyond_the_loopback_the_token_is_needed_once_and_stays_secret() {
    let options = ServerOptions { host: Ipv4Addr::UNSPECIFIED.into(), port: 0 };
    let server = Server::start(desk(), options).unwrap();
    let base = format!("http://127.0.0.1:{}/", server.address().port());
    let (_, token) =
        server.url().split_once("?token=").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    assert_eq!(token.len(), 32);
    assert!(!format!("{server:?}").contains(&token));

    assert_eq!(get(&base, &[]).0, 401);
    assert_eq!(get(&format!("{base}?token={}", "0".repeat(32)), &[]).0, 401);
    let (status, response, page) = get(&format!("{base}?token={token}"), &[]);
    let cookie = response.headers()["set-cookie"].to_str().unwrap();
    assert!(status == 200 && !page.contains(&token));
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(get(&base, &[("cookie", pair)]).0, 200);
    assert_eq!(get(&format!("{base}api/stats"), &[("cookie", "rlaif_annotate=x")]).0, 401);

    let other = Server::start(desk(), options).unwrap();
    assert_ne!(server.url().split_once("token="), other.url().split_once("token="));
}

#[test]
fn a_server_that_is_stopped_is_gone_and_a_taken_port_is_an_error_with_a_remedy() {
    let server = serve(&desk());
    let address = server.address();
    let options = ServerOptions { host: address.ip(), port: address.port() };
    let error = Server::start(desk(), options).unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--port"), "{error}");
    assert!(server.is_running());
    // Also while a client holds a connection open.
    let _idle = TcpStream::connect(address).unwrap();
    server.stop().unwrap();
    assert!(TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_err());
}
