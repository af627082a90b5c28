//! `caravan plan`: of a file on the server, of a file on a profile alone, or of stated numbers.

mod alike;
mod profile;
mod show;

pub(super) use profile::read as read_profile;

use std::path::{Path, PathBuf};

use caravan_proto::v1::{Batch, CreateBatchRequest, batch::State};

use super::{Context, get};
use crate::{
    batch_options::BatchOptions,
    exit::Exit,
    failure::Failure,
    interrupt,
    progress::Transfer,
    server::Server,
    stderr, stdout, summary,
    upload::{discard, upload},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSONL file, one request a line, or rows (see --user-template); `-` reads stdin.
    #[arg(required_unless_present = "requests")]
    file: Option<PathBuf>,
    #[command(flatten)]
    alike: alike::Options,
    #[command(flatten)]
    profile: profile::Options,
    #[command(flatten)]
    options: BatchOptions,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    let Args { file, alike, profile, options } = args;
    let Some(file) = file else {
        alike.show(&options.stated_tokens().unwrap_or_default(), context.json)?;
        return Ok(Exit::Done);
    };
    let batch = match profile.known()? {
        Some(known) => {
            let planning = Box::pin(profile::plan(known, &options, &file));
            interrupt::guard(planning, nothing).await?
        }
        None => online(&options, &file, context).await?,
    };
    show(&batch, context.json)
}

fn nothing() -> String {
    "nothing was planned".to_owned()
}

/// The batch as the server would have it.
async fn online(options: &BatchOptions, file: &Path, context: &Context) -> Result<Batch, Failure> {
    let uploaded = async {
        let server = Server::connect(&context.server).await?;
        let (input, batch) = options.read(file).await?;
        let transfer = Transfer::new("uploading", input.size());
        let file = upload(&server, &input, &transfer).await?;
        Ok((server, Batch { input_file: file.name, ..batch }))
    };
    let (server, batch) = interrupt::guard(Box::pin(uploaded), nothing).await?;
    let name = batch.input_file.clone();
    let preview = Box::pin(preview(&server, batch));
    let planned = interrupt::guard(preview, nothing).await;
    // Whatever came of the preview, its file is not left behind.
    discard(&server, name).await;
    planned
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
        stdout::line(show::text(plan))?;
    }
    if let Some(plan) = batch.plan.as_ref().filter(|_| !json) {
        plan.warnings.iter().for_each(|warning| stderr::note(format_args!("warning: {warning}")));
    }
    if batch.state() == State::Failed {
        stderr::note(format_args!("the batch would be rejected: {}", batch.state_message));
        return Ok(Exit::Rejected);
    }
    Ok(Exit::Done)
}
