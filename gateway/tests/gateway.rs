//! The gateway between a client and a planner that plays a script.
#![expect(clippy::expect_used, reason = "what fails here fails the test")]

mod planner;

use std::time::Duration;

use caravan_gateway::Options;
use caravan_proto::{
    MAX_MESSAGE_BYTES,
    error::{reason, retry_delay},
    name::{BatchId, FileId},
    v1::{
        Batch, CancelBatchRequest, ChunkCounts, CreateBatchRequest, GetBatchRequest, Progress, RequestCounts,
        StreamResultsRequest, UploadChunk, UploadFileRequest, WatchBatchRequest, batch::State,
        batch_service_client::BatchServiceClient, file_service_client::FileServiceClient,
        upload_file_request::Part,
    },
};
use caravan_service::{
    Shutdown, client,
    compression::{ACCEPTED, Compression},
};
use futures::{StreamExt as _, stream};
use planner::{Planner, Upload};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::timeout};
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt as _;

const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway in front of a planner, with a client's channel to it.
struct Edge {
    planner: Planner,
    planner_shutdown: Shutdown,
    channel: Channel,
    http: String,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

async fn edge() -> Edge {
    edge_with(Options::default()).await
}

async fn edge_with(options: Options) -> Edge {
    let planner = Planner::new(batch());
    let mut tasks = JoinSet::new();
    let (url, planner_shutdown) = planner.serve(&mut tasks).await;
    let (channel, http, shutdown) = gateway(&[url], options, &mut tasks).await;
    Edge { planner, planner_shutdown, channel, http, shutdown, tasks }
}

async fn gateway(
    planners: &[String],
    options: Options,
    tasks: &mut JoinSet<()>,
) -> (Channel, String, Shutdown) {
    let options = Options {
        listen: "127.0.0.1:0".into(),
        http_listen: "127.0.0.1:0".into(),
        planner: planners.iter().map(|url| url.parse().expect("a URL")).collect(),
        ..options
    };
    let service = options.build().await.expect("a gateway");
    let grpc = service.addresses().grpc.clone().expect("it serves gRPC").parse().expect("a URL");
    let http = service.addresses().http.clone().expect("it serves HTTP");
    let channel = client::channel(&[grpc], &client::Options::default()).expect("a channel");
    let shutdown = Shutdown::new(PATIENCE);
    let handle = shutdown.clone();
    tasks.spawn(async move { service.run(handle).await.expect("the gateway serves") });
    (channel, http, shutdown)
}

fn batch() -> Batch {
    Batch {
        name: BatchId::now().name(),
        input_file: FileId::now().name(),
        endpoint: "/v1/chat/completions".into(),
        state: State::Running.into(),
        requests: Some(RequestCounts { total: 10, succeeded: 4, failed: 1 }),
        chunks: Some(ChunkCounts { total: 3, done: 1, running: 1 }),
        completion_window: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        create_time: Some(prost_types::Timestamp { seconds: 1000, nanos: 5 }),
        expire_time: Some(prost_types::Timestamp { seconds: 87_400, nanos: 5 }),
        metadata: [("team".to_owned(), "search".to_owned())].into(),
        progress: Some(Progress {
            requests_per_second: 2.0,
            tokens_per_second: 90.5,
            remaining: Some(prost_types::Duration { seconds: 42, nanos: 0 }),
        }),
        ..Batch::default()
    }
}

async fn get(url: String) -> (u16, Value) {
    let answer = reqwest::get(url).await.expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test]
async fn a_call_goes_through_with_trace_and_deadline_but_without_credentials() {
    let edge = edge().await;
    let mut request = Request::new(GetBatchRequest { name: edge.planner.batch.name.clone() });
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", trace.parse().expect("a value"));
    request.metadata_mut().insert("authorization", "Bearer secret".parse().expect("a value"));
    request.set_timeout(PATIENCE);
    let answer = BatchServiceClient::new(edge.channel).get_batch(request).await.expect("an answer");
    assert_eq!(answer.get_ref(), edge.planner.batch.as_ref());
    let seen = edge.planner.metadata.borrow().clone();
    assert_eq!(seen.get("traceparent").map(|v| v.as_bytes()), Some(trace.as_bytes()));
    assert!(seen.get("grpc-timeout").is_some(), "{seen:?}");
    assert!(seen.get("authorization").is_none(), "{seen:?}");
}

#[tokio::test]
async fn an_error_keeps_its_details_and_metadata() {
    let edge = edge().await;
    let mut client = BatchServiceClient::new(edge.channel);
    let status =
        client.get_batch(GetBatchRequest { name: "batches/x".into() }).await.expect_err("no such batch");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such batch"));
    let info = status.get_details_error_info().expect("an ErrorInfo");
    assert_eq!((info.reason.as_str(), info.metadata["name"].as_str()), ("BATCH_NOT_FOUND", "batches/x"));
    assert_eq!(status.metadata().get("x-note").map(|v| v.as_bytes()), Some(b"kept".as_slice()));
}

#[tokio::test]
async fn a_server_stream_goes_through_to_its_error() {
    let edge = edge().await;
    let stream = BatchServiceClient::new(edge.channel).stream_results(StreamResultsRequest::default()).await;
    let mut items: Vec<_> = stream.expect("a stream").into_inner().collect().await;
    let status = items.pop().expect("an end").expect_err("the error at its end");
    assert_eq!(reason(&status).as_deref(), Some("BATCH_NOT_FOUND"));
    let cursors: Vec<_> = items.into_iter().map(|item| item.expect("a message").cursor).collect();
    assert_eq!(cursors, ["1", "2", "3"]);
}

#[tokio::test]
async fn an_open_stream_ends_with_unavailable_at_shutdown() {
    let mut edge = edge().await;
    let name = edge.planner.batch.name.clone();
    let request = WatchBatchRequest { name, ..Default::default() };
    let watch = BatchServiceClient::new(edge.channel).watch_batch(request).await;
    let mut watch = watch.expect("a stream").into_inner();
    watch.message().await.expect("the snapshot");
    edge.shutdown.trigger();
    let status = watch.message().await.expect_err("the gateway leaves");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(retry_delay(&status).is_some(), "{status:?}");
    drop(watch);
    timeout(PATIENCE, edge.tasks.join_next())
        .await
        .expect("the gateway ends")
        .expect("it ran")
        .expect("well");
}

#[tokio::test]
async fn a_planner_that_goes_away_in_a_stream_is_unavailable() {
    let edge = edge_with(Options { resume_seconds: 0, ..Options::default() }).await;
    let name = edge.planner.batch.name.clone();
    let request = WatchBatchRequest { name, ..Default::default() };
    let watch = BatchServiceClient::new(edge.channel).watch_batch(request).await;
    let mut watch = watch.expect("a stream").into_inner();
    watch.message().await.expect("the snapshot");
    edge.planner_shutdown.trigger();
    let status = watch.message().await.expect_err("the planner left");
    assert_eq!(reason(&status).as_deref(), Some("UNAVAILABLE"), "{status:?}");
}

#[tokio::test]
async fn calls_and_streams_go_on_with_another_planner() {
    let mut tasks = JoinSet::new();
    let one = Planner::new(batch());
    let other = Planner::new(Batch { revision: 2, ..Batch::clone(&one.batch) });
    let (one_url, one_stops) = one.serve(&mut tasks).await;
    let (other_url, _other) = other.serve(&mut tasks).await;
    let (channel, _http, _stops) = gateway(&[one_url, other_url], Options::default(), &mut tasks).await;
    let mut client = BatchServiceClient::new(channel);
    let name = one.batch.name.clone();
    let request = WatchBatchRequest { name: name.clone(), ..Default::default() };
    let mut watch = client.watch_batch(request).await.expect("a stream").into_inner();
    watch.message().await.expect("the snapshot");
    // One let the subscriber in, the other is everybody's.
    timeout(PATIENCE, one.tokens.subscribe().wait_for(|tokens| tokens.len() == 2))
        .await
        .expect("in time")
        .expect("a planner");
    assert!(other.tokens.borrow().is_empty(), "the first is preferred");

    one_stops.trigger();
    let next = timeout(PATIENCE, watch.message()).await.expect("in time").expect("no break is seen");
    assert_eq!(next.expect("a message").resume_token, other.token(2));
    assert_eq!(*other.tokens.borrow(), [one.token(0)], "where it stood");
    client.get_batch(GetBatchRequest { name: name.clone() }).await.expect("an answer of the other");
    client.cancel_batch(CancelBatchRequest { name }).await.expect("what was not sent goes elsewhere too");
}

#[tokio::test]
async fn an_upload_goes_through() {
    let edge = edge().await;
    let parts = stream::iter(vec![UploadFileRequest::default(); 3]);
    let file = FileServiceClient::new(edge.channel).upload_file(parts).await.expect("a file");
    assert_eq!(file.get_ref().name, "files/file_1");
    assert_eq!(*edge.planner.upload.borrow(), Upload::Complete(3));
}

#[tokio::test]
async fn either_side_is_compressed_without_the_other() {
    for (upstream, compressed) in [(Compression::Always, false), (Compression::Never, true)] {
        let edge = edge_with(Options { compression: upstream, ..Options::default() }).await;
        let (mut files, mut batches) =
            (FileServiceClient::new(edge.channel.clone()), BatchServiceClient::new(edge.channel));
        if compressed {
            files = files.send_compressed(ACCEPTED).accept_compressed(ACCEPTED);
            batches = batches.send_compressed(ACCEPTED).accept_compressed(ACCEPTED);
        }
        files.upload_file(stream::iter(vec![UploadFileRequest::default(); 3])).await.expect("a file");
        let request = GetBatchRequest { name: edge.planner.batch.name.clone() };
        let answer = batches.get_batch(request).await.expect("an answer");
        assert_eq!(answer.get_ref(), &*edge.planner.batch);
        assert_eq!(answer.metadata().get("grpc-encoding").is_some(), compressed);
        let asked = edge.planner.metadata.borrow().get("grpc-encoding").is_some();
        assert_eq!(asked, upstream == Compression::Always);
        let mut results =
            batches.stream_results(StreamResultsRequest::default()).await.expect("a stream").into_inner();
        assert_eq!(results.message().await.expect("a message").expect("the first").cursor, "1");
    }
}

#[tokio::test]
async fn what_unpacks_to_more_than_a_message_may_have_is_refused() {
    let edge = edge().await;
    let bomb = UploadChunk { offset: 0, data: vec![0; MAX_MESSAGE_BYTES + 1].into() };
    let parts = stream::iter([UploadFileRequest { part: Some(Part::Chunk(bomb)) }]);
    let refused = FileServiceClient::new(edge.channel).send_compressed(ACCEPTED).upload_file(parts).await;
    assert_eq!(refused.expect_err("a bomb").code(), Code::InvalidArgument);
    assert!(!matches!(*edge.planner.upload.borrow(), Upload::Complete(_)));
}

#[tokio::test]
async fn an_upload_that_breaks_never_looks_complete() {
    let mut edge = edge().await;
    let parts = stream::iter(vec![UploadFileRequest::default(); 2]).chain(stream::pending());
    let mut client = FileServiceClient::new(edge.channel);
    let call = edge.tasks.spawn(async move {
        let _ = client.upload_file(parts).await;
    });
    let mut upload = edge.planner.upload.subscribe();
    timeout(PATIENCE, upload.wait_for(|u| *u == Upload::Open(2)))
        .await
        .expect("two parts")
        .expect("a planner");
    call.abort();
    let end = timeout(PATIENCE, upload.wait_for(|u| !matches!(u, Upload::Open(_)))).await;
    assert_eq!(*end.expect("an end").expect("a planner"), Upload::Broken);
}

#[tokio::test]
async fn a_planner_that_is_not_there_is_unavailable_with_a_time_to_retry() {
    let mut tasks = JoinSet::new();
    // Bound and dropped: nobody listens there.
    let nobody = caravan_service::listen::bind("127.0.0.1:0").await.expect("a free port").url();
    let (channel, http, _shutdown) = gateway(&[nobody], Options::default(), &mut tasks).await;
    let status = BatchServiceClient::new(channel).get_batch(GetBatchRequest::default()).await;
    let status = status.expect_err("no planner");
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::Unavailable, Some("UNAVAILABLE")));
    assert!(retry_delay(&status).is_some(), "{status:?}");

    assert_eq!(get(format!("{http}/healthz")).await.0, 200);
    assert_eq!(get(format!("{http}/readyz")).await.0, 503);
    let (status, body) = get(format!("{http}/v1/batches/{}", BatchId::now())).await;
    assert_eq!((status, &body["error"]["type"]), (503, &json!("server_error")));
}

