use caravan_request::{merge, split};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

#[test]
fn a_chat_shares_all_but_its_last_message() {
    let body = r#"{"model": "m", "seed":1, "messages":[{"role":"system","content":"s"}, {"role":"user", "content":"u"}],"tools":[ ]}"#;
    let parts = split(body, 1).unwrap();
    assert_eq!(parts.head, r#"{"model":"m","messages":[{"role":"system","content":"s"}],"tools":[ ]}"#);
    assert_eq!(parts.own, r#"{"seed":1,"messages":[{"role":"user", "content":"u"}]}"#);
}

#[test]
fn equal_heads_share_a_hash() {
    let body = |system: &str, user: &str, tokens: u32| {
        format!(
            r#"{{"model":"m","max_tokens":{tokens},"messages":[{{"role":"system","content":"{system}"}},{{"role":"user","content":"{user}"}}]}}"#
        )
    };
    let hash = |text: String| split(&text, 1).unwrap().head_hash;
    assert_eq!(hash(body("s", "a", 1)), hash(body("s", "b", 2)));
    assert_ne!(hash(body("s", "a", 1)), hash(body("t", "a", 1)));
}

#[test]
fn a_prompt_is_a_requests_own() {
    let parts = split(r#"{"model":"m","prompt":"p","system":"s","options":{"seed":1}}"#, 5).unwrap();
    assert_eq!(parts.head, r#"{"model":"m","system":"s"}"#);
    assert_eq!(parts.own, r#"{"prompt":"p","options":{"seed":1}}"#);
    assert_eq!(split(r#"{"input":"a"}"#, 0).unwrap().head, "{}");
}

#[test]
fn the_order_of_a_schemas_keys_lives_on() {
    let body = r#"{"z":{"z":1,"a":{"y":2,"b":3}}}"#;
    let parts = split(body, 0).unwrap();
    assert_eq!(Value::Object(merge(&parts.head, &parts.own).unwrap()).to_string(), body);
}

#[test]
fn own_fields_win() {
    let whole = merge(r#"{"a":1,"b":2,"messages":[1]}"#, r#"{"b":3,"messages":[2,3]}"#).unwrap();
    assert_eq!(Value::Object(whole), json!({"a": 1, "b": 3, "messages": [1, 2, 3]}));
}

#[test]
fn what_is_no_object_is_an_error() {
    assert!(split("[]", 0).is_err() && split(r#"{"messages":1}"#, 0).is_err() && split("{", 0).is_err());
    assert!(merge("[]", "{}").is_err() && merge("{}", "1").is_err());
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((any::<String>(), inner), 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Bodies of any shape: known and unknown fields in any order, with messages or without.
pub(crate) fn body() -> impl Strategy<Value = Map<String, Value>> {
    let key = prop_oneof![
        4 => prop::sample::select(vec!["model", "prompt", "max_tokens", "tools", "options", "user"])
            .prop_map(str::to_owned),
        1 => any::<String>().prop_filter("messages are made apart", |key| key != "messages"),
    ];
    (vec((key, value()), 0..8), prop::option::of(vec(value(), 0..6)), any::<bool>()).prop_map(
        |(fields, messages, first)| {
            let messages = messages.map(|messages| ("messages".to_owned(), Value::from(messages)));
            let (head, tail) = if first { (messages, None) } else { (None, messages) };
            head.into_iter().chain(fields).chain(tail).collect()
        },
    )
}

proptest! {
    #[test]
    fn merging_undoes_splitting(body in body(), shared in 0_usize..8, pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let whole: Map<String, Value> = serde_json::from_str(&text).unwrap();
        let parts = split(&text, shared).unwrap();
        prop_assert_eq!(merge(&parts.head, &parts.own).unwrap(), whole);
        prop_assert_eq!(split(&text, shared).unwrap(), parts);
    }

    #[test]
    fn shared_messages_go_to_the_head(count in 0_usize..6, shared in 0_usize..8) {
        let text = json!({"messages": vec![0; count]}).to_string();
        let parts = split(&text, shared).unwrap();
        let len = |part: &str| serde_json::from_str::<Value>(part).unwrap()["messages"].as_array().unwrap().len();
        prop_assert_eq!((len(&parts.head), len(&parts.own)), (shared.min(count), count - shared.min(count)));
    }

    #[test]
    fn validation_never_panics(bytes in vec(any::<u8>(), 0..200), text in any::<String>(), body in body()) {
        let policy = caravan_request::LinePolicy::default();
        let _ = caravan_request::validate(1, &bytes, &policy);
        let _ = caravan_request::validate(1, text.as_bytes(), &policy);
        for endpoint in caravan_request::Endpoint::ALL {
            let line = crate::line(endpoint.as_str(), &Value::Object(body.clone()).to_string());
            let _ = caravan_request::validate(1, line.as_bytes(), &policy);
        }
    }
}
