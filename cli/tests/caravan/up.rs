//! `caravan up`: one process, all roles, an engine that is not there.

use std::{fs, path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::fake::{assert_exit, caravan};

const UP: &[&str] = &[
    "up",
    "--data-dir",
    "data",
    "--engine",
    "ollama=http://127.0.0.1:9",
    "--listen",
    "127.0.0.1:0",
    "--http",
    "127.0.0.1:0",
    "--ready-file",
    "ready.json",
];

/// Far more than a start takes on a busy machine.
const LONGEST_START: Duration = Duration::from_secs(60);

/// Starts it and waits for its ready file.
async fn up(dir: &Path) -> (Child, Value) {
    let mut child = caravan(dir, UP).stderr(Stdio::null()).spawn().expect("caravan runs");
    let ready = dir.join("ready.json");
    let written = async {
        loop {
            if let Ok(text) = fs::read_to_string(&ready) {
                return text;
            }
            assert_eq!(child.try_wait().expect("a state"), None, "up ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let text = tokio::time::timeout(LONGEST_START, written).await.expect("a ready file");
    (child, serde_json::from_str(&text).expect("the whole file"))
}

async fn kill(signal: &str, child: &Child) {
    let pid = child.id().expect("a running child").to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.expect("kill runs").success());
}

#[tokio::test]
async fn serves_keeps_its_directory_to_itself_and_stops_when_told() {
    let dir = TempDir::new().expect("a directory");
    let (mut child, ready) = up(dir.path()).await;
    assert_eq!(ready["pid"].as_u64(), child.id().map(u64::from));
    assert!(ready["http"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")), "{ready}");
    let grpc = ready["grpc"].as_str().expect("a URL");

    let list =
        caravan(dir.path(), &["list", "--json", "--server", grpc]).output().await.expect("caravan runs");
    assert_exit(&list, 0);
    assert!(list.stdout.is_empty());
    let second = caravan(dir.path(), UP).output().await.expect("caravan runs");
    assert_exit(&second, 64);
    assert!(String::from_utf8_lossy(&second.stderr).contains("in use"));

    kill("-TERM", &child).await;
    assert_eq!(child.wait().await.expect("an end").code(), Some(0));
    assert!(dir.path().join("data/caravan.db").is_file());
}

#[tokio::test]
async fn a_file_that_is_no_batch_is_rejected_with_its_lines() {
    let dir = TempDir::new().expect("a directory");
    let (mut child, ready) = up(dir.path()).await;
    fs::write(dir.path().join("in.jsonl"), "{\"custom_id\": \"a\"}\nnot json\n").expect("the input");
    let server = ready["grpc"].as_str().expect("a URL");
    let submit =
        ["submit", "in.jsonl", "--json", "--out", "out.jsonl", "--errors", "err.jsonl", "--server", server];
    let output = caravan(dir.path(), &submit).output().await.expect("caravan runs");
    assert_exit(&output, 3);
    let last: Value = output
        .stdout
        .trim_ascii()
        .rsplit(|&byte| byte == b'\n')
        .next()
        .map_or(Value::Null, |line| serde_json::from_slice(line).expect("JSON"));
    assert_eq!(last["state"], "failed");
    assert_eq!(last["requests"]["total"], 2);
    let errors = fs::read_to_string(dir.path().join("err.jsonl")).expect("ERR");
    assert!(
        errors.contains("invalid_json_line") && errors.contains("missing_required_parameter"),
        "{errors}"
    );
    kill("-INT", &child).await;
    assert_eq!(child.wait().await.expect("an end").code(), Some(0));
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_before_anything_starts() {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("up.toml"), "data_dri = 'typo'\n").expect("a file");
    for args in [&["up", "--config", "up.toml"][..], &["up", "--config", "missing.toml"]] {
        let output = caravan(dir.path(), args).output().await.expect("caravan runs");
        assert_exit(&output, 64);
    }
    for args in [&["up", "--engine", "vllm=http://a"][..], &["up", "--slots", "0"]] {
        assert_exit(&caravan(dir.path(), args).output().await.expect("caravan runs"), 2);
    }
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1);
}

#[tokio::test]
async fn what_does_not_go_together_is_named_where_it_stands() {
    let dir = TempDir::new().expect("a directory");
    for (toml, key) in [
        ("[roles.gateway.server]\nmax_calls = 0", "`roles.gateway.server.max_calls`"),
        (
            "[roles.gateway.limits]\nupload_bytes_per_second = 1",
            "`roles.gateway.limits.upload_bytes_per_second`",
        ),
        ("[roles.gateway.tls]\ncertificate = 'a.crt'", "`roles.gateway.tls.key`"),
        ("[roles.planner.identity]\nkey_cache_seconds = 0", "`roles.planner.identity.key_cache_seconds`"),
        ("[roles.executor.limits]\ntries = 0", "`roles.executor.limits.tries`"),
        ("http_listen = '0.0.0.0:0'", "`http_listen` is 0.0.0.0:0"),
        ("http_listen = '0.0.0.0:0'", "`roles.gateway.identity.mode = "),
        ("telemetry.filter = 'caravan=loud'", "`telemetry.filter`"),
        ("engines = [{ kind = 'ollama', url = 'https://gpu' }]", "`engines[0].url`"),
    ] {
        fs::write(dir.path().join("up.toml"), toml).expect("a file");
        for more in [None, Some("--dump-config")] {
            let args: Vec<_> = ["up", "--config", "up.toml"].into_iter().chain(more).collect();
            let output = caravan(dir.path(), &args).output().await.expect("caravan runs");
            assert_exit(&output, 64);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(told.contains(key) && output.stdout.is_empty(), "{key} is not in: {told}");
        }
    }
    assert_eq!(fs::read_dir(dir.path()).expect("the directory").count(), 1, "something was begun");
}

#[tokio::test]
async fn the_configuration_in_force_can_be_shown_and_read_again() {
    let dir = TempDir::new().expect("a directory");
    let args = ["up", "--engine", "openai=http://127.0.0.1:8080", "--slots", "4", "--dump-config"];
    let shown = caravan(dir.path(), &args).output().await.expect("caravan runs");
    assert_exit(&shown, 0);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(text.contains("kind = \"openai\"") && text.contains("slots = 4"), "{text}");
    fs::write(dir.path().join("up.toml"), &text).expect("a file");
    let again = caravan(dir.path(), &["up", "--config", "up.toml", "--dump-config"]).output().await;
    assert_eq!(String::from_utf8_lossy(&again.expect("caravan runs").stdout), text);
}
