//! Forms of requests and answers, and requests that go wrong on the engine.

use caravan_simulated_engine::{Fault, Options, Rule, Running, SimulatedEngine};
use caravan_tests::{Input, Submitted, Up};
use serde_json::{Value, json};

async fn up(options: Options) -> anyhow::Result<(Running, Up)> {
    let engine = SimulatedEngine::start(options)?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    up.api()?.serves("simulated").await?;
    Ok((engine, up))
}

/// The body of the answer to `custom_id`.
fn body(submitted: &Submitted, custom_id: &str) -> anyhow::Result<Value> {
    for line in std::str::from_utf8(&submitted.output)?.lines() {
        let record: Value = serde_json::from_str(line)?;
        if record["custom_id"] == custom_id {
            return Ok(record["response"]["body"].clone());
        }
    }
    anyhow::bail!("{custom_id} is not answered")
}

#[tokio::test]
async fn each_request_is_answered_in_its_own_form() -> anyhow::Result<()> {
    let options = Options { embedding_models: vec!["embedder".into()], ..Options::default() };
    let (_engine, up) = up(options).await?;
    let question =
        |text: &str| json!({"model": "simulated", "messages": [{"role": "user", "content": text}]});
    let with = |mut body: Value, key: &str, value: Value| {
        body[key] = value;
        body
    };
    let embed = json!({"model": "embedder", "input": ["one text", "another one"]});
    let input = Input::new()
        .request("chat", "/v1/chat/completions", question("first?"), Some("first?"))
        .request(
            "native",
            "/api/chat",
            with(question("second?"), "options", json!({"num_predict": 7})),
            Some("second?"),
        )
        .request("text", "/v1/completions", json!({"model": "simulated", "prompt": "third?"}), Some("third?"))
        .request(
            "generate",
            "/api/generate",
            json!({"model": "simulated", "prompt": "fourth?"}),
            Some("fourth?"),
        )
        .request("vectors", "/v1/embeddings", embed.clone(), None)
        .request("embed", "/api/embed", embed, None)
        .request(
            "short",
            "/v1/chat/completions",
            with(question("fifth?"), "max_tokens", json!(3)),
            Some("fifth?"),
        );
    let done = up.caravan().submit(&input, &[]).await?;
    assert_eq!(done.code, 0, "{} {}", done.stderr, String::from_utf8_lossy(&done.errors));
    assert_eq!(done.audit(&input)?.answered, 7);

    let chat = body(&done, "chat")?;
    assert_eq!(
        (&chat["object"], &chat["choices"][0]["finish_reason"]),
        (&json!("chat.completion"), &json!("stop"))
    );
    assert!(chat["usage"]["total_tokens"].as_u64() > Some(0), "{chat}");
    let native = body(&done, "native")?;
    assert_eq!(
        (&native["done"], &native["eval_count"], &native["done_reason"]),
        (&json!(true), &json!(7), &json!("length"))
    );
    assert!(native.get("choices").is_none(), "{native}");
    assert_eq!(body(&done, "text")?["object"], "text_completion");
    assert!(body(&done, "generate")?["response"].is_string());
    assert_eq!(body(&done, "vectors")?["data"].as_array().map(Vec::len), Some(2));
    assert_eq!(body(&done, "embed")?["embeddings"].as_array().map(Vec::len), Some(2));
    assert_eq!(body(&done, "short")?["choices"][0]["finish_reason"], "length");
    Ok(())
}

#[tokio::test]
async fn a_poisonous_request_is_quarantined_and_its_neighbours_are_answered() -> anyhow::Result<()> {
    let (engine, up) = up(Options { answer_ms: 5, ..Options::default() }).await?;
    engine.faults().add(Rule::always(Fault::Crash).containing("poison"));
    let mut input = Input::new();
    for index in 0..60 {
        let what = if index == 31 { "poison" } else { "water" };
        input = input.chat(&format!("r{index}"), "s", &format!("what is {what} {index}?"));
    }
    let done = up.caravan().submit(&input, &[]).await?;
    assert_eq!(done.code, 4, "{}", done.stderr);
    let audit = done.audit(&input)?;
    assert_eq!((audit.answered, audit.failed.len()), (59, 1), "{:?}", audit.failed);
    assert_eq!(audit.failed[&32], "request_kills_engine");
    // Once beside others, and twice alone.
    let crashes = engine.stats().crashes;
    assert!((2..=3).contains(&crashes), "{crashes}");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_the_engine_gave_up_is_a_failed_line() -> anyhow::Result<()> {
    let (engine, up) = up(Options::default()).await?;
    engine.faults().add(Rule::always(Fault::DoneFalse).containing("number 7 "));
    let mut input = Input::new();
    for index in 0..20 {
        input = input.chat(&format!("r{index}"), "s", &format!("number {index} of them"));
    }
    let done = up.caravan().submit(&input, &[]).await?;
    assert_eq!(done.code, 4, "{}", done.stderr);
    let audit = done.audit(&input)?;
    assert_eq!((audit.answered, audit.failed.keys().copied().collect::<Vec<_>>()), (19, vec![8]));
    Ok(())
}

#[tokio::test]
async fn a_structured_answer_keeps_to_its_schema_or_is_a_failed_line() -> anyhow::Result<()> {
    let (engine, up) = up(Options::default()).await?;
    let schema = |name: &str| {
        json!({"type": "json_schema", "json_schema": {"name": name, "schema": {
            "type": "object", "required": ["label"], "properties": {"label": {"type": "string"}},
        }}})
    };
    let ask = |text: &str| {
        json!({"model": "simulated", "response_format": schema("answer"),
            "messages": [{"role": "user", "content": text}]})
    };
    // Cut off at its first colon it is no object, however often it is asked for.
    let mut cut = ask("cut?");
    cut["stop"] = json!([":"]);
    let input = Input::new()
        .request("good", "/v1/chat/completions", ask("good?"), Some("good?"))
        .request("cut", "/v1/chat/completions", cut, Some("cut?"))
        .request("also", "/v1/chat/completions", ask("also?"), Some("also?"));
    let done = up.caravan().submit(&input, &[]).await?;
    assert_eq!(done.code, 4, "{} {}", done.stderr, String::from_utf8_lossy(&done.output));
    let audit = done.audit(&input)?;
    assert_eq!(audit.failed.into_iter().collect::<Vec<_>>(), [(2, "invalid_structured_output".to_owned())]);
    let good = body(&done, "good")?;
    let content: Value =
        serde_json::from_str(good["choices"][0]["message"]["content"].as_str().unwrap_or_default())?;
    assert!(content["label"].is_string(), "{content}");
    assert_eq!(engine.stats().requests, 4, "an invalid one is run once more");
    Ok(())
}
