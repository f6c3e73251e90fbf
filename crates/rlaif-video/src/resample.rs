//! Pillow's and torchvision's resampling of 8-bit images, bit for bit.
//!
//! ```text
//! out(x) = clip8( ( 2^21 + Σ_i in(i) round(2^22 w_i) ) >> 22 ),   w_i = f((i - c + 1/2) / s) / Σ f
//! ```
//!
//! with `c` the centre of the output pixel in input coordinates and `s = max(1, in / out)`, so
//! that the filter widens when shrinking (antialiasing). Rows first, then columns, with 8-bit
//! values between the passes. Source: Pillow, `src/libImaging/Resample.c` (`precompute_coeffs`,
//! `normalize_coeffs_8bpc`) and, for nearest, `Geometry.c` (`ImagingScaleAffine`).
//!
//! torchvision's antialiased resize of 8-bit tensors on processors with AVX2 is the same but for
//! the weights: 16 bits wide, with as many bits of fraction `b <= 21` as the largest weight leaves
//! (PyTorch, `aten/src/ATen/native/cpu/UpSampleKernel.cpp`,
//! `_compute_index_ranges_int16_weights`). It differs from Pillow's by one level in about one value
//! in two hundred, rarely by two. Elsewhere torchvision resizes in f32, which may differ by a level.

use rlaif_data::Frame;
use serde::{Deserialize, Serialize};

use crate::sampling::count;

/// A resampling filter, with Pillow's codes as they stand in `preprocessor_config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Filter {
    /// Code 0: the pixel under the centre.
    Nearest,
    /// Code 1: windowed sinc, 3 lobes.
    Lanczos,
    /// Code 2: triangle.
    Bilinear,
    /// Code 3: Keys' cubic with `a = -0.5`; CLIP's filter.
    Bicubic,
    /// Code 4: mean of the pixels covered.
    Box,
    /// Code 5: Hamming window.
    Hamming,
}

const CODES: [Filter; 6] = [
    Filter::Nearest,
    Filter::Lanczos,
    Filter::Bilinear,
    Filter::Bicubic,
    Filter::Box,
    Filter::Hamming,
];

impl TryFrom<u8> for Filter {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        CODES
            .get(usize::from(code))
            .copied()
            .ok_or_else(|| format!("`resample` must be a Pillow code from 0 to 5, got {code}"))
    }
}

impl From<Filter> for u8 {
    fn from(filter: Filter) -> u8 {
        match filter {
            Filter::Nearest => 0,
            Filter::Lanczos => 1,
            Filter::Bilinear => 2,
            Filter::Bicubic => 3,
            Filter::Box => 4,
            Filter::Hamming => 5,
        }
    }
}

impl Filter {
    /// Half the filter's width, in pixels of the coarser grid.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest | Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        use std::f64::consts::PI;
        let sinc = |x: f64| if x == 0.0 { 1.0 } else { (x * PI).sin() / (x * PI) };
        match self {
            Filter::Nearest | Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - x.abs()).max(0.0),
            Filter::Hamming => {
                if x.abs() >= 1.0 {
                    0.0
                } else {
                    sinc(x) * (0.54 + 0.46 * (x * PI).cos())
                }
            }
            Filter::Bicubic => {
                const A: f64 = -0.5;
                let x = x.abs();
                if x < 1.0 {
                    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
                } else if x < 2.0 {
                    (((x - 5.0) * x + 8.0) * x - 4.0) * A
                } else {
                    0.0
                }
            }
            Filter::Lanczos => {
                if (-3.0..3.0).contains(&x) {
                    sinc(x) * sinc(x / 3.0)
                } else {
                    0.0
                }
            }
        }
    }
}

/// Whose fixed-point weights.
#[derive(Clone, Copy)]
enum Weights {
    /// 32 bits, of which [`PRECISION_BITS`] are fraction.
    Pillow,
    /// 16 bits.
    Torch,
}

/// Fraction bits of Pillow's weights: 32 less 8 for the pixel and 2 for overshoot.
const PRECISION_BITS: u32 = 22;

impl Weights {
    /// Fraction bits, where `largest` is the largest weight.
    fn bits(self, largest: f64) -> u32 {
        let fits = |bits: &u32| largest * f64::from(1_u32 << bits) + 0.5 < 32_768.0;
        match self {
            Weights::Pillow => PRECISION_BITS,
            Weights::Torch => (1..PRECISION_BITS).take_while(fits).last().unwrap_or(0),
        }
    }
}

/// Where an output pixel's weights start, and the weights.
struct Taps<W> {
    first: usize,
    weights: Vec<W>,
}

