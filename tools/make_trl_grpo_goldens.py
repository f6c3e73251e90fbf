"""Makes crates/rlaif-train/tests/golden: what TRL's GRPOTrainer makes of GRPO_rank's advantages.

Pinned: benches/peers/requirements.txt and torchvision==0.29.2 pillow==13.0.0. Run from the
repository root:

    python3 -m venv .venv && .venv/bin/pip install -r benches/peers/requirements.txt
    .venv/bin/pip install torchvision==0.29.2 pillow==13.0.0
    .venv/bin/python tools/make_trl_grpo_goldens.py

The tiny LLaVA `llava-a` with its PEFT adapter, two prompts with two and three frames as images, five
fixed completions each. TRL's own `_generate_and_score_completions` scores them under the policy
that "sampled" (the adapter with its B scaled) and under the reference (adapter off), asks the
reward function, and makes advantages; the adapter is then set to the fixture's, and TRL's own
`_compute_loss` gives the loss whose gradient is kept. Only the sampling of tokens is replaced.

Two things differ from a run with the settings of docs/trl-emulation.md. The chat template writes the frames side by side,
`<image><image><image>`, as a video is, where llava-1.5-hf's puts a line break after each. And the
adapter is loaded into a trainer made with `peft_config`: given a model that carries an adapter
already, TRL takes a copy of that adapter for the reference, not the base model.

trl_grpo.safetensors (float32 unless said otherwise; F frames of prompt p, T tokens of all ten
completions end to end):
  p.pixel_values [F, 3, 21, 21]; p.ids [P] int64, image tokens expanded; completions [T] int64;
  lens [10] int64; positions [10] int64, the Oracle's; advantages [10], advantages.failed [10] where
  the Oracle fails on the second group; old_logprobs [T]; ref_logprobs [T]; logprobs [T]; <case>.grad.<module>.lora_{A,B}.weight.
trl_grpo.json: versions, knobs, and each case's loss_type, beta, failed groups and loss.
"""

import json
import math
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AutoProcessor, LlavaForConditionalGeneration
from trl import GRPOConfig, GRPOTrainer

MODEL = Path("crates/rlaif-model/tests/fixtures/llava-a")
OUT = Path("crates/rlaif-train/tests/golden")
GROUP = 5
EPSILON, EPSILON_HIGH, MAX_LENGTH = 0.2, 0.28, 9
# How far the policy that sampled lies from the one that is updated.
SAMPLED_WITH = 0.92
PROMPTS = [("What moves in the video?", 3), ("How many circles are there?", 2)]
POSITIONS = [[2, 4, 1, 0, 3], [4, 3, 1, 0, 2]]
# Weak and partial orders, for the reward function alone.
LEVELS = [
    [0, 1, 1, 2, 1],
    [0, 0, 0, 0, 0],
    [1, None, 0, None, 2],
    [None, 0, 0, 1, None],
    [None, None, 0],
]
# Loss type, beta, and groups that the Oracle fails on.
CASES = [
    (loss_type, beta, []) for loss_type in ("dapo", "grpo", "dr_grpo") for beta in (0.0, 0.04)
] + [("dapo", 0.0, [1])]
TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>' }}{% endfor %}{{ '\n' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def gain(position):
    return 1 / ((1 + position) * math.log2(2 + position))


def dcg_advantages(levels):
    """As docs/trl-emulation.md has it: 0 is best, equal levels tie, None was not placed."""
    placed = sorted({level for level in levels if level is not None})
    gains, start = [0.0] * len(levels), 0
    for level in [*placed, None]:
        block = [i for i, other in enumerate(levels) if other == level]
        for i in block:
            gains[i] = sum(gain(start + k) for k in range(len(block))) / len(block)
        start += len(block)
    mean = sum(gains) / len(gains)
    return [one - mean for one in gains]


def rank_reward(completions, position, failed, **_):
    """One reward per completion; a group's completions stand side by side."""
    assert len(completions) % GROUP == 0
    rewards = []
    for start in range(0, len(completions), GROUP):
        if failed[start]:
            rewards += [None] * GROUP
        else:
            rewards += dcg_advantages(position[start : start + GROUP])
    return rewards


def inputs(failed=()):
    """Rows as TRL's sampler hands them out: every prompt GROUP times in a row."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for index, ((question, frames), positions) in enumerate(zip(PROMPTS, POSITIONS, strict=True)):
        pixels = torch.randint(0, 256, (frames, 21, 21, 3), generator=generator, dtype=torch.uint8)
        images = [Image.fromarray(frame.numpy()) for frame in pixels]
        prompt = [{"role": "user", "content": question}]
        row = {"prompt": prompt, "images": images, "failed": index in failed}
        rows += [row | {"position": position} for position in positions]
    return rows


def completions():
    """Lengths 1 to 9, ordinary tokens, an end token on most."""
    generator = torch.Generator().manual_seed(4)
    out = []
    for index, length in enumerate([3, 1, 6, 9, 4, 2, 7, 5, 8, 3]):
        ids = torch.randint(5, 310, (length,), generator=generator).tolist()
        out.append([*ids[:-1], 2] if index not in (1, 3) else ids)
    return out


class Fixed(GRPOTrainer):
    """Its completions are given; everything else is TRL's."""

    def _generate_single_turn(self, prompt_ids, *_, **__):
        self.prompt_ids = prompt_ids
        return completions(), None


