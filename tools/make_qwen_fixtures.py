"""Makes the fixtures of Qwen2.5-VL: two tiny random checkpoints, and golden frames and rules.

Pinned as tools/make_smolvlm_fixtures.py is, which it borrows from. Run from the repository root:

    python3 -m venv .venv && .venv/bin/pip install <the pins there>
    .venv/bin/python tools/make_qwen_fixtures.py

crates/rlaif-model/tests/fixtures/:
  qwen2_5-vl-a: the hub's files (flat config.json with `rope_scaling`, image settings alone in
  preprocessor_config.json, chat_template.json), 4 query heads on 2 key/value heads, tied head,
  windows of 2x2 visual tokens, full attention in the middle block.
  qwen2_5-vl-b: the files of transformers 5 (nested config.json and processor_config.json), one
  key/value head, head of its own, windows of 3x3 that the grids do not fill, sharded weights.
  qwen2_5-vl-c: for the tower and the names alone, without a processor: tensors called as the modules
  of transformers 5 (model.visual.*, model.language_model.*), patches of 3 frames, 3x3 patches a
  token, 5 frames, so that the last is repeated.
crates/rlaif-video/tests/fixtures/:
  qwen.json, qwen_*.f32: sampled indices, sizes and pixel values of synthetic videos.

Rotary positions follow the original rule: what comes after a video starts at one past the largest
position of all three axes. The released checkpoints were trained so; transformers up to 5.2 and
vLLM compute it so; transformers 5.3 to 5.24 start at max(rows, columns) past the video's start
instead (issue 45381 shows the two), so that the positions are handed to the model here. `agrees` in
golden.json says where both rules give the same.

golden.safetensors (float32 unless said otherwise; F frames, T prompt tokens): pixel_values
[F, 3, H, W]; tower [t * h * w, v], before the merger, by time, row and column; tokens
[t * h * w / 4, d]; ids [T] int64; positions [3, T] int64; logits [T, vocabulary]; greedy,
greedy_logprobs, second.*, lora.* as in make_smolvlm_fixtures.py.
"""

import argparse
import json
import shutil

import peft
import tokenizers
import torch
import transformers
from make_smolvlm_fixtures import (
    OUT,
    VIDEO_OUT,
    Unlucky,
    ask,
    metadata_of,
    randomise,
    synthetic,
    text,
    video,
    write,
)
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)
from transformers.vision_utils import get_vision_window_index

LORA = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]

# Qwen2.5-VL-7B-Instruct's chat_template.json.
TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}{% if add_vision_id %}"
    "Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}{% if add_vision_id %}"
    "Video {{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

CORPUS = [
    "system\nYou are a helpful assistant.",
    "user\nWhat moves in the video?\nassistant\nThe red circle moves left.",
    "How many shapes are there? There are three shapes, two of them blue.",
]


def bpe(size):
    tokenizer = Tokenizer(models.BPE())
    # Qwen2's words.
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def processor_of(tokenizer, settings, sampling):
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        chat_template=TEMPLATE,
    )
    image = Qwen2VLImageProcessor(**settings)
    frames = Qwen2VLVideoProcessor(**settings, **sampling, cap_pixels_per_frame=False)
    return Qwen2_5_VLProcessor(image, fast, frames, chat_template=TEMPLATE)


def hub_files(folder, processor, settings):
    processor.tokenizer.chat_template = None
    processor.tokenizer.save_pretrained(folder)
    flat = settings | {
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
    }
    write(folder / "preprocessor_config.json", dict(sorted(flat.items())))
    write(folder / "chat_template.json", {"chat_template": TEMPLATE})


