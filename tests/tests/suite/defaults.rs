//! Lines that say only what differs from the defaults of their batch.

use caravan_proto::v1::{
    Batch, CreateBatchRequest, ListBatchesRequest, batch::State, watch_batch_response::Event,
};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::{Fleet, Input, Up, reason};
use serde_json::{Value, json};

const SYSTEM: &str = "classify what is asked \"briefly\"";
const SHARED: [(&str, u32); 2] = [("max_tokens", 8), ("seed", 7)];

/// The same requests written out, and as what differs.
fn both(count: usize) -> (Input, Input, String) {
    let (mut written, mut deltas) = (Input::new(), String::new());
    for index in 0..count {
        let (id, question) = (format!("r{index}"), format!("marker=r{index} what is {index}?"));
        let user = json!({"role": "user", "content": question});
        let mut own = json!({"messages": [user]});
        let mut body =
            json!({"model": "simulated", "messages": [{"role": "system", "content": SYSTEM}, user]});
        for (key, value) in SHARED {
            body[key] = value.into();
        }
        if index % 3 == 0 {
            (own["max_tokens"], body["max_tokens"]) = (5.into(), 5.into());
        }
        written = written.request(&id, "/v1/chat/completions", body, Some(&question));
        deltas += &format!("{}\n", json!({"custom_id": id, "body": own}));
    }
    let mut defaults = json!({"model": "simulated", "messages": [{"role": "system", "content": SYSTEM}]});
    for (key, value) in SHARED {
        defaults[key] = value.into();
    }
    (written.clone(), written.with_bytes(|_| deltas.into_bytes()), defaults.to_string())
}

/// An output file without what no two runs share.
fn lasting(output: &[u8]) -> anyhow::Result<Vec<String>> {
    let line = |line: &str| {
        let mut line: Value = serde_json::from_str(line)?;
        for own in ["/id", "/response/request_id", "/response/body/id", "/response/body/created"] {
            if let Some(value) = line.pointer_mut(own) {
                *value = Value::Null;
            }
        }
        Ok(line.to_string())
    };
    std::str::from_utf8(output)?.lines().map(line).collect()
}

#[tokio::test]
async fn deltas_give_what_the_lines_written_out_give() -> anyhow::Result<()> {
    let (written, deltas, defaults) = both(40);
    let policy = Batch { endpoint: "/v1/chat/completions".into(), ..Batch::default() };
    let mut came = Vec::new();
    for (input, defaults) in [(written, String::new()), (deltas, defaults)] {
        // One slot each, so that what the cache has is the same, too.
        let engine = SimulatedEngine::start(Options::default())?;
        let up = Up::start(&[&engine.url()], 1, "").await?;
        let api = up.api()?;
        api.serves("simulated").await?;
        let batch = api.create(&input, Batch { defaults, ..policy.clone() }).await?;
        let batch = api.ended(&batch.name).await?;
        assert_eq!(batch.state(), State::Completed, "{}", batch.state_message);
        assert_eq!(api.audit(&input, &batch).await?.answered, 40);
        let output = lasting(&api.download(&batch.output_file).await?)?;
        let mut plan = batch.plan.unwrap_or_default();
        // How quick the engine is was measured, not planned.
        plan.estimated_duration = None;
        // Another process has another executor.
        plan.engines.clear();
        came.push((plan, batch.usage, output, engine.stats().prompt_tokens));
    }
    assert_eq!(came[0], came[1]);
    Ok(())
}

#[tokio::test]
async fn only_get_shows_defaults() -> anyhow::Result<()> {
    let fleet = Fleet::start("").await?;
    let api = fleet.api()?;
    let (_, deltas, defaults) = both(3);
    let policy =
        Batch { endpoint: "/v1/chat/completions".into(), defaults: defaults.clone(), ..Batch::default() };
    let created = api.create(&deltas, policy).await?;
    assert_eq!(created.defaults, "");
    assert_eq!(api.get(&created.name).await?.defaults, defaults);
    let listed = api.batches().list_batches(ListBatchesRequest::default()).await?.into_inner();
    assert_eq!(listed.batches[0].defaults, "");
    let first = api.watch(&created.name, "").await?.message().await?;
    let Some(Event::Snapshot(snapshot)) = first.and_then(|message| message.event) else {
        panic!("no snapshot")
    };
    assert_eq!(snapshot.defaults, "");
    Ok(())
}

#[tokio::test]
async fn bad_defaults_and_bad_deltas_are_told() -> anyhow::Result<()> {
    let fleet = Fleet::start("").await?;
    let api = fleet.api()?;
    let (_, deltas, defaults) = both(3);
    let file = api.upload(deltas.bytes()).await?;
    let plan = async |defaults: &str, endpoint: &str| {
        let batch = Batch {
            input_file: file.name.clone(),
            endpoint: endpoint.into(),
            defaults: defaults.into(),
            ..Batch::default()
        };
        let request = CreateBatchRequest { batch: Some(batch), validate_only: true, ..Default::default() };
        api.batches().create_batch(request).await.map(tonic::Response::into_inner)
    };
    let long = json!({"user": "x".repeat(8 << 20)}).to_string();
    for bad in ["{", "[]", r#"{"a":1,"a":2}"#, r#"{"messages":"s"}"#, &long] {
        let refused = plan(bad, "").await.unwrap_err();
        assert_eq!(reason(&refused), "INVALID_ARGUMENT", "{refused:?}");
    }
    let chat = "/v1/chat/completions";
    let told = async |defaults: &str, endpoint: &str| {
        let planned = plan(defaults, endpoint).await?;
        let first = planned.line_errors.first().map(|error| (error.line, error.param.clone()));
        anyhow::Ok((planned.state(), first))
    };
    let failed = |param: &str| (State::Failed, Some((1, param.to_owned())));
    assert_eq!(told(&defaults, chat).await?, (State::Queued, None));
    assert_eq!(told(&defaults, "").await?, failed("url"));
    assert_eq!(told("", chat).await?, failed("method"));
    assert_eq!(told("{}", chat).await?, failed("body.model"));
    let wrong = r#"{"model":"m","messages":[{"role":"wizard","content":"s"}]}"#;
    assert_eq!(told(wrong, chat).await?, failed("body.messages[0].role"));
    Ok(())
}

#[tokio::test]
async fn rows_and_a_prompt_file_become_a_batch_over_a_compressed_connection() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options::default())?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    let directory = tempfile::tempdir()?;
    let path = |name: &str, text: &str| -> anyhow::Result<String> {
        let path = directory.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (prompt, rows) =
        (path("prompt.md", "classify\n")?, path("rows.csv", "id,q\na,one\nb,\"two, three\"\n")?);
    let out = directory.path().join("out.jsonl");
    let done = up
        .caravan()
        .run(&[
            "submit",
            &rows,
            "--system-file",
            &prompt,
            "--model",
            "simulated",
            "--user-template",
            "what is {q}?",
            "--param",
            "max_tokens=4",
            "--compress",
            "always",
            "--out",
            &out.to_string_lossy(),
        ])
        .await?;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let answers = std::fs::read_to_string(out)?;
    let answered = |line: &str| -> anyhow::Result<bool> {
        let line: Value = serde_json::from_str(line)?;
        let question = if line["custom_id"] == "a" { "what is one?" } else { "what is two, three?" };
        let text = line["response"]["body"]["choices"][0]["message"]["content"].as_str().unwrap_or_default();
        Ok(text.starts_with(&caravan_simulated_engine::answer_for(question)))
    };
    assert_eq!(answers.lines().map(answered).collect::<Result<Vec<_>, _>>()?, [true, true], "{answers}");
    Ok(())
}
