//! `caravan get BATCH`

use caravan_proto::{
    json::{enum_text, to_value},
    name::BatchId,
    v1::{Batch, GetBatchRequest},
};
use serde_json::Value;

use super::Context;
use crate::{
    exit::Exit,
    failure::Failure,
    figures::{count, span},
    progress::{state, until_expiry},
    server::Server,
    stderr, stdout,
    table::{plain, time},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The batch, e.g. batch_0190….
    batch: BatchId,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let server = Server::connect(&context.server).await?;
    let request = GetBatchRequest { name: args.batch.name() };
    let batch = server.call(request, async |request| server.batches().get_batch(request).await).await?;
    print(&batch, context.json)?;
    Ok(Exit::Done)
}

/// Prints one batch.
pub(super) fn print(batch: &Batch, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return stdout::line(json(batch));
    }
    let (requests, chunks) = (batch.requests.unwrap_or_default(), batch.chunks.unwrap_or_default());
    let mut table = plain();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.add_row([name.to_owned(), value]);
        }
    };
    row("batch", id(batch).to_owned());
    row("state", state(batch.state()));
    row("reason", batch.state_reason.clone());
    row("message", batch.state_message.clone());
    row("requests", count(requests.total));
    row("answered", count(requests.succeeded));
    row("failed", count(requests.failed));
    row("chunks", format!("{} of {} done", count(chunks.done), count(chunks.total)));
    row("strategy", stated(batch.strategy, batch.strategy().as_str_name(), "Strategy"));
    row("on invalid", stated(batch.on_invalid, batch.on_invalid().as_str_name(), "OnInvalid"));
    row("model", batch.model.clone());
    row("endpoint", batch.endpoint.clone());
    row("priority", batch.priority.to_string());
    row("input", batch.input_file.clone());
    row("output", batch.output_file.clone());
    row("errors", batch.error_file.clone());
    row("created", time(batch.create_time));
    row("started", time(batch.start_time));
    row("ended", time(batch.end_time));
    row("expires", expiry(batch));
    row("retry of", bare(&batch.retried_from).to_owned());
    row("retries", batch.retries.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "));
    stdout::line(table.trim_fmt())
}

/// What a command made of a batch: its state to stderr, or the whole as JSON.
pub(super) fn tell_state(batch: &Batch, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return stdout::line(json(batch));
    }
    let message = Some(&batch.state_message).filter(|message| !message.is_empty());
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    stderr::note(format_args!("{} {}{message}", id(batch), state(batch.state())));
    Ok(())
}

/// When it expires, and how long that is from now; empty if it does not.
fn expiry(batch: &Batch) -> String {
    let Some(at) = batch.expire_time else { return String::new() };
    let left = until_expiry(batch).map(|left| format!(", in {}", span(left))).unwrap_or_default();
    format!("{}{left}", time(Some(at)))
}

/// An enum value in a word; empty, and so not shown, where the server's default is in force.
fn stated(value: i32, value_name: &str, enum_name: &str) -> String {
    if value == 0 { String::new() } else { enum_text(value_name, enum_name) }
}

/// A batch as scripts read it: the counts are always there, and `batch` is the bare id.
pub(super) fn json(batch: &Batch) -> Value {
    let mut whole = batch.clone();
    whole.requests.get_or_insert_default();
    whole.chunks.get_or_insert_default();
    let mut value = to_value(&whole);
    if !batch.name.is_empty() {
        value["batch"] = id(batch).into();
    }
    value
}

pub(super) fn id(batch: &Batch) -> &str {
    bare(&batch.name)
}

/// The bare id in a name.
pub(super) fn bare(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}
