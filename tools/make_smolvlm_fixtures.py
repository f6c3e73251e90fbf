"""Makes the fixtures of SmolVLM2: two tiny random checkpoints, and golden frames and rules.

Pinned: transformers==5.24.0 peft==0.21.2 tokenizers==0.23.3 torch==2.15.0 torchvision==0.29.2
safetensors==0.8.0 numpy==2.4.6 pillow==13.0.0 num2words==0.5.14 (the versions that made the
committed files; each golden.json names those it was made with). Run from the repository root, on a
processor with AVX2 (torchvision resizes bytes by another kernel without it):

    python3 -m venv .venv && .venv/bin/pip install <the pins above>
    .venv/bin/python tools/make_smolvlm_fixtures.py

crates/rlaif-model/tests/fixtures/:
  smolvlm-a: the hub's files (flat preprocessor_config.json, chat_template.json, config.json with
  the keys of old), 6 query heads on 2 key/value heads with a head_dim of its own, tied head,
  6x6 patches, scale_factor 2.
  smolvlm-b: the files of transformers 5 (nested processor_config.json, chat_template.jinja,
  video_preprocessor_config.json), 3 heads, head of its own, frames of 6x6 patches under position
  embeddings of 9x9, scale_factor 3, sharded weights.
  smolvlm.json: position buckets [side, patches a side, buckets] and numbers in words.
crates/rlaif-video/tests/fixtures/:
  smolvlm.json, smolvlm_*.f32: sampled indices and pixel values of synthetic videos.

golden.safetensors (float32 unless said otherwise; F frames, P patches, T prompt tokens):
  pixel_values [F, 3, H, W]; tower [F * P, v] (after the last norm); tokens [F * P / s^2, d];
  ids [T] int64; logits [T, vocabulary]; greedy [12] int64; greedy_logprobs [12];
  second.{pixel_values,ids,logits}: another video and question, computed in one padded batch with
  the first, logits of the last 16 positions; lora.ids [T + 6] int64; lora.logits [6, vocabulary]:
  what the last 6 tokens are chosen from; lora.loss [1]: their cross-entropy, mean, adapter on;
  lora.grad.<module>.lora_{A,B}.weight.
golden.json: versions and prompts: messages, the video's sizes and rate, sampled indices, the
  rendered template, the text with frames in the place of the video, ids.
"""

import json
import shutil
from pathlib import Path

import numpy
import peft
import tokenizers
import torch
import transformers
from num2words import num2words
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GenerationConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionEmbeddings
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE
from transformers.video_utils import VideoMetadata

OUT = Path("crates/rlaif-model/tests/fixtures")
VIDEO_OUT = Path("crates/rlaif-video/tests/fixtures")
LORA = r".*text_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<global-img>",
    "<row_1_col_1>",
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
]

# A template that knows images only: for videos the processor brings one of its own, whatever the
# checkpoint has.
HUB_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

CORPUS = [
    "User: What moves in the video?<end_of_utterance>\nAssistant: The red circle moves left.",
    "You are provided the following series of two frames from a 0:00:05 [H:MM:SS] video.\n",
    "\nFrame from 00:00: \nFrame from 00:01:",
    "How many shapes are there? There are three shapes, two of them blue.",
]


def text(role, words):
    return {"role": role, "content": [{"type": "text", "text": words}]}


def ask(words):
    return {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": words}]}


def bpe(size, split_digits):
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, level]) if split_digits else level
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def synthetic(video):
    """[n, 3, h, w] bytes: a wave, so that a resize shows, with noise of every frequency on it."""
    n, h, w = video["frames"], video["height"], video["width"]
    t, y, x = numpy.ogrid[:n, :h, :w]
    channels = []
    for c in range(3):
        wave = (x * (7 + c) + y * (3 + 2 * c) + t * 31 + c * 57) % 192
        noise = ((x * 73 + y * 151 + t * 199 + c * 83) * (x + 2 * y + 5)) % 61
        channels.append(wave + noise)
    return numpy.stack(channels, 1).astype(numpy.uint8)


def metadata_of(video):
    return VideoMetadata(
        total_num_frames=video["frames"],
        fps=video["fps"],
        duration=video["frames"] / video["fps"],
    )


