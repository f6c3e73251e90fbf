//! Keys and values: of prompts, shared by their continuations, and of continuations in flight.

use burn::tensor::{Device, Tensor};

use crate::decoder::{Decoder, index_tensor};
use crate::parameters::plain;

/// Keys and values of one layer, `[tokens, kv_heads * head_dim]`, keys already rotated.
#[derive(Clone, Debug)]
pub struct KvLayer {
    /// Keys.
    pub k: Tensor<2>,
    /// Values.
    pub v: Tensor<2>,
}

/// Rotary positions of a prompt's tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Time, row and column of each token; text has three times the same.
    pub rows: Vec<[usize; 3]>,
    /// Position of the first token after the prompt.
    pub next: usize,
}

impl Positions {
    /// Of `len` tokens of text, or of any tokens where the model has no M-RoPE: 0, 1, 2, ...
    #[must_use]
    pub fn text(len: usize) -> Self {
        Positions { rows: (0..len).map(|at| [at; 3]).collect(), next: len }
    }

    /// Adds `len` tokens of text at the end.
    pub fn extend_text(&mut self, len: usize) {
        self.rows.extend((self.next..self.next + len).map(|at| [at; 3]));
        self.next += len;
    }

    /// Of the first `len` tokens; the position after them is that of the token cut off, which must
    /// be text.
    #[must_use]
    pub fn truncated(&self, len: usize) -> Self {
        let next = self.rows.get(len).map_or(self.next, |row| row[0]);
        Positions { rows: self.rows[..len.min(self.rows.len())].to_vec(), next }
    }
}

/// Encoded prompts, packed: what their continuations attend to.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// Keys and values, one per layer, all prompts' rows after each other.
    pub layers: Vec<KvLayer>,
    /// Length of each prompt in tokens.
    pub lens: Vec<usize>,
    /// Position of each prompt's first continuing token.
    pub next: Vec<usize>,
    /// Normalised hidden state of each prompt's last token, `[prompts, hidden]`: it predicts
    /// each continuation's first token.
    pub last_hidden: Tensor<2>,
}

impl Prefix {
    /// Rows of prompt `index` in the packed keys.
    #[must_use]
    pub fn rows(&self, index: usize) -> std::ops::Range<usize> {
        let start = self.lens[..index].iter().sum();
        start..start + self.lens[index]
    }

    /// The same prefix cut off from the autodiff graph, on the plain device.
    #[must_use]
    pub fn detached(&self) -> Prefix {
        Prefix {
            layers: self
                .layers
                .iter()
                .map(|layer| KvLayer { k: plain(layer.k.clone()), v: plain(layer.v.clone()) })
                .collect(),
            lens: self.lens.clone(),
            next: self.next.clone(),
            last_hidden: plain(self.last_hidden.clone()),
        }
    }
}

/// One continuation in a packed pass: `len` tokens after prompt `prompt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Index of the prompt in its [`Prefix`].
    pub prompt: usize,
    /// Tokens of the continuation.
    pub len: usize,
}

/// Keys and values of the tokens that continuations have sampled so far.
#[derive(Debug)]
pub struct Suffix {
    /// Per layer `[slots, capacity, kv_heads * head_dim]`; taken out while it is written.
    pub(crate) layers: Vec<Option<(Tensor<3>, Tensor<3>)>>,
    /// Prompt of each slot.
    pub(crate) prompts: Vec<usize>,
    pub(crate) capacity: usize,
    pub(crate) len: usize,
}

impl Suffix {
    /// Room for `capacity` tokens of one continuation per entry of `prompts`.
    #[must_use]
    pub fn new(decoder: &Decoder, prompts: Vec<usize>, capacity: usize, device: &Device) -> Self {
        let width = decoder.heads().kv * decoder.heads().dim;
        let zeros = || Tensor::zeros([prompts.len(), capacity, width], device);
        let layers = (0..decoder.n_layers()).map(|_| Some((zeros(), zeros()))).collect();
        Suffix { layers, prompts, capacity, len: 0 }
    }

    /// Tokens held per continuation.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True before the first step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of continuations in flight.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.prompts.len()
    }

    /// Keeps only the continuations named, in that order.
    pub fn keep(&mut self, slots: &[usize]) {
        self.prompts = slots.iter().map(|slot| self.prompts[*slot]).collect();
        for layer in &mut self.layers {
            if let Some((k, v)) = layer.take() {
                let index = index_tensor(slots, &k.device());
                *layer = Some((k.select(0, index.clone()), v.select(0, index)));
            }
        }
    }
}
