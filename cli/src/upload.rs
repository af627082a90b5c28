//! Uploads an input, and goes on where it stood when the connection breaks.

use std::io::SeekFrom;

use caravan_proto::{
    error::{self, Reason},
    v1::{
        DeleteFileRequest, File, QueryUploadRequest, QueryUploadResponse, UploadChunk, UploadFileRequest,
        UploadFinish, UploadStart,
        file::{Purpose, State},
        upload_file_request::Part,
    },
};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use uuid::Uuid;

use crate::{failure::Failure, input::Input, patience::Patience, progress::Transfer, server::Server, stderr};

/// The size that the contract calls good.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks read ahead of the connection: with the connection's own window the bound on memory.
const CHUNKS_AHEAD: usize = 4;

/// Uploads `input` and returns the file on the server.
pub(crate) async fn upload(server: &Server, input: &Input, transfer: &Transfer) -> Result<File, Failure> {
    let id = Uuid::now_v7().simple().to_string();
    let upload = Upload { server, input, transfer, id, purpose: Purpose::Batch, sha256: None };
    upload.run(0).await
}

/// The same for a model's file with this SHA-256, which is the key as well: what an earlier command
/// has sent is not sent again.
pub(crate) async fn upload_model(
    server: &Server,
    input: &Input,
    sha256: String,
    transfer: &Transfer,
) -> Result<File, Failure> {
    let (id, purpose) = (format!("model-{sha256}"), Purpose::Model);
    let upload = Upload { server, input, transfer, id, purpose, sha256: Some(sha256) };
    let stored = upload.query(&mut server.patience()).await?;
    match stored.file {
        Some(file) => Ok(file),
        None => upload.run(u64::try_from(stored.committed_bytes).unwrap_or_default()).await,
    }
}

/// Deletes a file that was uploaded for nothing; says so where that fails, since nobody else will.
pub(crate) async fn discard(server: &Server, name: String) {
    let request = DeleteFileRequest { name: name.clone() };
    if let Err(failure) =
        server.call(request, async |request| server.files().delete_file(request).await).await
    {
        stderr::note(format_args!("{name} was not deleted: {failure}"));
    }
}

/// SHA-256 of all bytes, 64 hex digits.
pub(crate) async fn hash(input: &Input, transfer: &Transfer) -> Result<String, Failure> {
    let mut hash = Hash::default();
    let mut pieces = Pieces::from(input, 0).await?;
    while let Some(data) = pieces.next().await? {
        hash.take(hash.upto, &data);
        transfer.at(hash.upto);
    }
    Ok(hash.hex())
}

struct Upload<'a> {
    server: &'a Server,
    input: &'a Input,
    transfer: &'a Transfer,
    /// The key for resuming.
    id: String,
    purpose: Purpose,
    /// Of the whole, if that is known; else it is taken as the bytes are sent.
    sha256: Option<String>,
}

/// The bytes of an input from an offset on.
struct Pieces<'a> {
    input: &'a Input,
    file: tokio::fs::File,
}

/// The hash of the bytes up to an offset, kept over attempts so that no byte is hashed twice.
#[derive(Default)]
struct Hash {
    sha256: Sha256,
    upto: u64,
}

// === impl Upload ===

