use std::{io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};

use super::Error;

/// Bytes of a block: enough to make handing it over cheap.
const BLOCK: u64 = 1 << 20;

/// Reads a file of this machine, which may have no name. Its reads leave the file's position alone.
#[derive(Debug, Clone)]
pub(super) struct Local {
    file: Arc<std::fs::File>,
    bytes: u64,
}

// === impl Local ===

impl Local {
    pub(super) fn new(file: std::fs::File) -> Result<Self, Error> {
        let bytes = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), bytes })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn stream(self, offset: u64) -> BoxStream<'static, Result<Bytes, Error>> {
        let blocks = stream::try_unfold((self, offset), async |(local, from)| {
            let to = local.bytes.min(from.saturating_add(BLOCK));
            if from >= to {
                return Ok::<_, Error>(None);
            }
            let block = local.read(vec![Range { start: from, end: to }]).await?.pop().unwrap_or_default();
            Ok(Some((block, (local, to))))
        });
        blocks.boxed()
    }

    pub(super) async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Error> {
        self.read(ranges.to_vec()).await
    }

    async fn read(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, Error> {
        let file = Arc::clone(&self.file);
        let read = move |range: &Range<u64>| {
            let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok::<_, io::Error>(Bytes::from(bytes))
        };
        let reading =
            tokio::task::spawn_blocking(move || ranges.iter().map(read).collect::<io::Result<Vec<_>>>());
        Ok(reading.await.map_err(io::Error::other)??)
    }
}
