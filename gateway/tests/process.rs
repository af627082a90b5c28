//! The binary as scripts drive it.
#![expect(clippy::expect_used, reason = "what fails here fails the test")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

fn gateway() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caravan-gateway"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn finished(mut command: Command) -> Output {
    command.output().expect("it runs")
}

/// The ready file, once it is there; a reader must never see half of it.
fn ready(path: &Path, child: &mut Child) -> Value {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        if let Ok(text) = fs::read_to_string(path) {
            return serde_json::from_str(&text).expect("the whole file");
        }
        let state = child.try_wait().expect("a child");
        assert!(state.is_none() && Instant::now() < patience, "not ready: {state:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn it_says_where_it_serves_and_ends_well_on_sigterm() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("ready.json");
    let mut command = gateway();
    command.env("CARAVAN_GATEWAY_LISTEN", "127.0.0.1:0").env("CARAVAN_GATEWAY_HTTP_LISTEN", "127.0.0.1:0");
    let mut child = command.arg("--ready-file").arg(&file).spawn().expect("it starts");
    let ready = ready(&file, &mut child);
    assert_eq!(ready["pid"], child.id());
    for address in ["grpc", "http"] {
        let url = ready[address].as_str().expect("a URL");
        assert!(url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"), "{url}");
    }
    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("kill runs");
    assert!(killed.success());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_bad_configuration_is_exit_64_and_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("gateway.toml");
    fs::write(&file, "lisen = '127.0.0.1:0'").expect("write the file");
    let mut command = gateway();
    command.arg("--config").arg(&file);
    let output = finished(command);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("lisen") && text.contains("gateway.toml"), "{text}");
}

#[test]
fn what_does_not_go_together_is_exit_64_at_a_dump_as_at_a_start() {
    for (variable, value, named) in [
        ("CARAVAN_GATEWAY_SERVER__MAX_CALLS", "0", "`server.max_calls`"),
        ("CARAVAN_GATEWAY_HTTP_LISTEN", "0.0.0.0:0", "`identity.mode = "),
        ("CARAVAN_GATEWAY_PLANNER", "[]", "`planner`"),
        ("CARAVAN_GATEWAY_TLS__KEY", "tls.key", "`tls.certificate`"),
    ] {
        for dump in [true, false] {
            let mut command = gateway();
            command.args(dump.then_some("--dump-config")).env(variable, value);
            let output = finished(command);
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(64), "{text}");
            assert!(text.contains(named) && output.stdout.is_empty(), "{named} is not in: {text}");
        }
    }
}

#[test]
fn the_dump_is_the_configuration_in_force() {
    let mut command = gateway();
    command.arg("--dump-config").env("CARAVAN_GATEWAY_DRAIN_SECONDS", "3");
    let output = finished(command);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for line in [
        r#"listen = "127.0.0.1:4081""#,
        r#"http_listen = "127.0.0.1:4080""#,
        r#"planner = ["http://127.0.0.1:4082/"]"#,
        "drain_seconds = 3",
    ] {
        assert!(text.lines().any(|have| have == line), "{line} is not in:\n{text}");
    }
}
