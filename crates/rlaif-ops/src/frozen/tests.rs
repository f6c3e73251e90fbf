//! The formats against an independent packing (`tools/make_frozen_goldens.py`) and the bounds that
//! follow from them; both forms of a packed matrix; and the layers over it with their gradients.

use burn::prelude::Device;
use serde::Deserialize;

use super::host::Packed;
use super::*;
use crate::testing::{check, distance, matrix, noise, numbers, value_and_grads};
use crate::{Lora, linear, lora_linear, portable};

const FORMATS: [FrozenFormat; 3] = [FrozenFormat::Bf16, FrozenFormat::Int8, FrozenFormat::Nf4];

#[derive(Deserialize)]
struct Golden {
    shape: [usize; 2],
    values: Vec<f32>,
    nf4_values: [f32; 16],
    bf16: Vec<u16>,
    int8: Vec<i8>,
    int8_scales: Vec<f32>,
    nf4: Vec<u8>,
    nf4_scales: Vec<f32>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../../tests/fixtures/frozen.json")).unwrap()
}

fn pack(values: &[f32], shape: [usize; 2], format: FrozenFormat) -> FrozenMatrix {
    FrozenMatrix::pack(values, shape, format, &Device::flex()).unwrap()
}

/// The same matrix as other devices hold it.
fn elsewhere(matrix: &FrozenMatrix) -> FrozenMatrix {
    let device = DeviceMatrix::new(matrix.host().unwrap(), &matrix.device);
    FrozenMatrix { storage: Storage::Device(Arc::new(device)), device: matrix.device.clone() }
}

#[test]
fn packing_equals_the_independent_one() {
    let golden = golden();
    let packed = |format| HostMatrix::pack(&golden.values, golden.shape, format).unwrap();
    let Packed::Bf16(bits) = packed(FrozenFormat::Bf16).packed().clone() else { panic!() };
    assert_eq!(bits, golden.bf16);
    let Packed::Int8 { codes, scales } = packed(FrozenFormat::Int8).packed().clone() else {
        panic!()
    };
    assert_eq!((codes, scales), (golden.int8, golden.int8_scales));
    let Packed::Nf4 { codes, scales } = packed(FrozenFormat::Nf4).packed().clone() else {
        panic!()
    };
    assert_eq!((codes, scales), (golden.nf4, golden.nf4_scales));
}

/// The published values lie up to two units in the last place beside those quantiles.
#[test]
fn nf4_values_are_quantiles_of_the_normal_distribution() {
    for (value, quantile) in nf4::VALUES.iter().zip(golden().nf4_values) {
        assert!((value - quantile).abs() < 2e-7, "{value} is not {quantile}");
    }
}

/// The list of the paper's appendix E, digit for digit.
#[test]
fn nf4_values_are_the_published_ones() {
    let published = "-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, \
         -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0, \
         0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, \
         0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0";
    let published: Vec<f32> = published.split(", ").map(|x| x.parse().unwrap()).collect();
    assert_eq!(nf4::VALUES[..], published);
}

#[test]
fn errors_stay_within_the_bounds_of_the_format() {
    for (rows, width) in [(3, 64), (5, 150), (1, 1), (7, 63), (2, 200)] {
        let values: Vec<f32> = noise(1, rows * width).iter().map(|x| x * x * x).collect();
        for format in FORMATS {
            let matrix = pack(&values, [rows, width], format);
            let unpacked = numbers(&matrix.unpack());
            for (row, unpacked) in values.chunks(width).zip(unpacked.chunks(width)) {
                for (block, unpacked) in row.chunks(64).zip(unpacked.chunks(64)) {
                    let m = block.iter().fold(0f32, |m, x| m.max(x.abs()));
                    for (x, y) in block.iter().zip(unpacked) {
                        let bound = match format {
                            FrozenFormat::Bf16 => x.abs() / 256.0,
                            FrozenFormat::Int8 => m / 254.0,
                            FrozenFormat::Nf4 => m * 0.152,
                        };
                        assert!((x - y).abs() <= bound * 1.000_01, "{format:?}: {x} became {y}");
                    }
                }
            }
            // Blocks keep their largest magnitude, so packing again changes nothing.
            let again = numbers(&pack(&unpacked, [rows, width], format).unpack());
            assert!(distance(&again, &unpacked) < 1e-6, "{format:?}");
        }
    }
}

