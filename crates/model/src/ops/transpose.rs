//! Rows of a matrix become columns.

use pulp::{Arch, Simd, WithSimd};

use super::simd::MOST_LANES;

/// Rows of which the same columns are exchanged in registers.
const ROWS: usize = 4;

/// Numbers in a line of the cache.
const LINE: usize = 16;

/// Writes the matrix `from`, so many rows and columns with its rows `from_row` apart, into `to` with what were its columns `to_row` apart.
pub(super) fn transpose(
    shape: [usize; 2],
    (from, from_row): (&[f32], usize),
    (to, to_row): (&mut [f32], usize),
) {
    Arch::new().dispatch(Transpose { shape, from, from_row, to, to_row });
}

struct Transpose<'a> {
    shape: [usize; 2],
    from: &'a [f32],
    from_row: usize,
    to: &'a mut [f32],
    to_row: usize,
}

impl WithSimd for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { shape: [rows, columns], from, from_row, to, to_row } = self;
        let lanes = S::F32_LANES;
        let (whole_rows, whole_columns) = (rows / ROWS * ROWS, columns / lanes * lanes);
        // Which column each group of values that come together is of: machines differ.
        let mut order = [0.0; MOST_LANES];
        order.iter_mut().enumerate().for_each(|(n, order)| *order = n as f32);
        let order = together::<S>(simd, [&order[..lanes]; ROWS]).map(|values| values[0] as usize);
        // A line of the cache at a time: rows may be so far apart that few of their lines stay in it together.
        for line in (0..whole_rows).step_by(LINE) {
            for column in (0..whole_columns).step_by(lanes) {
                for row in (line..(line + LINE).min(whole_rows)).step_by(ROWS) {
                    let from = &from[row * from_row + column..];
                    let values = together(simd, std::array::from_fn(|n| &from[n * from_row..][..lanes]));
                    for (values, order) in values.iter().zip(order).take(lanes) {
                        to[(column + order) * to_row + row..][..ROWS].copy_from_slice(values);
                    }
                }
            }
        }
        for row in 0..rows {
            let first = if row < whole_rows { whole_columns } else { 0 };
            for column in first..columns {
                to[column * to_row + row] = from[row * from_row + column];
            }
        }
    }
}

/// The values of each column of a vector from each row.
#[inline(always)]
fn together<S: Simd>(simd: S, rows: [&[f32]; ROWS]) -> [[f32; ROWS]; MOST_LANES] {
    let rows = rows.map(|row| S::as_simd_f32s(row).0[0]);
    let mut values = [[0.0; ROWS]; MOST_LANES];
    let (vectors, _) = S::as_mut_simd_f32s(values.as_flattened_mut());
    vectors[..ROWS].copy_from_slice(&simd.interleave_shfl_f32s(rows));
    values
}
