use anyhow::Context as _;
use caravan_proto::{
    MAX_MESSAGE_BYTES, error,
    v1::{
        Batch, CreateBatchRequest, DownloadFileRequest, File, GetBatchRequest, StreamResultsRequest,
        StreamResultsResponse, UploadChunk, UploadFileRequest, UploadFinish, UploadStart, WatchBatchRequest,
        WatchBatchResponse, batch::State, batch_service_client::BatchServiceClient,
        file_service_client::FileServiceClient, fleet_service_client::FleetServiceClient,
        upload_file_request::Part,
    },
};
use sha2::{Digest as _, Sha256};
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{Audit, Input, audit, wait::until};

/// The gRPC services of one server.
#[derive(Debug, Clone)]
pub struct Api {
    channel: Channel,
}

/// The stable reason of an error; empty if it has none.
#[must_use]
pub fn reason(status: &Status) -> String {
    error::reason(status).unwrap_or_default()
}

// === impl Api ===

impl Api {
    /// Services at `url`, dialled at the first call.
    ///
    /// # Errors
    /// If it is no URL.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        Ok(Self::on(Endpoint::from_shared(url.to_owned())?.connect_lazy()))
    }

    /// Services over a connection.
    #[must_use]
    pub fn on(channel: Channel) -> Self {
        Self { channel }
    }

    /// The connection, for other services.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Files.
    #[must_use]
    pub fn files(&self) -> FileServiceClient<Channel> {
        FileServiceClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Batches.
    #[must_use]
    pub fn batches(&self) -> BatchServiceClient<Channel> {
        BatchServiceClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The fleet.
    #[must_use]
    pub fn fleet(&self) -> FleetServiceClient<Channel> {
        FleetServiceClient::new(self.channel())
    }

    /// Uploads some bytes, a MiB at a time.
    ///
    /// # Errors
    /// As the server says.
    pub async fn upload(&self, bytes: &[u8]) -> Result<File, Status> {
        let mut parts = vec![start(&Uuid::now_v7().simple().to_string())];
        for (index, data) in bytes.chunks(1 << 20).enumerate() {
            parts.push(chunk((index << 20) as i64, data));
        }
        parts.push(finish(&sha256(bytes)));
        self.send(parts).await
    }

    /// One call of UploadFile with these parts.
    ///
    /// # Errors
    /// As the server says.
    pub async fn send(&self, parts: Vec<Part>) -> Result<File, Status> {
        let parts = parts.into_iter().map(|part| UploadFileRequest { part: Some(part) });
        let call = self.files().upload_file(tokio_stream::iter(parts.collect::<Vec<_>>())).await;
        call.map(tonic::Response::into_inner)
    }

    /// Uploads an input and creates a batch of it as `policy` says.
    ///
    /// # Errors
    /// As the server says.
    pub async fn create(&self, input: &Input, policy: Batch) -> Result<Batch, Status> {
        let file = self.upload(input.bytes()).await?;
        let batch = Batch { input_file: file.name, ..policy };
        let request = CreateBatchRequest { batch: Some(batch), ..Default::default() };
        self.batches().create_batch(request).await.map(tonic::Response::into_inner)
    }

    /// The batch now.
    ///
    /// # Errors
    /// As the server says.
    pub async fn get(&self, name: &str) -> Result<Batch, Status> {
        let request = GetBatchRequest { name: name.to_owned() };
        self.batches().get_batch(request).await.map(tonic::Response::into_inner)
    }

    /// Waits until the batch is as `is` says; a server that is away is waited for.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn when(&self, name: &str, what: &str, is: impl Fn(&Batch) -> bool) -> anyhow::Result<Batch> {
        let look = async || match self.get(name).await {
            Ok(batch) if is(&batch) => Ok(batch),
            Ok(batch) => Err(format!(
                "{:?} {} {} {:?} {:?}",
                batch.state(),
                batch.state_reason,
                batch.state_message,
                batch.requests,
                batch.chunks
            )),
            Err(status) => Err(status.to_string()),
        };
        until(&format!("{name} {what}"), look).await
    }

    /// Waits for the end of a batch.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn ended(&self, name: &str) -> anyhow::Result<Batch> {
        let ended = |batch: &Batch| {
            matches!(batch.state(), State::Completed | State::Failed | State::Cancelled | State::Expired)
        };
        self.when(name, "ends", ended).await
    }

    /// Audits the files of an ended batch, and its counts against them.
    ///
    /// # Errors
    /// What does not hold.
    pub async fn audit(&self, input: &Input, batch: &Batch) -> anyhow::Result<Audit> {
        let audit = audit(
            input,
            &self.download(&batch.output_file).await?,
            &self.download(&batch.error_file).await?,
        )?;
        audit.agrees_with(&caravan_proto::json::to_value(batch))?;
        Ok(audit)
    }

    /// A whole file; nothing if `name` is empty.
    ///
    /// # Errors
    /// As the server says.
    pub async fn download(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if !name.is_empty() {
            let request = DownloadFileRequest { name: name.to_owned(), offset: 0, end: 0 };
            let mut stream = self.files().download_file(request).await?.into_inner();
            while let Some(part) = stream.message().await? {
                anyhow::ensure!(part.offset == bytes.len() as i64, "a gap at {}", part.offset);
                bytes.extend_from_slice(&part.data);
            }
        }
        Ok(bytes)
    }

    /// Watches a batch from a token on.
    ///
    /// # Errors
    /// As the server says.
    pub async fn watch(&self, name: &str, token: &str) -> Result<Streaming<WatchBatchResponse>, Status> {
        let request = WatchBatchRequest { name: name.to_owned(), resume_token: token.to_owned() };
        self.batches().watch_batch(request).await.map(tonic::Response::into_inner)
    }

    /// Streams results.
    ///
    /// # Errors
    /// As the server says.
    pub async fn results(
        &self,
        request: StreamResultsRequest,
    ) -> Result<Streaming<StreamResultsResponse>, Status> {
        self.batches().stream_results(request).await.map(tonic::Response::into_inner)
    }

    /// Waits until an engine of the fleet serves `model`.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn serves(&self, model: &str) -> anyhow::Result<()> {
        self.serves_on(model, 1).await
    }

    /// The first engine of the fleet.
    ///
    /// # Errors
    /// If there is none.
    pub async fn engine(&self) -> anyhow::Result<caravan_proto::v1::Engine> {
        let request = caravan_proto::v1::ListExecutorsRequest::default();
        let listed = self.fleet().list_executors(request).await?.into_inner();
        let engine = listed.executors.into_iter().flat_map(|executor| executor.engines).next();
        engine.context("no engine")
    }

    /// Waits until so many engines of the fleet serve `model`.
    ///
    /// # Errors
    /// If it takes too long.
    pub async fn serves_on(&self, model: &str, engines: usize) -> anyhow::Result<()> {
        let look = async || {
            let listed =
                self.fleet().list_executors(caravan_proto::v1::ListExecutorsRequest::default()).await;
            let executors = listed.map_err(|status| status.to_string())?.into_inner().executors;
            let all = executors.iter().flat_map(|executor| &executor.engines);
            let serving = all.filter(|e| e.models.iter().any(|known| known.name.starts_with(model)));
            if serving.count() >= engines { Ok(()) } else { Err(format!("{executors:?}")) }
        };
        until(&format!("{engines} engines serve {model}"), look).await.context("too few engines")
    }
}

/// The first part of an upload.
#[must_use]
pub fn start(upload_id: &str) -> Part {
    let upload_id = upload_id.to_owned();
    Part::Start(UploadStart { upload_id, filename: "input.jsonl".into(), ..Default::default() })
}

/// Bytes of an upload.
#[must_use]
pub fn chunk(offset: i64, data: &[u8]) -> Part {
    Part::Chunk(UploadChunk { offset, data: data.to_vec().into() })
}

/// The last part of an upload.
#[must_use]
pub fn finish(sha256: &str) -> Part {
    Part::Finish(UploadFinish { sha256: sha256.to_owned() })
}

/// SHA-256 in hex digits.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
