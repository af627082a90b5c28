use std::sync::Arc;

use caravan_proto::{
    Tenant,
    name::{BatchId, FileId},
    v1,
};

use super::{Error, Source, merge};
use crate::{
    files::Writer,
    objects::Objects,
    store::{Batch, NewFile, Outputs, Store},
};

/// Rows of chunks or segments read at a time.
const PAGE_ROWS: i64 = 500;

/// Every place where a finished batch's records stand in line order: its compacted chunks and its
/// rejected lines.
///
/// # Errors
/// If the rows cannot be read.
pub(super) async fn sources(store: &dyn Store, batch: BatchId) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    if let Some(first) = store.segments(batch, 0, 1).await?.into_iter().next() {
        for piece in first.pieces.iter().filter(|piece| piece.chunk.is_none()) {
            let from = piece.offset.unsigned_abs();
            sources.push(Source { batch, segment: first.id, from, to: from + piece.bytes.unsigned_abs() });
        }
    }
    let mut next = 0;
    loop {
        let chunks = store.chunks(batch, next, PAGE_ROWS).await?;
        let Some(last) = chunks.last() else { return Ok(sources) };
        next = last.number + 1;
        for object in chunks.iter().filter_map(|chunk| chunk.compacted) {
            sources.push(Source { batch, segment: object.id, from: 0, to: object.bytes.unsigned_abs() });
        }
    }
}

/// Writes the output and the error file of a batch whose chunks are all compacted.
///
/// # Errors
/// If results cannot be read or files cannot be written.
pub async fn write_outputs(
    store: &Arc<dyn Store>,
    objects: &Objects,
    batch: BatchId,
) -> Result<Outputs, Error> {
    let sources = sources(&**store, batch).await?;
    write(store, objects, batch, sources).await
}

/// Writes the error file of a batch that is rejected as a whole, from its one segment.
///
/// # Errors
/// As `write_outputs`.
pub async fn write_errors(
    store: &Arc<dyn Store>,
    objects: &Objects,
    source: Source,
) -> Result<Outputs, Error> {
    write(store, objects, source.batch, vec![source]).await
}

async fn write(
    store: &Arc<dyn Store>,
    objects: &Objects,
    batch: BatchId,
    sources: Vec<Source>,
) -> Result<Outputs, Error> {
    // Of a batch that is gone nobody wants any.
    let Some(Batch { tenant, .. }) = store.batch(batch).await? else { return Ok(Outputs::default()) };
    let narrow = merge::narrow(objects, batch, sources.clone()).await?;
    let mut output = Lazy::new(tenant.clone(), format!("{batch}_output.jsonl"));
    let mut error = Lazy::new(tenant, format!("{batch}_error.jsonl"));
    let written = fill(store, objects, &narrow, [&mut output, &mut error]).await;
    for merged in narrow.iter().filter(|source| !sources.contains(source)) {
        objects.delete_segment(batch, merged.segment).await?;
    }
    if let Err(why) = written {
        // The next attempt begins anew, and may find as little room.
        output.discard().await;
        error.discard().await;
        return Err(why);
    }
    Ok(Outputs { output: output.close().await?, error: error.close().await? })
}

async fn fill(
    store: &Arc<dyn Store>,
    objects: &Objects,
    sources: &[Source],
    [output, error]: [&mut Lazy; 2],
) -> Result<(), Error> {
    let mut merge = merge::Merge::new(objects, sources).await?;
    while let Some(record) = merge.next().await? {
        let file = if record.succeeded { &mut *output } else { &mut *error };
        let writer = file.writer(store, objects).await?;
        writer.write(record.json.as_bytes()).await?;
        writer.write(b"\n").await?;
    }
    Ok(())
}

/// A file that exists only if something is written to it.
struct Lazy {
    tenant: Tenant,
    filename: String,
    writer: Option<(FileId, Writer)>,
}

// === impl Lazy ===

impl Lazy {
    fn new(tenant: Tenant, filename: String) -> Self {
        Self { tenant, filename, writer: None }
    }

    async fn writer(&mut self, store: &Arc<dyn Store>, objects: &Objects) -> Result<&mut Writer, Error> {
        if self.writer.is_none() {
            let new = NewFile {
                id: FileId::now(),
                tenant: self.tenant.clone(),
                upload_id: None,
                filename: self.filename.clone(),
                purpose: v1::file::Purpose::BatchOutput,
                created: store.now().await?,
            };
            let file = store.open_file(&new).await?;
            let writer = Writer::open(Arc::clone(store), objects.clone(), file).await?;
            return Ok(&mut self.writer.insert((new.id, writer)).1);
        }
        match &mut self.writer {
            Some((_, writer)) => Ok(writer),
            None => Err(crate::files::Error::Superseded.into()),
        }
    }

    /// What cannot be removed is garbage.
    async fn discard(self) {
        let Some((id, writer)) = self.writer else { return };
        if let Err(error) = writer.discard().await {
            tracing::debug!(file = %id, error = &error as &dyn std::error::Error, "an unfinished output stays");
        }
    }

    async fn close(self) -> Result<Option<FileId>, Error> {
        let Some((id, writer)) = self.writer else { return Ok(None) };
        writer.close().await?;
        Ok(Some(id))
    }
}
