//! Linear layers for every number of rows around the border between the kernel for few rows and
//! that for many, at awkward widths, against sums in `f64`.

use rlaif_ops::{Lora, linear, lora_linear};

use crate::support::{assert_close, from, host, noise, vector};

/// `x wᵀ` over plain numbers, `[rows, outputs]`.
fn product(x: &[f32], w: &[f32], width: usize) -> Vec<f64> {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    x.chunks_exact(width).flat_map(|x| w.chunks_exact(width).map(move |w| dot(x, w))).collect()
}

/// A sum of up to 100 products below 1 in f32.
const SUM_OF_100: f64 = 2e-5;

#[test]
fn few_rows_and_many_give_the_plain_product() {
    for rows in (1..=20).chain([31, 32, 33, 48, 63, 64, 65, 100]) {
        for (inputs, outputs) in [(1, 1), (7, 5), (16, 16), (33, 18), (100, 3), (64, 130)] {
            let (x, w) = (noise(1, rows * inputs), noise(2, outputs * inputs));
            let bias = noise(3, outputs);
            let mut expected = product(&x, &w, inputs);
            let what = format!("{rows} x {inputs} x {outputs}");
            let got = linear(from(&x, inputs), from(&w, inputs), None);
            assert_close(&host(&got), &expected, SUM_OF_100, &what);
            for row in expected.chunks_exact_mut(outputs) {
                row.iter_mut().zip(&bias).for_each(|(y, b)| *y += f64::from(*b));
            }
            let got = linear(from(&x, inputs), from(&w, inputs), Some(vector(&bias)));
            assert_close(&host(&got), &expected, SUM_OF_100, &what);
        }
    }
}

/// `x Wᵀ + scale (x Aᵀ) Bᵀ` is the layer with the weight `W + scale B A`.
#[test]
fn an_adapter_beside_the_weight_equals_the_merged_weight() {
    const RANK: usize = 3;
    for rows in [1, 2, 15, 16, 17, 40] {
        for (inputs, outputs) in [(7, 5), (33, 18), (64, 40)] {
            let (x, w) = (noise(1, rows * inputs), noise(2, outputs * inputs));
            let (a, b) = (noise(4, RANK * inputs), noise(5, outputs * RANK));
            let merged: Vec<f32> = (0..outputs * inputs)
                .map(|i| {
                    let (row, column) = (i / inputs, i % inputs);
                    let update: f32 =
                        (0..RANK).map(|r| b[row * RANK + r] * a[r * inputs + column]).sum();
                    w[i] + 0.5 * update
                })
                .collect();
            let lora = Lora { a: from(&a, inputs), b: from(&b, RANK), scale: 0.5 };
            let got = lora_linear(from(&x, inputs), from(&w, inputs), None, &lora);
            let what = format!("{rows} x {inputs} x {outputs}");
            assert_close(&host(&got), &product(&x, &merged, inputs), SUM_OF_100, &what);
        }
    }
}
