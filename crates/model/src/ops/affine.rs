//! Fully connected layers of 32-bit numbers on the CPU: products of matrices, a part of what comes out for each thread.
//!
//! Work is cut by shapes alone, so that results do not depend on the number of threads.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::Pointwise;
use super::after::After;
use super::gemm::{Strides, multiply_into};
use super::normalization::vector;
use super::output::by_parts;
use super::pieces::added;
use super::simd::wide;

type FlexTensor = FloatTensor<Flex>;

/// Parts that a product is cut into, if they do not become too small or too large.
const PARTS: usize = 8;

/// Rows or columns of a part: fewer would not pay for arranging the other factor.
const LEAST: usize = 48;

/// Rows or columns that pay for it even where it is larger than the cache.
const MOST: usize = 256;

/// Numbers that the cache holds: 1 MiB.
const CACHE: usize = 1 << 18;

/// Columns are cut at multiples of it, so that vectors are full.
const TOGETHER: usize = 64;

/// Multiplications that are not worth a thread of their own.
const SMALL: usize = 1 << 17;

/// A matrix that lies in a slice.
type Matrix<'a> = (&'a [f32], Strides);

/// Rows and columns of `tensor` if it is a matrix of 32-bit numbers and has any.
fn dims(tensor: &FlexTensor) -> Option<[usize; 2]> {
    let shape = tensor.layout().shape();
    (tensor.dtype() == DType::F32 && shape.num_dims() == 2 && shape.num_elements() > 0)
        .then(|| shape.dims::<2>())
}

/// `function(x · weight + bias)`.
pub(super) fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    function: Option<Pointwise>,
) -> Option<FlexTensor> {
    let ([rows, inputs], [_, outputs]) = (dims(x)?, dims(weight)?);
    let (x, weight, bias) = (x.to_contiguous(), weight.to_contiguous(), bias.to_contiguous());
    let after = After { bias: Some(bias.as_slice()?), function };
    let x = (x.as_slice()?, Strides::rows(inputs));
    let weight = (weight.as_slice()?, Strides::rows(outputs));
    Some(matrix(product([rows, inputs, outputs], x, weight, after), [rows, outputs]))
}

pub(super) fn x_backward(weight: &FlexTensor, gradient: &FlexTensor) -> Option<FlexTensor> {
    let ([inputs, outputs], [rows, _]) = (dims(weight)?, dims(gradient)?);
    let (weight, gradient) = (weight.to_contiguous(), gradient.to_contiguous());
    let weight = (weight.as_slice()?, Strides::rows(outputs).transposed());
    let gradient = (gradient.as_slice()?, Strides::rows(outputs));
    Some(matrix(product([rows, outputs, inputs], gradient, weight, After::NOTHING), [rows, inputs]))
}

pub(super) fn weight_backward(x: &FlexTensor, gradient: &FlexTensor) -> Option<FlexTensor> {
    let ([rows, inputs], [_, outputs]) = (dims(x)?, dims(gradient)?);
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let x = (x.as_slice()?, Strides::rows(inputs).transposed());
    let gradient = (gradient.as_slice()?, Strides::rows(outputs));
    Some(matrix(product([inputs, rows, outputs], x, gradient, After::NOTHING), [inputs, outputs]))
}

pub(super) fn bias_backward(gradient: &FlexTensor) -> Option<FlexTensor> {
    let [rows, outputs] = dims(gradient)?;
    Some(vector(of_columns(gradient.to_contiguous().as_slice()?, rows, outputs)))
}

fn matrix(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// `a · b`, both of one element at least, row after row. `after` is done to the columns, as
/// channels, while they are in the cache.
pub(super) fn product(
    [rows, inner, columns]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    after: After<'_>,
) -> Vec<f32> {
    let is_small = rows * inner * columns <= SMALL;
    // Rows or columns of a part, where the other factor has so many numbers.
    let many = |all: usize, other: usize| {
        let least = if other > CACHE { MOST } else { LEAST };
        if is_small { all } else { all.div_ceil(PARTS).clamp(least, MOST) }
    };
    if is_small || rows >= columns || columns < 2 * TOGETHER {
        let many = many(rows, inner * columns);
        return by_parts(
            rows * columns,
            many * columns,
            || (),
            |(), n, room| {
                let rows = room.len() / columns;
                let a = (&a.0[n * many * a.1.row..], a.1);
                let out = multiply_into([rows, inner, columns], a, b, room);
                out.chunks_exact_mut(columns).for_each(|row| after.row(0, row));
                out
            },
        );
    }
    // Few rows: some columns for each thread, which are put side by side at the end.
    let many = many(columns, rows * inner).next_multiple_of(TOGETHER);
    let parts = (0..columns.div_ceil(many)).into_par_iter().map(|n| {
        let begin = n * many;
        let columns = many.min(columns - begin);
        let b = (&b.0[begin * b.1.column..], b.1);
        by_parts(
            rows * columns,
            rows * columns,
            || (),
            |(), _, room| {
                let part = multiply_into([rows, inner, columns], a, b, room);
                part.chunks_exact_mut(columns).for_each(|row| after.row(begin, row));
                part
            },
        )
    });
    let parts: Vec<Vec<f32>> = parts.collect();
    let mut all = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for part in &parts {
            let columns = part.len() / rows;
            all.extend_from_slice(&part[row * columns..][..columns]);
        }
    }
    all
}

/// The sum of each column of a matrix, some rows for each thread.
fn of_columns(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let many = rows.div_ceil(PARTS).max(LEAST);
    let parts = values.par_chunks(many * columns).map(|values| {
        let mut sum = vec![0.0; columns];
        wide(
            #[inline(always)]
            || {
                for row in values.chunks_exact(columns) {
                    for (sum, value) in sum.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
            },
        );
        sum
    });
    added(parts.collect::<Vec<_>>().into_iter())
}
