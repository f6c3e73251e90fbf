//! Gradient checkpointing: a pass that keeps each block's input and computes the rest again.
//!
//! A tracked pass keeps some dozen values per token and block for its backward. Here the blocks run
//! off the graph, one row of the residual stream per token and block is kept, and the backward goes
//! from the last block to the first: run the block again on the graph, differentiate
//! `Σ y · dL/dy`, drop it. One block's values are held at a time, for one more forward pass.
//!
//! Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174.

use burn::tensor::Tensor;

use crate::block::{Block, Rows};
use crate::decoder::Decoder;
use crate::kv::{Positions, Turn};
use crate::parameters::{Gradients, Parameters, join, plain};

/// Rows of the prompts and, where there are any, of their continuations.
#[derive(Clone, Debug)]
struct Pair {
    prompts: Tensor<2>,
    turns: Option<Tensor<2>>,
}

impl Pair {
    fn map(&self, f: impl Fn(Tensor<2>) -> Tensor<2>) -> Pair {
        Pair { prompts: f(self.prompts.clone()), turns: self.turns.clone().map(f) }
    }

    fn plain(&self) -> Pair {
        self.map(plain)
    }

    fn leaf(&self) -> Pair {
        self.map(|t| t.autodiff().require_grad())
    }

    /// Gradients of a [`leaf`](Self::leaf); zero where the loss does not depend on it.
    fn gradient(&self, gradients: &burn::tensor::Gradients) -> Pair {
        self.map(|t| t.grad(gradients).unwrap_or_else(|| t.inner().zeros_like()))
    }

    /// `Σ y · g`, whose gradient by `y` is `g`.
    fn against(&self, gradient: &Pair) -> Tensor<1> {
        let prompts = self.prompts.clone() * gradient.prompts.clone().autodiff();
        let turns = self.turns.clone().zip(gradient.turns.clone());
        match turns {
            Some((y, g)) => prompts.sum() + (y * g.autodiff()).sum(),
            None => prompts.sum(),
        }
    }
}

/// What the second half of a pass needs: the blocks' inputs, and where the rows stand.
pub struct Recompute {
    prompt_rows: Rows,
    turn_rows: Rows,
    embeds: Pair,
    inputs: Vec<Pair>,
    output: Pair,
}

impl Decoder {
    /// [`prefill_at`](Self::prefill_at) and [`extend`](Self::extend) in one for a tracked decoder:
    /// normalised states of each prompt's last token, then of all tokens of the continuations,
    /// `[prompts + Σ turn.len, hidden]`.
    ///
    /// The graph of what is returned ends before the norm: after its backward,
    /// [`Recompute::backward`] carries the gradients on. `turn_embeds` is `None` where there are no
    /// `turns`.
    #[must_use]
    pub fn checkpointed(
        &self,
        prompt_embeds: Tensor<2>,
        prompts: &[&Positions],
        turn_embeds: Option<Tensor<2>>,
        turns: &[Turn],
    ) -> (Tensor<2>, Recompute) {
        let embeds = Pair { prompts: prompt_embeds, turns: turn_embeds };
        let mut x = embeds.plain();
        let device = x.prompts.device();
        let lens: Vec<usize> = prompts.iter().map(|prompt| prompt.rows.len()).collect();
        let next: Vec<usize> = prompts.iter().map(|prompt| prompt.next).collect();
        let prompt_rows = self.prompt_rows(prompts, &device);
        let turn_rows = self.turn_rows(&lens, &next, turns, &device);
        let plain = self.plain();
        let mut inputs = Vec::with_capacity(plain.layers.len());
        for (index, block) in plain.layers.iter().enumerate() {
            let last = index + 1 == plain.layers.len();
            let y = self.both(block, &x, &prompt_rows, &turn_rows, last);
            inputs.push(std::mem::replace(&mut x, y));
        }
        let output = x.leaf();
        let states = match output.turns.clone() {
            Some(turns) => Tensor::cat(vec![output.prompts.clone(), turns], 0),
            None => output.prompts.clone(),
        };
        let states = self.norm.forward(states);
        (states, Recompute { prompt_rows, turn_rows, embeds, inputs, output })
    }

    /// One block over prompts and continuations.
    fn both(
        &self,
        block: &Block,
        x: &Pair,
        prompt_rows: &Rows,
        turn_rows: &Rows,
        last: bool,
    ) -> Pair {
        let (prompts, kv) = block.prompt(x.prompts.clone(), prompt_rows, self.heads, last);
        let turns = x.turns.clone().map(|x| block.turns(x, &kv, turn_rows, self.heads));
        Pair { prompts, turns }
    }
}

impl Recompute {
    /// Carries `gradients`, those of a loss on the states, through the blocks and what made their
    /// embeddings, and adds what it finds to `named`. `decoder` is the tracked one of the pass,
    /// called `prefix` in the names; `bottom` adds the gradients of a loss on the embeddings.
    pub fn backward(
        mut self,
        decoder: &Decoder,
        prefix: &str,
        gradients: &burn::tensor::Gradients,
        bottom: impl FnOnce(&burn::tensor::Gradients, &mut Gradients),
        named: &mut Gradients,
    ) {
        let mut gradient = self.output.gradient(gradients);
        let (prompt_rows, turn_rows) = (self.prompt_rows.autodiff(), self.turn_rows.autodiff());
        let last = self.inputs.len();
        while let Some(x) = self.inputs.pop() {
            let index = self.inputs.len();
            let x = x.leaf();
            let block = &decoder.layers[index];
            let y = decoder.both(block, &x, &prompt_rows, &turn_rows, index + 1 == last);
            let gradients = y.against(&gradient).backward();
            block.add_gradients(&join(prefix, &format!("model.layers.{index}")), &gradients, named);
            gradient = x.gradient(&gradients);
        }
        let loss = self.embeds.against(&gradient);
        if loss.is_tracked() {
            bottom(&loss.backward(), named);
        }
    }
}
