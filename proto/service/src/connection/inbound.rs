//! The body of a request: one that is waited for too long ends with an error.

use std::{
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

/// The client sent nothing, or hardly anything, for longer than it may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub enum Silent {
    /// Nothing for so long.
    #[error("nothing was sent for {} s in the middle of a call", .0.as_secs())]
    Nothing(Duration),
    /// Fewer bytes a second.
    #[error("less than {0} bytes a second were sent in the middle of a call")]
    Little(NonZeroU32),
}

/// How long a client is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// In all, if it sends nothing.
    pub(super) silence: Duration,
    /// How much of it what comes gives back: a second for so many bytes. None: all of it for any.
    pub(super) bytes_per_second: Option<NonZeroU32>,
}

/// What the client sends. Its error is [`Silent`] if it sends too little for too long while it is waited for.
#[derive(Debug)]
pub struct Inbound<B = Incoming> {
    body: B,
    patience: Patience,
    left: Duration,
    /// Since when the client is waited for.
    waiting: Option<Instant>,
    /// Ends with what was left then.
    end: Option<Pin<Box<Sleep>>>,
}

// === impl Patience ===

impl Patience {
    /// What there is of it once so many bytes came, with so much left before.
    fn after(self, left: Duration, bytes: usize) -> Duration {
        let Some(rate) = self.bytes_per_second else {
            return if bytes > 0 { self.silence } else { left };
        };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        left.saturating_add(Duration::from_secs(bytes.into()) / rate.get()).min(self.silence)
    }
}

// === impl Inbound ===

impl<B> Inbound<B> {
    pub(super) fn new(body: B, patience: Patience) -> Self {
        Self { body, patience, left: patience.silence, waiting: None, end: None }
    }

    fn came(&mut self, bytes: usize) {
        let waited = self.waiting.take().map(|since| since.elapsed()).unwrap_or_default();
        self.left = self.patience.after(self.left.saturating_sub(waited), bytes);
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Silent> {
        let left = self.left;
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(left)));
        if self.waiting.is_none() {
            let now = Instant::now();
            self.waiting = Some(now);
            end.as_mut().reset(now + left);
        }
        let Patience { silence, bytes_per_second } = self.patience;
        end.as_mut().poll(cx).map(|()| match bytes_per_second {
            Some(rate) if left < silence => Silent::Little(rate),
            _ => Silent::Nothing(silence),
        })
    }
}

impl<B> Body for Inbound<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                self.came(data.map_or(0, Bytes::len));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => self.poll_end(cx).map(|silent| Some(Err(silent.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    /// How a body ends, and after how many seconds, of which one piece comes every second.
    async fn drip(bytes_per_second: u32, pieces: Vec<usize>) -> (Result<usize, String>, u64) {
        let pieces = futures::stream::unfold(pieces.into_iter(), |mut pieces| async {
            let piece = pieces.next()?;
            sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![7; piece]))), pieces))
        });
        let patience = Patience { silence: SILENCE, bytes_per_second: NonZeroU32::new(bytes_per_second) };
        let began = Instant::now();
        let read = Inbound::new(StreamBody::new(Box::pin(pieces)), patience).collect().await;
        let read = read.map(|read| read.to_bytes().len()).map_err(|error| error.to_string());
        (read, began.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_ends_and_who_is_fast_enough_goes_on() {
        let (ended, after) = drip(500, vec![1; 10_000]).await;
        assert_eq!(ended.unwrap_err(), "less than 500 bytes a second were sent in the middle of a call");
        assert!((60..62).contains(&after), "{after} s");
        // What came fast is no credit for later.
        let (ended, after) = drip(500, [vec![1 << 20], vec![1; 10_000]].concat()).await;
        assert!(ended.is_err() && (60..64).contains(&after), "{ended:?} after {after} s");
        assert_eq!(drip(500, vec![500; 1_000]).await, (Ok(500_000), 1_000));
        // In one piece a minute, for as long as it lasts.
        let bursts = [vec![0; 50], vec![30_000]].concat().repeat(20);
        assert_eq!(drip(500, bursts).await.0, Ok(600_000));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_only_nothing_is_silence() {
        assert_eq!(drip(0, vec![1; 1_000]).await, (Ok(1_000), 1_000));
        let (ended, after) = drip(0, [vec![1], vec![0; 1_000]].concat()).await;
        assert_eq!(ended.unwrap_err(), "nothing was sent for 60 s in the middle of a call");
        assert_eq!(after, 61);
    }
}
