//! Divergence from the reference policy, estimated from the sampled token or exact.

use burn::tensor::{Tensor, activation};

/// `k3`: unbiased, non-negative estimate from the sampled token, `[N]`.
///
/// ```text
/// d = log π_ref - log π_θ        KL ≈ exp(d) - d - 1
/// ```
///
/// Source: Schulman 2020, "Approximating KL divergence"; GRPO, arXiv:2402.03300, Eq. 4.
#[must_use]
pub fn k3(logprobs: Tensor<1>, ref_logprobs: Tensor<1>) -> Tensor<1> {
    let d = ref_logprobs - logprobs;
    d.clone().exp() - d - 1.0
}

/// Hidden states and heads of policy and reference, for [`exact_kl`].
#[derive(Clone, Debug)]
pub struct ExactKl<'a> {
    /// Policy's normalised hidden states, tracked, `[N, D]`.
    pub hidden: Tensor<2>,
    /// Policy's head, tracked where it is trained, `[V, D]`.
    pub head: Tensor<2>,
    /// Reference's hidden states, plain device, `[N, D]`.
    pub ref_hidden: Tensor<2>,
    /// Reference's head, plain device, `[V, D]`.
    pub ref_head: Tensor<2>,
    /// Weight of each token, `[N]`.
    pub weights: &'a [f32],
    /// Tokens that have no probability under either policy.
    pub forbidden: &'a [u32],
    /// Tokens taken at a time: bounds the memory at `chunk * V` logits.
    pub chunk: usize,
}

/// `Σ_t w_t KL(π_θ || π_ref)` over the whole vocabulary, and `Σ_t KL_t` for the metrics.
///
/// ```text
/// KL_t = Σ_v π_θ(v) (log π_θ(v) - log π_ref(v))
/// ```
///
/// Taken in chunks, each differentiated on its own, so that logits of the whole batch are never
/// held: the value returned carries the gradient `∂/∂hidden` and, where the head is trained,
/// `∂/∂head`.
#[must_use]
pub fn exact_kl(input: &ExactKl<'_>) -> (Tensor<1>, f64) {
    let [n, _] = input.hidden.dims();
    let train_head = input.head.is_tracked();
    let plain_hidden = input.hidden.clone().inner();
    let plain_head = input.head.clone().inner();
    let mut hidden_gradients = Vec::new();
    let mut head_gradient: Option<Tensor<2>> = None;
    let mut kl_sum = 0.0;
    let mut weighted = 0.0;
    let mut start = 0;
    while start < n {
        let len = input.chunk.max(1).min(n - start);
        let hidden = plain_hidden.clone().narrow(0, start, len).autodiff().require_grad();
        let head = plain_head.clone().autodiff();
        let head = if train_head { head.require_grad() } else { head };
        let reference = log_probabilities(
            input.ref_hidden.clone().narrow(0, start, len),
            input.ref_head.clone(),
            input.forbidden,
        );
        let policy = log_probabilities(hidden.clone(), head.clone(), input.forbidden);
        let kl = (policy.clone().exp() * (policy - reference.autodiff())).sum_dim(1); // [len, 1]
        kl_sum += f64::from(kl.clone().inner().sum().into_scalar::<f32>());
        let weights = Tensor::<1>::from_data(&input.weights[start..start + len], &kl.device())
            .reshape([len, 1]);
        let loss = (kl * weights).sum();
        weighted += f64::from(loss.clone().inner().into_scalar::<f32>());
        let gradients = loss.backward();
        if let Some(gradient) = hidden.grad(&gradients) {
            hidden_gradients.push(gradient);
        }
        if let Some(gradient) = head.grad(&gradients) {
            head_gradient = Some(match head_gradient {
                Some(sum) => sum + gradient,
                None => gradient,
            });
        }
        start += len;
    }
    // Carries the gradients; its own value is replaced by the weighted sum.
    let mut carrier = carry(input.hidden.clone(), Tensor::cat(hidden_gradients, 0));
    if let Some(gradient) = head_gradient {
        carrier = carrier + carry(input.head.clone(), gradient);
    }
    let offset = weighted - f64::from(carrier.clone().inner().into_scalar::<f32>());
    (carrier + offset, kl_sum)
}

