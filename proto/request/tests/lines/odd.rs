//! Inputs that somebody will send one day.

use caravan_request::{LinePolicy, content_hash, is_blank, looks_compressed, strip_bom, validate};

use crate::{chat, errors, errors_under, good, line, messages};

fn message(text: &[u8]) -> String {
    validate(1, text, &LinePolicy::default()).unwrap_err().remove(0).message
}

#[test]
fn a_bom_is_skipped_at_the_start_and_refused_elsewhere() {
    let text = format!("\u{feff}{}", chat(""));
    assert_eq!(errors(&text), ["invalid_json_line"]);
    assert_eq!(strip_bom(text.as_bytes()), chat("").as_bytes());
    assert_eq!(strip_bom(b"{}"), b"{}");
}

#[test]
fn line_ends_of_windows_are_white_space() {
    assert_eq!(errors(&format!("  {}\r", chat(""))), [""; 0]);
    assert!(is_blank(b"") && is_blank(b" \t\r") && !is_blank(b"0"));
}

#[test]
fn lines_that_are_not_one_json_object() {
    let cases =
        ["", "0", "null", "[]", "\"a\"", "nul", "{", "{}{}", "{'a':1}", "{\"a\":01}", "{\"a\":1,}", "\u{0}"];
    for text in cases {
        assert_eq!(errors(text), ["invalid_json_line"], "{text:?}");
    }
    assert_eq!(errors("{}").len(), 4, "an empty object lacks all four");
    assert!(message(b"{}  x").contains("trailing characters at byte 5"), "{}", message(b"{}  x"));
}

#[test]
fn truncation_anywhere_is_an_error() {
    let text = chat(r#""seed":-1,"stop":["\u00e4",null]"#);
    for end in 0..text.len() {
        assert_eq!(errors(&text[..end]), ["invalid_json_line"], "{}", &text[..end]);
    }
}

#[test]
fn deep_nesting_is_refused_with_its_bound() {
    for field in [r#""user":"#, r#""nope":"#] {
        let deep = chat(&format!("{field}{}{}", "[".repeat(100_000), "]".repeat(100_000)));
        assert_eq!(errors(&deep), ["invalid_json_line"]);
        assert!(message(deep.as_bytes()).contains("values may nest 127 deep"));
    }
    let schema = format!(r#"{}{{}}{}"#, r#"{"a":"#.repeat(100), "}".repeat(100));
    good(&line(
        "/api/chat",
        &format!(r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],"format":{schema}}}"#),
    ));
}

