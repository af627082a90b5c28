//! Batches over gRPC: idempotency, previews, watches and results that break off, pages, deletion.

use std::collections::BTreeSet;

use caravan_proto::{
    delta,
    v1::{
        Batch, CancelBatchRequest, CreateBatchRequest, DeleteBatchRequest, ListBatchesRequest,
        StreamResultsRequest, batch::State, stream_results_request::Order, watch_batch_response::Event,
    },
};
use caravan_simulated_engine::{Options, Running, SimulatedEngine};
use caravan_tests::{Api, Input, Up, reason};
use tonic::Code;

async fn up(answer_ms: u64) -> anyhow::Result<(Running, Up, Api)> {
    let engine = SimulatedEngine::start(Options { answer_ms, ..Options::default() })?;
    let up = Up::start(&[&engine.url()], 4, "").await?;
    let api = up.api()?;
    api.serves("simulated").await?;
    Ok((engine, up, api))
}

#[tokio::test]
async fn the_same_request_id_creates_one_batch() -> anyhow::Result<()> {
    let (engine, _up, api) = up(0).await?;
    let input = Input::chats(10, "s");
    let file = api.upload(input.bytes()).await?.name;
    let request = CreateBatchRequest {
        batch: Some(Batch { input_file: file, ..Batch::default() }),
        request_id: "only-once".into(),
        validate_only: false,
    };
    let first = api.batches().create_batch(request.clone()).await?.into_inner();
    let again = api.batches().create_batch(request.clone()).await?.into_inner();
    assert_eq!(first.name, again.name);
    let mut other = request;
    if let Some(batch) = &mut other.batch {
        batch.priority = 7;
    }
    let reused = api.batches().create_batch(other).await.unwrap_err();
    assert_eq!((reused.code(), reason(&reused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    let ended = api.ended(&first.name).await?;
    assert_eq!(api.audit(&input, &ended).await?.answered, 10);
    assert_eq!(engine.stats().requests, 10);
    Ok(())
}

/// Clients write fields in any order: their requests share less, and run all the same.
#[tokio::test]
async fn fields_may_stand_in_any_order() -> anyhow::Result<()> {
    let (_engine, _up, api) = up(0).await?;
    let chat = |id: &str, body: &str| {
        format!(r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{body}}}"#)
    };
    let messages = r#""messages":[{"role":"user","content":"hello"}]"#;
    let lines = [
        chat("a", &format!(r#"{{"model":"simulated",{messages}}}"#)),
        chat("b", &format!(r#"{{{messages},"model":"simulated"}}"#)),
        chat("c", &format!(r#"{{"model":"simulated", {messages} ,"max_tokens":3}}"#)),
    ];
    let file = api.upload(lines.join("\n").as_bytes()).await?.name;
    let request = CreateBatchRequest {
        batch: Some(Batch { input_file: file, ..Batch::default() }),
        ..CreateBatchRequest::default()
    };
    let batch = api.batches().create_batch(request).await?.into_inner();
    let ended = api.ended(&batch.name).await?;
    let requests = ended.requests.unwrap_or_default();
    assert_eq!((ended.state(), requests.succeeded), (State::Completed, 3), "{}", ended.state_message);
    Ok(())
}

#[tokio::test]
async fn a_preview_plans_and_creates_nothing() -> anyhow::Result<()> {
    let (engine, _up, api) = up(0).await?;
    let file = api.upload(Input::chats(100, "s").line("{").bytes()).await?.name;
    let batch = Batch { input_file: file, ..Batch::default() };
    let mut request = CreateBatchRequest { batch: Some(batch), validate_only: true, ..Default::default() };
    let rejected = api.batches().create_batch(request.clone()).await?.into_inner();
    assert_eq!((rejected.state(), rejected.line_errors[0].line), (State::Failed, 101));
    if let Some(batch) = &mut request.batch {
        batch.on_invalid = caravan_proto::v1::OnInvalid::RejectLine.into();
    }
    let planned = api.batches().create_batch(request).await?.into_inner();
    let plan = planned.plan.unwrap_or_default();
    assert_eq!((planned.name.as_str(), plan.requests, plan.rejected_lines), ("", 100, 1));
    assert!(plan.chunks > 0 && plan.savings > 0.0, "{plan:?}");
    let listed = api.batches().list_batches(ListBatchesRequest::default()).await?.into_inner();
    assert!(listed.batches.is_empty(), "{listed:?}");
    assert_eq!(engine.stats().requests, 0);
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_with_its_field() -> anyhow::Result<()> {
    let (_engine, _up, api) = up(0).await?;
    let good = Batch { input_file: api.upload(b"{}\n").await?.name, ..Batch::default() };
    let unknown = "files/file_00000000000000000000000000000000";
    for (batch, wanted) in [
        (None, "INVALID_ARGUMENT"),
        (Some(Batch { input_file: "nonsense".into(), ..good.clone() }), "INVALID_ARGUMENT"),
        (Some(Batch { priority: 101, ..good.clone() }), "INVALID_ARGUMENT"),
        (Some(Batch { endpoint: "/v1/nonsense".into(), ..good.clone() }), "INVALID_ARGUMENT"),
        (Some(Batch { state: State::Running.into(), ..good.clone() }), "INVALID_ARGUMENT"),
        (Some(Batch { strategy: 99, ..good.clone() }), "INVALID_ARGUMENT"),
        (Some(Batch { input_file: unknown.into(), ..good.clone() }), "FILE_NOT_FOUND"),
    ] {
        let said = format!("{batch:?}");
        let refused = api.batches().create_batch(CreateBatchRequest { batch, ..Default::default() }).await;
        assert_eq!(refused.map_err(|status| reason(&status)).err().as_deref(), Some(wanted), "{said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_that_breaks_off_is_resumed_and_misses_nothing() -> anyhow::Result<()> {
    let (_engine, _up, api) = up(5).await?;
    let input = Input::chats(400, "s");
    let name = api.create(&input, Batch::default()).await?.name;
    let (mut seen, mut token, mut connections, mut ended) = (Batch::default(), String::new(), 0, false);
    while !ended {
        let mut watch = api.watch(&name, &token).await?;
        connections += 1;
        // Two messages a connection, then it breaks.
        for _ in 0..2 {
            let Some(message) = watch.message().await? else { break };
            token = message.resume_token;
            match message.event {
                Some(Event::Snapshot(batch)) => {
                    assert!(batch.revision >= seen.revision, "time runs back");
                    seen = batch;
                }
                Some(Event::Delta(change)) => delta::apply(&mut seen, &change),
                Some(Event::Heartbeat(_)) | None => {}
            }
            ended = message.r#final;
            if ended {
                break;
            }
        }
    }
    assert!(connections > 1, "it broke off at least once");
    assert_eq!(seen, api.get(&name).await?, "snapshots and deltas amount to the batch");
    assert_eq!(seen.state(), State::Completed);
    let mut resumed = api.watch(&name, &token).await?;
    let last = resumed.message().await?;
    assert!(
        last.as_ref().is_none_or(|last| last.r#final && !matches!(last.event, Some(Event::Snapshot(_)))),
        "{last:?}"
    );
    let other = api.watch(&name, "nonsense").await.map(drop).unwrap_err();
    assert_eq!(reason(&other), "INVALID_RESUME_TOKEN");
    Ok(())
}

#[tokio::test]
async fn results_go_on_from_any_cursor_while_the_batch_runs() -> anyhow::Result<()> {
    let (_engine, _up, api) = up(5).await?;
    let input = Input::chats(500, "s");
    let name = api.create(&input, Batch::default()).await?.name;
    let request = |cursor: &str, order: Order| StreamResultsRequest {
        name: name.clone(),
        cursor: cursor.to_owned(),
        order: order.into(),
        follow: true,
    };
    let (mut lines, mut broken_off) = (BTreeSet::new(), 0);
    // Each cursor, with the results that stand before it.
    let mut cursors = vec![(String::new(), 0)];
    let mut ended = false;
    while !ended {
        let (cursor, _) = cursors.last().cloned().unwrap_or_default();
        let mut results = api.results(request(&cursor, Order::Committed)).await?;
        while let Some(page) = results.message().await? {
            let some = !page.results.is_empty();
            for result in &page.results {
                assert!(lines.insert(result.line), "line {} twice", result.line);
            }
            cursors.push((page.cursor, lines.len()));
            ended = page.r#final;
            if some && !ended {
                broken_off += 1;
                break;
            }
        }
    }
    assert!(broken_off > 0);
    assert_eq!(lines, (1..=500).collect());
    // From a cursor in the middle: exactly what came behind it, however it is cut into pages now.
    let (middle, before) = &cursors[cursors.len() / 2];
    let mut results = api.results(request(middle, Order::Committed)).await?;
    let mut behind = 0;
    while let Some(page) = results.message().await? {
        behind += page.results.len();
    }
    assert_eq!(before + behind, 500, "{before} before, {behind} behind");

    let mut ordered = api.results(request("", Order::Input)).await?;
    let mut text = String::new();
    while let Some(page) = ordered.message().await? {
        page.results.iter().for_each(|result| text.extend([&result.json, "\n"]));
    }
    assert_eq!(text.into_bytes(), api.download(&api.get(&name).await?.output_file).await?);
    let wrong = api.results(request(middle, Order::Input)).await.map(drop).unwrap_err();
    assert_eq!(reason(&wrong), "INVALID_CURSOR");
    Ok(())
}

#[tokio::test]
async fn batches_are_listed_in_pages_and_deleted_once_ended() -> anyhow::Result<()> {
    let (_engine, _up, api) = up(200).await?;
    let mut names = Vec::new();
    for _ in 0..5 {
        names.insert(0, api.create(&Input::chats(1_000, "s"), Batch::default()).await?.name);
    }
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListBatchesRequest { page_size: 2, page_token, states: Vec::new() };
        let page = api.batches().list_batches(request).await?.into_inner();
        listed.extend(page.batches.into_iter().map(|batch| batch.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, names);
    let name = names[2].clone();
    // Before that nothing is known of its requests, and nothing can be said of them.
    api.when(&name, "is planned", |batch| batch.plan.is_some()).await?;
    let early = api.batches().delete_batch(DeleteBatchRequest { name: name.clone() }).await.unwrap_err();
    assert_eq!((early.code(), reason(&early).as_str()), (Code::FailedPrecondition, "BATCH_NOT_ENDED"));
    api.batches().cancel_batch(CancelBatchRequest { name: name.clone() }).await?;
    let ended = api.ended(&name).await?;
    assert_eq!(ended.state(), State::Cancelled);
    let request = ListBatchesRequest { states: vec![State::Cancelled.into()], ..Default::default() };
    let cancelled = api.batches().list_batches(request).await?.into_inner().batches;
    assert_eq!((cancelled.len(), &cancelled[0].name), (1, &name));
    // Cancelling an ended batch changes nothing.
    let again = api.batches().cancel_batch(CancelBatchRequest { name: name.clone() }).await?.into_inner();
    assert_eq!(again, ended);
    api.batches().delete_batch(DeleteBatchRequest { name: name.clone() }).await?;
    assert_eq!(reason(&api.get(&name).await.unwrap_err()), "BATCH_NOT_FOUND");
    let file = api.download(&ended.error_file).await.unwrap_err();
    assert!(file.to_string().contains("file"), "{file}");
    Ok(())
}
