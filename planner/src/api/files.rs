use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use caravan_proto::{
    Tenant,
    error::Reason,
    name::FileId,
    v1::{
        self,
        file::{Purpose, State},
        file_service_server::FileService,
        list_files_request::Order,
        upload_file_request::Part,
    },
};
use futures::{Stream, StreamExt as _, stream, stream::BoxStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;
use unicode_general_category::{GeneralCategory::Format, get_general_category};

use super::{name, page, status, tenant, view};
use crate::{
    files::{self, Reader, Writer},
    objects::Objects,
    store::{File, FileDeletion, FileListing, NewFile, Store},
};

/// Bytes of one message of a download.
const DOWNLOAD_BYTES: usize = 1 << 20;
/// When an upload may be resumed that another stream was resuming.
const RETRY: Duration = Duration::from_secs(1);

/// `FileService`.
#[derive(Clone)]
pub struct Files {
    store: Arc<dyn Store>,
    objects: Objects,
    /// Bytes of a file at most.
    max_bytes: i64,
    /// Uploads under way.
    tasks: TaskTracker,
}

// === impl Files ===

impl Files {
    /// Files in `store` and `objects`, of at most `max_bytes` each; uploads are among `tasks`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, objects: Objects, max_bytes: i64, tasks: TaskTracker) -> Self {
        Self { store, objects, max_bytes, tasks }
    }

    async fn find(&self, tenant: &Tenant, name: &str) -> Result<File, Status> {
        let id: FileId = name::parse("name", name)?;
        let found = self.store.file_of(tenant, id).await.map_err(status)?;
        found.ok_or_else(|| Reason::FileNotFound.status(format!("there is no {}", id.name())))
    }

    async fn upload(
        self,
        tenant: Tenant,
        mut messages: Streaming<v1::UploadFileRequest>,
        over: CancellationToken,
    ) -> Result<v1::File, Status> {
        let Some(Part::Start(start)) = messages.message().await?.and_then(|message| message.part) else {
            return Err(Reason::UploadOutOfOrder.field("part", "the first message must be start"));
        };
        let discard_unfinished = start.discard_unfinished;
        let mut writer = self.start(tenant, start).await?;
        let received = tokio::select! {
            biased;
            received = self.receive(&mut writer, &mut messages) => received,
            () = over.cancelled() => Err(Status::cancelled("the call was ended")),
        };
        if let Err(status) = &received
            && discard_unfinished
        {
            writer.discard().await.map_err(failed)?;
            return Err(status.clone());
        }
        // However the stream ended: what came is kept, so that it can be resumed.
        writer.flush().await.map_err(failed)?;
        let stated = received?;
        let counted = writer.sha256();
        if !stated.is_empty() && !stated.eq_ignore_ascii_case(&counted) {
            writer.discard().await.map_err(failed)?;
            let message =
                "the bytes do not have the SHA-256 that finish names: upload again under a new upload_id";
            return Err(Reason::ChecksumMismatch.metadata(message, [("sha256", counted)]));
        }
        Ok(view::file(&writer.close().await.map_err(failed)?))
    }

    async fn start(&self, tenant: Tenant, start: v1::UploadStart) -> Result<Writer, Status> {
        check_start(&start)?;
        let purpose = match start.purpose() {
            Purpose::Unspecified => Purpose::Batch,
            stated => stated,
        };
        let new = NewFile {
            id: FileId::now(),
            tenant,
            upload_id: Some(start.upload_id),
            filename: start.filename,
            purpose,
            created: self.store.now().await.map_err(status)?,
        };
        let file = self.store.open_file(&new).await.map_err(status)?;
        if file.ready {
            let message = format!("this upload is complete: it is {}", file.id.name());
            return Err(Reason::UploadComplete.metadata(message, [("file", file.id.name())]));
        }
        Writer::open(Arc::clone(&self.store), self.objects.clone(), file).await.map_err(failed)
    }

    async fn chunk(&self, writer: &mut Writer, chunk: &v1::UploadChunk) -> Result<(), Status> {
        const LIMIT: &str = "max_file_bytes";

        let expected = writer.position();
        if chunk.offset != expected {
            let message =
                format!("the chunk starts at {}, but the upload stands at {expected}", chunk.offset);
            return Err(Reason::OffsetMismatch.metadata(message, [("expected_offset", expected.to_string())]));
        }
        let length = i64::try_from(chunk.data.len()).unwrap_or(i64::MAX);
        if expected.saturating_add(length) > self.max_bytes {
            let most = self.max_bytes.unsigned_abs();
            let message = format!("a file may have {most} bytes (`{LIMIT}` of the planner): split the input");
            return Err(Reason::FileTooLarge.beyond("chunk.data", message, LIMIT, most));
        }
        writer.write(&chunk.data).await.map_err(failed)
    }

    /// Takes messages until `finish`; gives the checksum that it names.
    async fn receive(
        &self,
        writer: &mut Writer,
        messages: &mut Streaming<v1::UploadFileRequest>,
    ) -> Result<String, Status> {
        loop {
            let message = messages.message().await?;
            let Some(message) = message else {
                let why = "the stream ended without finish: resume from QueryUpload's offset";
                return Err(Reason::UploadOutOfOrder.status(why));
            };
            match message.part {
                Some(Part::Chunk(chunk)) => self.chunk(writer, &chunk).await?,
                Some(Part::Finish(finish)) => return Ok(finish.sha256),
                Some(Part::Start(_)) | None => {
                    return Err(
                        Reason::UploadOutOfOrder.field("part", "after start come chunks, then finish")
                    );
                }
            }
        }
    }
}

