//! Named parameters: one walk over a model's tensors serves loading, saving, training and digests.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

/// One named tensor of a model, open for replacement.
pub enum Slot<'a> {
    /// A matrix.
    Matrix(&'a mut Tensor<2>),
    /// A vector.
    Vector(&'a mut Tensor<1>),
}

impl Slot<'_> {
    /// Shape as stored.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Slot::Matrix(tensor) => tensor.dims().to_vec(),
            Slot::Vector(tensor) => tensor.dims().to_vec(),
        }
    }

    /// All elements in row-major order, as one vector.
    #[must_use]
    pub fn flat(&self) -> Tensor<1> {
        match self {
            Slot::Matrix(tensor) => {
                let [rows, columns] = tensor.dims();
                (**tensor).clone().reshape([rows * columns])
            }
            Slot::Vector(tensor) => (**tensor).clone(),
        }
    }

    /// Replaces the tensor by a flat one of the same number of elements, keeping the shape.
    pub fn set_flat(&mut self, flat: Tensor<1>) {
        match self {
            Slot::Matrix(tensor) => {
                let shape = tensor.dims();
                **tensor = flat.reshape(shape);
            }
            Slot::Vector(tensor) => **tensor = flat,
        }
    }

    fn map(
        &mut self,
        matrix: impl Fn(Tensor<2>) -> Tensor<2>,
        vector: impl Fn(Tensor<1>) -> Tensor<1>,
    ) {
        match self {
            Slot::Matrix(tensor) => **tensor = matrix((**tensor).clone()),
            Slot::Vector(tensor) => **tensor = vector((**tensor).clone()),
        }
    }
}

/// Gradients by parameter name, flat and on the plain device.
pub type Gradients = BTreeMap<String, Tensor<1>>;

/// A tree of named tensors.
pub trait Parameters: Clone {
    /// Visits every tensor with its full name, always in the same order.
    fn walk(&mut self, prefix: &str, visit: &mut dyn FnMut(&str, Slot<'_>));

    /// Visits every tensor without changing any.
    fn read(&self, mut visit: impl FnMut(&str, &Slot<'_>)) {
        self.clone().walk("", &mut |name, slot| visit(name, &slot));
    }

    /// The copy that a training pass differentiates: on the autodiff device, tracked where
    /// `trainable` says so. Shares memory with `self`.
    #[must_use]
    fn tracked(&self, trainable: impl Fn(&str) -> bool) -> Self {
        let mut copy = self.clone();
        copy.walk("", &mut |name, mut slot| {
            if trainable(name) {
                slot.map(|t| t.autodiff().require_grad(), |t| t.autodiff().require_grad());
            } else {
                slot.map(Tensor::autodiff, Tensor::autodiff);
            }
        });
        copy
    }

    /// The same off the autodiff graph, on the plain device. Shares memory with `self`.
    #[must_use]
    fn plain(&self) -> Self {
        let mut copy = self.clone();
        copy.walk("", &mut |_, mut slot| slot.map(plain, plain));
        copy
    }

    /// Gradients of a [`tracked`](Parameters::tracked) copy after `backward`; parameters that
    /// the loss did not reach are left out.
    fn gradients(&self, gradients: &burn::tensor::Gradients) -> Gradients {
        let mut named = Gradients::new();
        self.add_gradients("", gradients, &mut named);
        named
    }

    /// [`gradients`](Self::gradients) under `prefix`, added to those that `named` holds already.
    fn add_gradients(
        &self,
        prefix: &str,
        gradients: &burn::tensor::Gradients,
        named: &mut Gradients,
    ) {
        self.clone().walk(prefix, &mut |name, slot| {
            let gradient = match slot {
                Slot::Matrix(tensor) => tensor.grad(gradients).map(|g| {
                    let [rows, columns] = g.dims();
                    g.reshape([rows * columns])
                }),
                Slot::Vector(tensor) => tensor.grad(gradients),
            };
            if let Some(gradient) = gradient {
                let sum = match named.remove(name) {
                    Some(before) => before + gradient,
                    None => gradient,
                };
                named.insert(name.to_owned(), sum);
            }
        });
    }

    /// Number of elements whose name passes `filter`.
    fn count(&self, filter: impl Fn(&str) -> bool) -> usize {
        let mut count = 0;
        self.read(|name, slot| {
            if filter(name) {
                count += slot.shape().iter().product::<usize>();
            }
        });
        count
    }
}

/// Joins a prefix and a name with a dot; an empty prefix leaves the name as it is.
#[must_use]
pub fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// `tensor` off the autodiff graph.
pub(crate) fn plain<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    if tensor.is_autodiff() { tensor.inner() } else { tensor }
}
