//! What stands before the pixels: sizes, tables and how the picture is held (ITU-T T.81, annex B).

use std::ops::Range;

use super::exif;
use crate::{ErrorKind, Limits};

/// What the markers before the pixels of a JPEG say.
#[derive(Debug, Clone)]
pub struct Header {
    /// Width in pixels, as stored.
    pub width: u32,
    /// Height in pixels, as stored.
    pub height: u32,
    /// 1 (gray) or 3 (red, green, blue).
    pub channels: u8,
    /// How the picture has to be turned to be upright: EXIF's 1 to 8, 1 when it does not say.
    pub orientation: u8,
    /// In the order of the scan.
    pub(super) components: Vec<Component>,
    pub(super) is_rgb: bool,
    /// Whether the coefficients come in several passes, which takes libjpeg-turbo.
    pub(super) is_progressive: bool,
    /// MCUs between two restart markers; 0 without.
    pub(super) restart_interval: u32,
    /// Where the entropy-coded bytes begin.
    pub(super) scan: usize,
}

/// One of the planes that a picture is stored in.
#[derive(Debug, Clone)]
pub(super) struct Component {
    /// Blocks in an MCU, across and down.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Steps of quantization in natural order.
    pub(super) steps: [i16; 64],
    /// Where in the file the descriptions of the Huffman codes lie: 16 counts, then the symbols.
    pub(super) dc_code: Range<usize>,
    pub(super) ac_code: Range<usize>,
}

/// Natural position of the coefficients in zigzag order (figure A.6). What a damaged run reaches past the
/// end falls on the last.
pub(super) const ZIGZAG: [u8; 128] = {
    let mut order = [63; 128];
    let (mut row, mut column, mut k) = (0, 0, 0);
    while k < 64 {
        order[k] = row * 8 + column;
        // Even diagonals are walked upwards, odd ones downwards.
        let up = (row + column) % 2 == 0;
        if up && column == 7 || !up && row != 7 && column == 0 {
            row += 1;
        } else if up && row == 0 || !up && row == 7 {
            column += 1;
        } else if up {
            (row, column) = (row - 1, column + 1);
        } else {
            (row, column) = (row + 1, column - 1);
        }
        k += 1;
    }
    order
};

