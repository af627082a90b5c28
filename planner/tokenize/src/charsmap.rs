use crate::Error;

/// How SentencePiece normalizes characters: `tokenizer.ggml.precompiled_charsmap`, a compact double
/// array of what is replaced, and the replacements, each ended by a zero.
#[derive(Default)]
pub(crate) struct Charsmap {
    nodes: Vec<u32>,
    replacements: Vec<u8>,
}

// === impl Charsmap ===

impl Charsmap {
    pub(crate) fn new(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let invalid = || Error::Invalid("tokenizer.ggml.precompiled_charsmap".to_owned());
        let (size, rest) = bytes.split_first_chunk().ok_or_else(invalid)?;
        let (nodes, replacements) =
            rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or_else(invalid)?;
        let nodes = nodes.as_chunks().0.iter().map(|node| u32::from_le_bytes(*node)).collect();
        Ok(Self { nodes, replacements: replacements.to_vec() })
    }

    /// Hand out the characters of the text, the longest of what is replaced first.
    pub(crate) fn normalize(&self, text: &str, emit: &mut dyn FnMut(char)) {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let replaced = self.longest(rest.as_bytes()).filter(|(length, _)| rest.is_char_boundary(*length));
            match replaced {
                Some((length, replacement)) => {
                    replacement.chars().for_each(&mut *emit);
                    rest = &rest[length..];
                }
                None => {
                    emit(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
    }

    /// The longest beginning of the text that is replaced, and by what.
    fn longest(&self, text: &[u8]) -> Option<(usize, &str)> {
        let mut at = base(*self.nodes.first()?);
        let mut longest = None;
        for (length, byte) in (1..).zip(text) {
            at ^= u32::from(*byte);
            let Some(node) = self.nodes.get(at as usize) else { break };
            // The label of a node, and a bit that is set where it is no node but a value.
            if *byte == 0 || node & 0x8000_00ff != u32::from(*byte) {
                break;
            }
            at ^= base(*node);
            if node >> 8 & 1 == 1 {
                let value = self.nodes.get(at as usize)? & 0x7fff_ffff;
                longest = Some((length, value as usize));
            }
        }
        let (length, start) = longest?;
        let replacement = self.replacements.get(start..)?;
        let end = replacement.iter().position(|byte| *byte == 0)?;
        Some((length, std::str::from_utf8(&replacement[..end]).ok()?))
    }
}

/// How far a node's children are from it, to be combined with their labels.
fn base(node: u32) -> u32 {
    (node >> 10) << ((node & 1 << 9) >> 6)
}
