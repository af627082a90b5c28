//! API keys as people hold them: `cvn_`, 8 hex digits that everybody may see, `_`, and 64 hex digits.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// How every key begins, so that one is known when it is seen where it should not be.
pub const MARK: &str = "cvn_";

/// SHA-256 of a key.
pub type KeyHash = [u8; 32];

/// Random bytes of a key that are shown in lists.
const SHOWN: usize = 4;
/// Random bytes of a key that are not: as many as the hash has.
const HIDDEN: usize = 32;

/// A key that was just made.
pub struct FreshKey {
    /// The key.
    pub text: String,
    /// How it begins, for lists.
    pub prefix: String,
}

/// The system has no randomness to give.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes are to be had of the system")]
pub struct NoRandomness(#[source] getrandom::Error);

/// What is kept of a key: enough to know it again, and of no use to whoever finds it.
#[must_use]
pub fn hash(key: &str) -> KeyHash {
    Sha256::digest(key.as_bytes()).into()
}

// === impl FreshKey ===

impl FreshKey {
    /// One that nobody can guess.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; SHOWN + HIDDEN];
        getrandom::fill(&mut bytes).map_err(NoRandomness)?;
        let (shown, hidden) = bytes.split_at(SHOWN);
        let prefix = format!("{MARK}{}", hex(shown));
        Ok(Self { text: format!("{prefix}_{}", hex(hidden)), prefix })
    }
}

impl fmt::Debug for FreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_…", self.prefix)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_are_alike_and_none_is_shown() {
        let (one, other) = (FreshKey::random().expect("random"), FreshKey::random().expect("random"));
        assert_ne!(one.text, other.text);
        assert_ne!(hash(&one.text), hash(&other.text));
        assert_eq!((one.prefix.len(), one.text.len()), (12, 77));
        assert!(one.text.starts_with(&format!("{}_", one.prefix)));
        assert!(!format!("{one:?}").contains(&one.text[13..]));
    }
}
