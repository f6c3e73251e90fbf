"""Makes crates/rlaif-model/tests/fixtures/sentencepiece: a tokenizer.model of Llama's kind with
what SentencePiece and transformers make of some texts.

Pinned: sentencepiece==0.2.3 protobuf==7.36.2 transformers==5.24.0. Run from the repository root:

    .venv/bin/python tools/make_sentencepiece_fixtures.py

golden.json: `plain`: texts without special tokens, ids by SentencePiece itself, BOS first.
`special`: texts with special tokens, ids by transformers' LlamaTokenizer from tokenizer.model.
`legacy`: the same by LlamaConverter's rules with legacy=True (normalizer instead of Metaspace).
`prompts`: conversations in vicuna_v1, tokenised around <image> as the original LLaVA code does
(`tokenizer_image_token`): each stretch by itself, the later ones without their BOS, -200 between.
`decode`: ids and their text. unigram.model: a model of another kind, which is refused.
"""

import json
import shutil
from pathlib import Path

import sentencepiece as spm
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, processors
from transformers import LlamaTokenizer

OUT = Path("crates/rlaif-model/tests/fixtures/sentencepiece")

CORPUS = [
    "A chat between a curious user and an artificial intelligence assistant.",
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "USER: What moves in the video? ASSISTANT: The red circle moves to the left.",
    "USER: How many shapes are there? ASSISTANT: There are 3 shapes, 2 of them blue.",
    "The green square grows and then it vanishes behind the circle, slowly at first.",
    "def f(x):\n    return x + 1  # two  spaces",
    "Wie viele Kreise bewegen sich? Drei, und sie werden größer.",
] * 3

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the user's questions. "
)


def train(prefix, kind, **extra):
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_prefix=str(OUT / prefix),
        model_type=kind,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=True,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
        **extra,
    )
    (OUT / f"{prefix}.vocab").unlink()


def converted(fast, legacy):
    """The tokenizer that LlamaConverter would build with legacy=True."""
    state = json.loads(fast.backend_tokenizer.to_str())["model"]
    tokenizer = Tokenizer(
        models.BPE(
            vocab=state["vocab"],
            merges=[tuple(pair) for pair in state["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    assert legacy
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [transformers.AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def around_image(encode, prompt):
    """The original code's tokenizer_image_token."""
    chunks = [encode(chunk) for chunk in prompt.split("<image>")]
    assert all(chunk[0] == 1 for chunk in chunks)
    ids = [1]
    for index, chunk in enumerate(chunks):
        ids += ([-200] if index else []) + chunk[1:]
    return ids


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    train("tokenizer", "bpe", byte_fallback=True, vocab_size=420, split_digits=True,
          allow_whitespace_only_pieces=True)
    train("unigram", "unigram", vocab_size=90)
    (OUT / "tokenizer_config.json").write_text(
        json.dumps({"legacy": False, "add_bos_token": True, "tokenizer_class": "LlamaTokenizer"})
        + "\n"
    )
    # Enough to say whose layout this is.
    config = {"architectures": ["LlavaLlamaForCausalLM"], "model_type": "llava"}
    (OUT / "config.json").write_text(json.dumps(config) + "\n")

    sp = spm.SentencePieceProcessor(model_file=str(OUT / "tokenizer.model"))
    fast = LlamaTokenizer.from_pretrained(OUT, legacy=False)
    legacy = converted(fast, True)
    plain = CORPUS[:7] + [
        "What moves?", "größer 12345 Ünïcödé 🎬 日本語", "two  spaces   three", "trailing ",
        "\nnewline first", "tabs\tand\r\nmore", "a", "", "x" * 40, "ASSISTANT:",
    ]
    special = [
        "USER: What moves? ASSISTANT: The circle.</s>USER: And then? ASSISTANT:",
        "<s>What</s></s> moves", "unknown <unk> here", "a</s> b",
    ]
    # SentencePiece's own algorithm and its conversion agree, or the fixture would prove nothing.
    for text in plain:
        if text and not text.startswith(" "):
            assert fast(text)["input_ids"] == [1, *sp.encode(text)], text
    questions = ["What moves in the video?", "How many circles? 12345\nAnd squares?"]
    prompts = []
    for question in questions:
        prompt = f"{SYSTEM}USER: <image>\n{question} ASSISTANT:"
        ids = around_image(lambda chunk: [1, *sp.encode(chunk)], prompt)
        assert ids == around_image(lambda chunk: fast(chunk)["input_ids"], prompt)
        prompts.append({"question": question, "rendered": prompt, "ids": ids})
    golden = {
        "versions": {"transformers": transformers.__version__, "sentencepiece": spm.__version__},
        "vocabulary": sp.get_piece_size(),
        "plain": [{"text": t, "ids": [1, *sp.encode(t)]} for t in plain],
        "special": [{"text": t, "ids": fast(t)["input_ids"]} for t in special],
        "legacy": [{"text": t, "ids": legacy.encode(t).ids} for t in special + plain[:8]],
        "prompts": prompts,
        "decode": [
            {"ids": sp.encode(t), "text": sp.decode(sp.encode(t))} for t in plain[:10] if t
        ],
    }
    text = json.dumps(golden, indent=1, ensure_ascii=False)
    (OUT / "golden.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
