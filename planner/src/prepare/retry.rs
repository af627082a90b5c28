//! The input of a batch that retries another: the lines of its requests that have no answer, in their
//! order, in a file of its own. A copy costs space for these lines only, and the new batch needs nothing
//! of the old one from then on; a mask over the old input would bind the two for as long as either is kept.

use std::{collections::VecDeque, sync::Arc};

use caravan_proto::v1::retry_batch_request::Kind;
use futures::TryStreamExt as _;
use memchr::memchr;
use serde::Deserialize;

use super::Error;
use crate::{
    files::{Reader, Writer},
    objects::Objects,
    results::{self, Cursor, Pages, Record},
    store::{Batch, File, Retry, State, Store},
};

/// Code of a request whose batch was cancelled.
pub const CANCELLED: &str = "batch_cancelled";
/// Code of a request whose batch expired.
pub const EXPIRED: &str = "batch_expired";

/// Writes the input that `retry` takes its requests from into `file`, as far as it is not there. Holds a
/// block of the old input, a part of the new one and a page of results. None if the old batch or its
/// input was deleted; an empty file if it has no such request.
pub(super) async fn input(
    store: &Arc<dyn Store>,
    objects: &Objects,
    retry: Retry,
    file: File,
) -> Result<Option<File>, Error> {
    if file.ready {
        return Ok(Some(file));
    }
    let Some(old) = store.batch(retry.of).await? else { return Ok(None) };
    let Some(source) = store.file(old.input).await? else { return Ok(None) };
    let mut wanted = Wanted::of(store, objects, &old, retry.kinds);
    let mut copy = Copy::behind(file, store, objects).await?;
    let (mut line, mut next) = (1, wanted.line(1).await?);
    let mut blocks = Reader::new(objects.clone(), &source).stream(0);
    while let Some(block) = blocks.try_next().await? {
        let mut rest = &block[..];
        // Pieces of lines, so that a line of any length is copied as it comes.
        while !rest.is_empty() {
            let end = memchr(b'\n', rest).map(|at| at + 1);
            let (piece, behind) = rest.split_at(end.unwrap_or(rest.len()));
            if next == Some(line) {
                copy.write(piece).await?;
            }
            if end.is_some() {
                line += 1;
                if next.is_some_and(|next| next < line) {
                    next = wanted.line(line).await?;
                }
            }
            rest = behind;
        }
    }
    Ok(Some(copy.close().await?))
}

/// Whether a batch that has ended may have requests of these kinds; `rejected` of its lines are invalid.
#[must_use]
pub fn may_have(old: &Batch, kinds: i32, rejected: i64) -> bool {
    let has = |kind: Kind| kinds & bit(kind) != 0;
    let (cancelled, expired) = (old.state == State::Cancelled, old.state == State::Expired);
    let cut_off = cancelled && has(Kind::Cancelled) || expired && has(Kind::Expired);
    if old.planned.is_none() {
        // All of it was cut off, or it was rejected as a whole.
        return cut_off;
    }
    let open = old.requests.failed - rejected;
    rejected > 0 && has(Kind::Rejected) || open > 0 && (has(Kind::Failed) || cut_off)
}

/// The bit of a kind in [`Retry::kinds`].
#[must_use]
pub fn bit(kind: Kind) -> i32 {
    1 << kind as i32
}

/// The lines to take, in ascending order.
enum Wanted {
    /// All: the batch was never planned.
    Every,
    Some {
        pages: Pages,
        kinds: i32,
        ready: VecDeque<i64>,
    },
}

// === impl Wanted ===

impl Wanted {
    fn of(store: &Arc<dyn Store>, objects: &Objects, old: &Batch, kinds: i32) -> Self {
        if old.planned.is_none() {
            return Self::Every;
        }
        let start = Cursor::Input { batch: old.id, line: 0 };
        let pages = Pages::new(Arc::clone(store), objects.clone(), start);
        Self::Some { pages, kinds, ready: VecDeque::new() }
    }

    /// The first one that is not before `line`.
    async fn line(&mut self, line: i64) -> Result<Option<i64>, results::Error> {
        let Self::Some { pages, kinds, ready } = self else { return Ok(Some(line)) };
        loop {
            while let Some(next) = ready.pop_front() {
                if next >= line {
                    return Ok(Some(next));
                }
            }
            let page = pages.next().await?.records;
            if page.is_empty() {
                return Ok(None);
            }
            let wanted =
                page.iter().filter(|record| kind(record).is_some_and(|kind| *kinds & bit(kind) != 0));
            ready.extend(wanted.map(|record| record.line));
        }
    }
}

