use caravan_request::{Code, Endpoint, LineError, LinePolicy, validate};

use crate::{chat, errors, errors_under, line, short};

#[test]
fn a_good_line_has_no_errors() {
    assert_eq!(errors(&chat("")), [""; 0]);
}

#[test]
fn every_code_of_one_line_has_a_line() {
    let policy = LinePolicy {
        endpoint: Some(Endpoint::ChatCompletions),
        model: Some("m"),
        max_line_bytes: 400,
        ..LinePolicy::default()
    };
    let cases: [(Code, Vec<u8>, &str); 12] = [
        (Code::InvalidJsonLine, b"{\"custom_id\": \"a\",".to_vec(), "invalid_json_line"),
        (Code::InvalidUtf8, b"{\"custom_id\": \"\xff\"}".to_vec(), "invalid_utf8"),
        (Code::LineTooLong, chat(&format!(r#""user":"{}""#, "x".repeat(400))).into(), "line_too_long"),
        (
            Code::MissingRequiredParameter,
            line("/v1/chat/completions", r#"{"model":"m"}"#).into(),
            "missing_required_parameter body.messages",
        ),
        (Code::InvalidType, chat(r#""seed":"1""#).into(), "invalid_type body.seed"),
        (Code::InvalidValue, chat(r#""temperature":2.5"#).into(), "invalid_value body.temperature"),
        (Code::UnsupportedMethod, chat("").replace("POST", "GET").into(), "unsupported_method method"),
        (Code::UnsupportedUrl, chat("").replace("chat/", "chats/").into(), "unsupported_url url"),
        (
            Code::UrlMismatch,
            line("/v1/embeddings", r#"{"model":"m","input":"a"}"#).into(),
            "url_mismatch url",
        ),
        (Code::ModelMismatch, chat("").replace(r#""m""#, r#""other""#).into(), "model_mismatch body.model"),
        (
            Code::UnsupportedParameter,
            chat(r#""service_tier":"flex""#).into(),
            "unsupported_parameter body.service_tier",
        ),
        (Code::StreamNotSupported, chat(r#""stream":true"#).into(), "stream_not_supported body.stream"),
    ];
    for (code, text, expected) in cases {
        assert_eq!(errors_under(&text, &policy), [expected], "{code}");
        let found = validate(7, &text, &policy).unwrap_err();
        assert_eq!((found[0].line, found[0].code), (7, code));
        assert!(!found[0].message.is_empty() && !found[0].message.ends_with('.'), "{}", found[0].message);
    }
}

#[test]
fn the_codes_of_the_file_are_made_for_who_sees_the_file() {
    let cases = [
        (LineError::duplicate_custom_id(9, "a", Some(3)), "duplicate_custom_id custom_id"),
        (LineError::context_length_exceeded(9, "a", 5000, 100, 4096), "context_length_exceeded body"),
        (LineError::empty_file(), "empty_file"),
        (LineError::too_many_requests(11, 10), "too_many_requests"),
        (LineError::line_too_long(2, 100), "line_too_long"),
        (LineError::compressed("gzip"), "invalid_json_line"),
    ];
    for (error, expected) in cases {
        assert_eq!(short(&error), expected);
    }
    assert!(LineError::duplicate_custom_id(9, "a", Some(3)).message.starts_with("line 3 "));
}

#[test]
fn codes_are_distinct() {
    let names: std::collections::HashSet<_> = Code::ALL.map(Code::as_str).into();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn one_pass_names_all_errors_of_a_line() {
    let text = r#"{"custom_id":"","method":"PUT","url":"/v1/chat/completions","extra":1,
        "body":{"messages":[{"role":"usr","content":"a"},{"role":"user"}],"n":0,"top_p":true,"nope":1}}"#;
    assert_eq!(
        errors(text),
        [
            "invalid_value custom_id",
            "unsupported_method method",
            "unsupported_parameter extra",
            "invalid_value body.messages[0].role",
            "missing_required_parameter body.messages[1].content",
            "invalid_value body.n",
            "invalid_type body.top_p",
            "unsupported_parameter body.nope",
            "missing_required_parameter body.model",
        ]
    );
}

#[test]
fn errors_carry_the_custom_id_once_it_is_known() {
    let id =
        |text: &str| validate(1, text.as_bytes(), &LinePolicy::default()).unwrap_err().remove(0).custom_id;
    assert_eq!(id(&chat(r#""n":0"#)).as_deref(), Some("a"));
    assert_eq!(id(&chat(r#""user":"\ud800""#)).as_deref(), Some("a"), "an unreadable body");
    assert_eq!(id(r#"{"custom_id":"a","#), None);
    assert_eq!(id(&chat("").replace(r#""a""#, r#""\u0000""#)), None, "an id that may not stand in answers");
}

#[test]
fn errors_of_one_line_are_bounded() {
    let many = format!("[{}]", vec!["1"; 1000].join(","));
    assert_eq!(errors(&crate::messages(&many)).len(), 20);
}

#[test]
fn a_line_without_a_model_takes_the_batchs() {
    let text = line("/v1/embeddings", r#"{"input":"a"}"#);
    let policy = LinePolicy { model: Some("m"), ..LinePolicy::default() };
    assert_eq!(validate(1, text.as_bytes(), &policy).unwrap().model, "m");
    assert_eq!(errors(&text), ["missing_required_parameter body.model"]);
}

#[test]
fn the_page_on_lines_has_every_code() {
    let page = include_str!("../../../../docs/errors/lines.md");
    for code in Code::ALL {
        assert!(page.contains(&format!("\n| `{code}` | ")), "docs/errors/lines.md lacks {code}");
    }
}
