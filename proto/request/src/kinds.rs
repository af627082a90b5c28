use std::fmt;

use crate::EngineKind;

/// A set of engine kinds: those of a fleet, or those that honour something.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Kinds(u8);

// === impl Kinds ===

impl Kinds {
    /// No kind.
    pub const NONE: Self = Self(0);
    /// Ollama's native API.
    pub const OLLAMA: Self = Self(1 << EngineKind::Ollama as u8);
    /// The OpenAI-compatible API.
    pub const OPEN_AI: Self = Self(1 << EngineKind::OpenAi as u8);
    /// Every kind.
    pub const ALL: Self = Self(Self::OLLAMA.0 | Self::OPEN_AI.0);

    /// Whether `kind` is in the set.
    #[must_use]
    pub const fn contains(self, kind: EngineKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds that are in both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether no kind is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = EngineKind> {
        EngineKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl From<EngineKind> for Kinds {
    fn from(kind: EngineKind) -> Self {
        Self(1 << kind as u8)
    }
}

impl FromIterator<EngineKind> for Kinds {
    fn from_iter<I: IntoIterator<Item = EngineKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::NONE, |set, kind| Self(set.0 | Self::from(kind).0))
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in self.iter().enumerate() {
            write!(f, "{}{kind}", if index == 0 { "" } else { ", " })?;
        }
        if self.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
