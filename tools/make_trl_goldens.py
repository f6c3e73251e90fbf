"""Makes crates/rlaif-objective/tests/golden/trl.json: TRL's own results on small random inputs.

Pinned: benches/peers/requirements.txt, and the unpacked wheel of trl 1.12.0, the last release with
PPO (1.13 dropped it). Run from the repository root:

    python3 -m venv .venv && .venv/bin/pip install -r benches/peers/requirements.txt
    .venv/bin/pip download --no-deps -d trl-ppo trl==1.12.0 && unzip -d trl-ppo trl-ppo/*.whl
    .venv/bin/python tools/make_trl_goldens.py trl-ppo

No formula of TRL is retyped here. What is a method is called, on an object that holds no more than
the attributes that the method reads, with a model that answers with preset numbers. PPO's GAE and
losses stand in the middle of `PPOTrainer.train`: those statements are cut out of the installed
source by their syntax tree and executed. What each piece was made with is under "made_with".
"""

import ast
import json
import re
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import torch
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

OUT = Path("crates/rlaif-objective/tests/golden/trl.json")
SEED = 25
GENERATOR = torch.Generator().manual_seed(SEED)
PPO_VERSION = "1.12.0"


def normal(*shape, scale=1.0, shift=0.0):
    return shift + scale * torch.randn(shape, generator=GENERATOR)


def numbers(tensor):
    return tensor.detach().flatten().tolist()


class Accelerator:
    """One process: what is gathered is what there is."""

    device = torch.device("cpu")
    process_index = 0
    num_processes = 1

    def gather(self, x):
        return x

    gather_for_metrics = gather

    def reduce(self, x, reduction):
        return x


def trainer(**attributes):
    """The attributes that a loss reads, in training mode."""
    return SimpleNamespace(
        accelerator=Accelerator(),
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        aux_loss_enabled=False,
        **attributes,
    )


def reward(coefficient):
    """RewardTrainer.compute_loss; the first half of the batch is the chosen answers."""
    logits = normal(10, 1, scale=1.5).requires_grad_()
    loss = RewardTrainer.compute_loss(
        trainer(args=SimpleNamespace(center_rewards_coefficient=coefficient)),
        _training(lambda **_: SimpleNamespace(logits=logits)),
        {"attention_mask": torch.ones(10, 4)},
    )
    loss.backward()
    chosen, rejected = logits.chunk(2)
    by_chosen, by_rejected = logits.grad.chunk(2)
    return {
        "center_rewards_coefficient": coefficient or 0.0,
        "chosen": numbers(chosen),
        "rejected": numbers(rejected),
        "loss": loss.item(),
        "chosen_gradient": numbers(by_chosen),
        "rejected_gradient": numbers(by_rejected),
    }


def _training(function):
    function.training = True
    return function


def dpo(beta):
    """DPOTrainer._compute_loss on log-probabilities of tokens; prompt and padding are masked."""
    lens, prompt, width = [3, 5, 1, 4, 2, 6, 4, 5], 2, 9
    mask = torch.zeros(len(lens), width)
    for row, length in enumerate(lens):
        mask[row, prompt : prompt + length] = 1
    # A model's own log-probabilities are 0 where the label is masked.
    logps = (normal(len(lens), width - 1, shift=-2.0) * mask[:, 1:]).requires_grad_()
    ref = normal(len(lens), scale=2.0, shift=-7.0)
    zeros = torch.zeros(len(lens), width - 1)
    outputs = SimpleNamespace(
        log_probs=logps, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool()
    )
    this = trainer(
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=["sigmoid"],
        loss_weights=[1.0],
        beta=beta,
        use_weighting=False,
    )
    loss = DPOTrainer._compute_loss(
        this,
        _training(lambda **_: outputs),
        {
            "input_ids": torch.ones_like(mask, dtype=torch.long),
            "attention_mask": torch.ones_like(mask),
            "completion_mask": mask,
            "ref_chosen_logps": ref[:4],
            "ref_rejected_logps": ref[4:],
        },
        False,
    )
    loss.backward()
    # The gradient is the same for every token of an answer.
    by_answer = (logps.grad * mask[:, 1:]).sum(1) / mask[:, 1:].sum(1)
    sums = logps.sum(1)
    return {
        "beta": beta,
        "chosen": numbers(sums[:4]),
        "rejected": numbers(sums[4:]),
        "ref_chosen": numbers(ref[:4]),
        "ref_rejected": numbers(ref[4:]),
        "loss": loss.item(),
        "mean_chosen_reward": this._metrics["train"]["rewards/chosen"][0],
        "mean_rejected_reward": this._metrics["train"]["rewards/rejected"][0],
        "chosen_gradient": numbers(by_answer[:4]),
        "rejected_gradient": numbers(by_answer[4:]),
    }


