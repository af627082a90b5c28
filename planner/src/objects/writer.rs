use std::{io, sync::Arc};

use bytes::BytesMut;
use object_store::{ObjectStore, buffered::BufWriter, path::Path as Key};
use tokio::io::AsyncWriteExt as _;

use super::{Error, Fault, PART_BYTES, health::Health, seal::Sealer};

/// Parts of one object under way at once: with the one that fills, 24 MiB.
const PARTS: usize = 2;

/// Writes an object that is too large to hold, as it comes. It exists once `close` returns.
/// What is dropped before leaves no object; a bucket may keep parts of it, which a lifecycle rule for
/// incomplete uploads removes.
#[derive(Debug)]
pub struct Writer {
    key: Key,
    sealer: Sealer,
    /// None once it failed.
    writer: Option<BufWriter>,
    health: Health,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(store: Arc<dyn ObjectStore>, key: Key, health: Health) -> Self {
        let writer = BufWriter::with_capacity(store, key.clone(), PART_BYTES).with_max_concurrency(PARTS);
        Self { sealer: Sealer::new(&key), key, writer: Some(writer), health }
    }

    /// Takes bytes.
    ///
    /// # Errors
    /// If bytes taken before cannot be stored; then it takes no more.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let sealed = self.sealer.push(bytes);
        self.put(sealed).await
    }

    /// Stores the rest.
    ///
    /// # Errors
    /// If it cannot be stored; then there is no object.
    pub async fn close(mut self) -> Result<(), Error> {
        let sealed = std::mem::replace(&mut self.sealer, Sealer::new(&self.key)).finish();
        self.put(sealed).await?;
        let Some(mut writer) = self.writer.take() else { return Err(self.failed(given_up())) };
        writer.shutdown().await.map_err(|error| self.failed(inner(error)))?;
        self.health.written();
        Ok(())
    }

    async fn put(&mut self, sealed: BytesMut) -> Result<(), Error> {
        let Some(writer) = &mut self.writer else { return Err(self.failed(given_up())) };
        if sealed.is_empty() {
            return Ok(());
        }
        let Err(error) = writer.put(sealed.freeze()).await else { return Ok(()) };
        // What cannot be aborted is left to the bucket's rule.
        let _left = writer.abort().await;
        self.writer = None;
        Err(self.failed(error))
    }

    fn failed(&self, error: object_store::Error) -> Error {
        let fault = Fault::of(&self.key, error);
        self.health.failed(&fault, PART_BYTES);
        fault.into()
    }
}

fn given_up() -> object_store::Error {
    object_store::Error::Generic { store: "multipart", source: "the upload was given up".into() }
}

/// The store's own error, which comes wrapped.
fn inner(error: io::Error) -> object_store::Error {
    match error.downcast() {
        Ok(error) => error,
        Err(error) => object_store::Error::Generic { store: "multipart", source: Box::new(error) },
    }
}