impl Upload<'_> {
    async fn run(&self, mut offset: u64) -> Result<File, Failure> {
        let mut hash = Hash::default();
        let mut patience = self.server.patience();
        loop {
            let status = match self.attempt(offset, &mut hash).await? {
                Ok(file) if file.state() == State::Ready => return Ok(file),
                Ok(_) => Status::unavailable("the upload ended before its last byte"),
                Err(status) => status,
            };
            patience.wait(resumable(status)).await?;
            let stored = self.query(&mut patience).await?;
            if let Some(file) = stored.file.filter(|file| file.state() == State::Ready) {
                return Ok(file);
            }
            let committed = u64::try_from(stored.committed_bytes).unwrap_or_default();
            if committed > offset {
                patience.answered();
            }
            offset = committed;
            self.transfer.at(offset);
        }
    }

    /// Sends everything from `offset` on. The outer error is the input's, the inner one the call's.
    async fn attempt(&self, offset: u64, hash: &mut Hash) -> Result<Result<File, Status>, Failure> {
        let (sender, parts) = mpsc::channel(CHUNKS_AHEAD);
        let mut files = self.server.files();
        let (answer, sent) =
            tokio::join!(files.upload_file(ReceiverStream::new(parts)), self.send(offset, hash, sender));
        sent?;
        Ok(answer.map(tonic::Response::into_inner))
    }

    /// Ends early, without an error, when the call has ended: its status says why.
    async fn send(
        &self,
        mut offset: u64,
        hash: &mut Hash,
        parts: mpsc::Sender<UploadFileRequest>,
    ) -> Result<(), Failure> {
        let send = async |part| parts.send(UploadFileRequest { part: Some(part) }).await.is_ok();
        let start = UploadStart {
            upload_id: self.id.clone(),
            filename: self.input.filename().to_owned(),
            purpose: self.purpose.into(),
            discard_unfinished: false,
        };
        if !send(Part::Start(start)).await {
            return Ok(());
        }
        let mut pieces = Pieces::from(self.input, offset).await?;
        while let Some(data) = pieces.next().await? {
            // Of a model's file it is known.
            if self.sha256.is_none() {
                hash.take(offset, &data);
            }
            let at = i64::try_from(offset).unwrap_or(i64::MAX);
            offset += data.len() as u64;
            if !send(Part::Chunk(UploadChunk { offset: at, data: data.into() })).await {
                return Ok(());
            }
            self.transfer.at(offset);
        }
        let sha256 = self.sha256.clone().unwrap_or_else(|| hash.hex());
        send(Part::Finish(UploadFinish { sha256 })).await;
        Ok(())
    }

    /// How much the server has; nothing, if the upload's start never reached it.
    async fn query(&self, patience: &mut Patience) -> Result<QueryUploadResponse, Failure> {
        loop {
            let request = QueryUploadRequest { upload_id: self.id.clone() };
            match self.server.files().query_upload(request).await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) if is(&status, Reason::UploadNotFound) => {
                    return Ok(QueryUploadResponse::default());
                }
                Err(status) => patience.wait(status).await?,
            }
        }
    }
}

// === impl Pieces ===

impl<'a> Pieces<'a> {
    async fn from(input: &'a Input, offset: u64) -> Result<Self, Failure> {
        let mut file = tokio::fs::File::from_std(input.reader()?);
        file.seek(SeekFrom::Start(offset)).await.map_err(|source| input.unread(source))?;
        Ok(Self { input, file })
    }

    /// The next of at most `CHUNK_BYTES`; none at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut data = Vec::with_capacity(CHUNK_BYTES);
        let read = (&mut self.file).take(CHUNK_BYTES as u64).read_to_end(&mut data).await;
        read.map_err(|source| self.input.unread(source))?;
        Ok(Some(data).filter(|data| !data.is_empty()))
    }
}

// === impl Hash ===

impl Hash {
    /// Takes what of `data`, which begins at `offset`, was not taken before.
    fn take(&mut self, offset: u64, data: &[u8]) {
        let known = usize::try_from(self.upto.saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        self.sha256.update(&data[known..]);
        self.upto = self.upto.max(offset + data.len() as u64);
    }

    fn hex(&self) -> String {
        self.sha256.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What only says that both sides differ on how far the upload is passes with a query.
fn resumable(status: Status) -> Status {
    let differs = is(&status, Reason::OffsetMismatch)
        || is(&status, Reason::UploadComplete)
        || is(&status, Reason::UploadOutOfOrder);
    if differs { Status::unavailable(status.message()) } else { status }
}

fn is(status: &Status, reason: Reason) -> bool {
    error::reason(status).as_deref() == Some(reason.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_sent_again_are_hashed_once() {
        let mut hash = Hash::default();
        hash.take(0, b"cara");
        hash.take(2, b"ra");
        hash.take(2, b"ravan");
        let mut whole = Hash::default();
        whole.take(0, b"caravan");
        assert_eq!(hash.hex(), whole.hex());
        assert_eq!(hash.upto, 7);
    }
}
