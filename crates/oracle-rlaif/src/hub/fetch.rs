//! Files of a repository over HTTP, into the cache: one after the other, checked, resumed.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::{Agent, Body};

use super::{Hub, Name};

const MAX_REDIRECTS: usize = 5;
/// Largest listing read, in bytes.
const MAX_LISTING: u64 = 64 << 20;
/// Times that one file is tried again without a byte of it coming.
const RETRIES: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// Why something cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(
        "the hub refuses it (HTTP {status}): it is gated, private or not there. Accept its \
         conditions on its page, and set HF_TOKEN or run `hf auth login`"
    )]
    Refused { status: u16 },
    #[error("the hub has no such model, revision or file (HTTP 404)")]
    NotFound,
    #[error("the hub answers with HTTP {status}")]
    Status { status: u16 },
    #[error("no answer from the hub ({problem})")]
    Network { problem: String },
    #[error("the hub's answer cannot be used: {problem}")]
    Broken { problem: String },
    #[error("`{file}` came only in part: {got} of {size} bytes; what came is kept, try again")]
    Interrupted { file: String, got: u64, size: u64 },
    #[error("`{file}` is not what the hub says it is (SHA-256); it was thrown away, try again")]
    Corrupt { file: String },
    #[error("`{path}`: {source}")]
    Io { path: String, source: std::io::Error },
}

impl FetchError {
    fn network(error: &ureq::Error) -> Self {
        FetchError::Network { problem: error.to_string() }
    }

    fn broken(problem: &str) -> Self {
        FetchError::Broken { problem: problem.to_owned() }
    }

    fn io(path: &Path) -> impl Fn(std::io::Error) -> FetchError {
        let path = path.display().to_string();
        move |source| FetchError::Io { path: path.clone(), source }
    }
}

/// What a repository holds at a revision.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) names: BTreeSet<String>,
}

/// What the hub says of a file before it is fetched.
struct Stamp {
    /// Name in the cache; the SHA-256 of a large file.
    etag: String,
    size: Option<u64>,
}

/// A connection to the hub.
pub(super) struct Remote<'a> {
    hub: &'a Hub,
    agent: Agent,
}

