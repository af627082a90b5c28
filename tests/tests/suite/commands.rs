//! `caravan` from the outside: its lines, its files and its exit codes.

use anyhow::{Context as _, ensure};
use caravan_simulated_engine::{Options, SimulatedEngine, text_of};
use caravan_tests::{Caravan, Fleet, Input, LIMIT, Process, Up, signal};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Child,
    time::timeout,
};

#[tokio::test]
async fn a_batch_is_told_in_lines_of_json_and_answered_once() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options { answer_ms: 2, ..Options::default() })?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    let input = Input::chats(60, &text_of("system", 200));
    let submitted = up.caravan().submit(&input, &[]).await?;
    assert_eq!(submitted.code, 0, "{}", submitted.stderr);
    let id = submitted.lines[0]["batch"].as_str().context("no id")?.to_owned();
    assert!(id.len() == 38 && id.starts_with("batch_"), "{id}");
    assert_eq!(submitted.lines[0]["event"], "submitted");
    for line in &submitted.lines {
        assert_eq!((&line["batch"], line["state"].is_string()), (&Value::from(id.as_str()), true), "{line}");
    }
    let batch = submitted.batch();
    assert_eq!(batch["state"], "completed");
    assert_eq!(batch["requests"], serde_json::json!({"total": 60, "succeeded": 60, "failed": 0}));
    assert!(batch["chunks"]["total"].as_i64() > Some(0), "{batch}");
    assert_eq!(batch["chunks"]["total"], batch["chunks"]["done"]);
    assert_eq!(submitted.audit(&input)?.answered, 60);
    let counted = engine.stats();
    assert_eq!((counted.answers, counted.requests), (60, 60));
    assert!(counted.max_in_flight <= 4, "{}", counted.max_in_flight);
    let usage = &batch["usage"];
    assert_eq!(usage["prompt_tokens"].as_u64(), Some(counted.prompt_tokens));
    assert_eq!(usage["completion_tokens"].as_u64(), Some(counted.answer_tokens));

    let shown: Value = reqwest::get(format!("{}/v1/batches/{id}", up.http)).await?.json().await?;
    assert_eq!((&shown["status"], &shown["request_counts"]["completed"]), (&"completed".into(), &60.into()));
    Ok(())
}

#[tokio::test]
async fn results_stream_while_a_batch_runs_and_in_input_order_afterwards() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options { answer_ms: 2, ..Options::default() })?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    let input = Input::chats(300, "s");
    let id = submit(&up.caravan(), &input).await?;
    let followed = up.caravan().run(&["results", &id, "--follow", "--json"]).await?;
    assert_eq!(followed.code, 0, "{}", followed.stderr);
    let mut lines: Vec<_> = followed.json()?.iter().filter_map(|r| r["line"].as_u64()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=300).collect::<Vec<_>>());
    let ordered = up.caravan().run(&["results", &id, "--follow", "--ordered"]).await?;
    assert_eq!(caravan_tests::audit(&input, ordered.stdout.as_bytes(), b"")?.answered, 300);
    Ok(())
}

