//! An Oracle that asks nothing: answers that a checkpoint finds likelier come first.
//!
//! ```text
//! token:  s(a) = 1/T Σ_t log π(a_t | clip, question, a_<t)      none:  s(a) = Σ_t log π(a_t | ...)
//! calibrate:  s(a) - s'(a), where s' is the same without the clip
//! ```
//!
//! The end token is one of an answer's `T` tokens, and placeholders and padding have no
//! probability, as everywhere. Answers of the same tokens are scored once and tie; others tie where
//! their scores are equal. An answer with a token that the model can never say (`<unk>` of a
//! vocabulary of words, for instance) has a score of minus infinity and comes last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;
use rlaif_data::{Block, Message};
use rlaif_oracle::{Cancel, Oracle, OracleError, RankRequest, Usage, Verdict};
use rlaif_rank::Ranking;
use rlaif_rollout::{PromptInput, encode, score};

use super::config::{ModelOracleConfig, Normalize};
use super::messages::TEXT_LIMIT_BYTES;
use super::model::{Fault, LocalModel};
use crate::recipe::VideoConfig;
use crate::tame::tame;

/// Name in logs and errors.
const NAME: &str = "model";

/// A checkpoint that orders answers by their likelihood. What it is asked with is the row's own
/// conversation, as the policy is; references and narratives are not shown.
pub struct LikelihoodOracle {
    scorer: Scorer,
    batch: usize,
    usage: Mutex<Usage>,
}

/// What a score depends on beside the group.
#[derive(Clone)]
struct Scorer {
    model: Arc<LocalModel>,
    normalize: Normalize,
    calibrate: bool,
}

/// A question with its different answers.
struct Group {
    prompt: PromptInput,
    /// The same without the clip, where it is asked for.
    blind: Option<PromptInput>,
    /// Token ids of each different answer, its end token included.
    answers: Vec<Vec<u32>>,
    /// Which of the answers each candidate is.
    place: Vec<usize>,
}

impl LikelihoodOracle {
    /// Opens the checkpoint that `config` names; `video` says how clips are read.
    ///
    /// # Errors
    ///
    /// Names the key that is out of its range, or the file that is missing or cannot be used.
    pub fn open(config: &ModelOracleConfig, video: &VideoConfig, device: &Device) -> Result<Self> {
        Self::new(Arc::new(LocalModel::open(config, video, device)?), config)
    }

    /// The same with a checkpoint that is open already.
    ///
    /// # Errors
    ///
    /// Names the key that is out of its range.
    pub fn new(model: Arc<LocalModel>, config: &ModelOracleConfig) -> Result<Self> {
        config.check()?;
        let scorer = Scorer { model, normalize: config.normalize, calibrate: config.calibrate };
        Ok(LikelihoodOracle { scorer, batch: config.batch, usage: Mutex::default() })
    }

    /// The checkpoint.
    #[must_use]
    pub fn model(&self) -> &Arc<LocalModel> {
        &self.scorer.model
    }

    fn verdict(
        &self,
        example: String,
        scores: Result<Vec<f64>, Fault>,
        latency: Duration,
    ) -> Result<Verdict, OracleError> {
        let scores = match scores {
            Ok(scores) => scores,
            Err(fault) => return Err(failure(fault, example)),
        };
        match Ranking::from_scores(&scores) {
            Ok(ranking) => Ok(Verdict::new(ranking, latency)),
            Err(error) => Err(OracleError::Reported {
                oracle: format!("{NAME} {}", tame(&self.model().path().to_string_lossy())),
                example,
                message: format!("its log-probabilities give no order: {error}"),
            }),
        }
    }
}

/// Scores of the candidates of each group, and what was read for them.
type Scored = (Vec<Result<Vec<f64>, Fault>>, Usage);

impl Scorer {
    /// Scores of the candidates of every group, all groups in one pass.
    fn scores(&self, requests: &[RankRequest]) -> Scored {
        let groups: Vec<Result<Group, Fault>> = requests.iter().map(|r| self.group(r)).collect();
        let mut prompts: Vec<&PromptInput> = Vec::new();
        let mut responses: Vec<(usize, &[u32])> = Vec::new();
        for group in groups.iter().flatten() {
            for prompt in std::iter::once(&group.prompt).chain(&group.blind) {
                responses.extend(group.answers.iter().map(|ids| (prompts.len(), ids.as_slice())));
                prompts.push(prompt);
            }
        }
        let mut sums = self.sums(&prompts, &responses).into_iter();
        let usage = Usage {
            requests: groups.iter().flatten().count() as u64,
            prompt_tokens: prompts.iter().map(|prompt| prompt.ids.len() as u64).sum(),
            completion_tokens: responses.iter().map(|(_, ids)| ids.len() as u64).sum(),
            ..Usage::default()
        };
        let of_group = |group: &Result<Group, Fault>| match group {
            Ok(group) => Ok(self.of_group(group, &mut sums)),
            Err(fault) => Err(fault.clone()),
        };
        (groups.iter().map(of_group).collect(), usage)
    }

