#!/usr/bin/env python3
"""One GRPO step of Hugging Face TRL on a CPU: the peer measurement for `oracle-rlaif bench step`.

A randomly initialised Llama (12 layers, hidden 576, 9 heads, 3 KV heads, intermediate 1536, vocabulary
49,152, tied head), LoRA r = 16 on all linear layers, G completions of exactly R tokens for one prompt of
P tokens, KL to the adapter-off reference, f32, two threads. Prints every step's seconds and the median
after the first. With `--json` the last and only line on standard output is one JSON object, and the
steps go to standard error.

    python3 -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python trl_grpo_step.py --prompt 256
"""

import argparse
import contextlib
import json
import os
import random
import statistics
import sys
import tempfile
import time

# Nothing is downloaded: the model is made here.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
import transformers
import trl
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt")
parser.add_argument("--new", type=int, default=32, help="tokens of each completion")
parser.add_argument("--group", type=int, default=5, help="completions of the prompt")
parser.add_argument("--steps", type=int, default=6, help="steps, the first of which is warm-up")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--json", action="store_true", help="print one JSON object")
args = parser.parse_args()
if args.steps < 2:
    parser.error("--steps must be at least 2: the first is warm-up")

torch.set_num_threads(args.threads)
random.seed(0)
torch.manual_seed(0)

VOCABULARY = 49152
vocabulary = {f"w{i}": i for i in range(VOCABULARY - 2)}
vocabulary |= {"<eos>": VOCABULARY - 2, "<pad>": VOCABULARY - 1}
words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>", pad_token="<pad>")

model = LlamaForCausalLM(
    LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
        max_position_embeddings=8192,
        eos_token_id=VOCABULARY - 2,
        pad_token_id=VOCABULARY - 1,
    )
)
assert next(model.parameters()).dtype == torch.float32


def prompt():
    return " ".join(f"w{random.randrange(1000)}" for _ in range(args.prompt))


data = Dataset.from_list([{"prompt": prompt()} for _ in range(64)])
seconds = []


class Clock(TrainerCallback):
    """Times whole steps: generation, reference pass, forward, backward and the optimizer."""

    def on_step_begin(self, *_, **__):
        self.started = time.perf_counter()

    def on_step_end(self, *_, **__):
        seconds.append(time.perf_counter() - self.started)
        print(f"step {len(seconds)}: {seconds[-1]:.2f} s", flush=True)


talk = contextlib.redirect_stdout(sys.stderr) if args.json else contextlib.nullcontext()
with tempfile.TemporaryDirectory() as out, talk:
    GRPOTrainer(
        model=model,
        args=GRPOConfig(
            output_dir=out,
            per_device_train_batch_size=args.group,
            num_generations=args.group,
            max_completion_length=args.new,
            generation_kwargs={"min_new_tokens": args.new},
            beta=0.04,
            learning_rate=1e-5,
            max_steps=args.steps,
            logging_steps=1000,
            report_to=[],
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=data,
        reward_funcs=lambda completions, **_: [random.random() for _ in completions],
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=16,
            lora_alpha=16,
            target_modules=[
                "q_proj",
                "k_proj",
                "v_proj",
                "o_proj",
                "gate_proj",
                "up_proj",
                "down_proj",
            ],
        ),
        callbacks=[Clock()],
    ).train()

timed = seconds[1:]
median = statistics.median(timed)
if args.json:
    print(
        json.dumps(
            {
                "prompt": args.prompt,
                "group": args.group,
                "new": args.new,
                "steps": len(timed),
                "step_seconds": median,
                "all_step_seconds": timed,
                "threads": torch.get_num_threads(),
                "versions": {
                    "trl": trl.__version__,
                    "transformers": transformers.__version__,
                    "torch": torch.__version__,
                },
            }
        )
    )
else:
    print(f"median of {len(timed)} after warm-up: {median:.2f} s")
