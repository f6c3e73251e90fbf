//! Sums over slices in a fixed order.
#![expect(
    clippy::inline_always,
    reason = "they must be compiled inside the kernels that call them"
)]

use super::math::madd;

/// Sum over `a · b`, element by element.
#[inline(always)]
pub(crate) fn dot<const FMA: bool, const L: usize>(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<L>();
    let (b_chunks, b_rest) = b.as_chunks::<L>();
    let mut even = [0f32; L];
    let mut odd = [0f32; L];
    let mut pairs = a_chunks.chunks_exact(2).zip(b_chunks.chunks_exact(2));
    for (a, b) in &mut pairs {
        for j in 0..L {
            even[j] = madd::<FMA>(a[0][j], b[0][j], even[j]);
            odd[j] = madd::<FMA>(a[1][j], b[1][j], odd[j]);
        }
    }
    if a_chunks.len() % 2 == 1
        && let (Some(a), Some(b)) = (a_chunks.last(), b_chunks.last())
    {
        for j in 0..L {
            even[j] = madd::<FMA>(a[j], b[j], even[j]);
        }
    }
    let mut total = 0.0;
    for j in 0..L {
        total += even[j] + odd[j];
    }
    a_rest.iter().zip(b_rest).fold(total, |total, (a, b)| madd::<FMA>(*a, *b, total))
}

/// Sum of the elements.
#[inline(always)]
pub(crate) fn sum<const FMA: bool, const L: usize>(a: &[f32]) -> f32 {
    let (chunks, rest) = a.as_chunks::<L>();
    let mut lanes = [0f32; L];
    for chunk in chunks {
        for j in 0..L {
            lanes[j] += chunk[j];
        }
    }
    lanes.iter().chain(rest).sum()
}

/// Sum of `(a - shift)²`.
#[inline(always)]
pub(crate) fn sum_of_squares<const FMA: bool, const L: usize>(a: &[f32], shift: f32) -> f32 {
    let (chunks, rest) = a.as_chunks::<L>();
    let mut lanes = [0f32; L];
    for chunk in chunks {
        for j in 0..L {
            let d = chunk[j] - shift;
            lanes[j] = madd::<FMA>(d, d, lanes[j]);
        }
    }
    let total: f32 = lanes.iter().sum();
    rest.iter().fold(total, |total, x| madd::<FMA>(x - shift, x - shift, total))
}

/// Largest element.
#[inline(always)]
pub(crate) fn max<const FMA: bool, const L: usize>(a: &[f32]) -> f32 {
    let (chunks, rest) = a.as_chunks::<L>();
    let mut lanes = [f32::NEG_INFINITY; L];
    for chunk in chunks {
        for j in 0..L {
            lanes[j] = if chunk[j] > lanes[j] { chunk[j] } else { lanes[j] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, x| if *x > m { *x } else { m })
}

/// Adds equally long parts, in their order.
pub(crate) fn add_up(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        for (total, x) in total.iter_mut().zip(part) {
            *total += x;
        }
    }
    total
}
