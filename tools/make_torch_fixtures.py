"""Makes crates/rlaif-model/tests/fixtures/torch: files of torch.save, and hostile ones.

Pinned: torch==2.15.0 safetensors==0.8.0. Run from the repository root:

    .venv/bin/python tools/make_torch_fixtures.py

state_dict.bin: what a state dict can hold (all formats read, views with strides, storages shared,
a scalar, an empty tensor, a Parameter, `_metadata`); golden.safetensors: the same tensors, each
contiguous. plain_dict.bin: a plain dict. legacy.bin: the format before PyTorch 1.6. module.bin: a
whole module and no state dict. nested.bin: a training checkpoint with the state dict inside.
system.bin: a pickle that would run `touch OWNED` when unpickled. deflated.bin: state_dict.bin with
its entries compressed. float8.bin: a format that is not read.
"""

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

OUT = Path("crates/rlaif-model/tests/fixtures/torch")


class Evil:
    """Unpickling it runs a command."""

    def __reduce__(self):
        return os.system, ("touch OWNED",)


def state_dict():
    generator = torch.Generator().manual_seed(7)

    def draw(*shape):
        return torch.randn(shape, generator=generator)

    base = draw(6, 5)
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(draw(2, 3))
        layer.bias.copy_(draw(2))
    state = layer.state_dict()  # an OrderedDict with `_metadata`
    state["float"] = draw(4, 3)
    state["half"] = draw(2, 3, 4).half()
    state["bfloat"] = draw(7).bfloat16()
    state["long"] = torch.arange(5) * 2**33 - 2**34
    state["transposed"] = base.t()
    state["columns"] = base[:, 1:4]
    state["rows"] = base[2:5]
    state["strided"] = draw(4, 6).bfloat16()[::2, ::3]
    state["permuted"] = draw(2, 3, 4).half().permute(2, 0, 1)
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 3)
    state["parameter"] = torch.nn.Parameter(draw(3))
    return state


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    state = state_dict()
    torch.save(state, OUT / "state_dict.bin")
    save_file(
        {name: tensor.detach().clone().contiguous() for name, tensor in state.items()},
        OUT / "golden.safetensors",
    )
    torch.save(dict(state), OUT / "plain_dict.bin")
    torch.save(state, OUT / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2), OUT / "module.bin")
    torch.save({"epoch": 3, "state_dict": state}, OUT / "nested.bin")
    torch.save({"x": torch.ones(4).to(torch.float8_e4m3fn)}, OUT / "float8.bin")

    with zipfile.ZipFile(OUT / "system.bin", "w", zipfile.ZIP_STORED) as archive:
        state = OrderedDict(x=Evil())
        archive.writestr("archive/data.pkl", pickle.dumps(state, protocol=2))
        archive.writestr("archive/version", "3\n")
    with (
        zipfile.ZipFile(OUT / "state_dict.bin") as source,
        zipfile.ZipFile(OUT / "deflated.bin", "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for name in source.namelist():
            archive.writestr(name, source.read(name))


if __name__ == "__main__":
    main()
