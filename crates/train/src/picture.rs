//! Pictures as PNG bytes for the report.

use pyrograph_data::{Image, resize};

/// The longest side of a picture in a report, in pixels.
const LONGEST: u32 = 160;

/// The picture as PNG, made smaller where it is larger than a report needs. Empty if it cannot be encoded.
pub(crate) fn png(picture: &Image) -> Vec<u8> {
    let longest = picture.width().max(picture.height());
    let small;
    let picture = if longest > LONGEST {
        let side = |length: u32| (length * LONGEST / longest).max(1);
        small = resize(picture, side(picture.width()), side(picture.height()));
        &small
    } else {
        picture
    };
    picture.to_png()
}