#[tokio::test]
async fn a_deadline_is_the_clients_own() {
    let edge = edge().await;
    let mut request = Request::new(CreateBatchRequest::default());
    request.set_timeout(Duration::from_millis(50));
    let status = BatchServiceClient::new(edge.channel).create_batch(request).await.expect_err("it hangs");
    // CANCELLED is what tonic's client says of its own timer, if that is first.
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
}

#[tokio::test]
async fn a_batch_reads_as_openais() {
    let edge = edge().await;
    assert_eq!(get(format!("{}/readyz", edge.http)).await.0, 200);
    let id = edge.planner.batch.name.strip_prefix("batches/").expect("a name").to_owned();
    let file = edge.planner.batch.input_file.strip_prefix("files/").expect("a name");
    let (status, body) = get(format!("{}/v1/batches/{id}", edge.http)).await;
    assert_eq!(status, 200);
    let expected = json!({
        "id": id, "object": "batch", "endpoint": "/v1/chat/completions", "errors": null,
        "input_file_id": file, "completion_window": "24h", "status": "in_progress",
        "output_file_id": null, "error_file_id": null,
        "created_at": 1000, "in_progress_at": null, "expires_at": 87_400, "finalizing_at": null,
        "completed_at": null, "failed_at": null, "expired_at": null, "cancelling_at": null, "cancelled_at": null,
        "request_counts": { "total": 10, "completed": 4, "failed": 1 },
        "metadata": { "team": "search" },
        "model": null, "usage": null,
        "x_caravan": {
            "state": "running", "state_reason": null, "state_message": null,
            "strategy": "unspecified", "on_invalid": "unspecified", "priority": 0,
            "progress": {
                "chunk": 2, "chunks": 3, "chunks_done": 1, "chunks_running": 1,
                "eta_seconds": 42, "requests_per_second": 2.0, "tokens_per_second": 90.5,
            },
            "cache_share": null, "plan": null, "line_error_count": 0, "pinned_models": [],
            "retention_seconds": null, "purged_at": null, "retried_from": null, "webhook": null,
        },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn errors_read_as_openais() {
    let edge = edge().await;
    for id in ["nonsense".to_owned(), BatchId::now().to_string()] {
        let (status, body) = get(format!("{}/v1/batches/{id}", edge.http)).await;
        assert_eq!(status, 404, "{body}");
        assert_eq!(body["error"]["code"], "batch_not_found");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }
    let (status, body) = get(format!("{}/v1/nothing", edge.http)).await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("unknown_url")));
}