#[test]
fn bf16_numbers_come_back_as_they_were() {
    let bits: Vec<u16> = (0..=u16::MAX).collect();
    let whole: Vec<f32> = bits.iter().map(|b| f32::from_bits(u32::from(*b) << 16)).collect();
    let taken = FrozenMatrix::from_bf16(bits, [256, 256], &Device::flex());
    let packed = pack(&whole, [256, 256], FrozenFormat::Bf16);
    for matrix in [taken, packed] {
        for (x, y) in numbers(&matrix.unpack()).iter().zip(&whole) {
            assert!(x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan()), "{y} became {x}");
        }
    }
}

#[test]
fn zero_and_tiny_blocks_stay_finite() {
    for tiny in [0.0, f32::from_bits(1), 1e-44, 1e-38] {
        let mut values = vec![0.0; 128];
        values[3] = tiny;
        values[70] = 1.0;
        for format in FORMATS {
            let unpacked = numbers(&pack(&values, [1, 128], format).unpack());
            assert!(unpacked[0] == 0.0 && (unpacked[70] - 1.0).abs() < 1e-6, "{format:?}");
            // Among the smallest floats scales lose digits: half of the smallest step a unit.
            let bound = (tiny / 254.0).max(127.0 * f32::from_bits(1));
            let bound = if format == FrozenFormat::Bf16 { tiny / 64.0 + 1e-40 } else { bound };
            assert!((unpacked[3] - tiny).abs() <= bound, "{format:?}: {tiny} is {}", unpacked[3]);
        }
    }
}

#[test]
fn blocks_refuse_what_is_not_finite() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = noise(1, 300);
        values[205] = odd;
        values[280] = odd;
        for format in [FrozenFormat::Int8, FrozenFormat::Nf4] {
            let error = FrozenMatrix::pack(&values, [3, 100], format, &Device::flex()).unwrap_err();
            assert_eq!((error.row, error.column), (2, 5));
            assert!(error.to_string().contains("row 2, column 5"), "{error}");
        }
        let kept = numbers(&pack(&values, [3, 100], FrozenFormat::Bf16).unpack());
        assert!(kept[205].to_bits() == odd.to_bits(), "{} is not {odd}", kept[205]);
    }
}

#[test]
fn empty_matrices_are_fine() {
    for shape in [[0, 0], [0, 5], [5, 0]] {
        for format in FORMATS {
            let matrix = pack(&[], shape, format);
            assert_eq!((matrix.unpack().dims(), matrix.bytes()), (shape, 0));
        }
    }
}

#[test]
fn bytes_are_those_of_the_format() {
    let values = noise(1, 16 * 128);
    let bytes = FORMATS.map(|format| pack(&values, [16, 128], format).bytes());
    assert_eq!(bytes, [16 * 128 * 2, 16 * 128 * 17 / 16, 16 * 128 * 9 / 16]);
    for format in FORMATS {
        let matrix = pack(&values, [16, 128], format);
        assert_eq!(elsewhere(&matrix).bytes(), matrix.bytes());
    }
}

#[test]
fn other_devices_unpack_the_same_numbers() {
    for (rows, width) in [(3, 64), (5, 150), (1, 1), (7, 63)] {
        for format in FORMATS {
            let host = pack(&noise(3, rows * width), [rows, width], format);
            let device = elsewhere(&host);
            assert_eq!((device.dims(), device.format()), ([rows, width], format));
            assert_eq!(numbers(&device.unpack()), numbers(&host.unpack()), "{format:?}");
        }
    }
}

/// Rows on both sides of the border between the kernels, widths that blocks and vectors divide and
/// that they do not, and more than one run of 512 columns.
const SHAPES: [(usize, usize, usize); 7] =
    [(1, 7, 5), (3, 64, 6), (5, 130, 37), (13, 33, 18), (32, 1100, 9), (33, 64, 70), (90, 100, 48)];

