//! Bytes: what is too large for rows, in a directory or a bucket. Objects never change, but for
//! vocabularies, which may be completed and carry a checksum of their own. All others are sealed: what is
//! read of them is what was written, or an error.

mod error;
mod health;
mod key;
mod listing;
mod location;
mod open;
mod options;
mod owner;
mod seal;
#[cfg(test)]
mod suite;
#[cfg(test)]
mod tests;
mod writer;

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use caravan_proto::name::{BatchId, FileId, PlanId, SegmentId};
pub use error::{Error, Fault};
use futures::{StreamExt as _, stream, stream::BoxStream};
use health::Health;
pub use health::Trouble;
pub use key::Kind;
pub use listing::Listed;
pub use location::{ObjectUrl, WrongUrl};
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, coalesce_ranges, path::Path as Key,
};
pub use open::OpenError;
pub use options::{Options, Secret};
use seal::Seal;
pub use writer::Writer;

/// Bytes of one part of a file: what an interrupted upload repeats at most, and what one
/// upload holds in memory.
pub const PART_BYTES: usize = 8 << 20;
/// An object gets its row within this time of being written, or is written anew under another name: what
/// has none for much longer is garbage.
pub const REGISTER_WITHIN: Duration = Duration::from_secs(600);
/// Bytes read at a time of a part that is streamed; two such reads are under way.
const WINDOW: u64 = 1 << 20;

/// Every object of the planner, by what it is.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// Ranges with so many bytes between them are read as one.
    gap: u64,
    /// The store refuses to overwrite.
    is_conditional: bool,
    health: Health,
}

impl Objects {
    fn over(store: Arc<dyn ObjectStore>, gap: u64, is_conditional: bool) -> Self {
        Self { store, gap, is_conditional, health: Health::default() }
    }

