//! Position embeddings for another image size.

use std::collections::BTreeMap;

use burn::tensor::TensorData;

use crate::{ModelConfig, ParamError};

/// The position embedding of a vision transformer for another grid of patches, so that weights learned on images of one size start a
/// network for another: antialiased bicubic interpolation, as timm's. What stands before the patches, a class token's position, is kept.
///
/// # Shapes
///
/// - embedding: `[1, before + rows · columns, width]` with the rows and columns of `from`
/// - output: `[1, before + rows · columns, width]` with those of `to`
///
/// # Errors
///
/// When the embedding has another rank, fewer tokens than `from` has patches, or a grid is empty.
pub fn resize_position_embedding(
    embedding: &TensorData,
    from: [usize; 2],
    to: [usize; 2],
) -> Result<TensorData, ParamError> {
    let found = embedding.shape().to_vec();
    let patches = from[0].saturating_mul(from[1]);
    let (tokens, width) = match found[..] {
        [1, tokens, width] if tokens >= patches && !from.contains(&0) && !to.contains(&0) => (tokens, width),
        _ => {
            let needed = vec![1, patches.max(1), found.last().copied().unwrap_or(0)];
            return Err(ParamError::Shape { name: "the position embedding".to_owned(), found, needed });
        }
    };
    let before = tokens - patches;
    let values: Vec<f32> = embedding.iter::<f32>().collect();
    let (kept, grid) = values.split_at(before * width);
    let (rows, columns) = (taps(from[0], to[0]), taps(from[1], to[1]));
    // Rows of the image first keep their place: [from rows, to columns, width].
    let mut wide = vec![0.0; from[0] * to[1] * width];
    for (row, target) in wide.chunks_exact_mut((to[1] * width).max(1)).enumerate() {
        blend(&grid[row * from[1] * width..], width, &columns, target);
    }
    let mut output = kept.to_vec();
    output.resize((before + to[0] * to[1]) * width, 0.0);
    blend(&wide, to[1] * width, &rows, &mut output[before * width..]);
    Ok(TensorData::new(output, [1, before + to[0] * to[1], width]))
}

/// `tensors` learned on images of another size, for those of `config`: the position embedding of a vision transformer is resized, which must
/// have been learned on square images. Other networks take any size.
///
/// # Errors
///
/// As [`resize_position_embedding`].
pub fn fit_image_size(
    config: &ModelConfig,
    tensors: &mut BTreeMap<String, TensorData>,
) -> Result<(), ParamError> {
    let ModelConfig::ViT(vit) = config else { return Ok(()) };
    let names = ["pos_embed", "encoder.pos_embedding"];
    let Some((_, embedding)) = tensors.iter_mut().find(|(name, _)| names.contains(&name.as_str())) else {
        return Ok(());
    };
    let (to, tokens) = (vit.grid(), embedding.shape().to_vec().get(1).copied().unwrap_or(0));
    let side = tokens.saturating_sub(1).isqrt();
    if side * side + 1 == tokens && [side; 2] != to {
        *embedding = resize_position_embedding(embedding, [side; 2], to)?;
    }
    Ok(())
}

/// What one target is made of: the first source, and the weight of each from there on.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

/// Each of `to` targets that lie over `from` sources.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    // Where it shrinks, the kernel is as wide as the targets: that is the antialiasing.
    let stretch = scale.max(1.0);
    let taps = (0..to).map(|n| {
        let center = (n as f64 + 0.5) * scale;
        let first = (center - 2.0 * stretch + 0.5).max(0.0) as usize;
        let end = ((center + 2.0 * stretch + 0.5) as usize).min(from);
        let weights = (first..end).map(|source| cubic((source as f64 + 0.5 - center) / stretch));
        let mut weights: Vec<f64> = weights.collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Taps { first, weights }
    });
    taps.collect()
}

