//! The part of a JPEG that a crop needs, at about the size that it needs.
//!
//! A random crop shows about half of a photo, and a photo of a camera is shown much smaller than it is stored. A decoder that
//! knows both beforehand does less: rows below the part are not read at all, blocks outside it are only
//! passed over, and the inverse transform gives pictures of 1/2, 1/4 and 1/8 directly. Where the file has restart markers, what
//! lies before them needs no decoding either.
//!
//! [`Header::read`] takes baseline pictures as cameras and most programs write them, and leaves the others to [`decode`](crate::decode).
//! At full size the pixels are those of libjpeg-turbo (and so of Pillow and torchvision), bit for bit.
//!
//! With the feature `turbojpeg`, libjpeg-turbo itself decodes progressive ones in the same way.

mod bits;
mod color;
mod exif;
mod header;
mod huffman;
mod idct;
mod output;
mod scan;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
#[cfg(feature = "turbojpeg")]
mod turbo;
mod upsample;

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use pulp::x86::V3;

use crate::ErrorKind;
pub use header::Header;
use huffman::Code;
use idct::{Portable, Transform};
use output::{Lines, Output};
use scan::{Plane, Scan};

/// A part of a picture, in pixels as they are stored (before any turning), and how much smaller it is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Columns left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its width, at least 1.
    pub width: u32,
    /// Its height, at least 1.
    pub height: u32,
    /// 1, 2, 4 or 8 times smaller.
    pub reduce: u8,
}

impl Part {
    /// All of a picture, at full size.
    #[must_use]
    pub fn whole(header: &Header) -> Self {
        Self { left: 0, top: 0, width: header.width, height: header.height, reduce: 1 }
    }
}

/// Where decoded pixels lie in the reduced picture, whose pixel `x` shows columns `x * reduce` to `(x + 1) * reduce` of the
/// stored one.
///
/// It is the smallest window of whole reduced pixels that covers the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Reduced columns left of it.
    pub left: u32,
    /// Reduced rows above it.
    pub top: u32,
    /// Its width.
    pub width: u32,
    /// Its height.
    pub height: u32,
}

/// Room for work and the Huffman tables of the last picture, to be used again for the next.
#[derive(Debug, Clone)]
pub struct Scratch {
    window: Box<bits::Window>,
    codes: [[Code; 2]; 3],
    planes: [Plane; 3],
    lines: Lines,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            window: Box::new([0; _]),
            codes: Default::default(),
            planes: Default::default(),
            lines: Lines::default(),
        }
    }
}

/// Decodes `part` of the JPEG file `bytes`, whose header is `header`.
///
/// `pixels` becomes `[height, width, channels]` of the window that is given back; what it held does not matter. Bytes that
/// only rows below the part would need are not looked at.
///
/// # Errors
///
/// [`ErrorKind::Decode`] for damaged or missing data in or above the part; [`ErrorKind::Setting`] for a part that
/// is empty or not within the picture, or another `reduce`.
pub fn decode(
    bytes: &[u8],
    header: &Header,
    part: &Part,
    scratch: &mut Scratch,
    pixels: &mut Vec<u8>,
) -> Result<Window, ErrorKind> {
    let ends = (part.left.checked_add(part.width), part.top.checked_add(part.height));
    let (Some(right), Some(bottom), 1 | 2 | 4 | 8, 1.., 1..) =
        (ends.0, ends.1, part.reduce, part.width, part.height)
    else {
        return Err(ErrorKind::Setting(format!("no part of a picture: {part:?}")));
    };
    if right > header.width || bottom > header.height {
        let size = format!("{} x {}", header.width, header.height);
        return Err(ErrorKind::Setting(format!("{part:?} is not within a picture of {size} pixels")));
    }
    let reduce = u32::from(part.reduce);
    let (left, top) = (part.left / reduce, part.top / reduce);
    let window =
        Window { left, top, width: right.div_ceil(reduce) - left, height: bottom.div_ceil(reduce) - top };
    #[cfg(feature = "turbojpeg")]
    if header.is_progressive {
        let decoded = turbo::decode(bytes, header, &window, reduce, pixels);
        return decoded.map(|()| window).map_err(ErrorKind::Decode);
    }
    debug_assert!(!header.is_progressive, "only libjpeg-turbo is given progressive pictures");
    let task = Task { bytes, header, window, reduce, scratch, pixels };
    match task.run_with_best() {
        Ok(()) => Ok(window),
        Err(damage) => Err(ErrorKind::Decode(damage.to_string())),
    }
}

