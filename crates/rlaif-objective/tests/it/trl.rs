//! TRL's own results, `tests/golden/trl.json`, written by `tools/make_trl_goldens.py`.

use burn::tensor::Tensor;
use rlaif_objective::{
    DpoInput, GrpoInput, GrpoKnobs, RlooInput, ValueInput, bradley_terry, dpo, gae, grpo,
    leave_one_out, rloo, shaped_rewards, value_loss, whiten,
};
use serde_json::Value;

use crate::support::{assert_close, host, plain, tracked, wide};

fn golden(section: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/trl.json");
    let text = std::fs::read_to_string(path).expect("it is committed");
    let mut document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["versions"]["trl"], "1.16.0");
    let Value::Array(cases) = document[section].take() else { panic!("no {section}") };
    assert!(cases.len() > 1, "{section}");
    cases
}

fn number(case: &Value, name: &str) -> f64 {
    case[name].as_f64().expect(name)
}

fn list(case: &Value, name: &str) -> Vec<f64> {
    let values = case[name].as_array().expect(name);
    values.iter().map(|value| value.as_f64().expect(name)).collect()
}

fn lens(case: &Value, name: &str) -> Vec<usize> {
    let values = case[name].as_array().expect(name);
    values.iter().map(|len| usize::try_from(len.as_u64().expect(name)).expect(name)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "tensors hold f32")]
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn even(n: usize) -> Tensor<1> {
    plain(&vec![1.0 / n as f64; n]).autodiff()
}

/// Rows of the given lengths, laid end to end in `values`.
fn rows<'a>(values: &'a [f64], lens: &[usize]) -> Vec<&'a [f64]> {
    assert_eq!(lens.iter().sum::<usize>(), values.len());
    let mut rest = values;
    lens.iter()
        .map(|len| {
            let (row, tail) = rest.split_at(*len);
            rest = tail;
            row
        })
        .collect()
}

#[test]
fn the_reward_loss_is_that_of_the_reward_trainer() {
    for case in golden("reward") {
        let (chosen, rejected) =
            (tracked(&list(&case, "chosen")), tracked(&list(&case, "rejected")));
        let weights = even(chosen.dims()[0]);
        let lambda = number(&case, "center_rewards_coefficient");
        let loss = bradley_terry(chosen.clone(), rejected.clone(), weights, lambda);
        assert_close(&host(&loss), &[number(&case, "loss")], "loss");
        let gradients = loss.backward();
        for (leaf, name) in [(chosen, "chosen_gradient"), (rejected, "rejected_gradient")] {
            assert_close(&host(&leaf.grad(&gradients).unwrap()), &list(&case, name), name);
        }
    }
}

#[test]
fn the_dpo_loss_is_that_of_the_dpo_trainer() {
    for case in golden("dpo") {
        let constant = |name: &str| plain(&list(&case, name)).autodiff();
        let (chosen, rejected) =
            (tracked(&list(&case, "chosen")), tracked(&list(&case, "rejected")));
        let n = chosen.dims()[0];
        let output = dpo(
            DpoInput {
                chosen: chosen.clone(),
                rejected: rejected.clone(),
                ref_chosen: constant("ref_chosen"),
                ref_rejected: constant("ref_rejected"),
                weights: even(n),
            },
            number(&case, "beta"),
        );
        assert_close(&host(&output.loss), &[number(&case, "loss")], "loss");
        let mean = |rewards: &Tensor<1>| host(rewards).iter().sum::<f64>() / n as f64;
        let means = [mean(&output.chosen_rewards), mean(&output.rejected_rewards)];
        let expected = [number(&case, "mean_chosen_reward"), number(&case, "mean_rejected_reward")];
        assert_close(&means, &expected, "rewards");
        let gradients = output.loss.backward();
        for (leaf, name) in [(chosen, "chosen_gradient"), (rejected, "rejected_gradient")] {
            assert_close(&host(&leaf.grad(&gradients).unwrap()), &list(&case, name), name);
        }
    }
}

/// From scores to advantages, the KL subtracted on the way, and from advantages to the loss.
#[test]
fn rloo_is_that_of_the_rloo_trainer() {
    let mut clipped = 0.0;
    for case in golden("rloo") {
        let lens = lens(&case, "lens");
        let (old, reference) = (list(&case, "old_logprobs"), list(&case, "ref_logprobs"));
        let penalties = rows(&old, &lens)
            .into_iter()
            .zip(rows(&reference, &lens))
            .map(|(old, reference)| old.iter().sum::<f64>() - reference.iter().sum::<f64>());
        let beta = number(&case, "beta");
        let rewards: Vec<f64> =
            list(&case, "scores").iter().zip(penalties).map(|(s, kl)| s - beta * kl).collect();
        let group = usize::try_from(case["group"].as_u64().expect("group")).expect("small");
        let advantages: Vec<f64> = rewards.chunks_exact(group).flat_map(leave_one_out).collect();
        assert_close(&advantages, &list(&case, "advantages"), "advantages");

        let logprobs = tracked(&list(&case, "logprobs"));
        let output = rloo(
            RlooInput {
                logprobs: logprobs.clone(),
                old_logprobs: plain(&old).autodiff(),
                weights: narrow(&vec![1.0 / lens.len() as f64; lens.len()]),
                lens,
                advantages: narrow(&advantages),
            },
            0.2,
            0.2,
        );
        assert_close(&host(&output.loss), &[number(&case, "loss")], "loss");
        assert_close(&host(&output.clipped_low), &[number(&case, "clipped_low")], "low");
        assert_close(&host(&output.clipped_high), &[number(&case, "clipped_high")], "high");
        clipped += number(&case, "clipped_low") + number(&case, "clipped_high");
        let gradient = host(&logprobs.grad(&output.loss.backward()).unwrap());
        assert_close(&gradient, &list(&case, "gradient"), "gradient");
    }
    assert!(clipped > 0.0);
}

