//! One block of the decoder.

use burn::tensor::Tensor;
use rlaif_ops::{Heads, Span};

use crate::decoder::index_tensor;
use crate::kv::KvLayer;
use crate::layers::{Linear, RmsNorm};
use crate::parameters::{Parameters, Slot, join};

/// Where packed rows stand: their rotary tables, `[rows, head_dim / 2]`, and which rows attend to
/// which.
pub(crate) struct Rows {
    pub(crate) cos: Tensor<2>,
    pub(crate) sin: Tensor<2>,
    pub(crate) spans: Vec<Span>,
}

/// Runs of rows that attend to themselves.
pub(crate) fn spans(lens: impl IntoIterator<Item = usize>) -> Vec<Span> {
    let mut start = 0;
    lens.into_iter()
        .map(|len| {
            let rows = start..start + len;
            start = rows.end;
            Span { q: rows.clone(), kv: rows, prefix: 0..0 }
        })
        .collect()
}

impl Rows {
    /// The same for a pass on the autodiff device.
    pub(crate) fn autodiff(self) -> Rows {
        Rows { cos: self.cos.autodiff(), sin: self.sin.autodiff(), spans: self.spans }
    }

    fn rotate(&self, x: Tensor<2>, heads: usize) -> Tensor<2> {
        rlaif_ops::rotary(x, self.cos.clone(), self.sin.clone(), heads)
    }
}

/// One decoder block.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) input_norm: RmsNorm,
    pub(crate) q: Linear,
    pub(crate) k: Linear,
    pub(crate) v: Linear,
    pub(crate) o: Linear,
    pub(crate) post_norm: RmsNorm,
    pub(crate) gate: Linear,
    pub(crate) up: Linear,
    pub(crate) down: Linear,
}

impl Block {
    /// Packed prompts, each attending to itself. In the `last` block the rows of prompts before
    /// their last token get keys and values and nothing else: nothing reads the rest.
    pub(crate) fn prompt(
        &self,
        x: Tensor<2>,
        rows: &Rows,
        heads: Heads,
        last: bool,
    ) -> (Tensor<2>, KvLayer) {
        if !last {
            let (q, k, v) = self.qkv(x.clone(), rows, heads);
            let attended =
                rlaif_ops::attention(q, k.clone(), v.clone(), None, heads, &rows.spans, true);
            return (self.after_attention(x, attended), KvLayer { k, v });
        }
        let h = self.input_norm.forward(x.clone());
        let k = rows.rotate(self.k.forward(h.clone()), heads.kv);
        let v = self.v.forward(h.clone());
        let ends: Vec<usize> = rows.spans.iter().map(|span| span.q.end - 1).collect();
        let ends = index_tensor(&ends, &x.device());
        let spans = rows
            .spans
            .iter()
            .enumerate()
            .map(|(i, span)| Span { q: i..i + 1, kv: span.kv.clone(), prefix: 0..0 })
            .collect();
        let pick = |t: &Tensor<2>| t.clone().select(0, ends.clone());
        let rows = Rows { cos: pick(&rows.cos), sin: pick(&rows.sin), spans };
        let q = rows.rotate(self.q.forward(pick(&h)), heads.query);
        let attended =
            rlaif_ops::attention(q, k.clone(), v.clone(), None, heads, &rows.spans, true);
        (self.after_attention(pick(&x), attended), KvLayer { k, v })
    }

    /// Packed continuations, each attending to its prompt's keys and values and to itself.
    pub(crate) fn turns(
        &self,
        x: Tensor<2>,
        past: &KvLayer,
        rows: &Rows,
        heads: Heads,
    ) -> Tensor<2> {
        let (q, k, v) = self.qkv(x.clone(), rows, heads);
        let past = Some((past.k.clone(), past.v.clone()));
        let attended = rlaif_ops::attention(q, k, v, past, heads, &rows.spans, true);
        self.after_attention(x, attended)
    }

    pub(crate) fn qkv(
        &self,
        x: Tensor<2>,
        rows: &Rows,
        heads: Heads,
    ) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
        let h = self.input_norm.forward(x);
        let q = self.q.forward(h.clone());
        let k = self.k.forward(h.clone());
        (rows.rotate(q, heads.query), rows.rotate(k, heads.kv), self.v.forward(h))
    }

    pub(crate) fn after_attention(&self, x: Tensor<2>, attended: Tensor<2>) -> Tensor<2> {
        let x = x + self.o.forward(attended);
        let h = self.post_norm.forward(x.clone());
        let gated = rlaif_ops::swiglu(self.gate.forward(h.clone()), self.up.forward(h));
        x + self.down.forward(gated)
    }

    /// Part of the block that a linear layer belongs to.
    pub(crate) fn room(name: &str) -> &'static str {
        match name {
            "gate_proj" | "up_proj" | "down_proj" => "mlp",
            _ => "self_attn",
        }
    }

    pub(crate) fn named_linears(&mut self) -> [(&'static str, &mut Linear); 7] {
        [
            ("q_proj", &mut self.q),
            ("k_proj", &mut self.k),
            ("v_proj", &mut self.v),
            ("o_proj", &mut self.o),
            ("gate_proj", &mut self.gate),
            ("up_proj", &mut self.up),
            ("down_proj", &mut self.down),
        ]
    }
}

impl Parameters for Block {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        self.input_norm.walk(&join(prefix, "input_layernorm"), visit);
        self.post_norm.walk(&join(prefix, "post_attention_layernorm"), visit);
        for (name, linear) in self.named_linears() {
            linear.walk(&join(prefix, &format!("{}.{name}", Block::room(name))), visit);
        }
    }
}
