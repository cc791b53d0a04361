//! How gradients go back through the operations.

use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::ops::ConvOptions;

use super::{NetworkOps, Pointwise, Window};

impl<B: NetworkOps, C: CheckpointStrategy> NetworkOps for Autodiff<B, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        match Convolution.prepare::<C>([x.node(), weight.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = Seen { x: prep.checkpoint(&x), weight: prep.checkpoint(&weight), options };
                let options = state.options.clone();
                prep.finish(state, B::convolve(x.into_primitive(), weight.into_primitive(), options))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::convolve(x.into_primitive(), weight.into_primitive(), options))
            }
        }
    }

    fn convolve_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let parents = [x.node(), weight.node(), bias.node()];
        let convolve = |x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>, options| {
            B::convolve_with_bias(x.into_primitive(), weight.into_primitive(), bias.into_primitive(), options)
        };
        match Convolution.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = Seen { x: prep.checkpoint(&x), weight: prep.checkpoint(&weight), options };
                let options = state.options.clone();
                let state = (state, prep.checkpoint(&bias));
                prep.finish(state, convolve(x, weight, bias, options))
            }
            OpsKind::UnTracked(prep) => prep.finish(convolve(x, weight, bias, options)),
        }
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let parents = [x.node(), gamma.node(), beta.node()];
        let normalize = |x: FloatTensor<Self>, gamma: FloatTensor<Self>, beta: FloatTensor<Self>| {
            B::normalize(x.into_primitive(), gamma.into_primitive(), beta.into_primitive(), epsilon)
        };
        let (out, mean, variance) = match Normalization.prepare::<C>(parents).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let (x_node, gamma_node) = (prep.checkpoint(&x), prep.checkpoint(&gamma));
                let (out, mean, variance) = normalize(x, gamma, beta);
                let state = Normalized {
                    x: x_node,
                    gamma: gamma_node,
                    mean: mean.clone(),
                    variance: variance.clone(),
                    epsilon,
                };
                (prep.finish(state, out), mean, variance)
            }
            OpsKind::UnTracked(prep) => {
                let (out, mean, variance) = normalize(x, gamma, beta);
                (prep.finish(out), mean, variance)
            }
        };
        (out, FloatTensor::<Self>::new(mean), FloatTensor::<Self>::new(variance))
    }

    fn pointwise(x: FloatTensor<Self>, function: Pointwise) -> FloatTensor<Self> {
        let again = Again { x: x.node().id(), function, backend: PhantomData::<B> };
        match function.prepare::<C>([x.node()]).memory_bound().retro_forward(again).parents([&x]).stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish(state, B::pointwise(x.into_primitive(), function))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::pointwise(x.into_primitive(), function)),
        }
    }

    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let affine = |x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>| {
            B::affine(x.into_primitive(), weight.into_primitive(), bias.into_primitive())
        };
        match Affine.prepare::<C>([x.node(), weight.node(), bias.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&x), prep.checkpoint(&weight)];
                prep.finish(state, affine(x, weight, bias))
            }
            OpsKind::UnTracked(prep) => prep.finish(affine(x, weight, bias)),
        }
    }

    fn normalize_places(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let normalize = |x: FloatTensor<Self>, gamma: FloatTensor<Self>, beta: FloatTensor<Self>| {
            B::normalize_places(x.into_primitive(), gamma.into_primitive(), beta.into_primitive(), epsilon)
        };
        match Places.prepare::<C>([x.node(), gamma.node(), beta.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&x), prep.checkpoint(&gamma), epsilon);
                prep.finish(state, normalize(x, gamma, beta))
            }
            OpsKind::UnTracked(prep) => prep.finish(normalize(x, gamma, beta)),
        }
    }

    fn attend(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        match Attention.prepare::<C>([qkv.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&qkv), heads);
                prep.finish(state, B::attend(qkv.into_primitive(), heads))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::attend(qkv.into_primitive(), heads)),
        }
    }

    fn scale(x: FloatTensor<Self>, factors: FloatTensor<Self>) -> FloatTensor<Self> {
        match Scaling.prepare::<C>([x.node(), factors.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [prep.checkpoint(&x), prep.checkpoint(&factors)];
                prep.finish(state, B::scale(x.into_primitive(), factors.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::scale(x.into_primitive(), factors.into_primitive())),
        }
    }

    fn mean_pixel(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Mean.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let [_, _, height, width] = x.shape().dims::<4>();
                prep.finish([height, width], B::mean_pixel(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::mean_pixel(x.into_primitive())),
        }
    }

    fn add(x: FloatTensor<Self>, y: FloatTensor<Self>, function: Option<Pointwise>) -> FloatTensor<Self> {
        let add =
            |x: FloatTensor<Self>, y: FloatTensor<Self>| B::add(x.into_primitive(), y.into_primitive(), None);
        let sum = match Addition.prepare::<C>([x.node(), y.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((), add(x, y)),
            OpsKind::UnTracked(prep) => prep.finish(add(x, y)),
        };
        function.into_iter().fold(sum, Self::pointwise)
    }

    fn pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        match Pooling.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let seen = prep.checkpoint(&x);
                let (out, places) = B::pool_with_places(x.into_primitive(), window);
                prep.finish((seen, window, places), out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::pool(x.into_primitive(), window)),
        }
    }

    fn cross_entropies(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
        smoothing: f64,
    ) -> FloatTensor<Self> {
        match Entropy.prepare::<C>([logits.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = (prep.checkpoint(&logits), targets.clone(), smoothing);
                prep.finish(state, B::cross_entropies(logits.into_primitive(), targets, smoothing))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::cross_entropies(logits.into_primitive(), targets, smoothing))
            }
        }
    }
}