#[test]
fn few_rows_give_the_bits_of_the_unpacked_matrix() {
    for (rows, from, to) in SHAPES.into_iter().filter(|shape| shape.0 <= 32) {
        let (x, bias) = (matrix(1, rows, from), matrix(2, 1, to).reshape([to]));
        for format in FORMATS {
            let frozen = pack(&noise(3, to * from), [to, from], format);
            let got = frozen_linear(x.clone(), &frozen, Some(bias.clone()));
            let want = linear(x.clone(), frozen.unpack(), Some(bias.clone()));
            assert_eq!(numbers(&got), numbers(&want), "{format:?} {rows} x {from} x {to}");
        }
    }
}

fn row(x: &Tensor<2>) -> Tensor<1> {
    x.clone().reshape([x.dims()[1]])
}

#[test]
fn layers_match_the_portable_form_and_finite_differences() {
    for (rows, from, to) in SHAPES {
        for format in FORMATS {
            let frozen = pack(&noise(9, to * from), [to, from], format);
            let far = elsewhere(&frozen);
            let inputs = [matrix(1, rows, from), matrix(3, 1, to)];
            check(
                &inputs,
                |t| frozen_linear(t[0].clone(), &frozen, Some(row(&t[1]))),
                |t| frozen_linear(t[0].clone(), &far, Some(row(&t[1]))),
            );
            check(
                &inputs[..1],
                |t| frozen_linear(t[0].clone(), &frozen, None),
                |t| portable::linear(t[0].clone(), frozen.unpack(), None),
            );
            let [x, bias] = inputs;
            let inputs = [x, bias, matrix(4, 4, from), matrix(5, to, 4)];
            let lora = |t: &[Tensor<2>]| Lora { a: t[2].clone(), b: t[3].clone(), scale: 2.0 };
            check(
                &inputs,
                |t| frozen_lora_linear(t[0].clone(), &frozen, Some(row(&t[1])), &lora(t)),
                |t| frozen_lora_linear(t[0].clone(), &far, Some(row(&t[1])), &lora(t)),
            );
        }
    }
}

#[test]
fn an_adapter_trains_as_beside_the_unpacked_matrix() {
    let frozen = pack(&noise(9, 70 * 64), [70, 64], FrozenFormat::Nf4);
    let inputs = [matrix(1, 40, 64), matrix(4, 4, 64), matrix(5, 70, 4)];
    let lora = |t: &[Tensor<2>]| Lora { a: t[1].clone(), b: t[2].clone(), scale: 0.5 };
    let tracked = [false, true, true];
    let got = value_and_grads(&inputs, &tracked, |t| {
        frozen_lora_linear(t[0].clone(), &frozen, None, &lora(t))
    });
    let want = value_and_grads(&inputs, &tracked, |t| {
        lora_linear(t[0].clone(), frozen.unpack(), None, &lora(t))
    });
    assert!(distance(&got.0, &want.0) < 1e-6);
    for (got, want) in got.1[1..].iter().zip(&want.1[1..]) {
        assert!(distance(got.as_ref().unwrap(), want.as_ref().unwrap()) < 1e-6);
    }
}

/// The graph shares the packed bytes, and lets go of them.
#[test]
fn the_graph_holds_the_packed_matrix() {
    let frozen = pack(&noise(9, 8 * 64), [8, 64], FrozenFormat::Int8);
    let host = frozen.host().unwrap();
    let x = matrix(1, 3, 64).autodiff().require_grad();
    let y = frozen_linear(x, &frozen, None);
    assert_eq!(Arc::strong_count(host), 2);
    drop(y.sum().backward());
    assert_eq!(Arc::strong_count(host), 1);
}

/// One row alone fills a tile: a width above 2^18.
#[test]
fn rows_wider_than_a_tile_are_multiplied() {
    let (rows, [outs, ins]) = (40, [3, (1 << 18) + 64]);
    let weight = pack(&noise(1, outs * ins), [outs, ins], FrozenFormat::Bf16);
    let x = matrix(2, rows, ins);
    let expected = portable::linear(x.clone(), weight.unpack(), None);
    let got = frozen_linear(x, &weight, None);
    assert!(numbers(&expected).iter().any(|value| value.abs() > 1.0));
    assert!(distance(&numbers(&got), &numbers(&expected)) < 1e-4);
}
