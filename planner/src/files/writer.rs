use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use super::{Error, Reader};
use crate::{
    objects::{Objects, PART_BYTES},
    store::{File, FileDeletion, Store},
};

/// Appends to an open file, part by part: one is stored while the next one comes. Holds two in memory at most.
pub struct Writer {
    store: Arc<dyn Store>,
    objects: Objects,
    file: File,
    /// Bytes of the part that is being stored, if one is. Dropped, it is given up.
    storing: JoinSet<Result<i64, Error>>,
    under_way: i64,
    pending: BytesMut,
    hash: Sha256,
}

// === impl Writer ===

impl Writer {
    /// A writer behind the parts that the file has; those are read once, for the checksum.
    ///
    /// # Errors
    /// If the parts cannot be read.
    pub async fn open(store: Arc<dyn Store>, objects: Objects, file: File) -> Result<Self, Error> {
        let mut hash = Sha256::new();
        let mut stored = Reader::new(objects.clone(), &file).stream(0);
        while let Some(bytes) = stored.try_next().await? {
            hash.update(&bytes);
        }
        let (storing, pending) = (JoinSet::new(), BytesMut::new());
        Ok(Self { store, objects, file, storing, under_way: 0, pending, hash })
    }

    /// Bytes taken so far, stored or not.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.file.size + self.under_way + length(&self.pending)
    }

    /// Takes bytes; stores a part whenever one is full.
    ///
    /// # Errors
    /// If a part cannot be stored, or another writer stored it first.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        self.hash.update(bytes);
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(PART_BYTES - self.pending.len()));
            self.pending.extend_from_slice(now);
            bytes = rest;
            if self.pending.len() == PART_BYTES {
                self.store().await?;
            }
        }
        Ok(())
    }

    /// Stores what is pending as a part, so that an interrupted upload finds it again.
    ///
    /// # Errors
    /// As `write`.
    pub async fn flush(&mut self) -> Result<(), Error> {
        if !self.pending.is_empty() {
            self.store().await?;
        }
        self.stored().await
    }

    /// Begins to store what is pending, once the part before it stands.
    async fn store(&mut self) -> Result<(), Error> {
        self.stored().await?;
        let part: Bytes = self.pending.split().freeze();
        let (id, number) = (self.file.id, i64::try_from(self.file.parts.len()).unwrap_or(i64::MAX));
        let (store, objects, bytes) = (Arc::clone(&self.store), self.objects.clone(), length(&part));
        self.under_way = bytes;
        let storing = async move {
            objects.put_part(id, number, part).await?;
            if store.append_part(id, number, bytes).await? { Ok(bytes) } else { Err(Error::Superseded) }
        };
        self.storing.spawn(storing.in_current_span());
        Ok(())
    }

    /// Waits for the part that is being stored.
    async fn stored(&mut self) -> Result<(), Error> {
        while let Some(stored) = self.storing.join_next().await {
            self.under_way = 0;
            let bytes = stored.map_err(std::io::Error::other)??;
            self.file.parts.push(bytes);
            self.file.size += bytes;
        }
        Ok(())
    }

    /// SHA-256 of everything taken so far, hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Removes the file, row and parts, if it is still what this writer wrote.
    ///
    /// # Errors
    /// If they cannot be removed, or another writer went on with the file.
    pub async fn discard(mut self) -> Result<(), Error> {
        // Whatever became of the part under way: the row says what there is.
        let _stored_or_not = self.stored().await;
        let now = self.store.file(self.file.id).await?;
        if now.is_some_and(|now| now.ready || now.parts != self.file.parts) {
            return Err(Error::Superseded);
        }
        if let FileDeletion::Deleted(_) = self.store.delete_file(self.file.id).await? {
            self.objects.delete_file(self.file.id).await?;
        }
        Ok(())
    }

    /// Stores the rest and makes the file ready.
    ///
    /// # Errors
    /// As `write`.
    pub async fn close(mut self) -> Result<File, Error> {
        self.flush().await?;
        let sha256 = self.sha256();
        if !self.store.close_file(self.file.id, &sha256).await? {
            return Err(Error::Superseded);
        }
        self.file.ready = true;
        self.file.sha256 = sha256;
        Ok(self.file)
    }
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}