/// On TRL's own slots, one more than tokens where a response is shorter than its batch.
#[test]
fn the_recursion_of_gae_is_that_of_the_ppo_trainer() {
    for case in golden("ppo") {
        let slots = lens(&case, "slots");
        let (rewards, values) = (list(&case, "rewards"), list(&case, "old_values"));
        let (mut advantages, mut returns) = (Vec::new(), Vec::new());
        for (rewards, values) in rows(&rewards, &slots).into_iter().zip(rows(&values, &slots)) {
            let (gamma, lam) = (number(&case, "gamma"), number(&case, "lam"));
            let (a, r) = gae(&narrow(rewards), &narrow(values), gamma, lam);
            advantages.extend(wide(&a));
            returns.extend(wide(&r));
        }
        assert_close(&advantages, &list(&case, "advantages"), "advantages");
        assert_close(&returns, &list(&case, "returns"), "returns");
    }
}

/// TRL pays the score of a shorter response one slot after its last token. Without discount the
/// tokens' advantages are ours all the same; with λ < 1 the value of that slot enters them.
#[test]
fn rewards_and_advantages_of_tokens_are_those_of_the_ppo_trainer_where_lambda_is_one() {
    let mut differ = 0;
    for case in golden("ppo") {
        let (lens, slots) = (lens(&case, "lens"), lens(&case, "slots"));
        let [old, reference] = ["old_logprobs", "ref_logprobs"].map(|name| list(&case, name));
        let [rewards, advantages, values] =
            ["rewards", "advantages", "old_values"].map(|name| list(&case, name));
        let scores = list(&case, "scores");
        for (i, len) in lens.iter().enumerate() {
            let [old, reference] = [&old, &reference].map(|values| narrow(rows(values, &lens)[i]));
            let [rewards, advantages, values] =
                [&rewards, &advantages, &values].map(|values| rows(values, &slots)[i]);
            let ours = shaped_rewards(scores[i], &old, &reference, number(&case, "kl_coef"));
            let mut theirs = rewards[..*len].to_vec();
            theirs[len - 1] += rewards[*len..].iter().sum::<f64>();
            assert_close(&wide(&ours), &theirs, "rewards");
            let (gamma, lam) = (number(&case, "gamma"), number(&case, "lam"));
            let (ours, _) = gae(&ours, &narrow(&values[..*len]), gamma, lam);
            if lam < 1.0 && slots[i] > *len {
                differ += usize::from((wide(&ours)[len - 1] - advantages[len - 1]).abs() > 0.01);
            } else {
                assert_close(&wide(&ours), &advantages[..*len], "advantages");
            }
        }
    }
    assert_eq!(differ, 3, "shorter responses of the case with λ below 1");
}

/// Whitened advantages, policy loss and value loss, TRL's masks as what is left out.
#[test]
fn the_losses_are_those_of_the_ppo_trainer() {
    for case in golden("ppo") {
        let (lens, slots) = (lens(&case, "lens"), lens(&case, "slots"));
        let advantages = list(&case, "advantages");
        let tokens =
            rows(&advantages, &slots).into_iter().zip(&lens).flat_map(|(a, len)| &a[..*len]);
        let mut whitened = narrow(&tokens.copied().collect::<Vec<f64>>());
        whiten(&mut whitened);
        assert_close(&wide(&whitened), &list(&case, "whitened"), "whitened");

        let logprobs = tracked(&list(&case, "logprobs"));
        let n = whitened.len();
        let cliprange = number(&case, "cliprange");
        let output = grpo(
            GrpoInput {
                logprobs: logprobs.clone(),
                entropy: plain(&vec![0.0; n]).autodiff(),
                old_logprobs: plain(&list(&case, "old_logprobs")).autodiff(),
                ref_logprobs: None,
                advantages: plain(&wide(&whitened)).autodiff(),
                weights: even(n),
            },
            &GrpoKnobs {
                epsilon_low: cliprange,
                epsilon_high: cliprange,
                beta: 0.0,
                entropy_coef: 0.0,
            },
        );
        assert_close(&host(&output.loss), &[number(&case, "policy_loss")], "policy loss");
        let gradient = host(&logprobs.grad(&output.loss.backward()).unwrap());
        assert_close(&gradient, &list(&case, "policy_gradient"), "policy gradient");
        assert!(gradient.contains(&0.0), "some tokens are clipped");

        let values = tracked(&list(&case, "values"));
        let n = slots.iter().sum();
        let constant = |name: &str| plain(&list(&case, name)).autodiff();
        let output = value_loss(
            ValueInput {
                values: values.clone(),
                old_values: constant("old_values"),
                returns: constant("returns"),
                weights: even(n),
            },
            number(&case, "cliprange_value"),
        );
        assert_close(&host(&output.loss), &[number(&case, "value_loss")], "value loss");
        let clipped = number(&case, "value_clip_fraction") * n as f64;
        assert!(clipped > 0.5, "some values are clipped");
        assert_close(&host(&output.clipped), &[clipped], "clipped");
        let gradient = host(&values.grad(&output.loss.backward()).unwrap());
        assert_close(&gradient, &list(&case, "value_gradient"), "value gradient");
    }
}
