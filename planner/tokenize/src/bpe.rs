use hashbrown::HashTable;

use crate::Error;
use crate::breaks::Breaks;
use crate::fields::Fields;
use crate::merge::{Join, NONE, Symbol};
use crate::pre::{PreTokenizer, Rules};
use crate::table::Table;
use crate::tokenizer::{Plain, Scratch};
use crate::word;

/// Byte pair encoding by a list of merges, as GPT-2 began it: `tokenizer.ggml.model` is `gpt2`, or
/// `gemma4`, whose tokens are text and whose rare characters are tokens of bytes (`<0xE2>`).
pub(crate) struct Bpe {
    pre: PreTokenizer,
    rules: Rules,
    table: Table,
    /// Ids from here on are steps between tokens, no tokens.
    tokens: u32,
    merges: Merges,
    breaks: Breaks,
    /// The token of each byte; [`NONE`] where there is none, and engines say nothing then either.
    bytes: Vec<u32>,
}

/// What two neighbours become, by rank: 20 bytes a merge.
struct Merges {
    merges: Vec<[u32; 3]>,
    index: HashTable<u32>,
}

// === impl Bpe ===

impl Bpe {
    pub(crate) fn new(fields: &Fields, rules: Rules) -> Result<Self, Error> {
        let raw = |text: &str| if rules.is_text { Some(text.as_bytes().to_vec()) } else { bytes_of(text) };
        let mut table = Table::with_capacity(fields.tokens.len());
        for text in fields.tokens.iter() {
            // What spells no bytes is no result of merging bytes: a special token.
            match raw(text).filter(|text| !text.is_empty()) {
                Some(text) => table.push(&text)?,
                None => drop(table.push_hidden(b"")),
            }
        }
        let tokens = table.len();
        let mut merges = Merges::with_capacity(fields.merges.len());
        for merge in fields.merges.iter() {
            let Some((left, right)) = halves(merge) else { continue };
            let (Some(left), Some(right)) = (raw(left), raw(right)) else { continue };
            let into = [left.as_slice(), &right].concat();
            let mut id = |text: &[u8]| match table.id(text) {
                Some(id) => Ok(id),
                None => table.push(text).map(|()| table.len() - 1),
            };
            merges.push([id(&left)?, id(&right)?, id(&into)?]);
        }
        if merges.merges.is_empty() {
            return Err(Error::Missing("tokenizer.ggml.merges"));
        }
        let token = |text: &[u8]| table.id(text).filter(|id| *id < tokens).unwrap_or(NONE);
        let bytes = (0..=u8::MAX).map(|byte| match rules.is_text {
            true => token(format!("<0x{byte:02X}>").as_bytes()),
            false => token(&[byte]),
        });
        let bytes = bytes.collect();
        let breaks = Breaks::new((0..table.len()).filter_map(|id| std::str::from_utf8(table.text(id)).ok()));
        Ok(Self { pre: PreTokenizer::new(&rules)?, rules, table, tokens, merges, breaks, bytes })
    }

    fn word(&self, word: &str, scratch: &mut Scratch, emit: &mut dyn FnMut(u32)) {
        let breaks = self.rules.is_text && word.bytes().all(|byte| byte == b'\n');
        let whole = || self.table.id(word.as_bytes()).filter(|id| *id < self.tokens);
        if (self.rules.ignores_merges || breaks)
            && let Some(id) = whole()
        {
            return emit(id);
        }
        let merger = &mut scratch.merger;
        merger.clear();
        if self.rules.is_text {
            for (at, character) in word.char_indices() {
                let end = at + character.len_utf8();
                merger.push(at, end, self.table.id(&word.as_bytes()[at..end]).unwrap_or(NONE));
            }
        } else {
            for (at, byte) in word.bytes().enumerate() {
                merger.push(at, at + 1, self.bytes[usize::from(byte)]);
            }
        }
        for Symbol { start, end, id, .. } in merger.merge(|left, right| self.merges.join(left.id, right.id)) {
            if *id < self.tokens {
                emit(*id);
                continue;
            }
            let bytes = word.as_bytes()[*start as usize..*end as usize].iter();
            bytes.map(|byte| self.bytes[usize::from(*byte)]).filter(|id| *id != NONE).for_each(&mut *emit);
        }
    }
}