def ragged(tensor, lens):
    """Rows without their padding, end to end."""
    return [x for row, length in zip(tensor, lens, strict=True) for x in numbers(row[:length])]


def rloo(beta):
    """Advantages from RLOOTrainer._generate_and_score_completions, loss from its _compute_loss."""
    group, lens = 3, [2, 4, 1, 5, 3, 5]
    ids = [[7] * length for length in lens]
    old, ref = (normal(6, 5, scale=0.4, shift=-2.0) for _ in range(2))
    answers = iter([(old, None, None), (ref, None, None)])
    scores = normal(6, scale=2.0)
    args = SimpleNamespace(
        per_device_train_batch_size=6, per_device_eval_batch_size=6, gradient_checkpointing_kwargs=None
    )
    this = trainer(
        args=args,
        _tokenizer=SimpleNamespace(pad_token_id=0),
        pad_to_multiple_of=None,
        mask_truncated_completions=False,
        beta=beta,
        ref_model=SimpleNamespace(),
        num_generations=group,
        reward_weights=torch.ones(1),
        reward_clip_range=None,
        normalize_advantages=False,
        reward_func_names=["preset"],
        epsilon_low=0.2,
        epsilon_high=0.2,
        _logs={
            "prompt": [],
            "completion": [],
            "rewards": defaultdict(list),
            "advantages": [],
            "extra": defaultdict(list),
        },
        _pending_extra_logs={},
        _pending_metrics={},
    )
    this.model.is_gradient_checkpointing = False
    this.model.modules = lambda: []
    this._generate = lambda prompts: ([[5, 6]] * 6, ids, ["text"] * 6)
    this._calculate_rewards = lambda *_: scores.unsqueeze(1)
    this._get_per_token_logps_and_entropies = lambda *_, **__: next(answers)
    batch = RLOOTrainer._generate_and_score_completions(this, [{"prompt": "what"}] * 6)

    new = (old + normal(6, 5, scale=0.25)).requires_grad_()
    this._get_per_token_logps_and_entropies = lambda *_, **__: (new, torch.zeros(6, 5), None)
    loss = RLOOTrainer._compute_loss(this, None, batch)
    loss.backward()
    metrics = this._metrics["train"]
    low, high = (round(6 * metrics[f"clip_ratio/{side}_mean"][0]) for side in ("low", "high"))
    return {
        "beta": beta,
        "group": group,
        "lens": lens,
        "scores": numbers(scores),
        "logprobs": ragged(new, lens),
        "old_logprobs": ragged(old, lens),
        "ref_logprobs": ragged(ref, lens),
        "advantages": numbers(batch["advantages"]),
        "loss": loss.item(),
        "gradient": ragged(new.grad, lens),
        "clipped_low": low,
        "clipped_high": high,
    }


