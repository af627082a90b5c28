//! The recordings of a real Ollama, replayed against the simulated engine: same status, same shape.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use caravan_simulated_engine::{Emulate, Fault, Options, Rule, SimulatedEngine};
use serde_json::Value;

/// Where the real model babbled to its limit, and the simulated one ends its JSON.
const ENDS_SOONER: &str = "v0.12.6/chat_format_json";
/// Where the answer is longer than the rest of the context.
const MEETS_THE_END: &str = "generate_context_end_shift_false";

/// How a case is replayed, where that is not: as it is.
enum Replay {
    As,
    /// With this fault, because no request alone brings it about.
    With(Fault),
    /// Not at all, and why not.
    Never(&'static str),
}

fn replay(line: &str, case: &str) -> Replay {
    match (line, case) {
        (_, "chat_done_false_token_repeat") => Replay::With(Fault::Repeat),
        ("v0.33", "chat_format_json") => Replay::With(Fault::Repeat),
        (_, "load_failed_corrupt_model") => Replay::With(Fault::LoadDamaged),
        (_, "server_busy_503") => Replay::With(Fault::Busy),
        (_, "runner_frozen") => Replay::Never("a frozen runner: `Fault::Hang`, faults.rs"),
        (
            _,
            "runner_killed_during_chat"
            | "runner_killed_during_chat_stream"
            | "runner_killed_with_ten_in_flight",
        ) => Replay::Never("a runner killed from outside: `Running::crash`, faults.rs"),
        _ => Replay::As,
    }
}

/// Texts of errors that the simulation need not share: an embedded count of tokens, a parser's own words.
fn comparable(text: &str) -> String {
    let digits = |c: char| if c.is_ascii_digit() { '#' } else { c };
    let mut text: String = text.chars().map(digits).collect();
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    text
}

/// Keys of a body, without those of which the model decides whether they are there.
fn keys(body: &Value) -> BTreeSet<String> {
    let Value::Object(map) = body else { return BTreeSet::new() };
    let nested = ["message", "error", "_debug_info", "usage"];
    let mut keys: BTreeSet<String> = map.keys().cloned().collect();
    for (key, value) in map.iter().filter(|(key, _)| nested.contains(&key.as_str())) {
        keys.extend(
            value.as_object().into_iter().flat_map(|map| map.keys()).map(|inner| format!("{key}.{inner}")),
        );
    }
    for list in ["models", "data", "choices", "logprobs"] {
        let first = map.get(list).and_then(|list| list.get(0)).and_then(Value::as_object);
        keys.extend(first.into_iter().flat_map(|map| map.keys()).map(|inner| format!("{list}.{inner}")));
        let details = first.and_then(|first| first.get("details")).and_then(Value::as_object);
        keys.extend(
            details.into_iter().flat_map(|map| map.keys()).map(|inner| format!("{list}.details.{inner}")),
        );
    }
    // Left out by Go when it is 0: v0.12.6 says nothing of an evaluation too short to measure.
    keys.remove("prompt_eval_duration");
    keys
}

/// First and last object of a body: one, or the lines or events of a stream.
fn ends(body: &str) -> (Value, Value) {
    let parse =
        |text: &str| serde_json::from_str::<Value>(text.trim_start_matches("data: ")).unwrap_or_default();
    let mut lines = body.lines().filter(|line| line.contains('{'));
    let first = lines.next().unwrap_or_default();
    (parse(first), parse(lines.next_back().unwrap_or(first)))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/ollama")
}

async fn replay_case(line: &str, case: &str, recording: &Value) -> anyhow::Result<()> {
    let replay = replay(line, case);
    if let Replay::Never(reason) = replay {
        println!("{line}/{case} is not replayed: {reason}");
        return Ok(());
    }
    // The one exchange of a case may stand in the request itself.
    let request = &recording["request"];
    let bare = request.get("path").is_none();
    let json = if bare { request } else { &request["json"] };
    let h200 = line == "v0.33-h200";
    // A real tokenizer makes four or five tokens of such a word.
    let words_are_long = request.to_string().contains("word0 word1 ");
    let running = SimulatedEngine::start(Options {
        models: vec![if h200 { "l8" } else { "gemma270" }.into()],
        slots: if h200 { 8 } else { 4 },
        emulate: if line == "v0.12.6" { Emulate::V0_12 } else { Emulate::V0_33 },
        tokens_per_word: if words_are_long { 4 } else { 1 },
        answer_tokens: if case == MEETS_THE_END { 400 } else { 16 },
        vram: (!h200).then_some(0),
        ..Options::default()
    })?;
    let client = reqwest::Client::new();
    if let Some(load) = loaded_before(line, case, recording)? {
        let answer = client.post(format!("{}/api/generate", running.url())).body(load).send().await?;
        anyhow::ensure!(answer.status() == 200, "load before: {}", answer.status());
    }
    if let Replay::With(fault) = replay {
        running.faults().add(Rule::always(fault));
    }
    let method = request["method"].as_str().unwrap_or("POST").parse()?;
    let path = request["path"].as_str().unwrap_or("/api/chat");
    let body = request["raw"].as_str().map_or_else(|| json.to_string(), str::to_owned);
    let mut builder = client.request(method, running.url() + path);
    if request["raw"].is_string() || json.is_object() {
        builder = builder.body(body);
    }
    let answer = builder.send().await?;
    let status = answer.status().as_u16();
    let media = answer.headers().get("content-type").and_then(|media| media.to_str().ok()).map(media_type);
    let body = answer.text().await?;
    let real = &recording["response"];
    let real_body = real["body"].as_str().context("no body recorded")?;
    anyhow::ensure!(real["status"] == status, "status {status}, not {}: {body}", real["status"]);
    anyhow::ensure!(
        media == real["headers"]["content-type"].as_str().map(media_type),
        "content type {media:?}"
    );
    compare(&format!("{line}/{case}"), &body, real_body)
}

/// The request that loaded what `/api/ps` shows.
fn loaded_before(line: &str, case: &str, recording: &Value) -> anyhow::Result<Option<String>> {
    if let Some(load) = case.strip_suffix("_ps") {
        return Ok(Some(read(line, load)?["request"]["json"].to_string()));
    }
    if !case.starts_with("ps_") || case == "ps_after_unload" {
        return Ok(None);
    }
    let ps = ends(recording["response"]["body"].as_str().unwrap_or_default()).0;
    let options = serde_json::json!({"num_ctx": ps["models"][0]["context_length"]});
    Ok(Some(
        serde_json::json!({"model": "gemma270", "options": options, "keep_alive": -1, "stream": false})
            .to_string(),
    ))
}

fn compare(case: &str, body: &str, real: &str) -> anyhow::Result<()> {
    if !real.contains('{') {
        anyhow::ensure!(body == real, "{body:?}, not {real:?}");
        return Ok(());
    }
    let ((first, last), (real_first, real_last)) = (ends(body), ends(real));
    anyhow::ensure!(
        keys(&first) == keys(&real_first),
        "keys {:?}, not {:?}",
        keys(&first),
        keys(&real_first)
    );
    anyhow::ensure!(
        keys(&last) == keys(&real_last),
        "last keys {:?}, not {:?}",
        keys(&last),
        keys(&real_last)
    );
    for field in ["done", "done_reason", "model", "object"] {
        if case == ENDS_SOONER && field == "done_reason" {
            continue;
        }
        anyhow::ensure!(
            last[field] == real_last[field],
            "{field}: {}, not {}",
            last[field],
            real_last[field]
        );
    }
    if let Some(error) = real_last["error"].as_str().or(real_last["error"]["message"].as_str()) {
        let said = last["error"].as_str().or(last["error"]["message"].as_str()).unwrap_or_default();
        anyhow::ensure!(comparable(said) == comparable(error), "{said:?}, not {error:?}");
        anyhow::ensure!(last["error"]["type"] == real_last["error"]["type"], "type of error");
    }
    for count in ["size", "size_vram", "context_length"] {
        let (Some(ours), Some(theirs)) =
            (last["models"][0][count].as_f64(), real_last["models"][0][count].as_f64())
        else {
            continue;
        };
        // The cases on a CPU have a far smaller model than the one that is simulated.
        if theirs > 1e9 || count == "context_length" {
            anyhow::ensure!((ours - theirs).abs() <= 0.06 * theirs, "{count}: {ours}, not {theirs}");
        }
    }
    Ok(())
}

fn media_type(header: &str) -> String {
    header.split(';').next().unwrap_or_default().to_owned()
}

fn read(line: &str, case: &str) -> anyhow::Result<Value> {
    let path = directory().join(line).join(format!("{case}.json"));
    let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

#[expect(clippy::unwrap_used, reason = "the body of three tests")]
async fn replay_all(line: &str, at_least: usize) {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in std::fs::read_dir(directory().join(line)).unwrap() {
        let path = entry.unwrap().path();
        let case = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let recording = read(line, &case).unwrap();
        cases += 1;
        if let Err(error) = Box::pin(replay_case(line, &case, &recording)).await {
            wrong.push(format!("{case}: {error:#}"));
        }
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} of {cases} cases differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases >= at_least, "only {cases} cases");
}

#[tokio::test]
async fn the_0_33_line_answers_as_recorded() {
    replay_all("v0.33", 60).await;
}

#[tokio::test]
async fn the_0_33_line_on_a_gpu_answers_as_recorded() {
    replay_all("v0.33-h200", 10).await;
}

#[tokio::test]
async fn the_0_12_line_answers_as_recorded() {
    replay_all("v0.12.6", 51).await;
}
