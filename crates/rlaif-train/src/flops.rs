//! Arithmetic that a step of training asks for, counted from its shapes: the numerator of
//! `speed/mfu`.
//!
//! Counted are the projector, the decoder's blocks, attention scores and the head, each as often as
//! the algorithm needs it and not as often as it is computed; a multiply-add is two operations. Not
//! counted are the tower (its features come from the cache), adapters, norms and activations, and
//! the head's part in an exact KL.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

use rlaif_model::Vlm;

/// Multiply-adds by how their backward costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Macs {
    /// Of products with weights: the backward costs as much again, twice as much where the weights
    /// are trained.
    pub linear: f64,
    /// Of attention, scores and values: the backward costs twice as much.
    pub attention: f64,
}

impl Macs {
    /// Floating-point operations.
    #[must_use]
    pub fn flops(self) -> f64 {
        2.0 * (self.linear + self.attention)
    }

    /// The backward of these; `trained` where the weights get a gradient.
    #[must_use]
    pub fn backward(self, trained: bool) -> Macs {
        let times = if trained { 2.0 } else { 1.0 };
        Macs { linear: times * self.linear, attention: 2.0 * self.attention }
    }
}

impl Add for Macs {
    type Output = Macs;

    fn add(self, other: Macs) -> Macs {
        Macs { linear: self.linear + other.linear, attention: self.attention + other.attention }
    }
}

impl AddAssign for Macs {
    fn add_assign(&mut self, other: Macs) {
        *self = *self + other;
    }
}

impl Sum for Macs {
    fn sum<I: Iterator<Item = Macs>>(items: I) -> Macs {
        items.fold(Macs::default(), Add::add)
    }
}

/// What a model's passes cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Blocks, per token.
    blocks: f64,
    /// The last block without its keys and values: in a prompt, the last token alone needs it.
    last_rest: f64,
    /// Attention of one query to one key, in all blocks and in the last.
    pair: f64,
    last_pair: f64,
    head: f64,
    projector: f64,
}

impl Costs {
    /// Of a model, adapters left out.
    #[must_use]
    pub fn of(model: &Vlm) -> Costs {
        let text = &model.config.text;
        let heads = model.decoder.heads();
        let layers = model.decoder.n_layers().max(1) as f64;
        let blocks = model.decoder.block_macs_per_token() as f64;
        let keys_and_values = (2 * heads.kv * heads.dim * text.hidden_size) as f64;
        let last_pair = (2 * heads.query * heads.dim) as f64;
        Costs {
            blocks,
            last_rest: blocks / layers - keys_and_values,
            pair: layers * last_pair,
            last_pair,
            head: (text.vocab_size * text.hidden_size) as f64,
            projector: model.vision.projector_macs_per_row() as f64,
        }
    }

    /// The projector on `patches` patches (`F * P` of a clip).
    #[must_use]
    pub fn project(&self, patches: usize) -> Macs {
        Macs { linear: self.projector * patches as f64, attention: 0.0 }
    }

    /// The blocks' pass over a prompt of `tokens` tokens.
    #[must_use]
    pub fn prefill(&self, tokens: usize) -> Macs {
        let n = tokens as f64;
        let pairs = n * (n + 1.0) / 2.0;
        Macs {
            linear: self.blocks * n - self.last_rest * (n - 1.0).max(0.0),
            attention: self.pair * pairs - self.last_pair * (pairs - n),
        }
    }

    /// The blocks' pass over a response of `tokens` tokens after a prompt of `prompt`: its last
    /// token is predicted and never fed.
    #[must_use]
    pub fn extend(&self, prompt: usize, tokens: usize) -> Macs {
        let fed = tokens.saturating_sub(1) as f64;
        Macs {
            linear: self.blocks * fed,
            attention: self.pair * fed * (prompt as f64 + f64::midpoint(fed, 1.0)),
        }
    }

