use serde_json::Value;

use crate::Definition;
use crate::fields::Fields;

/// Pre-tokenizers whose models begin a prompt with BOS unless they say otherwise.
const BEGIN: [&str; 10] = [
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "tekken",
    "chameleon",
];
/// The BOS of SentencePiece where none is named.
const SPM_BOS: u32 = 1;

// === impl Definition ===

impl Definition {
    /// The text of the token that the engine puts before every prompt (BOS), if it does: llama.cpp
    /// by the vocabulary's own flag, else by its kind; a `tokenizer.json` by the template of its post
    /// processor. A prompt that begins with it already gets no second one from a chat template.
    #[must_use]
    pub fn begin(&self) -> Option<String> {
        match self {
            Self::Vocabulary(vocabulary) => of_fields(vocabulary.fields()),
            Self::TokenizerJson(json) => of_json(&serde_json::from_str(json).ok()?),
        }
    }
}

fn of_fields(fields: &Fields) -> Option<String> {
    let by_kind = match fields.model.as_str() {
        "llama" => true,
        "gpt2" => fields.pre.as_deref().is_some_and(|pre| BEGIN.contains(&pre)),
        _ => false,
    };
    let default = (fields.model == "llama").then_some(SPM_BOS);
    let bos = fields.bos.or(default).filter(|_| fields.add_bos.unwrap_or(by_kind))?;
    fields.tokens.iter().nth(bos as usize).map(str::to_owned)
}

fn of_json(json: &Value) -> Option<String> {
    let processor = &json["post_processor"];
    let several = processor["processors"].as_array();
    let all = several.map_or(std::slice::from_ref(processor), Vec::as_slice);
    let template = all.iter().find(|one| one["type"] == "TemplateProcessing")?;
    template["single"][0]["SpecialToken"]["id"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Vocabulary;

    fn begin(more: &[(&str, Value)]) -> Option<String> {
        let mut info = json!({
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": ["a", "<s>", "<bos>"],
            "tokenizer.ggml.bos_token_id": 2,
        });
        more.iter().for_each(|(key, value)| info[*key] = value.clone());
        Definition::Vocabulary(Vocabulary::from_model_info(info.as_object().unwrap()).unwrap()).begin()
    }

    #[test]
    fn the_flag_decides_then_the_kind() {
        let flag = |on: bool| ("tokenizer.ggml.add_bos_token", json!(on));
        let pre = ("tokenizer.ggml.pre", json!("llama-bpe"));
        let spm = ("tokenizer.ggml.model", json!("llama"));
        let unnamed = ("tokenizer.ggml.bos_token_id", Value::Null);
        let bos = Some("<bos>".to_owned());
        assert_eq!(begin(&[]), None);
        assert_eq!(begin(&[flag(true)]), bos);
        assert_eq!(begin(std::slice::from_ref(&pre)), bos);
        assert_eq!(begin(&[pre, flag(false)]), None);
        assert_eq!(begin(std::slice::from_ref(&spm)), bos);
        assert_eq!(begin(&[spm, unnamed]), Some("<s>".to_owned()));
    }

    #[test]
    fn a_post_processor_tells_too() {
        let template = json!({"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
        ]});
        let several = json!({"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]});
        let ending =
            json!({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}]});
        for (processor, expected) in [
            (template, Some("<s>".to_owned())),
            (several, Some("<s>".to_owned())),
            (ending, None),
            (Value::Null, None),
        ] {
            let json = json!({ "post_processor": processor }).to_string();
            assert_eq!(Definition::TokenizerJson(json).begin(), expected);
        }
    }
}