#[tonic::async_trait]
impl FileService for Files {
    async fn upload_file(
        &self,
        request: Request<Streaming<v1::UploadFileRequest>>,
    ) -> Result<Response<v1::File>, Status> {
        let tenant = tenant(&request)?;
        // A task of its own: a call that the client breaks off is dropped, and what came has yet to be kept.
        let over = CancellationToken::new();
        let upload = self.clone().upload(tenant, request.into_inner(), over.clone()).in_current_span();
        let _ended = over.drop_guard();
        let uploaded = self.tasks.spawn(upload).await;
        uploaded.map_err(|_| Reason::Internal.status("the upload was broken off"))?.map(Response::new)
    }

    async fn query_upload(
        &self,
        request: Request<v1::QueryUploadRequest>,
    ) -> Result<Response<v1::QueryUploadResponse>, Status> {
        let tenant = tenant(&request)?;
        let upload_id = request.into_inner().upload_id;
        check_upload_id("upload_id", &upload_id)?;
        let file = self.store.file_of_upload(&tenant, &upload_id).await.map_err(status)?;
        let file =
            file.ok_or_else(|| Reason::UploadNotFound.status("there is no upload of this upload_id"))?;
        let response = v1::QueryUploadResponse {
            committed_bytes: file.size,
            file: file.ready.then(|| view::file(&file)),
        };
        Ok(Response::new(response))
    }

    async fn get_file(&self, request: Request<v1::GetFileRequest>) -> Result<Response<v1::File>, Status> {
        let file = self.find(&tenant(&request)?, &request.into_inner().name).await?;
        Ok(Response::new(view::file(&file)))
    }

    async fn list_files(
        &self,
        request: Request<v1::ListFilesRequest>,
    ) -> Result<Response<v1::ListFilesResponse>, Status> {
        let tenant = tenant(&request)?;
        let request = request.into_inner();
        let limit = page::size(request.page_size)?;
        let wanted = listing(&request, limit)?;
        let files = self.store.files(&tenant, wanted).await.map_err(status)?;
        let next_page_token = page::next(files.len(), limit, files.last().map(|file| file.id));
        let files = files.iter().map(view::file).collect();
        Ok(Response::new(v1::ListFilesResponse { files, next_page_token }))
    }

    async fn delete_file(&self, request: Request<v1::DeleteFileRequest>) -> Result<Response<()>, Status> {
        let file = self.find(&tenant(&request)?, &request.into_inner().name).await?;
        match self.store.delete_file(file.id).await.map_err(status)? {
            FileDeletion::Deleted(_) => {}
            FileDeletion::NotFound => return Err(Reason::FileNotFound.status("the file is gone already")),
            FileDeletion::InUse => {
                let message = "a batch that has not ended reads this file: cancel it, or wait for its end";
                return Err(Reason::FileInUse.status(message));
            }
        }
        self.objects.delete_file(file.id).await.map_err(status)?;
        Ok(Response::new(()))
    }

    type DownloadFileStream = Pin<Box<dyn Stream<Item = Result<v1::DownloadFileResponse, Status>> + Send>>;

    async fn download_file(
        &self,
        request: Request<v1::DownloadFileRequest>,
    ) -> Result<Response<Self::DownloadFileStream>, Status> {
        let tenant = tenant(&request)?;
        let request = request.into_inner();
        let file = self.find(&tenant, &request.name).await?;
        if !file.ready {
            return Err(Reason::FileNotReady.status("the upload of this file is not complete"));
        }
        if request.offset < 0 || request.offset > file.size {
            let message = format!("offset must be 0 to {}", file.size);
            return Err(Reason::InvalidOffset.field("offset", message));
        }
        let mut offset = request.offset;
        let end = if request.end == 0 { file.size } else { request.end };
        if !(offset..=file.size).contains(&end) {
            let message = format!("end must be offset to {}, or 0 for the end of the file", file.size);
            return Err(Reason::InvalidOffset.field("end", message));
        }
        let blocks = Reader::new(self.objects.clone(), &file).stream(offset.unsigned_abs());
        let blocks = until((end - offset).unsigned_abs(), blocks);
        let messages = blocks.flat_map(|block| stream::iter(pieces(block))).map(move |piece| {
            let data = piece.map_err(failed)?;
            let response = v1::DownloadFileResponse { offset, data };
            offset += i64::try_from(response.data.len()).unwrap_or_default();
            Ok(response)
        });
        Ok(Response::new(messages.boxed()))
    }
}

