//! The same for progressive pictures, by libjpeg-turbo (feature `turbojpeg`). It takes the others, too, but not as fast.
//!
//! Its inverse transform gives the reduced sizes. Rows above the part are only read as far as their codes go, rows below it not at all,
//! and blocks beside it are not transformed. A warning of the library (it would go on with gray) is an error.

// The functions are C: safe bindings to them exist, but without the crop.
#![allow(unsafe_code)]

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::ffi::{CStr, c_int};

use turbojpeg_sys as raw;

use super::{Header, Window};

/// The most scans of a progressive picture: programs write about ten, and each takes time.
const MAX_SCANS: c_int = 64;

thread_local! {
    static DECOMPRESSOR: Cell<Option<Decompressor>> = const { Cell::new(None) };
}

/// Decodes `window` of the picture that is `reduce` times smaller. `pixels` becomes `[height, width, channels]` of it.
///
/// # Errors
///
/// What the library says of damaged data in or above the window, or of a picture that it does not take.
pub(super) fn decode(
    bytes: &[u8],
    header: &Header,
    window: &Window,
    reduce: u32,
    pixels: &mut Vec<u8>,
) -> Result<(), String> {
    let wide = widen(header, window, reduce);
    let channels = usize::from(header.channels);
    pixels.resize(wide.width as usize * wide.height as usize * channels, 0);
    let mut decompressor = DECOMPRESSOR.take().map_or_else(Decompressor::new, Ok)?;
    // An error may leave it within a header: then the next picture gets a new one.
    decompressor.decode(bytes, &wide, reduce, channels, pixels)?;
    DECOMPRESSOR.set(Some(decompressor));
    cut(pixels, &wide, window, channels);
    Ok(())
}

/// The window with what the library needs beside it: it begins at an MCU, and doubling looks at the chroma sample, two pixels
/// wide, on either side.
fn widen(header: &Header, window: &Window, reduce: u32) -> Window {
    let mcu = 8 * header.sampling().0 as u32 / reduce;
    let left = window.left.saturating_sub(2) / mcu * mcu;
    let right = (window.left + window.width + 2).min(header.width.div_ceil(reduce));
    Window { left, width: right - left, ..*window }
}

/// Leaves of the pixels of `wide` those of `window`, which has the same rows.
fn cut(pixels: &mut Vec<u8>, wide: &Window, window: &Window, channels: usize) {
    let (from, to) = (wide.width as usize * channels, window.width as usize * channels);
    let skipped = (window.left - wide.left) as usize * channels;
    if from != to {
        for row in 0..window.height as usize {
            let start = row * from + skipped;
            pixels.copy_within(start..start + to, row * to);
        }
        pixels.truncate(to * window.height as usize);
    }
}

/// The library's state, which it takes from one picture to the next.
struct Decompressor(raw::tjhandle);

impl Decompressor {
    fn new() -> Result<Self, String> {
        // SAFETY: it takes no pointer. The handle may be null, which `check` and `tj3Destroy` allow.
        let decompressor = Self(unsafe { raw::tj3Init(raw::TJINIT_TJINIT_DECOMPRESS as c_int) });
        decompressor.check(if decompressor.0.is_null() { -1 } else { 0 })?;
        for (parameter, value) in
            [(raw::TJPARAM_TJPARAM_STOPONWARNING, 1), (raw::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS)]
        {
            // SAFETY: the handle is one of `tj3Init`, not null and not destroyed before `self` is dropped.
            decompressor.check(unsafe { raw::tj3Set(decompressor.0, parameter as c_int, value) })?;
        }
        Ok(decompressor)
    }

    /// Decodes `window` of the picture that is `reduce` times smaller into `pixels`, which it has to fill.
    fn decode(
        &mut self,
        bytes: &[u8],
        window: &Window,
        reduce: u32,
        channels: usize,
        pixels: &mut [u8],
    ) -> Result<(), String> {
        let (width, height) = (window.width as usize, window.height as usize);
        // A side of 0 would mean all of the picture.
        if width == 0 || height == 0 || pixels.len() != width * height * channels {
            return Err("the window and its pixels are of different sizes".into());
        }
        let format = match channels {
            1 => raw::TJPF_TJPF_GRAY,
            3 => raw::TJPF_TJPF_RGB,
            _ => return Err(format!("no pixels have {channels} channels")),
        };
        let factor = raw::tjscalingfactor { num: 1, denom: reduce as c_int };
        // The sides of a JPEG are numbers of 16 bits.
        let [x, y, w, h] =
            [window.left, window.top, window.width, window.height].map(|length| length as c_int);
        let pitch = w * channels as c_int;
        // SAFETY: the handle is as above. The library reads `bytes.len()` bytes of `bytes` and keeps no pointer to them. It checks
        // the region against the header that it reads from these bytes, and writes `h` rows of `w` pixels of `channels`
        // bytes, one every `pitch` bytes: all of `pixels`. Its long jumps end within its own functions.
        unsafe {
            let (data, size) = (bytes.as_ptr(), bytes.len() as raw::size_t);
            self.check(raw::tj3DecompressHeader(self.0, data, size))?;
            self.check(raw::tj3SetScalingFactor(self.0, factor))?;
            self.check(raw::tj3SetCroppingRegion(self.0, raw::tjregion { x, y, w, h }))?;
            self.check(raw::tj3Decompress8(self.0, data, size, pixels.as_mut_ptr(), pitch, format))
        }
    }

    fn check(&self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the text ends with a zero and lies in the handle, or with the thread where that is null, until the next call.
        let text = unsafe { CStr::from_ptr(raw::tj3GetErrorStr(self.0)) };
        Err(format!("libjpeg-turbo: {}", text.to_string_lossy()))
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: nothing uses the handle after this; null is allowed.
        unsafe { raw::tj3Destroy(self.0) }
    }
}
