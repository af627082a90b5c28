//! Batches that are cancelled, paused, resumed, expired and retried.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use caravan_proto::v1::{
    Batch, CancelBatchRequest, ChunkLimits, DeleteBatchRequest, DeleteFileRequest, GetFileRequest, OnInvalid,
    PauseBatchRequest, ResumeBatchRequest, RetryBatchRequest, StreamResultsRequest, batch::State,
    retry_batch_request::Kind, watch_batch_response::Event,
};
use caravan_simulated_engine::{Options, Running, SimulatedEngine};
use caravan_tests::{Api, Fleet, Input, Up, reason, until};
use serde_json::Value;

const SLOTS: usize = 4;
/// An answer that no test waits for.
const ENDLESS_MS: u64 = 600_000;
/// What an engine may go on with a batch that is cancelled or has expired.
const STOP: Duration = Duration::from_secs(2);

fn engine(answer_ms: u64) -> anyhow::Result<Running> {
    Ok(SimulatedEngine::start(Options { slots: SLOTS, answer_ms, ..Options::default() })?)
}

fn chunks_of(max_requests: i32) -> Batch {
    Batch { chunk_limits: Some(ChunkLimits { max_requests, max_seconds: 0.0 }), ..Batch::default() }
}

fn window(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

async fn busy(engine: &Running) -> anyhow::Result<()> {
    until("every slot is at work", async || match engine.stats().in_flight {
        in_flight if in_flight == SLOTS as u64 => Ok(()),
        in_flight => Err(format!("{in_flight} in flight")),
    })
    .await
}

async fn idle(engine: &Running) -> anyhow::Result<()> {
    until("the engine is idle", async || match engine.stats().in_flight {
        0 => Ok(()),
        in_flight => Err(format!("{in_flight} in flight")),
    })
    .await
}

async fn cancel(api: &Api, name: &str) -> anyhow::Result<Batch> {
    Ok(api.batches().cancel_batch(CancelBatchRequest { name: name.into() }).await?.into_inner())
}

async fn pause(api: &Api, name: &str) -> Result<Batch, tonic::Status> {
    let request = PauseBatchRequest { name: name.into() };
    Ok(api.batches().pause_batch(request).await?.into_inner())
}

async fn resume(api: &Api, name: &str) -> Result<Batch, tonic::Status> {
    let request = ResumeBatchRequest { name: name.into() };
    Ok(api.batches().resume_batch(request).await?.into_inner())
}

async fn retry(api: &Api, name: &str, kinds: &[Kind], key: &str) -> Result<Batch, tonic::Status> {
    let kinds = kinds.iter().map(|kind| (*kind).into()).collect();
    let request = RetryBatchRequest { name: name.into(), kinds, request_id: key.into() };
    Ok(api.batches().retry_batch(request).await?.into_inner())
}

#[tokio::test]
async fn cancelling_stops_engines_at_once_and_ends_streams() -> anyhow::Result<()> {
    let (engine, fleet) = (engine(ENDLESS_MS)?, Fleet::start("").await?);
    let _executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    let (api, input) = (fleet.api()?, Input::chats(100, "s"));
    let name = api.create(&input, chunks_of(5)).await?.name;
    busy(&engine).await?;
    let mut watch = api.watch(&name, "").await?;
    let follow = StreamResultsRequest { name: name.clone(), follow: true, ..Default::default() };
    let mut results = api.results(follow).await?;

    let begun = Instant::now();
    cancel(&api, &name).await?;
    idle(&engine).await?;
    let stopped = begun.elapsed();
    let ended = api.ended(&name).await?;
    println!("engine idle {stopped:?} after CancelBatch, batch ended after {:?}", begun.elapsed());
    ensure!(stopped < STOP, "the last request in flight went on for {stopped:?}");
    assert_eq!(ended.state(), State::Cancelled);
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.failed.len() == 100 && audit.failed.values().all(|code| code == "batch_cancelled"));

    let (mut last, mut streamed, mut complete) = (State::Unspecified, 0, false);
    while let Some(message) = watch.message().await? {
        match message.event {
            Some(Event::Snapshot(batch)) => last = batch.state(),
            Some(Event::Delta(delta)) => last = delta.batch.context("no batch")?.state(),
            _ => {}
        }
    }
    while let Some(page) = results.message().await? {
        (streamed, complete) = (streamed + page.results.len(), page.r#final);
    }
    assert_eq!((last, streamed, complete), (State::Cancelled, 100, true));
    Ok(())
}

#[tokio::test]
async fn a_paused_batch_finishes_what_runs_and_goes_on_when_resumed() -> anyhow::Result<()> {
    let (engine, fleet) = (engine(30)?, Fleet::start("").await?);
    let _executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    let (api, input) = (fleet.api()?, Input::chats(200, "s"));
    let name = api.create(&input, chunks_of(50)).await?.name;
    let some = |batch: &Batch| batch.requests.is_some_and(|requests| requests.succeeded > 5);
    api.when(&name, "has answers", some).await?;
    let asked_before = engine.stats().requests;
    assert_eq!(pause(&api, &name).await?.state(), State::Paused);
    let held = api.when(&name, "has no lease", |batch| batch.chunks.is_some_and(|c| c.running == 0)).await?;
    assert_eq!(held.state(), State::Paused);
    idle(&engine).await?;
    let asked = engine.stats();
    ensure!(asked.requests == asked.answers, "what runs is finished: {asked:?}");
    // A request a slot, and those that were begun before the executor heard of it.
    ensure!(asked.requests - asked_before < 50, "{} more were begun", asked.requests - asked_before);
    let finished = i64::try_from(asked.answers)?;
    let counted = |batch: &Batch| batch.requests.is_some_and(|requests| requests.succeeded == finished);
    api.when(&name, "counts what was finished", counted).await?;
    // Another executor gets nothing of it either.
    let other = Options { slots: SLOTS, answer_ms: 1, ..Options::default() };
    let other = SimulatedEngine::start(other)?;
    let _second = fleet.executor("second", &other.url(), SLOTS).await?;
    api.serves_on("simulated", 2).await?;
    assert_eq!(pause(&api, &name).await?.state(), State::Paused, "again");
    assert_eq!(other.stats().requests, 0);

    assert_eq!(resume(&api, &name).await?.state(), State::Running);
    let ended = api.ended(&name).await?;
    assert_eq!(api.audit(&input, &ended).await?.answered, 200);
    assert_eq!(engine.stats().answers + other.stats().answers, 200, "nothing ran twice");
    for refused in [pause(&api, &name).await, resume(&api, &name).await] {
        assert_eq!(reason(&refused.unwrap_err()), "BATCH_ENDED");
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_is_paused_before_anything_of_it_runs() -> anyhow::Result<()> {
    let engine = engine(1)?;
    let fleet = Fleet::start("").await?;
    let (api, input) = (fleet.api()?, Input::chats(20, "s"));
    let name = api.create(&input, Batch::default()).await?.name;
    // Validating, planning or queued: whatever it is at this moment.
    pause(&api, &name).await?;
    api.when(&name, "is paused", |batch| batch.state() == State::Paused).await?;
    let _executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    api.serves("simulated").await?;
    let shown = fleet.caravan().run(&["get", &name]).await?;
    assert!(shown.stdout.contains("paused"), "{}", shown.stdout);
    let told = fleet.caravan().run(&["resume", &name]).await?;
    assert_eq!(told.code, 0, "{}", told.stderr);
    assert_eq!(api.ended(&name).await?.state(), State::Completed);

    let name = api.create(&input, Batch::default()).await?.name;
    assert_eq!(fleet.caravan().run(&["pause", &name]).await?.code, 0);
    cancel(&api, &name).await?;
    assert_eq!(api.ended(&name).await?.state(), State::Cancelled, "a paused batch is cancelled");
    Ok(())
}

#[tokio::test]
async fn a_completion_window_ends_a_batch_and_keeps_what_is_done() -> anyhow::Result<()> {
    // Some answers come in time, one a slot never does.
    let engine = engine(400)?;
    let up = Up::start(&[&engine.url()], SLOTS, "").await?;
    let (api, input) = (up.api()?, Input::chats(100, "s"));
    api.serves("simulated").await?;
    let policy = Batch { completion_window: window(3), ..chunks_of(5) };
    let created = api.create(&input, policy).await?;
    let expires = created.expire_time.context("no expire_time")?;
    assert_eq!(expires.seconds, created.create_time.context("no create_time")?.seconds + 3);
    let begun = Instant::now();
    let ended = api.ended(&created.name).await?;
    let took = begun.elapsed();
    println!("expired after {took:?} of a window of 3 s");
    idle(&engine).await?;
    assert_eq!((ended.state(), ended.expire_time), (State::Expired, Some(expires)));
    let audit = api.audit(&input, &ended).await?;
    ensure!(audit.answered > 0, "nothing was answered in 3 s");
    ensure!(audit.failed.values().all(|code| code == "batch_expired"), "{:?}", audit.failed);

    let id = created.name.trim_start_matches("batches/");
    let shown: Value = reqwest::get(format!("{}/v1/batches/{id}", up.http)).await?.json().await?;
    assert_eq!((&shown["status"], &shown["completion_window"]), (&"expired".into(), &"3s".into()));
    assert_eq!(shown["expires_at"], expires.seconds);
    assert!(shown["expired_at"].as_i64() >= Some(expires.seconds), "{shown}");
    let watched = up.caravan().run(&["watch", id]).await?;
    assert_eq!(watched.code, 6, "{}", watched.stderr);
    Ok(())
}

#[tokio::test]
async fn an_expired_batch_stops_its_engines_and_ends_paused_or_waiting() -> anyhow::Result<()> {
    let (engine, fleet) = (engine(ENDLESS_MS)?, Fleet::start("").await?);
    let (api, input) = (fleet.api()?, Input::chats(10, "s"));
    // No engine has its model, and one is held: both expire all the same.
    let short = Batch { completion_window: window(2), ..Batch::default() };
    let waiting = api.create(&input, Batch { model: "simulated".into(), ..short.clone() }).await?;
    let paused = api.create(&input, short.clone()).await?;
    pause(&api, &paused.name).await?;
    for batch in [&waiting, &paused] {
        let ended = api.ended(&batch.name).await?;
        assert_eq!(ended.state(), State::Expired);
        let failed = api.audit(&input, &ended).await?.failed;
        ensure!(failed.len() == 10 && failed.values().all(|code| code == "batch_expired"), "{failed:?}");
    }

    let _executor = fleet.executor("first", &engine.url(), SLOTS).await?;
    api.serves("simulated").await?;
    let running = api.create(&input, Batch { completion_window: window(4), ..chunks_of(2) }).await?;
    busy(&engine).await?;
    api.when(&running.name, "has expired", |batch| batch.state() != State::Running).await?;
    let begun = Instant::now();
    idle(&engine).await?;
    ensure!(begun.elapsed() < STOP, "the last request in flight went on for {:?}", begun.elapsed());
    assert_eq!(api.ended(&running.name).await?.state(), State::Expired);

    for seconds in [0, -1, 366 * 86_400] {
        let policy = Batch { completion_window: window(seconds), ..Batch::default() };
        assert_eq!(reason(&api.create(&input, policy).await.unwrap_err()), "INVALID_ARGUMENT");
    }
    Ok(())
}

/// A batch of `input` that was cancelled with some of it answered.
async fn cancelled(api: &Api, input: &Input) -> anyhow::Result<Batch> {
    let policy = Batch { on_invalid: OnInvalid::RejectLine.into(), ..chunks_of(10) };
    let name = api.create(input, policy).await?.name;
    let some = |batch: &Batch| batch.requests.is_some_and(|requests| requests.succeeded > 5);
    api.when(&name, "has answers", some).await?;
    cancel(api, &name).await?;
    api.ended(&name).await
}

#[tokio::test]
async fn a_retry_runs_what_has_no_answer_and_nothing_else() -> anyhow::Result<()> {
    let engine = engine(20)?;
    let up = Up::start(&[&engine.url()], SLOTS, "").await?;
    let api = up.api()?;
    // The last line has no line end, and an invalid one stands in the middle.
    let input = Input::chats(600, "s").line("no json").chat("last", "s", "marker=last what?");
    let input = input.with_bytes(|mut bytes| {
        bytes.pop();
        bytes
    });
    let old = cancelled(&api, &input).await?;
    let before = api.audit(&input, &old).await?;
    let open: Vec<u64> =
        before.failed.iter().filter(|(_, code)| *code == "batch_cancelled").map(|(l, _)| *l).collect();
    ensure!(!open.is_empty() && before.answered > 0, "{before:?}");
    let answers = engine.stats().markers;

    let none = retry(&api, &old.name, &[Kind::Expired], "").await.unwrap_err();
    assert_eq!(reason(&none), "NOTHING_TO_RETRY");
    let new = retry(&api, &old.name, &[], "again").await?;
    assert_eq!((&new.retried_from, new.strategy), (&old.name, old.strategy));
    assert_eq!(retry(&api, &old.name, &[], "again").await?.name, new.name, "the same key");
    let other = retry(&api, &old.name, &[Kind::Cancelled], "again").await.unwrap_err();
    assert_eq!(reason(&other), "REQUEST_ID_REUSED");
    // From the moment that it is planned it needs neither the old batch nor the old input.
    api.when(&new.name, "is planned", |batch| batch.plan.is_some()).await?;
    assert_eq!(api.get(&old.name).await?.retries, std::slice::from_ref(&new.name));
    api.batches().delete_batch(DeleteBatchRequest { name: old.name.clone() }).await?;
    api.files().delete_file(DeleteFileRequest { name: old.input_file.clone() }).await?;

    let ended = api.ended(&new.name).await?;
    assert_eq!((ended.state(), &ended.retried_from), (State::Completed, &old.name));
    let copied = api.download(&ended.input_file).await?;
    let lines: Vec<&str> = std::str::from_utf8(input.bytes())?.lines().collect();
    let wanted: String = open.iter().map(|line| format!("{}\n", lines[*line as usize - 1])).collect();
    ensure!(copied == wanted.as_bytes(), "the lines as they were, in their order");
    let output = api.download(&ended.output_file).await?;
    let answered: Vec<Value> =
        std::str::from_utf8(&output)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ids: Vec<_> = answered.iter().map(|line| line["custom_id"].as_str().unwrap_or_default()).collect();
    let expected: Vec<String> = open
        .iter()
        .map(|l| input.expected()[*l as usize - 1].custom_id.clone().unwrap_or_default())
        .collect();
    assert_eq!(ids, expected);
    let again = engine.stats().markers;
    let answered = input.expected().iter().filter(|line| !open.contains(&line.line));
    let twice =
        answered.filter_map(|line| line.custom_id.as_ref()).find(|id| again.get(*id) != answers.get(*id));
    assert_eq!(twice, None, "it was run again, and had an answer");

    api.batches().delete_batch(DeleteBatchRequest { name: ended.name }).await?;
    let file = api.files().get_file(GetFileRequest { name: ended.input_file }).await.unwrap_err();
    assert_eq!(reason(&file), "FILE_NOT_FOUND", "its input goes with it");
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_retried_says_why() -> anyhow::Result<()> {
    let engine = engine(1)?;
    let up = Up::start(&[&engine.url()], SLOTS, "").await?;
    let (api, caravan) = (up.api()?, up.caravan());
    api.serves("simulated").await?;
    let input = Input::chats(5, "s");
    let rejecting = Batch { on_invalid: OnInvalid::RejectLine.into(), ..Batch::default() };
    let refused = async |name: &str, kinds: &[Kind]| -> anyhow::Result<String> {
        Ok(reason(&retry(&api, name, kinds, "").await.err().context("not refused")?))
    };
    let done = api.ended(&api.create(&input, Batch::default()).await?.name).await?;
    assert_eq!(refused(&done.name, &[]).await?, "NOTHING_TO_RETRY", "all is answered");
    let bad = input.clone().line("no json");
    let rejected = api.ended(&api.create(&bad, Batch::default()).await?.name).await?;
    assert_eq!(refused(&rejected.name, &[Kind::Rejected]).await?, "NOTHING_TO_RETRY", "as a whole");
    let some = api.ended(&api.create(&bad, rejecting).await?.name).await?;
    assert_eq!(refused(&some.name, &[]).await?, "NOTHING_TO_RETRY", "rejected lines are not meant");
    let again = retry(&api, &some.name, &[Kind::Rejected], "").await?;
    let again = api.ended(&again.name).await?;
    assert_eq!(api.download(&again.input_file).await?, b"no json\n", "unless asked for");

    let nobody = Input::new().request(
        "a",
        "/v1/chat/completions",
        serde_json::json!({"model": "nobody", "messages": [{"role": "user", "content": "?"}]}),
        None,
    );
    let open = api.create(&nobody, Batch::default()).await?;
    assert_eq!(refused(&open.name, &[]).await?, "BATCH_NOT_ENDED");
    cancel(&api, &open.name).await?;
    let ended = api.ended(&open.name).await?;
    // By the command, to the end: cancelled once more, so that it ends.
    let retried = caravan.run(&["retry", &ended.name, "--only", "cancelled,failed"]).await?;
    assert_eq!(retried.code, 0, "{}", retried.stderr);
    let second = format!("batches/{}", retried.stdout.trim());
    api.when(&second, "is planned", |batch| batch.plan.is_some()).await?;
    let shown = caravan.run(&["get", &ended.name]).await?;
    assert!(shown.stdout.contains(retried.stdout.trim()), "{}", shown.stdout);
    api.files().delete_file(DeleteFileRequest { name: ended.input_file.clone() }).await?;
    assert_eq!(refused(&ended.name, &[]).await?, "INPUT_DELETED");
    assert_eq!(refused("batches/batch_00000000000000000000000000000000", &[]).await?, "BATCH_NOT_FOUND");
    Ok(())
}
