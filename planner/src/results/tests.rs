use std::sync::Arc;

use bytes::BytesMut;
use caravan_proto::{
    Tenant,
    name::{BatchId, FileId, PlanId, SegmentId},
    v1::{self, request_result::Outcome},
};

use super::{
    Cursor, Error, Pages, Record, SegmentReader, Source, close, compact, encode, merge, write_outputs,
};
use crate::{
    files::Reader,
    objects::{self, Fault, Objects},
    store::{NewBatch, NewChunk, NewFile, Planned, Quota, Sqlite, State, Store},
};

struct World {
    _directory: tempfile::TempDir,
    store: Arc<dyn Store>,
    objects: Objects,
    batch: BatchId,
    plan: PlanId,
}

impl World {
    /// A queued batch with chunks of these sizes.
    async fn new(chunks: &[i32]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&directory.path().join("rows.db")).await.unwrap());
        let objects = Objects::local(&directory.path().join("objects")).unwrap();
        let (input, batch) = (FileId::now(), BatchId::now());
        let purpose = v1::file::Purpose::Batch;
        let file = NewFile {
            id: input,
            tenant: Tenant::default(),
            upload_id: None,
            filename: String::new(),
            purpose,
            created: 1,
        };
        store.open_file(&file).await.unwrap();
        assert!(store.close_file(input, "").await.unwrap());
        let spec = v1::Batch::default();
        store
            .create_batch(&NewBatch {
                id: batch,
                tenant: Tenant::default(),
                request_id: None,
                spec,
                input,
                created: 1,
                deadline: None,
                retry: None,
                quota: Quota::default(),
            })
            .await
            .unwrap();
        assert!(store.advance(batch, &[State::Validating], State::Planning, 2).await.unwrap());
        let rows: Vec<_> = chunks.iter().zip(0..).map(|(size, number)| chunk(number, *size)).collect();
        let plan = PlanId::now();
        assert!(store.reset_plan(batch, plan).await.unwrap());
        store.add_chunks(batch, plan, &rows).await.unwrap();
        let planned = Planned {
            id: plan,
            total: chunks.iter().map(|size| i64::from(*size)).sum(),
            chunks: i64::try_from(chunks.len()).unwrap(),
            plan: v1::Plan::default(),
            provisional: false,
            line_errors: Vec::new(),
            line_error_count: 0,
            rejected: None,
        };
        assert!(store.activate(batch, &planned, 3).await.unwrap());
        Self { _directory: directory, store, objects, batch, plan }
    }

    /// Commits results as (chunk, index, line).
    async fn commit(&self, results: &[(i32, i32, i64)]) {
        let results: Vec<_> =
            results.iter().map(|(chunk, index, line)| result(*chunk, *index, *line)).collect();
        let (bytes, segment) = super::segment::segment(self.batch, results.iter().collect());
        self.objects.put_segment(self.batch, segment.id, bytes).await.unwrap();
        self.store.commit(self.batch, &segment, 4).await.unwrap();
    }

    /// Lines of the results behind a cursor, and the cursor behind them.
    async fn page(&self, cursor: Cursor) -> (Vec<i64>, Cursor) {
        let mut pages = Pages::new(Arc::clone(&self.store), self.objects.clone(), cursor);
        let page = pages.next().await.unwrap();
        (page.records.iter().map(|record| record.line).collect(), page.cursor)
    }

    async fn put(&self, records: &[Record]) -> Source {
        let mut bytes = BytesMut::new();
        for record in records {
            encode(record, &mut bytes);
        }
        let (segment, to) = (SegmentId::now(), bytes.len() as u64);
        self.objects.put_segment(self.batch, segment, bytes.freeze()).await.unwrap();
        Source { batch: self.batch, segment, from: 0, to }
    }
}

fn chunk(number: i32, size: i32) -> NewChunk {
    let (group, share, share_head, context) = (0, 0, number == 0, 100);
    NewChunk { number, group, share, share_head, stealable: true, model: "m".into(), kinds: 2, context, size }
}

fn result(chunk: i32, index: i32, line: i64) -> v1::RequestResult {
    let response = v1::EngineResponse { status_code: 200, body: format!("{{\"line\":{line}}}") };
    let custom_id = format!("r{line}");
    let outcome = Some(Outcome::Response(response));
    v1::RequestResult { chunk, index, line, custom_id, outcome, ..Default::default() }
}

fn record(line: i64, json: String) -> Record {
    Record { line, custom_id: String::new(), succeeded: true, index: 0, json }
}

