//! What a judge is told: templates that people can edit, filled with a question and candidates that
//! have been made safe.

mod config;
mod schema;
mod show;
mod templates;

#[cfg(test)]
mod tests;

use minijinja::Environment;
use rlaif_data::{Example, Message, Role, example::letter};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use self::{
    show::{is_cut, show},
    templates::{Source, reason, render, wrong},
};
use crate::{
    ChatMessage, ChatRole, ConfigError, RankRequest,
    protocol::{Question, QuestionKind},
};

pub use config::PromptsConfig;

/// Characters shown of a question, a turn, an option, a narrative, a reference and a problem.
const MOST_CHARS: usize = 20_000;
/// Largest `max_candidate_chars`.
const MOST_CANDIDATE_CHARS: usize = 100_000;

/// The four criteria of VLM-RLAIF (Ahn et al. 2024, arXiv:2402.03746).
pub const CRITERIA: [&str; 4] = [
    "accurate: all it says is grounded in what the video shows",
    "helpful: it answers the question that was asked",
    "natural: it reads as a person would say it",
    "concise: it says no more than it takes",
];

/// The prompts of one Oracle, loaded and checked.
pub struct Prompts {
    config: PromptsConfig,
    sources: Vec<Source>,
    environment: Environment<'static>,
}

/// What templates are filled with.
#[derive(Serialize)]
struct Variables {
    kind: &'static str,
    count: usize,
    min: Option<i64>,
    max: Option<i64>,
    criteria: [&'static str; 4],
    question: String,
    conversation: Vec<Turn>,
    choices: Vec<String>,
    reference: Option<String>,
    narrative: Option<String>,
    candidates: Vec<String>,
    problem: String,
}

#[derive(Serialize)]
struct Turn {
    role: &'static str,
    text: String,
}

impl Prompts {
    /// Loads every template and tries each once.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Prompt`] with file and line where a template cannot be read, has an error, uses
    /// a variable that does not exist or takes too many steps; [`ConfigError::Prompt`] of
    /// `max_candidate_chars` where that is out of range.
    pub fn load(config: &PromptsConfig) -> Result<Prompts, ConfigError> {
        if !(1..=MOST_CANDIDATE_CHARS).contains(&config.max_candidate_chars) {
            let why =
                format!("{} is not within 1 to {MOST_CANDIDATE_CHARS}", config.max_candidate_chars);
            let prompt = "max_candidate_chars";
            return Err(ConfigError::Prompt { prompt, path: None, line: None, why });
        }
        let sources = templates::sources(config)?;
        let environment = templates::environment(config, &sources)?;
        let prompts = Prompts { config: config.clone(), sources, environment };
        for name in ["system", "listwise", "pairwise", "pointwise", "repair"] {
            let kinds: &[&'static str] = match name {
                "system" | "repair" => &["listwise", "pairwise", "pointwise"],
                _ => &[name],
            };
            for kind in kinds {
                for known in [true, false] {
                    let said = render(&prompts.environment, name, Variables::trial(kind, known))
                        .map_err(|error| wrong(config, name, error.line(), reason(&error)))?;
                    if said.is_empty() && name != "system" {
                        return Err(wrong(config, name, None, "it says nothing".to_owned()));
                    }
                }
            }
        }
        Ok(prompts)
    }

    /// What to say to a judge: the system prompt, where it says anything, and the question.
    ///
    /// # Errors
    ///
    /// Where a template fails on these texts, in words that name the template and the line; where
    /// `question` shows a candidate that `request` does not have.
    pub fn messages(
        &self,
        request: &RankRequest,
        question: &Question,
    ) -> Result<Vec<ChatMessage>, String> {
        let variables = self.variables(request, question)?;
        let system = self.render("system", &variables)?;
        let user = self.render(variables.kind, &variables)?;
        let mut messages = Vec::with_capacity(2);
        if !system.is_empty() {
            messages.push(ChatMessage::new(ChatRole::System, system));
        }
        messages.push(ChatMessage::new(ChatRole::User, user));
        Ok(messages)
    }

    /// What to say to a reply to `question` that was no answer: `problem` is what was wrong with it.
    ///
    /// # Errors
    ///
    /// Where the template fails, in words that name the line.
    pub fn repair(&self, question: &Question, problem: &str) -> Result<ChatMessage, String> {
        let variables = Variables {
            problem: show(problem, MOST_CHARS),
            ..Variables::about(question.kind, question.shown.len())
        };
        Ok(ChatMessage::new(ChatRole::User, self.render("repair", &variables)?))
    }

