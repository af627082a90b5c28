//! Whose files and batches they are.

use std::{fmt, str::FromStr, sync::Arc};

/// The name of a tenant: 1 to 64 of `a-z 0-9 . _ -`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tenant(Arc<str>);

/// A text that names no tenant. It is not repeated: it may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tenant is named by 1 to 64 of a-z 0-9 . _ -")]
pub struct Error;

/// Bytes of a name.
const LONGEST: usize = 64;

// === impl Tenant ===

impl Tenant {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    /// Everybody's, where nobody is asked who they are; and of all that was there before tenants were.
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Tenant {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        let is_name = (1..=LONGEST).contains(&name.len()) && name.bytes().all(fits);
        if is_name { Ok(Self(name.into())) } else { Err(Error) }
    }
}

impl TryFrom<String> for Tenant {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<Tenant> for String {
    fn from(tenant: Tenant) -> Self {
        tenant.0.as_ref().to_owned()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_nothing_that_could_be_taken_for_something_else() {
        let name = "team-1.eu_west";
        assert_eq!(name.parse::<Tenant>().map(String::from), Ok(name.to_owned()));
        for bad in ["", "A", "a b", "a/b", "a\u{1f}b", "ä", &"a".repeat(65)] {
            assert_eq!(bad.parse::<Tenant>(), Err(Error), "{bad}");
        }
        assert_eq!(Tenant::default().as_str().parse(), Ok(Tenant::default()));
    }
}
