//! The shared layers: linear with LoRA, norms.

use burn::tensor::{Device, Tensor};
use rlaif_ops::FrozenMatrix;

use crate::parameters::{Parameters, Slot, join};

/// A low-rank adapter beside a linear layer: `y += scale · (x Aᵀ) Bᵀ`.
///
/// Source: Hu et al. 2021, "LoRA", arXiv:2106.09685. Names and layout follow PEFT.
#[derive(Clone, Debug)]
pub struct LoraPair {
    /// `[r, in]`
    pub a: Tensor<2>,
    /// `[out, r]`
    pub b: Tensor<2>,
    /// `lora_alpha / r`.
    pub scale: f64,
}

/// A linear layer's matrix, `[out, in]`, the Hugging Face layout.
#[derive(Clone, Debug)]
pub enum Weight {
    /// In 32-bit floats, open to training.
    Full(Tensor<2>),
    /// Packed, and no parameter any more.
    Frozen(FrozenMatrix),
}

impl Weight {
    /// `[out, in]`.
    #[must_use]
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Weight::Full(weight) => weight.dims(),
            Weight::Frozen(matrix) => matrix.dims(),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn device(&self) -> Device {
        match self {
            Weight::Full(weight) => weight.device(),
            Weight::Frozen(matrix) => matrix.device(),
        }
    }
}

/// `y = x Wᵀ + b`, with the adapter's part added where there is one.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Weight,
    /// `[out]`
    pub bias: Option<Tensor<1>>,
    /// The adapter.
    pub lora: Option<LoraPair>,
}

impl Linear {
    /// All zeros, without an adapter. The weight is one zero seen everywhere: a model that is to be
    /// filled takes no memory before it is.
    #[must_use]
    pub fn zeros(outputs: usize, inputs: usize, bias: bool, device: &Device) -> Self {
        let zero = Tensor::<2>::zeros([1, 1], device);
        Linear {
            weight: Weight::Full(zero.expand([outputs, inputs])),
            bias: bias.then(|| Tensor::zeros([outputs], device)),
            lora: None,
        }
    }

    /// # Shapes
    ///
    /// - `x`: `[tokens, in]`
    /// - output: `[tokens, out]`
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let bias = self.bias.clone();
        let lora = self.lora.as_ref().map(|pair| rlaif_ops::Lora {
            a: pair.a.clone(),
            b: pair.b.clone(),
            scale: pair.scale,
        });
        match (&self.weight, lora) {
            (Weight::Full(weight), None) => rlaif_ops::linear(x, weight.clone(), bias),
            (Weight::Full(weight), Some(lora)) => {
                rlaif_ops::lora_linear(x, weight.clone(), bias, &lora)
            }
            (Weight::Frozen(matrix), None) => rlaif_ops::frozen_linear(x, matrix, bias),
            (Weight::Frozen(matrix), Some(lora)) => {
                rlaif_ops::frozen_lora_linear(x, matrix, bias, &lora)
            }
        }
    }

    /// `[out, in]` of the layer.
    #[must_use]
    pub fn shape(&self) -> [usize; 2] {
        self.weight.dims()
    }
}

impl Parameters for Linear {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        if let Weight::Full(weight) = &mut self.weight {
            visit(&join(prefix, "weight"), Slot::Matrix(weight));
        }
        if let Some(bias) = &mut self.bias {
            visit(&join(prefix, "bias"), Slot::Vector(bias));
        }
        if let Some(lora) = &mut self.lora {
            visit(&join(prefix, "lora_A.weight"), Slot::Matrix(&mut lora.a));
            visit(&join(prefix, "lora_B.weight"), Slot::Matrix(&mut lora.b));
        }
    }
}

/// Root-mean-square norm with a gain, no bias.
#[derive(Clone, Debug)]
pub struct RmsNorm {
    /// `[features]`
    pub weight: Tensor<1>,
    /// Added to the mean square.
    pub eps: f64,
}

impl RmsNorm {
    /// `[tokens, features]` to the same shape.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        rlaif_ops::rms_norm(x, self.weight.clone(), self.eps)
    }
}

impl Parameters for RmsNorm {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        visit(&join(prefix, "weight"), Slot::Vector(&mut self.weight));
    }
}

/// Layer norm with gain and bias.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// `[features]`
    pub weight: Tensor<1>,
    /// `[features]`
    pub bias: Tensor<1>,
    /// Added to the variance.
    pub eps: f64,
}

impl LayerNorm {
    /// Gain one, bias zero.
    #[must_use]
    pub fn ones(features: usize, eps: f64, device: &Device) -> Self {
        LayerNorm {
            weight: Tensor::ones([features], device),
            bias: Tensor::zeros([features], device),
            eps,
        }
    }

    /// `[tokens, features]` to the same shape.
    #[must_use]
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        rlaif_ops::layer_norm(x, self.weight.clone(), self.bias.clone(), self.eps)
    }
}

impl Parameters for LayerNorm {
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>)) {
        visit(&join(prefix, "weight"), Slot::Vector(&mut self.weight));
        visit(&join(prefix, "bias"), Slot::Vector(&mut self.bias));
    }
}
