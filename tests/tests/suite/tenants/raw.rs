//! Calls of any method, by its path and its bytes.

use bytes::{Buf as _, BufMut as _, Bytes};
use caravan_tests::Api;
use http::uri::PathAndQuery;
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

/// Calls a method with these messages, and in the name of `claimed` if anybody believes it. Gives the first
/// message of the answer.
pub(super) async fn call(
    api: &Api,
    claimed: Option<&str>,
    path: &str,
    messages: Vec<Vec<u8>>,
) -> Result<Option<Bytes>, Status> {
    let messages = messages.into_iter().map(Bytes::from).collect::<Vec<_>>();
    let mut request = Request::new(tokio_stream::iter(messages));
    if let Some(tenant) = claimed {
        for (key, value) in
            [("caravan-tenant", tenant), ("caravan-subject", ""), ("caravan-roles", "submit,read,admin")]
        {
            request.metadata_mut().insert(key, value.parse().expect("a value"));
        }
    }
    let mut client = Grpc::new(api.line());
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path: PathAndQuery = path.parse().expect("a path");
    client.streaming(request, path, Raw).await?.into_inner().message().await
}

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
