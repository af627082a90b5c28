//! How `submit --watch` ends: JSON lines, files and exit codes.

use std::{fs, time::Duration};

use caravan_proto::{
    error::Reason,
    v1::{
        Batch, BatchDelta, ChunkCounts, LineError, RequestCounts, WatchBatchResponse, batch::State,
        watch_batch_response::Event,
    },
};
use prost_types::FieldMask;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

use crate::fake::{BATCH, FILE, Fake, Script, assert_exit, caravan, json_lines};

pub(crate) fn directory() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("in.jsonl"), "{\"custom_id\":\"a\"}\n").expect("the input");
    dir
}

pub(crate) fn batch(state: State, succeeded: i64, failed: i64) -> Batch {
    Batch {
        name: format!("batches/{BATCH}"),
        state: state.into(),
        requests: Some(RequestCounts { total: 3, succeeded, failed }),
        chunks: Some(ChunkCounts { total: 2, done: 2, running: 0 }),
        ..Default::default()
    }
}

pub(crate) fn planned() -> Batch {
    Batch { state: State::Queued.into(), ..Default::default() }
}

pub(crate) fn snapshot(token: &str, batch: Batch, last: bool) -> WatchBatchResponse {
    WatchBatchResponse { resume_token: token.into(), event: Some(Event::Snapshot(batch)), r#final: last }
}

pub(crate) fn delta(token: &str, batch: Batch, paths: &[&str], last: bool) -> WatchBatchResponse {
    let paths = paths.iter().map(|&path| path.to_owned()).collect();
    let delta = BatchDelta { batch: Some(batch), update_mask: Some(FieldMask { paths }) };
    WatchBatchResponse { resume_token: token.into(), event: Some(Event::Delta(delta)), r#final: last }
}

/// A server on which a batch runs and then ends as `batch`.
fn ending(batch: Batch) -> Script {
    let running = self::batch(State::Running, 1, 0);
    let watch = vec![
        snapshot("1", running, false),
        delta("2", batch.clone(), &["state", "requests", "chunks"], true),
    ];
    Script { watches: [watch].into(), batch, ..Default::default() }
}

const WATCH: &[&str] =
    &["submit", "in.jsonl", "--watch", "--out", "out.jsonl", "--errors", "err.jsonl", "--json"];

#[tokio::test]
async fn answered_in_full() {
    let dir = directory();
    let mut done = batch(State::Completed, 3, 0);
    done.output_file = "files/file_out".into();
    let mut script = ending(done);
    script.files.insert("files/file_out".into(), b"{\"line\":1}\n{\"line\":2}\n".to_vec());
    let fake = Fake::start(script).await;

    let output = fake.run(dir.path(), WATCH).await;
    assert_exit(&output, 0);
    let lines = json_lines(&output);
    assert_eq!((&lines[0]["batch"], &lines[0]["file"]), (&BATCH.into(), &FILE.into()));
    let states: Vec<_> = lines[1..].iter().map(|line| line["state"].as_str().unwrap_or_default()).collect();
    assert_eq!(states, ["running", "completed", "completed"]);
    assert_eq!(lines[1]["event"], "progress");
    let last = lines.last().expect("a last line");
    assert_eq!(last["batch"], BATCH);
    assert_eq!(last["requests"], serde_json::json!({"total": 3, "succeeded": 3, "failed": 0}));
    assert_eq!((&last["chunks"]["total"], &last["chunks"]["done"]), (&2.into(), &2.into()));
    assert_eq!(
        fs::read_to_string(dir.path().join("out.jsonl")).expect("OUT"),
        "{\"line\":1}\n{\"line\":2}\n"
    );
    assert_eq!(fs::read_to_string(dir.path().join("err.jsonl")).expect("ERR"), "");
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 3, "something was left behind");
}

#[tokio::test]
async fn every_end_has_its_exit_code() {
    for (state, failed, code) in
        [(State::Completed, 1, 4), (State::Failed, 3, 3), (State::Cancelled, 2, 6), (State::Expired, 2, 6)]
    {
        let dir = directory();
        let fake = Fake::start(ending(batch(state, 3 - failed, failed))).await;
        let output = fake.run(dir.path(), WATCH).await;
        assert_exit(&output, code);
        assert_eq!(
            json_lines(&output).last().map(|line| line["requests"]["failed"].clone()),
            Some(failed.into())
        );
    }
}

#[tokio::test]
async fn a_rejected_batch_tells_every_line_error() {
    let dir = directory();
    let mut rejected = batch(State::Failed, 0, 3);
    rejected.error_file = "files/file_err".into();
    let mut script = ending(rejected);
    script.files.insert("files/file_err".into(), b"{\"custom_id\":\"a\"}\n".to_vec());
    let output = Fake::start(script).await.run(dir.path(), WATCH).await;
    assert_exit(&output, 3);
    assert_eq!(fs::read_to_string(dir.path().join("err.jsonl")).expect("ERR"), "{\"custom_id\":\"a\"}\n");
    assert_eq!(json_lines(&output).last().map(|line| line["state"].clone()), Some("failed".into()));

    // The same where the server has no error file, from what it says of the lines.
    let mut rejected = batch(State::Failed, 0, 3);
    rejected.line_error_count = 1;
    rejected.line_errors = vec![LineError {
        line: 2,
        custom_id: "b".into(),
        code: "invalid_value".into(),
        param: "body.messages[0].role".into(),
        message: "unknown role".into(),
    }];
    let output = Fake::start(ending(rejected)).await.run(dir.path(), WATCH).await;
    assert_exit(&output, 3);
    let errors = fs::read_to_string(dir.path().join("err.jsonl")).expect("ERR");
    let error: serde_json::Value = serde_json::from_str(errors.trim_end()).expect("one JSON line");
    assert_eq!((&error["custom_id"], &error["error"]["line"]), (&"b".into(), &2.into()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 2 (b): unknown role"));
}

#[tokio::test]
async fn refusals_are_told_with_reason_and_field() {
    let field = Reason::InvalidArgument.field("batch.priority", "priority must be -100 to 100");
    for (status, code, told) in [
        (Status::permission_denied("not yours"), 7, "not yours"),
        (Status::resource_exhausted("5 batches a day"), 7, "5 batches a day"),
        (field, 2, "field batch.priority"),
    ] {
        let dir = directory();
        let fake = Fake::start(Script { create: Some(status), ..Default::default() }).await;
        let output = fake.run(dir.path(), &["submit", "in.jsonl", "--priority", "500"]).await;
        assert_exit(&output, code);
        assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{told}");
        assert!(output.stdout.is_empty());
        assert_eq!(fake.script().deleted, [FILE], "what was uploaded for nothing is deleted");
    }
}

#[tokio::test]
async fn a_file_stays_where_its_batch_may_have_been_made() {
    let dir = directory();
    let limited = Reason::RateLimited.limit("50 calls a second", "requests_per_second", 50, Duration::ZERO);
    for (status, code) in [(Reason::Internal.status("a defect"), 1), (limited, 7)] {
        let fake = Fake::start(Script { create: Some(status), ..Default::default() }).await;
        assert_exit(&fake.run(dir.path(), &["submit", "in.jsonl", "--patience", "0"]).await, code);
        assert!(fake.script().deleted.is_empty());
    }
}

#[tokio::test]
async fn what_is_wrong_before_the_server_is_asked() {
    let dir = directory();
    let fake = Fake::start(Script::default()).await;
    for args in [
        &["submit"][..],
        &["submit", "missing.jsonl"],
        &["submit", "in.jsonl", "--strategy", "guess"],
        &["submit", "in.jsonl", "--out", "no/such/directory/out.jsonl"],
        &["get", "batch_1"],
        &["list", "--server", "ftp://here"],
    ] {
        assert_exit(&fake.run(dir.path(), args).await, 2);
    }
    assert!(fake.script().created.is_empty());
}

#[tokio::test]
async fn no_server_at_all() {
    let dir = directory();
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let output =
        caravan(dir.path(), &["submit", "in.jsonl", "--server", &url]).output().await.expect("caravan runs");
    assert_exit(&output, 5);
    assert!(String::from_utf8_lossy(&output.stderr).contains(&url));
}

#[tokio::test]
async fn a_server_that_stays_away_ends_patience() {
    let dir = directory();
    let fake = Fake::start(Script::default()).await;
    let output = fake.run(dir.path(), &["submit", "in.jsonl", "--watch", "--patience", "0.3"]).await;
    assert_exit(&output, 5);
    assert!(fake.script().tokens.len() > 1, "it was tried again");
}

#[tokio::test]
async fn an_interrupted_watch_says_how_to_go_on() {
    let dir = directory();
    let watch = vec![snapshot("1", batch(State::Running, 1, 0), false)];
    let script = Script { watches: [watch].into(), hang: true, ..Default::default() };
    let fake = Fake::start(script).await;
    let mut child = fake.command(dir.path(), WATCH).spawn().expect("caravan runs");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    while !lines.next_line().await.expect("a line").expect("more lines").contains("\"running\"") {}

    let pid = child.id().expect("a running child").to_string();
    let sent = tokio::process::Command::new("kill").args(["-INT", &pid]).status().await.expect("kill runs");
    assert!(sent.success());
    let output = child.wait_with_output().await.expect("an end");
    assert_exit(&output, 130);
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("caravan watch {BATCH}")));
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1, "something was left behind");
}