    /// JSON schema that a reply to `question` keeps to.
    #[must_use]
    pub fn schema(question: &Question) -> serde_json::Value {
        schema::schema(question)
    }

    /// Candidates of `request` that are too long to be shown whole.
    #[must_use]
    pub fn n_cut(&self, request: &RankRequest) -> usize {
        let cut = |text: &&String| is_cut(text, self.config.max_candidate_chars);
        request.candidates.iter().filter(cut).count()
    }

    /// Name and text of every template.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.sources.iter().map(|source| (source.name, source.text.as_str()))
    }

    /// SHA-256 of all that decides what is said beside the request, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        let PromptsConfig { narrative, reference, max_candidate_chars, .. } = &self.config;
        hash.update(format!("{narrative} {reference} {max_candidate_chars}\n"));
        for (name, text) in self.texts() {
            hash.update(format!("{name} {}\n", text.len()));
            hash.update(text);
        }
        format!("{:x}", hash.finalize())
    }

    fn render(&self, name: &str, variables: &Variables) -> Result<String, String> {
        render(&self.environment, name, variables).map_err(|error| {
            let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
            format!("prompt `{name}` fails{line}: {}", reason(&error))
        })
    }

    fn variables(&self, request: &RankRequest, question: &Question) -> Result<Variables, String> {
        let example = &request.example;
        let candidate = |at: &usize| {
            let text = request.candidates.get(*at).ok_or_else(|| {
                format!("candidate {at} is to be shown, there are {}", request.candidates.len())
            })?;
            Ok(show(text, self.config.max_candidate_chars))
        };
        let candidates = question.shown.iter().map(candidate).collect::<Result<_, String>>()?;
        let narrative = example.narrative.as_ref().filter(|_| self.config.narrative);
        let reference = right_answer(example).filter(|_| self.config.reference);
        Ok(Variables {
            question: show(&example.question(), MOST_CHARS),
            conversation: turns(example),
            choices: choices(example),
            reference: reference.map(|text| show(&text, MOST_CHARS)),
            narrative: narrative.map(|text| show(text, MOST_CHARS)),
            candidates,
            ..Variables::about(question.kind, question.shown.len())
        })
    }
}

impl Variables {
    fn about(kind: QuestionKind, count: usize) -> Self {
        let (kind, min, max) = match kind {
            QuestionKind::Listwise => ("listwise", None, None),
            QuestionKind::Pairwise => ("pairwise", None, None),
            QuestionKind::Pointwise { min, max } => ("pointwise", Some(min), Some(max)),
        };
        Variables {
            kind,
            count,
            min,
            max,
            criteria: CRITERIA,
            question: String::new(),
            conversation: Vec::new(),
            choices: Vec::new(),
            reference: None,
            narrative: None,
            candidates: Vec::new(),
            problem: String::new(),
        }
    }

    /// What a template is tried with: all that a row may know, or as little as it may.
    fn trial(kind: &'static str, known: bool) -> Self {
        let (kind, count) = match kind {
            "listwise" => (QuestionKind::Listwise, 3),
            "pairwise" => (QuestionKind::Pairwise, 2),
            _ => (QuestionKind::Pointwise { min: 1, max: 10 }, 1),
        };
        let text = || "text".to_owned();
        let turn = |role| Turn { role, text: text() };
        Variables {
            question: text(),
            conversation: if known { vec![turn("user"), turn("assistant")] } else { Vec::new() },
            choices: if known { vec![text(), text()] } else { Vec::new() },
            reference: known.then(text),
            narrative: known.then(text),
            candidates: vec![text(); count],
            problem: text(),
            ..Variables::about(kind, count)
        }
    }
}

/// The turns before the question.
fn turns(example: &Example) -> Vec<Turn> {
    let asks = |message: &Message| message.role == Role::User;
    let question = example.messages.iter().rposition(asks).unwrap_or(0);
    let turn = |message: &Message| Turn {
        role: message.role.as_str(),
        text: show(&message.plain_text(), MOST_CHARS),
    };
    example.messages[..question].iter().map(turn).collect()
}

fn choices(example: &Example) -> Vec<String> {
    let options = example.choices.iter().flat_map(|choices| &choices.options).enumerate();
    options.map(|(at, text)| format!("{}. {}", letter(at), show(text, MOST_CHARS))).collect()
}

/// The reference, else the right option.
fn right_answer(example: &Example) -> Option<String> {
    example.reference.clone().or_else(|| {
        let choices = example.choices.as_ref()?;
        let option = choices.options.get(choices.answer)?;
        Some(format!("{}. {option}", letter(choices.answer)))
    })
}
