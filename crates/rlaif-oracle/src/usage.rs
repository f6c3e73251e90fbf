//! What asking cost.

use std::ops::{AddAssign, Sub};

/// What an Oracle has spent since it was made. Requests that the ledger answered cost nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Requests that were sent and answered.
    pub requests: u64,
    /// Requests that the ledger answered.
    pub cached: u64,
    /// Attempts that failed and were made again.
    pub retries: u64,
    /// Replies that were no answer and were asked for once more in a repair turn.
    pub repairs: u64,
    /// Replies that were no answer after the last repair turn.
    pub malformed: u64,
    /// Replies that declined to judge.
    pub abstained: u64,
    /// Times that the circuit breaker opened.
    pub breaker_opened: u64,
    /// Tokens of prompts, as the server counts them.
    pub prompt_tokens: u64,
    /// Tokens of replies, as the server counts them.
    pub completion_tokens: u64,
    /// Money, in the currency of the recipe's prices.
    pub cost: f64,
}

impl Usage {
    /// The figures under the names that a run logs them by; those that are 0 are left out.
    #[must_use]
    pub fn named(&self) -> Vec<(String, f64)> {
        [
            ("oracle/requests", self.requests as f64),
            ("oracle/cached", self.cached as f64),
            ("oracle/retries", self.retries as f64),
            ("oracle/repairs", self.repairs as f64),
            ("oracle/malformed", self.malformed as f64),
            ("oracle/abstained", self.abstained as f64),
            ("oracle/breaker_opened", self.breaker_opened as f64),
            ("oracle/prompt_tokens", self.prompt_tokens as f64),
            ("oracle/completion_tokens", self.completion_tokens as f64),
            ("oracle/cost", self.cost),
        ]
        .into_iter()
        .filter(|(_, value)| *value != 0.0)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.requests += other.requests;
        self.cached += other.cached;
        self.retries += other.retries;
        self.repairs += other.repairs;
        self.malformed += other.malformed;
        self.abstained += other.abstained;
        self.breaker_opened += other.breaker_opened;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.cost += other.cost;
    }
}

impl Sub for Usage {
    type Output = Usage;

    /// What was spent between two readings, `earlier` the smaller one.
    fn sub(self, earlier: Usage) -> Usage {
        Usage {
            requests: self.requests - earlier.requests,
            cached: self.cached - earlier.cached,
            retries: self.retries - earlier.retries,
            repairs: self.repairs - earlier.repairs,
            malformed: self.malformed - earlier.malformed,
            abstained: self.abstained - earlier.abstained,
            breaker_opened: self.breaker_opened - earlier.breaker_opened,
            prompt_tokens: self.prompt_tokens - earlier.prompt_tokens,
            completion_tokens: self.completion_tokens - earlier.completion_tokens,
            cost: self.cost - earlier.cost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_and_sums_undo_each_other_and_zeros_are_not_named() {
        let before = Usage { requests: 2, prompt_tokens: 10, cost: 0.5, ..Usage::default() };
        let mut after = before;
        after += Usage { requests: 1, cached: 3, completion_tokens: 7, ..Usage::default() };
        let spent = after - before;
        assert_eq!((spent.requests, spent.cached, spent.completion_tokens), (1, 3, 7));
        let names: Vec<String> = spent.named().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["oracle/requests", "oracle/cached", "oracle/completion_tokens"]);
    }
}
