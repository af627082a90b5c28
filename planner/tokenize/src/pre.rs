use regex::Regex;

use crate::Error;

/// Cuts a text into the words that merges stay within: by each pattern in turn, matches and what is
/// between them alike.
pub(crate) struct PreTokenizer {
    stages: Vec<Stage>,
}

struct Stage {
    regex: Regex,
    blanks: Blanks,
}

/// What the last blank of a run does, when a word follows: it goes to that word. The published
/// patterns say so by `\s+(?!\S)`; without the lookahead, search is linear.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Blanks {
    /// It stays.
    Kept,
    /// It goes.
    Given,
    /// It goes, unless it is a line break, which the pattern takes by itself.
    GivenButBreaks,
}

/// What a pre-tokenizer's name stands for.
pub(crate) struct Rules {
    patterns: &'static [(&'static str, Blanks)],
    /// A word that is a token is that token, whatever the merges say.
    pub(crate) ignores_merges: bool,
    /// Spaces become `▁`, and tokens are text, not bytes in disguise.
    pub(crate) is_text: bool,
}

use Blanks::{Given, GivenButBreaks, Kept};

/// Contractions in either case.
macro_rules! contractions {
    () => {
        "'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
    };
}
/// The family of cl100k: contractions, words with what leads them, numbers, symbols, line breaks.
macro_rules! words {
    ($before:expr, $letters:expr, $numbers:expr, $symbols:expr, $breaks:expr) => {
        concat!(
            $before,
            "[^\\r\\n\\p{L}\\p{N}]?",
            $letters,
            "|",
            $numbers,
            "| ?",
            $symbols,
            "|",
            $breaks,
            "|\\s+"
        )
    };
    ($letters:expr, $numbers:expr) => {
        words!(concat!(contractions!(), "|"), $letters, $numbers, r"[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+")
    };
}
/// The family of o200k: words end where small letters are followed by capital ones. As llama.cpp
/// has it, only of the Latin alphabet without accents.
macro_rules! cased {
    ($letter:expr, $suffix:expr, $numbers:expr) => {
        concat!(
            "[^\\r\\n\\p{L}\\p{N}]?[",
            $letter,
            "&&[^a-z]]*[",
            $letter,
            "&&[^A-Z]]+",
            $suffix,
            "|[^\\r\\n\\p{L}\\p{N}]?[",
            $letter,
            "&&[^a-z]]+[",
            $letter,
            "&&[^A-Z]]*",
            $suffix,
            "|",
            $numbers,
            "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+"
        )
    };
}
/// The family of DeepSeek's third: what comes after numbers and Chinese are cut out.
macro_rules! symbols {
    ($after:expr, $breaks:expr) => {
        concat!(
            r"[!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+",
            $after,
            "|",
            $breaks,
            r"|\s+"
        )
    };
}