/// The weights along one side.
struct Axis {
    /// Fraction bits of the weights.
    bits: u32,
    taps: Vec<Taps<i32>>,
}

impl Axis {
    fn new(input: usize, output: usize, filter: Filter, weights: Weights) -> Axis {
        let exact = taps(input, output, filter);
        let all = exact.iter().flat_map(|taps| &taps.weights);
        let bits = weights.bits(all.fold(0.0, |largest, weight| largest.max(*weight)));
        let taps = exact.into_iter().map(|Taps { first, weights }| Taps {
            first,
            weights: weights.into_iter().map(|weight| fixed(weight, bits)).collect(),
        });
        Axis { bits, taps: taps.collect() }
    }

    /// Half a level, so that the shift that ends a sum rounds.
    fn half(&self) -> i32 {
        (1 << self.bits) >> 1
    }
}

fn taps(input: usize, output: usize, filter: Filter) -> Vec<Taps<f64>> {
    let scale = input as f64 / output as f64;
    let filter_scale = scale.max(1.0);
    let support = filter.support() * filter_scale;
    (0..output)
        .map(|out| {
            let center = (out as f64 + 0.5) * scale;
            // `count` truncates towards zero and lifts negative values to it, as the C code does.
            let first = count(center - support + 0.5);
            let end = count(center + support + 0.5).min(input);
            let weights: Vec<f64> = (first..end)
                .map(|i| filter.weight((i as f64 - center + 0.5) * (1.0 / filter_scale)))
                .collect();
            let total: f64 = weights.iter().sum();
            let weights = weights.into_iter().map(|w| if total == 0.0 { w } else { w / total });
            Taps { first, weights: weights.collect() }
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "weights are near [-1, 1], times 2^22 at most")]
fn fixed(weight: f64, bits: u32) -> i32 {
    let scaled = weight * f64::from(1_u32 << bits);
    (if weight < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

#[expect(clippy::cast_sign_loss, reason = "the value was clamped to a byte's range")]
fn clip8(sum: i32, bits: u32) -> u8 {
    (sum >> bits).clamp(0, 255) as u8
}

/// Resizes a frame as `PIL.Image.resize((width, height), filter)` does. A frame of that size
/// already is returned as it is.
///
/// The frame must hold `width * height * 3` bytes and both sizes must be above 0; a frame that
/// does not yields a black one of the new size.
#[must_use]
pub fn resize(frame: &Frame, width: u32, height: u32, filter: Filter) -> Frame {
    resize_with(frame, width, height, filter, Weights::Pillow)
}

/// Resizes a frame as `torchvision.transforms.v2.functional.resize` does a tensor of bytes with
/// `antialias=True`, which it knows for bilinear, bicubic and Lanczos; nearest is Pillow's.
///
/// As [`resize`] otherwise.
#[must_use]
pub fn resize_as_torch(frame: &Frame, width: u32, height: u32, filter: Filter) -> Frame {
    resize_with(frame, width, height, filter, Weights::Torch)
}

fn resize_with(frame: &Frame, width: u32, height: u32, filter: Filter, weights: Weights) -> Frame {
    if (frame.width, frame.height) == (width, height) {
        return frame.clone();
    }
    let (old_width, old_height) = (frame.width as usize, frame.height as usize);
    let (new_width, new_height) = (width as usize, height as usize);
    if old_width * old_height == 0 || frame.rgb.len() != old_width * old_height * 3 {
        return Frame { width, height, rgb: vec![0; new_width * new_height * 3] };
    }
    if filter == Filter::Nearest {
        return nearest(frame, width, height);
    }
    let rows = if new_width == old_width {
        frame.rgb.clone()
    } else {
        let columns = Axis::new(old_width, new_width, filter, weights);
        let mut rows = vec![0; new_width * old_height * 3];
        let old_rows = frame.rgb.chunks_exact(old_width * 3);
        for (old, new) in old_rows.zip(rows.chunks_exact_mut(new_width * 3)) {
            resample_row(old, new, &columns);
        }
        rows
    };
    let rgb = if new_height == old_height {
        rows
    } else {
        let axis = Axis::new(old_height, new_height, filter, weights);
        resample_columns(&rows, new_width * 3, &axis)
    };
    Frame { width, height, rgb }
}

fn resample_row(old: &[u8], new: &mut [u8], columns: &Axis) {
    for (pixel, taps) in new.chunks_exact_mut(3).zip(&columns.taps) {
        let mut sum = [columns.half(); 3];
        let inputs = old[taps.first * 3..].chunks_exact(3);
        for (input, weight) in inputs.zip(&taps.weights) {
            for (sum, value) in sum.iter_mut().zip(input) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        for (value, sum) in pixel.iter_mut().zip(sum) {
            *value = clip8(sum, columns.bits);
        }
    }
}

fn resample_columns(rows: &[u8], row_bytes: usize, axis: &Axis) -> Vec<u8> {
    let mut out = vec![0; row_bytes * axis.taps.len()];
    let mut sums = vec![0; row_bytes];
    for (new, taps) in out.chunks_exact_mut(row_bytes).zip(&axis.taps) {
        sums.fill(axis.half());
        let inputs = rows[taps.first * row_bytes..].chunks_exact(row_bytes);
        for (input, weight) in inputs.zip(&taps.weights) {
            for (sum, value) in sums.iter_mut().zip(input) {
                *sum = sum.wrapping_add(i32::from(*value).wrapping_mul(*weight));
            }
        }
        for (value, sum) in new.iter_mut().zip(&sums) {
            *value = clip8(*sum, axis.bits);
        }
    }
    out
}

fn nearest(frame: &Frame, width: u32, height: u32) -> Frame {
    // Pillow adds the step up instead of multiplying, and so do we.
    let places = |input: u32, output: u32| {
        let step = f64::from(input) / f64::from(output);
        let mut place = step * 0.5;
        (0..output)
            .map(|_| {
                let index = count(place).min(input as usize - 1);
                place += step;
                index
            })
            .collect::<Vec<usize>>()
    };
    let columns = places(frame.width, width);
    let mut rgb = Vec::with_capacity(width as usize * height as usize * 3);
    for row in places(frame.height, height) {
        for column in &columns {
            let start = (row * frame.width as usize + column) * 3;
            rgb.extend_from_slice(&frame.rgb[start..start + 3]);
        }
    }
    Frame { width, height, rgb }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gray(width: u32, height: u32, values: &[u8]) -> Frame {
        Frame { width, height, rgb: values.iter().flat_map(|v| [*v; 3]).collect() }
    }

    /// Halving two pixels by the box filter is their mean, rounded half up: (10 + 21) / 2 = 15.5.
    #[test]
    fn box_halves_to_the_mean() {
        let out = resize(&gray(2, 1, &[10, 21]), 1, 1, Filter::Box);
        assert_eq!(out, gray(1, 1, &[16]));
    }

    /// Doubling 0, 100 bilinearly: centres at 0.25, 0.75, 1.25, 1.75 of the input, which are
    /// 0, 25, 75, 100 after the weights at the edge are normalised.
    #[test]
    fn bilinear_doubles_by_quarters() {
        let out = resize(&gray(2, 1, &[0, 100]), 4, 1, Filter::Bilinear);
        assert_eq!(out, gray(4, 1, &[0, 25, 75, 100]));
    }

    #[test]
    fn nearest_takes_centres() {
        let out = resize(&gray(4, 1, &[1, 2, 3, 4]), 2, 1, Filter::Nearest);
        assert_eq!(out, gray(2, 1, &[2, 4]));
    }

    #[test]
    fn a_constant_image_stays_constant_under_every_filter() {
        let frame = gray(7, 5, &[200; 35]);
        for filter in CODES {
            for (width, height) in [(3, 2), (11, 13), (7, 2), (1, 1)] {
                let out = resize(&frame, width, height, filter);
                assert!(out.rgb.iter().all(|v| *v == 200), "{filter:?} to {width}x{height}");
                assert_eq!(out.rgb.len(), (width * height * 3) as usize);
            }
        }
    }

    /// Halving by the box filter has weights of a half: 2^15 is one more than 16 bits hold, so 15
    /// bits of fraction are left. Copying one pixel has a weight of 1: 14 bits.
    #[test]
    fn torch_leaves_room_for_the_largest_weight() {
        assert_eq!(Axis::new(4, 2, Filter::Box, Weights::Torch).bits, 15);
        assert_eq!(Axis::new(1, 3, Filter::Bilinear, Weights::Torch).bits, 14);
        assert_eq!(Axis::new(4, 2, Filter::Box, Weights::Pillow).bits, 22);
        let out = resize_as_torch(&gray(2, 1, &[0, 100]), 4, 1, Filter::Bilinear);
        assert_eq!(out, gray(4, 1, &[0, 25, 75, 100]));
    }

    #[test]
    fn codes_are_pillows() {
        for (code, filter) in (0_u8..).zip(CODES) {
            assert_eq!(Filter::try_from(code), Ok(filter));
            assert_eq!(u8::from(filter), code);
        }
        assert!(Filter::try_from(6).unwrap_err().contains("got 6"));
    }
}
