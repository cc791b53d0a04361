//! Kernels with the normalizations that follow folded into them, and arranged for the device, kept for a network that answers.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::ParamId;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor};

use crate::is_host;
use crate::ops::{Pair, Pointwise, arrange, convolve_arranged, convolve_pair};
use crate::precision::rounds;

/// Kernels of convolutions and linear layers, by their weights and those of the normalizations that follow.
#[derive(Debug)]
pub(crate) struct Folded {
    /// Whether they are arranged for the device.
    arranges: bool,
    kernels: Mutex<HashMap<Of, Kernels>>,
}

type Of = (ParamId, Option<ParamId>);

/// Kernels of a convolution that answers.
#[derive(Debug, Clone)]
pub(crate) struct Kernels {
    /// `[outputs, inputs / groups, kernel, kernel]`, or what the device reads instead.
    weight: Tensor<4>,
    shape: [usize; 4],
    /// `[outputs]`.
    bias: Tensor<1>,
}

impl Kernels {
    fn new((weight, bias): (Tensor<4>, Tensor<1>), arrange: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Self {
        let shape = weight.dims();
        Self { weight: arrange(weight), shape, bias }
    }

    /// The function of the convolution of images `[batch, channels, height, width]` with them, and their bias.
    pub(crate) fn convolve(
        self,
        images: Tensor<4>,
        function: Option<Pointwise>,
        options: ConvOptions<2>,
    ) -> Tensor<4> {
        convolve_arranged(images, (self.weight, self.shape), self.bias, function, options)
    }
}

/// One after the other, each with its function.
pub(crate) fn convolve_both(
    images: Tensor<4>,
    [first, second]: [Kernels; 2],
    functions: [Option<Pointwise>; 2],
    options: [ConvOptions<2>; 2],
) -> Tensor<4> {
    let pair = Pair { shapes: [first.shape, second.shape], functions, options };
    convolve_pair(images, [first.weight, second.weight], [first.bias, second.bias], pair)
}

#[cfg(all(test, feature = "flex"))]
impl Folded {
    pub(crate) fn count(&self) -> usize {
        self.kernels.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Folded {
    pub(crate) fn new(arranges: bool) -> Self {
        Self { arranges, kernels: Mutex::default() }
    }

    fn kernels(
        &self,
        of: Of,
        options: &ConvOptions<2>,
        make: impl FnOnce() -> (Tensor<4>, Tensor<1>),
    ) -> Kernels {
        let lock = || self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = lock().get(&of) {
            return there.clone();
        }
        // Not under the lock: while this thread waits for others, it may be given the work of another answer.
        let arranged = |weight| if self.arranges { arrange(weight, options.clone()) } else { weight };
        let kernels = Kernels::new(make(), arranged);
        lock().entry(of).or_insert(kernels).clone()
    }
}

thread_local! {
    /// Those of the network that answers on this thread.
    static FOLDED: RefCell<Option<Arc<Folded>>> = const { RefCell::new(None) };
}

/// Those of this thread.
pub(crate) fn kept() -> Option<Arc<Folded>> {
    FOLDED.with_borrow(Clone::clone)
}

/// Whether a network with arranged kernels answers on this thread.
pub(crate) fn answers() -> bool {
    kept().is_some_and(|kept| kept.arranges)
}

/// Sets those of this thread, and tells what they were before.
pub(crate) fn set(folded: Option<Arc<Folded>>) -> Option<Arc<Folded>> {
    FOLDED.replace(folded)
}

/// Sets what there was before, also where work panics.
pub(crate) struct Restore(pub(crate) Option<Arc<Folded>>);

impl Drop for Restore {
    fn drop(&mut self) {
        set(self.0.take());
    }
}

/// What `fold` gives for the convolution of these options and the normalization with these weights: kernels
/// `[outputs, inputs / groups, kernel, kernel]` and biases `[outputs]`. Where a prepared network answers it is done once, and kernels are
/// arranged for the device.
pub(crate) fn folded(
    of: (ParamId, ParamId),
    options: &ConvOptions<2>,
    fold: impl FnOnce() -> (Tensor<4>, Tensor<1>),
) -> Kernels {
    match kept() {
        Some(kept) => kept.kernels((of.0, Some(of.1)), options, fold),
        None => Kernels::new(fold(), |weight| weight),
    }
}

/// Where a prepared network answers, what `kernels` gives for the layer of these options with this weight, arranged once; if the device
/// arranges kernels.
pub(crate) fn arranged(
    of: ParamId,
    options: &ConvOptions<2>,
    device: &Device,
    kernels: impl FnOnce() -> (Tensor<4>, Tensor<1>),
) -> Option<Kernels> {
    let kept = kept().filter(|kept| kept.arranges && is_host(device) && !rounds())?;
    let kernels = kept.kernels((of, None), options, kernels);
    (kernels.weight.dims() != kernels.shape).then_some(kernels)
}