impl Plain for Bpe {
    fn tokens(&self, fragment: &str, _opening: bool, scratch: &mut Scratch, emit: &mut dyn FnMut(u32)) {
        self.pre.split(fragment, &mut |word| {
            if !self.rules.is_text {
                return word::pieces(word).for_each(|piece| self.word(piece, scratch, emit));
            }
            self.breaks.split(word, ' ', false, &mut |word| {
                for piece in word::pieces(word) {
                    let escaped = piece.replace(' ', "▁");
                    self.word(&escaped, scratch, emit);
                }
            });
        });
    }
}

// === impl Merges ===

impl Merges {
    fn with_capacity(merges: usize) -> Self {
        Self { merges: Vec::with_capacity(merges), index: HashTable::with_capacity(merges) }
    }

    /// Add the merge of the next rank; one that is there already keeps its rank.
    fn push(&mut self, merge: [u32; 3]) {
        let [left, right, _] = merge;
        let rank = u32::try_from(self.merges.len()).unwrap_or(NONE);
        self.merges.push(merge);
        if self.find(left, right).is_none() {
            let Self { merges, index } = self;
            let hashed = |rank: &u32| hash(merges[*rank as usize][0], merges[*rank as usize][1]);
            index.insert_unique(hash(left, right), rank, hashed);
        }
    }

    fn find(&self, left: u32, right: u32) -> Option<u32> {
        let same = |rank: &u32| self.merges[*rank as usize][..2] == [left, right];
        self.index.find(hash(left, right), same).copied()
    }

    fn join(&self, left: u32, right: u32) -> Option<Join> {
        let rank = self.find(left, right)?;
        Some(Join { rank, id: self.merges[rank as usize][2] })
    }
}

/// Both ids mixed into all bits.
fn hash(left: u32, right: u32) -> u64 {
    let pair = u64::from(left) << 32 | u64::from(right);
    let mixed = u128::from(pair ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (mixed >> 64) as u64 ^ mixed as u64
}

/// The two sides of a merge: they are parted by the first space that is not the left one's first byte.
fn halves(merge: &str) -> Option<(&str, &str)> {
    let at = 1 + merge.as_bytes().get(1..)?.iter().position(|byte| *byte == b' ')?;
    Some((&merge[..at], &merge[at + 1..]))
}

/// The bytes that a token's text stands for: GPT-2 gives every byte a visible character.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    text.chars().map(byte_of).collect()
}

fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    let visible = |code: u32| matches!(code, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    match code {
        _ if visible(code) => u8::try_from(code).ok(),
        // The others are numbered from U+0100 on: 0 to 32, 127 to 160, 173.
        0x100..=0x120 => u8::try_from(code - 0x100).ok(),
        0x121..=0x142 => u8::try_from(code - 0x121 + 0x7f).ok(),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        let mut bytes: Vec<u8> = ('\0'..='\u{200}').filter_map(byte_of).collect();
        bytes.sort_unstable();
        assert!(bytes.into_iter().eq(0..=u8::MAX));
        assert_eq!(bytes_of("Ġ"), Some(vec![b' ']));
        assert_eq!(bytes_of("<｜end▁of▁sentence｜>"), None);
    }

    #[test]
    fn a_merge_is_parted_after_its_first_character() {
        assert_eq!(halves("Ġ t"), Some(("Ġ", "t")));
        assert_eq!(halves("\n \n"), Some(("\n", "\n")));
        assert_eq!(halves("ab"), None);
        assert_eq!(halves(""), None);
    }
}
