use caravan_request::{LineError, Source, error_line, output_line};
use serde_json::{Value, json};

fn parse(line: &str) -> Value {
    assert!(!line.contains('\n'), "{line}");
    serde_json::from_str(line).unwrap()
}

#[test]
fn an_answer_is_an_output_line() {
    let line = output_line("r1", "a \"b\"\n", 200, "q1", "{\n  \"x\": \"y\\n\"\r\n}", None);
    assert_eq!(
        parse(&line),
        json!({"id": "r1", "custom_id": "a \"b\"\n", "response": {"status_code": 200, "request_id": "q1", "body": {"x": "y\n"}}, "error": null})
    );
    assert!(line.starts_with(r#"{"id":"r1","custom_id":"#), "in the order that OpenAI writes them");
}

#[test]
fn an_answer_that_is_no_json_does_not_tear_the_line() {
    let line = parse(&output_line("r1", "a", 502, "q1", "<html>\nbad gateway", None));
    assert_eq!(line["response"]["body"], "<html>\nbad gateway");
}

#[test]
fn what_answered_stands_beside_the_answer() {
    let source = Source { engine_version: "0.33.0 \"x\"", model_digest: "" };
    let line = parse(&output_line("r1", "a", 200, "q1", "{}", Some(source)));
    assert_eq!(line["x_caravan"], json!({"engine_version": "0.33.0 \"x\"", "model_digest": ""}));
    assert_eq!((&line["error"], &line["response"]["body"]), (&Value::Null, &json!({})));
}

#[test]
fn a_rejected_line_is_an_error_line() {
    let error = LineError::duplicate_custom_id(9, "a", Some(3));
    assert_eq!(
        parse(&error.to_error_line("r1")),
        json!({"id": "r1", "custom_id": "a", "response": null, "error": {"code": "duplicate_custom_id", "message": error.message, "line": 9, "param": "custom_id"}})
    );
    assert_eq!(
        parse(&error_line("r1", None, "batch_cancelled", "m", None, None)),
        json!({"id": "r1", "custom_id": null, "response": null, "error": {"code": "batch_cancelled", "message": "m"}})
    );
    assert_eq!(parse(&LineError::empty_file().to_error_line("r1"))["error"].get("line"), None);
}
