//! What the page asks of the server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rlaif_oracle::Desk;
use rlaif_oracle::human::{AnnotatorName, NewJudgement, Submitted, Task, Withdrawn, agreement};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::answers::{Counts, Sent, Shown, blocks};
use crate::clips::{Clips, playable};
use crate::failure::{Failure, blocking};
use crate::leases::Leases;
use crate::{page, shown_order};

/// Bytes of a request, at most.
const BODY_LIMIT: usize = 64 << 10;
/// Clips that are decoded at once.
const DECODING: usize = 2;

/// What the handlers share.
pub(crate) struct App {
    desk: Desk,
    leases: Mutex<Leases>,
    clips: Clips,
    decoding: Arc<Semaphore>,
}

type Shared = State<Arc<App>>;
type Answered = Result<Json<Value>, Failure>;

/// All paths of the server.
pub(crate) fn router(desk: Desk) -> Router {
    let app = App {
        desk,
        leases: Mutex::default(),
        clips: Clips::default(),
        decoding: Arc::new(Semaphore::new(DECODING)),
    };
    Router::new()
        .route("/", get(page::html))
        .route("/annotate.css", get(page::css))
        .route("/annotate.js", get(page::script))
        .route("/drag.js", get(page::drag))
        .route("/favicon.ico", get(page::icon))
        .route("/order.js", get(page::order))
        .route("/player.js", get(page::player))
        .route("/api/task", get(task))
        .route("/api/state", get(state))
        .route("/api/verdicts", post(verdict))
        .route("/api/undo", post(undo))
        .route("/api/stats", get(stats))
        .route("/api/clip/{task}", get(clip))
        .route("/media/{task}/video", get(video))
        .route("/media/{task}/frames/{index}", get(frame))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Arc::new(app))
}

impl App {
    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task for the annotator, which they hold from now on.
    fn assign(&self, annotator: &AnnotatorName) -> Result<Option<Task>, Failure> {
        let open = self.desk.open_tasks(annotator)?;
        let now = Instant::now();
        let picked = {
            let mut leases = self.leases();
            let picked = leases.pick(annotator.as_str(), &open, now);
            match &picked {
                Some(task) => leases.hold(annotator.as_str(), task, now),
                None => leases.release(annotator.as_str()),
            }
            picked
        };
        match picked {
            Some(digest) => Ok(self.desk.task(&digest)?),
            None => Ok(None),
        }
    }

    fn task(&self, digest: &str) -> Result<Task, Failure> {
        self.desk.task(digest)?.ok_or_else(|| Failure::missing("there is no such task"))
    }
}

#[derive(Debug, Deserialize)]
struct Who {
    annotator: String,
    /// The task that the page shows.
    task: Option<String>,
}

fn name(text: &str) -> Result<AnnotatorName, Failure> {
    AnnotatorName::new(text).map_err(|error| Failure::bad(error.to_string()))
}

/// The next task of an annotator, or the one that they have before them.
async fn task(State(app): Shared, Query(who): Query<Who>) -> Answered {
    blocking(move || {
        let annotator = name(&who.annotator)?;
        let task = app.assign(&annotator)?.map(|task| Shown::new(task, &annotator));
        let progress = Counts::from(app.desk.progress(&annotator)?);
        Ok(Json(json!({ "task": task, "progress": progress })))
    })
    .await
}

/// How far it is; keeps the task with the page that asks.
async fn state(State(app): Shared, Query(who): Query<Who>) -> Answered {
    blocking(move || {
        let annotator = name(&who.annotator)?;
        if let Some(task) = &who.task {
            app.leases().hold(annotator.as_str(), &app.task(task)?.digest, Instant::now());
        }
        let progress = Counts::from(app.desk.progress(&annotator)?);
        Ok(Json(json!({ "progress": progress })))
    })
    .await
}

