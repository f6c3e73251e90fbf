//! One attempt: a request on the wire and what came back, bounded in time and size.

use std::{fmt, time::Duration};

use ureq::{
    Agent,
    http::{HeaderMap, HeaderValue, Uri, header},
};

use super::limits::{LimitsConfig, seconds};

/// Largest reply, in bytes.
const MAX_REPLY: u64 = 4 << 20;
/// How long a connection is kept for the next request: less than common servers keep it.
const KEPT: Duration = Duration::from_secs(4);

/// Where ureq logs the bytes that it sends.
const BYTES: &str = "ureq_proto::util";

/// What came back.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why nothing usable came back.
#[derive(Debug)]
pub(super) enum Lost {
    /// The time was over.
    Timeout,
    /// In words.
    Network(String),
    /// The reply is larger than what is read.
    Huge,
    /// Nothing was sent: a logger would write the key.
    Overheard,
}

/// Connections to one server. Redirects are not followed.
pub(super) struct Wire {
    agent: Agent,
    url: Uri,
    authorization: Option<HeaderValue>,
}

impl fmt::Debug for Wire {
    /// Without the agent, which may know the password of a proxy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(url: Uri, authorization: Option<HeaderValue>, limits: &LimitsConfig) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(seconds(limits.connect_timeout_seconds)))
            .max_idle_connections(limits.concurrency)
            .max_idle_connections_per_host(limits.concurrency)
            .max_idle_age(KEPT)
            .user_agent(concat!("oracle-rlaif/", env!("CARGO_PKG_VERSION")));
        // A proxy of the environment is for the world outside.
        let config = if is_here(&url) { config.proxy(None) } else { config };
        Wire { agent: config.build().into(), url, authorization }
    }

    /// Whether the key goes over a network that anybody can read.
    pub(super) fn shows_key(&self) -> bool {
        self.authorization.is_some() && self.url.scheme_str() == Some("http") && !is_here(&self.url)
    }

    /// Sends `body` and reads the reply, all within `timeout`.
    pub(super) fn post(&self, body: &[u8], timeout: Duration) -> Result<Raw, Lost> {
        // At this level ureq logs every byte on the wire.
        if self.authorization.is_some() && log::log_enabled!(target: BYTES, log::Level::Trace) {
            return Err(Lost::Overheard);
        }
        let mut request = self
            .agent
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json");
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        let request = request.config().timeout_global(Some(timeout)).build();
        let response = request.send(body).map_err(|error| lost(&error))?;
        let (parts, body) = response.into_parts();
        let status = parts.status.as_u16();
        let body = body.into_with_config().limit(MAX_REPLY).read_to_vec();
        let body = match body.map_err(|error| lost(&error)) {
            // The status says enough.
            Err(_) if !parts.status.is_success() => Vec::new(),
            body => body?,
        };
        Ok(Raw { status, headers: parts.headers, body })
    }
}

fn lost(error: &ureq::Error) -> Lost {
    match error {
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
            Lost::Network("no connection within `connect_timeout_seconds`".to_owned())
        }
        ureq::Error::Timeout(_) => Lost::Timeout,
        ureq::Error::BodyExceedsLimit(_) => Lost::Huge,
        _ => Lost::Network(error.to_string()),
    }
}

/// Whether the address is this machine's own.
fn is_here(url: &Uri) -> bool {
    url.host().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(url: &str) -> Wire {
        let key = Some(HeaderValue::from_static("Bearer k"));
        Wire::new(url.parse().unwrap(), key, &LimitsConfig::default())
    }

    #[test]
    fn a_key_in_clear_is_seen_unless_it_stays_here() {
        assert!(wire("http://judge.example/v1").shows_key());
        for url in ["https://judge.example/v1", "http://127.0.0.9/v1", "http://[::1]:8/v1"] {
            assert!(!wire(url).shows_key(), "{url}");
        }
    }
}
