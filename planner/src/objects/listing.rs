//! What is there, and its removal.

use bytes::Bytes;
use caravan_proto::name::{BatchId, SegmentId};
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, path::Path as Key};

use super::{Error, Fault, Kind, Objects, key};

/// An object that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub kind: Kind,
    /// Its bytes, checksums included.
    pub bytes: u64,
    /// When it was written, by the clock of the store, in microseconds since 1970.
    pub written: i64,
    key: Key,
}

impl std::fmt::Display for Listed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.key.fmt(f)
    }
}

impl Objects {
    /// Every object that a planner may have written, and may remove; those that belong together follow
    /// each other. Listed as it is taken: memory is that of one page, of 1,000 in a bucket.
    pub(crate) fn list(&self) -> BoxStream<'static, Result<Listed, Error>> {
        let lists = ["batches", "files", "probe"].map(|below| self.list_below(&Key::from(below)));
        stream::iter(lists).flatten().boxed()
    }

    fn list_below(&self, below: &Key) -> BoxStream<'static, Result<Listed, Error>> {
        let failed = {
            let below = below.clone();
            move |error| Error::from(Fault::of(&below, error))
        };
        let found = self.store.list(Some(below)).map_err(failed);
        found.try_filter_map(|meta| std::future::ready(Ok(listed(meta)))).boxed()
    }

    /// Removes objects; gives how many. One that is gone already counts too.
    pub(crate) async fn remove(&self, objects: Vec<Listed>) -> Result<u64, Error> {
        let keys = stream::iter(objects.into_iter().map(|object| Ok(object.key))).boxed();
        self.delete(keys).await
    }

    /// The time by the clock of the store, in microseconds since 1970: objects are dated by it.
    pub(crate) async fn clock(&self) -> Result<i64, Error> {
        let key = key::probe();
        let failed = |error| Fault::of(&key, error);
        self.store.put(&key, Bytes::new().into()).await.map_err(failed)?;
        let meta = self.store.head(&key).await.map_err(failed)?;
        self.store.delete(&key).await.map_err(failed)?;
        Ok(meta.last_modified.timestamp_micros())
    }

    /// Removes a segment.
    pub(crate) async fn delete_segment(&self, batch: BatchId, segment: SegmentId) -> Result<(), Error> {
        self.delete(stream::iter([Ok(key::segment(batch, segment))]).boxed()).await?;
        Ok(())
    }

    pub(super) async fn delete_below(&self, prefix: Key) -> Result<(), Error> {
        let keys = self.store.list(Some(&prefix)).map_ok(|meta| meta.location).boxed();
        self.delete(keys).await?;
        Ok(())
    }

    async fn delete(&self, keys: BoxStream<'static, object_store::Result<Key>>) -> Result<u64, Error> {
        let mut removed = 0;
        let mut done = self.store.delete_stream(keys);
        while let Some(one) = done.next().await {
            match one {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => removed += 1,
                Err(error) => return Err(Fault::of(&Key::default(), error).into()),
            }
        }
        Ok(removed)
    }
}

fn listed(meta: ObjectMeta) -> Option<Listed> {
    let kind = key::parse(&meta.location)?;
    let written = meta.last_modified.timestamp_micros();
    Some(Listed { kind, bytes: meta.size, written, key: meta.location })
}