/// Keys' cubic kernel with slope -1/2 (<https://doi.org/10.1109/TASSP.1981.1163711>).
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Each run of `length` values of `target`, made of the runs of `source` that its taps say.
fn blend(source: &[f32], length: usize, taps: &[Taps], target: &mut [f32]) {
    for (target, taps) in target.chunks_exact_mut(length.max(1)).zip(taps) {
        for (n, value) in target.iter_mut().enumerate() {
            let sources = source[taps.first * length + n..].iter().step_by(length.max(1));
            let sum: f64 = sources.zip(&taps.weights).map(|(&value, weight)| f64::from(value) * weight).sum();
            *value = sum as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // `sin(0.7 n)` through timm, old and new grid (2, 3), (4, 5) and (5, 4), (2, 3):
    //
    //     python -c 'import torch; from timm.layers import resample_abs_pos_embed as r
    //     e = lambda t, w: (torch.arange(t * w, dtype=torch.float64) * 0.7).sin().float().reshape(1, t, w)
    //     for old, new in (((2, 3), (4, 5)), ((5, 4), (2, 3))): print(r(e(1 + old[0] * old[1], 2), new, old))'
    const LARGER: [f32; 42] = [
        0.0, 0.644218, 1.190103, 1.044066, 0.899527, 0.472591, 0.306576, -0.468926, -0.594016, -0.939889,
        -1.124297, -1.144719, 0.669341, 0.745342, 0.60427, 0.449487, 0.401688, -0.073429, -0.203977,
        -0.522661, -0.58312, -0.761104, -0.363293, 0.152993, 0.018794, 0.403674, 0.590287, 0.710814,
        0.569443, 0.304672, 0.489996, -0.00042, -0.884055, -0.145731, -0.276464, 0.38057, 0.685398, 1.106311,
        0.959482, 0.7219, 1.031173, 0.383196,
    ];
    const SMALLER: [f32; 14] = [
        0.0, 0.644218, 0.722091, 0.784284, 0.188426, -0.332286, -0.806377, -0.635647, -0.320734, 0.231686,
        0.748575, 0.66811, -0.014116, -0.530543,
    ];

    fn waves([rows, columns]: [usize; 2]) -> TensorData {
        let tokens = 1 + rows * columns;
        let values: Vec<f32> = (0..2 * tokens).map(|n| (f64::from(n as u32) * 0.7).sin() as f32).collect();
        TensorData::new(values, [1, tokens, 2])
    }

    #[test]
    fn weights_of_one_image_size_start_a_network_for_another() {
        let config = |height, width| {
            let input = crate::InputShape { channels: 3, height, width };
            ModelConfig::from_name("vit_tiny_patch16_224", input, 5).unwrap()
        };
        let device = burn::tensor::Device::flex();
        let learned = || crate::named_tensors(&config(32, 32).init(1, &device)).into_iter().collect();
        let other = config(48, 64);
        let load = |tensors| crate::load_tensors(other.init(2, &device), tensors);
        assert!(matches!(load(learned()), Err(ParamError::Shape { .. })));
        let mut tensors: BTreeMap<String, TensorData> = learned();
        fit_image_size(&other, &mut tensors).unwrap();
        assert_eq!(tensors["pos_embed"].shape().to_vec(), [1, 13, 192]);
        assert!(load(tensors).is_ok());
    }

    #[test]
    fn grids_are_resized_as_timm_does() {
        for (from, to, expected) in [([2, 3], [4, 5], &LARGER[..]), ([5, 4], [2, 3], &SMALLER[..])] {
            let resized = resize_position_embedding(&waves(from), from, to).unwrap();
            assert_eq!(resized.shape().to_vec(), [1, 1 + to[0] * to[1], 2]);
            for (ours, theirs) in resized.iter::<f32>().zip(expected) {
                assert!((ours - theirs).abs() < 2e-6, "{ours} is not {theirs}");
            }
        }
        assert_eq!(resize_position_embedding(&waves([3, 2]), [3, 2], [3, 2]).unwrap(), waves([3, 2]));
    }

    #[test]
    fn an_embedding_of_another_grid_is_refused() {
        assert!(resize_position_embedding(&waves([2, 2]), [3, 3], [4, 4]).is_err());
        assert!(resize_position_embedding(&waves([2, 2]), [2, 2], [0, 4]).is_err());
    }
}