#[tokio::test]
async fn records_of_any_size_read_back() {
    let world = World::new(&[1]).await;
    let sizes = [0, 1, 300_000, 5, 1_000_000, 2];
    let records: Vec<_> = sizes.iter().zip(1..).map(|(size, line)| record(line, "x".repeat(*size))).collect();
    let mut reader = SegmentReader::new(world.objects.clone(), world.put(&records).await);
    for wanted in records {
        assert_eq!(reader.next().await.unwrap(), Some(wanted));
    }
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_torn_segment_is_an_error_and_no_end() {
    let world = World::new(&[1]).await;
    let mut source = world.put(&[record(1, "x".repeat(100)), record(2, "y".repeat(100))]).await;
    source.to -= 1;
    let mut reader = SegmentReader::new(world.objects.clone(), source);
    assert!(reader.next().await.unwrap().is_some());
    assert!(matches!(reader.next().await, Err(Error::Objects(objects::Error(Fault::Damaged { .. })))));
}

#[tokio::test]
async fn more_sources_than_can_be_open_merge_in_line_order() {
    let world = World::new(&[1]).await;
    let mut sources = Vec::new();
    for offset in 0..150 {
        let lines = (0..3).map(|step| record(offset + step * 150, String::new()));
        sources.push(world.put(&lines.collect::<Vec<_>>()).await);
    }
    let narrow = merge::narrow(&world.objects, world.batch, sources).await.unwrap();
    assert!(narrow.len() <= 64, "{}", narrow.len());
    let mut merged = merge::Merge::new(&world.objects, &narrow).await.unwrap();
    for line in 0..450 {
        assert_eq!(merged.next().await.unwrap().map(|record| record.line), Some(line));
    }
    assert!(merged.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_cursor_in_the_middle_skips_nothing_and_repeats_nothing() {
    let world = World::new(&[4]).await;
    let start = Cursor::Committed { batch: world.batch, segment: 0, records: 0 };
    world.commit(&[(0, 0, 10), (0, 1, 11)]).await;
    let (lines, cursor) = world.page(start).await;
    assert_eq!(lines, [10, 11]);
    // A late copy of 11 is not final again; 12 is.
    world.commit(&[(0, 1, 11), (0, 2, 12)]).await;
    assert_eq!(world.page(cursor).await.0, [12]);
    let middle = Cursor::Committed { batch: world.batch, segment: 0, records: 1 };
    assert_eq!(world.page(middle).await.0, [11, 12]);
    let behind = world.page(cursor).await.1;
    assert_eq!(world.page(behind).await.0, [0; 0]);
}

#[tokio::test]
async fn closing_and_compacting_give_outputs_in_input_order() {
    let world = World::new(&[3, 2]).await;
    let payload = |lines: &[i64]| {
        let requests =
            lines.iter().map(|line| v1::PayloadRequest { line: *line, ..Default::default() }).collect();
        prost::Message::encode_to_vec(&v1::ChunkPayload { requests, ..Default::default() }).into()
    };
    world.objects.put_payload(world.batch, world.plan, 0, payload(&[5, 1, 3])).await.unwrap();
    world.objects.put_payload(world.batch, world.plan, 1, payload(&[4, 2])).await.unwrap();
    world.commit(&[(1, 0, 4), (0, 1, 1)]).await;
    let error = v1::RequestError { code: "batch_cancelled".into(), message: "stopped".into() };
    close(&*world.store, &world.objects, world.batch, &error).await.unwrap();

    let batch = world.store.batch(world.batch).await.unwrap().unwrap();
    assert_eq!((batch.requests.succeeded, batch.requests.failed), (2, 3));
    for number in 0..2 {
        let chunk = world.store.chunk(world.batch, number).await.unwrap().unwrap();
        compact(&*world.store, &world.objects, world.batch, &chunk).await.unwrap();
    }
    let outputs = write_outputs(&world.store, &world.objects, world.batch).await.unwrap();
    let mut lines = Vec::new();
    for id in [outputs.output, outputs.error] {
        let file = world.store.file(id.unwrap()).await.unwrap().unwrap();
        let size = file.size.unsigned_abs();
        let bytes =
            Reader::new(world.objects.clone(), &file).ranges(std::slice::from_ref(&(0..size))).await.unwrap();
        let text = String::from_utf8(bytes.concat()).unwrap();
        let line = |text: &str| {
            text.split(r#""id":"batch_req_"#).nth(1).unwrap()[33..].split('"').next().unwrap().to_owned()
        };
        lines.push(text.lines().map(line).collect::<Vec<_>>());
    }
    assert_eq!(lines, [vec!["1", "4"], vec!["2", "3", "5"]]);
}
