//! Uploads a small batch, watches it over a connection that breaks, and reads each result once:
//! `cargo run -p caravan-example -- MODEL`

mod patience;
mod server;

use std::{collections::HashSet, fmt::Write as _};

use anyhow::{Context as _, ensure};
use caravan_proto::{
    error::{self, Reason},
    v1::{
        Batch, CreateBatchRequest, File, QueryUploadRequest, QueryUploadResponse, StreamResultsRequest,
        UploadChunk, UploadFileRequest, UploadFinish, UploadStart, WatchBatchRequest,
        batch_service_client::BatchServiceClient, file_service_client::FileServiceClient,
        upload_file_request::Part, watch_batch_response::Event,
    },
};
use patience::{Patience, patiently};
use serde_json::json;
use server::Key;
use sha2::{Digest as _, Sha256};
use tonic::{Status, service::interceptor::InterceptedService, transport::Channel};
use uuid::Uuid;

const REQUESTS: usize = 40;
const CHUNK_BYTES: usize = 1 << 20;

type Files = FileServiceClient<InterceptedService<Channel, Key>>;
type Batches = BatchServiceClient<InterceptedService<Channel, Key>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let model = std::env::args().nth(1).context("usage: caravan-example MODEL")?;
    let (channel, key) = server::connect().await?;
    let files = FileServiceClient::with_interceptor(channel.clone(), key.clone());
    let batches = BatchServiceClient::with_interceptor(channel, key);

    let file = upload(&files, &input(&model)?).await?;
    // The same request_id again gives the same batch: a lost answer costs nothing.
    let batch = Batch { input_file: file.name, ..Batch::default() };
    let request_id = Uuid::now_v7().to_string();
    let wanted = CreateBatchRequest { batch: Some(batch), request_id, validate_only: false };
    let batch = patiently(async || batches.clone().create_batch(wanted.clone()).await).await?.into_inner();
    watch(&batches, &batch.name).await?;
    let answers = answers(&batches, &batch.name).await?;
    println!("{}: {answers} answers, each once", batch.name);
    Ok(())
}

fn input(model: &str) -> anyhow::Result<Vec<u8>> {
    let mut lines = String::new();
    for number in 0..REQUESTS {
        let messages = json!([
            { "role": "system", "content": "You answer in one word." },
            { "role": "user", "content": format!("Text {number}") },
        ]);
        let body = json!({ "model": model, "messages": messages, "max_tokens": 8 });
        let (id, url) = (format!("r-{number}"), "/v1/chat/completions");
        writeln!(lines, "{}", json!({ "custom_id": id, "method": "POST", "url": url, "body": body }))?;
    }
    Ok(lines.into_bytes())
}

/// Uploads `data`; goes on where an interrupted try stood.
async fn upload(files: &Files, data: &[u8]) -> Result<File, Status> {
    let upload_id = Uuid::now_v7().to_string();
    patiently(async || {
        let stored = stored(files, &upload_id).await?;
        if let Some(file) = stored.file {
            return Ok(file);
        }
        let messages = parts(&upload_id, data, stored.committed_bytes);
        Ok(files.clone().upload_file(futures::stream::iter(messages)).await?.into_inner())
    })
    .await
}

async fn stored(files: &Files, upload_id: &str) -> Result<QueryUploadResponse, Status> {
    match files.clone().query_upload(QueryUploadRequest { upload_id: upload_id.to_owned() }).await {
        Ok(stored) => Ok(stored.into_inner()),
        Err(status) if error::reason(&status).as_deref() == Some(Reason::UploadNotFound.as_str()) => {
            Ok(QueryUploadResponse::default())
        }
        Err(status) => Err(status),
    }
}

fn parts(upload_id: &str, data: &[u8], from: i64) -> Vec<UploadFileRequest> {
    let start = UploadStart {
        upload_id: upload_id.to_owned(),
        filename: "example.jsonl".to_owned(),
        ..UploadStart::default()
    };
    let from = usize::try_from(from).unwrap_or_default().min(data.len());
    let chunks = data[from..].chunks(CHUNK_BYTES).enumerate().map(|(number, bytes)| {
        let offset = i64::try_from(from + number * CHUNK_BYTES).unwrap_or(i64::MAX);
        Part::Chunk(UploadChunk { offset, data: bytes.to_vec().into() })
    });
    let sha256 = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = std::iter::once(Part::Start(start)).chain(chunks);
    let parts = parts.chain([Part::Finish(UploadFinish { sha256 })]);
    parts.map(|part| UploadFileRequest { part: Some(part) }).collect()
}

/// Prints how a batch gets on, to its end. Breaks the stream itself after the first message.
async fn watch(batches: &Batches, name: &str) -> Result<(), Status> {
    let mut request = WatchBatchRequest { name: name.to_owned(), resume_token: String::new() };
    let (mut whole, mut patience) = (true, Patience::default());
    loop {
        let step = async {
            let mut stream = batches.clone().watch_batch(request.clone()).await?.into_inner();
            while let Some(message) = stream.message().await? {
                patience.renew();
                request.resume_token = message.resume_token;
                let batch = match message.event {
                    Some(Event::Snapshot(batch)) => Some(batch),
                    Some(Event::Delta(delta)) => delta.batch,
                    Some(Event::Heartbeat(_)) | None => None,
                };
                if let Some(requests) = batch.and_then(|batch| batch.requests) {
                    let done = requests.succeeded + requests.failed;
                    println!("watch: {done} of {} are final", requests.total);
                }
                if message.r#final {
                    return Ok(true);
                }
                if std::mem::take(&mut whole) {
                    println!("watch: broken off, resumed");
                    break;
                }
            }
            Ok(false)
        };
        match step.await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(status) => patience.wait(status).await?,
        }
    }
}

/// Reads every result of a batch, and counts them. Breaks the stream itself after the first page.
async fn answers(batches: &Batches, name: &str) -> anyhow::Result<usize> {
    let mut request =
        StreamResultsRequest { name: name.to_owned(), follow: true, ..StreamResultsRequest::default() };
    let (mut whole, mut patience, mut seen) = (true, Patience::default(), HashSet::new());
    loop {
        let step = async {
            let mut stream = batches.clone().stream_results(request.clone()).await?.into_inner();
            while let Some(page) = stream.message().await? {
                patience.renew();
                for result in page.results {
                    let twice = !seen.insert(result.custom_id.clone());
                    if twice || !result.succeeded {
                        return Err(Status::data_loss(format!(
                            "{}: failed, or came twice",
                            result.custom_id
                        )));
                    }
                }
                request.cursor = page.cursor;
                if page.r#final {
                    return Ok(true);
                }
                if std::mem::take(&mut whole) {
                    println!("results: broken off, resumed");
                    break;
                }
            }
            Ok(false)
        };
        match step.await {
            Ok(true) => break,
            Ok(false) => {}
            Err(status) => patience.wait(status).await?,
        }
    }
    ensure!(seen.len() == REQUESTS, "{} of {REQUESTS} answers came", seen.len());
    Ok(seen.len())
}
