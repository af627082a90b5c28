use caravan_simulated_engine::{Options, SimulatedEngine};

use crate::{input, up::Up};

/// The memory that planning many short requests takes, and what of it stays.
pub(crate) async fn run(requests: usize) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let engine = SimulatedEngine::start(Options { answer_ms: 500, ..Options::default() })?;
    let up = Up::start(directory.path(), &engine.url(), 4).await?;
    up.warm().await?;
    // What buffers and threads take is there already.
    let file = directory.path().join("input.jsonl");
    input::write(&file, requests / 100, "Answer shortly.", |index| format!("What is {index}?"))?;
    up.cancel(&up.plan(&file, &[]).await?).await?;
    input::write(&file, requests, "Answer shortly.", |index| format!("What is {index}?"))?;
    let before = up.resident_bytes()?;
    let planned = up.plan(&file, &[]).await?;
    let each = |bytes: u64| bytes.saturating_sub(before) as f64 / requests as f64;
    let bytes = std::fs::metadata(&file)?.len() as f64;
    println!("{requests} requests, {:.0} MB, {} chunks", bytes / 1e6, planned.batch["plan"]["chunks"]);
    println!("upload {:.1} s, ready to lease after {:.1} s", planned.upload, planned.seconds);
    println!(
        "before {:.0} MB, most {:.0} MB, after {:.0} MB",
        mb(before),
        mb(planned.most),
        mb(planned.stays)
    );
    println!("{:.0} bytes a request while planning, {:.0} stay", each(planned.most), each(planned.stays));
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
