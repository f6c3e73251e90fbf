//! The labels of candidates, and an order made of them.

use rlaif_rank::Ranking;

use super::{ReplyError, Wanted};
use crate::protocol::Said;

/// Problems of one kind that a message lists.
const LISTED: usize = 5;
/// Digits of the largest label that is read as a number.
const DIGITS: usize = 9;

/// A label as written, for messages: the number, or what stands there instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// A number, from 1 where it is right.
    Number(u64),
    /// A number too long to be one.
    Endless,
}

impl Label {
    /// Reads digits, or `A` and `B` where `letters` says so.
    pub(super) fn read(text: &str, letters: bool) -> Option<Label> {
        match text {
            "A" | "a" if letters => return Some(Label::Number(1)),
            "B" | "b" if letters => return Some(Label::Number(2)),
            _ => (),
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        if text.len() > DIGITS {
            return Some(Label::Endless);
        }
        text.parse().ok().map(Label::Number)
    }
}

/// Tie blocks, best first.
pub(super) type Blocks = Vec<Vec<Label>>;

/// The order that `blocks` say, where they and `unplaced` name each candidate exactly once.
pub(super) fn order(
    blocks: &[Vec<Label>],
    unplaced: &[Label],
    wanted: Wanted,
) -> Result<Said, ReplyError> {
    let Wanted::Order { candidates, .. } = wanted else {
        return Err(ReplyError::NoAnswer { expected: wanted.form() });
    };
    let mut ranks: Vec<Option<usize>> = vec![None; candidates];
    let mut named = vec![false; candidates];
    let (mut unknown, mut repeated) = (Listing::default(), Listing::default());
    let placed = blocks.iter().enumerate();
    let placed =
        placed.flat_map(|(level, block)| block.iter().map(move |label| (label, Some(level))));
    for (label, level) in placed.chain(unplaced.iter().map(|label| (label, None))) {
        let at = match label {
            Label::Number(number) => usize::try_from(*number).ok().and_then(|n| n.checked_sub(1)),
            Label::Endless => None,
        };
        match at.filter(|at| *at < candidates) {
            Some(at) if named[at] => repeated.add(format!("[{}]", at + 1)),
            Some(at) => (named[at], ranks[at]) = (true, level),
            None => unknown.add(match label {
                Label::Number(number) => format!("[{number}]"),
                Label::Endless => "a number without end".to_owned(),
            }),
        }
    }
    let mut missing = Listing::default();
    for at in (0..candidates).filter(|at| !named[*at]) {
        missing.add(format!("[{}]", at + 1));
    }
    let problems: Vec<String> = [
        missing.problem("is missing", "are missing"),
        repeated.problem("is named more than once", "are named more than once"),
        unknown.problem("does not exist", "do not exist"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !problems.is_empty() {
        return Err(ReplyError::Candidates { problems: problems.join("; "), candidates });
    }
    match Ranking::from_ranks(ranks) {
        Ok(ranking) if ranking.n_placed() > 0 => Ok(Said::Order(ranking)),
        _ => Ok(Said::Abstained("it placed no candidate".to_owned())),
    }
}

/// Labels with the same problem: the first few, and how many there are.
#[derive(Default)]
struct Listing {
    first: Vec<String>,
    count: usize,
}

impl Listing {
    fn add(&mut self, label: String) {
        self.count += 1;
        if self.first.len() < LISTED && !self.first.contains(&label) {
            self.first.push(label);
        }
    }

    fn problem(&self, of_one: &str, of_several: &str) -> Option<String> {
        match &self.first[..] {
            [] => None,
            [one] if self.count == 1 || of_one.starts_with("is named") => {
                Some(format!("candidate {one} {of_one}"))
            }
            several => {
                let more = if self.count > LISTED { " and others" } else { "" };
                Some(format!("candidates {}{more} {of_several}", several.join(", ")))
            }
        }
    }
}
