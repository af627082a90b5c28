//! `caravan plan` without a server.

use std::process::Output;

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