/// How a convolution passes gradients back.
#[derive(Debug)]
struct Convolution;

/// What it needs for that.
#[derive(Debug, Clone)]
struct Seen {
    x: NodeId,
    weight: NodeId,
    options: ConvOptions<2>,
}

impl Seen {
    /// Gives `gradient` to the nodes of the input and of the weight, as far as they want it.
    fn pass<B: NetworkOps>(
        self,
        [of_x, of_weight]: [Option<NodeId>; 2],
        gradient: &FloatTensor<B>,
        gradients: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) -> FloatTensor<B> {
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(self.x);
        let weight = checkpointer.retrieve_node_output::<FloatTensor<B>>(self.weight);
        let arguments = || (x.clone(), weight.clone(), gradient.clone(), self.options.clone());
        if let Some(node) = of_x {
            let (x, weight, gradient, options) = arguments();
            gradients.register::<B>(node, B::convolve_x_backward(x, weight, gradient, options));
        }
        if let Some(node) = of_weight {
            let (x, weight, gradient, options) = arguments();
            gradients.register::<B>(node, B::convolve_weight_backward(x, weight, gradient, options));
        }
        x
    }
}

impl<B: NetworkOps> Backward<B, 2> for Convolution {
    type State = Seen;

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        ops.state.pass::<B>(parents, &gradient, gradients, checkpointer);
    }
}

impl<B: NetworkOps> Backward<B, 3> for Convolution {
    type State = (Seen, NodeId);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [of_x, of_weight, of_bias] = ops.parents.map(|parent| parent.map(|node| node.id));
        let (seen, bias) = ops.state;
        let bias = checkpointer.retrieve_node_output::<FloatTensor<B>>(bias);
        let x = seen.pass::<B>([of_x, of_weight], &gradient, gradients, checkpointer);
        if let Some(node) = of_bias {
            gradients.register::<B>(node, B::convolve_bias_backward(x, bias, gradient));
        }
    }
}

/// Gives each node that wants it its gradient.
fn pass<B: NetworkOps, const N: usize>(
    parents: [Option<NodeId>; N],
    of: [FloatTensor<B>; N],
    gradients: &mut Gradients,
) {
    for (parent, gradient) in parents.into_iter().zip(of) {
        if let Some(node) = parent {
            gradients.register::<B>(node, gradient);
        }
    }
}

/// How a normalization passes gradients back.
#[derive(Debug)]
struct Normalization;

/// What it needs for that.
#[derive(Debug, Clone)]
struct Normalized<T> {
    x: NodeId,
    gamma: NodeId,
    mean: T,
    variance: T,
    epsilon: f64,
}

impl<B: NetworkOps> Backward<B, 3> for Normalization {
    type State = Normalized<FloatTensor<B>>;

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let Normalized { x, gamma, mean, variance, epsilon } = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let gamma = checkpointer.retrieve_node_output::<FloatTensor<B>>(gamma);
        let (of_x, of_gamma, of_beta) = B::normalize_backward(x, gamma, mean, variance, epsilon, gradient);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        pass::<B, 3>(parents, [of_x, of_gamma, of_beta], gradients);
    }
}