/// Lays down a verdict.
async fn verdict(State(app): Shared, Json(sent): Json<Sent>) -> Answered {
    blocking(move || {
        let annotator = name(&sent.annotator)?;
        let task = app.task(&sent.task)?;
        let shown = shown_order(annotator.as_str(), &task.digest, task.candidates.len());
        let answer = sent.answer(&shown)?;
        let seconds = sent.seconds();
        let new = NewJudgement {
            task: task.digest,
            annotator: annotator.clone(),
            shown,
            answer,
            seconds,
        };
        let stored = app.desk.submit(&new)?;
        app.leases().release(annotator.as_str());
        let progress = Counts::from(app.desk.progress(&annotator)?);
        Ok(Json(json!({ "stored": stored == Submitted::Stored, "progress": progress })))
    })
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Undo {
    annotator: String,
}

/// Takes the last verdict back and gives its task again, in the order that was submitted.
async fn undo(State(app): Shared, Json(undo): Json<Undo>) -> Answered {
    blocking(move || {
        let annotator = name(&undo.annotator)?;
        let outcome = app.desk.withdraw_last(&annotator)?;
        let (word, last) = match outcome {
            Withdrawn::Done(last) => ("done", Some(last)),
            Withdrawn::Taken => ("taken", None),
            Withdrawn::Nothing => ("nothing", None),
        };
        let (task, order) = match &last {
            Some(last) => {
                app.leases().hold(annotator.as_str(), &last.task, Instant::now());
                (Some(Shown::new(app.task(&last.task)?, &annotator)), blocks(last))
            }
            None => (None, None),
        };
        let progress = Counts::from(app.desk.progress(&annotator)?);
        Ok(Json(json!({ "undo": word, "task": task, "blocks": order, "progress": progress })))
    })
    .await
}

/// What everybody did, and how far they agree.
async fn stats(State(app): Shared) -> Answered {
    blocking(move || Ok(Json(json!({ "annotators": agreement(&app.desk.all_judgements()?) }))))
        .await
}

#[derive(Debug, Deserialize)]
struct How {
    /// The browser could not play the file.
    #[serde(default)]
    frames: bool,
}

/// How the clip of a task is shown.
async fn clip(State(app): Shared, Path(task): Path<String>, Query(how): Query<How>) -> Answered {
    let permit = Arc::clone(&app.decoding).acquire_owned().await;
    let app = app.clone();
    blocking(move || {
        // Held to the end of the work, also where the page is gone by then.
        let _permit = permit;
        let task = app.task(&task)?;
        if !how.frames && playable(&task.example.video).is_some() {
            let file = format!("/media/{}/video", task.digest);
            return Ok(Json(json!({ "kind": "video", "file": file })));
        }
        Ok(Json(match app.clips.frames(&task.digest, &task.example.video) {
            Ok(frames) => json!({
                "kind": "frames",
                "folder": format!("/media/{}/frames/", task.digest),
                "seconds": frames.seconds,
                "width": frames.width,
                "height": frames.height,
            }),
            Err(problem) => json!({ "kind": "none", "problem": problem }),
        }))
    })
    .await
}

/// The video file of a task, or the part of it that is asked for.
async fn video(
    State(app): Shared,
    Path(task): Path<String>,
    request: Request,
) -> Result<Response, Failure> {
    let found = blocking(move || Ok(playable(&app.task(&task)?.example.video))).await?;
    let (path, kind) = found.ok_or_else(|| Failure::missing("the clip is no file to play"))?;
    let kind = kind.parse().map_err(|_| Failure::ours("a media type that is none"))?;
    match ServeFile::new_with_mime(path, &kind).oneshot(request).await {
        Ok(response) => Ok(response.into_response()),
        Err(never) => match never {},
    }
}

/// One frame of the clip of a task.
async fn frame(
    State(app): Shared,
    Path((task, index)): Path<(String, usize)>,
) -> Result<Response, Failure> {
    let permit = Arc::clone(&app.decoding).acquire_owned().await;
    let app = app.clone();
    blocking(move || {
        // Held to the end of the work, also where the page is gone by then.
        let _permit = permit;
        let task = app.task(&task)?;
        let frames =
            app.clips.frames(&task.digest, &task.example.video).map_err(Failure::missing)?;
        let image = frames.images.get(index).ok_or_else(|| {
            Failure::missing(format!("the clip has {} frames, from 0", frames.images.len()))
        })?;
        let headers = [(CONTENT_TYPE, frames.kind), (CACHE_CONTROL, "private, max-age=3600")];
        Ok((headers, image.clone()).into_response())
    })
    .await
}