def set_adapter(model, factor):
    state = load_file(MODEL / "adapter/adapter_model.safetensors")
    for key in state:
        if "lora_B" in key:
            state[key] = state[key] * factor
    result = set_peft_model_state_dict(model, state)
    assert not result.unexpected_keys, result.unexpected_keys
    assert not [key for key in result.missing_keys if "lora_" in key]


def step(loss_type, beta, failed, folder):
    processor = AutoProcessor.from_pretrained(MODEL)
    lora = LoraConfig.from_pretrained(MODEL / "adapter")
    lora.inference_mode = False
    processor.chat_template = processor.tokenizer.chat_template = TEMPLATE
    trainer = Fixed(
        model=LlavaForConditionalGeneration.from_pretrained(MODEL, dtype=torch.float32),
        args=GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=2 * GROUP,
            num_generations=GROUP,
            max_completion_length=MAX_LENGTH,
            # More than one update a batch: the only way to have TRL keep old log-probabilities.
            num_iterations=2,
            beta=beta,
            epsilon=EPSILON,
            epsilon_high=EPSILON_HIGH,
            loss_type=loss_type,
            scale_rewards="none",
            # TRL's default is to multiply the KL of a token by its ratio; our objective does not.
            use_bias_correction_kl=False,
            temperature=1.0,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in inputs()]),
        reward_funcs=rank_reward,
        processing_class=processor,
        peft_config=lora,
    )
    trainer.current_gradient_accumulation_steps = 1
    trainer.model.train()
    set_adapter(trainer.model, SAMPLED_WITH)
    batch = trainer._generate_and_score_completions(inputs(failed))
    set_adapter(trainer.model, 1.0)
    seen = []
    inner = trainer._get_per_token_logps_and_entropies

    def spy(*arguments, **keywords):
        seen.append(inner(*arguments, **keywords))
        return seen[-1]

    trainer._get_per_token_logps_and_entropies = spy
    loss = trainer.compute_loss(trainer.model, batch)
    loss.backward()
    metrics = trainer._metrics["train"]
    assert metrics["clip_ratio/low_mean"][0] > 0 and metrics["clip_ratio/high_mean"][0] > 0
    gradients = {}
    for key, parameter in trainer.model.named_parameters():
        if parameter.requires_grad:
            assert "lora_" in key and parameter.grad.abs().max() > 0, key
            module = key.removeprefix("base_model.model.").replace(".default.", ".")
            gradients[module] = parameter.grad.clone()
    mask = batch["completion_mask"].bool()
    tensors = {
        "lens": mask.sum(1),
        "completions": batch["completion_ids"][mask],
        "positions": torch.tensor([row["position"] for row in inputs()]),
        "advantages.failed" if failed else "advantages": batch["advantages"],
        "old_logprobs": batch["old_per_token_logps"][mask],
        "logprobs": seen[0][0].detach()[mask],
    }
    if beta:
        tensors["ref_logprobs"] = batch["ref_per_token_logps"][mask]
    starts = [0, GROUP * PROMPTS[0][1]]
    for index, (_, frames) in enumerate(PROMPTS):
        row = index * GROUP
        tensors[f"{index}.ids"] = batch["prompt_ids"][row][batch["prompt_mask"][row].bool()]
        begin = starts[index]
        tensors[f"{index}.pixel_values"] = batch["pixel_values"][begin : begin + frames]
    ratio = (tensors["logprobs"] - tensors["old_logprobs"]).exp()
    report = {
        "loss_type": loss_type,
        "beta": beta,
        "failed_groups": failed,
        "loss": loss.item(),
        "kl": metrics["kl"][0] if beta else None,
        "clipped_low": round(metrics["clip_ratio/low_mean"][0] * len(ratio)),
        "clipped_high": round(metrics["clip_ratio/high_mean"][0] * len(ratio)),
    }
    print(report, "ratios", ratio.min().item(), ratio.max().item())
    return report, tensors, gradients


def main():
    stored, cases = {}, []
    for loss_type, beta, failed in CASES:
        with tempfile.TemporaryDirectory() as folder:
            report, tensors, gradients = step(loss_type, beta, failed, folder)
        for key, value in tensors.items():
            assert torch.equal(stored.setdefault(key, value), value), key
        name = f"{loss_type}-{beta}" + ("-failed" if failed else "")
        cases.append({"name": name} | report)
        stored |= {f"{name}.grad.{key}": value for key, value in gradients.items()}
    OUT.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.contiguous().clone() for key, value in stored.items()},
        OUT / "trl_grpo.safetensors",
    )
    document = {
        "versions": {
            name: version(name).split("+")[0] for name in ("trl", "transformers", "peft", "torch")
        },
        "epsilon": EPSILON,
        "epsilon_high": EPSILON_HIGH,
        "max_completion_length": MAX_LENGTH,
        "num_generations": GROUP,
        "emulation": [
            {"levels": levels, "advantages": dcg_advantages(levels)} for levels in LEVELS
        ],
        "cases": cases,
    }
    (OUT / "trl_grpo.json").write_text(json.dumps(document, indent=1) + "\n")
    print(sum(file.stat().st_size for file in OUT.iterdir()), "bytes")


if __name__ == "__main__":
    main()
