use caravan_request::{Kinds, prompt_texts, split};

use crate::{chat, good, line, messages};

#[test]
fn a_chat_is_measured() {
    let text = messages(
        r#"[{"role":"system","content":"1234"},{"role":"developer","content":[{"type":"text","text":"567"}]},{"role":"user","content":[{"type":"text","text":"\u00e4b"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}]"#,
    );
    let found = good(&text);
    assert_eq!((found.number, found.custom_id.as_ref(), found.model.as_ref()), (7, "a", "m"));
    assert_eq!((found.messages, found.system_messages, found.images), (3, 2, 1));
    assert_eq!((found.prompt_bytes, found.own_bytes), (10, 3));
    assert_eq!((found.max_tokens, found.choices, found.kinds), (None, 1, Kinds::ALL));
    assert!(found.body.starts_with(r#"{"model":"m","#) && found.body.ends_with("]}"));
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
fn prompts_are_measured() {
    let generate = line("/api/generate", r#"{"model":"m","prompt":"abc","system":"de","images":["aGk="]}"#);
    let found = good(&generate);
    assert_eq!((found.prompt_bytes, found.own_bytes, found.images, found.messages), (5, 3, 1, 0));
    let ids = line("/v1/embeddings", r#"{"model":"m","input":[[1,2],[3]]}"#);
    assert_eq!((good(&ids).prompt_token_ids, good(&ids).prompt_bytes), (3, 0));
}

#[test]
fn texts_of_both_parts_are_those_of_the_whole() {
    let body = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":"u"}]}],"tools":[{"a": 1}],"model":"m"}"#;
    let parts = split(body, 1).unwrap();
    assert_eq!(prompt_texts(body).unwrap(), [r#"[{"a": 1}]"#, "s", "u"]);
    assert_eq!(prompt_texts(&parts.head).unwrap(), [r#"[{"a": 1}]"#, "s"]);
    assert_eq!(prompt_texts(&parts.own).unwrap(), ["u"]);
    assert_eq!(prompt_texts(r#"{"system":"s","prompt":"p"}"#).unwrap(), ["s", "p"]);
    assert!(prompt_texts("[]").is_err());
}