impl<'a> Remote<'a> {
    pub(super) fn new(hub: &'a Hub) -> Result<Self, FetchError> {
        let here = uri(&hub.endpoint)?
            .host()
            .is_some_and(|host| ["localhost", "127.0.0.1", "[::1]"].contains(&host));
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(ANSWER))
            .user_agent(concat!("oracle-rlaif/", env!("CARGO_PKG_VERSION")));
        let config = if here { config.proxy(None) } else { config };
        Ok(Remote { hub, agent: config.build().into() })
    }

    /// What a repository holds.
    pub(super) fn listing(&self, name: &Name) -> Result<Listing, FetchError> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let revision = name.revision.replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}", self.hub.endpoint, name.id);
        let response = self.get(&url, None)?;
        let bytes = response
            .into_body()
            .into_with_config()
            .limit(MAX_LISTING)
            .read_to_vec()
            .map_err(|error| FetchError::network(&error))?;
        let info: Info = serde_json::from_slice(&bytes).map_err(|error| FetchError::Broken {
            problem: format!("the listing of the repository: {error}"),
        })?;
        if !super::is_commit(&info.sha) {
            return Err(FetchError::broken("the listing of the repository names no commit"));
        }
        let names = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        Ok(Listing { commit: info.sha, names })
    }

    /// Fetches the file `name`, right in the repository, into `blobs`, and links it into
    /// `snapshot`. What is there is not fetched again; a part goes on where it stopped.
    pub(super) fn file(
        &self,
        id: &str,
        commit: &str,
        name: &str,
        blobs: &Path,
        snapshot: &Path,
    ) -> Result<(), FetchError> {
        if snapshot.join(name).is_file() {
            return Ok(());
        }
        let url = format!("{}/{id}/resolve/{commit}/{name}", self.hub.endpoint);
        let stamp = self.stamp(&url)?;
        let blob = blobs.join(&stamp.etag);
        if !blob.is_file() {
            let part = blobs.join(format!("{}.incomplete", stamp.etag));
            self.download(&url, name, &stamp, &part, &blob)?;
        }
        link(&stamp.etag, &blob, &snapshot.join(name))
    }

    /// Asks for a file's name in the cache and its size.
    fn stamp(&self, url: &str) -> Result<Stamp, FetchError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.head(&url);
            if let Some(token) = &self.hub.token {
                request = request.header(header::AUTHORIZATION, token.header());
            }
            let response = request.call().map_err(|error| FetchError::network(&error))?;
            let next = redirected(&url, &response)?.filter(|next| self.is_hub(next));
            if let Some(next) = next {
                url = next;
                continue;
            }
            let elsewhere = response.status().is_redirection();
            if !elsewhere {
                check(&response)?;
            }
            return stamp_of(response.headers(), elsewhere);
        }
        Err(FetchError::broken("too many redirects"))
    }

    /// One request, redirects followed; the token goes to the hub alone.
    fn get(&self, url: &str, from: Option<u64>) -> Result<Response<Body>, FetchError> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.agent.get(&url);
            if self.is_hub(&url)
                && let Some(token) = &self.hub.token
            {
                request = request.header(header::AUTHORIZATION, token.header());
            }
            if let Some(from) = from {
                request = request.header(header::RANGE, format!("bytes={from}-"));
            }
            let response = request.call().map_err(|error| FetchError::network(&error))?;
            match redirected(&url, &response)? {
                Some(next) => url = next,
                None => {
                    check(&response)?;
                    return Ok(response);
                }
            }
        }
        Err(FetchError::broken("too many redirects"))
    }

    /// Whether an address is the hub's own: scheme, host and port.
    fn is_hub(&self, url: &str) -> bool {
        let origin = |url: &str| {
            let uri = uri(url).ok()?;
            Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_lowercase()))
        };
        origin(url).is_some() && origin(url) == origin(&self.hub.endpoint)
    }

    fn download(
        &self,
        url: &str,
        name: &str,
        stamp: &Stamp,
        part: &Path,
        blob: &Path,
    ) -> Result<(), FetchError> {
        let io = FetchError::io(part);
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(part).map_err(&io)?;
        // Another program may be fetching the same file.
        match file.lock() {
            Err(error) if error.kind() != std::io::ErrorKind::Unsupported => return Err(io(error)),
            _ => {}
        }
        if blob.is_file() {
            return Ok(());
        }
        let bar = bar(name, stamp.size);
        let mut failures = 0;
        loop {
            let before = file.metadata().map_err(&io)?.len();
            let tried = self.continue_download(url, stamp, &mut file, &io, &bar);
            let got = file.metadata().map_err(&io)?.len();
            let problem = match tried {
                Ok(()) if stamp.size.is_none_or(|size| size == got) => break,
                Ok(()) => {
                    let size = stamp.size.unwrap_or_default();
                    FetchError::Interrupted { file: name.to_owned(), got, size }
                }
                Err(FetchError::Network { problem }) => match stamp.size {
                    Some(size) if got > 0 => {
                        FetchError::Interrupted { file: name.to_owned(), got, size }
                    }
                    _ => FetchError::Network { problem },
                },
                Err(error) => return Err(error),
            };
            failures = if got > before { 0 } else { failures + 1 };
            if failures > RETRIES {
                return Err(problem);
            }
            std::thread::sleep(FIRST_WAIT * 2_u32.pow(failures));
        }
        bar.finish_and_clear();
        if is_sha256(&stamp.etag) && sha256(&mut file).map_err(&io)? != stamp.etag {
            std::fs::remove_file(part).map_err(&io)?;
            return Err(FetchError::Corrupt { file: name.to_owned() });
        }
        file.sync_all().map_err(&io)?;
        std::fs::rename(part, blob).map_err(FetchError::io(blob))
    }

    /// Appends what is left of a file to the part that is there.
    fn continue_download(
        &self,
        url: &str,
        stamp: &Stamp,
        file: &mut File,
        io: &impl Fn(std::io::Error) -> FetchError,
        bar: &ProgressBar,
    ) -> Result<(), FetchError> {
        let mut have = file.metadata().map_err(io)?.len();
        if stamp.size.is_none_or(|size| have > size) {
            file.set_len(0).map_err(io)?;
            have = 0;
        }
        if stamp.size == Some(have) {
            return Ok(());
        }
        let response = self.get(url, (have > 0).then_some(have))?;
        if have > 0 && response.status().as_u16() != 206 {
            file.set_len(0).map_err(io)?;
            have = 0;
        }
        bar.set_position(have);
        let limit = stamp.size.map_or(u64::MAX, |size| size - have);
        let mut body = response.into_body().into_reader().take(limit);
        let mut buffer = vec![0; 1 << 20];
        loop {
            let n = body
                .read(&mut buffer)
                .map_err(|error| FetchError::Network { problem: error.to_string() })?;
            if n == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..n]).map_err(io)?;
            bar.inc(n as u64);
        }
    }
}

