//! Llama decoder: grouped-query attention, rotary positions, RMS norms, `SwiGLU`, tied or untied
//! head.
//!
//! Everything is packed, nothing is padded: tokens of several sequences lie one after the other
//! in `[tokens, hidden]`, and spans say which rows attend to which. One prompt is encoded once
//! ([`Decoder::prefill`]); its G continuations attend to that shared [`Prefix`], teacher-forced
//! all at once ([`Decoder::extend`]) or token by token ([`Decoder::step`]).

use burn::tensor::{Device, Int, Tensor};
use rlaif_ops::{Heads, Span};

use crate::block::{Block, Rows, spans};
use crate::hf::{AttentionBias, TextConfig};
use crate::kv::{KvLayer, Positions, Prefix, Suffix, Turn};
use crate::layers::{Linear, RmsNorm};
use crate::parameters::{Parameters, Slot, join};

/// The language model.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Token embeddings `[vocabulary, hidden]`.
    pub embed: Tensor<2>,
    pub(crate) layers: Vec<Block>,
    pub(crate) norm: RmsNorm,
    /// Output head `[vocabulary, hidden]`; `None` where it is tied to the embeddings.
    lm_head: Option<Tensor<2>>,
    pub(crate) heads: Heads,
    rope_theta: f64,
    mrope_section: Option<[usize; 3]>,
}

impl Decoder {
    /// A decoder whose tensors are all zero (norm gains one), to be filled by loading or
    /// initialisation.
    #[must_use]
    pub fn zeros(config: &TextConfig, device: &Device) -> Self {
        let hidden = config.hidden_size;
        let heads = Heads {
            query: config.num_attention_heads,
            kv: config.num_key_value_heads,
            dim: config.head_dim,
        };
        let linear = |outputs: usize, inputs: usize, bias: bool| {
            Linear::zeros(outputs, inputs, bias, device)
        };
        let norm = || RmsNorm { weight: Tensor::ones([hidden], device), eps: config.rms_norm_eps };
        let mlp_bias = config.mlp_bias;
        let qkv_bias = config.attention_bias != AttentionBias::None;
        let layers = (0..config.num_hidden_layers)
            .map(|_| Block {
                input_norm: norm(),
                q: linear(heads.query * heads.dim, hidden, qkv_bias),
                k: linear(heads.kv * heads.dim, hidden, qkv_bias),
                v: linear(heads.kv * heads.dim, hidden, qkv_bias),
                o: linear(
                    hidden,
                    heads.query * heads.dim,
                    config.attention_bias == AttentionBias::All,
                ),
                post_norm: norm(),
                gate: linear(config.intermediate_size, hidden, mlp_bias),
                up: linear(config.intermediate_size, hidden, mlp_bias),
                down: linear(hidden, config.intermediate_size, mlp_bias),
            })
            .collect();
        Decoder {
            embed: Tensor::zeros([config.vocab_size, hidden], device),
            layers,
            norm: norm(),
            lm_head: (!config.tie_word_embeddings)
                .then(|| Tensor::zeros([config.vocab_size, hidden], device)),
            heads,
            rope_theta: config.rope_theta,
            mrope_section: config.mrope_section,
        }
    }

    /// The output head, `[vocabulary, hidden]`.
    #[must_use]
    pub fn head(&self) -> Tensor<2> {
        self.lm_head.as_ref().unwrap_or(&self.embed).clone()
    }

    /// Embeds token ids, `[tokens, hidden]`.
    #[must_use]
    pub fn embed_tokens(&self, ids: &[u32]) -> Tensor<2> {
        let ids: Vec<usize> = ids.iter().map(|id| *id as usize).collect();
        self.embed.clone().select(0, index_tensor(&ids, &self.embed.device()))
    }

    /// [`prefill_at`](Self::prefill_at) with tokens counted from 0 in each prompt.
    #[must_use]
    pub fn prefill(&self, embeds: Tensor<2>, lens: &[usize]) -> Prefix {
        let positions: Vec<Positions> = lens.iter().map(|len| Positions::text(*len)).collect();
        self.prefill_at(embeds, &positions.iter().collect::<Vec<_>>())
    }

    /// Encodes packed prompts: the one pass over each prompt that all its continuations share.
    ///
    /// `embeds` is `[Σ lens, hidden]`. In the last layer only keys and values are computed for
    /// tokens before a prompt's last one: nothing reads the rest.
    #[must_use]
    pub fn prefill_at(&self, embeds: Tensor<2>, prompts: &[&Positions]) -> Prefix {
        let rows = self.prompt_rows(prompts, &embeds.device());
        let mut x = embeds; // [T, hidden]
        let mut layers = Vec::with_capacity(self.layers.len());
        for (index, block) in self.layers.iter().enumerate() {
            let (out, kv) = block.prompt(x, &rows, self.heads, index + 1 == self.layers.len());
            x = out;
            layers.push(kv);
        }
        let lens = prompts.iter().map(|prompt| prompt.rows.len()).collect();
        let next = prompts.iter().map(|prompt| prompt.next).collect();
        Prefix { layers, lens, next, last_hidden: self.norm.forward(x) }
    }

