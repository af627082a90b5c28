use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use caravan_proto::{
    MAX_MESSAGE_BYTES,
    v1::{FetchModelRequest, FetchModelResponse, work_service_client::WorkServiceClient},
};
use caravan_service::client::Replicas;
use futures::stream::{self, BoxStream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, Streaming};

use super::errands::FileOrder;
use crate::{backoff::Backoff, engine::acquire::ModelFile};

/// Where the files of models are, and how long to wait for them.
#[derive(Debug, Clone)]
pub(crate) struct Planners {
    pub(crate) replicas: Replicas,
    pub(crate) first_pause: Duration,
    pub(crate) longest_pause: Duration,
    /// How long a transfer may stand still.
    pub(crate) patience: Duration,
}

/// A file of the planner's. It is passed on as it comes: a piece of it is held at a time.
pub(super) struct Fetch {
    pub(super) planners: Planners,
    pub(super) file: FileOrder,
    /// Hears how many bytes are here.
    pub(super) arrived: Arc<dyn Fn(u64) + Send + Sync>,
}

/// A transfer under way, which outlives any number of streams.
struct Transfer {
    planners: Planners,
    file: FileOrder,
    arrived: Arc<dyn Fn(u64) + Send + Sync>,
    pieces: Option<Streaming<FetchModelResponse>>,
    offset: u64,
    hash: Sha256,
    pauses: Backoff,
    /// Since when nothing came.
    idle: Instant,
}

// === impl Fetch ===

impl ModelFile for Fetch {
    fn sha256(&self) -> &str {
        &self.file.sha256
    }

    fn bytes(&self) -> u64 {
        self.file.bytes
    }

    fn read(&self) -> BoxStream<'static, io::Result<Bytes>> {
        let Planners { first_pause, longest_pause, .. } = self.planners;
        let transfer = Transfer {
            planners: self.planners.clone(),
            file: self.file.clone(),
            arrived: Arc::clone(&self.arrived),
            pieces: None,
            offset: 0,
            hash: Sha256::new(),
            pauses: Backoff::new(first_pause, longest_pause),
            idle: Instant::now(),
        };
        stream::try_unfold(transfer, async |mut transfer| {
            let piece = transfer.next().await.map_err(io::Error::other)?;
            Ok(piece.map(|piece| (piece, transfer)))
        })
        .boxed()
    }
}

// === impl Transfer ===

impl Transfer {
    /// The next piece; none behind the last byte. A stream that breaks is opened again where it stood.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        while self.offset < self.file.bytes {
            match self.piece().await {
                Ok(piece) => return self.take(piece).map(Some),
                Err(status) => self.pause(status).await?,
            }
        }
        Ok(None)
    }

    async fn piece(&mut self) -> Result<Bytes, Status> {
        let pieces = match &mut self.pieces {
            Some(pieces) => pieces,
            None => {
                let opened = self.open().await?;
                self.pieces.insert(opened)
            }
        };
        let broken_off = || Status::unavailable("it ended before its last byte");
        Ok(pieces.message().await?.ok_or_else(broken_off)?.data)
    }

    async fn open(&self) -> Result<Streaming<FetchModelResponse>, Status> {
        let replicas = self.planners.replicas.clone();
        let mut client = WorkServiceClient::new(replicas).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        let request = FetchModelRequest { file: self.file.name.clone(), offset };
        Ok(client.fetch_model(request).await?.into_inner())
    }

    /// Takes a piece. The last one is only passed on if the whole is what it should be.
    fn take(&mut self, piece: Bytes) -> Result<Bytes, String> {
        self.offset += piece.len() as u64;
        self.hash.update(&piece);
        let FileOrder { name, sha256, bytes, .. } = &self.file;
        if self.offset > *bytes {
            return Err(format!("{name} has more than its {bytes} bytes"));
        }
        if self.offset == *bytes {
            let found: String = self.hash.finalize_reset().iter().map(|byte| format!("{byte:02x}")).collect();
            if found != *sha256 {
                return Err(format!("{name} was damaged on its way: its SHA-256 is {found}, not {sha256}"));
            }
        }
        if !piece.is_empty() {
            self.idle = Instant::now();
            self.pauses.reset();
            (self.arrived)(self.offset);
        }
        Ok(piece)
    }

    /// Waits before the next try. An error if that would not help, or not any more.
    async fn pause(&mut self, status: Status) -> Result<(), String> {
        let lost = matches!(
            status.code(),
            Code::NotFound
                | Code::OutOfRange
                | Code::InvalidArgument
                | Code::FailedPrecondition
                | Code::Unimplemented
        );
        let FileOrder { name, bytes, .. } = &self.file;
        if lost || self.idle.elapsed() >= self.planners.patience {
            let at = self.offset;
            return Err(format!("{name} cannot be fetched: {} (at byte {at} of {bytes})", status.message()));
        }
        tracing::info!(file = name, offset = self.offset, %status, "fetching a model's file broke off: again");
        self.pieces = None;
        sleep(self.pauses.pause()).await;
        Ok(())
    }
}
