//! A reply as it is sampled: server-sent events, for as long as the client listens.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event as Sse, KeepAlive, Sse as Stream};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::http::Ticket;
use super::problem::Problem;
use super::reply::{Chunks, Event};
use super::tally::End;

/// Pieces that wait for a slow client.
const WAITING: usize = 64;
/// Time after which a client that reads nothing is given up.
const STALLED: Duration = Duration::from_mins(1);

/// Answers with a stream. `first` came before it was sure that the request would be answered.
#[must_use]
pub fn respond(
    first: Event,
    events: UnboundedReceiver<Event>,
    chunks: Chunks,
    deadline: Instant,
    ticket: Ticket,
) -> Response {
    let (sender, receiver): (Sender<String>, Receiver<String>) = channel(WAITING);
    tokio::spawn(async move {
        let pumped = pump(first, events, chunks, &sender);
        let end = tokio::time::timeout_at(deadline, pumped).await.unwrap_or_else(|_| {
            let body = too_slow().body().to_string();
            drop(sender.try_send(body));
            End::Failed
        });
        ticket.end(Some(end));
    });
    let data =
        ReceiverStream::new(receiver).map(|data| Ok::<Sse, Infallible>(Sse::default().data(data)));
    Stream::new(data).keep_alive(KeepAlive::default()).into_response()
}

/// What a request is told whose time is over.
#[must_use]
pub fn too_slow() -> Problem {
    Problem::new(504, "server_error", "the reply took longer than this server's time for a request")
        .code("timeout")
}

/// How the reply came to its end. Returning drops `events`, which cancels what is left.
async fn pump(
    first: Event,
    mut events: UnboundedReceiver<Event>,
    mut chunks: Chunks,
    sender: &Sender<String>,
) -> End {
    let mut event = first;
    loop {
        let failed = matches!(event, Event::Failed(_));
        let Ok((pieces, last)) = chunks.of(event) else { return End::Failed };
        for piece in pieces {
            match tokio::time::timeout(STALLED, sender.send(piece)).await {
                Ok(Ok(())) => {}
                _ => return End::Left,
            }
        }
        if last {
            return if failed { End::Failed } else { End::Answered };
        }
        event = tokio::select! {
            () = sender.closed() => return End::Left,
            event = events.recv() => {
                event.unwrap_or_else(|| Event::Failed(Problem::server("the reply broke off")))
            }
        };
    }
}
