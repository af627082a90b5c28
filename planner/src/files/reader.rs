use std::ops::Range;

use bytes::{Bytes, BytesMut};
use caravan_proto::name::FileId;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

use super::{Error, local::Local};
use crate::{objects::Objects, store::File};

/// Reads a file: one that was uploaded, or one of this machine.
#[derive(Debug, Clone)]
pub struct Reader(Form);

#[derive(Debug, Clone)]
enum Form {
    Stored(Stored),
    Local(Local),
}

/// Reads a file across its parts.
#[derive(Debug, Clone)]
struct Stored {
    objects: Objects,
    id: FileId,
    /// Where each part begins, and where the last one ends.
    bounds: Vec<u64>,
}

// === impl Reader ===

impl Reader {
    /// A reader of the parts that `file` has now.
    #[must_use]
    pub fn new(objects: Objects, file: &File) -> Self {
        let mut bounds = vec![0];
        for bytes in &file.parts {
            bounds.push(bounds[bounds.len() - 1] + u64::try_from(*bytes).unwrap_or_default());
        }
        Self(Form::Stored(Stored { objects, id: file.id, bounds }))
    }

    /// A reader of a file of this machine, of the bytes that it has now.
    ///
    /// # Errors
    /// If its size cannot be had.
    pub fn local(file: std::fs::File) -> Result<Self, Error> {
        Ok(Self(Form::Local(Local::new(file)?)))
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &self.0 {
            Form::Stored(stored) => stored.bounds.last().copied().unwrap_or_default(),
            Form::Local(local) => local.bytes(),
        }
    }

    /// The bytes from an offset on, as they come from the store; one block is held at a time.
    #[must_use]
    pub fn stream(self, offset: u64) -> BoxStream<'static, Result<Bytes, Error>> {
        match self.0 {
            Form::Stored(stored) => stored.stream(offset),
            Form::Local(local) => local.stream(offset),
        }
    }

    /// Several ranges of the file, each not longer than a line, in ascending order of their start.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        match &self.0 {
            Form::Stored(stored) => stored.ranges(ranges).await,
            Form::Local(local) => local.ranges(ranges).await,
        }
    }
}

// === impl Stored ===

impl Stored {
    fn stream(self, offset: u64) -> BoxStream<'static, Result<Bytes, Error>> {
        let first = self.part_of(offset);
        let parts = self.bounds.len() - 1;
        stream::iter(first..parts)
            .flat_map(move |part| {
                let from = self.bounds[part];
                self.objects.part(self.id, self.named(part), offset.saturating_sub(from))
            })
            .map_err(Error::from)
            .boxed()
    }

    async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        let mut out = Vec::with_capacity(ranges.len());
        let mut rest = ranges;
        while let Some(range) = rest.first() {
            let part = self.part_of(range.start);
            let within = rest.iter().take_while(|r| self.is_within(r, part)).count();
            if within == 0 {
                out.push(self.across(range).await?);
                rest = &rest[1..];
                continue;
            }
            let base = self.bounds[part];
            let local: Vec<_> = rest[..within].iter().map(|r| r.start - base..r.end - base).collect();
            out.extend(self.objects.part_ranges(self.id, self.named(part), &local).await?);
            rest = &rest[within..];
        }
        Ok(out)
    }

    async fn across(&self, range: &Range<u64>) -> Result<Bytes, Error> {
        let mut out = BytesMut::new();
        let mut at = range.start;
        while at < range.end {
            let part = self.part_of(at);
            let (base, end) = (self.bounds[part], self.bounds[part + 1].min(range.end));
            let local = vec![Range { start: at - base, end: end - base }];
            for bytes in self.objects.part_ranges(self.id, self.named(part), &local).await? {
                out.extend_from_slice(&bytes);
            }
            at = end;
        }
        Ok(out.freeze())
    }

    /// A part's number and size.
    fn named(&self, part: usize) -> (i64, u64) {
        (index(part), self.bounds[part + 1] - self.bounds[part])
    }

    fn is_within(&self, range: &Range<u64>, part: usize) -> bool {
        range.start >= self.bounds[part] && range.end <= self.bounds[part + 1]
    }

    /// The part that holds the byte at `offset`; the number of parts if it is behind the end.
    fn part_of(&self, offset: u64) -> usize {
        self.bounds[1..].partition_point(|end| *end <= offset)
    }
}

fn index(part: usize) -> i64 {
    i64::try_from(part).unwrap_or(i64::MAX)
}
