use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt as _;
use sha2::{Digest as _, Sha256};

use super::{Error, Reader};
use crate::{
    objects::{Objects, PART_BYTES},
    store::{File, FileDeletion, Store},
};

/// Appends to an open file, part by part. Holds one part in memory at most.
pub struct Writer {
    store: Arc<dyn Store>,
    objects: Objects,
    file: File,
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
        Ok(Self { store, objects, file, pending: BytesMut::new(), hash })
    }

    /// Bytes taken so far, stored or not.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.file.size + i64::try_from(self.pending.len()).unwrap_or(i64::MAX)
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
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Stores what is pending as a part, so that an interrupted upload finds it again.
    ///
    /// # Errors
    /// As `write`.
    pub async fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let part: Bytes = self.pending.split().freeze();
        let number = i64::try_from(self.file.parts.len()).unwrap_or(i64::MAX);
        let bytes = i64::try_from(part.len()).unwrap_or(i64::MAX);
        self.objects.put_part(self.file.id, number, part).await?;
        if !self.store.append_part(self.file.id, number, bytes).await? {
            return Err(Error::Superseded);
        }
        self.file.parts.push(bytes);
        self.file.size += bytes;
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
    pub async fn discard(self) -> Result<(), Error> {
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
