//! Least squares, relative: an error of a tenth weighs the same at every size.

/// One measurement: `y` is to be the sum of `x` times the coefficients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Row<const N: usize> {
    /// What each coefficient is taken times.
    pub(crate) x: [f64; N],
    /// What was measured, above 0.
    pub(crate) y: f64,
}

/// Below this part of a column's length, what it adds to the others is rounding.
const DEPENDENT: f64 = 1e-9;

// === impl Row ===

impl<const N: usize> Row<N> {
    /// What `coefficients` say.
    pub(crate) fn fitted(&self, coefficients: &[f64; N]) -> f64 {
        self.x.iter().zip(coefficients).map(|(x, coefficient)| x * coefficient).sum()
    }

    fn is_usable(&self) -> bool {
        self.y.is_finite() && self.y > 0.0 && self.x.iter().all(|x| x.is_finite())
    }
}

/// The coefficients with the least sum of squared relative errors, none of them below 0. One that the rows
/// do not tell apart from those before it is 0. None without a usable row.
pub(crate) fn nonnegative<const N: usize>(rows: &[Row<N>]) -> Option<[f64; N]> {
    let rows: Vec<_> = rows.iter().copied().filter(Row::is_usable).collect();
    let feasible = subsets::<N>().filter_map(|columns| {
        let coefficients = solve(&rows, columns)?;
        let bounded = coefficients.iter().all(|coefficient| *coefficient >= 0.0);
        bounded.then(|| (error(&rows, &coefficients), coefficients))
    });
    // The first of those that are as good as each other.
    let best = feasible.reduce(|best, next| if next.0 < best.0 * (1.0 - 1e-9) { next } else { best });
    best.map(|(_, coefficients)| coefficients)
}

/// The same with coefficients of either sign; none if the rows do not tell all of them.
pub(crate) fn any_sign<const N: usize>(rows: &[Row<N>]) -> Option<[f64; N]> {
    let rows: Vec<_> = rows.iter().copied().filter(Row::is_usable).collect();
    solve(&rows, [true; N])
}

/// Every choice of columns, larger ones first and those with the first columns first among equals.
fn subsets<const N: usize>() -> impl Iterator<Item = [bool; N]> {
    let mut all: Vec<[bool; N]> =
        (1_usize..1 << N).map(|bits| std::array::from_fn(|column| bits >> column & 1 == 1)).collect();
    all.sort_by_key(|columns| std::cmp::Reverse(columns.iter().filter(|chosen| **chosen).count()));
    all.into_iter()
}

/// Sum of squared relative errors.
fn error<const N: usize>(rows: &[Row<N>], coefficients: &[f64; N]) -> f64 {
    rows.iter().map(|row| (row.fitted(coefficients) / row.y - 1.0).powi(2)).sum()
}