fn carry(tensor: Tensor<2>, gradient: Tensor<2>) -> Tensor<1> {
    (tensor * gradient.autodiff()).sum_dim(1).sum()
}

fn log_probabilities(hidden: Tensor<2>, head: Tensor<2>, forbidden: &[u32]) -> Tensor<2> {
    let logits = rlaif_ops::linear(hidden, head, None);
    if forbidden.is_empty() {
        return activation::log_softmax(logits, 1);
    }
    // A large negative logit rather than -inf: its probability is exactly 0 in f32, and 0 * x
    // stays 0 in the sum above.
    let [_, vocabulary] = logits.dims();
    let mut bias = vec![0.0_f32; vocabulary];
    for id in forbidden {
        if let Some(slot) = bias.get_mut(*id as usize) {
            *slot = -1e9;
        }
    }
    let bias = Tensor::<1>::from_data(bias.as_slice(), &logits.device());
    activation::log_softmax(logits + bias.unsqueeze::<2>(), 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Chunked, the value and both gradients equal those of the plain expression.
    #[test]
    fn exact_kl_in_chunks_equals_the_whole() {
        let device = Device::flex();
        device.seed(5);
        let random =
            |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (hidden, head) = (random([5, 4]), random([7, 4]));
        let (ref_hidden, ref_head) = (random([5, 4]), random([7, 4]));
        let weights = [0.1_f32, 0.2, 0.3, 0.25, 0.15];
        let forbidden = [2_u32];

        let run = |chunk: usize| {
            let hidden = hidden.clone().autodiff().require_grad();
            let head = head.clone().autodiff().require_grad();
            let (loss, sum) = exact_kl(&ExactKl {
                hidden: hidden.clone(),
                head: head.clone(),
                ref_hidden: ref_hidden.clone(),
                ref_head: ref_head.clone(),
                weights: &weights,
                forbidden: &forbidden,
                chunk,
            });
            let gradients = loss.backward();
            (
                loss.inner().into_scalar::<f32>(),
                sum,
                hidden.grad(&gradients).expect("tracked"),
                head.grad(&gradients).expect("tracked"),
            )
        };
        let plain = {
            let hidden = hidden.clone().autodiff().require_grad();
            let head = head.clone().autodiff().require_grad();
            let policy = log_probabilities(hidden.clone(), head.clone(), &forbidden);
            let reference =
                log_probabilities(ref_hidden.clone(), ref_head.clone(), &forbidden).autodiff();
            let kl = (policy.clone().exp() * (policy - reference)).sum_dim(1).reshape([5]);
            let sum = f64::from(kl.clone().inner().sum().into_scalar::<f32>());
            let loss = (kl * Tensor::<1>::from_data(weights.as_slice(), &device).autodiff()).sum();
            let gradients = loss.backward();
            (
                loss.inner().into_scalar::<f32>(),
                sum,
                hidden.grad(&gradients).expect("tracked"),
                head.grad(&gradients).expect("tracked"),
            )
        };
        assert!(plain.0 > 0.01, "two random policies differ");
        for chunk in [1, 2, 5, 64] {
            let got = run(chunk);
            assert!((got.0 - plain.0).abs() < 1e-5, "{} is not {}", got.0, plain.0);
            assert!((got.1 - plain.1).abs() < 1e-4);
            for (a, b) in [(got.2, plain.2.clone()), (got.3, plain.3.clone())] {
                assert!((a - b).abs().max().into_scalar::<f32>() < 1e-5);
            }
        }
    }

    /// exp(d) - d - 1 at d = ln 2: 2 - 0.6931472 - 1.
    #[test]
    fn k3_matches_a_hand_calculation_and_is_zero_at_equality() {
        let device = Device::flex();
        let policy = Tensor::<1>::from_data([-1.0_f32, -0.5], &device);
        let reference = Tensor::<1>::from_data([-1.0 + 2.0_f32.ln(), -0.5], &device);
        let kl: Vec<f32> = k3(policy, reference).into_data().iter::<f32>().collect();
        assert!((kl[0] - 0.306_852_8).abs() < 1e-6 && kl[1].abs() < 1e-7, "{kl:?}");
    }
}
