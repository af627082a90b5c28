use aho_corasick::{AhoCorasick, MatchKind};

use crate::Error;
use crate::fields::{Fields, kind};

/// Tokens that llama.cpp takes for control tokens by their text, whatever type the model gives them.
const CONTROL_BY_TEXT: [&str; 60] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
    "<|channel|>",
    "<|message|>",
    "<|start|>",
];
/// Where one of these is a token, `</s>` is an ordinary one.
const ORDINARY_END: [&str; 2] = ["<|tool_response>", "<|plamo:eos|>"];

/// Finds the special tokens that a text spells: leftmost first, the longest of those that begin there.
/// (llama.cpp looks for the longest anywhere first: the same unless two overlap without one holding
/// the other.)
pub(crate) struct Specials {
    finder: Option<AhoCorasick>,
    tokens: Vec<Special>,
}

struct Special {
    id: u32,
    /// Whitespace before it belongs to it.
    strips_left: bool,
    /// Whitespace after it belongs to it.
    strips_right: bool,
}

/// A part of a text.
pub(crate) enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

// === impl Specials ===

impl Specials {
    pub(crate) fn new(fields: &Fields) -> Result<Self, Error> {
        let ordinary_end = fields.tokens.iter().any(|text| ORDINARY_END.contains(&text));
        let name = fields.name.as_deref().unwrap_or_default().to_lowercase();
        let (pre, architecture) = (fields.pre.as_deref(), fields.architecture.as_deref());
        let contains = |text: Option<&str>, parts: &[&str]| {
            text.is_some_and(|text| parts.iter().any(|part| text.contains(part)))
        };
        let masked = contains(pre, &["jina-v2-de", "jina-v2-es", "jina-v2-code"])
            || contains(architecture, &["nomic-bert-moe", "jina-bert-v3"]);
        let phi = !masked && contains(Some(&name), &["phi-3", "phi3"]);
        let modern = !masked && contains(Some(&name), &["modern-bert"]);

        let (mut texts, mut tokens) = (Vec::new(), Vec::new());
        for (id, text) in (0_u32..).zip(fields.tokens.iter()) {
            let by_text = CONTROL_BY_TEXT.contains(&text) && !(text == "</s>" && ordinary_end);
            let by_type =
                matches!(fields.kind(id as usize), kind::CONTROL | kind::USER_DEFINED | kind::UNKNOWN);
            if text.is_empty() || !(by_text || by_type) {
                continue;
            }
            texts.push(text);
            tokens.push(Special {
                id,
                strips_left: masked && text == "<mask>" || modern && text == "[MASK]",
                strips_right: phi && !["<unk>", "<s>", "<|endoftext|>"].contains(&text),
            });
        }
        let finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts);
        let finder = finder.map_err(|_| Error::Invalid("the set of special tokens".to_owned()))?;
        Ok(Self { finder: (!tokens.is_empty()).then_some(finder), tokens })
    }

    pub(crate) fn split<'t>(&self, text: &'t str, emit: &mut dyn FnMut(Fragment<'t>)) {
        let mut rest = text;
        for found in self.finder.iter().flat_map(|finder| finder.find_iter(text)) {
            let Special { id, strips_left, strips_right } = self.tokens[found.pattern()];
            let at = text.len() - rest.len();
            // What was stripped may hold the beginning of this one.
            let Some(before) = text.get(at..found.start()) else { continue };
            let before = if strips_left { before.trim_end_matches(is_space) } else { before };
            if !before.is_empty() {
                emit(Fragment::Text(before));
            }
            emit(Fragment::Token(id));
            rest = &text[found.end()..];
            rest = if strips_right { rest.trim_start_matches(is_space) } else { rest };
        }
        if !rest.is_empty() {
            emit(Fragment::Text(rest));
        }
    }
}

/// What C's `isspace` says.
fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t'..='\r')
}
