use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::*;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    listen: String,
    planner: Vec<String>,
    drain_seconds: u64,
    telemetry: Telemetry,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Telemetry {
    format: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:1".into(),
            planner: vec!["http://a".into()],
            drain_seconds: 5,
            telemetry: Telemetry::default(),
        }
    }
}

#[derive(Serialize, Default)]
struct Flags {
    listen: Option<String>,
    drain_seconds: Option<u64>,
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("gateway.toml");
    fs::write(&path, text).expect("write the file");
    (dir, path)
}

/// Each test has a prefix of its own, read from the environment it was started with:
/// the parent sets the variables, the child runs the same test with them.
fn with_env(test: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var_os("CONFIG_TEST_CHILD").is_some() {
        return true;
    }
    let exe = std::env::current_exe().expect("this test");
    let status = std::process::Command::new(exe)
        .args([&format!("config::tests::{test}"), "--exact"])
        .env("CONFIG_TEST_CHILD", "1")
        .envs(variables.iter().copied())
        .status()
        .expect("run the child");
    assert!(status.success(), "the child failed");
    false
}

#[test]
fn the_later_source_wins() {
    let variables = [
        ("CT_LISTEN", "env:1"),
        ("CT_DRAIN_SECONDS", "7"),
        ("CT_PLANNER", r#"["http://e", "http://f"]"#),
        ("CT_TELEMETRY__FORMAT", "json"),
    ];
    if !with_env("the_later_source_wins", &variables) {
        return;
    }
    let (_dir, path) = file("listen = 'file:1'\ndrain_seconds = 6\n");
    let flags = Flags { listen: Some("flag:1".into()), ..Flags::default() };
    let options: Options = load(Some(&path), "CT_", flags).expect("a good configuration");
    assert_eq!(options.listen, "flag:1");
    assert_eq!(options.drain_seconds, 7);
    assert_eq!(options.planner, ["http://e", "http://f"]);
    assert_eq!(options.telemetry.format, "json");
}

#[test]
fn without_flags_and_environment_the_file_wins_over_defaults() {
    let (_dir, path) = file("drain_seconds = 6");
    let options: Options = load(Some(&path), "CT_NONE_", ()).expect("a good configuration");
    assert_eq!(options, Options { drain_seconds: 6, ..Options::default() });
}

#[test]
fn an_unknown_key_is_named_with_its_file() {
    let (_dir, path) = file("lisen = 'x:1'");
    let error = load::<Options>(Some(&path), "CT_NONE_", ()).expect_err("an unknown key").to_string();
    assert!(error.contains("lisen") && error.contains("gateway.toml"), "{error}");
}

#[test]
fn an_unknown_nested_key_is_named() {
    let (_dir, path) = file("[telemetry]\nformt = 'json'");
    let error = load::<Options>(Some(&path), "CT_NONE_", ()).expect_err("an unknown key").to_string();
    assert!(error.contains("formt") && error.contains("gateway.toml"), "{error}");
}

#[test]
fn a_wrong_type_names_the_key() {
    let (_dir, path) = file("drain_seconds = 'soon'");
    let error = load::<Options>(Some(&path), "CT_NONE_", ()).expect_err("a wrong type").to_string();
    assert!(error.contains("drain_seconds") && error.contains("gateway.toml"), "{error}");
}

#[test]
fn a_missing_file_is_an_error() {
    let error = load::<Options>(Some(Path::new("/nonexistent/x.toml")), "CT_NONE_", ());
    assert!(matches!(error, Err(Error::Read { .. })), "{error:?}");
}

#[test]
fn a_dump_can_be_loaded() {
    let (_dir, path) = file(&dump(&Options::default()).expect("TOML"));
    let options: Options = load(Some(&path), "CT_NONE_", ()).expect("its own dump");
    assert_eq!(options, Options::default());
}
