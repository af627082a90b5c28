//! `caravan submit FILE`

use std::{cell::Cell, path::PathBuf};

use caravan_proto::{
    error::{self, Reason},
    name::BatchId,
    v1::{Batch, CreateBatchRequest, File},
};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use super::{Context, get, watch};
use crate::{
    batch_options::BatchOptions,
    delivery::Delivery,
    exit::Exit,
    failure::Failure,
    interrupt,
    progress::Transfer,
    server::Server,
    stderr, stdout,
    upload::{discard, upload},
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSONL file, one request a line, or rows (see --user-template); `-` reads stdin.
    file: PathBuf,
    #[command(flatten)]
    options: BatchOptions,
    /// Key that makes this submission idempotent: the same key returns the same batch.
    #[arg(long, value_name = "KEY")]
    request_id: Option<String>,
    /// Watch the batch until it ends; the exit code says how it ended.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    delivery: Delivery,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<Exit, Failure> {
    args.delivery.check()?;
    let key = args.request_id.clone().unwrap_or_else(|| Uuid::now_v7().simple().to_string());
    // Whether the server was asked for the batch, so that it may have it.
    let asked = Cell::new(false);
    let submit = async {
        // First the server: stdin is not read to its end for nobody.
        let server = Server::connect(&context.server).await?;
        let (file, batch) = Box::pin(create(&server, &args, &key, &asked)).await?;
        Ok((server, file, batch))
    };
    let goes_on = || {
        if asked.get() {
            format!("the batch may have been submitted, with --request-id {key}: see caravan list")
        } else {
            "nothing was submitted".to_owned()
        }
    };
    let (server, file, batch) = interrupt::guard(Box::pin(submit), goes_on).await?;
    let id = batch_id(&batch)?;
    announce(id, &file, &batch, context.json)?;
    if args.watch || args.delivery.is_wanted() {
        return watch::to_the_end(&server, id, &args.delivery, context.json).await;
    }
    stderr::note(format_args!("watch it with: caravan watch {id}"));
    Ok(Exit::Done)
}

async fn create(
    server: &Server,
    args: &Args,
    key: &str,
    asked: &Cell<bool>,
) -> Result<(File, Batch), Failure> {
    let (input, batch) = args.options.read(&args.file).await?;
    let file = {
        let transfer = Transfer::new("uploading", input.size());
        upload(server, &input, &transfer).await?
    };
    let request = CreateBatchRequest {
        batch: Some(Batch { input_file: file.name.clone(), ..batch }),
        // A repeated call after a lost answer must not make a second batch.
        request_id: key.to_owned(),
        validate_only: false,
    };
    asked.set(true);
    let created = server.call(request, async |request| server.batches().create_batch(request).await).await;
    if created.as_ref().is_err_and(made_none) {
        asked.set(false);
        discard(server, file.name.clone()).await;
    }
    Ok((file, created?))
}

/// Whether there is no batch for certain: it may have been made before an answer was lost, a defect, or a limit of
/// calls.
fn made_none(failure: &Failure) -> bool {
    let Failure::Refused(status) = failure else { return false };
    match status.code() {
        Code::ResourceExhausted => error::reason(status).as_deref() != Some(Reason::RateLimited.as_str()),
        code => matches!(
            code,
            Code::InvalidArgument | Code::FailedPrecondition | Code::AlreadyExists | Code::PermissionDenied
        ),
    }
}

fn batch_id(batch: &Batch) -> Result<BatchId, Failure> {
    batch.name.parse().map_err(|error| Failure::Unexpected(format!("{error}")))
}

fn announce(id: BatchId, file: &File, batch: &Batch, as_json: bool) -> Result<(), Failure> {
    if !as_json {
        return stdout::line(id);
    }
    let mut line = get::json(batch);
    line["event"] = json!("submitted");
    line["file"] = json!(file.name);
    line["bytes"] = json!(file.size_bytes);
    stdout::line(line)
}
