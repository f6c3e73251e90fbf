//! The routes: who may ask, how much at once, and what a request gets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::problem::{Problem, quoted};
use super::reply::{Chunks, Collected, Event, Head};
use super::request::Chat;
use super::tally::{Counts, End, Tally};
use super::worker::Job;
use super::{Settings, guard, media, stream};

/// Time for a request's body.
const READING: Duration = Duration::from_secs(30);
/// Seconds after which a refused client may try again.
const RETRY_AFTER_SECONDS: u32 = 1;

/// What the routes share.
pub struct App {
    settings: Settings,
    jobs: mpsc::Sender<Job>,
    free: Arc<Semaphore>,
    /// One body at a time becomes values.
    parsing: Arc<Semaphore>,
    tally: Tally,
    sampled_tokens: Arc<AtomicU64>,
    started: u64,
}

impl App {
    /// For a queue of jobs, and the worker's count of tokens.
    #[must_use]
    pub fn new(
        settings: Settings,
        jobs: mpsc::Sender<Job>,
        sampled_tokens: Arc<AtomicU64>,
    ) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        App {
            free: Arc::new(Semaphore::new(settings.limits.max_concurrent)),
            parsing: Arc::new(Semaphore::new(1)),
            settings,
            jobs,
            tally: Tally::default(),
            sampled_tokens,
            started: now.map_or(0, |now| now.as_secs()),
        }
    }

    /// How requests ended so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.counts()
    }

    fn refuse(&self, problem: Problem) -> Response {
        self.tally.add(if problem.status < 500 { End::Refused } else { End::Failed });
        tracing::info!(%problem, "a request is refused");
        problem.into_response()
    }

    fn model(&self) -> Value {
        json!({
            "id": self.settings.model_name,
            "object": "model",
            "created": self.started,
            "owned_by": "oracle-rlaif",
        })
    }
}

/// One of the requests that are taken at once. Given up without an end, its client left.
pub struct Ticket {
    app: Arc<App>,
    _permit: OwnedSemaphorePermit,
    ended: bool,
}

impl Ticket {
    fn take(app: &Arc<App>) -> Result<Ticket, Problem> {
        match Arc::clone(&app.free).try_acquire_owned() {
            Ok(permit) => Ok(Ticket { app: Arc::clone(app), _permit: permit, ended: false }),
            Err(_) => Err(busy(app.settings.limits.max_concurrent)),
        }
    }

    /// Counts how the request ended, unless that is counted elsewhere.
    pub fn end(mut self, how: Option<End>) {
        self.ended = true;
        if let Some(how) = how {
            self.app.tally.add(how);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.ended {
            self.app.tally.add(End::Left);
        }
    }
}

/// Where the server is and what it shares, for the routes.
#[derive(Clone)]
pub struct Here {
    /// What the routes share.
    pub app: Arc<App>,
    /// The address that is listened at.
    pub at: SocketAddr,
}

/// All routes.
pub fn router(here: Here) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/models", get(models))
        .route("/v1/models/{*name}", get(model))
        .route("/v1/chat/completions", post(chat))
        .fallback(nothing)
        .method_not_allowed_fallback(no_method)
        .with_state(here)
}

async fn nothing(State(here): State<Here>) -> Response {
    let message = "there is no such route; see `/v1/chat/completions`, `/v1/models`, `/health`";
    here.app.refuse(Problem::new(404, "invalid_request_error", message))
}

async fn no_method(State(here): State<Here>) -> Response {
    let message = "this route takes another method";
    here.app.refuse(Problem::new(405, "invalid_request_error", message))
}

/// That the server lives, and what it did; tells nobody what it serves.
async fn health(State(here): State<Here>) -> Response {
    let counts = here.app.counts();
    let in_progress = here.app.settings.limits.max_concurrent - here.app.free.available_permits();
    json_response(
        &json!({
            "status": "ok",
            "in_progress": in_progress,
            "answered": counts.answered,
            "refused": counts.refused,
            "failed": counts.failed,
            "left": counts.left,
            "sampled_tokens": here.app.sampled_tokens.load(Ordering::Relaxed),
        })
        .to_string(),
    )
}

async fn models(State(here): State<Here>, headers: HeaderMap) -> Response {
    match guard::admit(here.app.settings.key.as_ref(), here.at, &headers) {
        Ok(()) => json_response(&json!({"object": "list", "data": [here.app.model()]}).to_string()),
        Err(problem) => here.app.refuse(problem),
    }
}

async fn model(State(here): State<Here>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let admitted = guard::admit(here.app.settings.key.as_ref(), here.at, &headers);
    match admitted.and_then(|()| known_model(&here.app.settings, Some(&name))) {
        Ok(()) => json_response(&here.app.model().to_string()),
        Err(problem) => here.app.refuse(problem),
    }
}

