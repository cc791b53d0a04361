//! Numbers that are not finite, and how to keep them from the weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, TensorReadError};
use pyrograph_model::Model;

/// Batches in a row that are left out before older weights are taken up.
const LEFT_OUT: u32 = 3;
/// How often older weights are taken up in one run.
const ROLLBACKS: u32 = 3;

/// What is not finite, as messages say it.
pub(crate) const LOSS: &str = "the loss";
pub(crate) const GRADIENT: &str = "a gradient";
pub(crate) const WEIGHT: &str = "a weight";

/// What is not finite, if something is: [`LOSS`] or [`GRADIENT`]. Gradients so large that their sum is beyond f32 count, too.
///
/// # Errors
///
/// When the device cannot tell.
pub(crate) fn not_finite(
    module: &impl Module,
    loss: &Tensor<1>,
    gradients: &GradientsParams,
) -> Result<Option<&'static str>, TensorReadError> {
    let mut sums = Sums { gradients: Some(gradients), sums: vec![loss.clone().inner()] };
    module.visit(&mut sums);
    Ok(sums.first_not_finite()?.map(|n| if n == 0 { LOSS } else { GRADIENT }))
}

/// Whether all weights and running statistics are finite. The loss does not always show it: on some devices, `relu` takes what is no number
/// for 0.
///
/// # Errors
///
/// When the device cannot tell.
pub(crate) fn is_finite(network: &Model) -> Result<bool, TensorReadError> {
    let mut sums = Sums { gradients: None, sums: Vec::new() };
    network.visit(&mut sums);
    Ok(sums.first_not_finite()?.is_none())
}

/// Sums of gradients, or of the parameters themselves. A sum is finite only if all that is in it is.
struct Sums<'a> {
    gradients: Option<&'a GradientsParams>,
    sums: Vec<Tensor<1>>,
}

impl Sums<'_> {
    fn first_not_finite(self) -> Result<Option<usize>, TensorReadError> {
        let sums = Tensor::cat(self.sums, 0).try_into_data()?;
        Ok(sums.iter::<f32>().position(|sum| !sum.is_finite()))
    }
}

impl ModuleVisitor for Sums<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = match self.gradients {
            Some(gradients) => gradients.get::<D>(param.id),
            None => Some(param.val()),
        };
        self.sums.extend(values.map(Tensor::sum));
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

    /// A batch was left out, since this was not finite.
    pub(crate) fn left_out(&mut self, what: &str) -> Next {
        self.in_a_row += 1;
        // Nothing good comes of weights that are bad themselves.
        if self.in_a_row < LEFT_OUT && what != WEIGHT {
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

    /// Takes the last value of the parameter of this number for no number.
    struct Spoil(usize);

    impl ModuleMapper for Spoil {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let is_it = self.0 == 0;
            self.0 = self.0.wrapping_sub(1);
            param.map(|values| {
                if !is_it {
                    return values;
                }
                let (dims, device) = (values.dims(), values.device());
                let mut values = values.into_data().try_to_vec::<f32>().unwrap();
                *values.last_mut().unwrap() = f32::NAN;
                Tensor::from_data(burn::tensor::TensorData::new(values, dims), &device)
            })
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
    fn weights_and_statistics_that_are_not_finite_are_seen() {
        let model = network().valid();
        assert!(is_finite(&model).unwrap());
        for n in 0..param_infos(&model).len() {
            let spoilt = model.clone().map(&mut Spoil(n));
            assert!(!is_finite(&spoilt).unwrap(), "{}", param_infos(&model)[n].name);
        }
    }

    #[test]
    fn three_in_a_row_go_back_and_a_fourth_time_ends_it() {
        let mut guard = Guard::new(0);
        assert_eq!([guard.left_out(LOSS), guard.left_out(LOSS)], [Next::GoOn; 2]);
        assert!(!guard.is_calm());
        guard.passed();
        for _ in 0..3 {
            assert_eq!([guard.left_out(LOSS), guard.left_out(LOSS)], [Next::GoOn; 2]);
            assert_eq!(guard.left_out(LOSS), Next::RollBack);
        }
        assert_eq!([guard.left_out(LOSS), guard.left_out(LOSS), guard.left_out(LOSS)][2], Next::Stop);
        assert_eq!(Guard::new(0).left_out(WEIGHT), Next::RollBack);
        let mut resumed = Guard::new(3);
        assert_eq!([resumed.left_out(LOSS), resumed.left_out(LOSS), resumed.left_out(LOSS)][2], Next::Stop);
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
