use super::*;
use crate::{Metadata, Vocabulary};

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), &kind.to_le_bytes()[..], value].concat()
}

fn texts(values: &[&str]) -> Vec<u8> {
    let mut bytes = [&kind::TEXT.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
    values.iter().for_each(|value| bytes.extend(text(value)));
    bytes
}

fn file(version: u32, entries: &[Vec<u8>]) -> Vec<u8> {
    let head =
        [&b"GGUF"[..], &version.to_le_bytes(), &7_u64.to_le_bytes(), &(entries.len() as u64).to_le_bytes()];
    [head.concat(), entries.concat()].concat()
}

fn model() -> Vec<u8> {
    file(
        3,
        &[
            entry("general.architecture", kind::TEXT, &text("llama")),
            entry("llama.context_length", kind::U32, &4096_u32.to_le_bytes()),
            entry("tokenizer.ggml.model", kind::TEXT, &text("gpt2")),
            entry("tokenizer.ggml.pre", kind::TEXT, &text("gpt-2")),
            entry("tokenizer.ggml.tokens", kind::ARRAY, &texts(&["a", "b", "ab"])),
            entry("tokenizer.ggml.merges", kind::ARRAY, &texts(&["a b"])),
        ],
    )
}

#[test]
fn a_vocabulary_and_metadata_are_read() {
    let vocabulary = Vocabulary::read(&model()[..]).unwrap();
    assert_eq!((vocabulary.model(), vocabulary.pre(), vocabulary.tokens()), ("gpt2", Some("gpt-2"), 3));
    assert_eq!(Metadata::read(&model()[..]).unwrap().context_length(), Some(4096));
}

#[test]
fn short_arrays_of_whole_numbers_are_kept() {
    let numbers = |count: u64| {
        let head = [&kind::U32.to_le_bytes()[..], &count.to_le_bytes()].concat();
        (0..count).fold(head, |bytes, number| [&bytes[..], &(number as u32).to_le_bytes()].concat())
    };
    let model = file(
        3,
        &[
            entry("general.architecture", kind::TEXT, &text("jamba")),
            entry("jamba.attention.head_count_kv", kind::ARRAY, &numbers(3)),
            entry("jamba.tokens", kind::ARRAY, &numbers(2_000)),
            entry("jamba.names", kind::ARRAY, &texts(&["a"])),
        ],
    );
    let metadata = Metadata::read(&model[..]).unwrap();
    assert_eq!(metadata.dimensions("attention.head_count_kv"), Some(&[0, 1, 2][..]));
    assert_eq!(metadata.dimensions("tokens"), None, "one of a vocabulary is not kept");
    assert_eq!(metadata.dimensions("names"), None);
}

#[test]
fn a_file_that_ends_early_is_refused_wherever_it_ends() {
    let model = model();
    for end in 0..model.len() {
        assert!(matches!(Vocabulary::read(&model[..end]), Err(Error::Read(_))), "at {end}");
    }
}

#[test]
fn absurd_lengths_are_refused_without_memory_for_them() {
    let endless = [&kind::TEXT.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    let long = [&kind::TEXT.to_le_bytes()[..], &MAX_ELEMENTS.to_le_bytes()].concat();
    for (bytes, read) in [
        (file(3, &[entry("x", kind::ARRAY, &endless)]), false),
        (file(3, &[entry("tokenizer.ggml.tokens", kind::ARRAY, &long)]), true),
        (file(3, &[entry("x", kind::TEXT, &u64::MAX.to_le_bytes())]), false),
        (file(3, &[entry("x", kind::TEXT, &MAX_TEXT.to_le_bytes())]), true),
        ([&file(3, &[])[..16], &u64::MAX.to_le_bytes()].concat(), false),
    ] {
        match Vocabulary::read(&bytes[..]) {
            Err(Error::Read(_)) => assert!(read),
            Err(Error::TooLarge { .. }) => assert!(!read),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn other_files_are_refused_by_name() {
    assert!(matches!(Vocabulary::read(&b"PK\x03\x04"[..]), Err(Error::NotGguf)));
    assert!(matches!(Vocabulary::read(&file(1, &[])[..]), Err(Error::Version(1))));
    let swapped = file(3_u32.swap_bytes(), &[]);
    assert!(matches!(Vocabulary::read(&swapped[..]), Err(Error::Version(0x0300_0000))));
    let nested =
        file(3, &[entry("x", kind::ARRAY, &[&9_u32.to_le_bytes()[..], &1_u64.to_le_bytes()].concat())]);
    assert!(matches!(Vocabulary::read(&nested[..]), Err(Error::Invalid(_))));
    assert!(matches!(Vocabulary::read(&file(3, &[])[..]), Err(Error::Missing(_))));
}
