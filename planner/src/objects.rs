//! Bytes: what is too large for rows, in an object store. Objects never change, but for
//! vocabularies, which may be completed.

use std::{ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use caravan_proto::name::{BatchId, FileId, SegmentId};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt as _, local::LocalFileSystem, path::Path as Key};

/// Bytes of one part of a file: what an interrupted upload repeats at most, and what one
/// upload holds in memory.
pub const PART_BYTES: usize = 8 << 20;

/// Why bytes could not be had or kept.
#[derive(Debug, thiserror::Error)]
#[error("the object store failed")]
pub struct Error(#[from] object_store::Error);

/// Every object of the planner, by what it is.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
}

impl Objects {
    /// Objects in a local directory, which is created.
    ///
    /// # Errors
    /// If the directory cannot be created or read.
    pub fn local(directory: &Path) -> Result<Self, Error> {
        let io = |source| object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) };
        std::fs::create_dir_all(directory).map_err(io)?;
        // Results are acked once they are here, so they have to survive a power cut.
        let store = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// Keeps one part of a file. Its name holds its size, so that a stream of the same upload that
    /// was given up, and stores a shorter part late, harms nothing.
    pub async fn put_part(&self, file: FileId, part: i64, bytes: Bytes) -> Result<(), Error> {
        let key = part_key(file, part, bytes.len() as u64);
        self.put(key, bytes).await
    }

    /// The bytes of one part of a file of `size` bytes, from an offset on, as they come.
    pub async fn part(
        &self,
        file: FileId,
        (part, size): (i64, u64),
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let options = object_store::GetOptions { range: Some(range.into()), ..Default::default() };
        let found = self.store.get_opts(&part_key(file, part, size), options).await?;
        Ok(found.into_stream().map_err(Error).boxed())
    }

    /// Several ranges of one part of a file, in the order asked for.
    pub async fn part_ranges(
        &self,
        file: FileId,
        (part, size): (i64, u64),
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, Error> {
        Ok(self.store.get_ranges(&part_key(file, part, size), ranges).await?)
    }

    /// Removes the parts of a file. A part that is gone already is no error.
    pub async fn delete_file(&self, file: FileId) -> Result<(), Error> {
        self.delete_below(Key::from(format!("files/{file}"))).await
    }

    /// Keeps the payload of a chunk; planning anew writes it again.
    pub async fn put_payload(&self, batch: BatchId, chunk: i32, bytes: Bytes) -> Result<(), Error> {
        self.put(payload_key(batch, chunk), bytes).await
    }

    /// The payload of a chunk.
    pub async fn payload(&self, batch: BatchId, chunk: i32) -> Result<Bytes, Error> {
        Ok(self.store.get(&payload_key(batch, chunk)).await?.bytes().await?)
    }

    /// Keeps a segment.
    pub async fn put_segment(&self, batch: BatchId, segment: SegmentId, bytes: Bytes) -> Result<(), Error> {
        self.put(segment_key(batch, segment), bytes).await
    }

    /// A range of a segment.
    pub async fn segment(
        &self,
        batch: BatchId,
        segment: SegmentId,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        Ok(self.store.get_range(&segment_key(batch, segment), range).await?)
    }

    /// A segment that is too large to hold, written as it comes. It exists once `shutdown` returns.
    #[must_use]
    pub fn segment_writer(&self, batch: BatchId, segment: SegmentId) -> object_store::buffered::BufWriter {
        object_store::buffered::BufWriter::new(Arc::clone(&self.store), segment_key(batch, segment))
    }

    /// Keeps a vocabulary; what was kept under this name is replaced.
    pub async fn put_vocabulary(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        self.put(vocabulary_key(name), bytes).await
    }

    /// A vocabulary, if there is one.
    pub async fn vocabulary(&self, name: &str) -> Result<Option<Bytes>, Error> {
        match self.store.get(&vocabulary_key(name)).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes everything of a batch but its files.
    pub async fn delete_batch(&self, batch: BatchId) -> Result<(), Error> {
        self.delete_below(Key::from(format!("batches/{batch}"))).await
    }

    async fn put(&self, key: Key, bytes: Bytes) -> Result<(), Error> {
        self.store.put(&key, bytes.into()).await?;
        Ok(())
    }

    async fn delete_below(&self, prefix: Key) -> Result<(), Error> {
        let keys = self.store.list(Some(&prefix)).map_ok(|meta| meta.location).boxed();
        self.store.delete_stream(keys).try_for_each(|_| std::future::ready(Ok(()))).await?;
        Ok(())
    }
}

fn part_key(file: FileId, part: i64, size: u64) -> Key {
    Key::from(format!("files/{file}/{part:06}-{size}"))
}

fn vocabulary_key(name: &str) -> Key {
    Key::from(format!("vocabularies/{name}"))
}

fn payload_key(batch: BatchId, chunk: i32) -> Key {
    Key::from(format!("batches/{batch}/chunks/{chunk:06}"))
}

fn segment_key(batch: BatchId, segment: SegmentId) -> Key {
    Key::from(format!("batches/{batch}/segments/{segment}"))
}
