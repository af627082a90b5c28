//! Each thing that can be wrong with a line, in the middle of a good file.

use caravan_simulated_engine::{Options, Running, SimulatedEngine};
use caravan_tests::{Caravan, Input, Up};
use serde_json::{Value, json};

/// Bytes of a line that these planners take.
const LONGEST: usize = 20_000;

/// A line, and the code and field of its error.
struct Bad {
    line: Vec<u8>,
    code: &'static str,
    param: Option<&'static str>,
}

fn bad(line: impl Into<Vec<u8>>, code: &'static str, param: Option<&'static str>) -> Bad {
    Bad { line: line.into(), code, param }
}

/// A good line with one change.
fn changed(code: &'static str, param: &'static str, change: impl FnOnce(&mut Value)) -> Bad {
    let mut line = json!({"custom_id": "bad", "method": "POST", "url": "/v1/chat/completions", "body": {
        "model": "simulated", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
    }});
    change(&mut line);
    bad(line.to_string(), code, Some(param))
}

/// One of each code that a line can have; the batch names endpoint and model.
fn each() -> Vec<Bad> {
    let long = format!(r#"{{"custom_id":"bad","body":"{}"}}"#, "x".repeat(LONGEST));
    let deep = format!(
        r#"{{"custom_id":"bad","method":"POST","url":"/v1/chat/completions","body":{}1{}}}"#,
        "[".repeat(400),
        "]".repeat(400)
    );
    vec![
        bad(r#"{"custom_id": "bad", "method""#, "invalid_json_line", None),
        bad(r#"{"custom_id":"a\ud800b"}"#, "invalid_json_line", None),
        bad(b"{\"custom_id\":\"a\0b\"}", "invalid_json_line", None),
        bad(deep, "invalid_json_line", None),
        bad(b"{\"custom_id\":\"\xff\"}", "invalid_utf8", None),
        bad(long, "line_too_long", None),
        changed("missing_required_parameter", "body.messages", |line| {
            line["body"] = json!({"model": "simulated"})
        }),
        changed("missing_required_parameter", "custom_id", |line| {
            line.as_object_mut().and_then(|line| line.remove("custom_id"));
        }),
        changed("invalid_type", "body.messages", |line| line["body"]["messages"] = json!(5)),
        changed("invalid_value", "body.messages[1].role", |line| {
            line["body"]["messages"][1]["role"] = json!("wizard");
        }),
        changed("duplicate_custom_id", "custom_id", |line| line["custom_id"] = json!("r0")),
        changed("unsupported_method", "method", |line| line["method"] = json!("GET")),
        changed("unsupported_url", "url", |line| line["url"] = json!("/v1/nonsense")),
        changed("url_mismatch", "url", |line| line["url"] = json!("/v1/completions")),
        changed("model_mismatch", "body.model", |line| line["body"]["model"] = json!("other")),
        changed("unsupported_parameter", "body.logit_bias", |line| {
            line["body"]["logit_bias"] = json!({"1": 2})
        }),
        changed("stream_not_supported", "body.stream", |line| line["body"]["stream"] = json!(true)),
        changed("context_length_exceeded", "body", |line| line["body"]["max_tokens"] = json!(10_000_000)),
    ]
}

async fn up(more: &str) -> anyhow::Result<(Running, Up)> {
    let engine = SimulatedEngine::start(Options::default())?;
    let config = format!("[roles.planner.prepare]\nmax_line_bytes = {LONGEST}\n{more}");
    let up = Up::start(&[&engine.url()], 4, &config).await?;
    // What an engine honours, and how much it holds, is known once there is one.
    up.api()?.serves("simulated").await?;
    Ok((engine, up))
}

async fn submit(caravan: &Caravan, input: &Input, policy: &str) -> anyhow::Result<caravan_tests::Submitted> {
    let named = ["--endpoint", "/v1/chat/completions", "--model", "simulated", "--on-invalid", policy];
    caravan.submit(input, &named).await
}

#[tokio::test]
async fn one_bad_line_rejects_its_batch() -> anyhow::Result<()> {
    let (engine, up) = up("").await?;
    for bad in each() {
        let input = Input::chats(3, "s").line(&bad.line).chat("z0", "s", "q").chat("z1", "s", "q");
        let rejected = submit(&up.caravan(), &input, "reject_batch").await?;
        let said = format!("{}: {}", bad.code, rejected.stderr);
        assert_eq!((rejected.code, &rejected.batch()["state"]), (3, &json!("failed")), "{said}");
        assert_eq!(rejected.batch()["requests"]["total"], 6, "{said}");
        assert!(rejected.output.is_empty(), "{said}");
        let errors: Vec<Value> = std::str::from_utf8(&rejected.errors)?
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()?;
        assert_eq!(errors.len(), 1, "{said}");
        let error = &errors[0]["error"];
        assert_eq!((&error["code"], &error["line"]), (&json!(bad.code), &json!(4)), "{said}");
        assert_eq!(error["param"].as_str(), bad.param, "{said}");
        assert_eq!(rejected.batch()["line_errors"][0]["code"], bad.code, "{said}");
    }
    assert_eq!(engine.stats().requests, 0, "nothing of a rejected batch is run");
    Ok(())
}

#[tokio::test]
async fn bad_lines_are_left_out_and_the_others_run() -> anyhow::Result<()> {
    let (_engine, up) = up("").await?;
    let bad = each();
    let mut input = Input::new();
    for (index, bad) in bad.iter().enumerate() {
        // Empty lines have numbers, and are no requests.
        input = input.chat(&format!("r{index}"), "s", &format!("question {index}")).line(&bad.line).line("");
    }
    input = input.chat("last", "s", "the last question");
    let done = submit(&up.caravan(), &input, "reject_line").await?;
    assert_eq!(done.code, 4, "{}", done.stderr);
    let audit = done.audit(&input)?;
    assert_eq!((audit.answered, audit.failed.len()), (bad.len() + 1, bad.len()));
    let codes: Vec<&str> = audit.failed.values().map(String::as_str).collect();
    assert_eq!(codes, bad.iter().map(|bad| bad.code).collect::<Vec<_>>());
    assert_eq!(done.batch()["requests"]["total"], 2 * bad.len() + 1);
    // A line may have several errors.
    assert!(done.batch()["line_error_count"].as_u64() >= Some(bad.len() as u64));
    Ok(())
}

#[tokio::test]
async fn every_line_error_of_a_rejected_batch_is_delivered() -> anyhow::Result<()> {
    let (_engine, up) = up("").await?;
    let mut input = Input::new();
    for index in 0..250 {
        input = input.chat(&format!("r{index}"), "s", "q").line("{");
    }
    let rejected = submit(&up.caravan(), &input, "reject_batch").await?;
    assert_eq!(rejected.code, 3, "{}", rejected.stderr);
    assert_eq!(std::str::from_utf8(&rejected.errors)?.lines().count(), 250);
    assert_eq!(rejected.batch()["line_error_count"], 250);
    assert_eq!(rejected.batch()["requests"]["total"], 500);
    Ok(())
}

#[tokio::test]
async fn a_file_with_too_many_requests_is_rejected_whatever_the_policy() -> anyhow::Result<()> {
    let (engine, up) = up("max_requests = 10\n").await?;
    assert_eq!(submit(&up.caravan(), &Input::chats(10, "s"), "reject_batch").await?.code, 0);
    for policy in ["reject_batch", "reject_line"] {
        let rejected = submit(&up.caravan(), &Input::chats(11, "s"), policy).await?;
        assert_eq!(rejected.code, 3, "{}", rejected.stderr);
        assert_eq!(rejected.batch()["line_errors"][0]["code"], "too_many_requests");
        assert!(String::from_utf8(rejected.errors)?.contains("too_many_requests"));
    }
    assert_eq!(engine.stats().requests, 10);
    Ok(())
}
