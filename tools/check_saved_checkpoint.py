"""Checks a checkpoint folder that this project saved against transformers.

    python tools/check_saved_checkpoint.py DIR                     opens, every tensor accounted for?
    python tools/check_saved_checkpoint.py DIR RESULT.json [--pixels PIXELS.safetensors]
                                           [--adapter DIR] [--tolerance 1e-4]

Needs torch, transformers (5.x; 4.52 and later should do) and, for --adapter, peft.

RESULT.json is one object:
  prompt_ids     token ids of the prompt, one image token per visual token
  pixel_values   [F, 3, H, W] nested lists; or --pixels with a tensor of that name
  tokens         generated token ids
  logprobs       their log-probabilities, under the softmax over the tokens not in
  forbidden_ids  (may be absent: none)
  logits         optional, [len(tokens), vocabulary]: what each token was chosen from
  prompt, messages  optional: chat messages and the text that they rendered to
A LLaVA's frames are pooled as DIR/config.json says (`video_pooling`); SmolVLM2 opens, too. Prints one JSON object and exits
with 0 when everything agrees, 1 otherwise.
"""

import argparse
import json
import sys

import torch
import transformers
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoTokenizer


def visual_rows(model, pixels):
    """[F, 3, H, W] to the rows that stand in the image tokens' places."""
    config = model.config
    if config.model_type == "smolvlm":
        return model.model.get_image_features(pixels[None], return_dict=True).pooler_output[0]
    tower = model.model.vision_tower(pixels, output_hidden_states=True)
    hidden = tower.hidden_states[config.vision_feature_layer][:, 1:]
    projected = model.model.multi_modal_projector(hidden)  # [F, P, d]
    pooling = getattr(config, "video_pooling", "none")
    if pooling == "spatial_temporal":
        return torch.cat([projected.mean(1), projected.mean(0)])
    assert pooling == "none", pooling
    return projected.flatten(0, 1)


@torch.no_grad()
def compare(base, model, tokenizer, result, pixels):
    prompt, tokens = torch.tensor(result["prompt_ids"]), torch.tensor(result["tokens"])
    ids = torch.cat([prompt, tokens])
    embeds = base.get_input_embeddings()(ids)
    places = torch.zeros(len(ids), dtype=torch.bool)
    places[: len(prompt)] = prompt == base.config.image_token_id
    report = {"visual_tokens": int(places.sum())}
    if pixels is not None:
        rows = visual_rows(base, pixels)
        if len(rows) != report["visual_tokens"]:
            return report | {"visual_rows": len(rows), "ok": False}
        embeds = embeds.masked_scatter(places.unsqueeze(-1), rows)
    logits = model(inputs_embeds=embeds[None]).logits[0, len(prompt) - 1 : -1].float()
    masked = logits.clone()
    masked[:, result.get("forbidden_ids", [])] = -torch.inf
    logprobs = masked.log_softmax(-1)
    chosen = logprobs.gather(1, tokens[:, None])[:, 0]
    report["max_abs_logprob_difference"] = float(
        (chosen - torch.tensor(result["logprobs"])).abs().max()
    )
    report["greedy_tokens_equal"] = bool((masked.argmax(-1) == tokens).all())
    if "logits" in result:
        report["max_abs_logit_difference"] = float(
            (logits - torch.tensor(result["logits"])).abs().max()
        )
    if "messages" in result and "prompt" in result:
        rendered = tokenizer.apply_chat_template(
            result["messages"], tokenize=False, add_generation_prompt=True
        )
        report["prompt_equal"] = rendered == result["prompt"]
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir")
    parser.add_argument("result", nargs="?")
    parser.add_argument("--pixels")
    parser.add_argument("--adapter")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    arguments = parser.parse_args()

    model, info = AutoModelForImageTextToText.from_pretrained(
        arguments.dir, dtype=torch.float32, output_loading_info=True
    )
    base = model.eval()
    tokenizer = AutoTokenizer.from_pretrained(arguments.dir)
    report = {
        "transformers": transformers.__version__,
        "loading": {key: sorted(map(str, value)) for key, value in info.items() if value},
        "image_token": tokenizer.convert_ids_to_tokens(base.config.image_token_id),
        "eos_token": tokenizer.eos_token,
        "has_chat_template": tokenizer.chat_template is not None,
    }
    ok = not report["loading"] and report["has_chat_template"]
    if arguments.adapter:
        import peft

        # PEFT changes the model in place; `base` keeps its own access to tower and embeddings.
        model = peft.PeftModel.from_pretrained(base, arguments.adapter).eval()
        stored = load_file(f"{arguments.adapter}/adapter_model.safetensors")
        loaded = peft.get_peft_model_state_dict(model)
        report["adapter_tensors"] = len(stored)
        report["adapter_equal"] = stored.keys() == loaded.keys() and all(
            torch.equal(value, loaded[key]) for key, value in stored.items()
        )
        ok = ok and report["adapter_equal"]
    if arguments.result:
        with open(arguments.result) as file:
            result = json.load(file)
        pixels = None
        if arguments.pixels:
            pixels = load_file(arguments.pixels)["pixel_values"]
        elif "pixel_values" in result:
            pixels = torch.tensor(result["pixel_values"])
        report |= compare(base, model, tokenizer, result, pixels)
        numbers = [value for key, value in report.items() if key.startswith("max_abs")]
        ok = ok and report.get("ok", True) and report.get("prompt_equal", True)
        ok = ok and bool(numbers) and all(value <= arguments.tolerance for value in numbers)
    report["ok"] = ok
    print(json.dumps(report, indent=1))
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
