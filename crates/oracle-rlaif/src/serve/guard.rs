//! Who may ask: the key, and against web pages the names by which the server is addressed.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};

use super::key::ApiKey;
use super::problem::{Problem, quoted};

/// Checks the key, where there is one. Without one, only names of this machine are taken for its
/// address: a page that points its own name to the loopback could read the replies otherwise.
///
/// # Errors
///
/// 401 for a wrong key or none, 403 for a strange name.
pub fn admit(key: Option<&ApiKey>, at: SocketAddr, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(key) = key else { return known_host(at, headers) };
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    if token.is_some_and(|token| key.is(token)) {
        return Ok(());
    }
    let message = match token {
        Some(_) => "the API key is not this server's",
        None => "this server needs its API key in the header `Authorization: Bearer KEY`",
    };
    Err(Problem::new(401, "authentication_error", message).code("invalid_api_key"))
}

fn known_host(at: SocketAddr, headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let known = name.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|address| address.is_loopback() || address == at.ip());
    if known {
        return Ok(());
    }
    let message = format!(
        "the server does not answer to the name {}; address it as `localhost`, or give it an API \
         key",
        quoted(host)
    );
    Err(Problem::new(403, "permission_error", message).code("unknown_host"))
}

/// Only JSON is read: a web page cannot send it to another site without being asked first.
///
/// # Errors
///
/// 415 for anything else.
pub fn json_only(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let message = "the body must be JSON, with `Content-Type: application/json`";
    Err(Problem::new(415, "invalid_request_error", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn without_a_key_only_names_of_this_machine_are_answered() {
        let at = "127.0.0.1:8000".parse().unwrap();
        for (host, status) in [
            ("localhost:8000", 200),
            ("127.0.0.1", 200),
            ("[::1]:8000", 200),
            ("LOCALHOST", 200),
            ("rebound.example:8000", 403),
            ("10.0.0.1:8000", 403),
            ("127.0.0.1.example", 403),
        ] {
            let got = admit(None, at, &headers(header::HOST, host));
            assert_eq!(got.map_or_else(|problem| problem.status, |()| 200), status, "{host}");
        }
        assert_eq!(admit(None, at, &HeaderMap::new()).unwrap_err().status, 403);
    }

    #[test]
    fn with_a_key_it_must_be_shown() {
        let (key, at) = (ApiKey::new("0123456789abcdef").unwrap(), "0.0.0.0:1".parse().unwrap());
        for (value, good) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeg", false),
            ("0123456789abcdef", false),
            ("Basic 0123456789abcdef", false),
        ] {
            let got = admit(Some(&key), at, &headers(header::AUTHORIZATION, value));
            assert_eq!(got.is_ok(), good, "{value}");
            assert!(got.err().is_none_or(|problem| problem.status == 401));
        }
    }

    #[test]
    fn forms_and_plain_text_are_not_read() {
        let of = |kind: &str| json_only(&headers(header::CONTENT_TYPE, kind)).is_ok();
        assert!(of("application/json") && of("Application/JSON; charset=utf-8"));
        assert!(!of("text/plain") && !of("application/x-www-form-urlencoded"));
    }
}
