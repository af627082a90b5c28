use crate::Error;
use crate::breaks::Breaks;
use crate::charsmap::Charsmap;
use crate::fields::{Fields, kind};
use crate::tokenizer::{Plain, Scratch};
use crate::word;

/// T5's own, for a model that does not name one.
const UNKNOWN: u32 = 2;
/// How much worse than the worst token an unknown character is.
const PENALTY: f64 = 10.0;

/// SentencePiece by probabilities: `tokenizer.ggml.model` is `t5`. Of all ways to part a word into
/// tokens the likeliest one, in time linear in the word.
pub(crate) struct Unigram {
    charsmap: Charsmap,
    breaks: Breaks,
    tokens: Sorted,
    unknown: u32,
    unknown_score: f64,
    prefixes_space: bool,
    merges_spaces: bool,
}

/// Tokens in the order of their bytes, for finding all that a text begins with.
struct Sorted {
    tokens: Vec<Token>,
    bytes: Vec<u8>,
    /// Where the tokens that begin with each byte start; the end of all last.
    first: Vec<usize>,
}

struct Token {
    start: usize,
    end: usize,
    id: u32,
    score: f64,
}

/// The best way to a place in a word.
#[derive(Clone, Copy)]
struct Best {
    id: u32,
    from: usize,
    score: f64,
}

// === impl Unigram ===

impl Unigram {
    pub(crate) fn new(fields: &Fields) -> Result<Self, Error> {
        if fields.scores.is_empty() {
            return Err(Error::Missing("tokenizer.ggml.scores"));
        }
        let normal = (0..fields.tokens.len()).filter(|id| fields.kind(*id) == kind::NORMAL);
        let worst = normal.map(|id| fields.score(id)).fold(f32::MAX, f32::min);
        Ok(Self {
            charsmap: Charsmap::new(&fields.charsmap)?,
            breaks: Breaks::new(fields.tokens.iter()),
            tokens: Sorted::new(fields),
            unknown: fields.unknown.unwrap_or(UNKNOWN),
            unknown_score: f64::from(worst) - PENALTY,
            prefixes_space: fields.add_space_prefix.unwrap_or(false),
            merges_spaces: fields.remove_extra_whitespaces.unwrap_or(false),
        })
    }

    /// Part a word; a run of unknown characters is one unknown token, across words too.
    fn word(&self, word: &str, ids: &mut Vec<u32>, after_unknown: &mut bool, emit: &mut dyn FnMut(u32)) {
        let nothing = Best { id: self.unknown, from: 0, score: f64::MIN };
        let mut best = vec![nothing; word.len() + 1];
        best[0].score = 0.0;
        for (at, character) in word.char_indices() {
            let (end, score) = (at + character.len_utf8(), best[at].score);
            let mut offer = |end: usize, id: u32, score: f64| {
                if score > best[end].score {
                    best[end] = Best { id, from: at, score };
                }
            };
            let mut is_known = false;
            self.tokens.prefixes(&word.as_bytes()[at..], |length, token| {
                is_known |= at + length == end;
                offer(at + length, token.id, score + token.score);
            });
            if !is_known {
                offer(end, self.unknown, score + self.unknown_score);
            }
        }
        ids.clear();
        let mut at = word.len();
        while at > 0 {
            ids.push(best[at].id);
            at = best[at].from;
        }
        for id in ids.drain(..).rev() {
            let is_unknown = id == self.unknown;
            if !(is_unknown && *after_unknown) {
                emit(id);
            }
            *after_unknown = is_unknown;
        }
    }
}

impl Plain for Unigram {
    fn tokens(&self, fragment: &str, _opening: bool, scratch: &mut Scratch, emit: &mut dyn FnMut(u32)) {
        let (mut in_word, mut is_prefixed, mut after_unknown) = (false, false, false);
        let Scratch { text, ids, .. } = scratch;
        for piece in word::pieces(fragment) {
            text.clear();
            self.charsmap.normalize(piece, &mut |character| {
                if character == ' ' {
                    in_word = false;
                    text.extend((!self.merges_spaces).then_some('▁'));
                    return;
                }
                if !std::mem::replace(&mut in_word, true)
                    && (self.merges_spaces || self.prefixes_space && !is_prefixed)
                {
                    text.push('▁');
                    is_prefixed = true;
                }
                text.push(character);
            });
            self.breaks.split(text, '▁', false, &mut |word| {
                for piece in word::pieces(word) {
                    self.word(piece, ids, &mut after_unknown, emit);
                }
            });
        }
    }
}

// === impl Sorted ===

impl Sorted {
    fn new(fields: &Fields) -> Self {
        let (mut tokens, mut bytes) = (Vec::new(), Vec::new());
        for (id, text) in fields.tokens.iter().enumerate() {
            let score = match fields.kind(id) {
                // These are not likely or unlikely but there.
                kind::USER_DEFINED => 0.0,
                kind::NORMAL | kind::UNUSED => f64::from(fields.score(id)),
                _ => continue,
            };
            if !text.is_empty() {
                let start = bytes.len();
                bytes.extend_from_slice(text.as_bytes());
                tokens.push(Token {
                    start,
                    end: bytes.len(),
                    id: u32::try_from(id).unwrap_or(u32::MAX),
                    score,
                });
            }
        }
        tokens.sort_unstable_by(|one, other| bytes[one.start..one.end].cmp(&bytes[other.start..other.end]));
        let start = |first: usize| tokens.partition_point(|token| usize::from(bytes[token.start]) < first);
        let first = (0..=256).map(start).collect();
        Self { tokens, bytes, first }
    }

    /// Hand out every token that the text begins with, shortest first, with its length.
    fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, &Token)) {
        let Some(first) = text.first().map(|first| usize::from(*first)) else { return };
        let mut among = &self.tokens[self.first[first]..self.first[first + 1]];
        for length in 1.. {
            let Some(shortest) = among.first() else { return };
            if shortest.end - shortest.start == length {
                found(length, shortest);
                among = &among[1..];
            }
            let Some(next) = text.get(length) else { return };
            let byte = |token: &Token| self.bytes[token.start + length];
            let low = among.partition_point(|token| byte(token) < *next);
            let high = low + among[low..].partition_point(|token| byte(token) == *next);
            among = &among[low..high];
        }
    }
}
