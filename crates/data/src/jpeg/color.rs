//! YCbCr to red, green and blue; libjpeg's arithmetic, bit for bit.

/// JFIF's YCbCr as red, green, blue, in 16-bit fixed point. All rows are as long as `luma`.
#[inline(always)]
pub(super) fn to_rgb(luma: &[u8], blueness: &[u8], redness: &[u8], [red, green, blue]: [&mut [u8]; 3]) {
    let samples = luma.iter().zip(blueness).zip(redness);
    let pixels = red.iter_mut().zip(green).zip(blue);
    for (((&y, &cb), &cr), ((red, green), blue)) in samples.zip(pixels) {
        let (y, cb, cr) = (i16::from(y), i16::from(cb) - 128, i16::from(cr) - 128);
        // The whole parts of the factors are added, the fractions multiplied: 1.402, 1.772, 0.34414 and 0.71414.
        let g = (i32::from(cb) * i32::from(G_CB) + i32::from(cr) * i32::from(G_CR) + (1 << 15)) >> 16;
        *red = (y + cr + half(high(2 * cr, R_CR))).clamp(0, 255) as u8;
        *green = (y - cr + g as i16).clamp(0, 255) as u8;
        *blue = (y + 2 * cb + half(high(2 * cb, B_CB))).clamp(0, 255) as u8;
    }
}

const R_CR: i16 = fraction(1.402 - 1.0);
const B_CB: i16 = -fraction(2.0 - 1.772);
const G_CB: i16 = -fraction(0.34414);
const G_CR: i16 = fraction(1.0 - 0.71414);

/// 16 bits behind the point. All that are used are below a half.
const fn fraction(value: f64) -> i16 {
    (value * 65536.0 + 0.5) as i16
}

#[inline(always)]
fn high(value: i16, factor: i16) -> i16 {
    ((i32::from(value) * i32::from(factor)) >> 16) as i16
}

/// Half of it, rounded: with [`high`] of twice a number, the rounded product.
#[inline(always)]
fn half(value: i16) -> i16 {
    (value + 1) >> 1
}

/// Rows of red, green and blue as pixels.
#[inline(always)]
pub(super) fn interleave(red: &[u8], green: &[u8], blue: &[u8], out: &mut [u8]) {
    let samples = red.iter().zip(green).zip(blue);
    for (out, ((&r, &g), &b)) in out.as_chunks_mut::<3>().0.iter_mut().zip(samples) {
        // One by one, which compilers make into shuffles of whole registers; of an array they do not.
        out[0] = r;
        out[1] = g;
        out[2] = b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_those_of_the_fixed_point_formulas() {
        let fixed = |value: f64| (value * 65536.0 + 0.5) as i32;
        for cb in 0..=255u8 {
            for cr in 0..=255u8 {
                let y = cb.wrapping_mul(7) ^ cr;
                let (blue, red) = (i32::from(cb) - 128, i32::from(cr) - 128);
                let green = -fixed(0.34414) * blue - fixed(0.71414) * red;
                let expected = [fixed(1.402) * red, green, fixed(1.772) * blue]
                    .map(|v| (i32::from(y) + ((v + (1 << 15)) >> 16)).clamp(0, 255) as u8);
                let [mut r, mut g, mut b] = [[0]; 3];
                to_rgb(&[y], &[cb], &[cr], [&mut r, &mut g, &mut b]);
                assert_eq!([r[0], g[0], b[0]], expected, "{y} {cb} {cr}");
            }
        }
    }
}
