use anyhow::ensure;
use caravan_simulated_engine::{Options, SimulatedEngine};

use crate::{
    bare, input,
    up::{Up, seconds},
};

pub(crate) async fn run(
    requests: usize,
    slots: usize,
    answer_ms: u64,
    system_words: usize,
) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let engine = SimulatedEngine::start(Options { slots, answer_ms, ..Options::default() })?;
    let system = caravan_simulated_engine::text_of("system", system_words);
    let file = directory.path().join("input.jsonl");
    input::write(&file, requests, &system, |index| format!("question {index}"))?;
    let up = Up::start(directory.path(), &engine.url(), slots).await?;

    let bare_before = bare::run(&engine.url(), requests, slots, &system).await?.as_secs_f64();
    let batch = up.submit(&file, &directory.path().join("output.jsonl"))?;
    ensure!(batch["requests"]["succeeded"] == requests, "not all were answered: {batch}");
    let bare_after = bare::run(&engine.url(), requests, slots, &system).await?.as_secs_f64();

    let makespan = seconds(&batch, "start_time", "last_commit_time")?;
    let whole = seconds(&batch, "create_time", "end_time")?;
    let bare = bare_before.min(bare_after);
    println!("requests {requests}, slots {slots}, {answer_ms} ms an answer");
    println!("bare loop        {bare_before:.3} s and {bare_after:.3} s");
    println!("first lease to last commit {makespan:.3} s = {:.3} x the bare loop", makespan / bare);
    println!("created to ended {whole:.3} s = {:.0} requests/s end to end", requests as f64 / whole);
    println!("memory at its peak {:.0} MB", up.peak_bytes()? as f64 / 1e6);
    Ok(())
}
