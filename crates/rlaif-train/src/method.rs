//! What tells apart the methods that learn from sampled groups: who judges, what advantages come
//! of it, and the loss that they enter.
//!
//! | `train.method` | judge | advantages | loss |
//! |---|---|---|---|
//! | [`grpo_rank`](mod@crate::grpo_rank) | an Oracle's order | a member of the rank family | clipped per token |
//! | [`grpo`](mod@crate::grpo) | a reward's scores | scores, standardised within the group | clipped per token |
//! | [`rloo`](mod@crate::rloo) | a reward's scores | against the mean of the others | clipped per response |
//! | [`ppo`](mod@crate::ppo) | a reward's scores | GAE against a critic | clipped per token |

use rlaif_data::Group;
use rlaif_objective::{Aggregation, GrpoInput, GrpoKnobs, GrpoOutput, grpo};
use rlaif_oracle::RankRequest;
use rlaif_rank::Ranking;

use crate::batch::Batch;
use crate::checkpoint::{Checkpoint, NamedTensors};
use crate::config::GrpoConfig;
use crate::error::TrainError;
use crate::metrics::Metrics;
use crate::phase::Clock;
use crate::plan::Plan;
use crate::run::Control;

/// One of the methods of the table above.
pub trait Method: Send {
    /// Who judges, in metrics and progress: `oracle` or `reward`.
    fn judge_name(&self) -> &'static str;

    /// Hears of each batch as soon as it is sampled, one request per group: judging may go on
    /// while the next batch is sampled.
    fn submit(&mut self, requests: Vec<RankRequest>);

    /// Waits for the judge, and turns what it says into advantages.
    ///
    /// # Errors
    ///
    /// Fails where no group of the step could be judged.
    fn judge(&mut self, rollouts: &Rollouts<'_>, clock: &mut Clock) -> Result<Judged, TrainError>;

    /// True where the divergence from the reference lowers the rewards, and so is no term of the
    /// loss.
    fn kl_in_reward(&self) -> bool {
        false
    }

    /// How tokens are averaged.
    fn aggregation(&self, config: &GrpoConfig) -> Aggregation {
        config.loss_aggregation
    }

    /// The loss of some of the step's tokens.
    fn objective(&self, tokens: Tokens<'_>, knobs: &GrpoKnobs) -> GrpoOutput {
        grpo(tokens.input, knobs)
    }

    /// Follows each update of the policy; a critic learns here. `learning_rate` is the schedule's
    /// factor of the peak.
    ///
    /// # Errors
    ///
    /// Fails on numbers that are not finite.
    fn learn(
        &mut self,
        _batches: &[Batch],
        _plan: &Plan,
        _step: &StepOf<'_>,
        _clock: &mut Clock,
    ) -> Result<Metrics, TrainError> {
        Ok(Metrics::new())
    }

    /// Files of tensors that a checkpoint keeps for this method.
    fn tensors(&self) -> Vec<(&'static str, NamedTensors)> {
        Vec::new()
    }

    /// Takes [`tensors`](Self::tensors) back.
    ///
    /// # Errors
    ///
    /// Fails where one is damaged or of another model.
    fn restore(&mut self, _from: &Checkpoint) -> Result<(), TrainError> {
        Ok(())
    }
}

/// Where a run stands when a critic learns.
#[derive(Clone, Copy, Debug)]
pub struct StepOf<'a> {
    /// Steps done.
    pub step: u64,
    /// Knobs of the run.
    pub config: &'a GrpoConfig,
}

/// What was sampled in a step.
#[derive(Clone, Copy)]
pub struct Rollouts<'a> {
    /// The step, counted from 1.
    pub step: u64,
    /// Knobs of the run.
    pub config: &'a GrpoConfig,
    /// The batches, with the reference's log-probabilities where the run has a reference.
    pub batches: &'a [Batch],
    /// Their groups, in order.
    pub groups: &'a [Group],
    /// The wish to stop: a judge who may take long heeds it.
    pub control: &'a Control,
}

/// What the judge said of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// The order; that of the rewards where there are some.
    pub ranking: Ranking,
    /// A number for each completion, where the judge gives numbers.
    pub rewards: Option<Vec<f64>>,
    /// Who voted and how, where several did.
    pub votes: Vec<(String, String)>,
}

/// What came of judging a step.
#[derive(Debug)]
pub struct Judged {
    /// By group; the reason where it was not judged.
    pub verdicts: Vec<Result<Judgement, String>>,
    /// Advantages by group, one for each completion; `None` where it was not judged.
    pub advantages: Vec<Option<Vec<f64>>>,
    /// Advantages of all tokens of the step where those of a response differ.
    pub token_advantages: Option<Vec<f32>>,
    /// Numbers for the log.
    pub metrics: Metrics,
}

/// Tokens of responses laid end to end, on their way into a loss.
pub struct Tokens<'a> {
    /// Their tensors.
    pub input: GrpoInput,
    /// Tokens of each response.
    pub lens: &'a [usize],
    /// `A_t` on the host.
    pub advantages: &'a [f32],
    /// `w_t` on the host.
    pub weights: &'a [f32],
}