    /// Scores of a group's candidates, from the next log-probabilities: its answers' with the clip,
    /// then those without.
    fn of_group(&self, group: &Group, sums: &mut impl Iterator<Item = f64>) -> Vec<f64> {
        let n = group.answers.len();
        let mut scores: Vec<f64> = sums.by_ref().take(n).collect();
        if group.blind.is_some() {
            for (score, blind) in scores.iter_mut().zip(sums.by_ref().take(n)) {
                // What cannot be said cannot be said without the clip either.
                if score.is_finite() {
                    *score -= blind;
                }
            }
        }
        if self.normalize == Normalize::Token {
            for (score, ids) in scores.iter_mut().zip(&group.answers) {
                *score /= ids.len() as f64;
            }
        }
        group.place.iter().map(|answer| scores[*answer]).collect()
    }

    /// Log-probability of each response, `[R]`.
    fn sums(&self, prompts: &[&PromptInput], responses: &[(usize, &[u32])]) -> Vec<f64> {
        if responses.is_empty() {
            return Vec::new();
        }
        let model = &self.model.model;
        let prefix = encode(model, prompts);
        let stats = score(model, &prefix, responses, &self.model.vocabulary.forbidden);
        let values: Vec<f32> = stats.logprobs.into_data().iter::<f32>().collect();
        let mut values = values.into_iter();
        let sum = |(_, ids): &(usize, &[u32])| values.by_ref().take(ids.len()).map(f64::from).sum();
        responses.iter().map(sum).collect()
    }

    fn group(&self, request: &RankRequest) -> Result<Group, Fault> {
        let mut answers: Vec<Vec<u32>> = Vec::new();
        let mut place = Vec::with_capacity(request.candidates.len());
        for (index, candidate) in request.candidates.iter().enumerate() {
            if candidate.len() > TEXT_LIMIT_BYTES {
                let (number, bytes) = (index + 1, candidate.len());
                return Err(Fault::Request(format!(
                    "candidate {number} has {bytes} bytes, above {TEXT_LIMIT_BYTES}; shorten it"
                )));
            }
            let ids = self.model.builder.answer(candidate)?;
            place.push(answers.iter().position(|known| *known == ids).unwrap_or_else(|| {
                answers.push(ids);
                answers.len() - 1
            }));
        }
        let longest = answers.iter().map(Vec::len).max().unwrap_or_default();
        let visual = self.model.visual(&request.example.video)?;
        let question = request.example.prompt();
        let prompt = self.model.prompt(question, visual, longest)?;
        let blind = if self.calibrate { Some(self.blind(question)?) } else { None };
        Ok(Group { prompt, blind, answers, place })
    }

    /// The question without the clip.
    fn blind(&self, question: &[Message]) -> Result<PromptInput, Fault> {
        let mut messages = question.to_vec();
        for message in &mut messages {
            message.content.retain(|block| !matches!(block, Block::Video { .. }));
        }
        let tokenizer = &self.model.builder.tokenizer;
        let ids = tokenizer
            .encode_conversation(&messages, true)
            .map_err(rlaif_rollout::PromptError::from)?;
        if ids.is_empty() || ids.contains(&tokenizer.image_token_id()) {
            return Err(Fault::Everywhere(
                "`calibrate` asks the question without its clip, and the judge's chat template writes \
                 a place for one all the same: set `calibrate = false`"
                    .to_owned(),
            ));
        }
        Ok(PromptInput { ids, visual: None, positions: None })
    }
}

impl Oracle for LikelihoodOracle {
    fn name(&self) -> &'static str {
        NAME
    }

    /// The order of the scores; the scores themselves stay here.
    fn rank(&self, requests: &[RankRequest], cancel: &Cancel) -> Vec<Result<Verdict, OracleError>> {
        let mut out = Vec::with_capacity(requests.len());
        for chunk in requests.chunks(self.batch) {
            let start = Instant::now();
            let (scorer, own) = (self.scorer.clone(), chunk.to_vec());
            let Some((scores, spent)) = self.model().compute(cancel, move || scorer.scores(&own))
            else {
                out.extend(chunk.iter().map(|request| {
                    Err(OracleError::Cancelled { example: request.example.id.clone() })
                }));
                continue;
            };
            *self.usage.lock().unwrap_or_else(PoisonError::into_inner) += spent;
            let each = start.elapsed() / u32::try_from(chunk.len()).unwrap_or(1);
            for (request, scores) in chunk.iter().zip(scores) {
                out.push(self.verdict(request.example.id.clone(), scores, each));
            }
        }
        out
    }

    fn usage(&self) -> Usage {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failure(fault: Fault, example: String) -> OracleError {
    let oracle = NAME.to_owned();
    match fault {
        Fault::Clip(reason) => OracleError::Video { oracle, example, reason },
        Fault::Request(reason) => OracleError::Refused { oracle, example, reason },
        Fault::Everywhere(reason) => OracleError::Hopeless { oracle, example, reason },
    }
}
