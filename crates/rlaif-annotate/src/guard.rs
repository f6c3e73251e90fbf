//! Who may talk to the server.
//!
//! - On the loopback address everybody on this machine may, but only under a name of the loopback: a
//!   page elsewhere whose name was made to point here (DNS rebinding) says its own name in `Host`.
//! - On any other address the token of the printed URL is needed once; it becomes a cookie that
//!   scripts cannot read and other sites cannot send.
//! - What changes something must come from this page: `Origin` names this server.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;

/// Headers of every response. Nothing but our own files is loaded, no script stands in the page, and
/// no other site frames it.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The rules of one server.
pub(crate) struct Guard {
    /// Needed where the server is reached from other machines.
    token: Option<String>,
    cookie: String,
}

impl Guard {
    pub(crate) fn new(token: Option<String>, port: u16) -> Self {
        // Cookies are shared between the ports of a host.
        Guard { token, cookie: format!("rlaif_annotate_{port}") }
    }

    fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Verdict {
        let Some(host) = text(headers, &header::HOST) else {
            return Verdict::Refused(StatusCode::BAD_REQUEST, "a request names its host");
        };
        match &self.token {
            None if !is_loopback_name(host) => {
                return Verdict::Refused(
                    StatusCode::FORBIDDEN,
                    "this server answers to 127.0.0.1 and localhost alone",
                );
            }
            Some(token) => match self.credential(token, uri, headers) {
                Credential::Cookie => {}
                Credential::Query => return Verdict::Welcome,
                Credential::None => {
                    return Verdict::Refused(
                        StatusCode::UNAUTHORIZED,
                        "open the address with the token that oracle-rlaif annotate printed",
                    );
                }
            },
            None => {}
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let origin = text(headers, &header::ORIGIN).and_then(|origin| origin.split_once("://"));
        match origin {
            None if reads => Verdict::Passed,
            Some((_, authority)) if authority.eq_ignore_ascii_case(host) => Verdict::Passed,
            _ => Verdict::Refused(StatusCode::FORBIDDEN, "another site may not do this"),
        }
    }

    fn credential(&self, token: &str, uri: &Uri, headers: &HeaderMap) -> Credential {
        let same = |given: &str| bool::from(given.as_bytes().ct_eq(token.as_bytes()));
        let in_cookie = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(name, value)| name == self.cookie && same(value));
        let in_query = uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.strip_prefix("token="))
            .any(same);
        match (in_query, in_cookie) {
            (true, _) => Credential::Query,
            (false, true) => Credential::Cookie,
            (false, false) => Credential::None,
        }
    }

    /// Sends who brought the token to the page without it, so that it stands in no history.
    fn welcome(&self) -> Response {
        let token = self.token.as_deref().unwrap_or_default();
        let cookie = format!("{}={token}; Path=/; HttpOnly; SameSite=Strict", self.cookie);
        // A page of its own rather than a redirect: a strict cookie is not sent on the way of a
        // redirect that began on another site, as a link in a mail is.
        let page = "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content='0; url=/'>\
                    <title>Ranking</title><a href='/'>Go on</a>";
        ([(header::SET_COOKIE, cookie)], axum::response::Html(page)).into_response()
    }
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Passed,
    /// With the token in the address.
    Welcome,
    Refused(StatusCode, &'static str),
}

enum Credential {
    Cookie,
    Query,
    None,
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Any port: a tunnel may end on another one.
fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "127.0.0.1" | "[::1]") || name.eq_ignore_ascii_case("localhost")
}

/// Lets a request through or answers it, and gives every response the headers.
pub(crate) async fn guard(
    State(guard): State<Arc<Guard>>,
    request: Request,
    next: Next,
) -> Response {
    let verdict = guard.check(request.method(), request.uri(), request.headers());
    let mut response = match verdict {
        Verdict::Passed => next.run(request).await,
        Verdict::Welcome => guard.welcome(),
        Verdict::Refused(status, why) => (status, format!("{why}\n")).into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
