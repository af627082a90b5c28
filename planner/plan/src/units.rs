use std::fmt;

/// Tokens of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(pub u64);

/// Microseconds of one lane, or of wall clock where it says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

/// Bytes of a chunk payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// A factor in millionths, 0 to 4,294: decimals such as 0.8 are exact, so that
/// 0.8 × 128,000 is 102,400 and never 102,399.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u32);

// === impl Tokens, Micros, Bytes ===

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Micros {
    /// Whole seconds as microseconds; saturates.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }
}

// === impl Ratio ===

impl Ratio {
    /// The factor 1.
    pub const ONE: Self = Self::from_millionths(Self::UNIT);

    const UNIT: u32 = 1_000_000;

    /// `millionths` ÷ 1,000,000.
    pub const fn from_millionths(millionths: u32) -> Self {
        Self(millionths)
    }

    /// A decimal, rounded to the nearest millionth. `None` if it is negative, above 4,294 or not a number.
    pub fn from_decimal(decimal: f64) -> Option<Self> {
        let millionths = (decimal * f64::from(Self::UNIT)).round();
        (0.0..=f64::from(u32::MAX)).contains(&millionths).then_some(Self(millionths as u32))
    }

    /// As a decimal, for display.
    pub fn decimal(self) -> f64 {
        f64::from(self.0) / f64::from(Self::UNIT)
    }

    /// ⌊amount × ratio⌋; saturates.
    pub fn of(self, amount: u64) -> u64 {
        narrow(u128::from(amount) * u128::from(self.0) / u128::from(Self::UNIT))
    }

    /// ⌊amount ÷ ratio⌋; the largest number for a ratio of 0.
    pub(crate) fn divide_down(self, amount: u64) -> u64 {
        let scaled = u128::from(amount) * u128::from(Self::UNIT);
        scaled.checked_div(u128::from(self.0)).map_or(u64::MAX, narrow)
    }

    /// ⌈amount ÷ ratio⌉; the largest number for a ratio of 0.
    pub(crate) fn divide_up(self, amount: u64) -> u64 {
        if self.0 == 0 {
            return u64::MAX;
        }
        narrow((u128::from(amount) * u128::from(Self::UNIT)).div_ceil(u128::from(self.0)))
    }
}

fn narrow(wide: u128) -> u64 {
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        let margin = Ratio::from_decimal(0.8).unwrap();
        assert_eq!(margin, Ratio::from_millionths(800_000));
        assert_eq!(margin.of(128_000), 102_400);
        assert_eq!(margin.of(111), 88);
        assert_eq!(Ratio::ONE.of(u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_no_ratio_is_refused() {
        for bad in [-0.1, f64::NAN, f64::INFINITY, 5_000.0] {
            assert_eq!(Ratio::from_decimal(bad), None, "{bad}");
        }
    }
}
