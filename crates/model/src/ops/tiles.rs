//! Products of matrices as they lie: tiles of what comes out are summed in registers, and nothing is arranged before.

use std::mem::MaybeUninit;

use pulp::{Arch, Simd, WithSimd};

/// Vectors of columns in a tile.
const VECTORS: usize = 3;

/// Rows of a tile where there are 32 registers, and where there are fewer.
const ROWS: usize = 8;
const FEWER_ROWS: usize = 4;

/// Rows whose sums for a column that fills no vector are made at once.
const AT_ONCE: usize = 4;

/// The product of a matrix of `rows` by `inner` and one of `inner` by `columns` numbers.
pub(super) struct Product<'a> {
    /// `[rows, inner, columns]`.
    pub(super) shape: [usize; 3],
    pub(super) left: Left<'a>,
    /// Row after row, so far apart.
    pub(super) right: (&'a [f32], usize),
    /// Row after row, so far apart; each element is written once.
    pub(super) out: (&'a mut [MaybeUninit<f32>], usize),
}

/// How the left matrix lies.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Row after row, so far apart.
    Rows(&'a [f32], usize),
    /// Column after column, so far apart.
    Columns(&'a [f32], usize),
}

impl Product<'_> {
    /// Writes the product.
    ///
    /// # Panics
    ///
    /// When a matrix does not lie in its slice.
    pub(super) fn compute(self) {
        Arch::new().dispatch(self);
    }
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let [_, _, columns] = self.shape;
        let lanes = S::F32_LANES;
        let vectors = columns / lanes;
        let mut vector = 0;
        while vector < vectors {
            let column = vector * lanes;
            vector += match vectors - vector {
                1 => self.columns::<S, 1>(simd, column),
                2 | 4 => self.columns::<S, 2>(simd, column),
                _ => self.columns::<S, VECTORS>(simd, column),
            };
        }
        if columns > vectors * lanes {
            self.last_columns(simd, vectors * lanes);
        }
    }
}

impl Product<'_> {
    /// So many vectors of columns of all rows.
    #[inline(always)]
    fn columns<S: Simd, const WIDE: usize>(&mut self, simd: S, column: usize) -> usize {
        let [rows, ..] = self.shape;
        let most = if S::REGISTER_COUNT >= 32 { ROWS } else { FEWER_ROWS };
        let mut row = 0;
        while row < rows {
            row += match (rows - row).min(most) {
                1 => self.tile::<S, 1, WIDE>(simd, row, column),
                2 | 3 => self.tile::<S, 2, WIDE>(simd, row, column),
                4..ROWS => self.tile::<S, FEWER_ROWS, WIDE>(simd, row, column),
                _ => self.tile::<S, ROWS, WIDE>(simd, row, column),
            };
        }
        WIDE
    }

    /// The sums of some rows in some vectors of columns. Returns how many rows.
    #[inline(always)]
    fn tile<S: Simd, const HIGH: usize, const WIDE: usize>(
        &mut self,
        simd: S,
        row: usize,
        column: usize,
    ) -> usize {
        let Self { shape: [_, inner, _], left, right: (right, to_next), .. } = *self;
        let right = (&right[column..], to_next);
        let sums: [[S::f32s; WIDE]; HIGH] = match left {
            Left::Rows(left, to_next) => {
                let left: [&[f32]; HIGH] = std::array::from_fn(|n| &left[(row + n) * to_next..][..inner]);
                sums(
                    simd,
                    inner,
                    right,
                    #[inline(always)]
                    |n, k| left[n][k],
                )
            }
            Left::Columns(left, to_next) => {
                let left = &left[row..];
                sums(
                    simd,
                    inner,
                    right,
                    #[inline(always)]
                    |n, k| left[k * to_next..][..HIGH][n],
                )
            }
        };
        let width = WIDE * S::F32_LANES;
        let (out, to_next) = (&mut self.out.0[row * self.out.1 + column..], self.out.1);
        for (n, sums) in sums.iter().enumerate() {
            let (out, _) = S::as_uninit_mut_simd_f32s(&mut out[n * to_next..][..width]);
            for (out, sum) in out.iter_mut().zip(sums) {
                out.write(*sum);
            }
        }
        HIGH
    }

    /// The columns that fill no vector.
    #[inline(always)]
    fn last_columns<S: Simd>(&mut self, simd: S, first: usize) {
        let Self { shape: [rows, inner, columns], left, right: (right, to_next), .. } = *self;
        let (out, to_row) = (&mut *self.out.0, self.out.1);
        // Each of them row after row.
        let mut last = vec![0.0; (columns - first) * inner];
        for k in 0..inner {
            let numbers = &right[k * to_next + first..][..columns - first];
            last.iter_mut().skip(k).step_by(inner).zip(numbers).for_each(|(to, number)| *to = *number);
        }
        match left {
            Left::Rows(left, to_next) => {
                let row = |row: usize| &left[row.min(rows - 1) * to_next..][..inner];
                for (column, numbers) in (first..).zip(last.chunks_exact(inner)) {
                    for first in (0..rows).step_by(AT_ONCE) {
                        let sums = along(simd, std::array::from_fn(|n| row(first + n)), numbers);
                        for (n, sum) in sums.into_iter().enumerate().take(rows - first) {
                            out[(first + n) * to_row + column].write(sum);
                        }
                    }
                }
            }
            Left::Columns(left, to_next) => {
                // The same product with rows and columns exchanged.
                let mut turned = vec![MaybeUninit::uninit(); (columns - first) * rows];
                let shape = [columns - first, inner, rows];
                let last = Left::Rows(&last, inner);
                Product { shape, left: last, right: (left, to_next), out: (&mut turned, rows) }.compute();
                for (column, turned) in (first..).zip(turned.chunks_exact(rows)) {
                    for (row, sum) in turned.iter().enumerate() {
                        out[row * to_row + column] = *sum;
                    }
                }
            }
        }
    }
}