    /// Runs packed continuations after their prompts, all tokens at once: the training pass.
    ///
    /// `embeds` is `[Σ turn.len, hidden]`; positions of every continuation start where its prompt's
    /// end. Returns normalised hidden states, `[Σ turn.len, hidden]`.
    #[must_use]
    pub fn extend(&self, prefix: &Prefix, embeds: Tensor<2>, turns: &[Turn]) -> Tensor<2> {
        let rows = self.turn_rows(&prefix.lens, &prefix.next, turns, &embeds.device());
        let mut x = embeds;
        for (block, past) in self.layers.iter().zip(&prefix.layers) {
            x = block.turns(x, past, &rows, self.heads);
        }
        self.norm.forward(x)
    }

    /// Encodes prompts that begin as those of `prefix` do: prompt `i` is the beginning
    /// `turns[i].prompt` with `turns[i].len` tokens of text after it, at least 1. What they have in
    /// common is not computed again. For generation: nothing is differentiated.
    ///
    /// `embeds` is `[Σ turn.len, hidden]`.
    #[must_use]
    pub fn prefill_after(&self, prefix: &Prefix, embeds: Tensor<2>, turns: &[Turn]) -> Prefix {
        let device = embeds.device();
        let rows = self.turn_rows(&prefix.lens, &prefix.next, turns, &device);
        let begun: usize = prefix.lens.iter().sum();
        // Rows of each whole prompt among those of the beginnings followed by those of the turns.
        let mut whole = Vec::new();
        for (turn, span) in turns.iter().zip(&rows.spans) {
            whole.extend(prefix.rows(turn.prompt));
            whole.extend(span.q.clone().map(|row| begun + row));
        }
        let whole = index_tensor(&whole, &device);
        let mut x = embeds;
        let mut layers = Vec::with_capacity(self.layers.len());
        for (block, past) in self.layers.iter().zip(&prefix.layers) {
            let (q, k, v) = block.qkv(x.clone(), &rows, self.heads);
            let join = |past: &Tensor<2>, own: &Tensor<2>| {
                Tensor::cat(vec![past.clone(), own.clone()], 0).select(0, whole.clone())
            };
            layers.push(KvLayer { k: join(&past.k, &k), v: join(&past.v, &v) });
            let past = Some((past.k.clone(), past.v.clone()));
            let attended = rlaif_ops::attention(q, k, v, past, self.heads, &rows.spans, true);
            x = block.after_attention(x, attended);
        }
        let ends: Vec<usize> = rows.spans.iter().map(|span| span.q.end - 1).collect();
        let last = x.select(0, index_tensor(&ends, &device));
        Prefix {
            layers,
            lens: turns.iter().map(|turn| prefix.lens[turn.prompt] + turn.len).collect(),
            next: turns.iter().map(|turn| prefix.next[turn.prompt] + turn.len).collect(),
            last_hidden: self.norm.forward(last),
        }
    }

    /// Where the rows of packed prompts stand.
    pub(crate) fn prompt_rows(&self, prompts: &[&Positions], device: &Device) -> Rows {
        let positions: Vec<[usize; 3]> =
            prompts.iter().flat_map(|prompt| prompt.rows.iter().copied()).collect();
        let (cos, sin) = self.rotary_table(&positions, device);
        let spans = spans(prompts.iter().map(|prompt| prompt.rows.len()));
        Rows { cos, sin, spans }
    }

    /// Where the rows of packed continuations stand, after prompts of these lengths and next
    /// positions.
    pub(crate) fn turn_rows(
        &self,
        lens: &[usize],
        next: &[usize],
        turns: &[Turn],
        device: &Device,
    ) -> Rows {
        let mut positions = Vec::new();
        let mut spans = Vec::with_capacity(turns.len());
        let mut start = 0;
        for turn in turns {
            let first = next[turn.prompt];
            positions.extend((first..first + turn.len).map(|at| [at; 3]));
            let rows = start..start + turn.len;
            start = rows.end;
            let before: usize = lens[..turn.prompt].iter().sum();
            let prefix = before..before + lens[turn.prompt];
            spans.push(Span { q: rows.clone(), kv: rows, prefix });
        }
        let (cos, sin) = self.rotary_table(&positions, device);
        Rows { cos, sin, spans }
    }