/// Why a request has no answer; none if it has one.
fn kind(record: &Record) -> Option<Kind> {
    #[derive(Deserialize)]
    struct Line {
        error: Option<Code>,
    }
    #[derive(Deserialize)]
    struct Code {
        code: String,
    }

    if record.succeeded {
        return None;
    }
    if record.index < 0 {
        return Some(Kind::Rejected);
    }
    let code = serde_json::from_str::<Line>(&record.json).ok().and_then(|line| line.error);
    Some(match code.as_ref().map(|error| error.code.as_str()) {
        Some(CANCELLED) => Kind::Cancelled,
        Some(EXPIRED) => Kind::Expired,
        _ => Kind::Failed,
    })
}

/// The new input. It is written anew with the same bytes if that was cut off, and goes on behind those
/// that are there.
struct Copy {
    writer: Writer,
    /// Bytes to come that are there already.
    there: usize,
    ends_in_line: bool,
}

// === impl Copy ===

impl Copy {
    async fn behind(file: File, store: &Arc<dyn Store>, objects: &Objects) -> Result<Self, Error> {
        let there = usize::try_from(file.size).unwrap_or_default();
        let writer = Writer::open(Arc::clone(store), objects.clone(), file).await?;
        Ok(Self { writer, there, ends_in_line: false })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let known = self.there.min(bytes.len());
        self.there -= known;
        self.ends_in_line = !bytes.ends_with(b"\n");
        Ok(self.writer.write(&bytes[known..]).await?)
    }

    async fn close(mut self) -> Result<File, Error> {
        if self.ends_in_line {
            self.write(b"\n").await?;
        }
        Ok(self.writer.close().await?)
    }
}

#[cfg(test)]
mod tests {
    use caravan_proto::{
        Tenant,
        name::{BatchId, FileId},
        v1::file::Purpose,
    };

    use super::*;
    use crate::store::{NewBatch, NewFile, Quota, Sqlite};

    async fn writer(store: &Arc<dyn Store>, objects: &Objects, id: FileId) -> Writer {
        let (filename, purpose) = (String::new(), Purpose::Batch);
        let file = NewFile { id, tenant: Tenant::default(), upload_id: None, filename, purpose, created: 1 };
        let file = store.open_file(&file).await.unwrap();
        Writer::open(Arc::clone(store), objects.clone(), file).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_that_was_cut_off_goes_on_behind_what_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(Sqlite::open(&directory.path().join("rows.db")).await.unwrap());
        let objects = Objects::local(&directory.path().join("objects")).unwrap();
        let (source, copy, of) = (FileId::now(), FileId::now(), BatchId::now());
        let mut old = writer(&store, &objects, source).await;
        old.write(b"one\r\ntwo\n\nthree").await.unwrap();
        old.close().await.unwrap();
        // Cancelled before it was planned: all of it is to be retried.
        let (spec, retry) = (Default::default(), Retry { of, kinds: bit(Kind::Cancelled) });
        let batch = NewBatch {
            id: of,
            tenant: Tenant::default(),
            request_id: None,
            spec,
            input: source,
            created: 1,
            deadline: None,
            retry: None,
            quota: Quota::default(),
        };
        store.create_batch(&batch).await.unwrap();
        store.cancel(of, 2).await.unwrap();
        let mut begun = writer(&store, &objects, copy).await;
        begun.write(b"one\r\ntw").await.unwrap();
        begun.flush().await.unwrap();

        let found = store.file(copy).await.unwrap().unwrap();
        let whole = input(&store, &objects, retry, found).await.unwrap().unwrap();
        let bytes: Vec<_> = Reader::new(objects.clone(), &whole).stream(0).try_collect().await.unwrap();
        assert_eq!(bytes.concat(), b"one\r\ntwo\n\nthree\n");
        assert!(whole.ready);
        store.delete_file(source).await.unwrap();
        assert_eq!(input(&store, &objects, retry, whole.clone()).await.unwrap(), Some(whole), "once");
        let other = FileId::now();
        writer(&store, &objects, other).await;
        let open = store.file(other).await.unwrap().unwrap();
        assert_eq!(input(&store, &objects, retry, open).await.unwrap(), None, "its source is gone");
    }

    #[test]
    fn a_request_without_an_answer_is_of_one_kind() {
        let of = |index, succeeded, json: &str| {
            kind(&Record { index, succeeded, json: json.into(), ..Record::default() })
        };
        let error = |code: &str| format!(r#"{{"response":null,"error":{{"code":"{code}","message":"no"}}}}"#);
        assert_eq!(of(0, true, "{}"), None);
        assert_eq!(of(-1, false, &error("invalid_type")), Some(Kind::Rejected));
        assert_eq!(of(0, false, &error(CANCELLED)), Some(Kind::Cancelled));
        assert_eq!(of(0, false, &error(EXPIRED)), Some(Kind::Expired));
        assert_eq!(of(0, false, &error("engine_crash")), Some(Kind::Failed));
        assert_eq!(of(0, false, r#"{"response":{"status_code":400},"error":null}"#), Some(Kind::Failed));
    }
}
