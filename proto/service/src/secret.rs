//! What a configuration holds and nobody is shown.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// A text that is written nowhere: neither by `--dump-config` nor to a log.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

/// What is written instead.
const HIDDEN: &str = "(secret)";

// === impl Secret ===

impl Secret {
    /// The text, to be used and not to be kept.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_never_written() {
        let secret: Secret = serde_json::from_str(r#""cvn_1""#).expect("a secret");
        assert_eq!(secret.reveal(), "cvn_1");
        assert_eq!(
            (format!("{secret:?}"), serde_json::to_string(&secret).ok()),
            (HIDDEN.to_owned(), Some(format!("{HIDDEN:?}")))
        );
    }
}
