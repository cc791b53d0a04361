//! The one thing in EXIF data that changes what a person sees.

/// The orientation, 1 to 8, in the data of an APP1 segment; `None` where it is not told.
///
/// EXIF 2.3, sections 4.5.4 and 4.6.4: a TIFF file whose first directory has the tag 0x0112.
pub(super) fn orientation(segment: &[u8]) -> Option<u8> {
    let tiff = segment.strip_prefix(b"Exif\0\0")?;
    let little = match tiff.first_chunk()? {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if little { u16::from_le_bytes(bytes) } else { u16::from_be_bytes(bytes) })
    };
    let long = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    };
    let directory = usize::try_from(long(4)?).ok()?;
    for entry in 0..usize::from(short(directory)?) {
        let at = directory + 2 + entry * 12;
        // One number of 16 bits, which lies where longer values have their offset.
        if short(at)? == 0x0112 {
            let value = (short(at + 2)? == 3 && long(at + 4)? == 1).then(|| short(at + 8))??;
            return u8::try_from(value).ok().filter(|value| (1..=8).contains(value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An APP1 segment with two tags.
    fn exif(orientation: u16, little: bool) -> Vec<u8> {
        let mut bytes = b"Exif\0\0".to_vec();
        bytes.extend(if little { b"II*\0" } else { b"MM\0*" });
        let mut number = |value: u32, size: usize| {
            let all = if little { value.to_le_bytes() } else { value.to_be_bytes() };
            bytes.extend(if little { &all[..size] } else { &all[4 - size..] });
        };
        number(8, 4);
        number(2, 2);
        for (tag, value) in [(0x0100, 640), (0x0112, orientation)] {
            number(tag, 2);
            number(3, 2);
            number(1, 4);
            number(value.into(), 2);
            number(0, 2);
        }
        number(0, 4);
        bytes
    }

    #[test]
    fn orientation_is_read_in_both_byte_orders() {
        for little in [true, false] {
            for value in 1..=8 {
                assert_eq!(orientation(&exif(value, little)), Some(value as u8));
            }
            assert_eq!(orientation(&exif(0, little)), None);
            assert_eq!(orientation(&exif(9, little)), None);
        }
    }

    #[test]
    fn cut_or_foreign_data_say_nothing() {
        let whole = exif(6, true);
        let tag_ends = whole.len() - 6;
        for end in 0..tag_ends {
            assert_eq!(orientation(&whole[..end]), None, "cut at {end}");
        }
        assert_eq!(orientation(b"http://ns.adobe.com/xap/1.0/\0"), None);
    }
}
