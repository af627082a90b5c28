use caravan_request::{Kinds, Outline, Texts, split};

use crate::{chat, good, line, messages};

#[test]
fn a_chat_is_measured() {
    let text = messages(
        r#"[{"role":"system","content":"1234"},{"role":"developer","content":[{"type":"text","text":"567"}]},{"role":"user","content":[{"type":"text","text":"\u00e4b"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}]"#,
    );
    let found = good(&text);
    assert_eq!((found.number, found.custom_id.as_ref(), found.model.as_ref()), (7, "a", "m"));
    assert_eq!(found.messages, 3);
    assert_eq!((found.max_tokens, found.choices, found.kinds), (None, 1, Kinds::ALL));
    assert!(found.body.starts_with(r#"{"model":"m","#) && found.body.ends_with("]}"));
    let outline = Outline::of(found.body).unwrap();
    let systems: Vec<bool> = outline.messages.iter().map(|message| message.system).collect();
    assert_eq!(systems, [true, true, false]);
    let texts: Vec<_> = outline.messages.iter().flat_map(|message| &message.texts.texts).collect();
    assert_eq!(texts, ["1234", "567", "äb"]);
    assert_eq!(outline.messages[2].texts.images, 1);
    assert_eq!(outline.messages[0].raw, r#"{"role":"system","content":"1234"}"#);
}

#[test]
fn the_answers_limit_is_found_in_any_spelling() {
    let native = |n: i64| {
        line("/api/generate", &format!(r#"{{"model":"m","prompt":"a","options":{{"num_predict":{n}}}}}"#))
    };
    assert_eq!(good(&chat(r#""max_tokens":5"#)).max_tokens, Some(5));
    assert_eq!(good(&chat(r#""max_tokens":null,"max_completion_tokens":6,"n":3"#)).max_tokens, Some(6));
    assert_eq!(good(&native(8)).max_tokens, Some(8));
    assert_eq!(good(&native(-1)).max_tokens, None);
}

#[test]
fn prompts_are_taken_apart() {
    let generate = line("/api/generate", r#"{"model":"m","prompt":"abc","system":"de","images":["aGk="]}"#);
    let outline = Outline::of(good(&generate).body).unwrap();
    assert_eq!((outline.prompt, outline.messages.len()), (r#""abc""#, 0));
    assert_eq!(outline.preamble, texts(&["de"]));
    assert_eq!(outline.prompt_texts, Texts { images: 1, ..texts(&["abc"]) });
    assert_eq!(outline.head, r#"{"model":"m","system":"de"}"#);
    let ids = line("/v1/embeddings", r#"{"model":"m","input":[[1,2],[3]]}"#);
    let ids = Outline::of(good(&ids).body).unwrap().prompt_texts;
    assert_eq!(ids, Texts { token_ids: 3, ..Texts::default() });
}

#[test]
fn tools_and_calls_count() {
    let body = r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}],"tools":[{"a": 1}],"seed":1}"#;
    let outline = Outline::of(body).unwrap();
    assert_eq!(outline.preamble, texts(&[r#"[{"a": 1}]"#]));
    assert_eq!(outline.messages[0].texts, texts(&["name", "f", "arguments", "a", "1"]));
    assert_eq!(outline.head, r#"{"model":"m","messages":[],"tools":[{"a": 1}]}"#);
    assert_eq!(outline.head, split(body, 0).unwrap().head);
    assert!(Outline::of("[]").is_err());
}

fn texts(texts: &[&str]) -> Texts {
    Texts { texts: texts.iter().map(|text| (*text).to_owned()).collect(), ..Texts::default() }
}
