use super::*;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn status(
    guard: &Guard,
    method: &Method,
    uri: &'static str,
    pairs: &[(&'static str, &'static str)],
) -> u16 {
    match guard.check(method, &Uri::from_static(uri), &headers(pairs)) {
        Verdict::Passed => 200,
        Verdict::Welcome => 303,
        Verdict::Refused(status, _) => status.as_u16(),
    }
}

#[test]
fn the_loopback_answers_to_its_own_names_alone() {
    let guard = Guard::new(None, 8765);
    for (host, expected) in [
        ("127.0.0.1:8765", 200),
        ("LOCALHOST:9000", 200),
        ("[::1]:8765", 200),
        ("[::1]", 200),
        ("localhost", 200),
        ("evil.example:8765", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:8765.evil.example", 403),
        ("localhost@evil.example:80", 403),
    ] {
        assert_eq!(status(&guard, &Method::GET, "/", &[("host", host)]), expected, "{host}");
    }
    assert_eq!(status(&guard, &Method::GET, "/", &[]), 400);
}

#[test]
fn only_this_page_changes_anything() {
    let guard = Guard::new(None, 8765);
    let host = ("host", "localhost:8765");
    let post = |pairs: &[(&'static str, &'static str)]| status(&guard, &Method::POST, "/", pairs);
    assert_eq!(post(&[host]), 403);
    assert_eq!(post(&[host, ("origin", "null")]), 403);
    assert_eq!(post(&[host, ("origin", "http://evil.example")]), 403);
    assert_eq!(post(&[host, ("origin", "http://localhost:8766")]), 403);
    assert_eq!(post(&[host, ("origin", "http://localhost:8765")]), 200);
    assert_eq!(status(&guard, &Method::GET, "/", &[host, ("origin", "http://evil.example")]), 403);
}

#[test]
fn elsewhere_the_token_is_needed_and_becomes_a_cookie() {
    let guard = Guard::new(Some("s3cret".to_owned()), 80);
    let host = ("host", "studio.example");
    let get = |uri: &'static str, cookie: &'static str| {
        status(&guard, &Method::GET, uri, &[host, ("cookie", cookie)])
    };
    assert_eq!(get("/", "a=b"), 401);
    assert_eq!(get("/?token=s3cre", "a=b"), 401);
    assert_eq!(get("/?token=", "rlaif_annotate_80="), 401);
    assert_eq!(get("/?token=s3cret", "a=b"), 303);
    assert_eq!(get("/api/stats", "a=b; rlaif_annotate_80=s3cret"), 200);
    assert_eq!(get("/api/stats", "rlaif_annotate_81=s3cret"), 401);
    // The cookie alone does not let another site act.
    let pairs = [host, ("cookie", "rlaif_annotate_80=s3cret"), ("origin", "http://evil.example")];
    assert_eq!(status(&guard, &Method::POST, "/api/undo", &pairs), 403);

    let welcome = guard.welcome();
    let cookie = welcome.headers()[header::SET_COOKIE].to_str().unwrap();
    assert_eq!(cookie, "rlaif_annotate_80=s3cret; Path=/; HttpOnly; SameSite=Strict");
}
