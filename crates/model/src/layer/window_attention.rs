//! Attention within windows (<https://arxiv.org/abs/2103.14030>), so that work grows with the picture and not with its square.

use burn::module::{Module, Param};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::{Linear, LinearConfig, LinearInit, attend_with};
use crate::InitRng;
use crate::init::Draw;

/// Attention within windows, where likeness depends on how two tokens lie to each other as well. Names are
/// torchvision's.
#[derive(Module, Debug)]
pub struct WindowAttention {
    /// `[(2 window - 1)², heads]`: a number for each way that two tokens can lie, and each head.
    relative_position_bias_table: Param<Tensor<2>>,
    qkv: Linear,
    proj: Linear,
    heads: usize,
    shifts: bool,
}

impl WindowAttention {
    /// The layer for `features` features, a multiple of `heads`.
    #[must_use]
    pub fn new(
        (features, heads): (usize, usize),
        window: usize,
        shifts: bool,
        init: LinearInit,
        rng: &mut InitRng,
        device: &Device,
    ) -> Self {
        let linear = |outputs| LinearConfig { init, ..LinearConfig::new(features, outputs) };
        let ways = (2 * window - 1) * (2 * window - 1);
        Self {
            relative_position_bias_table: rng.param([ways, heads], Draw::Normal { std: 0.02 }, device),
            qkv: linear(3 * features).init(rng, device),
            proj: linear(features).init(rng, device),
            heads,
            shifts,
        }
    }

    /// # Shapes
    ///
    /// - input and output: `[batch, height, width, features]`, the size that `windows` cut
    pub fn forward(&self, x: Tensor<4>, windows: &Windows) -> Tensor<4> {
        let &Windows { window, rows, columns, .. } = windows;
        let [batch, height, width, features] = x.dims();
        let (heads, area) = (self.heads, window * window);
        let x = fill_up(x, rows * window, columns * window);
        let [down, right] = if self.shifts { windows.shift } else { [0, 0] };
        let x = x.roll(&[-(down as i64), -(right as i64)], &[1, 2]);

        let qkv = self.qkv.forward(x);
        let qkv = qkv.reshape([batch, rows, window, columns, window, 3, heads, features / heads]);
        let qkv = qkv.permute([5, 0, 1, 3, 6, 2, 4, 7]);
        let qkv = qkv.reshape([3 * batch, rows * columns * heads, area, features / heads]);
        let x = attend_with(&qkv, Some(self.bias(windows)));
        let x = x.reshape([batch, rows, columns, heads, window, window, features / heads]);
        let x = x.permute([0, 1, 4, 2, 5, 3, 6]);
        let x = x.reshape([batch, rows * window, columns * window, features]);

        let x = x.roll(&[down as i64, right as i64], &[1, 2]);
        self.proj.forward(x.slice([0..batch, 0..height, 0..width, 0..features]))
    }

    /// What is added to the likeness of two tokens: `[1, windows · heads, tokens, tokens]`.
    fn bias(&self, windows: &Windows) -> Tensor<4> {
        let count = windows.rows * windows.columns;
        let (heads, area) = (self.heads, windows.window * windows.window);
        let bias = self.relative_position_bias_table.val().select(0, windows.lie.clone());
        let bias = bias.reshape([1, area, area, heads]).permute([0, 3, 1, 2]);
        let bias = match &windows.mask {
            Some(mask) if self.shifts => bias + mask.clone(),
            _ => bias.expand([count, heads, area, area]),
        };
        bias.reshape([1, count * heads, area, area])
    }
}

/// How a map is cut into windows: the same in all blocks of a stage.
#[derive(Debug, Clone)]
pub struct Windows {
    window: usize,
    /// Windows one below the other.
    rows: usize,
    /// Windows side by side.
    columns: usize,
    /// Tokens that shifting blocks shift by, up and to the left; where one window reaches over all there is nothing to shift.
    shift: [usize; 2],
    /// `[window⁴]`: for each two tokens of a window the row of the bias table.
    lie: Tensor<1, Int>,
    /// `[windows, 1, window², window²]`: minus 100 for two tokens that only the shift has brought together.
    mask: Option<Tensor<4>>,
}

impl Windows {
    /// Windows of `window` x `window` tokens over a map of this size.
    #[must_use]
    pub fn new(window: usize, height: usize, width: usize, device: &Device) -> Self {
        let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
        let shift = [rows, columns].map(|count| if count > 1 { window / 2 } else { 0 });
        let area = window * window;
        let lie = (0..area * area).map(|pair| {
            let (one, other) = (pair / area, pair % area);
            let down = one / window + window - 1 - other / window;
            let right = one % window + window - 1 - other % window;
            (down * (2 * window - 1) + right) as i64
        });
        let lie = Tensor::from_data(TensorData::new(lie.collect::<Vec<i64>>(), [area * area]), device);
        let mask = (shift != [0, 0]).then(|| {
            // After the shift the last window of a row or column holds tokens of its own and others from the far side.
            let part = |place: usize, count: usize, shift: usize| {
                let from_far = shift > 0 && place >= count * window - shift;
                usize::from(from_far) + usize::from(place >= (count - 1) * window)
            };
            let parts = (0..rows * columns * area).map(|token| {
                let (at, inside) = (token / area, token % area);
                let down = part(at / columns * window + inside / window, rows, shift[0]);
                let right = part(at % columns * window + inside % window, columns, shift[1]);
                (3 * down + right) as f32
            });
            let shape = [rows * columns, 1, area, 1];
            let parts = Tensor::<4>::from_data(TensorData::new(parts.collect::<Vec<f32>>(), shape), device);
            let differs = (parts.clone() - parts.swap_dims(2, 3)).not_equal_elem(0.0);
            differs.float() * -100.0
        });
        Self { window, rows, columns, shift, lie, mask }
    }
}

/// `[batch, height, width, features]` with zeros below and to the right.
#[must_use]
pub fn fill_up(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let [_, rows, columns, _] = x.dims();
    if [rows, columns] == [height, width] {
        return x;
    }
    x.pad([(0, 0), (0, height - rows), (0, width - columns), (0, 0)], PadMode::Constant(0.0))
}