fn uri(text: &str) -> Result<Uri, FetchError> {
    text.parse().map_err(|_| FetchError::broken("it is no address (HF_ENDPOINT, or a redirect)"))
}

/// Where a response points to instead.
fn redirected(from: &str, response: &Response<Body>) -> Result<Option<String>, FetchError> {
    if ![301, 302, 303, 307, 308].contains(&response.status().as_u16()) {
        return Ok(None);
    }
    let location = response
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| FetchError::broken("a redirect to nowhere"))?;
    let (base, to) = (uri(from)?, uri(location)?);
    let next = match (to.scheme_str(), to.host()) {
        (Some(_), Some(_)) => location.to_owned(),
        (None, None) if location.starts_with('/') => format!(
            "{}://{}{location}",
            base.scheme_str().unwrap_or_default(),
            base.authority().map_or("", |authority| authority.as_str())
        ),
        _ => return Err(FetchError::broken("a redirect to no address")),
    };
    if base.scheme_str() == Some("https") && !next.starts_with("https://") {
        return Err(FetchError::broken("a redirect away from https"));
    }
    Ok(Some(next))
}

fn check(response: &Response<Body>) -> Result<(), FetchError> {
    match response.status().as_u16() {
        200 | 206 => Ok(()),
        status @ (401 | 403) => Err(FetchError::Refused { status }),
        404 => Err(FetchError::NotFound),
        status => Err(FetchError::Status { status }),
    }
}

/// `X-Linked-*` describe a file that lies elsewhere.
fn stamp_of(headers: &HeaderMap, elsewhere: bool) -> Result<Stamp, FetchError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text("x-linked-etag")
        .or(text("etag"))
        .map(|etag| etag.trim_start_matches("W/").trim_matches('"'))
        .filter(|etag| {
            (1..=128).contains(&etag.len())
                && etag.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
        })
        .ok_or_else(|| FetchError::broken("it does not say which version of a file it has"))?;
    let length = if elsewhere { None } else { text("content-length") };
    let size = text("x-linked-size").or(length).and_then(|size| size.parse().ok());
    Ok(Stamp { etag: etag.to_owned(), size })
}

fn is_sha256(etag: &str) -> bool {
    etag.len() == 64 && etag.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

fn sha256(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut digest = Sha256::new();
    std::io::copy(file, &mut digest)?;
    Ok(format!("{:x}", digest.finalize()))
}

/// Puts a file of the cache into a snapshot, as a link that moves with the cache.
fn link(etag: &str, blob: &Path, at: &Path) -> Result<(), FetchError> {
    let io = FetchError::io(at);
    if at.symlink_metadata().is_ok() {
        std::fs::remove_file(at).map_err(&io)?;
    }
    #[cfg(unix)]
    return {
        let _ = blob;
        std::os::unix::fs::symlink(Path::new("../../blobs").join(etag), at).map_err(io)
    };
    #[cfg(not(unix))]
    return {
        let _ = etag;
        std::fs::hard_link(blob, at).or_else(|_| std::fs::copy(blob, at).map(drop)).map_err(io)
    };
}

/// A bar on a terminal, unless only errors are to be said.
fn bar(name: &str, size: Option<u64>) -> ProgressBar {
    let target = if tracing::enabled!(tracing::Level::WARN) {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(size, target);
    let template = "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_prefix(name.to_owned())
}