const GPT2: (&str, Blanks) = (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+", Given);
/// Numbers are cut by a second pattern where they can be: within the first it would be a fifth as fast.
const LLAMA3: &[(&str, Blanks)] = &[(words!(r"\p{L}+", r"\p{N}+"), GivenButBreaks), UP_TO_3_DIGITS];
const QWEN2: (&str, Blanks) = (words!(r"\p{L}+", r"\p{N}"), GivenButBreaks);
const HAN_AND_KANA: (&str, Blanks) = (r"[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+", Kept);
/// U+0800 to U+4E00 holds blanks too, which llama.cpp never finds by a range.
const HAN_AND_HANGUL: (&str, Blanks) = (r"[[\u{800}-\u{9fa5}\u{ac00}-\u{d7ff}]&&\S]+", Kept);
const BREAK: (&str, Blanks) = (r"[\r\n]", Kept);
const LINES: (&str, Blanks) = (r"[^\n]+|\n+", Kept);
const UP_TO_3_DIGITS: (&str, Blanks) = (r"\p{N}{1,3}", Kept);
const DIGIT: (&str, Blanks) = (r"\p{N}", Kept);
const DIGITS: (&str, Blanks) = (r"\p{N}+", Kept);
const EXACTLY_3_DIGITS: (&str, Blanks) = ("[0-9][0-9][0-9]", Kept);
const UP_TO_PUNCTUATION: (&str, Blanks) = (r" ?[^(\s|.,!?…。，、।۔،)]+", Kept);

const DEEPSEEK_LLM: &[(&str, Blanks)] = &[
    BREAK,
    (concat!(r"\s?", include_str!("deepseek_letters.txt"), "+"), Kept),
    (r"\s?[!-/:-~！-／：-～‘-‟、-。]+", Kept),
    (r"\s+$", Kept),
    HAN_AND_HANGUL,
    DIGITS,
];
const DEEPSEEK_CODER: &[(&str, Blanks)] =
    &[BREAK, (r"\s?\p{L}+", Kept), (r"\s?\p{P}+", Kept), HAN_AND_HANGUL, DIGIT];
const DEEPSEEK_V3: &[(&str, Blanks)] =
    &[UP_TO_3_DIGITS, HAN_AND_KANA, (symbols!(r"[\r\n]*", r"\s*[\r\n]+"), GivenButBreaks)];
const SPARK: &[(&str, Blanks)] = &[UP_TO_3_DIGITS, HAN_AND_KANA, (symbols!("", r"[\r\n]"), Given), DIGIT];
const DEFAULT: &[(&str, Blanks)] = &[(r"[\p{P}$+<=>^~|]+", Kept), GPT2, DIGITS, EXACTLY_3_DIGITS];
const FALCON: &[(&str, Blanks)] = &[(r"[\p{P}$+<=>^~|`]+", Kept), GPT2, EXACTLY_3_DIGITS];
const QWEN35: &[(&str, Blanks)] = &[(
    words!(
        concat!(contractions!(), "|"),
        r"[\p{L}\p{M}]+",
        r"\p{N}",
        r"[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+"
    ),
    GivenButBreaks,
)];
const GPT4O: &[(&str, Blanks)] =
    &[(cased!(r"\p{L}", concat!("(?:", contractions!(), ")?"), r"\p{N}+"), GivenButBreaks), UP_TO_3_DIGITS];
const GRANITE_EMBEDDING: &[(&str, Blanks)] = &[
    (cased!(r"\p{L}\p{M}", concat!("(?:", contractions!(), ")?"), r"\p{N}+"), GivenButBreaks),
    UP_TO_3_DIGITS,
];
const TEKKEN: &[(&str, Blanks)] = &[(cased!(r"\p{L}", "", r"\p{N}"), GivenButBreaks)];
const KIMI_K2: &[(&str, Blanks)] = &[(
    concat!(
        r"\p{Han}+|[^\r\n\p{L}\p{N}]?[\p{L}--\p{Han}]+(?:",
        contractions!(),
        r")?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
    ),
    GivenButBreaks,
)];
const BAILING: &[(&str, Blanks)] = &[(
    words!(
        "'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|",
        r"\p{L}+",
        r"\p{N}",
        r"[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]"
    ),
    GivenButBreaks,
)];
const SEED_CODER: &[(&str, Blanks)] = &[(
    words!(concat!(contractions!(), "|"), r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}\r\n]+", r"\s*[\r\n]+"),
    GivenButBreaks,
)];
const UFAKZEKA: &[(&str, Blanks)] =
    &[(words!("", r"\p{L}+", r"\p{N}", r"[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+"), GivenButBreaks)];
const EXAONE_MOE: &[(&str, Blanks)] = &[(
    words!(
        concat!(contractions!(), "|"),
        r"(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+",
        r"\p{N}",
        r"[^\s\p{L}\p{N}]+[\r\n/]?",
        r"\s*[\r\n]"
    ),
    GivenButBreaks,
)];
const YOUTU: &[(&str, Blanks)] = &[
    (
        r"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[\u{4e00}-\u{9fa5}\u{3040}-\u{309f}\u{30a0}-\u{30ff}]+",
        Kept,
    ),
    (
        words!(
            "",
            concat!(r"[\p{L}\p{M}]+(?:", contractions!(), ")?"),
            r"\p{N}",
            r"[^\s\p{L}\p{N}]+[\r\n/]*",
            r"\s*[\r\n]+"
        ),
        GivenButBreaks,
    ),
];
const MINICPM5: &[(&str, Blanks)] = &[UP_TO_3_DIGITS, (words!(r"\p{L}+", r"\p{N}+"), GivenButBreaks)];

// === impl Rules ===