def hub_config(folder):
    """The text model's keys at the top, as the hub has them."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    inner = config.pop("text_config")
    for key in ("model_type", "layer_types", "dtype"):
        inner.pop(key, None)
    rope = inner.pop("rope_parameters")
    config |= inner
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.41.2"
    config["sliding_window"] = 32768
    config["use_sliding_window"] = False
    own = config["vision_config"]
    for key in ("dtype", "rope_parameters"):
        own.pop(key, None)
    own["in_chans"] = own.pop("in_channels")
    own["spatial_patch_size"] = own["patch_size"]
    # Older releases take 3584 and so on for granted; ours is small, and says so.
    write(path, config)


def prompt_of(processor, case):
    messages, add = case["messages"], case["add_generation_prompt"]
    rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=add)
    if "video" not in case:
        ids = processor.tokenizer(rendered)["input_ids"]
        return case | {"rendered": rendered, "text": rendered, "ids": ids}, None
    inputs = processor(
        text=[rendered],
        videos=[synthetic(case["video"])],
        video_metadata=[metadata_of(case["video"])],
        do_sample_frames=True,
        fps=2,
        return_metadata=True,
        return_tensors="pt",
    )
    ids = inputs["input_ids"][0].tolist()
    indices = list(map(int, inputs["video_metadata"][0].frames_indices))
    golden = case | {"rendered": rendered, "indices": indices, "ids": ids}
    golden["text"] = processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    golden["grid"] = inputs["video_grid_thw"][0].tolist()
    golden["seconds_per_grid"] = float(inputs["second_per_grid_ts"][0])
    return golden, inputs


def frames_of(patches, grid, settings, frames):
    """The patches put together again, [F, 3, H, W], without the frame that was repeated."""
    t, h, w = grid
    p, m, tp = settings["patch_size"], settings["merge_size"], settings["temporal_patch_size"]
    x = patches.reshape(t, h // m, w // m, m, m, 3, tp, p, p)
    x = x.permute(0, 6, 5, 1, 3, 7, 2, 4, 8).reshape(t * tp, 3, h * p, w * p)
    return x[:frames].contiguous()


def positions_of(ids, grid, seconds, config):
    """Rotary positions by the original rule, [3, T]."""
    t, h, w = grid[0], grid[1] // 2, grid[2] // 2
    start = ids.index(config.video_token_id)
    n = t * h * w
    assert set(ids[start : start + n]) == {config.video_token_id}
    step = torch.tensor(config.vision_config.tokens_per_second * torch.tensor(seconds))
    time = (torch.arange(t) * step).long()
    clip = torch.stack(
        [
            time[:, None, None].expand(t, h, w),
            torch.arange(h)[None, :, None].expand(t, h, w),
            torch.arange(w)[None, None, :].expand(t, h, w),
        ]
    ).reshape(3, n)
    before = torch.arange(start).expand(3, start)
    clip = clip + start
    rest = len(ids) - start - n
    after = torch.arange(rest).expand(3, rest) + clip.max() + 1
    return torch.cat([before, clip, after], 1)


class Prompt:
    def __init__(self, golden, inputs, model, settings):
        self.ids = torch.tensor(golden["ids"])
        self.patches = inputs["pixel_values_videos"]
        self.grid = inputs["video_grid_thw"]
        self.seconds = golden["seconds_per_grid"]
        self.frames = frames_of(
            self.patches, golden["grid"], settings, len(golden["indices"])
        )
        self.positions = positions_of(golden["ids"], golden["grid"], self.seconds, model.config)
        types = (self.ids == model.config.video_token_id).int() * 2
        theirs, _ = model.model.get_rope_index(
            self.ids[None],
            types[None],
            video_grid_thw=self.grid,
            second_per_grid_ts=torch.tensor([self.seconds]),
        )
        golden["agrees"] = bool((theirs[:, 0] == self.positions).all())

    def more(self, n):
        """Positions of the prompt and of `n` tokens after it."""
        after = torch.arange(n).expand(3, n) + self.positions.max() + 1
        return torch.cat([self.positions, after], 1)

    def logits(self, model, tokens=()):
        tokens = torch.tensor(tokens, dtype=torch.int64)
        return model(
            input_ids=torch.cat([self.ids, tokens])[None],
            position_ids=self.more(len(tokens))[:, None],
            pixel_values_videos=self.patches,
            video_grid_thw=self.grid,
        ).logits[0]


@torch.no_grad()
def greedy(model, prompt, n=12):
    tokens, logprobs = [], []
    for _ in range(n):
        last = prompt.logits(model, tokens)[-1].log_softmax(-1)
        best = last.topk(2).values
        if best[0] - best[1] < 1e-3:
            raise Unlucky("the best two tokens are too close to compare across implementations")
        tokens.append(int(last.argmax()))
        if tokens[-1] < len(SPECIAL):
            raise Unlucky("greedy decoding meets a special token, which a sampler may forbid")
        logprobs.append(float(last.max()))
    if len(set(tokens)) < 5:
        raise Unlucky("greedy decoding goes in circles")
    return torch.tensor(tokens), torch.tensor(logprobs)


@torch.no_grad()
def batched(model, prompts):
    """Logits of several prompts in one batch, padded on the left."""
    longest = max(len(p.ids) for p in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    positions = torch.ones(3, len(prompts), longest, dtype=torch.int64)
    for row, p in enumerate(prompts):
        ids[row, longest - len(p.ids) :] = p.ids
        mask[row, longest - len(p.ids) :] = 1
        positions[:, row, longest - len(p.ids) :] = p.positions
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        pixel_values_videos=torch.cat([p.patches for p in prompts]),
        video_grid_thw=torch.cat([p.grid for p in prompts]),
    ).logits
    return [logits[row, longest - len(p.ids) :] for row, p in enumerate(prompts)]


@torch.no_grad()
def tower_of(model, prompt):
    """The rows before the merger by time, row and column, and the visual tokens."""
    seen = []
    visual = model.model.visual
    hook = visual.merger.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tokens = visual(prompt.patches, grid_thw=prompt.grid).pooler_output
    hook.remove()
    rows, (t, h, w) = seen[0], prompt.grid[0].tolist()
    index, _ = get_vision_window_index(
        prompt.grid, visual.spatial_merge_size, visual.window_size, visual.patch_size
    )
    hidden, m = rows.shape[-1], visual.spatial_merge_size
    rows = rows.reshape(-1, m * m, hidden)[torch.argsort(index)]
    rows = rows.reshape(t, h // m, w // m, m, m, hidden).permute(0, 1, 3, 2, 4, 5)
    return rows.reshape(t * h * w, hidden).contiguous(), tokens


def make(*arguments, seed):
    for lucky in range(seed, seed + 500):
        try:
            return attempt(*arguments, seed=lucky)
        except Unlucky as reason:
            print(arguments[0], "seed", lucky, reason)
    raise SystemExit("no seed works")


def attempt(name, tokenizer, settings, sampling, config, hub, cases, answer, shard, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    processor = processor_of(tokenizer, settings, sampling)
    fast = processor.tokenizer
    if hub:
        hub_files(folder, processor, settings)
    else:
        processor.save_pretrained(folder)
    ids = {
        f"{key}_token_id": fast.convert_tokens_to_ids(f"<|{token}|>")
        for key, token in [
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        ]
    }
    config = Qwen2_5_VLConfig(**json.loads(json.dumps(config)), **ids)
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config).float().eval()
    randomise(model, seed)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=0, eos_token_id=[2, 0], pad_token_id=0
    )
    model.save_pretrained(folder, max_shard_size=shard)
    if hub:
        hub_config(folder)

    # What the files hold is what the golden values are of.
    model, info = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(info.values()), info
    model.eval()
    assert model.config.text_config.rope_parameters["mrope_section"], model.config
    processor = Qwen2_5_VLProcessor.from_pretrained(folder)
    prompts = [prompt_of(processor, case) for case in cases]
    first, second = (Prompt(golden, inputs, model, settings) for golden, inputs in prompts[:2])
    assert prompts[0][0]["agrees"] and not prompts[1][0]["agrees"], [p["agrees"] for p, _ in prompts[:2]]
    with torch.no_grad():
        logits = first.logits(model)
        own = model(
            input_ids=first.ids[None],
            mm_token_type_ids=(first.ids == model.config.video_token_id).int()[None] * 2,
            pixel_values_videos=first.patches,
            video_grid_thw=first.grid,
            second_per_grid_ts=torch.tensor([first.seconds]),
        ).logits[0]
    assert torch.allclose(own, logits, atol=2e-5)
    rows, tokens = tower_of(model, first)
    golden = {
        "pixel_values": first.frames,
        "tower": rows,
        "tokens": tokens,
        "ids": first.ids,
        "positions": first.positions,
        "logits": logits,
        "second.pixel_values": second.frames,
        "second.ids": second.ids,
        "second.positions": second.positions,
    }
    batch = batched(model, [first, second])
    assert torch.allclose(batch[0], logits, atol=2e-5)
    golden["second.logits"] = batch[1][-16:]
    chosen, logprobs = greedy(model, first)
    golden |= {"greedy": chosen, "greedy_logprobs": logprobs}
    sampled = model.generate(
        input_ids=first.ids[None],
        attention_mask=torch.ones_like(first.ids)[None],
        mm_token_type_ids=(first.ids == model.config.video_token_id).int()[None] * 2,
        pixel_values_videos=first.patches,
        video_grid_thw=first.grid,
        second_per_grid_ts=torch.tensor([first.seconds]),
        generation_config=GenerationConfig(max_new_tokens=12, do_sample=False, pad_token_id=0),
    )[0, len(first.ids) :]
    assert sampled.tolist() == chosen.tolist(), (sampled, chosen)

    lora_config = peft.LoraConfig(
        r=3, lora_alpha=5, lora_dropout=0.0, target_modules=LORA, task_type="CAUSAL_LM"
    )
    adapted = peft.get_peft_model(model, lora_config).eval()
    generator = torch.Generator().manual_seed(seed + 2)
    for key, parameter in adapted.named_parameters():
        if "lora_" in key:
            parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    adapted.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    n = len(answer)
    logits = first.logits(adapted, answer)
    loss = torch.nn.functional.cross_entropy(logits[-n - 1 : -1], torch.tensor(answer))
    loss.backward()
    golden |= {
        "lora.ids": torch.cat([first.ids, torch.tensor(answer)]),
        "lora.logits": logits[-n - 1 : -1].detach(),
        "lora.loss": loss.detach()[None],
    }
    for key, parameter in adapted.named_parameters():
        if "lora_" in key:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, key
            module = key.removeprefix("base_model.model.").replace(".default.", ".")
            golden[f"lora.grad.{module}"] = parameter.grad
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")
    document = {
        "versions": {
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__.split("+")[0],
        },
        "prompts": [golden for golden, _ in prompts],
    }
    write(folder / "golden.json", document)
    print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def frames():
    """Golden frames and indices for rlaif-video."""
    cases = []
    for name, size, edges, flags in [
        ("even", video(53, 37, 8, 4.0), (256, 1024), {}),
        ("odd", video(9, 31, 5, 2.0), (256, 4096), {}),
        ("large", video(131, 90, 4, 2.0), (64, 1500), {}),
        ("small", video(3, 5, 4, 2.0), (900, 5000), {}),
        ("half", video(20, 12, 4, 2.0), (64, 4096), {}),
        ("capped", video(64, 48, 30, 2.0), (64, 4096), {"cap_pixels_per_frame": True, "max_video_tokens": 40}),
        ("plain", video(24, 16, 4, 2.0), (64, 4096), {"do_normalize": False}),
    ]:
        settings = {
            "size": {"shortest_edge": edges[0], "longest_edge": edges[1]},
            "patch_size": 4,
            "temporal_patch_size": 2,
            "merge_size": 2,
        } | flags
        processor = Qwen2VLVideoProcessor(**{"cap_pixels_per_frame": False} | json.loads(json.dumps(settings)))
        out = processor(
            videos=[synthetic(size)],
            video_metadata=[metadata_of(size)],
            do_sample_frames=True,
            fps=2,
            return_metadata=True,
            return_tensors="pt",
        )
        indices = list(map(int, out["video_metadata"][0].frames_indices))
        grid = out["video_grid_thw"][0].tolist()
        pixels = frames_of(out["pixel_values_videos"], grid, settings, len(indices)).float()
        (VIDEO_OUT / f"qwen_{name}.f32").write_bytes(pixels.numpy().tobytes())
        cases.append(
            {
                "name": name,
                "video": size,
                "settings": settings,
                "indices": indices,
                "grid": grid,
                "shape": list(pixels.shape),
            }
        )
    sampled = []
    for fps, low, high in [(2.0, 4, 768), (1.0, 2, 10), (0.7, 6, 24), (5.0, 4, 64)]:
        processor = Qwen2VLVideoProcessor(min_frames=low, max_frames=high)
        for n, rate in [
            (2, 30.0),
            (3, 2.0),
            (5, 2.0),
            (7, 2.0),
            (45, 30.0),
            (75, 30000 / 1001),
            (250, 25.0),
            (1979, 30000 / 1001),
            (2500, 24000 / 1001),
            (4000, 15.5),
            (9000, 59.94),
            (20000, 119.88),
            (300, 0.5),
            (40, 0.3),
            (99, 7.7),
            (1234, 12.5),
        ]:
            indices = processor.sample_frames(metadata_of(video(1, 1, n, rate)), fps=fps)
            sampled.append([fps, low, high, n, rate, indices.tolist()])
    # num_frames in the place of a rate; odd numbers are rounded to whole patches.
    counted = []
    for frames in (2, 7, 9, 10, 64):
        processor = Qwen2VLVideoProcessor(num_frames=frames)
        for n in (10, 11, 45, 100, 1979):
            if n >= frames:
                indices = processor.sample_frames(metadata_of(video(1, 1, n, 25.0))).tolist()
                counted.append([frames, n, indices])
    document = {"cases": cases, "sampled": sampled, "counted": counted}
    (VIDEO_OUT / "qwen.json").write_text(json.dumps(document, separators=(",", ":")) + "\n")


def tower(name, seed):
    """A checkpoint with the names of transformers' modules; frames that do not fill the last step."""
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    settings = {
        "size": {"shortest_edge": 36, "longest_edge": 4096},
        "patch_size": 2,
        "temporal_patch_size": 3,
        "merge_size": 3,
    }
    config = Qwen2_5_VLConfig(
        tie_word_embeddings=False,
        image_token_id=6,
        video_token_id=7,
        vision_start_token_id=3,
        vision_end_token_id=4,
        vision_config={
            "depth": 3,
            "hidden_size": 16,
            "intermediate_size": 10,
            "num_heads": 4,
            "patch_size": 2,
            "spatial_merge_size": 3,
            "temporal_patch_size": 3,
            "tokens_per_second": 2,
            "window_size": 13,
            "fullatt_block_indexes": [2],
            "out_hidden_size": 8,
        },
        text_config={
            "vocab_size": 11,
            "hidden_size": 8,
            "intermediate_size": 9,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 0]},
        },
    )
    model = Qwen2_5_VLForConditionalGeneration(config).float().eval()
    randomise(model, seed)
    config.architectures = ["Qwen2_5_VLForConditionalGeneration"]
    config.save_pretrained(folder)
    weights = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model, info = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(info.values()), info
    prompt = argparse.Namespace()
    size = video(31, 17, 5, 2.0)
    processor = Qwen2VLVideoProcessor(**settings, cap_pixels_per_frame=False)
    out = processor(videos=[synthetic(size)], do_sample_frames=False, return_tensors="pt")
    prompt.patches, prompt.grid = out["pixel_values_videos"], out["video_grid_thw"]
    grid = prompt.grid[0].tolist()
    assert grid[0] == 2
    rows, tokens = tower_of(model.eval(), prompt)
    golden = {
        "pixel_values": frames_of(prompt.patches, grid, settings, size["frames"]),
        "tower": rows,
        "tokens": tokens,
    }
    save_file(golden, folder / "golden.safetensors")
    print(name, grid, sum(f.stat().st_size for f in folder.rglob("*")), "bytes")


