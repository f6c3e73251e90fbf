//! What the page is told when something cannot be done.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rlaif_oracle::LedgerError;
use serde_json::json;

/// A refusal with words for whoever reads the page.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    /// The request makes no sense.
    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Failure { status: StatusCode::UNPROCESSABLE_ENTITY, message: message.into() }
    }

    /// What was asked for is not there.
    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Failure { status: StatusCode::NOT_FOUND, message: message.into() }
    }

    /// It is our fault.
    pub(crate) fn ours(message: impl Into<String>) -> Self {
        Failure { status: StatusCode::INTERNAL_SERVER_ERROR, message: message.into() }
    }
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        // Paths of this machine are for who started the program.
        tracing::error!(%error, "the page cannot use the ledger");
        Failure::ours("the ledger cannot be used; the program that serves this page says why")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.message }))).into_response()
    }
}

/// Runs what blocks, on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!(%error, "a request of the page failed");
            Err(Failure::ours("this request failed; the program that serves this page says why"))
        }
    }
}
