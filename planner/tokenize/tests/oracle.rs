//! Token for token what llama.cpp says: 2,400 texts under 17 models' vocabularies, and every family
//! of pre-tokenizers. `tests/oracle.sh` records what llama.cpp says.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use caravan_tokenize::{Definition, Tokenizer, Vocabulary, build};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What llama.cpp said of every so many texts.
#[derive(Deserialize)]
struct Recorded {
    every: usize,
    tokens: Vec<Vec<u32>>,
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tokenize-oracle").join(name)
}

fn read<T: DeserializeOwned>(name: &str) -> Result<T> {
    let text = fs::read(path(name));
    let text =
        text.with_context(|| format!("no {name}: run `bash planner/tokenize/tests/oracle.sh` first"))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The tokenizer as a planner gets it: through the bytes of its definition.
fn tokenizer(case: &str) -> Result<Arc<dyn Tokenizer>> {
    let vocabulary = Vocabulary::from_gguf(&path(&format!("{case}.gguf")));
    let vocabulary =
        vocabulary.with_context(|| format!("{case}: run `bash planner/tokenize/tests/oracle.sh` first"))?;
    Ok(build(&Definition::decode(&Definition::Vocabulary(vocabulary).encode()?)?)?)
}

fn agree(cases: &[&str]) -> Result<()> {
    let texts: Vec<String> = read("texts.json")?;
    ensure!(texts.len() >= 2_000);
    let mut different = Vec::new();
    for case in cases {
        let recorded: Recorded = read(&format!("{case}.json"))?;
        let tokenizer = tokenizer(case)?;
        let texts: Vec<&String> = texts.iter().step_by(recorded.every).collect();
        ensure!(texts.len() == recorded.tokens.len(), "{case} was recorded of other texts");
        for (text, expected) in texts.into_iter().zip(recorded.tokens) {
            let found = tokenizer.encode(text);
            ensure!(tokenizer.count(text) == found.len() as u64, "{case}: the count of {text:?}");
            if found != expected {
                different.push(format!("{case}: {text:?}\n  llama.cpp {expected:?}\n  here      {found:?}"));
            }
        }
    }
    let first = different[..different.len().min(5)].join("\n");
    ensure!(different.is_empty(), "{} texts differ, the first:\n{first}", different.len());
    Ok(())
}

#[test]
fn byte_pair_encodings_agree() -> Result<()> {
    agree(&[
        "command-r",
        "deepseek-coder",
        "deepseek-llm",
        "falcon",
        "gemma-4",
        "gpt-2",
        "llama-bpe",
        "mpt",
    ])?;
    agree(&["qwen2", "qwen35", "refact", "starcoder"])
}

#[test]
fn sentence_pieces_agree() -> Result<()> {
    agree(&["gemma-3", "llama-spm", "phi-3", "nomic-bert-moe"])
}

#[test]
fn word_pieces_agree() -> Result<()> {
    agree(&["bert-bge"])
}

#[test]
fn families_of_pre_tokenizers_agree() -> Result<()> {
    agree(&[
        "pre-bailingmoe",
        "pre-chatglm-bpe",
        "pre-dbrx",
        "pre-deepseek-v3",
        "pre-default",
        "pre-exaone-moe",
    ])?;
    agree(&["pre-gpt-2", "pre-gpt-4o", "pre-granite-embed-multi-97m", "pre-kimi-k2", "pre-laguna"])?;
    agree(&[
        "pre-minicpm5",
        "pre-poro-chat",
        "pre-qwen2",
        "pre-seed-coder",
        "pre-spark2_5",
        "pre-stablelm2",
    ])?;
    agree(&["pre-starcoder", "pre-tekken", "pre-ufakzeka", "pre-viking", "pre-youtu"])
}

#[test]
fn what_is_not_known_is_refused_by_name() -> Result<()> {
    let error = tokenizer("pre-jais-2").err().context("it was built")?;
    ensure!(error.to_string() == "unknown pre-tokenizer `jais-2`", "{error}");
    Ok(())
}

#[test]
fn ten_megabytes_of_anything_take_time_in_proportion() -> Result<()> {
    for case in ["bert-bge", "gemma-3", "llama-bpe", "nomic-bert-moe"] {
        let tokenizer = tokenizer(case)?;
        for unit in ["a", " ", "🙂", "1", "\n", "a "] {
            let count = |bytes: usize| tokenizer.count(&unit.repeat(bytes / unit.len()));
            let (one, ten) = (count(1 << 20), count(10 << 20));
            // A cut every 64 KiB adds or takes about a token, and so does each end.
            ensure!(ten.abs_diff(one * 10) <= 10 + 160, "{case}, {unit:?}: {one} and {ten}");
        }
    }
    Ok(())
}
