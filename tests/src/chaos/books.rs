//! What must hold after a run, whatever happened in it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, ensure};
use caravan_proto::{json, v1::batch::State};

use super::{client::Client, load::Served, order::Order};
use crate::{Api, Audit, audit};

/// Code of a request that kills its engine.
const KILLS_ENGINE: &str = "request_kills_engine";
/// Code of one that was still open when its batch was cancelled.
const CANCELLED: &str = "batch_cancelled";

/// Holds a batch, its files and its stream against the input.
///
/// # Errors
/// The first law that is broken.
pub(super) async fn balance(client: &Client, order: &Order, served: &Served) -> anyhow::Result<Audit> {
    let batch = &served.batch;
    let state = if order.cancelled_at.is_some() { State::Cancelled } else { State::Completed };
    ensure!(batch.state() == state, "{:?} {}: {}", batch.state(), batch.state_reason, batch.state_message);
    let download = |name: &str| {
        let name = name.to_owned();
        client.persist(0, async move |api: &Api| {
            let file = api.download(&name).await;
            file.map_err(|error| tonic::Status::unavailable(format!("{error:#}")))
        })
    };
    let (output, errors) = (download(&batch.output_file).await?, download(&batch.error_file).await?);
    let audit = audit(&order.input, &output, &errors)?;
    let counted = json::to_value(batch);
    audit.agrees_with(&counted)?;
    audit.used_as(&counted)?;
    let chunks = batch.chunks.unwrap_or_default();
    ensure!(chunks.running == 0, "{chunks:?} of an ended batch");
    if state == State::Completed {
        ensure!(chunks.done == chunks.total, "{chunks:?} of a completed batch");
    }
    has_causes(order, &audit)?;
    if order.streams {
        streamed(served, &[output, errors]).context("in the stream")?;
    }
    Ok(audit)
}

/// Whatever is in the error file has a cause: all engines answer, sooner or later.
fn has_causes(order: &Order, audit: &Audit) -> anyhow::Result<()> {
    let is_cause = |line: &u64, code: &str| match code {
        KILLS_ENGINE => order.poisoned == Some(*line),
        CANCELLED => order.cancelled_at.is_some(),
        _ => false,
    };
    let without: BTreeMap<_, _> = audit.failed.iter().filter(|(line, code)| !is_cause(line, code)).collect();
    ensure!(without.is_empty(), "failed without a cause, by line: {without:?}");
    let poisoned = order.poisoned.is_none_or(|line| audit.failed.contains_key(&line));
    ensure!(poisoned, "the request that kills its engine was answered");
    Ok(())
}

/// The stream had each line of the files, once.
fn streamed(served: &Served, files: &[Vec<u8>; 2]) -> anyhow::Result<()> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    for file in files {
        for line in std::str::from_utf8(file)?.lines() {
            *left.entry(line).or_default() += 1;
        }
    }
    for answer in &served.streamed {
        let line = left.get_mut(answer.json.as_str());
        let count = line.with_context(|| format!("line {} is not as in the files", answer.line))?;
        *count = count.checked_sub(1).with_context(|| format!("line {} came twice", answer.line))?;
    }
    let missing = left.values().sum::<usize>();
    ensure!(missing == 0, "{missing} lines never came");
    Ok(())
}
