//! Times linear layers over weights in 32-bit floats and in each frozen format, side by side: each
//! round times every format once, weights come from memory (as many matrices in turn as no cache
//! holds), and the medians over the rounds are printed with their ratio to 32-bit floats.
//!
//!     cargo run --release -p rlaif-ops --example frozen_bench
//!
//! An argument keeps the shapes whose name contains it.

#![expect(clippy::print_stdout, reason = "the table is the program's output")]

use std::hint::black_box;
use std::time::Instant;

use burn::Tensor;
use burn::prelude::Device;
use burn::tensor::{Distribution, TensorData};
use rlaif_ops::{FrozenFormat, FrozenMatrix, Lora, NotFinite};

/// Bytes of weights that are read in turn.
const COLD: usize = 512 << 20;

enum Weight {
    Full(Tensor<2>),
    Frozen(FrozenMatrix),
}

impl Weight {
    fn new(
        values: &[f32],
        shape: [usize; 2],
        format: Option<FrozenFormat>,
    ) -> Result<Self, NotFinite> {
        let device = Device::flex();
        Ok(match format {
            None => {
                Weight::Full(Tensor::from_data(TensorData::new(values.to_vec(), shape), &device))
            }
            Some(format) => Weight::Frozen(FrozenMatrix::pack(values, shape, format, &device)?),
        })
    }

    fn bytes(&self) -> usize {
        match self {
            Weight::Full(weight) => weight.shape().num_elements() * 4,
            Weight::Frozen(weight) => weight.bytes(),
        }
    }

    fn apply(&self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Weight::Full(weight) => rlaif_ops::linear(x, weight.clone(), None),
            Weight::Frozen(weight) => rlaif_ops::frozen_linear(x, weight, None),
        }
    }

    fn adapted(&self, x: Tensor<2>, lora: &Lora) -> Tensor<2> {
        match self {
            Weight::Full(weight) => rlaif_ops::lora_linear(x, weight.clone(), None, lora),
            Weight::Frozen(weight) => rlaif_ops::frozen_lora_linear(x, weight, None, lora),
        }
    }
}

fn random(rows: usize, cols: usize) -> Tensor<2> {
    Tensor::random([rows, cols], Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// One line of the table for each format; `work` uses one weight.
fn compare(
    name: &str,
    [ins, outs]: [usize; 2],
    cold: usize,
    rounds: usize,
    mut work: impl FnMut(&Weight),
) -> Result<(), NotFinite> {
    if std::env::args().nth(1).is_some_and(|filter| !name.contains(&filter)) {
        return Ok(());
    }
    let values: Vec<f32> = random(outs, ins).mul_scalar(0.02).to_data().iter::<f32>().collect();
    let formats = [
        ("f32", None),
        ("bf16", Some(FrozenFormat::Bf16)),
        ("int8", Some(FrozenFormat::Int8)),
        ("nf4", Some(FrozenFormat::Nf4)),
    ];
    let mut weights: Vec<Vec<Weight>> = Vec::new();
    for (_, format) in formats {
        let first = Weight::new(&values, [outs, ins], format)?;
        let mut turn = vec![first];
        for _ in 1..cold.div_ceil(turn[0].bytes()).max(1) {
            turn.push(Weight::new(&values, [outs, ins], format)?);
        }
        weights.push(turn);
    }
    let mut seconds = vec![Vec::new(); formats.len()];
    for round in 0..rounds {
        for (turn, seconds) in weights.iter().zip(&mut seconds) {
            let start = Instant::now();
            work(&turn[round % turn.len()]);
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let medians: Vec<f64> = seconds.into_iter().map(median).collect();
    for (((label, _), turn), seconds) in formats.iter().zip(&weights).zip(&medians) {
        let bytes = turn[0].bytes() as f64;
        println!(
            "{name:<44}{label:>6}{:>11.3} ms{:>7.2}x{:>9.2} MB{:>7.1} GB/s of weights",
            seconds * 1e3,
            medians[0] / seconds,
            bytes / 1e6,
            bytes / seconds / 1e9,
        );
    }
    println!();
    Ok(())
}

fn main() -> Result<(), NotFinite> {
    for (rows, shape, rounds) in [
        (5, [576, 1536], 301),
        (1, [576, 1536], 301),
        (5, [4096, 11008], 45),
        (16, [4096, 11008], 45),
    ] {
        let x = random(rows, shape[0]);
        let name = format!("[{rows} x {}] x [{0} x {}], cold", shape[0], shape[1]);
        compare(&name, shape, COLD, rounds, |w| {
            black_box(w.apply(x.clone()));
        })?;
    }
    let shape = [576, 1536];
    let x = random(800, shape[0]);
    compare("[800 x 576] x [576 x 1536]", shape, 0, 61, |w| {
        black_box(w.apply(x.clone()));
    })?;
    let (a, b) = (random(16, shape[0]), random(shape[1], 16));
    compare("the same, LoRA, forward and backward", shape, 0, 61, |w| {
        let tracked = |x: &Tensor<2>| x.clone().autodiff().require_grad();
        let lora = Lora { a: tracked(&a), b: tracked(&b), scale: 1.0 };
        black_box(w.adapted(tracked(&x), &lora).sum().backward());
    })
}