#[tokio::test]
async fn every_end_has_its_exit_code() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options::default())?;
    let mut up = Up::start(&[&engine.url()], 2, "").await?;
    let caravan = up.caravan();
    for wrong in [&["submit", "/nowhere/in.jsonl"][..], &["submit"], &["watch", "nonsense"], &["frobnicate"]]
    {
        assert_eq!(caravan.run(wrong).await?.code, 2, "{wrong:?}");
    }
    let bad = Input::chats(3, "s").line("no json");
    assert_eq!(caravan.submit(&bad, &[]).await?.code, 3);
    assert_eq!(caravan.submit(&bad, &["--on-invalid", "reject_line"]).await?.code, 4);
    assert_eq!(caravan.submit(&Input::chats(3, "s"), &[]).await?.code, 0);
    // The discard port: nobody listens there.
    let nobody = Caravan::new("http://127.0.0.1:9");
    assert_eq!(nobody.submit(&Input::chats(1, "s"), &[]).await?.code, 5);

    // Rows and objects in a directory are one process's.
    let directory = tempfile::tempdir()?;
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (data, ready) = (path("data"), path("ready.json"));
    let command = ["up", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data-dir", &data];
    let first = [&command[..], &["--ready-file", &ready]].concat();
    let mut first = Process::start("caravan", "first", directory.path(), first)?;
    first.ready(ready.as_ref()).await?;
    let taken = caravan.run(&command).await?;
    assert_eq!(taken.code, 64, "{}", taken.stderr);
    first.signal("TERM").await?;
    assert_eq!(first.ended().await?, Some(0));
    let config = tempfile::NamedTempFile::new()?;
    std::fs::write(config.path(), "enginez = []\n")?;
    let config = config.path().to_str().context("a path that is no text")?;
    let misspelt = caravan.run(&["up", "--config", config]).await?;
    assert_eq!(misspelt.code, 64, "{}", misspelt.stderr);
    assert!(misspelt.stderr.contains("enginez"), "{}", misspelt.stderr);

    up.process().signal("TERM").await?;
    assert_eq!(up.process().ended().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn an_interrupted_client_leaves_its_batch_running() -> anyhow::Result<()> {
    // Without an executor the batch cannot end before the signal comes.
    let fleet = Fleet::start("").await?;
    let input = Input::chats(20, "s");
    let (child, id) = watching(&fleet.caravan(), &input).await?;
    signal(child.id(), "INT").await?;
    let ended = timeout(LIMIT, child.wait_with_output()).await??;
    assert_eq!(ended.status.code(), Some(130));
    assert!(String::from_utf8_lossy(&ended.stderr).contains(&format!("caravan watch {id}")));
    let engine = SimulatedEngine::start(Options::default())?;
    let _executor = fleet.executor("first", &engine.url(), 4).await?;
    let watched = fleet.caravan().run(&["watch", &id, "--json"]).await?;
    assert_eq!(watched.code, 0, "{}", watched.stderr);
    assert_eq!(engine.stats().answers, 20);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_is_finished() -> anyhow::Result<()> {
    let engine = SimulatedEngine::start(Options { answer_ms: 100, ..Options::default() })?;
    let up = Up::start(&[&engine.url()], 2, "").await?;
    let input = Input::chats(2_000, "s");
    let (child, id) = watching(&up.caravan(), &input).await?;
    let api = up.api()?;
    let some = |batch: &caravan_proto::v1::Batch| batch.requests.is_some_and(|r| r.succeeded > 3);
    api.when(&id, "has answers", some).await?;
    assert_eq!(up.caravan().run(&["cancel", &id]).await?.code, 0);
    let ended = timeout(LIMIT, child.wait_with_output()).await??;
    assert_eq!(ended.status.code(), Some(6), "{}", String::from_utf8_lossy(&ended.stderr));
    let batch = api.get(&id).await?;
    assert_eq!(batch.state(), caravan_proto::v1::batch::State::Cancelled);
    let audit = api.audit(&input, &batch).await?;
    assert!(audit.answered > 3, "{}", audit.answered);
    ensure!(audit.failed.values().all(|code| code == "batch_cancelled"), "{:?}", audit.failed);
    let asked = engine.stats().requests as usize;
    assert!(audit.answered <= asked && asked < 1_000, "{} of {asked}", audit.answered);
    Ok(())
}

/// Submits without watching.
async fn submit(caravan: &Caravan, input: &Input) -> anyhow::Result<String> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), input.bytes())?;
    let path = file.path().to_str().context("a path that is no text")?;
    let submitted = caravan.run(&["submit", path]).await?;
    ensure!(submitted.code == 0, "{}", submitted.stderr);
    Ok(submitted.stdout.trim().to_owned())
}

/// Starts to submit and watch; returns once the batch has its id.
async fn watching(caravan: &Caravan, input: &Input) -> anyhow::Result<(Child, String)> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), input.bytes())?;
    let path = file.path().to_str().context("a path that is no text")?;
    let mut child = caravan.command(&["submit", path, "--watch", "--json"])?.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no stdout")?).lines();
    let first = timeout(LIMIT, lines.next_line()).await??.context("no first line")?;
    let first: Value = serde_json::from_str(&first)?;
    child.stdout = Some(lines.into_inner().into_inner());
    Ok((child, first["batch"].as_str().context("no id")?.to_owned()))
}
