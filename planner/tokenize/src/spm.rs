use crate::Error;
use crate::breaks::Breaks;
use crate::fields::Fields;
use crate::merge::{Join, NONE, Symbol};
use crate::table::Table;
use crate::tokenizer::{Plain, Scratch};
use crate::word;

/// SentencePiece by scores: `tokenizer.ggml.model` is `llama` (Llama 2, Mistral 7B, Gemma to 3).
///
/// Neighbours are joined when their texts together are a token, best score first, leftmost first
/// among equals. The crate `tokenizers` has no equal ranks: it would need a merge for every way to part
/// every token, and would join the others of an equal score in another order.
pub(crate) struct Spm {
    table: Table,
    /// Place of each token's score among all different ones, best first.
    ranks: Vec<u32>,
    breaks: Breaks,
    bytes: Vec<u32>,
    prefixes_space: bool,
}

// === impl Spm ===

impl Spm {
    pub(crate) fn new(fields: &Fields) -> Result<Self, Error> {
        let table = Table::of(fields)?;
        if fields.scores.is_empty() {
            return Err(Error::Missing("tokenizer.ggml.scores"));
        }
        // No difference between 0 and -0, as in a comparison.
        let scores: Vec<f32> = fields.scores.iter().map(|score| score + 0.0).collect();
        let mut order = scores.clone();
        order.sort_unstable_by(|one, other| other.total_cmp(one));
        order.dedup();
        let rank = |score: &f32| order.partition_point(|better| better > score);
        let ranks = scores.iter().map(|score| u32::try_from(rank(score)).unwrap_or(NONE)).collect();
        let unknown = fields.unknown.unwrap_or_default();
        let byte = |byte: u8| table.id(format!("<0x{byte:02X}>").as_bytes()).or_else(|| table.id(&[byte]));
        let bytes = (0..=u8::MAX).map(|value| byte(value).unwrap_or(unknown)).collect();
        let prefixes_space = fields.add_space_prefix.unwrap_or(true);
        Ok(Self { ranks, breaks: Breaks::new(fields.tokens.iter()), bytes, prefixes_space, table })
    }

    fn word(&self, scratch: &mut Scratch, emit: &mut dyn FnMut(u32)) {
        let Scratch { merger, text, .. } = scratch;
        let text = text.as_bytes();
        let mut at = 0;
        merger.clear();
        while at < text.len() {
            let end = (at + width(text[at])).min(text.len());
            merger.push(at, end, NONE);
            at = end;
        }
        let part = |start: u32, end: u32| &text[start as usize..end as usize];
        let join = |left: &Symbol, right: &Symbol| {
            let id = self.table.id(part(left.start, right.end))?;
            Some(Join { rank: self.ranks[id as usize], id })
        };
        for Symbol { start, end, id, .. } in merger.merge(join) {
            match Some(*id).filter(|id| *id != NONE).or_else(|| self.table.id(part(*start, *end))) {
                Some(id) => emit(id),
                None => part(*start, *end).iter().for_each(|byte| emit(self.bytes[usize::from(*byte)])),
            }
        }
    }
}

impl Plain for Spm {
    fn tokens(&self, fragment: &str, opening: bool, scratch: &mut Scratch, emit: &mut dyn FnMut(u32)) {
        let mut prefix = self.prefixes_space && opening;
        self.breaks.split(fragment, ' ', prefix, &mut |word| {
            for piece in word::pieces(word) {
                scratch.text.clear();
                scratch.text.extend(std::mem::take(&mut prefix).then_some('▁'));
                scratch
                    .text
                    .extend(piece.chars().map(|character| if character == ' ' { '▁' } else { character }));
                self.word(scratch, emit);
            }
        });
    }
}

/// Bytes of the character that begins with this byte.
fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}
