//! Bits out of entropy-coded bytes, with what JPEG stuffs between them taken out.

use super::Damage;

/// Bytes that are held without their stuffing at a time; they stay in the fastest cache.
const WINDOW: usize = 4096;

/// The bytes of a scan as bits, highest first.
///
/// Behind the last bit of a restart interval, or of the scan, come zeros without end; whether any of them
/// were used is asked with [`Self::is_overrun`].
pub(super) struct Bits<'a> {
    pub(super) supply: Supply<'a>,
    pub(super) place: Place,
}

/// The bytes without their stuffing, a window at a time.
pub(super) struct Supply<'a> {
    /// What is not in the window yet, with its stuffing.
    source: &'a [u8],
    window: &'a mut Window,
    /// Where in the window the interval ends, once that is known; before the window when it has moved on.
    end: Option<isize>,
}

/// Bytes without their stuffing.
pub(super) type Window = [u8; WINDOW];

/// The next bits. What works on many of them copies this, so that it stays in registers.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Where in the window the next bytes are loaded from.
    at: usize,
    /// The next bits, highest first. Below the highest `count` of them more may stand that are loaded again.
    buffer: u64,
    count: usize,
}

impl Place {
    /// All of what comes next is still to be loaded.
    const START: Self = Self { at: WINDOW, buffer: 0, count: 0 };

    /// Makes 56 bits ready.
    #[inline(always)]
    pub(super) fn refill(&mut self, supply: &mut Supply<'_>) {
        let word = match supply.window.get(self.at..).and_then(|rest| rest.first_chunk()) {
            Some(&bytes) => u64::from_be_bytes(bytes),
            None => {
                let word = supply.move_on(self.at);
                self.at = 0;
                word
            }
        };
        // Of the bits that are loaded but not counted, the next load brings the same again. (Giesen, "Reading bits in far
        // too many ways", 2018, variant 4.)
        self.buffer |= word >> self.count;
        self.at += (63 - self.count) >> 3;
        self.count |= 56;
    }

    /// Makes at least 32 bits ready.
    #[inline(always)]
    pub(super) fn top_up(&mut self, supply: &mut Supply<'_>) {
        if self.count < 32 {
            self.refill(supply);
        }
    }

    /// Whether 32 bits are ready: the longest code and the longest value.
    #[inline(always)]
    pub(super) fn has_symbol(&self) -> bool {
        self.count >= 32
    }

    /// The next bits, highest first, without taking them.
    #[inline(always)]
    pub(super) fn peek(&self) -> u64 {
        self.buffer
    }

    /// Takes the next `count` (modulo 64) bits, at most those that are ready.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) {
        self.buffer = self.buffer.wrapping_shl(count);
        self.count -= count as usize & 63;
    }
}

impl<'a> Bits<'a> {
    /// The bits of `source`, which begins behind the header of a scan. What `window` holds does not matter.
    pub(super) fn new(source: &'a [u8], window: &'a mut Window) -> Self {
        Self { supply: Supply { source, window, end: None }, place: Place::START }
    }

    /// Whether more bits were taken than the interval has.
    pub(super) fn is_overrun(&self) -> bool {
        let taken = self.place.at as isize * 8 - self.place.count as isize;
        self.supply.end.is_some_and(|end| taken > end * 8)
    }

    /// Goes behind the `count`th restart marker from here. The first has to have the number `number` (modulo 8).
    pub(super) fn restart(&mut self, mut number: u32, count: u32) -> Result<(), Damage> {
        let source = &mut self.supply.source;
        let end = number + count;
        while number < end {
            let Some(at) = memchr::memchr(0xFF, source) else { return Err(Damage::CutShort) };
            match source.get(at + 1) {
                Some(0x00) => *source = &source[at + 2..],
                Some(0xFF) => *source = &source[at + 1..],
                Some(&marker @ 0xD0..=0xD7) => {
                    if u32::from(marker - 0xD0) != number % 8 {
                        return Err(Damage::Restart);
                    }
                    *source = &source[at + 2..];
                    number += 1;
                }
                _ => return Err(Damage::CutShort),
            }
        }
        self.supply.end = None;
        self.place = Place::START;
        Ok(())
    }
}

