use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tonic::Status;

/// The end of a gRPC answer whose head is sent.
///
/// # Errors
/// The status itself, if no header can hold it.
pub(crate) fn trailers(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
}
