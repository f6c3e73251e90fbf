//! The files of the page.

use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

/// The page.
pub(crate) async fn html() -> impl IntoResponse {
    file("text/html; charset=utf-8", include_str!("assets/annotate.html"))
}

/// How it looks.
pub(crate) async fn css() -> impl IntoResponse {
    file("text/css; charset=utf-8", include_str!("assets/annotate.css"))
}

/// What asks the server, plays the clip and takes the keys.
pub(crate) async fn script() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("assets/annotate.js"))
}

/// The order and how answers move in it.
pub(crate) async fn order() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("assets/order.js"))
}

/// Dragging.
pub(crate) async fn drag() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("assets/drag.js"))
}

/// Browsers ask for one.
pub(crate) async fn icon() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// The clip.
pub(crate) async fn player() -> impl IntoResponse {
    file("text/javascript; charset=utf-8", include_str!("assets/player.js"))
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-cache")], text)
}
