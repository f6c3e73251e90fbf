"""Makes crates/rlaif-model/tests/fixtures: two tiny random LLaVA checkpoints with golden values.

Pinned: transformers==5.23.0 peft==0.21.2 tokenizers==0.23.3 torch==2.15.0 torchvision==0.29.2
safetensors==0.8.0 numpy==2.4.6 pillow==13.0.0 (the versions that made the committed files; each
golden.json names those it was made with). Run from the repository root:

    python3 -m venv .venv && .venv/bin/pip install <the pins above>
    .venv/bin/python tools/make_llava_fixtures.py

llava-a: byte-level BPE, tied head, 4 query heads on 2 key/value heads, head_dim of its own,
llava-1.5-hf's chat template, one weights file, a PEFT adapter.
llava-b: word-level tokenizer, head of its own, biases in the decoder and none in the projector,
GELU tower, frames that are no multiple of the patch, ChatML-like template, sharded weights.

golden.safetensors (float32 unless said otherwise; F frames, P patches, T prompt tokens):
  pixel_values [F, 3, H, W]; tower_hidden [F, 1 + P, v] (hidden_states[-2], class token first);
  projected [F * P, d]; pooled [F + P, d] (mean over patches of each frame, then mean over frames
  of each patch); {plain,pooled}.ids [T] int64, image tokens expanded; {plain,pooled}.logits
  [T, vocabulary]; {plain,pooled}.greedy [12] int64; {plain,pooled}.greedy_logprobs [12];
  lora.ids [T + 6] int64; lora.logits [T + 6, vocabulary]; lora.loss [1]: cross-entropy, mean over
  the last 6 tokens, pooled path, adapter on; lora.grad.<module>.lora_{A,B}.weight.
golden.json: versions, chat cases (messages, rendered text, ids), decode cases.
"""

import json
import shutil
from pathlib import Path

import peft
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

OUT = Path("crates/rlaif-model/tests/fixtures")
FRAMES = 3
LORA = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"

