use std::{
    ffi::OsStr,
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use caravan_simulated_engine::{Options, SimulatedEngine};
use caravan_tests::MODEL;
use caravan_tokenize::{Definition, Tokenizer, Vocabulary};
use serde_json::json;

use crate::{
    input,
    text::text,
    up::{Planned, Up},
};

/// Tokens of the shared prompt and of a request's own text.
const SYSTEM: usize = 2_400;
const OWN: usize = 600;
/// The engine's slots: how many does not matter, nothing is run to its end.
const SLOTS: usize = 8;
const MB: f64 = 1e6;

/// Upload to planned beyond the time of tokenizing the distinct text once on all cores, and the
/// memory of all roles at its peak; then the same of the requests without what they share.
pub(crate) async fn run(
    requests: usize,
    (vocabulary, baseline): (&Path, &Path),
    directory: Option<PathBuf>,
) -> anyhow::Result<()> {
    let tokenizer = caravan_tokenize::build(&definition(baseline)?)?;
    let sample = text(0, 100_000);
    let counted = tokenizer.count(&sample).max(1) as usize;
    let bytes = |tokens: usize| tokens * sample.len() / counted;
    let system = text(0, bytes(SYSTEM));
    let own = |index: usize| text(1 + index as u64, bytes(OWN));

    let work = tempfile::tempdir_in(directory.unwrap_or_else(std::env::temp_dir))?;
    let (whole, deltas, prompt) =
        (work.path().join("whole.jsonl"), work.path().join("deltas.jsonl"), work.path().join("prompt.txt"));
    input::write(&whole, requests, &system, own)?;
    write_deltas(&deltas, requests, own)?;
    std::fs::write(&prompt, &system)?;

    let (tokenizing, tokens) = tokenized(&tokenizer, &system, requests, own)?;
    println!("{requests} requests, {tokens} tokens of distinct text");
    println!("baseline: tokenizing it once on {} cores {tokenizing:.1} s", cores());
    drop(tokenizer);

    let shared: [&OsStr; 6] = [
        "--system-file".as_ref(),
        prompt.as_os_str(),
        "--model".as_ref(),
        MODEL.as_ref(),
        "--param".as_ref(),
        "max_tokens=16".as_ref(),
    ];
    for (name, file, options) in [("whole lines", &whole, &[][..]), ("deltas", &deltas, &shared[..])] {
        let home = tempfile::tempdir_in(work.path())?;
        let engine = SimulatedEngine::start(Options { slots: SLOTS, answer_ms: 100, ..Options::default() })?;
        let up = Up::counting(home.path(), &engine.url(), SLOTS, Some(vocabulary)).await?;
        up.warm().await?;
        let before = up.peak_bytes()?;
        let planned = up.plan(file, options).await?;
        report(name, file, &planned, tokenizing, (before, up.peak_bytes()?))?;
    }
    Ok(())
}

fn report(
    name: &str,
    file: &Path,
    planned: &Planned,
    tokenizing: f64,
    (before, peak): (u64, u64),
) -> anyhow::Result<()> {
    let plan = &planned.batch["plan"];
    ensure!(plan["token_basis"] == "measured", "not counted: {plan}");
    println!("{name}: {:.0} MB, {} chunks", std::fs::metadata(file)?.len() as f64 / MB, plan["chunks"]);
    println!("  upload {:.1} s, ready to lease after {:.1} s", planned.upload, planned.seconds);
    let beyond = planned.seconds - tokenizing;
    println!("  beyond the baseline {beyond:.1} s, {:.2} x the baseline", planned.seconds / tokenizing);
    println!("  peak of all roles {:.0} MB, before {:.0} MB", peak as f64 / MB, before as f64 / MB);
    Ok(())
}

/// The lines without what all of them share.
fn write_deltas(path: &Path, lines: usize, own: impl Fn(usize) -> String) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for index in 0..lines {
        let body = json!({"messages": [{"role": "user", "content": own(index)}]});
        serde_json::to_writer(&mut file, &json!({"custom_id": format!("r{index}"), "body": body}))?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}

fn definition(path: &Path) -> anyhow::Result<Definition> {
    if path.extension().is_some_and(|extension| extension == "json") {
        return Ok(Definition::TokenizerJson(std::fs::read_to_string(path)?));
    }
    Ok(Definition::Vocabulary(Vocabulary::from_gguf(path)?))
}

/// Seconds in which all cores together tokenize every text once, and the tokens. Making the texts
/// is not counted.
fn tokenized(
    tokenizer: &Arc<dyn Tokenizer>,
    system: &str,
    requests: usize,
    own: impl Fn(usize) -> String + Sync,
) -> anyhow::Result<(f64, u64)> {
    /// Texts that a thread takes at once.
    const BATCH: usize = 256;
    let (next, tokens) = (AtomicUsize::new(0), AtomicU64::new(tokenizer.count(system)));
    let work = || {
        let mut took = Duration::ZERO;
        loop {
            let first = next.fetch_add(BATCH, Ordering::Relaxed);
            let texts: Vec<String> = (first..requests.min(first + BATCH)).map(&own).collect();
            if texts.is_empty() {
                return took;
            }
            let since = Instant::now();
            let counted: u64 = texts.iter().map(|text| tokenizer.count(text)).sum();
            took += since.elapsed();
            tokens.fetch_add(counted, Ordering::Relaxed);
        }
    };
    let took = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().ok()).collect::<Option<Vec<_>>>()
    });
    let longest = took.and_then(|took| took.into_iter().max()).context("a thread died")?;
    Ok((longest.as_secs_f64(), tokens.into_inner()))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
