//! Oracles and requests for tests.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use rlaif_data::{Example, Message, VideoRef};
use rlaif_rank::Ranking;

use crate::{Cancel, Oracle, OracleError, RankRequest, Verdict};

/// A request about nothing in particular.
pub(crate) fn request(id: &str, candidates: &[&str]) -> RankRequest {
    RankRequest {
        example: Example {
            id: id.to_owned(),
            video: VideoRef::File("clips/a.mp4".into()),
            messages: vec![Message::ask("What happens?")],
            reference: None,
            choices: None,
            category: None,
            narrative: None,
            meta: serde_json::Map::new(),
        },
        candidates: candidates.iter().map(|text| (*text).to_owned()).collect(),
    }
}

type Answer = Box<dyn Fn(&RankRequest) -> Ranking + Send + Sync>;

/// An Oracle that answers as it is told and remembers what it was shown.
pub(crate) struct Scripted {
    answer: Answer,
    pub(crate) seen: Mutex<Vec<Vec<String>>>,
    /// The id of the example on which it reports a failure.
    pub(crate) fail_on: Option<String>,
    /// Gives one result too few.
    pub(crate) drop_last: bool,
    /// Time each group takes; heeds the flag.
    pub(crate) delay: Duration,
    /// Batches it takes at once.
    pub(crate) at_once: usize,
}

impl Scripted {
    pub(crate) fn answering(
        answer: impl Fn(&RankRequest) -> Ranking + Send + Sync + 'static,
    ) -> Self {
        Scripted {
            answer: Box::new(answer),
            seen: Mutex::default(),
            fail_on: None,
            drop_last: false,
            delay: Duration::ZERO,
            at_once: 1,
        }
    }

    pub(crate) fn longest_first() -> Self {
        Scripted::answering(|request| {
            let lengths: Vec<f64> = request.candidates.iter().map(|c| c.len() as f64).collect();
            Ranking::from_scores(&lengths).unwrap()
        })
    }

    fn rank_one(&self, request: &RankRequest, cancel: &Cancel) -> Result<Verdict, OracleError> {
        let example = request.example.id.clone();
        let start = Instant::now();
        while start.elapsed() < self.delay {
            if cancel.is_cancelled() {
                return Err(OracleError::Cancelled { example });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.seen.lock().unwrap().push(request.candidates.clone());
        if self.fail_on.as_ref() == Some(&example) {
            let (oracle, message) = ("scripted".to_owned(), "told to fail".to_owned());
            return Err(OracleError::Reported { oracle, example, message });
        }
        Ok(Verdict::new((self.answer)(request), start.elapsed()))
    }
}

impl Oracle for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let mut results: Vec<_> = requests.iter().map(|r| self.rank_one(r, cancel)).collect();
        if self.drop_last {
            results.pop();
        }
        results
    }

    fn batches_at_once(&self) -> usize {
        self.at_once
    }
}
