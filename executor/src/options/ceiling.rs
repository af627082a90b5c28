//! How much VRAM may be filled.

use serde::{Deserialize, Serialize};

/// The VRAM of a GPU that may be in use, by whomever: a share of all there is, or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Ceiling {
    /// Of the GPU's memory: above 0, up to 1.
    Share(f64),
    /// So many bytes.
    Bytes(u64),
}

/// Suffixes of sizes, the longer before those that they end with.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

// === impl Ceiling ===

impl Ceiling {
    /// The bytes of a GPU with `total` bytes that may be in use.
    #[must_use]
    pub fn of(self, total: u64) -> u64 {
        match self {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a share of bytes needs no more than 52 bits, and is at most the whole"
            )]
            Self::Share(share) => (total as f64 * share) as u64,
            Self::Bytes(bytes) => bytes.min(total),
        }
    }
}

impl Default for Ceiling {
    /// 95 %: engines take up to 240 MiB more in their first requests than at load, measured on
    /// llama-server, and a driver keeps some 600 MiB of an 80 GB card for itself.
    fn default() -> Self {
        Self::Share(0.95)
    }
}

impl TryFrom<String> for Ceiling {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Ceiling {
    type Err = String;

    /// `90%`, `0.9`, `70GiB`, `500MiB` or `75161927680B`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("a VRAM ceiling is a share like 90% or a size like 70GiB, not `{text}`");
        let share = match text.strip_suffix('%') {
            Some(percent) => percent.trim().parse::<f64>().ok().map(|percent| percent / 100.0),
            None => text.parse::<f64>().ok(),
        };
        if let Some(share) = share {
            return if share > 0.0 && share <= 1.0 { Ok(Self::Share(share)) } else { Err(wrong()) };
        }
        let unit = UNITS.iter().find_map(|(suffix, bytes)| Some((text.strip_suffix(suffix)?, *bytes)));
        let (number, bytes) = unit.ok_or_else(wrong)?;
        let size = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(bytes));
        size.filter(|bytes| *bytes > 0).map(Self::Bytes).ok_or_else(wrong)
    }
}

impl std::fmt::Display for Ceiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", share * 100.0),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

impl From<Ceiling> for String {
    fn from(ceiling: Ceiling) -> Self {
        ceiling.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_sizes_are_read() {
        for (text, of_100_gib) in [
            ("90%", 90 << 30),
            ("0.5", 50 << 30),
            ("70GiB", 70 << 30),
            ("500 MiB", 500 << 20),
            ("200GiB", 100 << 30),
            ("1B", 1),
        ] {
            let ceiling: Ceiling = text.parse().unwrap();
            assert_eq!(ceiling.of(100 << 30), of_100_gib, "{text}");
            assert_eq!(String::from(ceiling).parse::<Ceiling>(), Ok(ceiling), "{text}");
        }
        for text in ["", "0", "0%", "101%", "70", "GiB", "0GiB", "70GB", "-1GiB", "NaN", "99999999999GiB"] {
            assert!(text.parse::<Ceiling>().is_err(), "{text}");
        }
    }
}
