use caravan_request::LineError;
use futures::TryStreamExt as _;
use tokio::sync::mpsc;

use super::{Error, reject::Rejects};
use crate::{
    files::Reader,
    intake::{Lines, Rules, Scan, Scanned},
};

/// Blocks of input between reading and checking: with blocks of at most 8 MiB, 16 MiB.
const BLOCKS: usize = 2;
/// Errors between checking and writing.
const ERRORS: usize = 256;

/// Reads and checks a whole input. Checking runs on a thread of its own; errors are handed on as
/// they are found.
pub(super) async fn scan(input: Reader, rules: Rules, rejects: &mut Rejects) -> Result<Scanned, Error> {
    let (blocks, incoming) = mpsc::channel(BLOCKS);
    let (outgoing, mut errors) = mpsc::channel(ERRORS);
    let checking = tokio::task::spawn_blocking(move || check(&rules, incoming, &outgoing));
    let reading = async move {
        let mut stream = input.stream(0);
        while let Some(block) = stream.try_next().await? {
            if blocks.send(block).await.is_err() {
                break;
            }
        }
        Ok::<_, Error>(())
    };
    let keeping = async {
        while let Some(line) = errors.recv().await {
            rejects.line(line).await?;
        }
        Ok::<_, Error>(())
    };
    tokio::try_join!(reading, keeping)?;
    checking.await.map_err(|_| Error::Stopped)
}

fn check(
    rules: &Rules,
    mut blocks: mpsc::Receiver<bytes::Bytes>,
    errors: &mpsc::Sender<Vec<LineError>>,
) -> Scanned {
    let mut scan = Scan::new(rules);
    let mut lines = Lines::new(rules.max_line_bytes);
    let mut each = |piece: crate::intake::Piece<'_>| {
        let found = scan.line(piece);
        if !found.is_empty() {
            // The receiver is gone only if the whole is given up.
            let _given_up = errors.blocking_send(found);
        }
    };
    while let Some(block) = blocks.blocking_recv() {
        lines.feed(&block, &mut each);
    }
    lines.finish(&mut each);
    scan.finish()
}