    /// Why nothing can be written at the moment, if nothing can.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        self.health.trouble()
    }

    /// Keeps one part of a file. Its name holds its size, so that a stream of the same upload that
    /// was given up, and stores a shorter part late, harms nothing.
    pub async fn put_part(&self, file: FileId, part: i64, bytes: Bytes) -> Result<(), Error> {
        Ok(self.create(&key::part(file, part, bytes.len() as u64), &bytes).await?)
    }

    /// The bytes of one part of a file of `size` bytes, from an offset on, as they come.
    pub fn part(
        &self,
        file: FileId,
        (part, size): (i64, u64),
        offset: u64,
    ) -> BoxStream<'static, Result<Bytes, Error>> {
        let (objects, key) = (self.clone(), key::part(file, part, size));
        let starts = stream::iter((offset..size).step_by(usize::try_from(WINDOW).unwrap_or(usize::MAX)));
        let reads = starts.map(move |from| {
            let (objects, key) = (objects.clone(), key.clone());
            async move { objects.read(&key, from..size.min(from + WINDOW)).await.map_err(Error::from) }
        });
        reads.buffered(2).boxed()
    }

    /// Several ranges of one part of a file, in the order asked for.
    pub async fn part_ranges(
        &self,
        file: FileId,
        (part, size): (i64, u64),
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, Error> {
        let key = key::part(file, part, size);
        Ok(coalesce_ranges(ranges, |range| self.read(&key, range), self.gap).await?)
    }

    /// Removes the parts of a file. A part that is gone already is no error.
    pub async fn delete_file(&self, file: FileId) -> Result<(), Error> {
        self.delete_below(key::below_file(file)).await
    }

    /// Keeps the payload of a chunk of a plan.
    pub async fn put_payload(
        &self,
        batch: BatchId,
        plan: PlanId,
        chunk: i32,
        bytes: Bytes,
    ) -> Result<(), Error> {
        Ok(self.create(&key::payload(batch, Some(plan), chunk), &bytes).await?)
    }

    /// The payload of a chunk of a plan; of one that was made before plans had names.
    pub async fn payload(&self, batch: BatchId, plan: Option<PlanId>, chunk: i32) -> Result<Bytes, Error> {
        Ok(self.read_whole(&key::payload(batch, plan, chunk)).await?)
    }

    /// Keeps a segment.
    pub async fn put_segment(&self, batch: BatchId, segment: SegmentId, bytes: Bytes) -> Result<(), Error> {
        Ok(self.create(&key::segment(batch, segment), &bytes).await?)
    }

    /// A range of a segment.
    pub async fn segment(
        &self,
        batch: BatchId,
        segment: SegmentId,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        Ok(self.read(&key::segment(batch, segment), range).await?)
    }

    /// A segment that is too large to hold, written as it comes. It exists once it is closed.
    #[must_use]
    pub fn segment_writer(&self, batch: BatchId, segment: SegmentId) -> Writer {
        Writer::new(Arc::clone(&self.store), key::segment(batch, segment), self.health.clone())
    }

    /// Keeps a vocabulary; what was kept under this name is replaced.
    pub async fn put_vocabulary(&self, name: &str, bytes: Bytes) -> Result<(), Error> {
        let key = key::vocabulary(name);
        Ok(self.told(&key, bytes.len(), self.store.put(&key, bytes.into()).await)?)
    }

    /// A vocabulary, if there is one.
    pub async fn vocabulary(&self, name: &str) -> Result<Option<Bytes>, Error> {
        let key = key::vocabulary(name);
        let found = async { self.store.get(&key).await?.bytes().await };
        match found.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Fault::of(&key, error).into()),
        }
    }

    /// Removes everything of a batch but its files.
    pub async fn delete_batch(&self, batch: BatchId) -> Result<(), Error> {
        self.delete_below(key::below_batch(batch)).await
    }

    /// Writes an object that nobody overwrites. Written before with the same bytes, it is there: an
    /// answer was lost, say. The store sees to that up to `PART_BYTES`; what is larger is written in parts,
    /// which no store can refuse, and has a name that nobody else draws.
    async fn create(&self, key: &Key, bytes: &Bytes) -> Result<(), Fault> {
        if bytes.len() > PART_BYTES {
            return self.create_large(key, bytes).await;
        }
        let mode = if self.is_conditional { PutMode::Create } else { PutMode::Overwrite };
        match self.store.put_opts(key, Seal::of(key).payload(bytes), mode.into()).await {
            Err(object_store::Error::AlreadyExists { .. }) => match self.read_whole(key).await? == bytes {
                true => Ok(()),
                false => Err(Fault::Taken { object: key.to_string() }),
            },
            done => self.told(key, bytes.len(), done),
        }
    }

    async fn create_large(&self, key: &Key, bytes: &Bytes) -> Result<(), Fault> {
        let mut writer = Writer::new(Arc::clone(&self.store), key.clone(), self.health.clone());
        for piece in bytes.chunks(PART_BYTES) {
            writer.write(piece).await.map_err(Fault::from)?;
        }
        writer.close().await.map_err(Fault::from)
    }

    /// What a write showed of the store.
    fn told<T>(&self, key: &Key, bytes: usize, done: Result<T, object_store::Error>) -> Result<(), Fault> {
        match done {
            Ok(_) => {
                self.health.written();
                Ok(())
            }
            Err(error) => {
                let fault = Fault::of(key, error);
                self.health.failed(&fault, bytes);
                Err(fault)
            }
        }
    }

    /// A range of an object, verified. Reads whole blocks.
    async fn read(&self, key: &Key, range: Range<u64>) -> Result<Bytes, Fault> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let (first, sealed) = seal::place(&range);
        let start = sealed.start;
        match self.get(key, Some(sealed)).await {
            Ok((bytes, total)) => {
                Seal::of(key).verify(&bytes, first, total, range).map_err(|why| Fault::damaged(key, &why))
            }
            Err(object_store::Error::NotFound { .. }) => self.read_unsealed(key, Some(range)).await,
            // Stores have no word of their own for a range that begins behind the end.
            Err(error) => match self.store.head(key).await {
                Ok(meta) if meta.size <= start => Err(Fault::damaged(key, &seal::Damage::Short)),
                _ => Err(Fault::reading(key, error)),
            },
        }
    }

    /// An object, verified.
    async fn read_whole(&self, key: &Key) -> Result<Bytes, Fault> {
        match self.get(key, None).await {
            Ok((bytes, total)) => {
                let verified =
                    seal::data_len(total).and_then(|end| Seal::of(key).verify(&bytes, 0, total, 0..end));
                verified.map_err(|why| Fault::damaged(key, &why))
            }
            Err(object_store::Error::NotFound { .. }) => self.read_unsealed(key, None).await,
            Err(error) => Err(Fault::reading(key, error)),
        }
    }

    /// An object of an earlier version, which had no checksums.
    async fn read_unsealed(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes, Fault> {
        let wanted = range.as_ref().map(|range| range.end - range.start);
        let found = self.get(&key::unsealed(key), range).await;
        let (bytes, _) = found.map_err(|error| Fault::reading(key, error))?;
        match wanted.is_none_or(|wanted| wanted == bytes.len() as u64) {
            true => Ok(bytes),
            false => Err(Fault::damaged(key, &seal::Damage::Short)),
        }
    }

    /// Bytes as they are stored, and how many the whole object has.
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Bytes, u64), object_store::Error> {
        let options = GetOptions { range: range.map(Into::into), ..Default::default() };
        let found = self.store.get_opts(key, options).await?;
        let total = found.meta.size;
        Ok((found.bytes().await?, total))
    }
}
