//! Networks whose weights stay as they are, for answers.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::awake::Awake;
use crate::compute_thread::{each_on_pool, on_compute_thread};
use crate::folded::{Folded, Restore, set};
use crate::{Model, is_host};

/// Pieces that a batch is cut into.
const PIECES: usize = 4;

/// Images of a piece, as long as there are as many for two of them.
const LEAST: usize = 4;

/// Numbers of images from which on a piece has [`LEAST`]: what layers make of more would not stay in the cache.
const MOST: usize = 1 << 20;

/// A network that answers and does not learn: [`Model::prepare_for_inference`].
///
/// What a normalization does to the channels of a convolution is done to its kernels once, with the first answer, and not for every
/// answer. On the processor kernels are arranged besides, for images with the channels of a pixel side by side. Both are kept beside the
/// weights, so that memory for weights about doubles; kernels of 3 x 3 with up to 65,536 pairs of channels take four times as much. Clones
/// share them.
#[derive(Debug, Clone)]
pub struct Prepared {
    model: Model,
    folded: Arc<Folded>,
}

impl Model {
    /// The network for answers. It is taken off an autodiff device, where it would learn statistics.
    #[must_use]
    pub fn prepare_for_inference(self) -> Prepared {
        let folded = Arc::new(Folded::new(self.backbone().prefers_channels_last()));
        Prepared { model: self.valid(), folded }
    }
}

impl Prepared {
    /// As [`Model::forward`] up to rounding: sums are made in another order.
    ///
    /// # Shapes
    ///
    /// - images: `[batch, channels, height, width]`
    /// - logits: `[batch, classes]`
    ///
    /// # Pieces
    ///
    /// On the processor, a batch is answered in pieces of a few images, each of them by one thread as long as there is one for each:
    /// what a layer gives is then still in the cache when the next one reads it. Which pieces they are depends on the shape alone.
    #[must_use]
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let device = images.device();
        let batch = images.dims()[0];
        let many = if is_host(&device) { images_of_a_piece(images.dims()) } else { batch };
        if many == batch {
            return on_compute_thread(&device, || {
                #[cfg(feature = "flex")]
                let _awake = is_host(&device).then(Awake::others);
                self.piece(images)
            });
        }
        Tensor::cat(each_on_pool(images.split(many, 0), |images| self.piece(images)), 0)
    }

    fn piece(&self, images: Tensor<4>) -> Tensor<2> {
        let _before = Restore(set(Some(self.folded.clone())));
        self.model.forward(images)
    }

    /// The network.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

/// How many of the images of this shape are answered at once.
fn images_of_a_piece([batch, channels, height, width]: [usize; 4]) -> usize {
    let most = (MOST / (channels * height * width).max(1)).max(LEAST);
    batch.div_ceil(PIECES).clamp(LEAST, most).min(batch.div_ceil(2))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Tolerance};
    use rayon::prelude::*;

    use super::*;
    use crate::folded::kept;
    use crate::{InputShape, ModelConfig};

    #[test]
    fn a_prepared_network_answers_as_before_and_arranges_once() {
        let device = Device::flex().autodiff();
        let input = InputShape { channels: 3, height: 64, width: 64 };
        for (name, arranged) in [
            ("mobilenet_v3_small", 54),
            ("resnet18", 21),
            ("small_cnn", 4),
            ("squeezenet1_1", 26),
            ("vit_tiny_patch16_224", 50),
        ] {
            let Ok(config) = ModelConfig::from_name(name, input, 5) else { panic!("{name}") };
            let network = config.init(3, &device);
            let values = Tensor::arange(0..2 * 3 * 64 * 64, &device).float().sin().reshape([2, 3, 64, 64]);
            let images = values.inner();
            let before = network.valid().forward(images.clone()).into_data();
            let prepared = network.prepare_for_inference();
            let first = prepared.clone().forward(images.clone()).into_data();
            first.assert_approx_eq::<f32>(&before, Tolerance::relative(1e-4).set_absolute(1e-4));
            // Pieces are the same for any batch that has one image in each.
            assert_eq!(prepared.forward(images.clone()).into_data(), first, "{name}");
            assert_eq!(prepared.folded.count(), arranged, "{name}");
            assert!(kept().is_none(), "this thread has none of its own");
        }
    }

    #[test]
    fn a_batch_in_pieces_is_answered_as_a_whole_for_any_number_of_threads() {
        let device = Device::flex();
        let input = InputShape { channels: 3, height: 32, width: 32 };
        let network = ModelConfig::from_name("resnet20", input, 7).unwrap().init(3, &device);
        let prepared = network.clone().prepare_for_inference();
        for batch in [0, 1, 3, 9] {
            let images = Tensor::arange(0..batch * 3 * 32 * 32, &device).float().sin();
            let images = images.reshape([batch as usize, 3, 32, 32]);
            let by = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| prepared.forward(images.clone()).into_data())
            };
            let alone = by(1);
            assert_eq!(alone.shape().as_slice(), [batch as usize, 7]);
            assert_eq!(by(2), alone);
            assert_eq!(by(5), alone);
            let whole = network.forward(images.clone()).into_data();
            alone.assert_approx_eq::<f32>(&whole, Tolerance::absolute(1e-4));
        }
    }

    #[test]
    fn answers_beside_each_other_and_within_other_work_are_the_same_and_come_to_an_end() {
        let device = Device::flex();
        let input = InputShape { channels: 3, height: 32, width: 32 };
        let network = ModelConfig::from_name("resnet20", input, 7).unwrap().init(3, &device);
        let prepared = network.prepare_for_inference();
        let images = Tensor::arange(0..3 * 32 * 32, &device).float().sin().reshape([1, 3, 32, 32]);
        let alone = prepared.forward(images.clone()).into_data();
        let answer = |_| prepared.forward(images.clone()).into_data() == alone;
        for threads in 1..4 {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| (0..40).into_par_iter().all(answer)), "{threads} threads of a pool");
            let asks = || pool.install(|| (0..20).all(answer));
            std::thread::scope(|scope| {
                let others = [0; 3].map(|_| scope.spawn(asks));
                assert!(others.into_iter().all(|other| other.join().unwrap()), "{threads} threads, 3 askers");
            });
        }
    }

    #[test]
    fn pieces_are_a_few_images_and_at_least_two() {
        let of = |batch, size| images_of_a_piece([batch, 3, size, size]);
        assert_eq!([0, 1, 2, 3, 8, 16, 32, 256].map(|batch| of(batch, 32)), [0, 1, 1, 2, 4, 4, 8, 64]);
        assert_eq!([8, 32, 256].map(|batch| of(batch, 224)), [4, 6, 6]);
        assert_eq!(of(64, 1024), 4);
        assert_eq!(of(64, 0), 16);
    }

    #[test]
    fn two_networks_with_the_same_ids_keep_their_own() {
        let device = Device::flex();
        let input = InputShape { channels: 1, height: 16, width: 16 };
        let network = ModelConfig::from_name("small_cnn", input, 3).unwrap().init(0, &device);
        let other = network.clone().map(&mut Twice);
        let images = Tensor::<4>::ones([1, 1, 16, 16], &device);
        let [first, second] = [network.prepare_for_inference(), other.prepare_for_inference()];
        let plain = second.model().forward(images.clone()).into_data();
        let _ = first.forward(images.clone());
        second.forward(images).into_data().assert_approx_eq::<f32>(&plain, Tolerance::absolute(1e-5));
    }

    struct Twice;
    impl burn::module::ModuleMapper for Twice {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            burn::module::Param::from_mapped_value(id, value * 2.0, mapper)
        }
    }
}
