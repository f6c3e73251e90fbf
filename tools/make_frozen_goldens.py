"""Packs one small matrix in the frozen formats of rlaif-ops, with numpy alone, and writes what the
tests of crates/rlaif-ops compare with:

    python tools/make_frozen_goldens.py

Independent of the Rust code: the NF4 values come from quantiles of the normal distribution
(QLoRA, arXiv:2305.14314, appendix E, and bitsandbytes' create_normal_map), codes from the nearest
value in 64-bit floats. Needs numpy.
"""

import json
from pathlib import Path
from statistics import NormalDist

import numpy as np

BLOCK = 64
OUT = Path(__file__).parent.parent / "crates/rlaif-ops/tests/fixtures/frozen.json"


def nf4_values():
    quantile = np.vectorize(NormalDist().inv_cdf)
    offset = 0.9677083
    above = quantile(np.linspace(offset, 0.5, 9)[:-1])
    below = -quantile(np.linspace(offset, 0.5, 8)[:-1])
    values = np.sort(np.concatenate([below, [0.0], above]))
    return (values / values.max()).astype(np.float32)


def matrix():
    rng = np.random.default_rng(7)
    values = (rng.standard_normal((4, 150)) * 0.02).astype(np.float32)
    values[1, 64:128] = 0.0  # a block of zeros
    values[2, 3] = 1.5  # an outlier
    values[3] *= np.float32(1e-20)
    return values


def blocks(row):
    padded = np.zeros(-(-row.size // BLOCK) * BLOCK, dtype=np.float32)
    padded[: row.size] = row
    return padded.reshape(-1, BLOCK)


def bf16(values):
    bits = values.view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def int8(block):
    scale = np.float32(np.abs(block).max()) / np.float32(127)
    codes = np.rint(block / scale) if scale > 0 else np.zeros(BLOCK)
    return codes.astype(int), scale


def nf4(block, values):
    scale = np.float32(np.abs(block).max())
    normal = block.astype(np.float64) / np.float64(scale if scale > 0 else 1)
    codes = np.abs(normal[:, None] - values.astype(np.float64)[None]).argmin(1)
    return codes[:32] | codes[32:] << 4, scale


def main():
    values, table = matrix(), nf4_values()
    parts = [block for row in values for block in blocks(row)]
    eights = [int8(block) for block in parts]
    fours = [nf4(block, table) for block in parts]
    flat = lambda arrays: [x.item() for array in arrays for x in array]
    golden = {
        "shape": values.shape,
        "values": [float(x) for x in values.ravel()],
        "nf4_values": [float(x) for x in table],
        "bf16": [int(x) for x in bf16(values).ravel()],
        "int8": flat(codes for codes, _ in eights),
        "int8_scales": [float(scale) for _, scale in eights],
        "nf4": flat(codes for codes, _ in fours),
        "nf4_scales": [float(scale) for _, scale in fours],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(golden) + "\n")


main()
