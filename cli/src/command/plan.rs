//! `caravan plan FILE`

use std::{path::PathBuf, time::Duration};

use caravan_proto::{
    json::enum_text,
    v1::{Batch, CreateBatchRequest, DeleteFileRequest, Plan, batch::State},
};

use super::{Context, get};
use crate::{
    batch_options::BatchOptions,
    exit::Exit,
    failure::Failure,
    figures::{basis, count, percent, span},
    interrupt,
    progress::Transfer,
    server::Server,
    stderr, stdout, summary,
    table::{plain, with_heading},
    upload::upload,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSONL file, one request a line, or rows (see --user-template); `-` reads stdin.
    file: PathBuf,
    #[command(flatten)]
    options: BatchOptions,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let nothing = || "nothing was planned".to_owned();
    let uploaded = async {
        let server = Server::connect(&context.server).await?;
        let (input, batch) = args.options.read(&args.file).await?;
        let transfer = Transfer::new(input.size());
        let file = upload(&server, &input, &transfer).await?;
        Ok((server, Batch { input_file: file.name, ..batch }))
    };
    let (server, batch) = interrupt::guard(Box::pin(uploaded), nothing).await?;
    let name = batch.input_file.clone();
    let preview = Box::pin(preview(&server, batch));
    let planned = interrupt::guard(preview, nothing).await;
    // Whatever came of the preview, its file is not left behind.
    let request = DeleteFileRequest { name: name.clone() };
    let deleted = server.call(request, async |request| server.files().delete_file(request).await).await;
    let batch = planned?;
    if let Err(failure) = deleted {
        stderr::note(format_args!("{name} was not deleted: {failure}"));
    }
    show(&batch, context.json)
}

async fn preview(server: &Server, batch: Batch) -> Result<Batch, Failure> {
    let request = CreateBatchRequest { batch: Some(batch), validate_only: true, ..Default::default() };
    server.call(request, async |request| server.batches().create_batch(request).await).await
}

fn show(batch: &Batch, json: bool) -> Result<Exit, Failure> {
    let errors = summary::line_errors(batch);
    if !errors.is_empty() {
        stderr::note(errors);
    }
    if json {
        stdout::line(get::json(batch))?;
    } else if let Some(plan) = &batch.plan {
        print(plan)?;
    }
    if batch.state() == State::Failed {
        stderr::note(format_args!("the batch would be rejected: {}", batch.state_message));
        return Ok(Exit::Rejected);
    }
    Ok(Exit::Done)
}

fn print(plan: &Plan) -> Result<(), Failure> {
    let mut table = plain();
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    row("limits from", enum_text(plan.origin().as_str_name(), "Origin"));
    row("requests", count(plan.requests));
    row("rejected lines", count(plan.rejected_lines));
    row("chunks", count(plan.chunks));
    row("largest chunk", format!("{} requests", count(plan.largest_chunk)));
    row("largest context", format!("{} tokens", count(plan.largest_context)));
    row("lanes", plan.lanes.to_string());
    row("prompt tokens alone", count(plan.prompt_tokens_without));
    row(
        "prompt tokens planned",
        format!("{} ({})", count(plan.prompt_tokens_with), basis(plan.token_basis())),
    );
    row("savings", percent(plan.savings));
    row("prefix evaluations", count(plan.prefix_evaluations));
    row("reserved answer tokens", count(plan.reserved_answer_tokens));
    let duration = plan.estimated_duration.and_then(|duration| Duration::try_from(duration).ok());
    row("estimated time", duration.map_or_else(|| "not known".to_owned(), span));
    stdout::line(table.trim_fmt())?;
    groups(plan)?;
    plan.warnings.iter().for_each(|warning| stderr::note(format_args!("warning: {warning}")));
    Ok(())
}

fn groups(plan: &Plan) -> Result<(), Failure> {
    if plan.groups.is_empty() {
        return Ok(());
    }
    let mut table = with_heading(["MODEL", "ENDPOINT", "REQUESTS", "CHUNKS", "PREFIX TOKENS", "LANES"]);
    for group in &plan.groups {
        table.add_row([
            group.model.clone(),
            group.endpoint.clone(),
            count(group.requests),
            count(group.chunks),
            count(group.prefix_tokens),
            group.lanes.to_string(),
        ]);
    }
    stdout::line(format_args!("\n{}", table.trim_fmt()))?;
    let more = plan.group_count.saturating_sub(i64::try_from(plan.groups.len()).unwrap_or(i64::MAX));
    if more > 0 {
        stderr::note(format_args!("and {} more groups", count(more)));
    }
    Ok(())
}
