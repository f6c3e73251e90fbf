//! The same bits whatever the threads do.

use burn::tensor::{Device, Int, Tensor};
use rlaif_ops::{
    FrozenFormat, FrozenMatrix, Heads, Lora, Span, attention, frozen_linear, frozen_lora_linear,
    layer_norm, linear, lora_linear, rms_norm, swiglu, token_stats,
};

use crate::support::{host, matrix, noise, vector};

const FORMATS: [FrozenFormat; 3] = [FrozenFormat::Bf16, FrozenFormat::Int8, FrozenFormat::Nf4];

/// One pass through every fused operation and back, large enough to be split.
fn pass() -> Vec<u32> {
    let leaf = |seed, rows, columns| matrix(seed, rows, columns).autodiff().require_grad();
    let (x, w) = (leaf(1, 300, 96), leaf(2, 96, 96));
    let (a, b, up, head) = (leaf(3, 4, 96), leaf(4, 96, 4), leaf(5, 96, 96), leaf(6, 3000, 96));
    let gain = vector(&noise(7, 96)).autodiff().require_grad();
    let bias = vector(&noise(8, 96)).autodiff().require_grad();
    let h = rms_norm(x.clone(), gain.clone(), 1e-5);
    let h = layer_norm(h, gain.clone(), bias.clone(), 1e-5);
    let lora = Lora { a: a.clone(), b: b.clone(), scale: 0.5 };
    let q = lora_linear(h.clone(), w.clone(), Some(bias.clone()), &lora);
    let k = linear(h.clone(), up.clone(), None);
    let spans = [
        Span { q: 0..120, kv: 0..120, prefix: 0..150 },
        Span { q: 120..300, kv: 120..300, prefix: 0..150 },
    ];
    let prefix = (h.clone().narrow(0, 0, 150), k.clone().narrow(0, 0, 150));
    let heads = Heads { query: 6, kv: 6, dim: 16 };
    let h = attention(q, k.clone(), h, Some(prefix), heads, &spans, true);
    let h = swiglu(h, k);
    let targets: Vec<i64> = (0..300).map(|i| i * 7 % 3000).collect();
    let targets = Tensor::<1, Int>::from_data(targets.as_slice(), &h.device());
    let noise = noise(9, 96 * 96);
    let h = FORMATS.into_iter().fold(h, |h, format| {
        let frozen =
            FrozenMatrix::pack(&noise, [96, 96], format, &Device::flex()).expect("finite numbers");
        let few = frozen_linear(h.clone().narrow(0, 0, 20), &frozen, None);
        let h = frozen_lora_linear(h, &frozen, Some(bias.clone()), &lora);
        Tensor::cat(vec![few, h.narrow(0, 20, 280)], 0)
    });
    let stats = token_stats(h, head.clone(), targets, &[0, 5]);
    let gradients = (stats.logprobs.sum() + stats.entropy.sum()).backward();
    let mut out: Vec<f32> = Vec::new();
    for leaf in [&x, &w, &a, &b, &up, &head] {
        out.extend(host(&leaf.grad(&gradients).expect("it is in the graph")));
    }
    for leaf in [&gain, &bias] {
        out.extend(host(&leaf.grad(&gradients).expect("it is in the graph")));
    }
    assert!(out.iter().all(|g| g.is_finite()) && out.iter().any(|g| g.abs() > 1e-3));
    out.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_pass_gives_the_same_bits_again_and_again_and_on_any_number_of_threads() {
    let expected = pass();
    assert!(pass() == expected, "a second time");
    for threads in [1, 2, 3, 7] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(pass) == expected, "{threads} threads");
    }
}