/// How a fully connected layer passes gradients back.
#[derive(Debug)]
struct Affine;

impl<B: NetworkOps> Backward<B, 3> for Affine {
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops.state.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let [of_x, of_weight, of_bias] = ops.parents;
        if let Some(node) = of_x {
            gradients.register::<B>(node.id, B::affine_x_backward(weight, gradient.clone()));
        }
        if let Some(node) = of_weight {
            gradients.register::<B>(node.id, B::affine_weight_backward(x, gradient.clone()));
        }
        if let Some(node) = of_bias {
            gradients.register::<B>(node.id, B::affine_bias_backward(gradient));
        }
    }
}

/// How a layer normalization passes gradients back.
#[derive(Debug)]
struct Places;

impl<B: NetworkOps> Backward<B, 3> for Places {
    type State = (NodeId, NodeId, f64);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, gamma, epsilon) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let gamma = checkpointer.retrieve_node_output::<FloatTensor<B>>(gamma);
        let (of_x, of_gamma, of_beta) = B::normalize_places_backward(x, gamma, epsilon, gradient);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        pass::<B, 3>(parents, [of_x, of_gamma, of_beta], gradients);
    }
}

/// How attention passes gradients back.
#[derive(Debug)]
struct Attention;

impl<B: NetworkOps> Backward<B, 1> for Attention {
    type State = (NodeId, usize);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (qkv, heads) = ops.state;
        let qkv = checkpointer.retrieve_node_output::<FloatTensor<B>>(qkv);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            gradients.register::<B>(node.id, B::attend_backward(qkv, heads, gradient));
        }
    }
}

/// How factors of channels pass gradients back.
#[derive(Debug)]
struct Scaling;

impl<B: NetworkOps> Backward<B, 2> for Scaling {
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, factors] = ops.state.map(|node| checkpointer.retrieve_node_output::<FloatTensor<B>>(node));
        let [of_x, of_factors] = ops.parents;
        if let Some(node) = of_factors {
            let outer = factors.shape()[0];
            gradients.register::<B>(node.id, B::scale_factors_backward(x, outer, gradient.clone()));
        }
        if let Some(node) = of_x {
            gradients.register::<B>(node.id, B::scale(gradient, factors));
        }
    }
}

/// How means pass gradients back.
#[derive(Debug)]
struct Mean;

impl<B: NetworkOps> Backward<B, 1> for Mean {
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            gradients.register::<B>(node.id, B::mean_pixel_backward(gradient, ops.state));
        }
    }
}

/// How a sum passes gradients back.
#[derive(Debug)]
struct Addition;

impl<B: NetworkOps> Backward<B, 2> for Addition {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        pass::<B, 2>(parents, [gradient.clone(), gradient], gradients);
    }
}

/// How a pooling passes gradients back.
#[derive(Debug)]
struct Pooling;

impl<B: NetworkOps> Backward<B, 1> for Pooling {
    type State = (NodeId, Window, IntTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (x, window, places) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            gradients.register::<B>(node.id, B::pool_backward(x, window, gradient, places));
        }
    }
}

/// How cross entropies pass gradients back.
#[derive(Debug)]
struct Entropy;

impl<B: NetworkOps> Backward<B, 1> for Entropy {
    type State = (NodeId, IntTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let (logits, targets, smoothing) = ops.state;
        let logits = checkpointer.retrieve_node_output::<FloatTensor<B>>(logits);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            let of_logits = B::cross_entropies_backward(logits, targets, smoothing, gradient);
            gradients.register::<B>(node.id, of_logits);
        }
    }
}

impl<B: NetworkOps> Backward<B, 1> for Pointwise {
    type State = NodeId;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, checkpointer: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            gradients.register::<B>(node.id, B::pointwise_backward(x, self, gradient));
        }
    }
}

/// How values that gradient checkpointing has not kept are computed again.
#[derive(Debug)]
struct Again<B> {
    x: NodeId,
    function: Pointwise,
    backend: PhantomData<B>,
}

impl<B: NetworkOps> RetroForward for Again<B> {
    fn forward(&self, states: &mut BackwardStates, out: NodeId) {
        let x = states.get_state::<FloatTensor<B>>(&self.x);
        states.save(out, B::pointwise(x, self.function));
    }
}
