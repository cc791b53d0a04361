//! Maps of the plane: what a geometric step does to a place in the picture.

/// A projective map of places (`x` to the right, `y` down, in pixels; the first pixel covers 0 to 1): a 3 x 3 matrix, by rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Projection(pub(super) [f64; 9]);

/// A place whose depth is below this lies behind the viewer, or nowhere.
const NEAREST_DEPTH: f64 = 1e-9;

impl Projection {
    /// `x' = ax + by + c`, `y' = dx + ey + f`.
    pub(super) fn affine([a, b, c, d, e, f]: [f64; 6]) -> Self {
        Self([a, b, c, d, e, f, 0.0, 0.0, 1.0])
    }

    /// Each axis stretched by `scale`, then moved.
    pub(super) fn stretch(scale: [f64; 2], offset: [f64; 2]) -> Self {
        Self::affine([scale[0], 0.0, offset[0], 0.0, scale[1], offset[1]])
    }

    /// The map back, by the adjugate; `None` for a map that flattens the plane.
    pub(super) fn inverse(&self) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let adjugate = [
            e * i - f * h,
            c * h - b * i,
            b * f - c * e,
            f * g - d * i,
            a * i - c * g,
            c * d - a * f,
            d * h - e * g,
            b * g - a * h,
            a * e - b * d,
        ];
        let determinant = a * adjugate[0] + b * adjugate[3] + c * adjugate[6];
        (determinant.abs() > 1e-12).then(|| Self(adjugate.map(|v| v / determinant)))
    }

    /// Where the place goes; `None` if it goes nowhere.
    pub(super) fn apply(&self, [x, y]: [f64; 2]) -> Option<[f64; 2]> {
        let m = &self.0;
        let depth = m[6] * x + m[7] * y + m[8];
        (depth > NEAREST_DEPTH)
            .then(|| [(m[0] * x + m[1] * y + m[2]) / depth, (m[3] * x + m[4] * y + m[5]) / depth])
    }

    /// Where the place goes by a map that [is affine](Self::is_affine).
    pub(super) fn apply_affine(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let m = &self.0;
        [m[0] * x + m[1] * y + m[2], m[3] * x + m[4] * y + m[5]]
    }

    /// Whether parallels stay parallel.
    pub(super) fn is_affine(&self) -> bool {
        self.0[6..] == [0.0, 0.0, 1.0]
    }

    /// The map that takes each of `from` to its partner in `to`; `None` if three of them are in line.
    pub(super) fn between(from: &[[f64; 2]; 4], to: &[[f64; 2]; 4]) -> Option<Self> {
        let mut rows = [[0.0; 9]; 8];
        for (n, ([x, y], [u, v])) in from.iter().zip(to).enumerate() {
            rows[2 * n] = [*x, *y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, *u];
            rows[2 * n + 1] = [0.0, 0.0, 0.0, *x, *y, 1.0, -v * x, -v * y, *v];
        }
        solve(rows).map(|s| Self([s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], 1.0]))
    }
}

/// The solution of eight linear equations, the last column being the right-hand side: Gauss, with the largest pivot.
fn solve(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let largest = (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, largest);
        let pivot = rows[column];
        if pivot[column].abs() < 1e-12 {
            return None;
        }
        for (_, row) in rows.iter_mut().enumerate().filter(|(n, _)| *n != column) {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(pivot).for_each(|(value, above)| *value -= factor * above);
        }
    }
    Some(std::array::from_fn(|n| rows[n][8] / rows[n][n]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).abs() < 1e-9 && (a[1] - b[1]).abs() < 1e-9
    }

    #[test]
    fn four_places_go_where_they_should_and_back() {
        let from = [[0.0, 0.0], [10.0, 0.0], [10.0, 5.0], [0.0, 5.0]];
        let to = [[1.0, 2.0], [8.0, 0.5], [9.5, 4.0], [2.0, 5.0]];
        let map = Projection::between(&from, &to).unwrap();
        let back = map.inverse().unwrap();
        for (from, to) in from.into_iter().zip(to) {
            assert!(close(map.apply(from).unwrap(), to));
            assert!(close(back.apply(to).unwrap(), from));
        }
    }

    #[test]
    fn flat_maps_have_no_inverse() {
        assert_eq!(Projection::stretch([0.0, 1.0], [0.0, 0.0]).inverse(), None);
        let line = [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [3.0, 0.0]];
        assert_eq!(Projection::between(&line, &[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), None);
    }

    #[test]
    fn a_place_behind_the_viewer_goes_nowhere() {
        let map = Projection([1.0, 0.0, 0.0, 0.0, 1.0, 0.0, -0.1, 0.0, 1.0]);
        assert!(map.apply([5.0, 1.0]).is_some());
        assert_eq!(map.apply([20.0, 1.0]), None);
    }
}