impl Rules {
    /// The rules of `tokenizer.ggml.pre`, by the names that llama.cpp knows.
    ///
    /// # Errors
    /// The name is not known here. A model without one is not given the default: its counts would be
    /// those of a tokenizer that it was not trained with.
    pub(crate) fn named(name: Option<&str>) -> Result<Self, Error> {
        let (patterns, ignores_merges): (&[_], bool) = match name.unwrap_or_default() {
            "default" => (DEFAULT, false),
            "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" | "midm-2.0"
            | "lfm2" | "jina-v5-nano" | "glm4" | "glm5" => (LLAMA3, true),
            "dbrx" | "smaug-bpe" | "chatglm-bpe" => (LLAMA3, false),
            "qwen2" | "deepseek-r1-qwen" | "kormo" | "f2llmv2" | "megrez" | "stablelm2" | "hunyuan"
            | "solar-open" | "grok-2" => (&[QWEN2], false),
            "qwen35" => (QWEN35, false),
            "deepseek-llm" => (DEEPSEEK_LLM, false),
            "deepseek-coder" => (DEEPSEEK_CODER, false),
            "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => (DEEPSEEK_V3, false),
            "falcon" => (FALCON, false),
            "starcoder" | "refact" | "command-r" | "smollm" | "codeshell" | "exaone" | "minerva-7b"
            | "mellum2" => (&[DIGIT, GPT2], false),
            "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "gigachat" | "jina-v1-en" | "jina-v2-code"
            | "jina-v2-de" | "jina-v2-es" | "roberta-bpe" | "a.x-4.0" | "mellum" | "modern-bert" | "mpt"
            | "olmo" | "jais" | "trillion" | "granite-docling" | "exaone4" => (&[GPT2], false),
            "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => (GPT4O, false),
            "granite-embed-multi-97m" => (GRANITE_EMBEDDING, true),
            "tekken" => (TEKKEN, true),
            "kimi-k2" => (KIMI_K2, false),
            "bailingmoe" | "bailingmoe2" | "llada-moe" => (BAILING, false),
            "seed-coder" => (SEED_CODER, false),
            "laguna" => (&[LINES, QWEN2], false),
            "exaone-moe" => (EXAONE_MOE, false),
            "minicpm5" => (MINICPM5, true),
            "youtu" => (YOUTU, true),
            "spark2_5" => (SPARK, false),
            "ufakzeka" => (UFAKZEKA, false),
            "poro-chat" | "bloom" | "gpt3-finnish" => (&[UP_TO_PUNCTUATION], false),
            "viking" => (&[UP_TO_PUNCTUATION, DIGIT], false),
            "gemma4" | "granite-embed-multi-311m" => return Ok(Self::of_text()),
            unknown => return Err(Error::UnknownPre(unknown.to_owned())),
        };
        Ok(Self { patterns, ignores_merges, is_text: false })
    }

    /// The rules of `tokenizer.ggml.model` `gemma4`, which has no other.
    pub(crate) fn of_text() -> Self {
        Self { patterns: &[LINES], ignores_merges: false, is_text: true }
    }
}

// === impl PreTokenizer ===

impl PreTokenizer {
    pub(crate) fn new(rules: &Rules) -> Result<Self, Error> {
        let stages = rules.patterns.iter().map(|(pattern, blanks)| {
            let regex =
                Regex::new(pattern).map_err(|_| Error::Invalid(format!("the pattern `{pattern}`")))?;
            Ok(Stage { regex, blanks: *blanks })
        });
        Ok(Self { stages: stages.collect::<Result<_, Error>>()? })
    }

    /// Hand out the words of a text in order; together they are the text.
    pub(crate) fn split(&self, text: &str, emit: &mut dyn FnMut(&str)) {
        split(&self.stages, text, emit);
    }
}

fn split(stages: &[Stage], text: &str, emit: &mut dyn FnMut(&str)) {
    let Some((stage, rest)) = stages.split_first() else {
        return emit(text);
    };
    let mut at = 0;
    while let Some(found) = stage.regex.find_at(text, at) {
        let end = found.end() - stage.given(found.as_str(), found.end() == text.len());
        if found.start() > at {
            split(rest, &text[at..found.start()], emit);
        }
        split(rest, &text[found.start()..end], emit);
        at = end;
    }
    if at < text.len() {
        split(rest, &text[at..], emit);
    }
}

// === impl Stage ===

impl Stage {
    /// How many bytes of a match go to what follows it.
    fn given(&self, found: &str, is_last: bool) -> usize {
        let mut last = found.chars().rev();
        match (last.next(), last.next()) {
            (Some('\r' | '\n'), _) if self.blanks == GivenButBreaks => 0,
            (Some(blank), Some(_)) if blank.is_whitespace() && self.blanks != Kept && !is_last => {
                blank.len_utf8()
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        let pre = PreTokenizer::new(&Rules::named(Some(name)).unwrap()).unwrap();
        pre.split(text, &mut |word| words.push(word.to_owned()));
        words
    }

    #[test]
    fn the_last_blank_goes_to_the_word_that_follows() {
        assert_eq!(words("gpt-2", "a  b \n c  "), ["a", " ", " b", " \n", " c", "  "]);
        assert_eq!(words("llama-bpe", "a  b \n\n  c"), ["a", " ", " b", " \n\n", " ", " c"]);
        assert_eq!(words("gpt-2", "\u{3000}\u{3000}x"), ["\u{3000}", "\u{3000}", "x"]);
    }

    #[test]
    fn an_unknown_name_is_refused_and_none_is_not_the_default() {
        assert!(matches!(Rules::named(Some("qwen9")), Err(Error::UnknownPre(name)) if name == "qwen9"));
        assert!(matches!(Rules::named(None), Err(Error::UnknownPre(name)) if name.is_empty()));
    }
}