def randomise(model, seed):
    """Weights that spread the logits: nothing is left at zero or one, where a slip would hide."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            value = 1.0 + 0.2 * noise
        elif name.endswith("bias") or "position_embedding" in name:
            value = 0.3 * noise
        elif "embed_tokens" in name:
            value = 0.4 * noise
        else:
            fan_in = parameter[0].numel()
            value = (3.0 if "o_proj" in name or "down_proj" in name else 1.5) * noise / fan_in**0.5
        parameter.data.copy_(value)


class Unlucky(Exception):
    """These random weights make a poor fixture; the next seed may do better."""


@torch.no_grad()
def greedy(model, ids, pixels, n=12):
    """Greedy decoding without a cache and without stopping: ids and their log-probabilities."""
    tokens, logprobs, sequence = [], [], ids
    for _ in range(n):
        logits = model(input_ids=sequence[None], pixel_values=pixels[None]).logits[0]
        last = logits[-1].log_softmax(-1)
        best = last.topk(2).values
        if best[0] - best[1] < 1e-3:
            raise Unlucky("the best two tokens are too close to compare across implementations")
        tokens.append(int(last.argmax()))
        if tokens[-1] < len(SPECIAL):
            raise Unlucky("greedy decoding meets a special token, which a sampler may forbid")
        logprobs.append(float(last.max()))
        sequence = torch.cat([sequence, torch.tensor([tokens[-1]])])
    if len(set(tokens)) < 5:
        raise Unlucky("greedy decoding goes in circles")
    return torch.tensor(tokens), torch.tensor(logprobs)


@torch.no_grad()
def batched(model, prompts):
    """Logits of several prompts in one batch, padded on the left, frames padded with zeros."""
    longest = max(len(p["ids"]) for p in prompts)
    frames = max(len(p["pixels"]) for p in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    pixels = torch.zeros(len(prompts), frames, *prompts[0]["pixels"].shape[1:])
    for row, p in enumerate(prompts):
        ids[row, longest - len(p["ids"]) :] = p["ids"]
        mask[row, longest - len(p["ids"]) :] = 1
        pixels[row, : len(p["pixels"])] = p["pixels"]
    assert ids[0, 0] != model.config.image_token_id
    valid = (pixels != 0).any(2).long()
    logits = model(
        input_ids=ids, attention_mask=mask, pixel_values=pixels, pixel_attention_mask=valid
    ).logits
    return [logits[row, longest - len(p["ids"]) :] for row, p in enumerate(prompts)]


def make(*arguments, seed):
    """The first seed from `seed` on whose weights make a good fixture."""
    for lucky in range(seed, seed + 500):
        try:
            return attempt(*arguments, seed=lucky)
        except Unlucky as reason:
            print(arguments[0], "seed", lucky, reason)
    raise SystemExit("no seed works")


def processor_of(tokenizer, template, settings, image_seq_len):
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<end_of_utterance>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        extra_special_tokens={
            "image_token": "<image>",
            "fake_image_token": "<fake_token_around_image>",
            "global_image_token": "<global-img>",
            "end_of_utterance_token": "<end_of_utterance>",
        },
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
    image = {k: v for k, v in settings.items() if k != "video_sampling"}
    return SmolVLMProcessor(
        SmolVLMImageProcessor(**image, do_image_splitting=True),
        fast,
        SmolVLMVideoProcessor(**json.loads(json.dumps(settings))),
        image_seq_len=image_seq_len,
        chat_template=template,
    )


def hub_files(folder, processor, settings):
    """The processor's files as HuggingFaceTB/SmolVLM2-*-Instruct have them."""
    processor.tokenizer.chat_template = None
    processor.tokenizer.save_pretrained(folder)
    flat = {
        "do_convert_rgb": True,
        "do_image_splitting": True,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SmolVLMImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "SmolVLMProcessor",
        "resample": 1,
        "rescale_factor": 0.00392156862745098,
    } | settings
    write(folder / "preprocessor_config.json", dict(sorted(flat.items())))
    own = {"image_seq_len": processor.image_seq_len, "processor_class": "SmolVLMProcessor"}
    write(folder / "processor_config.json", own)
    write(folder / "chat_template.json", {"chat_template": HUB_TEMPLATE})