/// For some rows and vectors of columns, the sums of `factor(row, k)` times what the k-th row of the right matrix begins with.
#[inline(always)]
fn sums<S: Simd, const HIGH: usize, const WIDE: usize>(
    simd: S,
    inner: usize,
    (right, to_next): (&[f32], usize),
    factor: impl Fn(usize, usize) -> f32,
) -> [[S::f32s; WIDE]; HIGH] {
    let mut sums = [[simd.splat_f32s(0.0); WIDE]; HIGH];
    for k in 0..inner {
        let (right, _) = S::as_simd_f32s(&right[k * to_next..][..WIDE * S::F32_LANES]);
        let right: [S::f32s; WIDE] = std::array::from_fn(|n| right[n]);
        for (n, sums) in sums.iter_mut().enumerate() {
            let factor = simd.splat_f32s(factor(n, k));
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add_e_f32s(factor, right, *sum);
            }
        }
    }
    sums
}

/// The sums of products of each row with `numbers`.
#[inline(always)]
fn along<S: Simd>(simd: S, rows: [&[f32]; AT_ONCE], numbers: &[f32]) -> [f32; AT_ONCE] {
    let (vectors, last) = S::as_simd_f32s(numbers);
    let rows = rows.map(|row| (&S::as_simd_f32s(row).0[..vectors.len()], S::as_simd_f32s(row).1));
    let mut sums = [simd.splat_f32s(0.0); AT_ONCE];
    for (k, vector) in vectors.iter().enumerate() {
        for (sum, (row, _)) in sums.iter_mut().zip(rows) {
            *sum = simd.mul_add_e_f32s(*vector, row[k], *sum);
        }
    }
    std::array::from_fn(|n| {
        let products = rows[n].1.iter().zip(last).map(|(a, b)| a * b);
        simd.reduce_sum_f32s(sums[n]) + products.sum::<f32>()
    })
}

#[cfg(test)]
mod tests {
    use super::super::gemm::tests::written;
    use super::*;

    /// Numbers from -1 to 1.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|n| (((n + seed) * 7919 % 1009) as f32 / 504.0) - 1.0).collect()
    }

    #[test]
    fn products_of_every_size_are_exact_and_touch_nothing_else() {
        const OTHER: f32 = -77.0;
        let sizes = [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17].into_iter().flat_map(|rows| {
            let columns = [1, 3, 7, 8, 15, 16, 17, 31, 48, 49, 63, 64, 65, 80, 97, 113];
            columns.into_iter().flat_map(move |columns| [1, 5, 16, 37].map(|inner| [rows, inner, columns]))
        });
        for [rows, inner, columns] in sizes {
            let (left, right) = (numbers(rows * inner, 3), numbers(inner * (columns + 5), 11));
            let mut turned = vec![0.0; (rows + 2) * inner];
            for (n, value) in left.iter().enumerate() {
                turned[n % inner * (rows + 2) + n / inner] = *value;
            }
            for left_as_it_lies in [Left::Rows(&left, inner), Left::Columns(&turned, rows + 2)] {
                let apart = columns + 3;
                let mut out = vec![MaybeUninit::new(OTHER); rows * apart];
                Product {
                    shape: [rows, inner, columns],
                    left: left_as_it_lies,
                    right: (&right[..(inner - 1) * (columns + 5) + columns], columns + 5),
                    out: (&mut out[..(rows - 1) * apart + columns], apart),
                }
                .compute();
                for (n, out) in written(&out).iter().enumerate() {
                    let (row, column) = (n / apart, n % apart);
                    let terms = (0..inner).map(|k| {
                        f64::from(left[row * inner + k]) * f64::from(right[k * (columns + 5) + column])
                    });
                    let exact = if column < columns { terms.sum() } else { f64::from(OTHER) };
                    let what = format!("{row}, {column} of {rows} by {inner} by {columns}");
                    assert!((f64::from(*out) - exact).abs() < 1e-5, "{what}: {out} and not {exact}");
                }
            }
        }
    }
}
