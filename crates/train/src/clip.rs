//! Gradients whose norms are bounded.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// `gradients` of `module`, all scaled by one factor if their norm, taken over all of them together, is above `most`. PyTorch's
/// `clip_grad_norm_`.
pub(crate) fn clip_norm(module: &impl Module, mut gradients: GradientsParams, most: f64) -> GradientsParams {
    let mut squares = Squares { gradients: &gradients, sum: None };
    module.visit(&mut squares);
    let Some(sum) = squares.sum else { return gradients };
    // Stays on the device: nobody waits for the number.
    let factor = (sum.sqrt() + 1e-6).recip().mul_scalar(most).clamp_max(1.0);
    module.visit(&mut Scale { gradients: &mut gradients, factor });
    gradients
}

/// The sum of all squares.
struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            let square = gradient.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor.clone().unsqueeze());
        }
    }
}

/// `gradients` of `module`, each unit's scaled so that its norm is at most `most` times that of the unit's weights, these taken for 0.001 where
/// they are less. A unit is what makes one output channel, and a whole vector. timm's `adaptive_clip_grad`
/// (<https://arxiv.org/abs/2102.06171>).
pub(crate) fn clip_adaptive(
    module: &impl Module,
    mut gradients: GradientsParams,
    most: f64,
) -> GradientsParams {
    module.visit(&mut Adapt { gradients: &mut gradients, most });
    gradients
}

struct Adapt<'a> {
    gradients: &'a mut GradientsParams,
    most: f64,
}

impl ModuleVisitor for Adapt<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        let weights = unit_norms(param.val().inner()).clamp_min(1e-3) * self.most;
        let norms = unit_norms(gradient.clone());
        let factor = (weights / norms.clamp_min(1e-6)).clamp_max(1.0);
        self.gradients.register(param.id, gradient * factor);
    }
}

/// The norm of each unit, with 1 in place of the axes it is taken over.
fn unit_norms<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let units = match D {
        1 => None,
        // Linear layers are `[inputs, outputs]`.
        2 => Some(1),
        // Convolutions are `[outputs, …]`.
        _ => Some(0),
    };
    let over = (0..D).filter(|axis| Some(*axis) != units);
    over.fold(tensor.square(), |sum, axis| sum.sum_dim(axis)).sqrt()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn units_are_clipped_as_timm_does() {
        let device = Device::flex().autodiff();
        let off = Device::flex();
        let two = Two {
            vector: Param::from_data([3.0, 4.0], &device),
            // A linear layer of two inputs and two outputs: PyTorch's is the transpose.
            matrix: Param::from_data([[1.0, 0.0], [2.0, 0.0]], &device),
        };
        let mut gradients = GradientsParams::new();
        gradients.register(two.vector.id, Tensor::<1>::from_floats([6.0, 8.0], &off));
        gradients.register(two.matrix.id, Tensor::<2>::from_floats([[3.0, 0.3], [4.0, 0.4]], &off));
        let gradients = clip_adaptive(&two, gradients, 0.5);
        let vector = gradients.get::<1>(two.vector.id).unwrap().into_data().try_to_vec::<f32>().unwrap();
        let matrix = gradients.get::<2>(two.matrix.id).unwrap().into_data().try_to_vec::<f32>().unwrap();
        // timm 1.0.31.
        let expected = [1.5, 2.0, 0.670_820_36, 0.0003, 0.894_427_2, 0.0004];
        for (ours, theirs) in vector.into_iter().chain(matrix).zip(expected) {
            assert!((ours - theirs).abs() < 1e-6, "{ours}, not {theirs}");
        }
    }

    #[derive(Module, Debug)]
    struct Two {
        vector: Param<Tensor<1>>,
        matrix: Param<Tensor<2>>,
    }

    fn clipped(most: f64) -> (Vec<f32>, Vec<f32>) {
        let device = Device::flex();
        let two = Two {
            vector: Param::from_data([0.0, 0.0], &device),
            matrix: Param::from_data([[0.0, 0.0]], &device),
        };
        let mut gradients = GradientsParams::new();
        gradients.register(two.vector.id, Tensor::<1>::from_floats([3.0, 0.0], &device));
        gradients.register(two.matrix.id, Tensor::<2>::from_floats([[0.0, 4.0]], &device));
        let gradients = clip_norm(&two, gradients, most);
        let values = |data: burn::tensor::TensorData| data.try_to_vec::<f32>().unwrap();
        (
            values(gradients.get::<1>(two.vector.id).unwrap().into_data()),
            values(gradients.get::<2>(two.matrix.id).unwrap().into_data()),
        )
    }

    #[test]
    fn the_norm_is_taken_over_all_gradients() {
        // 3 and 4 are 5 together.
        assert_eq!(clipped(10.0), (vec![3.0, 0.0], vec![0.0, 4.0]));
        let (vector, matrix) = clipped(1.0);
        assert!((vector[0] - 0.6).abs() < 1e-6 && (matrix[1] - 0.8).abs() < 1e-6);
    }
}
