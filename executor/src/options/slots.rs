//! How many lanes an engine gets.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// How many lanes drive an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "SlotsText", into = "SlotsText")]
pub enum Slots {
    /// As many as it says; where it does not, as many as are found to run at once, at most
    /// `liveness.most_slots`.
    #[default]
    Auto,
    /// So many: 1 to 256, the most sequences that llama.cpp runs.
    Fixed(NonZeroU32),
}

/// As written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum SlotsText {
    Number(u32),
    Word(String),
}

// === impl Slots ===

impl Slots {
    /// The number, given what the engine says.
    pub(crate) fn or(self, said: Option<u32>) -> u32 {
        self.known(said).unwrap_or(1)
    }

    /// The number, if anybody says it.
    pub(crate) fn known(self, said: Option<u32>) -> Option<u32> {
        match self {
            Self::Fixed(slots) => Some(slots.get()),
            Self::Auto => said.map(|slots| slots.clamp(1, MOST_SLOTS)),
        }
    }

    /// `found` slots, within what is configured.
    pub(crate) fn at_most(self, found: u32) -> u32 {
        let most = if let Self::Fixed(slots) = self { slots.get() } else { MOST_SLOTS };
        found.clamp(1, most)
    }
}

/// llama.cpp's `LLAMA_MAX_SEQ`.
const MOST_SLOTS: u32 = 256;

impl TryFrom<SlotsText> for Slots {
    type Error = String;

    fn try_from(text: SlotsText) -> Result<Self, String> {
        match text {
            SlotsText::Word(word) if word == "auto" => Ok(Self::Auto),
            SlotsText::Number(slots) if slots <= MOST_SLOTS => {
                NonZeroU32::new(slots).map(Self::Fixed).ok_or_else(|| "slots must be at least 1".into())
            }
            SlotsText::Number(slots) => Err(format!("slots must be at most {MOST_SLOTS}, not {slots}")),
            SlotsText::Word(word) => Err(format!("slots must be a number or `auto`, not `{word}`")),
        }
    }
}

impl From<Slots> for SlotsText {
    fn from(slots: Slots) -> Self {
        match slots {
            Slots::Auto => Self::Word("auto".into()),
            Slots::Fixed(slots) => Self::Number(slots.get()),
        }
    }
}

impl std::str::FromStr for Slots {
    type Err = String;

    /// As on a command line: a number, or `auto`.
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map_or_else(|_| SlotsText::Word(text.into()), SlotsText::Number).try_into()
    }
}
