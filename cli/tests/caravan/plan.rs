//! `caravan plan` without a server.

use std::{fmt::Write as _, fs, process::Output};

use serde_json::json;

use crate::{
    ends::directory,
    fake::{assert_exit, caravan, json_lines},
};

const NUMBERS: [&str; 8] = [
    "--system-tokens",
    "2400",
    "--exchange-tokens",
    "900",
    "--max-context",
    "128000",
    "--user-tokens",
    "600",
];

async fn plan(dir: &std::path::Path, args: &[&str]) -> Output {
    let args = [&["plan"], args].concat();
    // Nobody listens there: a plan that asks a server fails.
    let mut command = caravan(dir, &args);
    command.env("CARAVAN_SERVER", "http://127.0.0.1:1").env("CARAVAN_PATIENCE", "0.1");
    command.output().await.expect("caravan runs")
}

/// The lines of stdout, with single spaces.
fn rows(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn requests_that_are_all_alike_need_no_file() {
    let dir = directory();
    let output = plan(dir.path(), &[&["--requests", "5000"], &NUMBERS[..]].concat()).await;
    assert_exit(&output, 0);
    let expected = [
        "requests 5,000",
        "usable context 102,400 of 128,000 tokens",
        "exchanges that fit 111 of 900 tokens",
        "exchanges of a chunk 88",
        "chunks 57",
        "largest context 81,600 tokens",
        "prompt tokens alone 15,000,000",
        "prompt tokens planned 3,136,800",
        "savings 79.1 %",
        "system prompt evaluated 57 times instead of 5,000: 98.9 % saved",
    ];
    assert_eq!(rows(&output), expected);

    let output = plan(dir.path(), &[&["--json", "--requests", "170000"], &NUMBERS[..]].concat()).await;
    assert_exit(&output, 0);
    let mut plan = json_lines(&output).remove(0);
    let shares = ["savings", "prefix_savings"].map(|share| plan[share].take().as_f64().expect("a share"));
    assert_eq!(shares.map(|share| format!("{share:.3}")), ["0.791", "0.989"]);
    let expected = json!({
        "requests": 170_000, "usable_context": 102_400, "exchanges": 111, "chunk_requests": 88, "chunks": 1_932,
        "largest_context": 81_600, "prompt_tokens_without": 510_000_000, "prompt_tokens_with": 106_636_800,
        "savings": null, "prefix_evaluations_without": 170_000, "prefix_evaluations": 1_932,
        "prefix_savings": null,
    });
    assert_eq!(plan, expected);
}

#[tokio::test]
async fn numbers_that_make_no_plan_are_refused() {
    let dir = directory();
    let [alone, all] = [&["--requests", "5"][..], &[&["--requests", "5"], &NUMBERS[..]].concat()];
    for (args, told) in [
        (vec![], "<FILE>"),
        (alone.to_vec(), "--user-tokens <TOKENS>"),
        ([&["in.jsonl"], all].concat(), "cannot be used with"),
        ([all, &["--model", "m"]].concat(), "cannot be used with"),
        ([&["--requests", "0"], &NUMBERS[..]].concat(), "0 is not in"),
        ([alone, &NUMBERS[..7], &["901"]].concat(), "--user-tokens is part of --exchange-tokens"),
        ([alone, &NUMBERS[..5], &["3000"], &NUMBERS[6..]].concat(), "an exchange of 900 tokens does not fit"),
        ([&["--requests", "9000000000000000000"], &NUMBERS[..]].concat(), "more prompt tokens than"),
    ] {
        let output = plan(dir.path(), &args).await;
        assert_exit(&output, 2);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(told) && output.stdout.is_empty(), "{args:?}: {told} is missing in\n{text}");
    }
}

/// A word is a token.
const WORDS: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
    "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"<unk>": 0}, "unk_token": "<unk>"}
}"#;

#[tokio::test]
async fn a_profile_plans_a_file_without_a_server() {
    let dir = directory();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("an input");
    let profile = json!({
        "model": "m:latest", "engine_kind": "ollama", "slots": 4, "max_context": 8192,
        "prefill_tokens_per_second": 900, "decode_tokens_per_second": 30,
        "template": {"conversation": 5, "system": 3, "exchange": 8},
    });
    write("profile.json", &profile.to_string());
    write("tokenizer.json", WORDS);
    write("prompt.md", &"word ".repeat(600));
    let rows = (0..40).fold(String::new(), |mut rows, number| {
        let _ = writeln!(rows, "{}", json!({"name": format!("package {number}")}));
        rows
    });
    write("rows.jsonl", &rows);
    let template = [
        "rows.jsonl",
        "--profile",
        "profile.json",
        "--model",
        "m",
        "--system-file",
        "prompt.md",
        "--user-template",
        "Classify: {name}",
        "--param",
        "max_tokens=16",
    ];
    let output =
        plan(dir.path(), &[&template[..], &["--tokenizer", "tokenizer.json", "--lanes", "8"]].concat()).await;
    assert_exit(&output, 0);
    let text = rows_of(&output);
    for part in [
        "limits from profile",
        "requests 40",
        "lanes 8",
        "savings",
        "(measured)",
        "as profiled - m:latest 8 8,192",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let time = text.lines().find(|line| line.starts_with("estimated time")).expect("a time");
    assert!(time.ends_with("of one lane)"), "{time}");

    let output = plan(dir.path(), &[&["--json"], &template[..]].concat()).await;
    assert_exit(&output, 0);
    let shown = &json_lines(&output)[0]["plan"];
    assert_eq!((&shown["token_basis"], &shown["lanes"]), (&"estimated".into(), &4.into()));

    // The input has no valid line, as on a server; what is wrong with a profile is told before.
    let output = plan(dir.path(), &["in.jsonl", "--profile", "profile.json"]).await;
    assert_exit(&output, 3);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("line 1") && text.contains("invalid lines: 1 of 1"), "{text}");
    write("wrong.json", r#"{"model": "m", "slot": 4}"#);
    for args in [
        &["in.jsonl", "--profile", "wrong.json"][..],
        &["in.jsonl", "--profile", "missing.json"],
        &["in.jsonl", "--lanes", "4"],
        &["in.jsonl", "--profile", "profile.json", "--priority", "500"],
        &["in.jsonl", "--profile", "profile.json", "--tokenizer", "profile.json"],
    ] {
        assert_exit(&plan(dir.path(), args).await, 2);
    }
}

fn rows_of(output: &Output) -> String {
    rows(output).join("\n")
}