/// What is wrong with the data of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Damage {
    #[error("the file is cut short within its pixels")]
    CutShort,
    #[error("a Huffman table is malformed")]
    Code,
    #[error("its pixels are damaged (no such Huffman code)")]
    Symbol,
    #[error("its pixels are damaged (a block has too many coefficients)")]
    Run,
    #[error("its pixels are damaged (a restart marker is out of order)")]
    Restart,
}

struct Task<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    window: Window,
    reduce: u32,
    scratch: &'a mut Scratch,
    pixels: &'a mut Vec<u8>,
}

impl Task<'_> {
    /// The same code for each kind of processor: in integers, all give the same results.
    fn run_with_best(self) -> Result<(), Damage> {
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = V3::try_new() {
            return v3.vectorize(
                #[inline(always)]
                || self.run(v3),
            );
        }
        self.run(Portable)
    }

    #[inline(always)]
    fn run<T: Transform>(self, transform: T) -> Result<(), Damage> {
        let Self { bytes, header, window, reduce, scratch, pixels } = self;
        // A plane of half size needs no doubling where the picture is halved anyway.
        let halved = if reduce == 1 { header.halved() } else { (false, false) };
        let (columns, rows) = mcus_needed(header, &window, reduce, halved);
        let most = header.sampling();
        for (plane, component) in scratch.planes.iter_mut().zip(&header.components) {
            let blocks = (component.across, component.down);
            let size = |blocks: usize, most: usize| (8 / reduce as usize * (most / blocks)).min(8);
            plane.prepare(columns.len(), blocks, (size(blocks.0, most.0), size(blocks.1, most.1)));
        }
        let is_whole = (window.width, window.height, reduce) == (header.width, header.height, 1);
        let codes = prepare_codes(&mut scratch.codes, bytes, header, !is_whole)?;
        let source = bytes.get(header.scan..).unwrap_or_default();
        let mut scan = Scan::new(header, source, &mut scratch.window, codes);

        let reduce = reduce as usize;
        let held = columns.start as usize * 8 * most.0 / reduce;
        let mut output = Output::new(header, &window, held, halved, &mut scratch.lines);
        let stride = window.width as usize * usize::from(header.channels);
        pixels.resize(stride * window.height as usize, 0);
        let mut targets = pixels.chunks_exact_mut(stride);
        let mut y = window.top as usize;
        for row in rows.clone() {
            scan.row(transform, row, columns.clone(), &mut scratch.planes)?;
            let ready = if row + 1 == rows.end {
                usize::MAX
            } else {
                // The last row of pixels waits for the chroma below it.
                (row as usize + 1) * 8 * most.1 / reduce - usize::from(halved.1)
            };
            let count = ready.saturating_sub(y);
            for target in targets.by_ref().take(count) {
                output.row(&scratch.planes, y, target);
                y += 1;
            }
        }
        Ok(())
    }
}

/// The MCUs, columns and rows, that the window is made from.
fn mcus_needed(
    header: &Header,
    window: &Window,
    reduce: u32,
    halved: (bool, bool),
) -> (Range<u32>, Range<u32>) {
    let (across, down) = header.sampling();
    let needed = |start: u32, length: u32, size: u32, blocks: usize, halved: bool| {
        // Doubling looks at the chroma sample, two pixels wide, on either side.
        let beside = if halved { 2 } else { 0 };
        let (first, last) = (start * reduce, ((start + length) * reduce).min(size));
        let mcu = 8 * blocks as u32;
        first.saturating_sub(beside) / mcu..(last + beside).min(size).div_ceil(mcu)
    };
    (
        needed(window.left, window.width, header.width, across, halved.0),
        needed(window.top, window.height, header.height, down, halved.1),
    )
}

/// The tables of the codes of each component. Components with the same codes share them: fewer tables stay in the cache.
fn prepare_codes<'a>(
    codes: &'a mut [[Code; 2]; 3],
    bytes: &[u8],
    header: &Header,
    skips: bool,
) -> Result<[&'a [Code; 2]; 3], Damage> {
    let mut which = [0; 3];
    for (c, component) in header.components.iter().enumerate().take(3) {
        let before = &header.components[..c];
        let same =
            before.iter().position(|o| o.dc_code == component.dc_code && o.ac_code == component.ac_code);
        which[c] = same.unwrap_or(c);
        if same.is_none() {
            let [dc, ac] = &mut codes[c];
            dc.prepare(bytes.get(component.dc_code.clone()).unwrap_or_default(), true, false)?;
            ac.prepare(bytes.get(component.ac_code.clone()).unwrap_or_default(), false, skips)?;
        }
    }
    let codes = &*codes;
    Ok(which.map(|c| &codes[c]))
}
