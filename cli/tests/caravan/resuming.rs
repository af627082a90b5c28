//! Connections that break: nothing is lost, nothing comes twice.

use std::{fs, process::Stdio};

use caravan_proto::v1::{Result as Answer, StreamResultsResponse, batch::State};
use tokio::io::AsyncWriteExt as _;

use crate::{
    ends::{batch, delta, directory, snapshot},
    fake::{BATCH, Fake, Script, assert_exit, json_lines},
};

/// Bytes without a period that a wrong offset could hide behind.
fn bytes(count: u32) -> Vec<u8> {
    (0..count).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

#[tokio::test]
async fn an_upload_goes_on_where_it_stood() {
    let dir = directory();
    let input = bytes(1_500_000);
    fs::write(dir.path().join("large.jsonl"), &input).expect("the input");
    let fake = Fake::start(Script { upload_breaks: [1, 3 << 20].into(), ..Default::default() }).await;
    let output = fake.run(dir.path(), &["submit", "large.jsonl"]).await;
    assert_exit(&output, 0);
    let script = fake.script();
    assert_eq!(script.upload_offsets, [0, 1 << 20, 3 << 20]);
    assert!(script.uploads.values().eq([&input]), "one upload with the input's bytes");
}

#[tokio::test]
async fn stdin_is_uploaded_and_resumed_as_a_file_is() {
    let dir = directory();
    let input = bytes(600_000);
    let fake = Fake::start(Script { upload_breaks: [2 << 20].into(), ..Default::default() }).await;
    let mut command = fake.command(dir.path(), &["submit", "-"]);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("caravan runs");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(&input).await.expect("written");
    drop(stdin);
    assert_exit(&child.wait_with_output().await.expect("an end"), 0);
    let script = fake.script();
    assert_eq!(script.upload_offsets, [0, 2 << 20]);
    assert!(script.uploads.values().eq([&input]));
}

#[tokio::test]
async fn an_empty_file_is_the_servers_to_judge() {
    let dir = directory();
    fs::write(dir.path().join("empty.jsonl"), "").expect("the input");
    let fake = Fake::start(Script::default()).await;
    assert_exit(&fake.run(dir.path(), &["submit", "empty.jsonl"]).await, 0);
    assert_eq!(fake.script().created.len(), 1);
}

#[tokio::test]
async fn a_watch_goes_on_from_its_token() {
    let dir = directory();
    let (one, two, done) =
        (batch(State::Running, 1, 0), batch(State::Running, 2, 0), batch(State::Completed, 3, 0));
    let watches = [
        vec![snapshot("t1", one, false), delta("t2", two, &["requests"], false)],
        vec![delta("t3", done.clone(), &["state", "requests"], true)],
    ];
    let fake = Fake::start(Script { watches: watches.into(), batch: done, ..Default::default() }).await;
    let output = fake.run(dir.path(), &["watch", BATCH, "--json"]).await;
    assert_exit(&output, 0);
    assert_eq!(fake.script().tokens, ["", "t2"]);
    let answered: Vec<_> =
        json_lines(&output).iter().map(|line| line["requests"]["succeeded"].as_i64()).collect();
    assert_eq!(answered, [Some(1), Some(2), Some(3), Some(3)]);
}

#[tokio::test]
async fn a_download_goes_on_where_it_stood_and_out_is_whole_or_not_there() {
    let dir = directory();
    let out = dir.path().join("out.jsonl");
    fs::write(&out, "of yesterday").expect("an old OUT");
    let mut done = batch(State::Completed, 3, 0);
    done.output_file = "files/file_out".into();
    let content = bytes(100_000);
    let script = || Script {
        watches: [vec![snapshot("1", done.clone(), true)]].into(),
        batch: done.clone(),
        files: [("files/file_out".to_owned(), content.clone())].into(),
        ..Default::default()
    };

    let broken = Script { download_breaks: [1_000, 2_000].into(), ..script() };
    let fake = Fake::start(broken).await;
    assert_exit(&fake.run(dir.path(), &["watch", BATCH, "--out", "out.jsonl"]).await, 0);
    assert_eq!(fs::read(&out).expect("OUT"), content);

    fs::write(&out, "of yesterday").expect("an old OUT");
    let never_whole = Script { download_breaks: vec![0; 10_000].into(), ..script() };
    let fake = Fake::start(never_whole).await;
    let output = fake.run(dir.path(), &["watch", BATCH, "--out", "out.jsonl", "--patience", "0.3"]).await;
    assert_exit(&output, 5);
    assert_eq!(fs::read_to_string(&out).expect("OUT"), "of yesterday");
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 2, "something was left behind");
}

#[tokio::test]
async fn results_go_on_from_their_cursor() {
    let dir = directory();
    let message = |line, last| StreamResultsResponse {
        results: vec![Answer {
            line,
            custom_id: "r".into(),
            succeeded: true,
            json: format!("{{\"n\":{line}}}"),
        }],
        cursor: format!("c{line}"),
        r#final: last,
    };
    let results = [vec![message(1, false), message(2, false)], vec![message(3, true)]];
    let fake = Fake::start(Script { results: results.into(), ..Default::default() }).await;
    let output = fake.run(dir.path(), &["results", BATCH, "--follow"]).await;
    assert_exit(&output, 0);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    assert_eq!(fake.script().cursors, ["", "c2"]);
}