impl Header {
    /// Reads the markers up to the pixels of the JPEG file `bytes`.
    ///
    /// `None` is a JPEG that this decoder leaves to another: progressive (but for the feature `turbojpeg`), lossless, arithmetic
    /// coding, 12 bits, four components, several scans, chroma at other than the full or half size of the luma, or
    /// without Huffman codes of its own (frames of a motion JPEG).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TooLarge`] past `limits`; [`ErrorKind::Decode`] for a header that is damaged, or a file without an
    /// end-of-image marker.
    pub fn read(bytes: &[u8], limits: &Limits) -> Result<Option<Self>, ErrorKind> {
        if !bytes.starts_with(&[0xFF, 0xD8]) {
            return Err(damaged("it does not begin with a start-of-image marker"));
        }
        if !has_end(bytes) {
            return Err(damaged("the file is cut short (no end-of-image marker)"));
        }
        let mut markers = Markers::default();
        let mut at = 2;
        loop {
            let (marker, segment) = next_segment(bytes, &mut at)?;
            let data = bytes.get(segment.clone()).unwrap_or_default();
            match marker {
                0xDB => markers.quantization(data)?,
                0xC4 => markers.huffman(data, segment.start)?,
                0xC0 | 0xC1 => markers.frame(data)?,
                0xC2 if cfg!(feature = "turbojpeg") => {
                    markers.is_progressive = true;
                    markers.frame(data)?;
                }
                // The other frames and arithmetic coding.
                0xC2..=0xCF => return Ok(None),
                0xDD => markers.restart_interval = word(data, 0)?,
                0xE0 if data.starts_with(b"JFIF\0") => markers.is_jfif = true,
                0xE1 => markers.orientation = exif::orientation(data).or(markers.orientation),
                0xEE if data.starts_with(b"Adobe") => markers.adobe_transform = data.get(11).copied(),
                0xDA => return markers.header(data, at, bytes.len(), limits),
                0xD9 => return Err(damaged("it ends before its pixels")),
                _ => {}
            }
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Markers {
    /// Natural order.
    quantization: [Option<[i16; 64]>; 4],
    dc_codes: [Option<Range<usize>>; 4],
    ac_codes: [Option<Range<usize>>; 4],
    frame: Option<Frame>,
    is_progressive: bool,
    restart_interval: u16,
    is_jfif: bool,
    adobe_transform: Option<u8>,
    orientation: Option<u8>,
}

struct Frame {
    precision: u8,
    width: u16,
    height: u16,
    components: Vec<FrameComponent>,
}

struct FrameComponent {
    id: u8,
    across: u8,
    down: u8,
    quantization: u8,
}

impl FrameComponent {
    /// Its blocks in an MCU of a frame with `components`; steps and codes are told by the scan.
    fn of_blocks(&self, components: usize) -> Component {
        let (across, down) = match components {
            // A scan of one component is made of single blocks, whatever the frame says (A.2.2).
            1 => (1, 1),
            _ => (usize::from(self.across), usize::from(self.down)),
        };
        Component { across, down, steps: [0; 64], dc_code: 0..0, ac_code: 0..0 }
    }
}

impl Markers {
    /// DQT (B.2.4.1).
    fn quantization(&mut self, mut data: &[u8]) -> Result<(), ErrorKind> {
        while let Some((&which, rest)) = data.split_first() {
            let wide = which >> 4;
            let size = 64 * (1 + usize::from(wide));
            let (Some(values), Some(table), 0..=1) =
                (rest.get(..size), self.quantization.get_mut(usize::from(which & 15)), wide)
            else {
                return Err(damaged("a quantization table is malformed"));
            };
            let steps = table.insert([0; 64]);
            for (k, &position) in ZIGZAG.iter().take(64).enumerate() {
                let step = if wide == 0 { u16::from(values[k]) } else { word(values, 2 * k)? };
                // Of 16 bits, the sign is no sign: products are taken modulo 2^16 in any case.
                steps[usize::from(position)] = step as i16;
            }
            data = &rest[size..];
        }
        Ok(())
    }

    /// DHT (B.2.4.2). `start` is where `data` lies in the file.
    fn huffman(&mut self, data: &[u8], start: usize) -> Result<(), ErrorKind> {
        let mut at = 0;
        while let Some(&which) = data.get(at) {
            let counts = data.get(at + 1..at + 17);
            let symbols = counts.map(|counts| counts.iter().map(|&n| usize::from(n)).sum::<usize>());
            let codes = if which >> 4 == 0 { &mut self.dc_codes } else { &mut self.ac_codes };
            let (Some(symbols @ 0..=256), Some(code), 0..=1) =
                (symbols, codes.get_mut(usize::from(which & 15)), which >> 4)
            else {
                return Err(damaged("a Huffman table is malformed"));
            };
            let end = at + 17 + symbols;
            if end > data.len() {
                return Err(damaged("a Huffman table is cut short"));
            }
            *code = Some(start + at + 1..start + end);
            at = end;
        }
        Ok(())
    }

    /// SOF (B.2.2).
    fn frame(&mut self, data: &[u8]) -> Result<(), ErrorKind> {
        if self.frame.is_some() {
            return Err(damaged("it has two frames"));
        }
        let (&[precision, _, _, _, _, count], Some(rest)) =
            (data.first_chunk().ok_or_else(|| damaged("its frame is cut short"))?, data.get(6..))
        else {
            return Err(damaged("its frame is cut short"));
        };
        if rest.len() != 3 * usize::from(count) {
            return Err(damaged("its frame has a wrong length"));
        }
        let components = rest.chunks_exact(3).map(|c| FrameComponent {
            id: c[0],
            across: c[1] >> 4,
            down: c[1] & 15,
            quantization: c[2],
        });
        self.frame = Some(Frame {
            precision,
            height: word(data, 1)?,
            width: word(data, 3)?,
            components: components.collect(),
        });
        Ok(())
    }

    /// SOS (B.2.3), after which the pixels come.
    fn header(
        self,
        data: &[u8],
        scan: usize,
        file: usize,
        limits: &Limits,
    ) -> Result<Option<Header>, ErrorKind> {
        let frame = self.frame.as_ref().ok_or_else(|| damaged("its pixels come before its size"))?;
        let channels = frame.components.len();
        // A height of 0 is told after the first scan, by a marker of its own.
        if frame.precision != 8 || frame.height == 0 || !matches!(channels, 1 | 3) {
            return Ok(None);
        }
        let (width, height) = (u32::from(frame.width), u32::from(frame.height));
        if width == 0 {
            return Err(damaged("it has no pixels"));
        }
        let decoded = u64::from(width) * u64::from(height) * channels as u64;
        if width > limits.max_width || height > limits.max_height || decoded > limits.max_bytes {
            return Err(limits.exceeded(&format!("{width} x {height} pixels")));
        }
        let named = data.first().map_or(0, |&count| usize::from(count));
        if named == 0 || data.len() < 1 + 2 * named {
            return Err(damaged("its scan is malformed"));
        }
        let components = match self.is_progressive {
            true => Some(frame.components.iter().map(|c| c.of_blocks(channels)).collect()),
            false if named == channels => self.components(frame, &data[1..])?,
            false => None,
        };
        let Some(components) = components.filter(|components| is_usual_sampling(components)) else {
            return Ok(None);
        };
        let header = Header {
            width,
            height,
            channels: channels as u8,
            orientation: self.orientation.unwrap_or(1),
            is_rgb: self.is_rgb(frame),
            is_progressive: self.is_progressive,
            components,
            restart_interval: u32::from(self.restart_interval),
            scan,
        };
        // A block takes a bit for its mean at least and, if it is not progressive, one for its end: a few bytes cannot hold a
        // huge picture.
        let most = file.saturating_sub(scan) as u64 * if self.is_progressive { 8 } else { 4 };
        let blocks: usize = header.components.iter().map(|c| c.across * c.down).sum();
        let (columns, rows) = header.mcus();
        if u64::from(columns) * u64::from(rows) * blocks as u64 > most {
            return Err(damaged("the file is cut short (too few bytes for its size)"));
        }
        Ok(Some(header))
    }

    /// What the only scan is made of; `None` where a Huffman code is missing.
    fn components(&self, frame: &Frame, selectors: &[u8]) -> Result<Option<Vec<Component>>, ErrorKind> {
        let mut components = Vec::with_capacity(frame.components.len());
        for (component, selector) in frame.components.iter().zip(selectors.chunks_exact(2)) {
            // In an interleaved scan the components come as in the frame.
            if component.id != selector[0] {
                return Err(damaged("its scan names other components than its frame"));
            }
            let steps = self.quantization.get(usize::from(component.quantization)).and_then(|t| *t);
            let steps = steps.ok_or_else(|| damaged("a quantization table is missing"))?;
            let code = |codes: &[Option<Range<usize>>; 4], which: u8| {
                codes.get(usize::from(which)).and_then(|code| code.clone())
            };
            let (Some(dc_code), Some(ac_code)) =
                (code(&self.dc_codes, selector[1] >> 4), code(&self.ac_codes, selector[1] & 15))
            else {
                return Ok(None);
            };
            components.push(Component {
                steps,
                dc_code,
                ac_code,
                ..component.of_blocks(frame.components.len())
            });
        }
        Ok(Some(components))
    }

    /// Three components are YCbCr unless the file says otherwise (as libjpeg guesses).
    fn is_rgb(&self, frame: &Frame) -> bool {
        let named = |names: &[u8]| frame.components.iter().map(|c| c.id).eq(names.iter().copied());
        match self.adobe_transform {
            _ if self.is_jfif => false,
            Some(transform) => transform == 0,
            None => named(b"RGB"),
        }
    }
}

impl Header {
    /// Blocks of the largest component in an MCU, across and down.
    pub(super) fn sampling(&self) -> (usize, usize) {
        self.components.first().map_or((1, 1), |c| (c.across, c.down))
    }

    /// Whether chroma has half the columns, half the rows of the luma.
    pub(super) fn halved(&self) -> (bool, bool) {
        let (across, down) = self.sampling();
        self.components.get(1).map_or((false, false), |c| (c.across < across, c.down < down))
    }

    /// MCUs in the picture, across and down.
    pub(super) fn mcus(&self) -> (u32, u32) {
        let (across, down) = self.sampling();
        (self.width.div_ceil(8 * across as u32), self.height.div_ceil(8 * down as u32))
    }
}

/// Luma at full size, both chroma planes at full or half size in either direction, and an MCU of at most 10 blocks.
fn is_usual_sampling(components: &[Component]) -> bool {
    let sizes: Vec<(usize, usize)> = components.iter().map(|c| (c.across, c.down)).collect();
    let usual = sizes.iter().all(|&(across, down)| matches!((across, down), (1..=2, 1..=2)));
    let blocks: usize = sizes.iter().map(|(across, down)| across * down).sum();
    match sizes[..] {
        [_] => usual,
        [luma, blue, red] => usual && blue == red && blue.0 <= luma.0 && blue.1 <= luma.1 && blocks <= 10,
        _ => false,
    }
}

/// The next marker from `at`, and where its segment lies without its length; `at` goes behind it.
fn next_segment(bytes: &[u8], at: &mut usize) -> Result<(u8, Range<usize>), ErrorKind> {
    loop {
        // Other bytes between segments do not belong there; every viewer skips them.
        let found = bytes.get(*at..).and_then(|rest| memchr::memchr(0xFF, rest));
        let marker = found.and_then(|skipped| bytes.get(*at + skipped + 1).map(|&m| (*at + skipped + 1, m)));
        let Some((place, marker)) = marker else {
            return Err(damaged("the file is cut short within its header"));
        };
        match marker {
            // A fill byte: the marker begins one later.
            0xFF => *at = place,
            // Stuffed bytes, restart and other markers without a length.
            0x00 | 0x01 | 0xD0..=0xD8 => *at = place + 1,
            0xD9 => return Ok((marker, place + 1..place + 1)),
            _ => {
                let length = usize::from(word(bytes, place + 1)?);
                let end = place + 1 + length;
                if length < 2 || end > bytes.len() {
                    return Err(damaged("a segment of its header is longer than the file"));
                }
                *at = end;
                return Ok((marker, place + 3..end));
            }
        }
    }
}

/// Whether an end-of-image marker comes where one belongs.
///
/// Usually that is the last two bytes, or the last two before zeros that fill a sector. Only where
/// something else follows the picture (a second one, the notes of a camera), the markers are walked.
fn has_end(bytes: &[u8]) -> bool {
    let written = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if bytes[..written].ends_with(&[0xFF, 0xD9]) {
        return true;
    }
    let mut at = 2;
    loop {
        match next_segment(bytes, &mut at) {
            Ok((0xD9, _)) => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
}

/// The big-endian number at `at`.
fn word(data: &[u8], at: usize) -> Result<u16, ErrorKind> {
    let bytes = data.get(at..).and_then(|rest| rest.first_chunk());
    bytes.map(|&b| u16::from_be_bytes(b)).ok_or_else(|| damaged("a segment of its header is cut short"))
}

fn damaged(what: &str) -> ErrorKind {
    ErrorKind::Decode(what.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_zigzag_visits_every_coefficient_once() {
        let mut seen: Vec<u8> = ZIGZAG[..64].to_vec();
        assert_eq!(seen[..10], [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]);
        assert_eq!(seen[54..], [39, 46, 53, 60, 61, 54, 47, 55, 62, 63]);
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..64));
    }
}