def cut(tree, first, last):
    """The consecutive statements of one block from the one that begins with `first` to `last`."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        texts = [ast.unparse(statement) for statement in body]
        starts = [i for i, text in enumerate(texts) if text.startswith(first)]
        ends = [i for i, text in enumerate(texts) if text.startswith(last)]
        if len(starts) == 1 and ends and ends[-1] > starts[0]:
            module = ast.Module(body[starts[0] : ends[-1] + 1], type_ignores=[])
            return compile(module, "PPOTrainer.train", "exec")
    raise SystemExit(f"no block of PPOTrainer.train goes from {first!r} to {last!r}")


def ppo(source, gamma, lam, lens):
    """PPOTrainer.train's statements from the padding mask to the loss."""
    tree = ast.parse(source)
    space = {"torch": torch}
    helpers = {"masked_mean", "masked_var", "masked_whiten"}
    kept = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and node.name in helpers
        or isinstance(node, ast.Assign)
        and ast.unparse(node).startswith("INVALID_LOGPROB")
    ]
    assert len(kept) == len(helpers) + 1
    exec(compile(ast.Module(kept, type_ignores=[]), "ppo_trainer", "exec"), space)
    whiten, before = space["masked_whiten"], []

    def spy(values, mask, **keywords):
        before.append(values.clone())
        return whiten(values, mask, **keywords)

    rows, width = len(lens), max(lens)
    old = normal(rows, width, shift=-2.0, scale=0.5)
    new = (old + normal(rows, width, scale=0.4)).requires_grad_()
    values = normal(rows, width)
    vpred = (values + normal(rows, width, scale=0.3)).requires_grad_()
    reference, scores = old + normal(rows, width, scale=0.3), normal(rows, scale=2.0)
    space |= {
        "masked_whiten": spy,
        "args": SimpleNamespace(
            kl_estimator="k1",
            kl_coef=0.1,
            gamma=gamma,
            lam=lam,
            whiten_rewards=False,
            cliprange=0.2,
            cliprange_value=0.2,
            vf_coef=0.1,
        ),
        "responses": torch.ones(rows, width, dtype=torch.long),
        # TRL's `sequence_lengths` are indices of last tokens.
        "sequence_lengths": torch.tensor(lens) - 1,
        "logprobs": old,
        "ref_logprobs": reference,
        "values": values,
        "scores": scores,
    }
    begin, end = "response_idxs = ", "advantages = torch.masked_fill(advantages, padding_mask, 0)"
    exec(cut(tree, begin, end), space)
    unwhitened = before[0]
    assert len(before) == 1
    space |= {
        "micro_batch_inds": torch.arange(rows),
        "context_length": 1,
        "new_logprobs": new,
        "vpred_temp": torch.cat([vpred, torch.zeros(rows, 1)], 1).unsqueeze(-1),
        "mb_advantage": space["advantages"],
        "mb_logprobs": space["logprobs"],
        "mb_return": space["returns"],
        "mb_values": space["values"],
    }
    exec(cut(tree, "new_logprobs = torch.masked_fill", "loss = pg_loss"), space)
    space["pg_loss"].backward(retain_graph=True)
    space["vf_loss"].backward()
    assert 0.0 in ragged(new.grad, lens) and space["vf_clipfrac"] > 0, f"nothing is clipped: {lens}"
    # The value function has one slot more than tokens, where there is room for it.
    slots = [min(length + 1, width) for length in lens]
    return {
        "gamma": gamma,
        "lam": lam,
        "kl_coef": 0.1,
        "cliprange": 0.2,
        "cliprange_value": 0.2,
        "lens": lens,
        "slots": slots,
        "scores": numbers(scores),
        "old_logprobs": ragged(old, lens),
        "ref_logprobs": ragged(reference, lens),
        "logprobs": ragged(new, lens),
        "old_values": ragged(values, slots),
        "values": ragged(vpred, slots),
        "rewards": ragged(space["rewards"], slots),
        "advantages": ragged(unwhitened, slots),
        "returns": ragged(space["returns"], slots),
        "whitened": ragged(space["advantages"], lens),
        "policy_loss": space["pg_loss"].item(),
        "policy_gradient": ragged(new.grad, lens),
        "value_loss": space["vf_loss"].item(),
        "value_gradient": ragged(vpred.grad, slots),
        "value_clip_fraction": space["vf_clipfrac"].item(),
    }


def main():
    wheel = Path(sys.argv[1])
    assert list(wheel.glob(f"trl-{PPO_VERSION}.dist-info")), f"not an unpacked trl {PPO_VERSION}"
    source = (wheel / "trl/experimental/ppo/ppo_trainer.py").read_text()
    document = {
        "versions": {
            "trl": version("trl"),
            "trl for ppo": PPO_VERSION,
            "transformers": version("transformers"),
            "torch": torch.__version__.split("+")[0],
        },
        "made_with": {
            "reward": "RewardTrainer.compute_loss, called on preset scores",
            "dpo": "DPOTrainer._compute_loss, called on preset log-probabilities of tokens",
            "rloo": "RLOOTrainer._generate_and_score_completions and _compute_loss, called on preset "
            "log-probabilities and scores",
            "ppo": "statements of PPOTrainer.train, cut out of its source and executed; masked_mean, "
            "masked_var and masked_whiten of the same file",
            "retyped": "nothing",
        },
        "reward": [reward(coefficient) for coefficient in (None, 0.01, 0.3)],
        "dpo": [dpo(beta) for beta in (0.1, 0.5)],
        "rloo": [rloo(beta) for beta in (0.0, 0.05, 0.5)],
        "ppo": [
            ppo(source, 1.0, 1.0, [4, 4, 4]),
            ppo(source, 0.97, 0.9, [4, 4, 4]),
            ppo(source, 1.0, 1.0, [2, 5, 1, 4]),
            ppo(source, 1.0, 0.95, [2, 5, 1, 4]),
        ],
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=1)
    # Lists of numbers on one line each.
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text)
    OUT.write_text(text + "\n")
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
