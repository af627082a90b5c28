use std::sync::Arc;

use caravan_proto::{
    name::{BatchId, FileId},
    v1,
};

use super::{Error, Source, merge};
use crate::{
    files::Writer,
    objects::Objects,
    store::{NewFile, Outputs, Store},
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
    let sources = merge::narrow(objects, batch, sources).await?;
    let mut merge = merge::Merge::new(objects, &sources).await?;
    let mut output = Lazy::new(format!("{batch}_output.jsonl"));
    let mut error = Lazy::new(format!("{batch}_error.jsonl"));
    while let Some(record) = merge.next().await? {
        let file = if record.succeeded { &mut output } else { &mut error };
        let writer = file.writer(store, objects).await?;
        writer.write(record.json.as_bytes()).await?;
        writer.write(b"\n").await?;
    }
    Ok(Outputs { output: output.close().await?, error: error.close().await? })
}

/// A file that exists only if something is written to it.
struct Lazy {
    filename: String,
    writer: Option<(FileId, Writer)>,
}

// === impl Lazy ===

impl Lazy {
    fn new(filename: String) -> Self {
        Self { filename, writer: None }
    }

    async fn writer(&mut self, store: &Arc<dyn Store>, objects: &Objects) -> Result<&mut Writer, Error> {
        if self.writer.is_none() {
            let new = NewFile {
                id: FileId::now(),
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

    async fn close(self) -> Result<Option<FileId>, Error> {
        let Some((id, writer)) = self.writer else { return Ok(None) };
        writer.close().await?;
        Ok(Some(id))
    }
}
