//! Objects that have no row: parts of uploads that were broken off, segments of commits that another was faster
//! than, merged ones whose reader is gone, payloads of plans that were made anew, and all of what was deleted
//! while the object store was away.

use std::collections::HashSet;

use caravan_proto::name::{BatchId, FileId, PlanId, SegmentId};
use futures::TryStreamExt as _;

use super::{Error, Garbage};
use crate::{
    metrics,
    objects::{Kind, Listed},
    store::{File, Micros, Store},
};

/// Objects removed at a time: what a bucket takes in one request.
const REMOVAL: usize = 1_000;
/// Rows read at a time.
const PAGE_ROWS: i64 = 500;

/// The rows of one owner of objects, read once for all of them, which are listed one after the other. Memory: 16
/// bytes for each segment of one batch.
enum Known {
    Nothing,
    File(FileId, Option<File>),
    Batch(BatchId, Option<BatchRows>),
}

struct BatchRows {
    ended: bool,
    plan: Option<PlanId>,
    segments: HashSet<SegmentId>,
}

impl Garbage {
    /// Removes the objects that were written before a time, by the clock of the object store, and have no row.
    /// Rows are read after an object was found, and by then it is older than any that may still get one.
    pub(super) async fn remove_orphans(&self, before: Micros) -> Result<u64, Error> {
        let (mut removed, mut doomed, mut known) = (0, Vec::new(), Known::Nothing);
        let mut found = self.objects.list();
        while let Some(object) = found.try_next().await? {
            if object.written < before && !known.has(&*self.store, object.kind).await? {
                doomed.push(object);
            }
            if doomed.len() == REMOVAL {
                removed += self.remove(std::mem::take(&mut doomed)).await?;
            }
        }
        removed += self.remove(doomed).await?;
        tracing::info!(removed, "searched for objects without a row");
        Ok(removed)
    }

    async fn remove(&self, objects: Vec<Listed>) -> Result<u64, Error> {
        let removed = self.objects.remove(objects).await?;
        metrics::removed("orphan", removed);
        Ok(removed)
    }
}

impl Known {
    /// Whether an object has a row.
    async fn has(&mut self, store: &dyn Store, kind: Kind) -> Result<bool, Error> {
        Ok(match kind {
            Kind::Part { file, part, size } => {
                let part = usize::try_from(part).unwrap_or(usize::MAX);
                self.file(store, file).await?.is_some_and(|file| file.parts.get(part) == Some(&size))
            }
            // An ended batch is not leased from any more.
            Kind::Payload { batch, plan } => {
                self.batch(store, batch).await?.is_some_and(|rows| !rows.ended && rows.plan == plan)
            }
            Kind::Segment { batch, segment } => {
                self.batch(store, batch).await?.is_some_and(|rows| rows.segments.contains(&segment))
            }
            Kind::Probe => false,
        })
    }

    async fn file(&mut self, store: &dyn Store, id: FileId) -> Result<Option<&File>, Error> {
        if !matches!(self, Self::File(of, _) if *of == id) {
            *self = Self::File(id, store.file(id).await?);
        }
        match self {
            Self::File(_, file) => Ok(file.as_ref()),
            _ => Ok(None),
        }
    }

    async fn batch(&mut self, store: &dyn Store, id: BatchId) -> Result<Option<&BatchRows>, Error> {
        if !matches!(self, Self::Batch(of, _) if *of == id) {
            *self = Self::Batch(id, BatchRows::read(store, id).await?);
        }
        match self {
            Self::Batch(_, rows) => Ok(rows.as_ref()),
            _ => Ok(None),
        }
    }
}

impl BatchRows {
    async fn read(store: &dyn Store, id: BatchId) -> Result<Option<Self>, Error> {
        let Some(batch) = store.batch(id).await? else { return Ok(None) };
        let plan = store.plan_of(id).await?;
        let mut segments = HashSet::new();
        let mut from = 0;
        loop {
            let page = store.segments(id, from, PAGE_ROWS).await?;
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            segments.extend(page.iter().map(|segment| segment.id));
        }
        let mut from = 0;
        loop {
            let page = store.chunks(id, from, PAGE_ROWS).await?;
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            segments.extend(page.iter().filter_map(|chunk| Some(chunk.compacted.as_ref()?.id)));
        }
        Ok(Some(Self { ended: batch.ended.is_some(), plan, segments }))
    }
}
