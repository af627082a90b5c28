//! Downloads a file, and goes on where it stood when the connection breaks.

use caravan_proto::v1::{DownloadFileRequest, DownloadFileResponse, GetFileRequest};
use tonic::{Status, Streaming};

use crate::{failure::Failure, local_file::LocalFile, patience::Patience, server::Server};

/// Appends the file `name` of the server to `to`; memory holds one message.
pub(crate) async fn download(server: &Server, name: &str, to: &mut LocalFile) -> Result<(), Failure> {
    let request = GetFileRequest { name: name.to_owned() };
    let file = server.call(request, async |request| server.files().get_file(request).await).await?;
    let mut patience = server.patience();
    let mut offset = 0;
    while offset < file.size_bytes {
        let request = DownloadFileRequest { name: name.to_owned(), offset, ..Default::default() };
        let ended = match server.files().download_file(request).await {
            Ok(response) => append(response.into_inner(), &mut offset, to, &mut patience).await?,
            Err(status) => status,
        };
        if offset < file.size_bytes {
            patience.wait(ended).await?;
        }
    }
    Ok(())
}

/// Appends one stream and moves `offset`, until the stream ends: the status says how.
async fn append(
    mut pieces: Streaming<DownloadFileResponse>,
    offset: &mut i64,
    to: &mut LocalFile,
    patience: &mut Patience,
) -> Result<Status, Failure> {
    loop {
        let piece = match pieces.message().await {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(Status::unavailable("the download ended before its last byte")),
            Err(status) => return Ok(status),
        };
        if piece.offset != *offset {
            return Err(Failure::Unexpected(format!("offset {} where {offset} follows", piece.offset)));
        }
        if !piece.data.is_empty() {
            to.write(&piece.data).await?;
            *offset = offset.saturating_add(i64::try_from(piece.data.len()).unwrap_or(i64::MAX));
            // Only bytes count: a stream that never moves must not last for ever.
            patience.answered();
        }
    }
}