impl Supply<'_> {
    /// Moves the window on to begin at `at`, and gives the next 8 bytes.
    #[cold]
    #[inline(never)]
    fn move_on(&mut self, at: usize) -> u64 {
        let kept = WINDOW.saturating_sub(at);
        self.window.copy_within(WINDOW - kept.., 0);
        self.end = self.end.map(|end| end - (WINDOW - kept) as isize);
        let mut filled = kept;
        while filled < WINDOW && self.end.is_none() {
            let near = &self.source[..self.source.len().min(WINDOW - filled)];
            let plain = memchr::memchr(0xFF, near).unwrap_or(near.len());
            let (bytes, rest) = self.source.split_at(plain);
            self.window[filled..filled + plain].copy_from_slice(bytes);
            filled += plain;
            self.source = rest;
            if filled == WINDOW {
                break;
            }
            match rest.get(..2) {
                Some([0xFF, 0x00]) => {
                    self.window[filled] = 0xFF;
                    filled += 1;
                    self.source = &rest[2..];
                }
                // A fill byte: the marker begins one later.
                Some([0xFF, 0xFF]) => self.source = &rest[1..],
                // A marker, or the end of the file.
                _ => self.end = Some(filled as isize),
            }
        }
        self.window[filled..].fill(0);
        self.window.first_chunk().map_or(0, |&bytes| u64::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_bytes(bits: &mut Bits<'_>, count: usize) -> Vec<u8> {
        let byte = |_| {
            bits.place.refill(&mut bits.supply);
            let byte = (bits.place.peek() >> 56) as u8;
            // Uneven steps, so that every alignment comes.
            bits.place.take(3);
            bits.place.take(5);
            byte
        };
        (0..count).map(byte).collect()
    }

    /// `payload` as a scan holds it.
    fn stuffed(payload: &[u8]) -> Vec<u8> {
        payload.iter().flat_map(|&b| if b == 0xFF { vec![0xFF, 0] } else { vec![b] }).collect()
    }

    #[test]
    fn stuffing_is_taken_out_over_many_windows() {
        let payload: Vec<u8> =
            (0..3 * WINDOW as u32).map(|i| if i % 7 < 2 { 0xFF } else { (i * 31) as u8 }).collect();
        let mut source = stuffed(&payload);
        source.extend([0xFF, 0xD9]);
        let window = &mut [9; WINDOW];
        let mut bits = Bits::new(&source, window);
        assert_eq!(take_bytes(&mut bits, payload.len()), payload);
        assert!(!bits.is_overrun());
        assert_eq!(take_bytes(&mut bits, 1), [0]);
        assert!(bits.is_overrun());
        take_bytes(&mut bits, 3 * WINDOW);
        assert!(bits.is_overrun());
    }

    #[test]
    fn intervals_can_be_skipped() {
        let mut source = Vec::new();
        for interval in 0..20u8 {
            source.extend(stuffed(&[interval, 0xFF, interval]));
            // Fill bytes may stand before a marker.
            source.extend([0xFF, 0xFF, 0xD0 + interval % 8]);
        }
        let window = &mut [0; WINDOW];
        let mut bits = Bits::new(&source, window);
        assert_eq!(take_bytes(&mut bits, 1), [0]);
        bits.restart(0, 1).unwrap();
        assert_eq!(take_bytes(&mut bits, 3), [1, 0xFF, 1]);
        assert!(!bits.is_overrun());
        bits.restart(1, 11).unwrap();
        assert_eq!(take_bytes(&mut bits, 3), [12, 0xFF, 12]);
        assert!(matches!(bits.restart(13, 1), Err(Damage::Restart)));
        bits.restart(12, 8).unwrap();
        assert!(matches!(bits.restart(20, 1), Err(Damage::CutShort)));
    }
}