#[tokio::test]
async fn options_reach_the_server() {
    let dir = directory();
    let fake = Fake::start(Script::default()).await;
    let args = [
        "submit",
        "in.jsonl",
        "--model",
        "gemma3",
        "--strategy",
        "conversation",
        "--on-invalid",
        "reject_line",
        "--priority",
        "-5",
        "--endpoint",
        "/v1/chat/completions",
        "--metadata",
        "team=search",
        "--request-id",
        "once",
        "--max-chunk-requests",
        "10",
        "--max-chunk-seconds",
        "1.5",
        "--max-context",
        "128000",
        "--system-tokens",
        "2400",
        "--exchange-tokens",
        "900",
        "--completion-window",
        "24h",
    ];
    let output = fake.run(dir.path(), &args).await;
    assert_exit(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{BATCH}\n"));
    let script = fake.script();
    let created = &script.created[0];
    assert_eq!(created.request_id, "once");
    let sent = caravan_proto::json::to_value(created.batch.as_ref().expect("a batch"));
    let wanted = serde_json::json!({
        "input_file": FILE, "model": "gemma3", "strategy": "conversation", "on_invalid": "reject_line", "priority": -5,
        "endpoint": "/v1/chat/completions", "metadata": {"team": "search"},
        "chunk_limits": {"max_requests": 10, "max_seconds": 1.5},
        "stated_tokens": {"max_context": 128_000, "system_tokens": 2_400, "exchange_tokens": 900, "user_tokens": 0},
        "completion_window": 86_400.0, "line_error_count": 0, "revision": 0,
    });
    assert_eq!(sent, wanted);
}
