//! The pass that a training step differentiates: prompts, their responses, and the way back.

use burn::tensor::Tensor;
use rlaif_model::decoder::index_tensor;
use rlaif_model::{Gradients, Parameters, Positions, Prefix, Recompute, Turn, Vlm};

use crate::prompt::{PromptInput, embed, encode};

/// Which states of a response are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Those that predict each token: the prompt's last state for a first token, the response's own
    /// for the others.
    EachToken,
    /// The one after the last token, where a score of the whole is read.
    AfterLast,
}

/// A differentiable pass. Its graph ends in a loss on [`hidden`](Self::hidden);
/// [`gradients`](Self::gradients) is its backward.
pub struct Pass<'a> {
    /// Normalised hidden states that were asked for, response by response: `[Σ T, hidden]` or
    /// `[R, hidden]`.
    pub hidden: Tensor<2>,
    model: &'a Vlm,
    recompute: Option<Recompute>,
}

impl<'a> Pass<'a> {
    /// Encodes `prompts`, and `responses` after them: pairs of a prompt's index and token ids, none
    /// empty.
    ///
    /// With `checkpointing` the decoder's blocks keep their inputs alone and run a second time in
    /// the backward (see [`rlaif_model::recompute`]).
    #[must_use]
    pub fn new(
        model: &'a Vlm,
        prompts: &[&PromptInput],
        responses: &[(usize, &[u32])],
        reads: Reads,
        checkpointing: bool,
    ) -> Self {
        if !checkpointing {
            return Pass::after(model, &encode(model, prompts), responses, reads);
        }
        let plan = Fed::new(prompts.len(), responses, reads);
        let positions: Vec<Positions> = prompts.iter().map(|prompt| prompt.positions()).collect();
        let turns = (!plan.ids.is_empty()).then(|| model.decoder.embed_tokens(&plan.ids));
        let (states, recompute) = model.decoder.checkpointed(
            embed(model, prompts),
            &positions.iter().collect::<Vec<_>>(),
            turns,
            &plan.turns,
        );
        let hidden = plan.pick(states);
        Pass { hidden, model, recompute: Some(recompute) }
    }

    /// The pass over `responses` alone, after prompts that are encoded.
    #[must_use]
    pub fn after(
        model: &'a Vlm,
        prefix: &Prefix,
        responses: &[(usize, &[u32])],
        reads: Reads,
    ) -> Self {
        let plan = Fed::new(prefix.lens.len(), responses, reads);
        let mut states = prefix.last_hidden.clone();
        if !plan.ids.is_empty() {
            let embeds = model.decoder.embed_tokens(&plan.ids);
            let hidden = model.decoder.extend(prefix, embeds, &plan.turns);
            states = Tensor::cat(vec![states, hidden], 0);
        }
        Pass { hidden: plan.pick(states), model, recompute: None }
    }

    /// Gradients of `loss` by the parameters of `tracked`, the tracked model of this pass or what
    /// contains it under the same names.
    #[must_use]
    pub fn gradients(self, tracked: &impl Parameters, loss: &Tensor<1>) -> Gradients {
        let gradients = loss.backward();
        let mut named = tracked.gradients(&gradients);
        if let Some(recompute) = self.recompute {
            let bottom = |gradients: &burn::tensor::Gradients, named: &mut Gradients| {
                self.model.add_gradients("", gradients, named);
            };
            let decoder = &self.model.decoder;
            recompute.backward(decoder, "language_model", &gradients, bottom, &mut named);
        }
        named
    }
}

/// What is fed after the prompts, and which states are read.
struct Fed {
    ids: Vec<u32>,
    turns: Vec<Turn>,
    /// Rows of the prompts' last states followed by the fed tokens' states.
    rows: Vec<usize>,
}

impl Fed {
    fn new(prompts: usize, responses: &[(usize, &[u32])], reads: Reads) -> Fed {
        let (mut ids, mut turns, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for (prompt, tokens) in responses {
            let first = prompts + ids.len();
            let fed = match reads {
                // The last token is predicted and never fed.
                Reads::EachToken => &tokens[..tokens.len() - 1],
                Reads::AfterLast => tokens,
            };
            match reads {
                Reads::EachToken => {
                    rows.push(*prompt);
                    rows.extend(first..first + fed.len());
                }
                Reads::AfterLast => rows.push(first + fed.len() - 1),
            }
            if !fed.is_empty() {
                ids.extend_from_slice(fed);
                turns.push(Turn { prompt: *prompt, len: fed.len() });
            }
        }
        Fed { ids, turns, rows }
    }

    fn pick(&self, states: Tensor<2>) -> Tensor<2> {
        let index = index_tensor(&self.rows, &states.device());
        states.select(0, index)
    }
}
