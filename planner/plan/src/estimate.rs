use crate::{Ratio, Tokens};

/// How many bytes of text make a token, where no tokenizer is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BytesPerToken {
    /// Fewest, for the upper bound. Default 1: a byte-level vocabulary never needs more tokens than bytes.
    pub fewest: Ratio,
    /// Likely. Default 4: English prose under the vocabularies in use.
    pub likely: Ratio,
    /// Most, for the lower bound. Default 16: above what natural text and code reach on average.
    pub most: Ratio,
}

/// Tokens of a text that was not counted: `low ≤ likely ≤ high` as long as the ratios ascend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// At least so many, rounded down: what may reject a request.
    pub low: Tokens,
    /// Likely so many, rounded up: what plans.
    pub likely: Tokens,
    /// At most so many, rounded up.
    pub high: Tokens,
}

impl Default for BytesPerToken {
    fn default() -> Self {
        Self {
            fewest: Ratio::ONE,
            likely: Ratio::from_millionths(4_000_000),
            most: Ratio::from_millionths(16_000_000),
        }
    }
}

/// Tokens of `bytes` bytes of UTF-8 text.
pub fn estimate(bytes: u64, ratio: &BytesPerToken) -> Estimate {
    Estimate {
        low: Tokens(ratio.most.divide_down(bytes)),
        likely: Tokens(ratio.likely.divide_up(bytes)),
        high: Tokens(ratio.fewest.divide_up(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_enclose_the_likely() {
        let ratio = BytesPerToken::default();
        for bytes in [0, 1, 15, 16, 17, 3_999, 10 << 20, u64::from(u32::MAX)] {
            let estimate = estimate(bytes, &ratio);
            assert!(estimate.low <= estimate.likely && estimate.likely <= estimate.high, "{bytes}");
            assert_eq!(estimate.high, Tokens(bytes));
        }
        assert_eq!(estimate(4_001, &ratio).likely, Tokens(1_001));
        assert_eq!(estimate(4_001, &ratio).low, Tokens(250));
    }
}
