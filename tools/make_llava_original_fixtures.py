"""Makes crates/rlaif-model/tests/fixtures/llava-original-{a,b}: the checkpoints of llava-a and
llava-b in the layout of the original LLaVA code, so that the golden values of those hold.

Pinned: torch==2.15.0 safetensors==0.8.0. Run from the repository root, after
tools/make_llava_fixtures.py:

    .venv/bin/python tools/make_llava_original_fixtures.py

llava-original-a, as VLM-RLAIF's checkpoints: two pytorch_model-*.bin shards with their index, the
tower among them, rotary buffers, a folder that only describes the tower.
llava-original-b: model.safetensors, the projector in mm_projector.bin, and the tower in a folder of
its own as a whole CLIP in pytorch_model.bin. The original projector always has biases; llava-b's
has none, so they are zero.

Names and keys after llava/model of haotian-liu/LLaVA 1.1.3.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

OUT = Path("crates/rlaif-model/tests/fixtures")
TOWER = "model.vision_tower.vision_tower.vision_model."


def tensors_of(folder):
    tensors = {}
    for file in sorted(folder.glob("model*.safetensors")):
        tensors |= load_file(file)
    return tensors


def original_name(name):
    """From the names of transformers 5 to the original ones."""
    for new, old in [
        ("language_model.model.", "model."),
        ("language_model.lm_head.", "lm_head."),
        ("multi_modal_projector.linear_1.", "model.mm_projector.0."),
        ("multi_modal_projector.linear_2.", "model.mm_projector.2."),
        ("vision_tower.vision_model.", TOWER),
        ("vision_tower.", TOWER),
    ]:
        if name.startswith(new):
            return old + name.removeprefix(new)
    raise SystemExit(f"{name} has no original name")


def config_of(document, tower, dtype):
    text, vision = document["text_config"], document["vision_config"]
    keys = (
        "attention_bias hidden_size intermediate_size max_position_embeddings mlp_bias "
        "num_attention_heads num_hidden_layers num_key_value_heads rms_norm_eps vocab_size head_dim "
        "hidden_act"
    ).split()
    return {key: text[key] for key in keys} | {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "rope_theta": text["rope_parameters"]["rope_theta"],
        "rope_scaling": None,
        "pretraining_tp": 1,
        "tie_word_embeddings": document.get("tie_word_embeddings", False),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": dtype,
        "use_cache": True,
        "mm_vision_tower": tower,
        "mm_hidden_size": vision["hidden_size"],
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_layer": document["vision_feature_layer"],
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": "pad",
        "image_grid_pinpoints": None,
        "use_mm_proj": True,
        "freeze_mm_mlp_adapter": False,
        "tune_mm_mlp_adapter": False,
    }


def write_json(path, document):
    path.write_text(json.dumps(document, indent=2) + "\n")


def begin(twin, name, tower, dtype):
    """The folder with its config.json, the tower's with what describes it; tensors and document."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / tower).mkdir(parents=True)
    document = json.loads((OUT / twin / "config.json").read_text())
    write_json(folder / "config.json", config_of(document, f"example/{tower}", dtype))
    shutil.copy(OUT / twin / "preprocessor_config.json", folder / tower)
    tensors = {original_name(k): v for k, v in tensors_of(OUT / twin).items()}
    return folder, tensors, document


def original_a():
    tower = "clip-tiny-a"
    folder, tensors, document = begin("llava-a", "llava-original-a", tower, "float32")
    vision = document["vision_config"] | {"model_type": "clip_vision_model"}
    write_json(folder / tower / "config.json", vision)
    for layer in range(document["text_config"]["num_hidden_layers"]):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    names = list(tensors)
    shards = [names[: len(names) // 2], names[len(names) // 2 :]]
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"pytorch_model-{number:05}-of-{len(shards):05}.bin"
        torch.save({name: tensors[name] for name in shard}, folder / file)
        weight_map |= dict.fromkeys(shard, file)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(folder / "pytorch_model.bin.index.json", index)


def original_b():
    tower = "clip-tiny-b"
    folder, tensors, document = begin("llava-b", "llava-original-b", tower, "float32")
    vision = document["vision_config"] | {"model_type": "clip_vision_model"}
    clip = {"architectures": ["CLIPModel"], "model_type": "clip", "vision_config": vision}
    write_json(folder / tower / "config.json", clip | {"projection_dim": 8})
    width = document["text_config"]["hidden_size"]
    for index in (0, 2):
        tensors[f"model.mm_projector.{index}.bias"] = torch.zeros(width)
    # A whole CLIP as it was saved in 2021: the text side and a buffer of whole numbers too.
    whole = {k.replace(TOWER, "vision_model."): v for k, v in tensors.items() if k.startswith(TOWER)}
    whole |= {
        "logit_scale": torch.tensor(4.6),
        "text_model.embeddings.token_embedding.weight": torch.ones(5, 8),
        "vision_model.embeddings.position_ids": torch.arange(5)[None],
        "visual_projection.weight": torch.ones(8, vision["hidden_size"]),
    }
    torch.save(whole, folder / tower / "pytorch_model.bin")
    projector = {k: v for k, v in tensors.items() if ".mm_projector." in k}
    torch.save(projector, folder / "mm_projector.bin")
    rest = {k: v for k, v in tensors.items() if k not in projector and not k.startswith(TOWER)}
    save_file(rest, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    original_a()
    original_b()
