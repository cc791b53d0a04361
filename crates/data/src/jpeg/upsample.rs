//! Chroma to the size of the luma, as libjpeg's "fancy" upsampling does it: an output sample is three quarters of the nearest sample
//! and one quarter of the next, in each direction that is halved.

/// A row of chroma at twice its width and between two rows, as libjpeg's "fancy" upsampling: an output sample is
/// three quarters of the nearest sample and one quarter of the next, in each direction.
///
/// `near` and `far` are the same columns of two rows; where the picture is not halved downwards, they are the same row.
/// `before` and `after` say that a column stands left or right of the output's; where the picture ends the nearest column
/// stands for it. `sums` is for work. `out` gets two samples for each column.
#[inline(always)]
pub(super) fn double_between(
    (near, far): (&[u8], &[u8]),
    (before, after): (bool, bool),
    sums: &mut Vec<u16>,
    out: &mut [u8],
) {
    let columns = out.len() / 2;
    sums.resize(columns + 2, 0);
    let inner = usize::from(!before)..columns + 1 + usize::from(after);
    for ((sum, &near), &far) in sums[inner].iter_mut().zip(near).zip(far) {
        *sum = 3 * u16::from(near) + u16::from(far);
    }
    if !before {
        sums[0] = sums[1];
    }
    if !after {
        sums[columns + 1] = sums[columns];
    }
    double::<4>(sums, (8, 7), out);
}

/// [`double_between`] for a picture that is not halved downwards.
#[inline(always)]
pub(super) fn double_across(row: &[u8], (before, after): (bool, bool), sums: &mut Vec<u16>, out: &mut [u8]) {
    let columns = out.len() / 2;
    sums.resize(columns + 2, 0);
    let inner = usize::from(!before)..columns + 1 + usize::from(after);
    for (sum, &value) in sums[inner].iter_mut().zip(row) {
        *sum = value.into();
    }
    if !before {
        sums[0] = sums[1];
    }
    if !after {
        sums[columns + 1] = sums[columns];
    }
    double::<2>(sums, (1, 2), out);
}

#[inline(always)]
fn double<const BITS: u16>(sums: &[u16], rounding: (u16, u16), out: &mut [u8]) {
    let neighbours = sums.iter().zip(&sums[1..]).zip(&sums[2..]);
    for (out, ((&left, &this), &right)) in out.as_chunks_mut::<2>().0.iter_mut().zip(neighbours) {
        *out =
            [((3 * this + left + rounding.0) >> BITS) as u8, ((3 * this + right + rounding.1) >> BITS) as u8];
    }
}

/// A row between two others, at its own width.
#[inline(always)]
pub(super) fn between((near, far): (&[u8], &[u8]), is_lower: bool, out: &mut [u8]) {
    let rounding = if is_lower { 2 } else { 1 };
    for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
        *out = ((3 * u16::from(near) + u16::from(far) + rounding) >> 2) as u8;
    }
}

/// Every sample twice: what libjpeg does where there are at most two columns.
pub(super) fn repeat(row: &[u8], out: &mut [u8]) {
    for (out, &value) in out.as_chunks_mut::<2>().0.iter_mut().zip(row) {
        *out = [value; 2];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_plane_stays_even_and_a_step_becomes_a_ramp() {
        let (mut sums, mut out) = (Vec::new(), [0; 8]);
        double_between((&[90; 4], &[90; 4]), (false, false), &mut sums, &mut out);
        assert_eq!(out, [90; 8]);
        double_across(&[0, 0, 80, 80], (false, false), &mut sums, &mut out);
        assert_eq!(out, [0, 0, 0, 20, 60, 80, 80, 80]);
        // A window within the row sees the columns beside it.
        double_across(&[0, 0, 80, 80], (true, true), &mut sums, &mut out[..4]);
        assert_eq!(out[..4], [0, 20, 60, 80]);
    }
}