    /// One more token of every continuation in flight: `embeds` is `[slots, hidden]`. Returns
    /// normalised hidden states of the same shape. For generation: nothing is differentiated.
    ///
    /// # Panics
    ///
    /// Panics when the suffix is full.
    #[must_use]
    pub fn step(&self, prefix: &Prefix, suffix: &mut Suffix, embeds: Tensor<2>) -> Tensor<2> {
        assert!(suffix.len < suffix.capacity, "the suffix holds {} tokens", suffix.capacity);
        let (slots, at, capacity) = (suffix.slots(), suffix.len, suffix.capacity);
        let width = self.heads.kv * self.heads.dim;
        let positions: Vec<[usize; 3]> =
            suffix.prompts.iter().map(|p| [prefix.next[*p] + at; 3]).collect();
        let (cos, sin) = self.rotary_table(&positions, &embeds.device());
        let spans = suffix
            .prompts
            .iter()
            .enumerate()
            .map(|(slot, prompt)| Span {
                q: slot..slot + 1,
                kv: slot * capacity..slot * capacity + at + 1,
                prefix: prefix.rows(*prompt),
            })
            .collect();
        let rows = Rows { cos, sin, spans };
        let mut x = embeds;
        for (index, (block, past)) in self.layers.iter().zip(&prefix.layers).enumerate() {
            let (q, k, v) = block.qkv(x.clone(), &rows, self.heads);
            let Some((keys, values)) = suffix.layers[index].take() else {
                unreachable!("every layer's cache is put back below")
            };
            let place = [0..slots, at..at + 1, 0..width];
            let keys = keys.slice_assign(place.clone(), k.reshape([slots, 1, width]));
            let values = values.slice_assign(place, v.reshape([slots, 1, width]));
            let flat = |t: &Tensor<3>| t.clone().reshape([slots * capacity, width]);
            let past = Some((past.k.clone(), past.v.clone()));
            let attended = rlaif_ops::attention(
                q,
                flat(&keys),
                flat(&values),
                past,
                self.heads,
                &rows.spans,
                true,
            );
            suffix.layers[index] = Some((keys, values));
            x = block.after_attention(x, attended);
        }
        suffix.len += 1;
        self.norm.forward(x)
    }

    /// Every linear layer of the blocks with the last part of its name, for adapters.
    pub fn linears(&mut self, mut visit: impl FnMut(&str, &mut Linear)) {
        for block in &mut self.layers {
            for (name, linear) in block.named_linears() {
                visit(name, linear);
            }
        }
    }

    /// The same with full names under `prefix`, as [`Parameters::walk`] has them.
    pub fn named_linears(&mut self, prefix: &str, mut visit: impl FnMut(&str, &mut Linear)) {
        for (index, block) in self.layers.iter_mut().enumerate() {
            for (name, linear) in block.named_linears() {
                let layer = format!("model.layers.{index}.{}.{name}", Block::room(name));
                visit(&join(prefix, &layer), linear);
            }
        }
    }

    /// Multiply-adds of one token's pass through the blocks, without attention scores and head.
    #[must_use]
    pub fn block_macs_per_token(&self) -> usize {
        let mut macs = 0;
        self.clone().linears(|_, linear| macs += linear.shape().iter().product::<usize>());
        macs
    }

    /// Query heads, key-value heads and head size.
    #[must_use]
    pub fn heads(&self) -> Heads {
        self.heads
    }

    /// Number of blocks.
    #[must_use]
    pub fn n_layers(&self) -> usize {
        self.layers.len()
    }

    /// `cos` and `sin` of each position's angles, `[positions, head_dim / 2]`.
    fn rotary_table(&self, positions: &[[usize; 3]], device: &Device) -> (Tensor<2>, Tensor<2>) {
        let half = self.heads.dim / 2;
        #[expect(clippy::cast_possible_truncation, reason = "angles are computed in f32")]
        let theta = self.rope_theta as f32;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| {
                let exponent = (2 * i) as f32 / self.heads.dim as f32;
                1.0 / theta.powf(exponent)
            })
            .collect();
        // The axis that each frequency turns by: all by the first, which text has alone, or some by
        // time, row and column each.
        let sections = self.mrope_section.unwrap_or([half, 0, 0]);
        let axes: Vec<usize> = sections
            .iter()
            .enumerate()
            .flat_map(|(axis, n)| std::iter::repeat_n(axis, *n))
            .collect();
        let mut cos = Vec::with_capacity(positions.len() * half);
        let mut sin = Vec::with_capacity(positions.len() * half);
        for position in positions {
            for (frequency, axis) in frequencies.iter().zip(&axes) {
                let (s, c) = (position[*axis] as f32 * frequency).sin_cos();
                cos.push(c);
                sin.push(s);
            }
        }
        (matrix(cos, positions.len(), half, device), matrix(sin, positions.len(), half, device))
    }
}

impl Parameters for Decoder {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        visit(&join(prefix, "model.embed_tokens.weight"), Slot::Matrix(&mut self.embed));
        for (index, block) in self.layers.iter_mut().enumerate() {
            block.walk(&join(prefix, &format!("model.layers.{index}")), visit);
        }
        self.norm.walk(&join(prefix, "model.norm"), visit);
        if let Some(head) = &mut self.lm_head {
            visit(&join(prefix, "lm_head.weight"), Slot::Matrix(head));
        }
    }
}

/// Row numbers as an index tensor.
#[must_use]
pub fn index_tensor(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|row| i64::try_from(*row).unwrap_or(i64::MAX)).collect();
    Tensor::from_data(rows.as_slice(), device)
}

fn matrix(values: Vec<f32>, rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    Tensor::from_data(burn::tensor::TensorData::new(values, [rows, columns]), device)
}
