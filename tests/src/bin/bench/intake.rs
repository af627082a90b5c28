use std::path::Path;

use anyhow::ensure;
use caravan_simulated_engine::{Options, SimulatedEngine};

use crate::{
    input,
    up::{Up, seconds},
};

pub(crate) async fn run(lines: usize, line_bytes: usize, vocabulary: Option<&Path>) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let engine = SimulatedEngine::start(Options { max_context: 65_536, ..Options::default() })?;
    let half = "word ".repeat(line_bytes / 10);
    let file = directory.path().join("input.jsonl");
    input::write(&file, lines, &half, |index| format!("{index} {half}"))?;
    let bytes = std::fs::metadata(&file)?.len();
    let up = Up::counting(directory.path(), &engine.url(), 4, vocabulary).await?;
    let since = std::time::Instant::now();
    let batch = up.submit(&file, &directory.path().join("output.jsonl"))?;
    let all = since.elapsed().as_secs_f64();
    ensure!(batch["requests"]["succeeded"] == lines, "not all were answered: {batch}");
    let upload_and_run = all - seconds(&batch, "create_time", "end_time")?;
    let planning = seconds(&batch, "create_time", "plan_time")?;
    println!("{lines} lines, {:.0} MB", bytes as f64 / 1e6);
    println!("upload about {upload_and_run:.1} s, created to planned {planning:.1} s");
    println!("submit to planned {:.1} s", upload_and_run + planning);
    println!("memory of all roles at its peak {:.0} MB", up.peak_bytes()? as f64 / 1e6);
    Ok(())
}