    /// The head on `tokens` positions.
    #[must_use]
    pub fn head(&self, tokens: usize) -> Macs {
        Macs { linear: self.head * tokens as f64, attention: 0.0 }
    }
}

/// Shape of a group: what its passes cost follows from these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupShape {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Patches behind its visual tokens, `F * P`.
    pub patches: usize,
    /// Tokens of each response.
    pub responses: Vec<usize>,
}

impl GroupShape {
    /// Sampling: the prompt once, each response token by token.
    #[must_use]
    pub fn rollout(&self, costs: &Costs) -> Macs {
        // One row of logits serves the first token of all responses.
        let rows: usize = 1 + self.responses.iter().map(|len| len.saturating_sub(1)).sum::<usize>();
        costs.project(self.patches)
            + costs.prefill(self.prompt)
            + self.extend(costs)
            + costs.head(rows)
    }

    /// A teacher-forced pass without gradients.
    #[must_use]
    pub fn score(&self, costs: &Costs) -> Macs {
        costs.project(self.patches) + costs.prefill(self.prompt) + self.after_prompt(costs)
    }

    /// Forward, unless `prefill_kept` without the prompt, and backward; `trained` where the
    /// weights themselves are, the projector's among them, not adapters beside them.
    #[must_use]
    pub fn update(&self, costs: &Costs, prefill_kept: bool, trained: bool) -> Macs {
        let (after, prefill) = (self.after_prompt(costs), costs.prefill(self.prompt));
        let forward = if prefill_kept { after } else { self.score(costs) };
        let mut backward = (after + prefill).backward(trained);
        if trained {
            backward += costs.project(self.patches).backward(true);
        }
        forward + backward
    }

    fn after_prompt(&self, costs: &Costs) -> Macs {
        self.extend(costs) + costs.head(self.responses.iter().sum())
    }

    fn extend(&self, costs: &Costs) -> Macs {
        self.responses.iter().map(|len| costs.extend(self.prompt, *len)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        blocks: 100.0,
        last_rest: 40.0,
        pair: 8.0,
        last_pair: 4.0,
        head: 1000.0,
        projector: 10.0,
    };

    fn macs(linear: f64, attention: f64) -> Macs {
        Macs { linear, attention }
    }

    /// Three prompt tokens: 3 * 100 - 2 * 40 = 220; six pairs in the first block (4 each), and only
    /// the last token's three in the last: 24 + 12 = 36.
    #[test]
    fn a_prompt_skips_what_its_last_block_does_not_need() {
        assert_eq!(COSTS.prefill(3), macs(220.0, 36.0));
        assert_eq!(COSTS.prefill(1), macs(100.0, 8.0));
    }

    /// Responses of 1 and 3 tokens: nothing and two tokens are fed, which see 4 and 5 keys.
    #[test]
    fn a_group_shares_its_prompt_and_feeds_no_last_token() {
        let group = GroupShape { prompt: 3, patches: 2, responses: vec![1, 3] };
        assert_eq!(COSTS.extend(3, 1), macs(0.0, 0.0));
        assert_eq!(COSTS.extend(3, 3), macs(200.0, 72.0));
        // Projector 20, prompt 220, responses 200; logits of 1 + 2 positions, scores of 4.
        assert_eq!(group.rollout(&COSTS), macs(440.0 + 3000.0, 108.0));
        assert_eq!(group.score(&COSTS), macs(440.0 + 4000.0, 108.0));
        // Adapters: all but the projector once more, attention twice more.
        assert_eq!(group.update(&COSTS, false, false), macs(4440.0 + 4420.0, 3.0 * 108.0));
        // All weights: everything twice more, and the prompt's forward is there already.
        assert_eq!(group.update(&COSTS, true, true), macs(4200.0 + 2.0 * 4440.0, 72.0 + 216.0));
        assert!((macs(2.0, 3.0).flops() - 10.0).abs() < 1e-12);
    }
}