# llava-hf/llava-1.5-7b-hf's own.
TEMPLATE_A = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['role'].upper() + ': '}}{% endif %}{# Render all images first #}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{# Render all text next #}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)

TEMPLATE_B = """\
{%- if messages[0]['role'] == 'system' %}
    {%- set rest = messages[1:] %}
    {{- '<s> sys ' + messages[0]['content'][0]['text'].strip() + ' ' }}
{%- else %}
    {%- set rest = messages %}
    {{- '<s> ' }}
{%- endif %}
{%- set ns = namespace(turns=0) %}
{%- for message in rest %}
    {%- if message.role not in ['user', 'assistant'] %}
        {{- raise_exception('only user and assistant take turns') }}
    {%- endif %}
    {%- if loop.first and message.role != 'user' %}
        {{- raise_exception('the user begins') }}
    {%- endif %}
    {{- message['role'] }} {% for block in message['content'] -%}
        {%- if block.type == 'image' -%}
            <image> {%- elif block.type == 'text' %} {{ block.text | trim }}
        {%- endif %}
    {%- endfor %}
    {%- if message.role == 'assistant' %}{{ ' ' + eos_token + ' ' }}{% else %} {% endif %}
    {%- set ns.turns = ns.turns + 1 %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- 'assistant' }}
{%- endif %}
"""

CORPUS = [
    "USER: What moves in the video? ASSISTANT: The red circle moves to the left.",
    "USER: How many shapes are there? ASSISTANT: There are three shapes, two of them blue.",
    "A chat between a curious user and an artificial intelligence assistant.",
    "The green square grows and then it vanishes behind the circle.",
]

WORDS = (
    "sys user assistant what moves how many the red blue green circle square left right up down "
    "grows one two three describe it ? ."
).split()


def text(role, words):
    return {"role": role, "content": [{"type": "text", "text": words}]}


def ask(words):
    return {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": words}]}


def bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=310,
        special_tokens=["<unk>", "<s>", "</s>", "<pad>", "<image>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def word_level():
    vocabulary = ["<pad>", "<s>", "</s>", "<image>", "<unk>", *WORDS]
    ids = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in vocabulary[:5]]
    )
    return tokenizer


def randomise(model, seed):
    """Weights that spread the logits: nothing is left at zero or one, where a slip would hide."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            value = 1.0 + 0.2 * noise
        elif name.endswith("bias") or "embedding" in name and "patch" not in name:
            value = 0.3 * noise
        elif "embed_tokens" in name:
            value = 0.4 * noise
        else:
            fan_in = parameter[0].numel()
            value = (3.0 if "o_proj" in name or "down_proj" in name else 1.5) * noise / fan_in**0.5
        parameter.data.copy_(value)


@torch.no_grad()
def features(model, pixels):
    """Tower's hidden state of layer -2, projector's output, spatial-temporal pooling."""
    tower = model.model.vision_tower(pixels, output_hidden_states=True)
    hidden = tower.hidden_states[-2]
    projected = model.model.multi_modal_projector(hidden[:, 1:])  # [F, P, d]
    pooled = torch.cat([projected.mean(1), projected.mean(0)])  # [F + P, d]
    return hidden, projected.flatten(0, 1), pooled


def spliced(model, ids, rows):
    embeds = model.get_input_embeddings()(ids)
    return embeds.masked_scatter((ids == model.config.image_token_id).unsqueeze(-1), rows)[None]


class Unlucky(Exception):
    """These random weights make a poor fixture; the next seed may do better."""


@torch.no_grad()
def greedy(model, ids, rows, n=12):
    """Greedy decoding without a cache and without stopping: ids and their log-probabilities."""
    logits = model(inputs_embeds=spliced(model, ids, rows)).logits[0]
    tokens, logprobs, sequence = [], [], ids
    for _ in range(n):
        last = model(inputs_embeds=spliced(model, sequence, rows)).logits[0, -1].log_softmax(-1)
        best = last.topk(2).values
        if best[0] - best[1] < 1e-3:
            raise Unlucky("the best two tokens are too close to compare across implementations")
        tokens.append(int(last.argmax()))
        if tokens[-1] < 5:
            raise Unlucky("greedy decoding meets a special token, which a sampler may forbid")
        logprobs.append(float(last.max()))
        sequence = torch.cat([sequence, torch.tensor([tokens[-1]])])
    if len(set(tokens)) < 5:
        raise Unlucky("greedy decoding goes in circles")
    return logits, torch.tensor(tokens), torch.tensor(logprobs)


def tokens_of(tokenizer, rendered):
    """As LlavaProcessor: the post-processor's BOS unless the template wrote one."""
    add = not rendered.startswith(tokenizer.bos_token)
    return tokenizer(rendered, add_special_tokens=add)["input_ids"]


def expand(ids, image, n):
    return torch.tensor([token for i in ids for token in [i] * (n if i == image else 1)])


def make(*arguments, seed):
    """The first seed from `seed` on whose weights make a good fixture."""
    for lucky in range(seed, seed + 500):
        try:
            return attempt(*arguments, seed=lucky)
        except Unlucky as reason:
            print(arguments[0], "seed", lucky, reason)
    raise SystemExit("no seed works")


def attempt(name, tokenizer, template, vision, llama, extra, conversations, answer, shard, seed):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
    image = fast.convert_tokens_to_ids("<image>")
    size = vision.image_size
    processor = CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    LlavaProcessor(
        processor,
        fast,
        patch_size=vision.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    fast.save_pretrained(folder)
    processor.save_pretrained(folder)

    config = LlavaConfig(
        vision_config=vision, text_config=llama, image_token_index=image, **extra
    )
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config).float().eval()
    randomise(model, seed)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bos_token_id=fast.bos_token_id,
        eos_token_id=[fast.eos_token_id],
        pad_token_id=fast.pad_token_id,
        do_sample=True,
        temperature=0.7,
        top_p=0.9,
        max_new_tokens=32,
    )
    model.save_pretrained(folder, max_shard_size=shard)

    # What the file holds is what the golden values are of.
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed + 1)
    pixels = torch.randn(FRAMES, 3, size, size, generator=generator)
    hidden, projected, pooled = features(model, pixels)
    golden = {
        "pixel_values": pixels,
        "tower_hidden": hidden,
        "projected": projected,
        "pooled": pooled,
    }
    question = conversations[0]["messages"]
    prompt = fast.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    ids = tokens_of(fast, prompt)
    for path, rows in [("plain", projected), ("pooled", pooled)]:
        full = expand(ids, image, len(rows))
        logits, tokens, logprobs = greedy(model, full, rows)
        golden |= {
            f"{path}.ids": full,
            f"{path}.logits": logits,
            f"{path}.greedy": tokens,
            f"{path}.greedy_logprobs": logprobs,
        }
    with torch.no_grad():  # the plain path is what the model itself makes of three images
        own = model(input_ids=golden["plain.ids"][None], pixel_values=pixels).logits[0]
    assert torch.allclose(own, golden["plain.logits"], atol=1e-5)
    sampled = model.generate(
        input_ids=golden["plain.ids"][None],
        attention_mask=torch.ones_like(golden["plain.ids"])[None],
        pixel_values=pixels,
        generation_config=GenerationConfig(max_new_tokens=12, do_sample=False, pad_token_id=0),
    )[0, len(golden["plain.ids"]) :]
    assert sampled.tolist() == golden["plain.greedy"].tolist()

    lora_config = peft.LoraConfig(
        r=4, lora_alpha=6, lora_dropout=0.0, target_modules=LORA, task_type="CAUSAL_LM"
    )
    adapted = peft.get_peft_model(model, lora_config).eval()
    generator = torch.Generator().manual_seed(seed + 2)
    for key, parameter in adapted.named_parameters():
        if "lora_" in key:
            parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    adapted.save_pretrained(folder / "adapter")
    (folder / "adapter" / "README.md").unlink(missing_ok=True)
    full = torch.cat([golden["pooled.ids"], torch.tensor(answer)])
    logits = adapted(inputs_embeds=spliced(model, full, pooled)).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[-7:-1], full[-6:])
    loss.backward()
    golden |= {"lora.ids": full, "lora.logits": logits.detach(), "lora.loss": loss.detach()[None]}
    for key, parameter in adapted.named_parameters():
        if "lora_" in key:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, key
            module = key.removeprefix("base_model.model.").replace(".default.", ".")
            golden[f"lora.grad.{module}"] = parameter.grad
    save_file({k: v.contiguous() for k, v in golden.items()}, folder / "golden.safetensors")

    cases = []
    for conversation in conversations:
        messages, add = conversation["messages"], conversation["add_generation_prompt"]
        rendered = fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=add)
        cases.append(conversation | {"rendered": rendered, "ids": tokens_of(fast, rendered)})
    document = {
        "versions": {
            "transformers": transformers.__version__,
            "peft": peft.__version__,
            "tokenizers": tokenizers.__version__,
            "torch": torch.__version__.split("+")[0],
        },
        "frames": FRAMES,
        "patches": (size // vision.patch_size) ** 2,
        "chat": cases,
        "decode": [
            {"ids": ids, "text": fast.decode(ids, skip_special_tokens=True)}
            for ids in [c["ids"] for c in cases] + [golden["pooled.greedy"].tolist()]
        ],
    }
    (folder / "golden.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(name, "seed", seed, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def main():
    make(
        "llava-a",
        bpe(),
        TEMPLATE_A,
        CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=28,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=21,
            patch_size=7,
            projection_dim=8,
        ),
        LlamaConfig(
            vocab_size=320,
            hidden_size=24,
            intermediate_size=40,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 5000.0},
            max_position_embeddings=256,
            tie_word_embeddings=True,
        ),
        {"tie_word_embeddings": True, "image_seq_length": 9},
        [
            {"messages": [ask("What moves in the video?")], "add_generation_prompt": True},
            {
                "messages": [
                    text("system", "A chat between a curious user and an assistant."),
                    ask("Héllo, wörld!\nHow many circles? 12345 🎬"),
                    text("assistant", "There are three."),
                    text("user", "  And what then?  "),
                ],
                "add_generation_prompt": True,
            },
            {
                "messages": [ask("What moves?"), text("assistant", "The red circle.")],
                "add_generation_prompt": False,
            },
        ],
        [101, 272, 99, 288, 260, 300],
        "5GB",
        seed=17,
    )
    make(
        "llava-b",
        word_level(),
        TEMPLATE_B,
        CLIPVisionConfig(
            hidden_size=10,
            intermediate_size=13,
            num_hidden_layers=3,
            num_attention_heads=2,
            image_size=15,
            patch_size=7,
            projection_dim=8,
            hidden_act="gelu",
            layer_norm_eps=1e-6,
        ),
        LlamaConfig(
            vocab_size=31,
            hidden_size=18,
            intermediate_size=29,
            num_hidden_layers=3,
            num_attention_heads=3,
            rms_norm_eps=1e-6,
            max_position_embeddings=128,
            attention_bias=True,
            mlp_bias=True,
        ),
        {"multimodal_projector_bias": False, "image_seq_length": 4},
        [
            {"messages": [ask("what moves ?")], "add_generation_prompt": True},
            {
                "messages": [
                    text("system", " describe the video "),
                    ask(" how many circle "),
                    text("assistant", "two circle ."),
                    text("user", "what grows ?"),
                ],
                "add_generation_prompt": True,
            },
            {
                "messages": [ask("what moves ?"), text("assistant", "the red circle .")],
                "add_generation_prompt": False,
            },
        ],
        [11, 12, 15, 17, 29, 2],
        "20KB",
        seed=23,
    )


if __name__ == "__main__":
    main()