def main():
    frames()
    tower("qwen2_5-vl-c", 51)
    make(
        "qwen2_5-vl-a",
        bpe(300),
        {
            "min_pixels": 256,
            "max_pixels": 1024,
            "patch_size": 4,
            "temporal_patch_size": 2,
            "merge_size": 2,
        },
        {},
        {
            "tie_word_embeddings": True,
            "vision_config": {
                "depth": 3,
                "hidden_size": 16,
                "intermediate_size": 20,
                "num_heads": 2,
                "patch_size": 4,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "tokens_per_second": 2,
                "window_size": 16,
                "fullatt_block_indexes": [1],
                "out_hidden_size": 32,
            },
            "text_config": {
                "vocab_size": 304,
                "hidden_size": 32,
                "intermediate_size": 40,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "rms_norm_eps": 1e-6,
                "max_position_embeddings": 4096,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1000000.0,
                    "mrope_section": [1, 1, 2],
                },
                "bos_token_id": 0,
                "eos_token_id": 2,
                "tie_word_embeddings": True,
            },
        },
        True,
        [
            {
                "messages": [ask("What moves?")],
                "video": video(30, 22, 5, 2.0),
                "add_generation_prompt": True,
            },
            {
                "messages": [
                    text("system", "Be brief."),
                    ask("Héllo, wörld!\nHow many circles? 12345 🎬"),
                ],
                "video": video(13, 21, 270, 29.97),
                "add_generation_prompt": True,
            },
            {
                "messages": [text("user", "What moves?"), text("assistant", "The red circle.")],
                "add_generation_prompt": False,
            },
        ],
        [101, 272, 99, 288, 260, 290],
        "5GB",
        seed=31,
    )
    make(
        "qwen2_5-vl-b",
        bpe(280),
        {
            "size": {"shortest_edge": 144, "longest_edge": 3000},
            "patch_size": 6,
            "temporal_patch_size": 2,
            "merge_size": 2,
        },
        {"fps": 2, "min_frames": 4, "max_frames": 12},
        {
            "tie_word_embeddings": False,
            "vision_config": {
                "depth": 4,
                "hidden_size": 24,
                "intermediate_size": 18,
                "num_heads": 3,
                "patch_size": 6,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "tokens_per_second": 4,
                "window_size": 36,
                "fullatt_block_indexes": [0, 2],
                "out_hidden_size": 24,
            },
            "text_config": {
                "vocab_size": 281,
                "hidden_size": 24,
                "intermediate_size": 29,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "rms_norm_eps": 1e-5,
                "max_position_embeddings": 2048,
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "mrope_section": [2, 2, 2],
                },
                "bos_token_id": 0,
                "eos_token_id": 2,
            },
        },
        False,
        [
            {
                "messages": [ask("What moves?")],
                "video": video(85, 49, 9, 4.0),
                "add_generation_prompt": True,
            },
            {
                "messages": [ask("How many shapes?")],
                "video": video(30, 30, 150, 15.0),
                "add_generation_prompt": True,
            },
            {
                "messages": [
                    text("system", " Be brief. "),
                    ask("How many shapes are there?  "),
                    text("assistant", "two"),
                    text("user", "and now?"),
                ],
                "video": video(16, 9, 400, 24.0),
                "add_generation_prompt": True,
            },
        ],
        [101, 272, 99, 270, 260, 279],
        "20KB",
        seed=41,
    )


if __name__ == "__main__":
    main()
