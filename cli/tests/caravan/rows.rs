//! Rows and defaults: what becomes of them on the way to the server.

use std::{fs, process::Stdio};

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::{
    ends::directory,
    fake::{Fake, Script, assert_exit},
};

const TEMPLATE: &str = "Classify: {name}";

/// The lines of the one upload.
fn uploaded(fake: &Fake) -> Vec<Value> {
    let script = fake.script();
    let bytes = script.uploads.values().next().expect("an upload");
    let text = str::from_utf8(bytes).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn delta(id: &str, text: &str) -> Value {
    json!({"custom_id": id, "body": {"messages": [{"role": "user", "content": text}]}})
}

#[tokio::test]
async fn a_prompt_file_and_parameters_are_the_batchs_defaults() {
    let dir = directory();
    fs::write(dir.path().join("prompt.md"), "Be brief.\n").expect("a prompt");
    fs::write(
        dir.path().join("d.json"),
        r#"{"seed":1,"top_p":0.5,"messages":[{"role":"user","content":"u"}]}"#,
    )
    .expect("defaults");
    fs::write(dir.path().join("f.json"), r#"{"type":"json_object"}"#).expect("a format");
    let fake = Fake::start(Script::default()).await;
    let args = [
        "submit",
        "in.jsonl",
        "--system-file",
        "prompt.md",
        "--defaults",
        "d.json",
        "--model",
        "m",
        "--param",
        "seed=2",
        "--param",
        "user=a b",
        "--param",
        "response_format=@f.json",
        "--compress",
        "always",
    ];
    assert_exit(&fake.run(dir.path(), &args).await, 0);
    assert_eq!(uploaded(&fake), [json!({"custom_id": "a"})], "lines go as they are");
    let script = fake.script();
    assert_eq!(script.upload_encodings, [Some("zstd".to_owned())]);
    let batch = script.created[0].batch.as_ref().expect("a batch");
    assert_eq!((batch.endpoint.as_str(), batch.model.as_str()), ("/v1/chat/completions", "m"));
    let wanted = json!({
        "seed": 2, "top_p": 0.5, "user": "a b", "response_format": {"type": "json_object"},
        "messages": [{"role": "system", "content": "Be brief.\n"}, {"role": "user", "content": "u"}],
    });
    assert_eq!(serde_json::from_str::<Value>(&batch.defaults).expect("JSON"), wanted);
}

#[tokio::test]
async fn without_any_a_batch_is_as_strict_as_ever() {
    let dir = directory();
    let fake = Fake::start(Script::default()).await;
    assert_exit(&fake.run(dir.path(), &["submit", "in.jsonl"]).await, 0);
    let script = fake.script();
    let batch = script.created[0].batch.as_ref().expect("a batch");
    assert_eq!((batch.endpoint.as_str(), batch.defaults.as_str()), ("", ""));
    assert_eq!(script.upload_encodings, [None], "this host needs no compression");
}

#[tokio::test]
async fn rows_are_uploaded_as_what_differs() {
    let dir = directory();
    fs::write(dir.path().join("rows.csv"), "name,id\n\"a, b\",7\nc,8\n").expect("rows");
    fs::write(dir.path().join("rows.jsonl"), "{\"name\":1}\n").expect("rows");
    for (file, wanted) in [
        ("rows.csv", vec![delta("7", "Classify: a, b"), delta("8", "Classify: c")]),
        ("rows.jsonl", vec![delta("row-1", "Classify: 1")]),
    ] {
        let fake = Fake::start(Script::default()).await;
        assert_exit(&fake.run(dir.path(), &["submit", file, "--user-template", TEMPLATE]).await, 0);
        assert_eq!(uploaded(&fake), wanted);
        let batch = fake.script().created[0].batch.clone().expect("a batch");
        assert_eq!((batch.endpoint.as_str(), batch.defaults.as_str()), ("/v1/chat/completions", "{}"));
    }
}

#[tokio::test]
async fn rows_come_from_stdin_and_an_upload_of_them_goes_on_where_it_stood() {
    let dir = directory();
    let rows: Vec<String> = (0..60_000).map(|n| format!("name {n}")).collect();
    let script =
        Script { upload_breaks: [1 << 20].into(), batch: crate::ends::planned(), ..Default::default() };
    let fake = Fake::start(script).await;
    let args = ["plan", "-", "--user-template", TEMPLATE, "--format", "csv", "--endpoint", "/api/generate"];
    let mut child = fake.command(dir.path(), &args).stdin(Stdio::piped()).spawn().expect("caravan runs");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(format!("name\n{}\n", rows.join("\n")).as_bytes()).await.expect("written");
    drop(stdin);
    assert_exit(&child.wait_with_output().await.expect("an end"), 0);
    let lines = uploaded(&fake);
    assert_eq!(lines.len(), 60_000);
    assert_eq!(lines[59_999], json!({"custom_id": "row-60000", "body": {"prompt": "Classify: name 59999"}}));
    assert_eq!(fake.script().upload_offsets, [0, 1 << 20]);
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_uploaded() {
    let dir = directory();
    for (file, text) in [
        ("rows.csv", "name,id\na,1\n"),
        ("short.csv", "name,id\na\n"),
        ("list.json", "[]"),
        ("text.json", r#"{"messages":"s"}"#),
    ] {
        fs::write(dir.path().join(file), text).expect("a file");
    }
    for (args, said) in [
        (&["rows.csv"][..], "a CSV file needs --user-template"),
        (
            &["rows.csv", "--user-template", "{nam}"],
            "rows.csv: line 2: there is no column \"nam\", only: name, id",
        ),
        (&["rows.csv", "--user-template", "{name"], "a brace at byte 1 that is no {column}"),
        (&["rows.csv", "--user-template", "x", "--id-column", "x"], "there is no column \"x\""),
        (&["short.csv", "--user-template", "x"], "short.csv: line 2: the row's number of fields is 1"),
        (&["none.csv", "--user-template", "x"], "cannot read none.csv"),
        (&["in.jsonl", "--format", "csv"], "--user-template"),
        (&["in.jsonl", "--defaults", "list.json"], "list.json: invalid type"),
        (&["in.jsonl", "--defaults", "text.json"], "messages of defaults must be an array"),
        (&["in.jsonl", "--param", "seed"], "is not of the form KEY=VALUE"),
        (&["in.jsonl", "--system-file", "none.md"], "cannot read none.md"),
        (&["in.jsonl", "--param", "seed=1", "--endpoint", "/v1/x"], "--endpoint must be one of"),
    ] {
        let fake = Fake::start(Script::default()).await;
        let output = fake.run(dir.path(), &[&["submit"], args].concat()).await;
        assert_exit(&output, 2);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(said), "{args:?}: {text}");
        assert!(fake.script().uploads.is_empty() && fake.script().created.is_empty(), "{args:?}");
    }
}
