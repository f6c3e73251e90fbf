//! What this machine can do at most: the yardstick that measured times are held against.

use std::sync::OnceLock;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use serde::Serialize;

/// Measured peaks of the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// Matrix product of large warm `f32` matrices, in GFLOP/s (a multiply-add counts two).
    pub gemm_gflops: f64,
    /// Reading memory that no cache holds, all cores together, in GB/s.
    pub read_gigabytes_per_second: f64,
}

/// The peaks, measured once per process: about half a second.
#[must_use]
pub fn measure() -> Peak {
    static PEAK: OnceLock<Peak> = OnceLock::new();
    *PEAK.get_or_init(|| Peak {
        gemm_gflops: gemm_gflops(),
        read_gigabytes_per_second: read_gigabytes_per_second(),
    })
}

/// Best of several products `[768, 1024] x [1024, 1024]`.
fn gemm_gflops() -> f64 {
    const SHAPE: [usize; 3] = [768, 1024, 1024];
    let device = Device::flex();
    let [m, k, n] = SHAPE;
    let a = Tensor::<2>::random([m, k], Distribution::Uniform(-1.0, 1.0), &device);
    let b = Tensor::<2>::random([k, n], Distribution::Uniform(-1.0, 1.0), &device);
    let flop = 2.0 * (m * k * n) as f64;
    let best = best_seconds(8, || {
        std::hint::black_box(a.clone().matmul(b.clone()).into_data());
    });
    flop * 1e-9 / best
}

/// Best of several sums over 256 MiB, split over the cores.
fn read_gigabytes_per_second() -> f64 {
    use rayon::prelude::*;
    const WORDS: usize = 32 << 20;
    let data = vec![1_u64; WORDS];
    let part = WORDS.div_ceil(rayon::current_num_threads().max(1));
    let best = best_seconds(4, || {
        let total: u64 =
            data.par_chunks(part).map(|chunk| chunk.iter().fold(0, |a, b| a ^ b)).sum();
        std::hint::black_box(total);
    });
    (WORDS * 8) as f64 * 1e-9 / best
}

fn best_seconds(runs: usize, mut work: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let start = Instant::now();
        work();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_those_of_a_computer() {
        let peak = measure();
        assert!((0.1..1e5).contains(&peak.gemm_gflops), "{peak:?}");
        assert!((0.1..1e4).contains(&peak.read_gigabytes_per_second), "{peak:?}");
        assert_eq!(measure(), peak);
    }
}