def hub_config(folder):
    """Keys of the hub's config.json that transformers 5 writes otherwise, or that nobody reads."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["torch_dtype"] = config.pop("dtype")
    config["use_reentrant_checkpointing"] = False
    config["transformers_version"] = "4.47.1"
    inner = config["text_config"]
    inner["rope_theta"] = inner.pop("rope_parameters")["rope_theta"]
    inner["torch_dtype"] = inner.pop("dtype", "float32")
    inner |= {
        "_flash_attn_2_enabled": True,
        "_name_or_path": "None",
        "architectures": ["VLlama3ForCausalLM"],
        "is_llama_config": True,
        "neftune_noise_alpha": 0.0,
        "perceiver_config": {"model_type": "vllama3", "resampler_depth": 6},
        "pixel_shuffle_factor": config["scale_factor"],
        "qk_layer_norms": False,
        "rope_interleaved": False,
        "use_resampler": False,
    }
    config["vision_config"] |= {
        "max_image_size": {"longest_edge": 24},
        "size": {"longest_edge": 40},
        "use_base_siglip": False,
    }
    config["vision_config"].pop("dtype", None)
    write(path, config)


def write(path, value):
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def prompt_of(processor, case):
    messages, add = case["messages"], case["add_generation_prompt"]
    rendered = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=add)
    if "video" not in case:
        ids = processor.tokenizer(rendered)["input_ids"]
        return case | {"rendered": rendered, "text": rendered, "ids": ids}, None
    inputs = processor(
        text=rendered,
        videos=[synthetic(case["video"])],
        video_metadata=[metadata_of(case["video"])],
        do_sample_frames=True,
        add_special_tokens=False,
        return_tensors="pt",
    )
    ids = inputs["input_ids"][0].tolist()
    indices = processor.video_processor.sample_frames(metadata_of(case["video"])).tolist()
    assert len(indices) == len(inputs["pixel_values"][0])
    expanded = processor.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert processor.tokenizer(expanded, add_special_tokens=False)["input_ids"] == ids
    golden = case | {"rendered": rendered, "indices": indices, "text": expanded, "ids": ids}
    assert inputs["pixel_attention_mask"].all()
    return golden, inputs["pixel_values"][0]


def attempt(name, tokenizer, settings, vision, llama, extra, hub, cases, answer, shard, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    side = settings["max_image_size"]["longest_edge"] // vision.patch_size
    template = HUB_TEMPLATE if hub else DEFAULT_CHAT_TEMPLATE
    processor = processor_of(tokenizer, template, settings, (side // extra["scale_factor"]) ** 2)
    fast = processor.tokenizer
    if hub:
        hub_files(folder, processor, settings)
    else:
        processor.save_pretrained(folder)

    config = SmolVLMConfig(
        vision_config=vision,
        text_config=llama,
        image_token_id=fast.convert_tokens_to_ids("<image>"),
        pad_token_id=fast.pad_token_id,
        **extra,
    )
    torch.manual_seed(seed)
    model = SmolVLMForConditionalGeneration(config).float().eval()
    randomise(model, seed)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    model.save_pretrained(folder, max_shard_size=shard)
    if hub:
        hub_config(folder)

    # What the files hold is what the golden values are of.
    model, info = SmolVLMForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not any(info.values()), info
    model.eval()
    processor = SmolVLMProcessor.from_pretrained(folder)
    prompts = [prompt_of(processor, case) for case in cases]
    first, second = (
        {"ids": torch.tensor(golden["ids"]), "pixels": pixels} for golden, pixels in prompts[:2]
    )
    with torch.no_grad():
        outputs = model.model.get_image_features(first["pixels"][None], return_dict=True)
        logits = model(input_ids=first["ids"][None], pixel_values=first["pixels"][None]).logits[0]
    golden = {
        "pixel_values": first["pixels"],
        "tower": outputs.last_hidden_state.flatten(0, 1),
        "tokens": outputs.pooler_output[0],
        "ids": first["ids"],
        "logits": logits,
        "second.pixel_values": second["pixels"],
        "second.ids": second["ids"],
    }
    assert len(second["pixels"]) != len(first["pixels"])
    batch = batched(model, [first, second])
    assert torch.allclose(batch[0], logits, atol=2e-5)
    golden["second.logits"] = batch[1][-16:]
    tokens, logprobs = greedy(model, first["ids"], first["pixels"])
    golden |= {"greedy": tokens, "greedy_logprobs": logprobs}
    sampled = model.generate(
        input_ids=first["ids"][None],
        attention_mask=torch.ones_like(first["ids"])[None],
        pixel_values=first["pixels"][None],
        generation_config=GenerationConfig(max_new_tokens=12, do_sample=False, pad_token_id=2),
    )[0, len(first["ids"]) :]
    assert sampled.tolist() == tokens.tolist()

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
    full = torch.cat([first["ids"], torch.tensor(answer)])
    logits = adapted(input_ids=full[None], pixel_values=first["pixels"][None]).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[-7:-1], full[-6:])
    loss.backward()
    logits = logits[-7:-1].detach()
    golden |= {"lora.ids": full, "lora.logits": logits, "lora.loss": loss.detach()[None]}
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


def video(width, height, frames, fps):
    return {"width": width, "height": height, "frames": frames, "fps": fps}


def buckets(side, patches):
    """Position ids of the first row of `patches` x `patches` under `side` x `side` embeddings."""
    embeddings = SmolVLMVisionEmbeddings(
        SmolVLMVisionConfig(hidden_size=1, image_size=side, patch_size=1)
    )
    embeddings.patch_embedding.weight.data.zero_()
    embeddings.patch_embedding.bias.data.zero_()
    embeddings.position_embedding.weight.data[:, 0] = torch.arange(side * side)
    mask = torch.ones(1, patches, patches, dtype=torch.bool)
    with torch.no_grad():
        rows = embeddings(torch.zeros(1, 3, patches, patches), mask)[0, :, 0].long()
    return rows.reshape(patches, patches)[0].tolist()


def fnv1a(words):
    state = 0xCBF29CE484222325
    for byte in "\n".join(words).encode():
        state = ((state ^ byte) * 0x100000001B3) % 2**64
    return state


def rules():
    pairs = [(s, s) for s in range(1, 41)] + [(9, 6), (16, 5), (27, 14), (27, 30), (32, 31)]
    words = [num2words(n) for n in range(1, 4097)]
    document = {
        "buckets": [[side, patches, buckets(side, patches)] for side, patches in pairs],
        "words": {n: words[n - 1] for n in [1, 12, 20, 21, 64, 100, 101, 115, 999, 1000, 1001]}
        | {n: words[n - 1] for n in [1100, 2042, 3999, 4096]},
        "words_fnv1a": f"{fnv1a(words):016x}",
    }
    quirky = [s for s, p, b in document["buckets"] if s == p and b != list(range(s))]
    assert quirky, "no side in which floating point moves a patch"
    write(OUT / "smolvlm.json", document)
    print("sides with a patch in its neighbour's bucket:", quirky)


def frames():
    """Golden frames and indices for rlaif-video."""
    cases = []
    for name, size, longest, square, flags in [
        ("wide", video(53, 37, 4, 2.0), 96, 24, {}),
        ("tall", video(9, 31, 3, 1.0), 40, 16, {}),
        ("up", video(6, 6, 2, 0.7), 64, 24, {}),
        ("down", video(131, 90, 2, 1.0), 48, 32, {}),
        ("bicubic", video(47, 33, 2, 1.0), 60, 20, {"resample": 3}),
        ("exact", video(24, 24, 2, 1.0), 24, 24, {"image_mean": [0.4, 0.5, 0.6]}),
        ("scaled", video(20, 30, 2, 1.0), 24, 12, {"do_normalize": False}),
        ("unscaled", video(20, 30, 2, 1.0), 24, 12, {"do_rescale": False}),
        ("unsized", video(20, 12, 2, 1.0), 24, 12, {"do_resize": False}),
    ]:
        settings = {
            "size": {"longest_edge": longest},
            "max_image_size": {"longest_edge": square},
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": square}},
        } | flags
        processor = SmolVLMVideoProcessor(**json.loads(json.dumps(settings)))
        out = processor(
            videos=[synthetic(size)],
            video_metadata=[metadata_of(size)],
            do_sample_frames=True,
            return_metadata=True,
            return_tensors="pt",
        )
        pixels = out["pixel_values"][0]
        indices = out["video_metadata"][0].frames_indices.tolist()
        assert len(pixels) == len(indices)
        pixels = pixels.float()
        (VIDEO_OUT / f"smolvlm_{name}.f32").write_bytes(pixels.numpy().tobytes())
        cases.append(
            {
                "name": name,
                "video": size,
                "settings": settings,
                "indices": indices,
                "shape": list(pixels.shape),
            }
        )
    sampled = []
    for fps, max_frames in [(1, 64), (2, 10), (0.5, 8), (1.5, 200)]:
        processor = SmolVLMVideoProcessor(
            video_sampling={"fps": fps, "max_frames": max_frames, "video_size": {"longest_edge": 8}}
        )
        for n, rate in [
            (1, 25.0),
            (2, 30.0),
            (5, 2.0),
            (7, 2.0),
            (45, 30.0),
            (75, 30000 / 1001),
            (250, 25.0),
            (1979, 30000 / 1001),
            (1980, 30.0),
            (1981, 30.0),
            (2500, 24000 / 1001),
            (4000, 15.5),
            (9000, 59.94),
            (20000, 119.88),
            (300, 0.5),
            (40, 0.3),
        ]:
            at = metadata_of(video(1, 1, n, rate))
            indices = processor.sample_frames(at, num_frames=max_frames, fps=fps)
            sampled.append([fps, max_frames, n, rate, indices.tolist()])
    document = {"cases": cases, "sampled": sampled}
    text = json.dumps(document, separators=(",", ":"))
    (VIDEO_OUT / "smolvlm.json").write_text(text + "\n")


def main():
    frames()
    rules()
    make(
        "smolvlm-a",
        bpe(300, True),
        {
            "max_image_size": {"longest_edge": 24},
            "size": {"longest_edge": 40},
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 24}},
        },
        SmolVLMVisionConfig(
            hidden_size=16,
            intermediate_size=28,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=24,
            patch_size=4,
        ),
        LlamaConfig(
            vocab_size=304,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=8,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
            max_position_embeddings=8192,
            pad_token_id=2,
            tie_word_embeddings=True,
        ),
        {"tie_word_embeddings": True, "scale_factor": 2},
        True,
        [
            {
                "messages": [ask("What moves?")],
                "video": video(20, 14, 5, 2.0),
                "add_generation_prompt": True,
            },
            {
                "messages": [
                    text("system", "You are a helpful assistant."),
                    ask("Héllo, wörld!\nHow many circles? 12345 🎬"),
                ],
                "video": video(13, 21, 110, 29.97),
                "add_generation_prompt": True,
            },
            {
                "messages": [
                    text("user", "What moves?"),
                    text("assistant", "The red circle."),
                ],
                "add_generation_prompt": False,
            },
        ],
        [101, 272, 99, 288, 260, 290],
        "5GB",
        seed=17,
    )
    make(
        "smolvlm-b",
        bpe(280, False),
        {
            "max_image_size": {"longest_edge": 30},
            "size": {"longest_edge": 64},
            "video_sampling": {"fps": 2, "max_frames": 3, "video_size": {"longest_edge": 30}},
        },
        SmolVLMVisionConfig(
            hidden_size=9,
            intermediate_size=13,
            num_hidden_layers=3,
            num_attention_heads=3,
            image_size=47,
            patch_size=5,
            layer_norm_eps=1e-5,
        ),
        LlamaConfig(
            vocab_size=281,
            hidden_size=18,
            intermediate_size=29,
            num_hidden_layers=3,
            num_attention_heads=3,
            rms_norm_eps=1e-6,
            max_position_embeddings=2048,
            pad_token_id=2,
        ),
        {"scale_factor": 3},
        False,
        [
            {
                "messages": [ask("What moves?")],
                "video": video(33, 18, 7, 4.0),
                "add_generation_prompt": True,
            },
            {
                "messages": [ask("How many shapes?")],
                "video": video(30, 30, 9, 15.0),
                "add_generation_prompt": True,
            },
            {
                "messages": [
                    text("system", " Be brief. "),
                    ask("How many shapes are there?  "),
                    text("assistant", "two"),
                    text("user", "and now?"),
                ],
                "video": video(16, 9, 4000, 24.0),
                "add_generation_prompt": True,
            },
        ],
        [101, 272, 99, 270, 260, 279],
        "20KB",
        seed=23,
    )


if __name__ == "__main__":
    main()
