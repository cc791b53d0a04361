//! Cross entropy of 32-bit numbers on the CPU: each row once, and once more for its gradient.

use burn::backend::Flex;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, TensorData};

use super::exponential::exp;
use super::output::by_parts;
use super::simd::wide;
use super::sums::{highest, total};

type FlexTensor = FloatTensor<Flex>;

/// Numbers that a thread takes at once.
const PART: usize = 1 << 14;

/// The cross entropy of each row of `logits` `[batch, classes]`: `[batch]`.
///
/// # Panics
///
/// When a target is no class.
pub(super) fn forward(logits: &FlexTensor, targets: &IntTensor<Flex>, smoothing: f64) -> Option<FlexTensor> {
    let rows = Rows::new(logits, targets)?;
    let numbers = rows.logits.as_slice::<f32>()?;
    let (classes, smoothing) = (rows.classes, smoothing as f32);
    let of_row = |row: &[f32], target: usize| {
        wide(
            #[inline(always)]
            move || {
                let (highest, sum) = highest_and_sum(row);
                let of_all = total([row], |[x]| x - highest) / classes as f32;
                let likely = (1.0 - smoothing) * (row[target] - highest) + smoothing * of_all;
                sum.ln() - likely
            },
        )
    };
    let part = (PART / classes).max(1);
    let out = by_parts(
        rows.targets.len(),
        part,
        || (),
        |(), n, room| {
            let rows = numbers[n * part * classes..].chunks_exact(classes).zip(&rows.targets[n * part..]);
            room.fill(&rows.map(|(row, target)| of_row(row, *target)))
        },
    );
    let shape = [out.len()];
    Some(FlexTensor::from_data(TensorData::new(out, shape)))
}

/// The gradient of `logits`.
pub(super) fn backward(
    logits: &FlexTensor,
    targets: &IntTensor<Flex>,
    smoothing: f64,
    gradient: &FlexTensor,
) -> Option<FlexTensor> {
    let rows = Rows::new(logits, targets)?;
    if gradient.dtype() != DType::F32 {
        return None;
    }
    let gradient = gradient.to_contiguous();
    let (numbers, gradients) = (rows.logits.as_slice::<f32>()?, gradient.as_slice::<f32>()?);
    let (classes, smoothing) = (rows.classes, smoothing as f32);
    let of_each = smoothing / classes as f32;
    let part = (PART / classes).max(1);
    let out = by_parts(
        numbers.len(),
        part * classes,
        || (),
        |(), n, room| {
            let first = n * part;
            let out = room.fill_rows(
                classes,
                #[inline(always)]
                |k| {
                    let row = &numbers[(first + k) * classes..][..classes];
                    let (highest, sum) = highest_and_sum(row);
                    let (inverse, gradient) = (sum.recip(), gradients[first + k]);
                    row.iter().map(
                        #[inline(always)]
                        move |x| (exp(*x - highest) * inverse - of_each) * gradient,
                    )
                },
            );
            for (k, row) in out.chunks_exact_mut(classes).enumerate() {
                row[rows.targets[first + k]] -= (1.0 - smoothing) * gradients[first + k];
            }
            out
        },
    );
    Some(FlexTensor::from_data(TensorData::new(out, rows.logits.layout().shape().clone())))
}

/// Logits in order, and the class of each row.
struct Rows {
    logits: FlexTensor,
    classes: usize,
    targets: Vec<usize>,
}

impl Rows {
    fn new(logits: &FlexTensor, targets: &IntTensor<Flex>) -> Option<Self> {
        let [batch, classes] = logits.layout().shape().dims::<2>();
        if logits.dtype() != DType::F32 || batch * classes == 0 {
            return None;
        }
        let targets = targets.to_contiguous();
        let class = |target: i64| {
            let class = usize::try_from(target).unwrap_or(usize::MAX);
            assert!(class < classes, "target {target} of {classes} classes");
            class
        };
        let targets = match targets.dtype() {
            DType::I64 => targets.as_slice::<i64>()?.iter().map(|target| class(*target)).collect(),
            DType::I32 => targets.as_slice::<i32>()?.iter().map(|target| class((*target).into())).collect(),
            _ => return None,
        };
        Some(Self { logits: logits.to_contiguous(), classes, targets })
    }
}

/// The highest number of a row, and the sum of the exponentials of what each is below it.
#[inline(always)]
fn highest_and_sum(row: &[f32]) -> (f32, f32) {
    let highest = highest(row);
    (highest, total([row], |[x]| exp(x - highest)))
}
