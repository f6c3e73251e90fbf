//! The one bridge between fused operations and Burn: dispatch by backend, and the autodiff graph.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::Tensor;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, DispatchDevice, Flex, backend_extension};
use burn::prelude::Device;
use burn::tensor::DType;

use super::buffer::Buffer;

/// Whether a tensor lives where the fused forms run: on the CPU backend, in 32-bit floats.
/// This is the one place that decides between the fused and the portable form.
pub(crate) fn is_fused<const D: usize>(x: &Tensor<D>) -> bool {
    is_flex(&x.device()) && x.dtype() == DType::F32
}

/// Whether a device is the CPU backend, with or without autodiff.
pub(crate) fn is_flex(device: &Device) -> bool {
    #[allow(
        clippy::match_wildcard_for_single_variants,
        reason = "there are more variants with other backends"
    )]
    let device = match device.as_dispatch() {
        DispatchDevice::Autodiff(device) => device,
        device => device,
    };
    matches!(device, DispatchDevice::Flex(_))
}

/// A fused operation of `N` tensors with its own backward.
pub(crate) trait Operation<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward needs of the forward.
    type Saved: Clone + Debug + Send + 'static;

    /// Computes the output. `needs` says which inputs want a gradient; nothing is to be kept that
    /// serves only the others.
    fn forward(&self, inputs: [Buffer; N], needs: [bool; N]) -> (Buffer, Self::Saved);

    /// Computes the gradient of each input that needs one from the gradient of the output.
    fn backward(self, saved: Self::Saved, grad: Buffer, needs: [bool; N]) -> [Option<Buffer>; N];
}

/// The dispatched form of every [`Operation`], by its number of inputs.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait Fused: Backend {
    fn fused1<O: Operation<1>>(op: O, a: FloatTensor<Self>) -> FloatTensor<Self>;

    fn fused2<O: Operation<2>>(
        op: O,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    fn fused3<O: Operation<3>>(
        op: O,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    fn fused4<O: Operation<4>>(
        op: O,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
    ) -> FloatTensor<Self>;

    fn fused5<O: Operation<5>>(
        op: O,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        e: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Implements [`Fused`] for both backends by handing the inputs to one function as an array.
macro_rules! methods {
    ($run:ident: $($method:ident $arity:literal ($($input:ident),*);)*) => {
        $(fn $method<O: Operation<$arity>>(
            op: O,
            $($input: FloatTensor<Self>,)*
        ) -> FloatTensor<Self> {
            $run!(op, [$($input),*])
        })*
    };
    ($run:ident) => {
        methods!($run:
            fused1 1 (a);
            fused2 2 (a, b);
            fused3 3 (a, b, c);
            fused4 4 (a, b, c, d);
            fused5 5 (a, b, c, d, e);
        );
    };
}

macro_rules! plain {
    ($op:ident, $inputs:expr) => {
        untracked(&$op, $inputs)
    };
}

macro_rules! tracked {
    ($op:ident, $inputs:expr) => {
        record::<_, C, _>($op, $inputs)
    };
}

impl Fused for Flex {
    methods!(plain);
}

impl<C: CheckpointStrategy> Fused for Autodiff<Flex, C> {
    methods!(tracked);
}

fn untracked<O: Operation<N>, const N: usize>(op: &O, inputs: [Buffer; N]) -> Buffer {
    op.forward(inputs, [false; N]).0
}

/// Runs the forward and, where an input is tracked, adds the backward to the graph.
#[expect(
    clippy::redundant_closure_for_method_calls,
    reason = "the methods' type has no name that Burn promises"
)]
fn record<O: Operation<N>, C: CheckpointStrategy, const N: usize>(
    op: O,
    inputs: [FloatTensor<Autodiff<Flex, C>>; N],
) -> FloatTensor<Autodiff<Flex, C>> {
    let needs = inputs.each_ref().map(|input| input.is_tracked());
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| input.into_primitive());
    match Step::<O>(PhantomData).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = op.forward(inputs, needs);
            prepared.finish((op, saved), output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(untracked(&op, inputs)),
    }
}

/// The backward of one operation as Burn's graph sees it.
#[derive(Debug)]
struct Step<O>(PhantomData<fn() -> O>);

impl<O: Operation<N>, const N: usize> Backward<Flex, N> for Step<O> {
    type State = (O, O::Saved);

    fn backward(
        self,
        ops: Ops<Self::State, N>,
        grads: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (op, saved) = ops.state;
        let needs = ops.parents.each_ref().map(Option::is_some);
        for (parent, grad) in ops.parents.iter().zip(op.backward(saved, grad, needs)) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<Flex>(parent.id, grad);
            }
        }
    }
}
