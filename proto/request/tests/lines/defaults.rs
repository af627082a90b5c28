use caravan_request::{Defaults, DefaultsError, Endpoint, LineError, LinePolicy, split, validate};
use proptest::{collection::vec, prelude::*};
use serde_json::{Map, Value, json};

use crate::{
    short,
    split::{body, value},
};

const CHAT: Option<Endpoint> = Some(Endpoint::ChatCompletions);

fn defaults(text: &str) -> Defaults {
    Defaults::parse(text, CHAT).unwrap()
}

fn expand(defaults: &Defaults, line: &str) -> String {
    let mut out = "what stood there".to_owned();
    str::from_utf8(defaults.expand(line.as_bytes(), &mut out)).unwrap().to_owned()
}

fn found(defaults: &Defaults, line: &str) -> Vec<LineError> {
    let mut out = String::new();
    defaults.validate(7, line.as_bytes(), &LinePolicy::default(), &mut out).err().unwrap_or_default()
}

#[test]
fn a_line_says_only_what_differs() {
    let defaults =
        defaults(r#"{"model": "m", "messages": [ {"role":"system","content":"s"} ], "max_tokens": 8}"#);
    let line = r#"{"custom_id": "a", "body": {"seed": 1, "messages": [{"role":"user","content":"u"}]} }"#;
    let whole = r#"{"custom_id": "a", "body": {"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"u"}],"max_tokens":8,"seed":1} ,"method":"POST","url":"/v1/chat/completions"}"#;
    assert_eq!(expand(&defaults, line), whole);
    assert_eq!(found(&defaults, line), []);
}

#[test]
fn a_lines_fields_win_in_the_place_of_the_defaults() {
    let defaults = defaults(r#"{"model":"m","temperature":1,"stop":"x","messages":[1]}"#);
    let body = |own: &str| {
        let line = format!(r#"{{"custom_id":"a","method":"POST","url":"/api/chat","body":{own}}}"#);
        let whole = expand(&defaults, &line);
        let body = whole.strip_prefix(&line[..line.len() - own.len() - 1]).unwrap();
        body.strip_suffix('}').unwrap().to_owned()
    };
    assert_eq!(body(r#"{"temperature":0}"#), r#"{"model":"m","temperature":0,"stop":"x","messages":[1]}"#);
    assert_eq!(body(r#"{"stop":null}"#), r#"{"model":"m","temperature":1,"stop":null,"messages":[1]}"#);
    assert_eq!(body(r#"{"messages":null}"#), r#"{"model":"m","temperature":1,"stop":"x","messages":null}"#);
    assert_eq!(body(r#"{"messages":[ ]}"#), r#"{"model":"m","temperature":1,"stop":"x","messages":[1]}"#);
    assert_eq!(body(r#"{"messages":5}"#), r#"{"model":"m","temperature":1,"stop":"x","messages":5}"#);
    assert_eq!(body("{ }"), r#"{"model":"m","temperature":1,"stop":"x","messages":[1]}"#);
    assert_eq!(body("[1]"), "[1]");
}

#[test]
fn options_are_laid_over_one_by_one() {
    let defaults = defaults(r#"{"options":{"num_ctx":8192,"seed":1},"format":{"a":1}}"#);
    let line = r#"{"body":{"options":{"seed":2,"top_k":3},"format":{"b":2}},"method":"POST","url":"u"}"#;
    let whole = r#"{"body":{"options":{"num_ctx":8192,"seed":2,"top_k":3},"format":{"b":2}},"method":"POST","url":"u"}"#;
    assert_eq!(expand(&defaults, line), whole);
    assert_eq!(
        expand(&defaults, r#"{"body":{"options":7}}"#),
        r#"{"body":{"options":7,"format":{"a":1}},"method":"POST","url":"/v1/chat/completions"}"#
    );
}

#[test]
fn without_an_endpoint_a_line_must_name_its_url() {
    let defaults = Defaults::parse("{}", None).unwrap();
    let line = r#"{"custom_id":"a","body":{"model":"m","messages":[{"role":"user","content":"u"}]}}"#;
    let errors: Vec<String> = found(&defaults, line).iter().map(short).collect();
    assert_eq!(errors, ["missing_required_parameter url"]);
    assert!(crate::errors(line).contains(&"missing_required_parameter method".to_owned()));
}

#[test]
fn what_is_wrong_is_told_as_of_the_line_written_out() {
    let defaults = defaults(r#"{"model":"m","messages":[{"role":"system","content":"s"}]}"#);
    let told = |line: &str| found(&defaults, line).iter().map(short).collect::<Vec<_>>();
    let wrong = r#"{"custom_id":"a","body":{"messages":[{"role":"wizard","content":"u"}]}}"#;
    assert_eq!(told(wrong), ["invalid_value body.messages[1].role"]);
    assert_eq!(told(r#"{"custom_id":"a","body":{"messages":5}}"#), ["invalid_type body.messages"]);
    assert_eq!(told(r#"{"custom_id":"a","body":5}"#), ["invalid_type body"]);
    assert_eq!(told(r#"{"custom_id":"a"}"#), ["missing_required_parameter body"]);
    assert_eq!(told("{}"), ["missing_required_parameter custom_id", "missing_required_parameter body"]);
    assert_eq!(told(r#"{"custom_id":"a","body":{},"url":null}"#), ["missing_required_parameter url"]);
    let many: String = (0..2_000).map(|n| format!(r#","x{n}":1"#)).collect();
    assert!(told(&format!(r#"{{"custom_id":"a","body":{{"seed":1{many}}}}}"#))[0].contains("unsupported"));
}

#[test]
fn json_that_cannot_be_read_is_told_where_it_stands_in_the_line() {
    let defaults = defaults(r#"{"model":"a long name that moves everything","seed":1}"#);
    for line in [
        r#"{"custom_id":"a","body":{"seed":1"#,
        r#"{"custom_id":"a","body":{"seed":1,"seed":1}}"#,
        r#"{"custom_id":"a","body":{"seed":1,"metadata":{"a":1,"a":1}}}"#,
        r#"{"custom_id":"a","body":{"seed":1,"user":"\ud800"}}"#,
        r#"{"custom_id":"a","body":{"seed":1},"body":{}}"#,
        r#"{"custom_id":"a","body":{"seed":1},"x":{"a":1,"a":1}}"#,
        r#"[{"body":1}, 2, 3]"#,
        "7",
        "",
    ] {
        let alone = validate(7, line.as_bytes(), &LinePolicy::default()).unwrap_err();
        let alone: Vec<_> = alone.into_iter().filter(|error| error.param.is_none()).collect();
        assert_eq!(found(&defaults, line), alone, "{line}");
        assert_eq!(alone.len(), 1, "{line}");
    }
    let mut out = String::new();
    let errors =
        defaults.validate(1, b"{\"custom_id\":\"\xff\"}", &LinePolicy::default(), &mut out).unwrap_err();
    assert_eq!(errors.iter().map(short).collect::<Vec<_>>(), ["invalid_utf8"]);
}

#[test]
fn a_line_is_bounded_as_uploaded_and_as_written_out() {
    let policy = LinePolicy { max_line_bytes: 100, ..LinePolicy::default() };
    let long = "x".repeat(100);
    let mut out = String::new();
    let defaults = defaults(&json!({"user": long}).to_string());
    let mut told = |line: &str| {
        let errors = defaults.validate(1, line.as_bytes(), &policy, &mut out).unwrap_err();
        assert_eq!(errors.iter().map(short).collect::<Vec<_>>(), ["line_too_long"]);
        errors[0].message.contains("with the batch's defaults")
    };
    assert!(told(r#"{"custom_id":"a","body":{}}"#));
    assert!(!told(&format!(r#"{{"custom_id":"{long}","body":{{}}}}"#)));
}

#[test]
fn what_cannot_be_defaults_is_refused() {
    let refused = |text: &str| Defaults::parse(text, None).unwrap_err();
    for text in
        ["", "{", r#"{"a":1,"a":2}"#, r#"{"a":{"b":1,"b":2}}"#, "{} {}", "\u{feff}{}", r#"{"a":1e999}"#]
    {
        assert!(matches!(refused(text), DefaultsError::NotJson(_)), "{text}");
    }
    for text in ["[]", "null", "\"text\"", "1"] {
        assert_eq!(refused(text), DefaultsError::NotAnObject, "{text}");
    }
    assert_eq!(refused(r#"{"messages":"s"}"#), DefaultsError::Messages);
    let many: Map<String, Value> = (0..129).map(|n| (format!("x{n}"), n.into())).collect();
    assert_eq!(refused(&Value::Object(many.clone()).to_string()), DefaultsError::TooManyFields);
    assert_eq!(refused(&json!({"options": many}).to_string()), DefaultsError::TooManyFields);
    assert_eq!(refused(&" ".repeat(Defaults::MAX_BYTES + 1)), DefaultsError::TooLong);
}

/// The body as it would be written out by hand.
fn written_out(defaults: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = defaults.clone();
    for (key, value) in own {
        let value = match (key.as_str(), whole.get(key), value) {
            ("messages", Some(Value::Array(first)), Value::Array(then)) => {
                Value::Array(first.iter().chain(then).cloned().collect())
            }
            ("options", Some(Value::Object(under)), Value::Object(over)) => {
                let mut options = under.clone();
                options.extend(over.clone());
                Value::Object(options)
            }
            (_, _, value) => value.clone(),
        };
        whole.insert(key.clone(), value);
    }
    whole
}

/// Valid chat bodies in two parts: what a batch says, and what one line says.
fn chat() -> impl Strategy<Value = (Map<String, Value>, Map<String, Value>)> {
    let messages = |role: &'static str| {
        vec(any::<String>(), 1..3).prop_map(move |texts| {
            Value::from_iter(texts.iter().map(|text| json!({"role": role, "content": text})))
        })
    };
    let field = prop_oneof![
        (1_u32..99).prop_map(|n| ("max_tokens", json!(n))),
        (0_u32..9).prop_map(|n| ("seed", json!(n))),
        any::<String>().prop_map(|user| ("user", json!(user))),
        Just(("temperature", Value::Null)),
    ];
    let part = move |role| {
        (messages(role), vec(field.clone(), 0..4), any::<bool>()).prop_map(|(messages, fields, first)| {
            let messages = [("messages", messages)];
            let (head, tail) = if first { (&messages[..], &[][..]) } else { (&[][..], &messages[..]) };
            let all = head.iter().chain(&fields).chain(tail);
            all.map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Map<_, _>>()
        })
    };
    (part("system"), part("user")).prop_map(|(mut defaults, own)| {
        defaults.insert("model".to_owned(), "m".into());
        (defaults, own)
    })
}

proptest! {
    #[test]
    fn expanded_is_the_same_as_written_out((given, own) in chat(), shared in 0_usize..4) {
        let defaults = defaults(&Value::Object(given.clone()).to_string());
        let whole = Value::Object(written_out(&given, &own)).to_string();
        let written = crate::line("/v1/chat/completions", &whole);
        let delta = json!({"custom_id": "a", "body": own}).to_string();
        let policy = LinePolicy::default();
        let mut out = String::new();
        let expanded = defaults.validate(3, delta.as_bytes(), &policy, &mut out).unwrap();
        prop_assert_eq!(split(expanded.body, shared).unwrap(), split(&whole, shared).unwrap());
        prop_assert_eq!(expanded, validate(3, written.as_bytes(), &policy).unwrap());
    }

    #[test]
    fn bodies_of_any_shape_come_out_as_written_out(given in body(), own in body(), options in any::<[bool; 2]>(), any in value()) {
        let (mut given, mut own) = (given, own);
        for (map, with) in [(&mut given, options[0]), (&mut own, options[1])] {
            if with {
                map.insert("options".to_owned(), any.clone());
            }
        }
        let line = json!({"custom_id": "a", "method": "POST", "url": "u", "body": own}).to_string();
        let wanted = json!({"custom_id": "a", "method": "POST", "url": "u", "body": written_out(&given, &own)});
        prop_assert_eq!(expand(&defaults(&Value::Object(given).to_string()), &line), wanted.to_string());
    }

    #[test]
    fn no_line_makes_it_panic(bytes in vec(any::<u8>(), 0..100), text in any::<String>(), any in value()) {
        let defaults = defaults(r#"{"messages":[{}],"options":{"a":1}}"#);
        let mut out = String::new();
        for line in [bytes, text.into_bytes(), any.to_string().into_bytes(), json!({"body": any}).to_string().into_bytes()] {
            let policy = LinePolicy::default();
            let _ = defaults.validate(1, &line, &policy, &mut out);
        }
    }
}
