//! An estimate by part and phase.

/// Memory of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// How much.
    pub bytes: u64,
}

impl Part {
    pub(super) fn new(name: &'static str, bytes: u64) -> Self {
        Part { name, bytes }
    }
}

/// What a part of a run holds while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Which.
    pub name: &'static str,
    /// What it holds, beside what stays.
    pub parts: Vec<Part>,
}

impl Phase {
    pub(super) fn new(name: &'static str, parts: Vec<Part>) -> Self {
        Phase { name, parts }
    }

    /// All parts together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        total(&self.parts)
    }
}

/// Estimated memory of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Tokens of a prompt, visual ones among them.
    pub prompt_tokens: u64,
    /// Numbers in the model's files.
    pub parameters: u64,
    /// Numbers that are trained.
    pub trained: u64,
    /// What stays all the while.
    pub resident: Vec<Part>,
    /// What follows each other.
    pub phases: Vec<Phase>,
}

impl Estimate {
    /// Bytes that stay all the while.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        total(&self.resident)
    }

    /// The most that a step of training takes: what stays, and its most demanding phase.
    #[must_use]
    pub fn step_bytes(&self) -> u64 {
        self.most(|phase| phase.name != FINISH)
    }

    /// The same with what comes after the last step, when the merged model is written.
    #[must_use]
    pub fn run_bytes(&self) -> u64 {
        self.most(|_| true)
    }

    fn most(&self, counts: impl Fn(&Phase) -> bool) -> u64 {
        let phases = self.phases.iter().filter(|phase| counts(phase)).map(Phase::bytes);
        self.resident_bytes() + phases.max().unwrap_or_default()
    }
}

/// The phase after the last step.
pub(super) const FINISH: &str = "writing the merged model";

fn total(parts: &[Part]) -> u64 {
    parts.iter().map(|part| part.bytes).sum()
}
