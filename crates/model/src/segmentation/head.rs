//! What makes logits of feature maps: the heads of FCN (<https://arxiv.org/abs/1411.4038>), DeepLabV3
//! (<https://arxiv.org/abs/1706.05587>) and LR-ASPP (<https://arxiv.org/abs/1905.02244>).

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation::sigmoid};

use crate::InitRng;
use crate::layer::{
    Activate, Activation, AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Conv2dConfig, Dropout, Layer, conv_norm,
    forward_all, resize_bilinear,
};

/// Channels of DeepLabV3's head.
const DEEPLAB_WIDTH: usize = 256;

/// How far apart the pixels lie that DeepLabV3's branches see.
const RATES: [usize; 3] = [12, 24, 36];

/// Channels of LR-ASPP's head.
const LRASPP_WIDTH: usize = 128;

/// Epsilon and momentum of the batch normalizations.
const NORM: (f64, f64) = (1e-5, 0.1);

/// FCN: a 3x3 convolution to a quarter of the channels, and a 1x1 convolution to the classes.
pub(super) fn fcn_head(inputs: usize, classes: usize, rng: &mut InitRng, device: &Device) -> Vec<Layer> {
    let width = inputs / 4;
    vec![
        Layer::Conv(Conv2dConfig::new(inputs, width, 3).init(rng, device)),
        Layer::Norm(BatchNorm2d::new(width, rng, device)),
        Layer::Activate(Activate::new(Activation::Relu)),
        Layer::Dropout(Dropout::new(0.1)),
        Layer::Conv(last(width, classes).init(rng, device)),
    ]
}

/// DeepLabV3: the pyramid of rates, a 3x3 convolution, and a 1x1 convolution to the classes.
pub(super) type DeepLabHead = (Aspp, Conv2d, BatchNorm2d, Activate, Conv2d);

pub(super) fn deeplab_head(inputs: usize, classes: usize, rng: &mut InitRng, device: &Device) -> DeepLabHead {
    (
        Aspp::new(inputs, rng, device),
        Conv2dConfig::new(DEEPLAB_WIDTH, DEEPLAB_WIDTH, 3).init(rng, device),
        BatchNorm2d::new(DEEPLAB_WIDTH, rng, device),
        Activate::new(Activation::Relu),
        last(DEEPLAB_WIDTH, classes).init(rng, device),
    )
}

/// # Shapes
///
/// - input: `[batch, inputs, height, width]`
/// - output: `[batch, classes, height, width]`
pub(super) fn forward_deeplab(head: &DeepLabHead, input: &Tensor<4>) -> Tensor<4> {
    let (aspp, conv, norm, activate, last) = head;
    last.forward(conv.forward_normalized(aspp.forward(input), norm, activate.function()))
}

/// Atrous spatial pyramid pooling: branches that look at a place from near, from further and further off, and at the whole picture.
#[derive(Module, Debug)]
pub(super) struct Aspp {
    convs: Vec<Layer>,
    project: Vec<Layer>,
}

impl Aspp {
    fn new(inputs: usize, rng: &mut InitRng, device: &Device) -> Self {
        let width = DEEPLAB_WIDTH;
        let mut convs =
            vec![conv_norm(Conv2dConfig::new(inputs, width, 1), Activation::Relu, NORM, rng, device)];
        for rate in RATES {
            let conv = Conv2dConfig { dilation: rate, padding: rate, ..Conv2dConfig::new(inputs, width, 3) };
            convs.push(conv_norm(conv, Activation::Relu, NORM, rng, device));
        }
        convs.push(Layer::Row(vec![
            Layer::AvgPool(AdaptiveAvgPool2d::new(1)),
            Layer::Conv(Conv2dConfig::new(inputs, width, 1).init(rng, device)),
            Layer::Norm(BatchNorm2d::new(width, rng, device)),
            Layer::Activate(Activate::new(Activation::Relu)),
        ]));
        let project = vec![
            Layer::Conv(Conv2dConfig::new(convs.len() * width, width, 1).init(rng, device)),
            Layer::Norm(BatchNorm2d::new(width, rng, device)),
            Layer::Activate(Activate::new(Activation::Relu)),
            Layer::Dropout(Dropout::new(0.5)),
        ];
        Self { convs, project }
    }

    fn forward(&self, input: &Tensor<4>) -> Tensor<4> {
        let [batch, _, height, width] = input.dims();
        // The mean of the picture is one pixel, which stands at every place.
        let everywhere = [batch, DEEPLAB_WIDTH, height, width];
        let branches = self.convs.iter().map(|branch| branch.forward(input.clone()).expand(everywhere));
        forward_all(&self.project, Tensor::cat(branches.collect(), 1))
    }
}

/// LR-ASPP: the deep map, its channels weighted by what the whole picture shows, and beside it a finer map for the edges.
#[derive(Module, Debug)]
pub(super) struct LrAsppHead {
    cbr: Layer,
    scale: Vec<Layer>,
    low_classifier: Conv2d,
    high_classifier: Conv2d,
}

impl LrAsppHead {
    /// The head for maps with `fine` and `deep` channels.
    pub(super) fn new(
        (fine, deep): (usize, usize),
        classes: usize,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let conv = Conv2dConfig::new(deep, LRASPP_WIDTH, 1);
        Self {
            cbr: conv_norm(conv, Activation::Relu, NORM, rng, device),
            scale: vec![Layer::AvgPool(AdaptiveAvgPool2d::new(1)), Layer::Conv(conv.init(rng, device))],
            low_classifier: last(fine, classes).init(rng, device),
            high_classifier: last(LRASPP_WIDTH, classes).init(rng, device),
        }
    }

    /// # Shapes
    ///
    /// - fine: `[batch, fine, height, width]`
    /// - deep: `[batch, deep, any height, any width]`
    /// - output: `[batch, classes, height, width]`
    pub(super) fn forward(&self, fine: Tensor<4>, deep: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = fine.dims();
        let weights = sigmoid(forward_all(&self.scale, deep.clone()));
        let x = resize_bilinear(self.cbr.forward(deep) * weights, [height, width]);
        self.low_classifier.forward(fine) + self.high_classifier.forward(x)
    }
}

/// The convolution that makes logits.
fn last(inputs: usize, classes: usize) -> Conv2dConfig {
    Conv2dConfig { bias: true, ..Conv2dConfig::new(inputs, classes, 1) }
}
