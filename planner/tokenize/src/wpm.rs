use unicode_general_category::{GeneralCategory as Category, get_general_category};
use unicode_normalization::char::decompose_canonical;

use crate::Error;
use crate::fields::Fields;
use crate::table::Table;
use crate::tokenizer::{Plain, Scratch};

/// Bytes of a word at most: longer ones are cut. (No token has a hundred.)
const MAX_WORD: usize = 64 << 10;
/// BERT's own, for a model that does not name one.
const UNKNOWN: u32 = 100;

/// WordPiece: `tokenizer.ggml.model` is `bert`. Words are cut at blanks, punctuation and Chinese,
/// and each becomes the longest tokens from its left, or as a whole the unknown token.
pub(crate) struct Wpm {
    table: Table,
    unknown: u32,
    lowercase: bool,
    strip_accents: bool,
}

// === impl Wpm ===

impl Wpm {
    pub(crate) fn new(fields: &Fields) -> Result<Self, Error> {
        let table = Table::of(fields)?;
        let lowercase = fields.lowercase.unwrap_or(true);
        let strip_accents = fields.strip_accents.unwrap_or(lowercase);
        Ok(Self { table, unknown: fields.unknown.unwrap_or(UNKNOWN), lowercase, strip_accents })
    }

    /// Hand out the word's tokens and forget it.
    fn end_word(&self, scratch: &mut Scratch, emit: &mut dyn FnMut(u32)) {
        let Scratch { text, ids, .. } = scratch;
        if text.is_empty() {
            return;
        }
        // Tokens that begin a word begin with this.
        text.insert(0, '▁');
        let bytes = text.as_bytes();
        let mut at = 0;
        ids.clear();
        while at < bytes.len() {
            let longest = bytes.len().min(at + self.table.longest());
            match (at + 1..=longest).rev().find_map(|end| Some((end, self.table.id(&bytes[at..end])?))) {
                Some((end, id)) => {
                    ids.push(id);
                    at = end;
                }
                None => {
                    ids.clear();
                    ids.push(self.unknown);
                    break;
                }
            }
        }
        ids.drain(..).for_each(emit);
        text.clear();
    }
}

impl Plain for Wpm {
    fn tokens(&self, fragment: &str, _opening: bool, scratch: &mut Scratch, emit: &mut dyn FnMut(u32)) {
        scratch.text.clear();
        for character in fragment.chars() {
            let character = if self.strip_accents { first_decomposed(character) } else { character };
            if character.is_whitespace() {
                self.end_word(scratch, emit);
                continue;
            }
            let class = Class::of(character);
            if class == Class::Ignored || class == Class::Accent && self.strip_accents {
                continue;
            }
            let alone = class == Class::Punctuation || is_chinese(character);
            if alone || scratch.text.len() >= MAX_WORD {
                self.end_word(scratch, emit);
            }
            let first_lower = || character.to_lowercase().next().unwrap_or(character);
            scratch.text.push(if self.lowercase { first_lower() } else { character });
            if alone {
                self.end_word(scratch, emit);
            }
        }
        self.end_word(scratch, emit);
    }
}

/// What a character does to the word it is in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Accent,
    Punctuation,
    Ignored,
}

// === impl Class ===

impl Class {
    fn of(character: char) -> Self {
        if character.is_ascii() {
            return match character {
                _ if character.is_ascii_alphanumeric() => Self::Letter,
                _ if character.is_ascii_punctuation() && character != '\x7f' => Self::Punctuation,
                _ => Self::Ignored,
            };
        }
        match get_general_category(character) {
            _ if character == char::REPLACEMENT_CHARACTER => Self::Ignored,
            Category::Control | Category::Format | Category::PrivateUse | Category::Surrogate => {
                Self::Ignored
            }
            Category::NonspacingMark | Category::SpacingMark | Category::EnclosingMark => Self::Accent,
            Category::ConnectorPunctuation
            | Category::DashPunctuation
            | Category::OpenPunctuation
            | Category::ClosePunctuation
            | Category::InitialPunctuation
            | Category::FinalPunctuation
            | Category::OtherPunctuation => Self::Punctuation,
            _ => Self::Letter,
        }
    }
}

/// The first character of the canonical decomposition, which is what llama.cpp keeps of it.
fn first_decomposed(character: char) -> char {
    if character.is_ascii() {
        return character;
    }
    let mut first = None;
    decompose_canonical(character, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(character)
}

/// Each of these is a word of its own. The ranges are BERT's, with a slip in the sixth that tokenizers share.
fn is_chinese(character: char) -> bool {
    matches!(u32::from(character),
        0x4e00..=0x9fff | 0x3400..=0x4dbf | 0x20000..=0x2a6df | 0x2a700..=0x2b73f | 0x2b740..=0x2b81f
        | 0x2b920..=0x2ceaf | 0xf900..=0xfaff | 0x2f800..=0x2fa1f)
}
