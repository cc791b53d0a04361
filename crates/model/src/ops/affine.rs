//! Fully connected layers of 32-bit numbers on the CPU: products of matrices, a part of what comes out for each thread.
//!
//! Work is cut by shapes alone, so that results do not depend on the number of threads.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, TensorData};
use rayon::prelude::*;

use super::Pointwise;
use super::gemm::{Strides, multiply, multiply_into};
use super::normalization::vector;
use super::output::by_parts;
use super::pointwise_loops::in_row;
use super::simd::wide;

type FlexTensor = FloatTensor<Flex>;

/// Parts that a product is cut into.
const PARTS: usize = 8;

/// Rows that a part has at least: fewer would not pay for arranging the other factor.
const LEAST_ROWS: usize = 48;

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
    let bias = bias.as_slice::<f32>()?;
    let x = (x.as_slice()?, Strides::rows(inputs));
    let weight = (weight.as_slice()?, Strides::rows(outputs));
    let product = product([rows, inputs, outputs], x, weight, |row, begin| {
        in_row(row, &bias[begin..][..row.len()], function);
    });
    Some(matrix(product, [rows, outputs]))
}

pub(super) fn x_backward(weight: &FlexTensor, gradient: &FlexTensor) -> Option<FlexTensor> {
    let ([inputs, outputs], [rows, _]) = (dims(weight)?, dims(gradient)?);
    let (weight, gradient) = (weight.to_contiguous(), gradient.to_contiguous());
    let weight = (weight.as_slice()?, Strides::rows(outputs).transposed());
    let gradient = (gradient.as_slice()?, Strides::rows(outputs));
    Some(matrix(product([rows, outputs, inputs], gradient, weight, |_, _| ()), [rows, inputs]))
}

pub(super) fn weight_backward(x: &FlexTensor, gradient: &FlexTensor) -> Option<FlexTensor> {
    let ([rows, inputs], [_, outputs]) = (dims(x)?, dims(gradient)?);
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let x = (x.as_slice()?, Strides::rows(inputs).transposed());
    let gradient = (gradient.as_slice()?, Strides::rows(outputs));
    Some(matrix(product([inputs, rows, outputs], x, gradient, |_, _| ()), [inputs, outputs]))
}

pub(super) fn bias_backward(gradient: &FlexTensor) -> Option<FlexTensor> {
    let [rows, outputs] = dims(gradient)?;
    Some(vector(of_columns(gradient.to_contiguous().as_slice()?, rows, outputs)))
}

fn matrix(values: Vec<f32>, shape: [usize; 2]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// `a · b`, row after row. `after` is done to what is there of each row in the cache; it is told in which column that begins.
fn product(
    [rows, inner, columns]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    after: impl Fn(&mut [f32], usize) + Sync,
) -> Vec<f32> {
    let is_small = rows * inner * columns <= SMALL;
    let many = if is_small { rows } else { rows.div_ceil(PARTS).max(LEAST_ROWS) };
    if is_small || rows > 2 * LEAST_ROWS || columns < 4 * MOST_COLUMNS_TOGETHER {
        return by_parts(
            rows * columns,
            many * columns,
            || (),
            |(), n, room| {
                let rows = room.len() / columns;
                let a = (&a.0[n * many * a.1.row..], a.1);
                let out = multiply_into([rows, inner, columns], a, b, room);
                out.chunks_exact_mut(columns).for_each(|row| after(row, 0));
                out
            },
        );
    }
    beside([rows, inner, columns], a, b, after)
}

/// Columns are cut at multiples of it, so that vectors are full.
const MOST_COLUMNS_TOGETHER: usize = 64;

/// The same for few rows: some columns for each thread.
fn beside(
    [rows, inner, columns]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    after: impl Fn(&mut [f32], usize) + Sync,
) -> Vec<f32> {
    let wide = columns.div_ceil(PARTS / 2).next_multiple_of(MOST_COLUMNS_TOGETHER);
    let parts = (0..columns.div_ceil(wide)).into_par_iter().map(|n| {
        let begin = n * wide;
        let here = wide.min(columns - begin);
        let mut part = vec![0.0; rows * here];
        let b = (&b.0[begin * b.1.column..], b.1);
        multiply([rows, inner, here], a, b, (&mut part, Strides::rows(here)), false);
        part.chunks_exact_mut(here).for_each(|row| after(row, begin));
        part
    });
    let parts: Vec<Vec<f32>> = parts.collect();
    let mut all = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for part in &parts {
            let here = part.len() / rows;
            all.extend_from_slice(&part[row * here..][..here]);
        }
    }
    all
}

/// The sum of each column of a matrix, some rows for each thread.
pub(super) fn of_columns(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let many = rows.div_ceil(PARTS).max(LEAST_ROWS);
    let parts = values.par_chunks(many * columns).map(|values| {
        let mut sum = vec![0.0; columns];
        wide(
            #[inline(always)]
            || {
                for row in values.chunks_exact(columns) {
                    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
                }
            },
        );
        sum
    });
    added(parts.collect(), columns)
}

/// Sums of parts, added up in their order.
pub(super) fn added(parts: Vec<Vec<f32>>, columns: usize) -> Vec<f32> {
    parts.into_iter().fold(vec![0.0; columns], |mut sum, part| {
        sum.iter_mut().zip(&part).for_each(|(sum, part)| *sum += part);
        sum
    })
}
