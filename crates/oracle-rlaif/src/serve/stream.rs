//! A reply as it is sampled: server-sent events, for as long as the client listens.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event as Sse, KeepAlive, Sse as Stream};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel};
use tokio::time::{Instant, timeout, timeout_at};
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
        let end = deliver(first, events, chunks, deadline, &sender).await;
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

/// Sends until the reply ends or its time is over, which a client that reads is told.
async fn deliver(
    first: Event,
    events: UnboundedReceiver<Event>,
    chunks: Chunks,
    deadline: Instant,
    sender: &Sender<String>,
) -> End {
    let pumped = timeout_at(deadline, pump(first, events, chunks, sender)).await;
    if pumped.is_err() {
        // All of the waiting pieces come before.
        drop(timeout(STALLED, sender.send(too_slow().body().to_string())).await);
    }
    pumped.unwrap_or(End::Failed)
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
            match timeout(STALLED, sender.send(piece)).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::reply::{Finish, Head};
    use tokio::sync::mpsc::unbounded_channel;

    fn started() -> Event {
        Event::Started { prompt_tokens: 5 }
    }

    /// What a client gets of `events`, and how it ended; `open` keeps more of them possible.
    fn delivered(events: Vec<Event>, open: bool, seconds: u64) -> (Vec<String>, End) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (events_sender, receiver) = unbounded_channel();
            for event in events {
                events_sender.send(event).unwrap();
            }
            let kept = open.then_some(events_sender);
            let (sender, mut out) = channel(WAITING);
            let chunks = Chunks::new(Head::new("m", true), 1, false);
            let deadline = Instant::now() + Duration::from_secs(seconds);
            let end = deliver(started(), receiver, chunks, deadline, &sender).await;
            drop((kept, sender));
            let mut pieces = Vec::new();
            while let Some(piece) = out.recv().await {
                pieces.push(piece);
            }
            (pieces, end)
        })
    }

    #[test]
    fn a_whole_reply_ends_with_done() {
        let ended = Event::Ended { choice: 0, finish: Finish::Length };
        let done = Event::Done { completion_tokens: 1 };
        let (pieces, end) = delivered(vec![ended, done], true, 60);
        assert_eq!((pieces.len(), end), (3, End::Answered));
        assert!(pieces[1].contains("\"finish_reason\":\"length\""), "{}", pieces[1]);
        assert_eq!(pieces[2], "[DONE]");
    }

    #[test]
    fn a_reply_that_fails_or_breaks_off_says_so_and_is_not_done() {
        let failed = Event::Failed(Problem::server("of a kernel"));
        for (events, says) in [(vec![failed], "of a kernel"), (vec![], "broke off")] {
            let (pieces, end) = delivered(events, false, 60);
            assert_eq!((pieces.len(), end), (2, End::Failed));
            assert!(pieces[1].starts_with("{\"error\"") && pieces[1].contains(says), "{pieces:?}");
        }
    }

    #[test]
    fn a_reply_whose_time_is_over_says_so() {
        let (pieces, end) = delivered(vec![], true, 0);
        assert_eq!((pieces.len(), end), (2, End::Failed));
        assert!(pieces[1].contains("\"code\":\"timeout\""), "{pieces:?}");
    }

    #[test]
    fn a_client_that_left_ends_it_though_no_token_comes() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let end = runtime.block_on(async {
            let (kept, receiver) = unbounded_channel();
            let (sender, out) = channel(WAITING);
            drop(out);
            let chunks = Chunks::new(Head::new("m", true), 1, false);
            let deadline = Instant::now() + Duration::from_mins(10);
            let end = deliver(started(), receiver, chunks, deadline, &sender).await;
            assert!(kept.is_closed(), "which the worker looks at");
            end
        });
        assert_eq!(end, End::Left);
    }
}
