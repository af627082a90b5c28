use std::sync::Arc;

use bytes::BytesMut;
use caravan_proto::{
    name::{BatchId, SegmentId},
    v1,
};
use caravan_request::LineError;

use super::Error;
use crate::{
    objects::{Objects, Writer},
    results::{self, Record, Source, encode, write_errors},
    store::{Outputs, RejectedSegment, Store},
};

/// Line errors that a batch shows by itself; all of them stand in its error file.
const SHOWN: usize = 100;

/// The lines that are wrong, as they are found. Without a batch to write for (a preview) they
/// are only counted. Memory: the errors shown, and the buffer of one upload.
pub(super) struct Rejects {
    sink: Option<Sink>,
    /// The first errors.
    pub(super) shown: Vec<v1::LineError>,
    /// All errors.
    pub(super) errors: u64,
    /// All lines; a line may have several errors.
    pub(super) lines: u64,
}

struct Sink {
    objects: Objects,
    batch: BatchId,
    finished: Vec<(Source, u64)>,
    open: Option<(SegmentId, Writer)>,
    bytes: u64,
    records: u64,
}

// === impl Rejects ===

impl Rejects {
    /// Rejects that are kept for a batch.
    pub(super) fn of(objects: &Objects, batch: BatchId) -> Self {
        let sink =
            Sink { objects: objects.clone(), batch, finished: Vec::new(), open: None, bytes: 0, records: 0 };
        Self { sink: Some(sink), shown: Vec::new(), errors: 0, lines: 0 }
    }

    /// Rejects that are only counted.
    pub(super) fn counted() -> Self {
        Self { sink: None, shown: Vec::new(), errors: 0, lines: 0 }
    }

    /// Takes the errors of the next line. Lines must come in order, but for `rewind`.
    pub(super) async fn line(&mut self, errors: Vec<LineError>) -> Result<(), Error> {
        self.lines += 1;
        self.errors += errors.len() as u64;
        for error in errors.iter().take(SHOWN.saturating_sub(self.shown.len())) {
            self.shown.push(shown(error));
        }
        match &mut self.sink {
            Some(sink) => sink.write(&errors).await,
            None => Ok(()),
        }
    }

    /// Later lines may come from the file's beginning again.
    pub(super) async fn rewind(&mut self) -> Result<(), Error> {
        match &mut self.sink {
            Some(sink) => sink.close().await,
            None => Ok(()),
        }
    }

    /// Everything in one segment, in line order.
    pub(super) async fn segment(&mut self) -> Result<Option<RejectedSegment>, Error> {
        let Some(sink) = &mut self.sink else { return Ok(None) };
        let records = sink.finished.iter().map(|(_, records)| records).sum::<u64>() + sink.records;
        let Some(source) = sink.merged().await? else { return Ok(None) };
        let bytes = i64::try_from(source.to).unwrap_or(i64::MAX);
        let records = i64::try_from(records).unwrap_or(i64::MAX);
        Ok(Some(RejectedSegment { id: source.segment, bytes, records }))
    }

    /// Everything as an error file.
    pub(super) async fn error_file(&mut self, store: &Arc<dyn Store>) -> Result<Outputs, Error> {
        let Some(sink) = &mut self.sink else { return Ok(Outputs::default()) };
        match sink.merged().await? {
            Some(source) => Ok(write_errors(store, &sink.objects, source).await?),
            None => Ok(Outputs::default()),
        }
    }
}

// === impl Sink ===

impl Sink {
    async fn write(&mut self, errors: &[LineError]) -> Result<(), Error> {
        let Some(record) = record(self.batch, errors) else { return Ok(()) };
        let mut bytes = BytesMut::new();
        encode(&record, &mut bytes);
        let (objects, batch) = (&self.objects, self.batch);
        let (_, writer) = self.open.get_or_insert_with(|| {
            let id = SegmentId::now();
            (id, objects.segment_writer(batch, id))
        });
        writer.write(&bytes).await?;
        self.bytes += bytes.len() as u64;
        self.records += 1;
        Ok(())
    }

    async fn close(&mut self) -> Result<(), Error> {
        let Some((segment, writer)) = self.open.take() else { return Ok(()) };
        writer.close().await?;
        let source = Source { batch: self.batch, segment, from: 0, to: self.bytes };
        self.finished.push((source, self.records));
        (self.bytes, self.records) = (0, 0);
        Ok(())
    }

    async fn merged(&mut self) -> Result<Option<Source>, Error> {
        self.close().await?;
        let sources: Vec<Source> = self.finished.iter().map(|(source, _)| *source).collect();
        match *sources {
            [] => Ok(None),
            [source] => Ok(Some(source)),
            _ => Ok(Some(results::merge_into_one(&self.objects, self.batch, &sources).await?)),
        }
    }
}

/// One record a line: the line's first error, and how many more there are.
fn record(batch: BatchId, errors: &[LineError]) -> Option<Record> {
    let first = errors.first()?;
    let id = format!("batch_req_{}_{}", batch.uuid().simple(), first.line);
    let mut said = first.clone();
    if errors.len() > 1 {
        let more = errors[1..].iter().map(|error| error.message.as_str()).collect::<Vec<_>>().join("; ");
        said.message = format!("{}; {more}", said.message);
    }
    Some(Record {
        line: i64::try_from(first.line).unwrap_or(i64::MAX),
        custom_id: first.custom_id.clone().unwrap_or_default(),
        succeeded: false,
        index: -1,
        json: said.to_error_line(&id),
    })
}

fn shown(error: &LineError) -> v1::LineError {
    v1::LineError {
        line: i64::try_from(error.line).unwrap_or(i64::MAX),
        custom_id: error.custom_id.clone().unwrap_or_default(),
        code: error.code.as_str().to_owned(),
        param: error.param.clone().unwrap_or_default(),
        message: error.message.clone(),
    }
}