fn known_model(settings: &Settings, name: Option<&str>) -> Result<(), Problem> {
    match name {
        Some(name) if name != settings.model_name => {
            let message = format!(
                "there is no model {} here; this server has `{}`",
                quoted(name),
                settings.model_name
            );
            let problem = Problem::new(404, "invalid_request_error", message);
            Err(Problem { param: Some("model".to_owned()), ..problem }.code("model_not_found"))
        }
        _ => Ok(()),
    }
}

fn json_response(text: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.to_owned()).into_response()
}

async fn chat(State(here): State<Here>, request: Request) -> Response {
    match converse(&here, request).await {
        Ok(response) => response,
        Err(problem) => here.app.refuse(problem),
    }
}

async fn converse(here: &Here, request: Request) -> Result<Response, Problem> {
    let deadline = Instant::now() + here.app.settings.limits.timeout;
    let (head, body) = request.into_parts();
    guard::admit(here.app.settings.key.as_ref(), here.at, &head.headers)?;
    guard::json_only(&head.headers)?;
    let ticket = Ticket::take(&here.app)?;
    match answer(&here.app, &head.headers, body, deadline).await {
        Ok(Answer::Whole(text)) => {
            ticket.end(Some(End::Answered));
            Ok(json_response(&text))
        }
        Ok(Answer::Stream { first, events, chunks }) => {
            Ok(stream::respond(first, events, chunks, deadline, ticket))
        }
        Err(problem) => {
            ticket.end(None);
            Err(problem)
        }
    }
}

/// What a request gets.
enum Answer {
    Whole(String),
    Stream { first: Event, events: UnboundedReceiver<Event>, chunks: Chunks },
}

async fn answer(
    app: &Arc<App>,
    headers: &HeaderMap,
    body: Body,
    deadline: Instant,
) -> Result<Answer, Problem> {
    let body = read_body(headers, body, app.settings.limits.max_body_bytes).await?;
    let (chat, job, mut events) = prepare(app, body).await?;
    app.jobs.send(job).map_err(|_| Problem::server("the server is stopping"))?;
    let head = Head::new(&app.settings.model_name, chat.stream);
    if chat.stream {
        // Until the prompt is made, a refusal still has a status of its own.
        return match next(&mut events, deadline).await? {
            Event::Failed(problem) => Err(problem),
            first => {
                let chunks = Chunks::new(head, chat.wish.n, chat.include_usage);
                Ok(Answer::Stream { first, events, chunks })
            }
        };
    }
    let mut collected = Collected::new(chat.wish.n, chat.wish.top_logprobs.is_some());
    while !collected.add(next(&mut events, deadline).await?)? {}
    Ok(Answer::Whole(collected.json(&head)?))
}

async fn next(events: &mut UnboundedReceiver<Event>, deadline: Instant) -> Result<Event, Problem> {
    match timeout_at(deadline, events.recv()).await {
        Ok(Some(event)) => Ok(event),
        Ok(None) => Err(Problem::server("the reply broke off")),
        Err(_) => Err(stream::too_slow()),
    }
}

fn busy(max_concurrent: usize) -> Problem {
    let message =
        format!("{max_concurrent} requests are under way, no more are taken; try again shortly");
    let problem = Problem::new(429, "rate_limit_error", message).code("server_busy");
    Problem { retry_after_seconds: Some(RETRY_AFTER_SECONDS), ..problem }
}

/// The whole body, within its size and time.
async fn read_body(headers: &HeaderMap, body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || {
        let message = format!("the body is above {limit} bytes, the most that this server reads");
        Problem::new(413, "invalid_request_error", message).code("body_too_large")
    };
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if announced.and_then(|text| text.parse::<u64>().ok()).is_some_and(|n| n > limit as u64) {
        return Err(too_large());
    }
    match timeout(READING, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes.into()),
        // Whether it was too large or broke off: who broke off does not read this.
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Problem::new(408, "invalid_request_error", "the body came too slowly")),
    }
}

/// Reads the request and puts its clip down, off the thread that speaks to everybody.
async fn prepare(
    app: &Arc<App>,
    body: Vec<u8>,
) -> Result<(Chat, Job, UnboundedReceiver<Event>), Problem> {
    let stopped = || Problem::server("the server is stopping");
    let turn = Arc::clone(&app.parsing).acquire_owned().await.map_err(|_| stopped())?;
    let shared = Arc::clone(app);
    let prepared = tokio::task::spawn_blocking(move || {
        // Held to the end of the work, also where the client is gone by then.
        let _turn = turn;
        let settings = &shared.settings;
        let mut chat = Chat::read(&body, &settings.limits)?;
        drop(body);
        known_model(settings, chat.model.as_deref())?;
        let clip = match chat.shown.take() {
            Some(shown) => Some(media::place(&shown, settings.media_root.as_deref())?),
            None => None,
        };
        let (sender, events) = unbounded_channel();
        let messages = std::mem::take(&mut chat.messages);
        let job = Job { messages, clip, wish: chat.wish.clone(), events: sender };
        Ok((chat, job, events))
    });
    prepared.await.map_err(|error| {
        tracing::error!(%error, "reading a request ended in a panic");
        Problem::server("the server failed on this request; its log says where")
    })?
}
