//! The blocks of a scan in their order: MCU after MCU, in intervals between restart markers.

use std::ops::Range;

use super::Damage;
use super::bits::{Bits, Window};
use super::header::Header;
use super::huffman::Code;
use super::idct::{self, Transform};

/// The samples of a component in two rows of MCUs: the one that is being decoded and the one above it.
#[derive(Debug, Clone, Default)]
pub(super) struct Plane {
    samples: Vec<u8>,
    stride: usize,
    rows: usize,
    /// Samples that a block gives, across and down.
    block: (usize, usize),
    /// The last coefficient in zigzag order that they need.
    last: usize,
}

impl Plane {
    /// Makes room for `columns` MCUs of `blocks` (across, down) blocks.
    pub(super) fn prepare(&mut self, columns: usize, blocks: (usize, usize), block: (usize, usize)) {
        self.block = block;
        self.stride = columns * blocks.0 * block.0;
        self.rows = 2 * blocks.1 * block.1;
        self.samples.resize(self.stride * self.rows, 0);
        self.last = last_needed(block);
    }

    /// Row `y` of the picture's plane, as far as it has been decoded.
    #[inline(always)]
    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.samples[y % self.rows * self.stride..][..self.stride]
    }
}

/// The last coefficient in zigzag order among the lowest frequencies.
fn last_needed((across, down): (usize, usize)) -> usize {
    let needed = |&position: &u8| usize::from(position) % 8 < across && usize::from(position) / 8 < down;
    super::header::ZIGZAG.iter().take(64).rposition(needed).unwrap_or(0)
}

/// A scan while it is read.
pub(super) struct Scan<'a> {
    header: &'a Header,
    bits: Bits<'a>,
    /// For each component, its codes for means and for the other coefficients.
    codes: [&'a [Code; 2]; 3],
    /// The mean of the last block of each component.
    means: [i32; 3],
    /// The next MCU, and the one before which the next restart marker comes.
    mcu: u32,
    restart_at: u32,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        header: &'a Header,
        bytes: &'a [u8],
        window: &'a mut Window,
        codes: [&'a [Code; 2]; 3],
    ) -> Self {
        let restart_at = if header.restart_interval == 0 { u32::MAX } else { header.restart_interval };
        Self { header, bits: Bits::new(bytes, window), codes, means: [0; 3], mcu: 0, restart_at }
    }

    /// Decodes MCUs `columns` of row `row` into `planes`; rows are taken in order, what comes before is passed over.
    #[inline(always)]
    pub(super) fn row<T: Transform>(
        &mut self,
        transform: T,
        row: u32,
        columns: Range<u32>,
        planes: &mut [Plane; 3],
    ) -> Result<(), Damage> {
        let decoded = self.decode_row(transform, row, columns, planes);
        // Behind the end come zeros, which may be no code.
        if self.bits.is_overrun() { Err(Damage::CutShort) } else { decoded }
    }

    #[inline(always)]
    fn decode_row<T: Transform>(
        &mut self,
        transform: T,
        row: u32,
        columns: Range<u32>,
        planes: &mut [Plane; 3],
    ) -> Result<(), Damage> {
        let first = row * self.header.mcus().0;
        self.go_to(first + columns.start)?;
        for column in 0..columns.len() {
            if self.mcu == self.restart_at {
                self.next_interval()?;
            }
            for (c, component) in self.header.components.iter().enumerate().take(3) {
                let plane = &mut planes[c];
                for block_row in 0..component.down {
                    for block_column in 0..component.across {
                        let mut block = [0; 64];
                        let (codes, mean) = (self.codes[c], &mut self.means[c]);
                        let seen = self.bits.block(codes, mean, plane.last, &mut block)?;
                        let x = (column * component.across + block_column) * plane.block.0;
                        let y = ((row % 2) as usize * component.down + block_row) * plane.block.1;
                        let target = &mut plane.samples[y * plane.stride + x..];
                        let steps = &component.steps;
                        idct::samples(transform, &block, seen, steps, plane.block, target, plane.stride);
                    }
                }
            }
            self.mcu += 1;
        }
        Ok(())
    }

    fn next_interval(&mut self) -> Result<(), Damage> {
        if self.bits.is_overrun() {
            return Err(Damage::CutShort);
        }
        self.restart(self.mcu)
    }

    /// Enters the interval of `mcu`, which is not this one.
    fn restart(&mut self, mcu: u32) -> Result<(), Damage> {
        let length = self.header.restart_interval;
        let (next, wanted) = (self.restart_at / length, mcu / length);
        self.bits.restart(next - 1, wanted - next + 1)?;
        self.means = [0; 3];
        self.mcu = wanted * length;
        self.restart_at = self.mcu + length;
        Ok(())
    }

    /// Passes over everything before `mcu`.
    #[inline(always)]
    fn go_to(&mut self, mcu: u32) -> Result<(), Damage> {
        if mcu >= self.restart_at {
            self.restart(mcu)?;
        }
        while self.mcu < mcu {
            for (c, component) in self.header.components.iter().enumerate().take(3) {
                for _ in 0..component.down * component.across {
                    self.bits.skip_block(self.codes[c], &mut self.means[c])?;
                }
            }
            self.mcu += 1;
        }
        Ok(())
    }
}
