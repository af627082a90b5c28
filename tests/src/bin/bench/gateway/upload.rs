use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use caravan_proto::{
    MAX_MESSAGE_BYTES,
    v1::{
        File, UploadChunk, UploadFileRequest, file_service_client::FileServiceClient,
        upload_file_request::Part,
    },
};
use caravan_tests::{Fleet, finish, start};
use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codegen::{Service, http},
    server::{ClientStreamingService, Grpc, NamedService},
    transport::{Channel, Endpoint, Server},
};
use tonic_prost::ProstCodec;
use uuid::Uuid;

use super::{id, memory::Memory};

/// Bytes of a message, as the command sends them.
const CHUNK: usize = 1 << 20;
/// The limits: bytes a second, or so much of a stream that goes nowhere.
const LIMIT: f64 = 300e6;
const SHARE: f64 = 0.7;

/// A file through the gateway against the same messages into the void; then a file ten times as long.
pub(super) async fn run(fleet: &mut Fleet, megabytes: usize) -> anyhow::Result<()> {
    let void = Void::serve().await?;
    let (small, large) = (Content::new(megabytes), Content::new(megabytes * 10));
    let gateway = id(fleet.gateway())?;
    println!("upload: {megabytes} MB, and ten times that, in messages of {CHUNK} bytes");
    let before = Memory::of(gateway)?;
    // The first is to warm up, as is the other way's.
    let mut through = small.send(&fleet.grpc).await?;
    let after_small = Memory::of(gateway)?;
    let mut bare = small.send(&void.url).await?;
    for _ in 0..3 {
        through = through.max(small.send(&fleet.grpc).await?);
        bare = bare.max(small.send(&void.url).await?);
    }
    let straight = small.send(&fleet.planner_url()).await?;
    let long = large.send(&fleet.grpc).await?;
    let after_large = Memory::of(gateway)?;
    let mb = |bytes: f64| bytes / 1e6;
    println!("  through the gateway {:.0} MB/s, {:.2} x the limit", mb(through), through / LIMIT);
    println!(
        "  a bare stream {:.0} MB/s; the gateway {:.2} x the limit of that",
        mb(bare),
        through / bare / SHARE
    );
    println!("  straight to the planner {:.0} MB/s; the long file {:.0} MB/s", mb(straight), mb(long));
    let peak = |memory: Memory| mb((memory.peak - before.resident) as f64);
    println!(
        "  memory beyond {:.0} MB: {:.1} MB for the short file, {:.1} MB for the long one",
        mb(before.resident as f64),
        peak(after_small),
        peak(after_large)
    );
    Ok(())
}

/// A file of one chunk, again and again.
struct Content {
    chunk: Bytes,
    chunks: usize,
    sha256: String,
}

// === impl Content ===

impl Content {
    fn new(megabytes: usize) -> Self {
        let chunks = (megabytes * 1_000_000).div_ceil(CHUNK);
        let chunk: Vec<u8> = (0..CHUNK).map(|index| (index * 31 % 251) as u8).collect();
        let mut hash = Sha256::new();
        for _ in 0..chunks {
            hash.update(&chunk);
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { chunk: chunk.into(), chunks, sha256 }
    }

    /// Bytes a second.
    async fn send(&self, url: &str) -> anyhow::Result<f64> {
        let channel = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
        let chunk = self.chunk.clone();
        let chunks = stream::iter(0..self.chunks).map(move |index| {
            Part::Chunk(UploadChunk { offset: (index * CHUNK) as i64, data: chunk.clone() })
        });
        let parts = stream::iter([start(&Uuid::now_v7().simple().to_string())]).chain(chunks);
        let parts = parts.chain(stream::iter([finish(&self.sha256)]));
        let since = Instant::now();
        let messages = parts.map(|part| UploadFileRequest { part: Some(part) });
        let file = client(channel).upload_file(messages).await?.into_inner();
        let bytes = self.chunks * CHUNK;
        anyhow::ensure!(file.size_bytes == bytes as i64, "{} bytes came", file.size_bytes);
        Ok(bytes as f64 / since.elapsed().as_secs_f64())
    }
}

fn client(channel: Channel) -> FileServiceClient<Channel> {
    FileServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

/// A server that reads an upload and does nothing with it.
struct Void {
    url: String,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Reader;

// === impl Void ===

impl Void {
    async fn serve() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let served = Server::builder().add_service(Reader);
            let _ended = served.serve_with_incoming(TcpListenerStream::new(listener)).await;
        });
        Ok(Self { url, _tasks: tasks })
    }
}

// === impl Reader ===

impl NamedService for Reader {
    const NAME: &'static str = "caravan.v1.FileService";
}

impl Service<http::Request<Body>> for Reader {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let codec = ProstCodec::<File, UploadFileRequest>::default();
        let mut grpc = Grpc::new(codec).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Box::pin(async move { Ok(grpc.client_streaming(Self, request).await) })
    }
}

impl ClientStreamingService<UploadFileRequest> for Reader {
    type Response = File;
    type Future = Pin<Box<dyn Future<Output = Result<Response<File>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<UploadFileRequest>>) -> Self::Future {
        Box::pin(async move {
            let (mut parts, mut size_bytes) = (request.into_inner(), 0);
            while let Some(message) = parts.message().await? {
                if let Some(Part::Chunk(chunk)) = message.part {
                    size_bytes += chunk.data.len() as i64;
                }
            }
            Ok(Response::new(File { size_bytes, ..File::default() }))
        })
    }
}