/// Which files a request for a list wants, at most `limit`.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is wrong.
pub fn listing(request: &v1::ListFilesRequest, limit: i64) -> Result<FileListing, Status> {
    let wrong = |field, message| Err(Reason::InvalidArgument.field(field, message));
    let Ok(purpose) = Purpose::try_from(request.purpose) else {
        return wrong("purpose", "purpose is a number that is no purpose");
    };
    let Ok(state) = State::try_from(request.state) else {
        return wrong("state", "state is a number that is no state");
    };
    let Ok(order) = Order::try_from(request.order) else {
        return wrong("order", "order is a number that is no order");
    };
    Ok(FileListing {
        after: page::token(&request.page_token)?,
        oldest_first: order == Order::OldestFirst,
        purpose: Some(purpose).filter(|purpose| *purpose != Purpose::Unspecified),
        ready: match state {
            State::Unspecified => None,
            State::Uploading => Some(false),
            State::Ready => Some(true),
        },
        limit,
    })
}

/// The first `bytes` of what `blocks` give; no block is asked for behind them.
fn until(
    bytes: u64,
    blocks: BoxStream<'static, Result<Bytes, files::Error>>,
) -> impl Stream<Item = Result<Bytes, files::Error>> + Send {
    stream::unfold((bytes, blocks), |(left, mut blocks)| async move {
        if left == 0 {
            return None;
        }
        let block = blocks.next().await?.map(|mut block| {
            block.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            block
        });
        let taken = block.as_ref().map_or(0, Bytes::len);
        Some((block, (left.saturating_sub(taken as u64), blocks)))
    })
}

/// Checks an upload id that stands in `field`.
///
/// # Errors
/// INVALID_ARGUMENT if it is not 1 to 128 of A-Z a-z 0-9 _ -.
pub fn check_upload_id(field: &'static str, upload_id: &str) -> Result<(), Status> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=128).contains(&upload_id.len()) && upload_id.bytes().all(good) {
        return Ok(());
    }
    Err(Reason::InvalidArgument.field(field, "upload_id must be 1 to 128 of A-Z a-z 0-9 _ -"))
}

/// Checks the first message of an upload.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is wrong.
pub fn check_start(start: &v1::UploadStart) -> Result<(), Status> {
    let wrong = |field, message: &str| Err(Reason::InvalidArgument.field(field, message));
    check_upload_id("start.upload_id", &start.upload_id)?;
    if !is_label(&start.filename) {
        let message =
            "filename must have at most 255 bytes and be no path; no control characters, visible or not";
        return wrong("start.filename", message);
    }
    match Purpose::try_from(start.purpose) {
        Ok(Purpose::Unspecified | Purpose::Batch | Purpose::Model) => Ok(()),
        Ok(Purpose::BatchOutput) | Err(_) => {
            wrong("start.purpose", "only files of purpose batch or model may be uploaded")
        }
    }
}

/// Whether a file may be called so: it names nothing here, but somebody may save the file under it, or read it in a
/// list. (Cf: marks that turn the text around them.)
fn is_label(name: &str) -> bool {
    let bad = |c: char| matches!(c, '/' | '\\') || c.is_control() || get_general_category(c) == Format;
    name.len() <= 255 && !matches!(name, "." | "..") && !name.contains(bad)
}

/// A block of the store in messages of bounded size.
pub(super) fn pieces(block: Result<Bytes, files::Error>) -> Vec<Result<Bytes, files::Error>> {
    match block {
        Ok(block) => {
            let starts = (0..block.len()).step_by(DOWNLOAD_BYTES);
            starts.map(|at| Ok(block.slice(at..block.len().min(at + DOWNLOAD_BYTES)))).collect()
        }
        Err(error) => vec![Err(error)],
    }
}

pub(super) fn failed(error: files::Error) -> Status {
    match error {
        files::Error::Superseded => {
            let message = "another stream of this upload is under way: ask QueryUpload, then resume";
            Reason::Unavailable.retry_after(message, RETRY)
        }
        error => status(error),
    }
}