/// Solves for the chosen columns by Gram and Schmidt, which needs no squares of condition; the other
/// coefficients are 0. None if the rows do not tell the chosen ones apart.
fn solve<const N: usize>(rows: &[Row<N>], chosen: [bool; N]) -> Option<[f64; N]> {
    let column = |place: usize| -> Vec<f64> { rows.iter().map(|row| row.x[place] / row.y).collect() };
    let mut rest = vec![1.0; rows.len()];
    let mut bases: Vec<(usize, Vec<f64>)> = Vec::new();
    let (mut triangle, mut goals) = ([[0.0; N]; N], [0.0; N]);
    for place in (0..N).filter(|place| chosen[*place]) {
        let mut vector = column(place);
        let length = dot(&vector, &vector).sqrt();
        for (before, base) in &bases {
            triangle[*before][place] = subtract(&mut vector, base);
        }
        let left = dot(&vector, &vector).sqrt();
        if left <= length * DEPENDENT {
            return None;
        }
        vector.iter_mut().for_each(|number| *number /= left);
        triangle[place][place] = left;
        goals[place] = subtract(&mut rest, &vector);
        bases.push((place, vector));
    }
    let mut coefficients = [0.0; N];
    for (place, _) in bases.iter().rev() {
        let known: f64 = (place + 1..N).map(|after| triangle[*place][after] * coefficients[after]).sum();
        coefficients[*place] = (goals[*place] - known) / triangle[*place][*place];
    }
    Some(coefficients)
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

/// Takes from `vector` its part along `base`, which has length 1, and says how long that was.
fn subtract(vector: &mut [f64], base: &[f64]) -> f64 {
    let along = dot(vector, base);
    vector.iter_mut().zip(base).for_each(|(number, base)| *number -= along * base);
    along
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: f64 = 1_048_576.0;

    /// `size_vram` of a real Ollama on one H200: an 8B model in Q8_0 with 8 slots.
    #[test]
    fn the_memory_of_a_real_engine_is_a_line() {
        let measured =
            [(2_048.0, 9_873.0), (8_192.0, 16_261.0), (32_768.0, 40_933.0), (131_072.0, 138_913.0)];
        let rows = measured.map(|(context, mib)| Row { x: [1.0, 8.0, 8.0 * context], y: mib * MIB });
        let line = nonnegative(&rows).unwrap();
        for row in rows {
            assert!((row.fitted(&line) / row.y - 1.0).abs() < 0.05, "{row:?} {line:?}");
        }
        assert_eq!(line[1], 0.0, "with one number of slots the slot's own part is not told");
        assert!((line[2] / MIB - 0.125).abs() < 0.01, "{line:?}");
    }

    #[test]
    fn what_would_be_negative_is_zero() {
        let rows = [(1.0, 1.0), (2.0, 3.0), (3.0, 5.0)].map(|(x, y)| Row { x: [1.0, x], y });
        let [fixed, slope] = nonnegative(&rows).unwrap();
        assert_eq!(fixed, 0.0);
        assert!(slope > 1.0 && slope < 2.0, "{slope}");
        assert!((any_sign(&rows).unwrap()[0] + 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_usable_gives_nothing() {
        assert_eq!(nonnegative::<2>(&[]), None);
        assert_eq!(nonnegative(&[Row { x: [1.0], y: 0.0 }, Row { x: [f64::NAN], y: 1.0 }]), None);
        assert_eq!(any_sign(&[Row { x: [1.0, 2.0], y: 1.0 }]), None, "one row does not tell two");
        assert_eq!(nonnegative(&[Row { x: [0.0, 2.0], y: 1.0 }]), Some([0.0, 0.5]));
    }

    proptest! {
        #[test]
        fn exact_data_give_their_coefficients(
            coefficients in prop::array::uniform3(0.001..100.0_f64),
            more in prop::collection::vec(prop::array::uniform2(1.0..5_000.0_f64), 0..6),
        ) {
            let xs = [[1.0, 16.0, 8.0], [1.0, 512.0, 8.0], [1.0, 16.0, 64.0], [1.0, 512.0, 64.0]];
            let xs = xs.into_iter().chain(more.into_iter().map(|[a, b]| [1.0, a, b]));
            let rows: Vec<_> = xs
                .map(|x| Row { x, y: Row { x, y: 1.0 }.fitted(&coefficients) })
                .collect();
            let found = nonnegative(&rows).unwrap();
            for (found, wanted) in found.iter().zip(coefficients) {
                prop_assert!((found - wanted).abs() <= 1e-6 * wanted.max(1.0), "{found:?} {wanted:?}");
            }
        }

        /// The optimum under the bounds: no step along an axis that stays in them is better.
        #[test]
        fn no_neighbour_is_better(
            rows in prop::collection::vec((prop::array::uniform3(0.0..100.0_f64), 0.1..100.0_f64), 3..10),
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(x, y)| Row { x, y }).collect();
            if let Some(found) = nonnegative(&rows) {
                prop_assert!(found.iter().all(|coefficient| *coefficient >= 0.0 && coefficient.is_finite()));
                let best = error(&rows, &found);
                for place in 0..3 {
                    for step in [-1e-3, 1e-3] {
                        let mut other = found;
                        other[place] = (other[place] + step).max(0.0);
                        prop_assert!(error(&rows, &other) >= best - 1e-9 * best.max(1.0));
                    }
                }
            }
        }

        #[test]
        fn the_order_of_rows_does_not_matter(
            rows in prop::collection::vec((prop::array::uniform2(1.0..100.0_f64), 1.0..100.0_f64), 2..8),
        ) {
            let rows: Vec<_> = rows.into_iter().map(|(x, y)| Row { x, y }).collect();
            let turned: Vec<_> = rows.iter().rev().copied().collect();
            if let (Some(one), Some(other)) = (nonnegative(&rows), nonnegative(&turned)) {
                prop_assert!((error(&rows, &one) - error(&rows, &other)).abs() < 1e-6);
            }
        }
    }
}
