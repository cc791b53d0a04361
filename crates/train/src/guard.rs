//! Numbers that are not finite, and how to keep them from the weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorReadError};
use pyrograph_model::Model;

/// Batches in a row that are left out before older weights are taken up.
const LEFT_OUT: u32 = 3;
/// How often older weights are taken up in one run.
const ROLLBACKS: u32 = 3;

/// What is not finite, if something is: `the loss` or `a gradient`. Gradients so large that their sum is beyond f32 count, too.
///
/// # Errors
///
/// When the device cannot tell.
pub(crate) fn not_finite(
    module: &impl Module,
    loss: &Tensor<1>,
    gradients: &GradientsParams,
) -> Result<Option<&'static str>, TensorReadError> {
    // A sum is finite only if all that is in it is.
    let mut sums = Sums { gradients, sums: vec![loss.clone().inner()] };
    module.visit(&mut sums);
    let sums = Tensor::cat(sums.sums, 0).try_into_data()?;
    Ok(sums
        .iter::<f32>()
        .position(|sum| !sum.is_finite())
        .map(|n| if n == 0 { "the loss" } else { "a gradient" }))
}

/// The sum of each gradient.
struct Sums<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Sums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.sum());
        }
    }
}

/// What follows after a batch that had to be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next batch.
    GoOn,
    /// The next batch, with the weights of the last checkpoint.
    RollBack,
    /// Nothing: it does not help.
    Stop,
}

/// Counts batches that are left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    in_a_row: u32,
    rollbacks: u32,
}

impl Guard {
    /// A guard that has taken up older weights so often before.
    pub(crate) fn new(rollbacks: u32) -> Self {
        Self { in_a_row: 0, rollbacks }
    }

    /// Whether the last batch was as it should be, so that there is something to save.
    pub(crate) fn is_calm(self) -> bool {
        self.in_a_row == 0
    }

    /// How often older weights were taken up.
    pub(crate) fn rollbacks(self) -> u32 {
        self.rollbacks
    }

    /// A batch went well.
    pub(crate) fn passed(&mut self) {
        self.in_a_row = 0;
    }

    /// A batch was left out.
    pub(crate) fn left_out(&mut self) -> Next {
        self.in_a_row += 1;
        if self.in_a_row < LEFT_OUT {
            return Next::GoOn;
        }
        self.in_a_row = 0;
        self.rollbacks += 1;
        if self.rollbacks > ROLLBACKS { Next::Stop } else { Next::RollBack }
    }
}

/// `model` with the running statistics of `before`. A forward pass changes them, also when nothing is learned from it.
pub(crate) fn with_statistics_of(model: Model, before: &Model) -> Model {
    // What the pass has added becomes visible only now; later it would replace what is put here.
    let _ = model.valid();
    let mut tensors = Tensors(GradientsParams::new());
    before.visit(&mut tensors);
    model.map(&mut tensors)
}

/// Tensors of any rank by parameter: what gradients are kept in holds others as well.
struct Tensors(GradientsParams);

impl ModuleVisitor for Tensors {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val());
    }
}

impl ModuleMapper for Tensors {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.remove::<D>(param.id) {
            Some(before) if !param.val().is_require_grad() => param.map(|_| Tensor::from_inner(before)),
            _ => param,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use pyrograph_model::{InputShape, ModelConfig, named_tensors, param_infos};

    use super::*;

    fn network() -> Model {
        let input = InputShape { channels: 1, height: 8, width: 8 };
        let config = ModelConfig::from_name("small_cnn", input, 3).unwrap();
        config.init(1, &Device::flex().autodiff())
    }

    fn gradients(model: &Model) -> (Tensor<1>, GradientsParams) {
        let loss = model.forward(Tensor::ones([2, 1, 8, 8], &Device::flex().autodiff())).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        (loss, gradients)
    }

    /// Puts a value into the gradient of one parameter.
    struct Poison<'a>(&'a mut GradientsParams, burn::module::ParamId, f32, usize);

    impl ModuleVisitor for Poison<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.id == self.1 {
                let gradient: Tensor<D> = self.0.remove(param.id).unwrap();
                let (dims, device) = (gradient.dims(), gradient.device());
                let mut values = gradient.into_data().try_to_vec::<f32>().unwrap();
                let at = self.3 % values.len();
                values[at] = self.2;
                let data = burn::tensor::TensorData::new(values, dims);
                self.0.register(param.id, Tensor::<D>::from_data(data, &device));
            }
        }
    }

    #[test]
    fn a_value_that_is_not_finite_is_seen_wherever_it_is() {
        let model = network();
        let (loss, sound) = gradients(&model);
        assert_eq!(not_finite(&model, &loss, &sound).unwrap(), None);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let off = loss.clone() * value;
            assert_eq!(not_finite(&model, &off, &sound).unwrap(), Some("the loss"));
            let learned = param_infos(&model).into_iter().filter(|info| info.learned);
            for (n, info) in learned.enumerate() {
                for place in [0, 7 * n + 1, usize::MAX] {
                    let (loss, mut gradients) = gradients(&model);
                    model.visit(&mut Poison(&mut gradients, info.id, value, place));
                    let found = not_finite(&model, &loss, &gradients).unwrap();
                    assert_eq!(found, Some("a gradient"), "{} {value} {place}", info.name);
                }
            }
        }
    }

    #[test]
    fn three_in_a_row_go_back_and_a_fourth_time_ends_it() {
        let mut guard = Guard::new(0);
        assert_eq!([guard.left_out(), guard.left_out()], [Next::GoOn; 2]);
        assert!(!guard.is_calm());
        guard.passed();
        for _ in 0..3 {
            assert_eq!([guard.left_out(), guard.left_out()], [Next::GoOn; 2]);
            assert_eq!(guard.left_out(), Next::RollBack);
        }
        assert_eq!([guard.left_out(), guard.left_out(), guard.left_out()][2], Next::Stop);
        let mut resumed = Guard::new(3);
        assert_eq!([resumed.left_out(), resumed.left_out(), resumed.left_out()][2], Next::Stop);
    }

    #[test]
    fn statistics_go_back_and_weights_stay() {
        let model = network();
        let _ = gradients(&model);
        let before = model.valid();
        let sound = named_tensors(&before);
        let device = Device::flex().autodiff();
        model.forward(Tensor::full([2, 1, 8, 8], f32::NAN, &device));
        let spoilt = named_tensors(&model.valid());
        assert!(spoilt.iter().any(|(_, data)| data.iter::<f32>().any(f32::is_nan)));
        let model = with_statistics_of(model, &before);
        assert_eq!(named_tensors(&model.valid()), sound);
        // And it learns on.
        assert!(!gradients(&model).1.is_empty());
        assert!(named_tensors(&model.valid()).iter().all(|(_, data)| data.iter::<f32>().all(f32::is_finite)));
    }
}