#[test]
fn lone_surrogates_are_refused_wherever_they_stand() {
    for bad in [r"\ud800", r"\udc00", r"\ud800A", r"\ud800\ud800", r"\uD83D x"] {
        let cases = [
            chat(&format!(r#""user":"{bad}""#)),
            chat(&format!(r#""{bad}":1"#)),
            chat(&format!(r#""metadata":{{"a":["{bad}"]}}"#)),
            messages(&format!(r#"[{{"role":"user","content":"{bad}"}}]"#)),
            chat("").replacen(r#""a""#, &format!(r#""{bad}""#), 1),
            chat("").replacen('{', &format!(r#"{{"extra":"{bad}","#), 1),
        ];
        for text in cases {
            assert_eq!(errors(&text), ["invalid_json_line"], "{text}");
            assert!(message(text.as_bytes()).contains("pair"), "{}", message(text.as_bytes()));
        }
    }
    good(&chat(r#""user":"\ud83d\ude00""#));
}

#[test]
fn nul_bytes_only_as_escapes_and_not_in_ids() {
    assert_eq!(errors(&chat("\"user\":\"\0\"")), ["invalid_json_line"]);
    assert_eq!(errors(&format!("{}\0", chat(""))), ["invalid_json_line"]);
    good(&messages(r#"[{"role":"user","content":"a\u0000b"}]"#));
    assert_eq!(errors(&chat("").replacen(r#""a""#, r#""a\u0000""#, 1)), ["invalid_value custom_id"]);
}

#[test]
fn a_key_twice_is_refused_at_any_depth_and_named() {
    let many: String = (0..40).map(|i| format!(r#""k{i}":1,"#)).collect();
    let cases = [
        chat("").replacen('{', r#"{"custom_id":"b","#, 1),
        chat("").replacen('{', r#"{"custom\u005fid":"b","#, 1),
        chat(r#""seed":1,"seed":1"#),
        chat(r#""metadata":{"x":1,"y":{"x":1,"x":2}}"#),
        chat(&format!(r#""metadata":{{{many}"k3":2}}"#)),
    ];
    for (text, key) in cases.iter().zip(["custom_id", "custom_id", "seed", "x", "k3"]) {
        assert_eq!(errors(text), ["invalid_json_line"], "{text}");
        let told = message(text.as_bytes());
        assert!(told.contains(&format!("the key {key:?} stands twice")), "{told}");
    }
}

#[test]
fn numbers_that_do_not_fit() {
    assert_eq!(errors(&chat(r#""temperature":1e999"#)), ["invalid_json_line"]);
    assert_eq!(errors(&chat(r#""seed":18446744073709551615"#)), ["invalid_value body.seed"]);
    assert_eq!(errors(&chat(r#""max_tokens":1e3"#)), ["invalid_type body.max_tokens"]);
    assert_eq!(errors(&chat(r#""seed":123456789012345678901234567890"#)), ["invalid_type body.seed"]);
}

#[test]
fn custom_ids() {
    let with = |id: &str| errors(&chat("").replacen(r#""a""#, id, 1));
    assert_eq!(with(r#""""#), ["invalid_value custom_id"]);
    assert_eq!(with("7"), ["invalid_type custom_id"]);
    assert_eq!(with("null"), ["missing_required_parameter custom_id"]);
    assert_eq!(with(r#""a\nb""#), ["invalid_value custom_id"]);
    assert_eq!(with(&format!("{:?}", "x".repeat(513))), ["invalid_value custom_id"]);
    assert_eq!(with(&format!("{:?}", "x".repeat(512))), [""; 0]);
    assert_eq!(with(r#""ид-\"1\"""#), [""; 0]);
}

#[test]
fn compressed_files_are_known_by_their_start() {
    assert_eq!(looks_compressed(b"\x1f\x8b\x08\x00"), Some("gzip"));
    assert_eq!(looks_compressed(b"\x28\xb5\x2f\xfd\x00"), Some("zstd"));
    assert_eq!(looks_compressed(chat("").as_bytes()), None);
    assert_eq!(looks_compressed(b""), None);
    assert_eq!(errors_under(b"\x1f\x8b\x08", &LinePolicy::default()), ["invalid_utf8"]);
}

#[test]
fn too_many_values_are_refused_before_they_fill_the_memory() {
    let policy = LinePolicy { max_values: 1000, ..LinePolicy::default() };
    let input = |n: usize| {
        line("/v1/embeddings", &format!(r#"{{"model":"m","input":[{}]}}"#, vec!["1"; n].join(",")))
    };
    assert_eq!(errors_under(input(1000).as_bytes(), &policy), ["line_too_long"]);
    assert_eq!(errors_under(input(900).as_bytes(), &policy), [""; 0]);
}

#[test]
fn quotes_of_the_input_are_short() {
    let told = message(chat("").replace("POST", &"P".repeat(100_000)).as_bytes());
    assert!(told.len() < 200, "{} bytes", told.len());
    let key = "k".repeat(100_000);
    let told = validate(1, chat(&format!("{key:?}:1")).as_bytes(), &LinePolicy::default()).unwrap_err();
    assert!(told[0].param.as_ref().unwrap().len() < 200);
}

#[test]
fn the_hash_is_the_same_for_ever() {
    // XXH3-128 of the empty input and of "abc", from its specification's reference code.
    assert_eq!(content_hash(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    assert_eq!(content_hash(b"abc"), 0x06b0_5ab6_733a_6185_78af_5f94_892f_3950);
}
