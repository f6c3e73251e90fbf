//! Times every operation in its fused and its portable form, at the shapes of a small
//! video-language model: 12 layers, hidden 576, 9 query and 3 key heads of 64, intermediate 1536,
//! vocabulary 49,152; a training pass of 1,024 prompt tokens and 5 responses of 32, and decoding of
//! 5 rows. Run with `--release`; an argument keeps the lines that contain it.

#![expect(clippy::print_stdout, reason = "the table is the program's output")]

use std::hint::black_box;
use std::time::Instant;

use burn::Tensor;
use burn::prelude::Device;
use burn::tensor::{Distribution, Int, TensorData};
use rlaif_ops::{Heads, Lora, Span, portable};

const HIDDEN: usize = 576;
const INNER: usize = 1536;
const VOCABULARY: usize = 49_152;
const HEADS: Heads = Heads { query: 9, kv: 3, dim: 64 };
const PROMPT: usize = 1024;
const RESPONSES: usize = 5;
const LENGTH: usize = 32;
const ROWS: usize = PROMPT + RESPONSES * LENGTH;

fn random(rows: usize, cols: usize) -> Tensor<2> {
    Tensor::random([rows, cols], Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn vector(len: usize) -> Tensor<1> {
    Tensor::random([len], Distribution::Normal(1.0, 0.1), &Device::flex())
}

fn tracked(x: &Tensor<2>) -> Tensor<2> {
    x.clone().autodiff().require_grad()
}

/// Best of several runs, in milliseconds.
fn time<T>(mut f: impl FnMut() -> T) -> f64 {
    black_box(f());
    let started = Instant::now();
    let mut best = f64::MAX;
    for run in 0..200 {
        let start = Instant::now();
        black_box(f());
        best = best.min(start.elapsed().as_secs_f64());
        if run >= 4 && started.elapsed().as_secs_f64() > 0.4 {
            break;
        }
    }
    best * 1e3
}

/// A line of the table; `work` is in floating-point operations or, where negative, minus bytes.
fn line<T>(name: &str, work: f64, fused: impl FnMut() -> T, portable: impl FnMut() -> T) {
    if std::env::args().nth(1).is_some_and(|filter| !name.contains(&filter)) {
        return;
    }
    let (fused, portable) = (time(fused), time(portable));
    let rate = work.abs() / fused / 1e6;
    let unit = if work < 0.0 { "GB/s" } else { "GFLOP/s" };
    println!(
        "{name:<44}{fused:>10.3}{portable:>10.3}{:>8.2}x {rate:>7.1} {unit}",
        portable / fused
    );
}

#[expect(clippy::needless_pass_by_value, reason = "the graph ends with its loss")]
fn backward(loss: Tensor<2>) -> Tensor<2> {
    let dims = loss.dims();
    let grads = loss.clone().sum().backward();
    black_box(grads);
    Tensor::zeros([dims[0].min(1), 1], &Device::flex())
}

fn main() {
    println!("{:<44}{:>10}{:>10}{:>9}", "", "fused ms", "portable", "ratio");
    linear();
    elementwise();
    attention();
    statistics();
}

fn linear() {
    for (rows, from, to) in [
        (1, HIDDEN, INNER),
        (5, HIDDEN, 192),
        (5, HIDDEN, HIDDEN),
        (5, HIDDEN, INNER),
        (5, INNER, HIDDEN),
        (16, HIDDEN, INNER),
        (32, HIDDEN, INNER),
        (64, HIDDEN, INNER),
        (1, HIDDEN, VOCABULARY),
        (5, HIDDEN, VOCABULARY),
        (32, HIDDEN, VOCABULARY),
        (ROWS, HIDDEN, INNER),
    ] {
        // Several weights in turn, so that they come from memory as they do in a model.
        let copies = (16 << 20) / (from * to) + 1;
        let (x, weights): (_, Vec<_>) =
            (random(rows, from), (0..copies).map(|_| random(to, from)).collect());
        let (mut i, mut j) = (0, 0);
        let flops = 2.0 * (rows * from * to) as f64;
        let work = if rows <= 8 { -4.0 * (from * to) as f64 } else { flops };
        line(
            &format!("linear {rows}x{from} -> {to}"),
            work,
            || {
                i = (i + 1) % copies;
                rlaif_ops::linear(x.clone(), weights[i].clone(), None)
            },
            || {
                j = (j + 1) % copies;
                portable::linear(x.clone(), weights[j].clone(), None)
            },
        );
    }
    let (x, weight) = (random(ROWS, HIDDEN), random(INNER, HIDDEN));
    let (a, b) = (random(16, HIDDEN), random(INNER, 16));
    let small = x.clone().narrow(0, 0, 5);
    let plain = Lora { a: a.clone(), b: b.clone(), scale: 2.0 };
    line(
        "lora 5 rows, no gradient",
        -4.0 * (HIDDEN * INNER) as f64,
        || rlaif_ops::lora_linear(small.clone(), weight.clone(), None, &plain),
        || portable::lora_linear(small.clone(), weight.clone(), None, &plain),
    );
    let lora = || Lora { a: tracked(&a), b: tracked(&b), scale: 2.0 };
    line(
        "lora 1184 rows, forward and backward",
        4.0 * (ROWS * HIDDEN * INNER) as f64,
        || backward(rlaif_ops::lora_linear(tracked(&x), weight.clone(), None, &lora())),
        || backward(portable::lora_linear(tracked(&x), weight.clone(), None, &lora())),
    );
}

fn elementwise() {
    let (gate, up) = (random(ROWS, INNER), random(ROWS, INNER));
    let bytes = -4.0 * (ROWS * INNER) as f64;
    line(
        "swiglu",
        3.0 * bytes,
        || rlaif_ops::swiglu(gate.clone(), up.clone()),
        || portable::swiglu(gate.clone(), up.clone()),
    );
    line(
        "swiglu, forward and backward",
        8.0 * bytes,
        || backward(rlaif_ops::swiglu(tracked(&gate), tracked(&up))),
        || backward(portable::swiglu(tracked(&gate), tracked(&up))),
    );
    line("gelu", 2.0 * bytes, || rlaif_ops::gelu(gate.clone()), || portable::gelu(gate.clone()));
    line(
        "quick_gelu",
        2.0 * bytes,
        || rlaif_ops::quick_gelu(gate.clone()),
        || portable::quick_gelu(gate.clone()),
    );
    let (x, weight) = (random(ROWS, HIDDEN), vector(HIDDEN));
    let bytes = -4.0 * (ROWS * HIDDEN) as f64;
    line(
        "rms_norm",
        2.0 * bytes,
        || rlaif_ops::rms_norm(x.clone(), weight.clone(), 1e-5),
        || portable::rms_norm(x.clone(), weight.clone(), 1e-5),
    );
    let few = x.clone().narrow(0, 0, 5);
    line(
        "rms_norm, 5 rows",
        2.0 * bytes * 5.0 / ROWS as f64,
        || rlaif_ops::rms_norm(few.clone(), weight.clone(), 1e-5),
        || portable::rms_norm(few.clone(), weight.clone(), 1e-5),
    );
    line(
        "rms_norm, forward and backward",
        5.0 * bytes,
        || backward(rlaif_ops::rms_norm(tracked(&x), weight.clone(), 1e-5)),
        || backward(portable::rms_norm(tracked(&x), weight.clone(), 1e-5)),
    );
    line(
        "layer_norm",
        2.0 * bytes,
        || rlaif_ops::layer_norm(x.clone(), weight.clone(), weight.clone(), 1e-5),
        || portable::layer_norm(x.clone(), weight.clone(), weight.clone(), 1e-5),
    );
    let (cos, sin) = (random(ROWS, HEADS.dim / 2), random(ROWS, HEADS.dim / 2));
    line(
        "rotary",
        2.0 * bytes,
        || rlaif_ops::rotary(x.clone(), cos.clone(), sin.clone(), HEADS.query),
        || portable::rotary(x.clone(), cos.clone(), sin.clone(), HEADS.query),
    );
}

type Qkv = (Tensor<2>, Tensor<2>, Tensor<2>);

fn qkv(queries: usize, keys: usize) -> Qkv {
    let kv = HEADS.kv * HEADS.dim;
    (random(queries, HEADS.query * HEADS.dim), random(keys, kv), random(keys, kv))
}

fn attention() {
    let pair = 4.0 * (HEADS.query * HEADS.dim) as f64;
    let triangle = |n: usize| (n * (n + 1) / 2) as f64;
    let own = RESPONSES as f64 * triangle(LENGTH);
    let shared = (RESPONSES * LENGTH * PROMPT) as f64;
    let responses: Vec<Span> = (0..RESPONSES)
        .map(|i| {
            let rows = i * LENGTH..(i + 1) * LENGTH;
            Span { q: rows.clone(), kv: rows, prefix: 0..PROMPT }
        })
        .collect();
    let prompt = [Span { q: 0..PROMPT, kv: 0..PROMPT, prefix: 0..0 }];
    let (_, pk, pv) = qkv(1, PROMPT);
    let prefix = || Some((pk.clone(), pv.clone()));
    let plain = |name: &str, (q, k, v): &Qkv, with: bool, spans: &[Span], pairs: f64, causal| {
        let prefix = || with.then(|| (pk.clone(), pv.clone()));
        line(
            name,
            pair * pairs,
            || {
                let (q, k, v) = (q.clone(), k.clone(), v.clone());
                rlaif_ops::attention(q, k, v, prefix(), HEADS, spans, causal)
            },
            || {
                let (q, k, v) = (q.clone(), k.clone(), v.clone());
                portable::attention(q, k, v, prefix(), HEADS, spans, causal)
            },
        );
    };
    let (p, r) = (qkv(PROMPT, PROMPT), qkv(RESPONSES * LENGTH, RESPONSES * LENGTH));
    plain("attention, prompt", &p, false, &prompt, triangle(PROMPT), true);
    plain("attention, 5 responses", &r, true, &responses, shared + own, true);
    let frames: Vec<Span> = (0..4)
        .map(|i| Span { q: i * 256..i * 256 + 256, kv: i * 256..i * 256 + 256, prefix: 0..0 })
        .collect();
    plain("attention, 4 frames of 256", &p, false, &frames, 4.0 * 256.0 * 256.0, false);
    let steps: Vec<Span> = (0..RESPONSES)
        .map(|i| Span { q: i..i + 1, kv: i * LENGTH..i * LENGTH + 16, prefix: 0..PROMPT })
        .collect();
    let d = qkv(RESPONSES, RESPONSES * LENGTH);
    plain("attention, decoding 5 rows", &d, true, &steps, 5.0 * 1040.0, true);
    for (name, t, with, spans, pairs) in [
        ("attention, prompt, forward and backward", &p, false, &prompt[..], triangle(PROMPT)),
        ("attention, 5 responses, fwd and bwd", &r, true, &responses[..], shared + own),
    ] {
        let prefix = || prefix().filter(|_| with).map(|(k, v)| (tracked(&k), tracked(&v)));
        line(
            name,
            3.5 * pair * pairs,
            || {
                let (q, k, v) = (tracked(&t.0), tracked(&t.1), tracked(&t.2));
                backward(rlaif_ops::attention(q, k, v, prefix(), HEADS, spans, true))
            },
            || {
                let (q, k, v) = (tracked(&t.0), tracked(&t.1), tracked(&t.2));
                backward(portable::attention(q, k, v, prefix(), HEADS, spans, true))
            },
        );
    }
}

fn statistics() {
    let n = RESPONSES * LENGTH;
    let (hidden, head) = (random(n, HIDDEN), random(VOCABULARY, HIDDEN).mul_scalar(0.05));
    let ids: Vec<i64> = (0..n).filter_map(|i| i64::try_from(i * 7919 % VOCABULARY).ok()).collect();
    let targets = Tensor::<1, Int>::from_data(TensorData::new(ids, [n]), &Device::flex());
    let forbidden = [3, 4];
    let flops = 2.0 * (n * HIDDEN * VOCABULARY) as f64;
    let both = |s: rlaif_ops::TokenStats| (s.logprobs + s.entropy * 0.1).reshape([n, 1]);
    line(
        "token_stats, 160 rows",
        flops,
        || both(rlaif_ops::token_stats(hidden.clone(), head.clone(), targets.clone(), &forbidden)),
        || both(portable::token_stats(hidden.clone(), head.clone(), targets.clone(), &forbidden)),
    );
    line(
        "token_stats, forward and backward",
        3.0 * flops,
        || {
            let hidden = tracked(&hidden);
            backward(both(rlaif_ops::token_stats(
                hidden,
                head.clone(),
                targets.clone(),
                &forbidden,
            )))
        },
        || {
            let hidden = tracked(&hidden);
            backward(both(portable::token_stats(hidden, head.clone(), targets.clone(), &forbidden)))
        },
    );
    let logits = random(RESPONSES, VOCABULARY);
    line(
        "log_softmax_rows, 5 rows",
        -8.0 * (RESPONSES * VOCABULARY) as f64,
        || rlaif_ops::log_softmax_rows(logits.clone(), &forbidden),
        || portable::log_softmax_rows(logits.clone(), &forbidden),
    );
}
