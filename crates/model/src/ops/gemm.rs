//! Products of matrices that lie in slices.
//!
//! One of three places with `unsafe`: the product takes pointers, and every element that it touches is shown to lie in its slice before.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use super::output::Room;
use super::products::Machine;
use super::tiles::{Left, Product};

/// A matrix in a slice: element (r, c) is at `r · row + c · column`.
#[derive(Clone, Copy)]
pub(super) struct Strides {
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Strides {
    /// Rows that follow each other, each `columns` long.
    pub(super) fn rows(columns: usize) -> Self {
        Self { row: columns, column: 1 }
    }

    /// The same matrix with rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row }
    }

    /// Whether a matrix of so many rows and columns lies in `length` elements, each at a place of its own.
    fn holds(self, rows: usize, columns: usize, length: usize) -> bool {
        let last = |count: usize, stride: usize| (count - 1).checked_mul(stride);
        match (last(rows, self.row), last(columns, self.column)) {
            (Some(down), Some(along)) => down.checked_add(along).is_some_and(|last| last < length),
            _ => false,
        }
    }

    /// Whether no two elements share a place.
    fn is_distinct(self, rows: usize, columns: usize) -> bool {
        let (short, long, count) = if self.row >= self.column {
            (self.column, self.row, columns)
        } else {
            (self.row, self.column, rows)
        };
        (short > 0 || count == 1) && (long > (count - 1) * short || rows.min(columns) == 1)
    }
}

/// Writes `a · b` into `out`, or adds it to what is there. `shape` is rows of `a`, their length, columns of `b`.
///
/// # Panics
///
/// When a matrix does not lie in its slice.
pub(super) fn multiply(
    shape: [usize; 3],
    a: (&[f32], Strides),
    b: (&[f32], Strides),
    (out, strides): (&mut [f32], Strides),
    add: bool,
) {
    let [rows, _, columns] = shape;
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(strides.holds(rows, columns, out.len()), "the product is larger than its slice");
    assert!(strides.is_distinct(rows, columns), "the product is written over itself");
    if !add && strides.column == 1 && are_tiled(shape, a, b) {
        // SAFETY: numbers are numbers that might be missing, and no missing ones are written into them.
        let out = unsafe { &mut *(std::ptr::from_mut(out) as *mut [MaybeUninit<f32>]) };
        return tiled(shape, a, b, (out, strides.row));
    }
    // SAFETY: the product lies within `out`, which is borrowed exclusively, and its elements are apart from each other.
    unsafe { multiply_at(shape, a, b, (out.as_mut_ptr(), strides), add) }
}

/// Fills `room` with `a · b`, row after row.
///
/// # Panics
///
/// When a matrix does not lie in its slice, or `room` does not hold just the product.
pub(super) fn multiply_into<'a>(
    shape: [usize; 3],
    a: (&[f32], Strides),
    b: (&[f32], Strides),
    Room(room): Room<'a>,
) -> &'a mut [f32] {
    let [rows, _, columns] = shape;
    assert_eq!(room.len(), rows * columns, "room for the product");
    if rows * columns > 0 && are_tiled(shape, a, b) {
        tiled(shape, a, b, (room, columns));
    } else if rows * columns > 0 {
        let out = room.as_mut_ptr().cast::<f32>();
        // SAFETY: the product is as long as `room`, which is borrowed exclusively; its rows follow each other, and what was there is not read.
        unsafe { multiply_at(shape, a, b, (out, Strides::rows(columns)), false) };
    }
    // SAFETY: both ways write every element of the product, and rows that follow each other and are as long as `room` leave none out.
    unsafe { room.assume_init_mut() }
}

/// Whether the factors can be read as they lie, which is fastest.
fn are_tiled([_, inner, _]: [usize; 3], a: (&[f32], Strides), b: (&[f32], Strides)) -> bool {
    inner > 0 && (a.1.column == 1 || a.1.row == 1) && b.1.column == 1 && Machine::new().lanes >= 4
}

fn tiled(
    shape: [usize; 3],
    a: (&[f32], Strides),
    b: (&[f32], Strides),
    out: (&mut [MaybeUninit<f32>], usize),
) {
    let left = if a.1.column == 1 { Left::Rows(a.0, a.1.row) } else { Left::Columns(a.0, a.1.column) };
    Product { shape, left, right: (b.0, b.1.row), out }.compute();
}

/// # Safety
///
/// `rows` times `columns` elements at `out` with these strides are apart from each other, and nothing else reads or writes them.
unsafe fn multiply_at(
    [rows, inner, columns]: [usize; 3],
    (a, a_strides): (&[f32], Strides),
    (b, b_strides): (&[f32], Strides),
    (out, out_strides): (*mut f32, Strides),
    add: bool,
) {
    assert!(inner > 0, "a product over nothing");
    assert!(a_strides.holds(rows, inner, a.len()), "the left matrix is larger than its slice");
    assert!(b_strides.holds(inner, columns, b.len()), "the right matrix is larger than its slice");
    // No slice is longer than `isize::MAX` bytes, so that a stride that leads to an element of it fits.
    let stride = |stride: usize| stride as isize;
    // SAFETY: the factors lie within their slices (asserted above), the product where the caller says.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out,
            stride(out_strides.column),
            stride(out_strides.row),
            add,
            a.as_ptr(),
            stride(a_strides.column),
            stride(a_strides.row),
            b.as_ptr(),
            stride(b_strides.column),
            stride(b_strides.row),
            1.0_f32,
            1.0_f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Numbers of which none is missing.
    pub(in crate::ops) fn written(numbers: &[MaybeUninit<f32>]) -> &[f32] {
        // SAFETY: tests make their numbers before anything is written over them.
        unsafe { numbers.assume_init_ref() }
    }
}
